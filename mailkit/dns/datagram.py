"""A socket for one question by UDP, connected to the server that is asked."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

#: Octets of an answer; more are cut off.
MAX_DATAGRAM = 8192


@implementer(IReadDescriptor)
class ConnectedDatagrams:
    """Stands where Twisted's own port does, which logs two lines for each question.

    Being connected, it hears nobody but the server: RFC 5452 section 9.1.

    :param server: its address and port.
    :param number: the port from which it is asked.
    :raises CannotListenError: somebody else has that port.
    :raises OSError: there is no way to the server.
    """

    def __init__(
        self, protocol: DatagramProtocol, reactor: Any, server: tuple[str, int], number: int
    ) -> None:
        self._protocol = protocol
        self._reactor = reactor
        self._server = server
        (family, kind, _, _, address), *_ = socket.getaddrinfo(
            *server, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )
        self._socket = socket.socket(family, kind)
        try:
            self._socket.setblocking(False)
            try:
                self._socket.bind(("", number))
            except OSError as error:
                raise CannotListenError("", number, error) from error
            self._socket.connect(address)
        except BaseException:
            self._socket.close()
            raise
        protocol.makeConnection(self)  # type: ignore[arg-type]
        reactor.addReader(self)

    def fileno(self) -> int:
        """What the reactor waits for."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """For Twisted's log."""
        return "DNS"

    def doRead(self) -> None:
        """Hand over a datagram; what ICMP says is left to the time-out."""
        try:
            data = self._socket.recv(MAX_DATAGRAM)
        except OSError:
            return
        self._protocol.datagramReceived(data, self._server)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gives up on the socket."""
        self.close()

    def write(self, data: bytes, address: Any) -> None:
        """Send a datagram; the address is that of the server.

        :raises OSError: it cannot be sent.
        """
        self._socket.send(data)

    def close(self) -> None:
        """Hear nothing more; may be called again."""
        if self.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()
            self._protocol.doStop()
