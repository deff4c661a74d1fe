"""Where a server is, and envelopes from what people write."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from mailkit.client.address import ServerAddress, parse_address
from mailkit.model import ConnectionInfo, Envelope, Path, Recipient
from mailkit.smtp.client.settings import ClientSettings
from mailkit.smtp.grammar import parse_mailbox

#: Who gets a message: one address or several.
Recipients: TypeAlias = str | Path | Recipient | Iterable[str | Path | Recipient]


def parse_server(text: str, settings: ClientSettings) -> ServerAddress:
    """``host``, ``host:port``, ``[::1]:port`` or ``unix:/path``.

    Without a port: 25, or 24 for LMTP, or 465 for implicit TLS.

    :raises ValueError: it is none of these.
    """
    if settings.lmtp:
        return parse_address(text, 24)
    return parse_address(text, 465 if settings.tls.implicit else 25)


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
