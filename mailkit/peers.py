"""Addresses of those who connect, as Twisted's transports and addresses tell them."""

from __future__ import annotations

from typing import Any


def host_and_port(address: Any) -> tuple[str, int]:
    """Empty and 0 for a UNIX socket."""
    return getattr(address, "host", "") or "", getattr(address, "port", 0) or 0


def is_loopback(host: str) -> bool:
    """Whether it is this machine's; so is whoever connects by a UNIX socket."""
    return not host or host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1")
