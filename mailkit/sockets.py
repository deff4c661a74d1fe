"""Writing to a connection's socket in this turn of the reactor, past Twisted's transport."""

from __future__ import annotations

from twisted.internet import tcp


def send_now(transport: object, data: bytes) -> int:
    """Give octets to a connection's socket, which its transport does in the reactor's next turn.

    Other clients' commands may put that turn off while the other end has nothing to do, and each write
    of the transport takes two calls of ``epoll_ctl``.

    :returns: how many octets have gone; the rest is for the transport. None may where the transport
        holds others back, which go first, or where TLS or a wrapper stands between.
    """
    if not isinstance(transport, tcp.Connection) or transport.TLS:
        return 0
    if transport._tempDataLen or transport.dataBuffer or not transport.connected:
        return 0
    if transport.disconnecting or transport._aborting:
        return 0
    try:
        sent: int = transport.socket.send(data)
    except OSError:
        # Full, or broken: the transport will see.
        return 0
    return sent
