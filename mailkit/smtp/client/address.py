"""Where a server is, and envelopes from what people write."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from mailkit._typing import override
from mailkit.model import ConnectionInfo, Envelope, Path, Recipient
from mailkit.smtp.client.settings import ClientSettings
from mailkit.smtp.grammar import parse_mailbox

#: Who gets a message: one address or several.
Recipients: TypeAlias = str | Path | Recipient | Iterable[str | Path | Recipient]

_SERVER = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/\s]+))(?::(\d{1,5}))?")


class ServerAddress(NamedTuple):
    """A host and port, or the path of a UNIX socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @override
    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_server(text: str, settings: ClientSettings) -> ServerAddress:
    """``host``, ``host:port``, ``[::1]:port`` or ``unix:/path``.

    Without a port: 25, or 24 for LMTP, or 465 for implicit TLS.

    :raises ValueError: it is none of these.
    """
    if text.startswith("unix:") and len(text) > 5:
        return ServerAddress(path=text[5:])
    found = _SERVER.fullmatch(text)
    port = int(found[3]) if found and found[3] else _default_port(settings)
    if found is None or not 0 < port < 65536:
        raise ValueError(f"not a server, such as mail.example.org:25: {text!r}")
    return ServerAddress(found[1] or found[2], port)


def _default_port(settings: ClientSettings) -> int:
    if settings.lmtp:
        return 24
    return 465 if settings.tls.implicit else 25


def parse_path(address: str | Path) -> Path:
    """An address as a path; nothing is the null reverse-path.

    :raises ValueError: it is none.
    """
    if isinstance(address, Path):
        return address
    if not address or address == "<>":
        return Path("", "")
    try:
        return parse_mailbox(address.strip("<>").encode("utf-8"))
    except ValueError as error:
        raise ValueError(f"not an address, such as ann@example.org: {address!r}") from error


def make_envelope(sender: str | Path | None, recipients: Recipients) -> Envelope:
    """An envelope for a message of our own; more may be set in it.

    :param sender: the reverse-path; None or nothing for the null one.
    :param recipients: at least one.
    :raises ValueError: something is no address.
    """
    if isinstance(recipients, (str, Path, Recipient)):
        recipients = [recipients]
    found = [
        each if isinstance(each, Recipient) else Recipient(parse_path(each)) for each in recipients
    ]
    if not found or any(each.path.is_null for each in found):
        raise ValueError("a message needs recipients")
    return Envelope(ConnectionInfo("local"), "", parse_path(sender or ""), recipients=found)
