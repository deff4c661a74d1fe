"""Finding out whether the client of a silent session is still there.

POP3 servers cannot ask their clients anything, so TCP has to: a keep-alive probe that nobody answers
ends the connection. A client that was switched off would hold its maildrop for ten minutes otherwise.
"""

from __future__ import annotations

import socket
from typing import Any

#: Seconds until a client that does not answer has lost its connection, about: the first probe goes
#: out after one second of silence, the others one second apart.
PROBES = 3
PROBE_SECONDS = PROBES + 2.0
#: Seconds of silence before a probe goes out, once it is known that the client was there.
_CALM = 60
# Milliseconds for which what was sent may go unacknowledged. As long as it does there are no probes.
_UNACKNOWLEDGED, _CALM_UNACKNOWLEDGED = 3000, 120_000


def probe(transport: Any, *, reading: bool = True) -> bool:
    """Begin to ask; whether that is possible here.

    :param reading: the client takes what it is sent: then it must acknowledge it soon, too.
    """
    return _set_keepalive(transport, 1, _UNACKNOWLEDGED if reading else 0)


def end_probe(transport: Any, *, reading: bool = True) -> None:
    """Ask rarely from now on."""
    # One whose last octets are on their way still is given up by the next attempt to send them.
    _set_keepalive(transport, _CALM, _CALM_UNACKNOWLEDGED if reading else 0)


def _set_keepalive(transport: Any, seconds: int, unacknowledged: int) -> bool:
    connection = _find_socket(transport)
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
        # macOS has another name for it.
        idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", 0))
        connection.setsockopt(socket.IPPROTO_TCP, idle, seconds)
        # Linux has it (RFC 5482).
        limit = getattr(socket, "TCP_USER_TIMEOUT", None)
        if limit is not None:
            connection.setsockopt(socket.IPPROTO_TCP, limit, unacknowledged)
    except (OSError, AttributeError):
        return False
    return True


def _find_socket(transport: Any) -> Any:
    """The socket below the layers of TLS and the like; None where there is none."""
    for _ in range(10):
        if transport is None:
            break
        found = getattr(transport, "socket", None)
        if found is not None:
            return found
        transport = getattr(transport, "transport", None)
    return None
