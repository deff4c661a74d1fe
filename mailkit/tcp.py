"""TCP for many short connections: what Twisted does for each client, in fewer steps.

Everything else is Twisted's: a :class:`Port` is a ``twisted.internet.tcp.Port``, its connections
are ``twisted.internet.tcp.Server`` with TLS, producers and half-close, and whatever is not plain
success goes Twisted's way.
"""

from __future__ import annotations

import socket
import sys
from typing import Any, cast

from twisted.internet import main, tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailkit import polling
from mailkit._typing import override
from mailkit.polling import Together

#: Connections that the system may set up before the server has seen them: a thousand clients that
#: come back at once after a restart. The system has a limit of its own (``somaxconn``).
BACKLOG = 1024
#: Octets that are read at once.
READ_OCTETS = tcp.Connection.bufferSize
#: Clients served in one turn of the reactor, at most; and turns after which twice as many as now
#: are asked for.
MAX_ACCEPTS = 100
FULL_TURNS = 8

_DONE = Failure(main.CONNECTION_DONE)
# Without what a Python socket does for files that were made of it: there are none.
_close = socket.SocketType.close
#: They stand for every address of the machine.
_UNSPECIFIED = ("0.0.0.0", "::")


class Server(tcp.Server):
    """A connection that ends in the turn in which all is sent, instead of the reactor's next."""

    # Nobody else has the descriptor, so that close(2) ends the connection as well.
    _shouldShutdown = False

    server: Any
    #: Address and port of the client, for which ``getPeer`` makes an object each time; with IPv6 more.
    client: tuple[Any, ...]

    def __init__(
        self,
        connection: socket.socket,
        protocol: Any,
        client: tuple[Any, ...],
        server: Any,
        number: int,
        reactor: Any,
    ) -> None:
        # As tcp.Connection and abstract.FileDescriptor do it.
        self.reactor = reactor
        self._tempDataBuffer = []
        self._tempDataLen = 0
        self.socket = connection
        connection.setblocking(False)
        self.fileno = connection.fileno
        self.protocol = protocol
        # As their classes have it: of an instance it is found in fewer steps.
        self.TLS = self._writeDisconnecting = self._aborting = False
        self.dataBuffer, self.producer = b"", None
        self.disconnecting = 0
        if len(client) != 2:
            self._addressType = IPv6Address
        self.server = server
        self.client = client
        self.sessionno = number
        self.connected = 1
        self._reading = self._ending = False
        # None as long as it is what the port has.
        self._no_delay: bool | None = None
        reactor.addReader(self)

    @override
    def logPrefix(self) -> str:
        protocol = getattr(self, "protocol", None)
        return f"{protocol.__class__.__name__},{self.sessionno},{self.client[0]}"

    @override
    def __repr__(self) -> str:
        return f"<{self.logPrefix()}>"

    def may_end_now(self) -> bool:
        """:meth:`end_now` may be called: nothing waits to be sent, and this turn reads from here."""
        return self._reading and not self.TLS and self._is_idle()

    def end_now(self) -> None:
        """``loseConnection``, for whoever has just seen that it ends the connection in this turn."""
        self._ending = True
        self.disconnecting = 1

    def _is_idle(self) -> bool:
        return not (
            self._tempDataLen
            or self.dataBuffer
            or self.producer is not None
            or self._writeDisconnecting
            or self._aborting
        )

    @override
    def doRead(self) -> Any:
        try:
            data = self.socket.recv(READ_OCTETS)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        self._reading = True
        try:
            self.protocol.dataReceived(data)
        finally:
            self._reading = False
        if self._ending:
            self._ending = False
            if self._is_idle():
                self._end()
            else:
                # Something was written after loseConnection, or worse has happened.
                self.disconnecting = 0
                super().loseConnection()  # type: ignore[no-untyped-call]
        return None

    def _end(self) -> None:
        """What ``connectionLost`` does when nothing is left to be done."""
        connection, protocol = self.socket, self.protocol
        self.connected, self.disconnected = 0, 1
        reactor: Any = self.reactor
        if isinstance(reactor, Together):
            reactor.forget(self)
        else:
            reactor.removeReader(self)
            reactor.removeWriter(self)
        del self.socket, self.protocol, self.fileno
        try:
            _close(connection)
        except OSError:
            # Nobody wants to know any more.
            pass
        protocol.connectionLost(_DONE)

    @override
    def loseConnection(self) -> None:
        if self.connected and not self.disconnecting and self.may_end_now():
            self.end_now()
        else:
            super().loseConnection()  # type: ignore[no-untyped-call]

    @override
    def getHost(self) -> IPv4Address | IPv6Address:
        return (self.server and self.server.only_address) or super().getHost()  # type: ignore[no-any-return,no-untyped-call]

    @override
    def setTcpNoDelay(self, enabled: bool) -> None:
        if self._no_delay is not None or not (
            enabled and self.server and self.server.sets_no_delay
        ):
            self._no_delay = enabled
            super().setTcpNoDelay(enabled)


class _ClientSocket(socket.socket):
    """A socket that is made without a step of Python."""

    # What socket.socket sets in each.
    _io_refs = 0
    _closed = False
    __init__ = socket.SocketType.__init__


class _ListeningSocket(socket.socket):
    """A socket that knows what it is: ``accept`` asks for each client, and that takes a while."""

    __slots__ = ("family", "type")

    def __init__(self, made: socket.socket) -> None:
        family, kind = made.family, made.type
        super().__init__(family, kind, made.proto, made.detach())
        self.family, self.type = family, kind  # type: ignore[misc]
        self.setblocking(False)

    @override
    def accept(self) -> tuple[socket.socket, Any]:
        # Without asking whether it is to wait, as every client's socket is told by its connection.
        descriptor, address = self._accept()  # type: ignore[attr-defined]
        return _ClientSocket(self.family, self.type, 0, descriptor), address


class Port(tcp.Port):
    """A listening port.

    A factory whose ``needs_address`` is false gets None for a client's address: to make an object of it
    takes as long as a short command.

    :ivar only_address: where all its clients connect to, unless they can choose.
    :ivar only_place: the same as host and port.
    :ivar sets_no_delay: its connections have TCP_NODELAY already.
    """

    log = Logger()
    transport = Server  # type: ignore[assignment]
    only_address: IPv4Address | IPv6Address | None = None
    only_place: tuple[str, int] | None = None
    sets_no_delay = False
    _full_turns = 0

    def __init__(
        self,
        port: int,
        factory: Any,
        backlog: int = BACKLOG,
        interface: str = "",
        reactor: Any = None,
    ) -> None:
        if reactor is not None and polling.AVAILABLE:
            reactor = Together(reactor)
            reactor.last = self
        super().__init__(port, factory, backlog, interface, reactor)

    @override
    def createInternetSocket(self) -> socket.socket:
        return _ListeningSocket(super().createInternetSocket())  # type: ignore[no-untyped-call]

    @override
    def startListening(self) -> None:
        super().startListening()
        self.numberAccepts = 1
        address = self.getHost()  # type: ignore[no-untyped-call]
        if address.host not in _UNSPECIFIED:
            self.only_address = address
            self.only_place = address.host, address.port
        if sys.platform == "linux":
            # tcp(7): connections inherit it.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sets_no_delay = True

    @override
    def doRead(self) -> None:
        accepted = 0
        try:
            while accepted < self.numberAccepts:
                try:
                    connection, client = self.socket.accept()
                except BlockingIOError:
                    break
                except OSError:
                    # No descriptor is left, for example.
                    super().doRead()  # type: ignore[no-untyped-call]
                    return
                accepted += 1
                self._serve(connection, client)
        except Exception:
            self.log.failure("a connection could not be served")
        # Asking for one more than came costs more than to be called again for another.
        if accepted < self.numberAccepts:
            self.numberAccepts, self._full_turns = max(1, accepted), 0
        elif self._full_turns < FULL_TURNS:
            self._full_turns += 1
        else:
            self.numberAccepts, self._full_turns = min(2 * accepted, MAX_ACCEPTS), 0

    def _serve(self, connection: socket.socket, client: tuple[Any, ...]) -> None:
        if len(client) == 4 and client[3]:
            # The name of the interface belongs to a link-local address.
            flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
            client = (socket.getnameinfo(client, flags)[0], *client[1:])
        address = None
        if getattr(self.factory, "needs_address", True):
            address = self._buildAddr(client)  # type: ignore[no-untyped-call]
        protocol = None
        try:
            protocol = self.factory.buildProtocol(address)  # type: ignore[union-attr]
        finally:
            if protocol is None:
                # At once: the log may hold on to a failure, and that to the socket.
                connection.close()
        if protocol is None:
            return
        number = self.sessionno
        self.sessionno = number + 1
        transport = self.transport(connection, protocol, client, self, number, self.reactor)
        try:
            protocol.makeConnection(transport)
        except BaseException:
            transport.loseConnection()
            raise


def adopt_port(reactor: Any, descriptor: int, family: int, factory: Any) -> Port:
    """A port of a socket that listens already and does not block; it gets a descriptor of its own."""
    port: Any = Port._fromListeningDescriptor(reactor, descriptor, family, factory)  # type: ignore[no-untyped-call]
    port._preexistingSocket = _ListeningSocket(port._preexistingSocket)
    port.startListening()
    return cast(Port, port)


class ListeningReactor:
    """A reactor whose TCP ports are ours; for endpoints."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def listenTCP(
        self, port: int, factory: Any, backlog: int = BACKLOG, interface: str = ""
    ) -> Port:
        """As ``IReactorTCP`` has it."""
        listening = Port(port, factory, backlog, interface, self._reactor)
        listening.startListening()
        return listening

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class ConnectingReactor:
    """A reactor whose outgoing connections are waited for together; for endpoints.

    They take no host names, only addresses. A connection begins to be waited for in a turn of its own, so
    what is told of a descriptor can never be of another connection that had it before.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._together = Together(reactor)

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> tcp.Connector:
        """As ``IReactorTCP`` has it."""
        connector: Any = tcp.Connector(host, port, factory, timeout, bindAddress, self._together)
        connector.connect()
        return cast(tcp.Connector, connector)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


def connecting_together(reactor: Any) -> Any:
    """What connects by a reactor in fewer steps; the reactor itself where that has no sockets, or no epoll(7)."""
    if not polling.AVAILABLE or not isinstance(reactor, PosixReactorBase):
        return reactor
    return ConnectingReactor(reactor)
