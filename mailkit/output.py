"""A connection's output: collected, and sent at once where that is possible."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol

from mailkit.tcp import Server

#: Octets of output collected before they are sent.
CHUNK = 64 * 1024
#: Octets from which pieces are not joined before they are sent, and how many pieces at most, for
#: each costs a little (IOV_MAX of sendmsg(2) is 1024).
APART_OCTETS = 16 * 1024
APART_PIECES = 512
#: The end of the connection follows at once and may go in the same packet.
_MORE = getattr(socket, "MSG_MORE", 0)


class OutputConnection(Protocol):
    """Collects what is written in one turn and sends it in one piece.

    Twisted's transports keep octets until the reactor's next turn, which costs as much as many a
    command. So they go straight to the socket as long as the transport holds none: it gets what the
    socket does not take, and all that follows until it says that it is empty again. Therefore
    nothing but :meth:`write` may be used.

    A connection's classes stand in one line, and each calls the ``__init__`` of the one above by its
    name: ``super()`` takes Python 3.11 as long as all that most of these do.
    """

    # Beside the dictionary of the subclasses, which takes much more with over 30 names in it.
    __slots__ = (
        "_encode",
        "_encrypted",
        "_is_producer",
        "_lost",
        "_output",
        "_output_size",
        "_socket",
    )

    transport: Any
    # Of what waits, if anything does.
    _output_size: int

    def __init__(self) -> None:
        # None: nothing waits, as for most of the time.
        self._output: list[bytes] | None = None
        # Gives what is sent in place of collected octets.
        self._encode: Callable[[bytes], bytes] | None = None
        self._lost = False
        # None: everything goes to the transport.
        self._socket: socket.socket | None = None
        self._is_producer = False
        # None until somebody asks.
        self._encrypted: bool | None = None

    @property
    def encrypted(self) -> bool:
        """The connection is under TLS."""
        if self._encrypted is None:
            transport = self.transport
            if type(transport) is Server:
                # startTLS sets both, and this is found in fewer steps.
                self._encrypted = bool(transport.TLS)
            else:
                self._encrypted = bool(ISSLTransport.providedBy(transport))
        return self._encrypted

    def write(self, data: bytes) -> None:
        """Send octets, together with others that are written in the same turn."""
        if self._output is None:
            self._output = [data]
            size = len(data)
        else:
            self._output.append(data)
            size = self._output_size + len(data)
        self._output_size = size
        if size >= CHUNK:
            self.flush()

    def write_all(self, pieces: Sequence[bytes]) -> int:
        """The same for many pieces; how many octets they have."""
        octets = sum(map(len, pieces))
        if self._output is None:
            self._output = list(pieces)
            self._output_size = octets
        else:
            self._output += pieces
            self._output_size += octets
        if self._output_size >= CHUNK:
            self.flush()
        return octets

    def flush(self) -> None:
        """Send collected octets."""
        if self._output is not None:
            self._send(self._output, 0)

    def _send(self, output: list[bytes], flags: int) -> None:
        size, self._output = self._output_size, None
        if self._encode is not None:
            output = [self._encode(b"".join(output))]
            size = len(output[0])
        elif len(output) > 1 and (size < APART_OCTETS or len(output) > APART_PIECES):
            output = [b"".join(output)]
        connected = self._socket
        sent = 0
        if connected is not None:
            try:
                if len(output) == 1:
                    sent = connected.send(output[0], flags)
                else:
                    sent = connected.sendmsg(output, (), flags)
            except OSError:
                # Full, or broken: the transport will see.
                pass
            if sent == size:
                return
            self._write_by_transport()
        if not self._lost:
            self.transport.write(b"".join(output)[sent:])

    def _end_output(self, in_one_packet: bool) -> bool:
        """Send collected octets and close the transport; true when that is the end of all.

        :param in_one_packet: the last octets may wait for the end. They would be lost if the client
            had sent what nobody has read: the system then breaks the connection off.
        """
        transport = self.transport
        ends_now = isinstance(transport, Server) and transport.may_end_now()
        if self._output is not None:
            self._send(self._output, _MORE if ends_now and in_one_packet else 0)
            ends_now = ends_now and self._socket is not None
        if self._is_producer:
            # Under TLS a registered producer would keep the connection open.
            self._is_producer = False
            transport.unregisterProducer()
        if ends_now:
            transport.end_now()
        else:
            transport.loseConnection()
        return ends_now

    def _write_straight(self) -> None:
        """The transport's buffer is empty."""
        # Whatever stands between us and the socket (TLS, a wrapper) must see the octets.
        transport = self.transport
        if isinstance(transport, tcp.Connection) and not self.encrypted:
            self._socket = transport.socket
        else:
            self._write_by_transport()

    def _write_by_transport(self) -> None:
        """The transport gets all that follows, and says when it has enough."""
        self._socket = None
        if not (self._is_producer or self._lost):
            self._is_producer = True
            self.transport.registerProducer(self, True)
