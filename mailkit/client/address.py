"""Where a server is."""

from __future__ import annotations

import re
from typing import NamedTuple

from mailkit._typing import override

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


def parse_address(text: str, default_port: int) -> ServerAddress:
    """``host``, ``host:port``, ``[::1]:port`` or ``unix:/path``.

    :raises ValueError: it is none of these.
    """
    if text.startswith("unix:") and len(text) > 5:
        return ServerAddress(path=text[5:])
    found = _SERVER.fullmatch(text)
    port = int(found[3]) if found and found[3] else default_port
    if found is None or not 0 < port < 65536:
        raise ValueError(f"not a server, such as mail.example.org:{default_port}: {text!r}")
    return ServerAddress(found[1] or found[2], port)
