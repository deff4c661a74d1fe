"""Addresses of those who connect, as Twisted's transports and addresses tell them."""

from __future__ import annotations

from typing import Any

from mailkit.tcp import Server


def host_and_port(address: Any) -> tuple[str, int]:
    """Empty and 0 for a UNIX socket."""
    return getattr(address, "host", "") or "", getattr(address, "port", 0) or 0


def peer_of(transport: Any) -> tuple[str, int]:
    """Address and port of the client on the other side."""
    return (
        transport.client[:2]
        if isinstance(transport, Server)
        else host_and_port(transport.getPeer())
    )


def local_of(transport: Any) -> tuple[str, int]:
    """Address and port that the client has connected to."""
    if isinstance(transport, Server) and transport.server:
        place: tuple[str, int] | None = transport.server.only_place
        if place is not None:
            return place
    return host_and_port(transport.getHost())


def is_loopback(host: str) -> bool:
    """Whether it is this machine's; so is whoever connects by a UNIX socket."""
    return not host or host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1")
