"""A connection's output: collected, and sent at once where that is possible."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol

#: Octets of output collected before they are sent.
CHUNK = 64 * 1024


class OutputConnection(Protocol):
    """Collects what is written in one turn and sends it in one piece.

    Twisted's transports keep octets until the reactor's next turn, which costs as much as many a
    command. So they go straight to the socket as long as the transport holds none: it gets what the
    socket does not take, and all that follows until it says that it is empty again. Therefore
    nothing but :meth:`write` may be used.
    """

    transport: Any

    def __init__(self) -> None:
        self._output: list[bytes] = []
        self._output_size = 0
        self._lost = False
        # None: everything goes to the transport.
        self._socket: socket.socket | None = None

    def write(self, data: bytes) -> None:
        """Send octets, together with others that are written in the same turn."""
        self._output.append(data)
        self._output_size += len(data)
        if self._output_size >= CHUNK:
            self.flush()

    def flush(self) -> None:
        """Send collected octets."""
        if self._output:
            data = b"".join(self._output)
            self._output.clear()
            self._output_size = 0
            if self._socket is not None:
                try:
                    sent = self._socket.send(data)
                except OSError:
                    # Full, or broken: the transport will see.
                    sent = 0
                if sent == len(data):
                    return
                self._socket = None
                data = data[sent:]
            if not self._lost:
                self.transport.write(data)

    def _write_straight(self) -> None:
        """The transport's buffer is empty."""
        transport = self.transport
        # Whatever stands between us and the socket (TLS, a wrapper) must see the octets.
        if isinstance(transport, tcp.Connection) and not ISSLTransport.providedBy(transport):
            self._socket = transport.getHandle()

    def _write_by_transport(self) -> None:
        """The socket may not be written to from now on."""
        self._socket = None
