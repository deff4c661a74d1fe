"""The port where a client is to connect for data (PASV, EPSV)."""

from __future__ import annotations

import errno
import socket
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IReadDescriptor
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure
from twisted.python.runtime import platformType
from zope.interface import implementer

from mailkit._typing import override
from mailkit.peers import host_and_port

#: Connections that the system may set up before the port is looked at: strangers that come first
#: must not keep the client out.
BACKLOG = 128

#: Those that are gone again, and what is said of one that never was (accept(2)).
_NOT_OURS = (errno.ECONNABORTED, errno.EPROTO)


class Awaiting(Protocol):
    """Who waits for the client."""

    def accepts(self, host: str) -> bool:
        """Whether a connection from there is the one that is waited for."""

    def arrived(self, connection: socket.socket, client: tuple[Any, ...]) -> None:
        """It is there. Whoever is told closes the port."""

    def port_failed(self) -> None:
        """There will be none: the system has no descriptor left, for example."""

    def protocol(self) -> Any:
        """What the connection's transport is to talk to."""


@implementer(IReadDescriptor)
class PassivePort:
    """Listens for one client.

    Most clients have connected when the command comes that needs the connection. So it is taken
    then (:meth:`look`), and the reactor waits for it (:meth:`wait`) only when it must.

    :param port: 0 for any.
    :param interface: an address of this machine.
    :raises CannotListenError: the port is taken, or not ours to use.
    """

    def __init__(self, reactor: Any, port: int, interface: str, awaiting: Awaiting) -> None:
        self._reactor = reactor
        self._awaiting = awaiting
        self._waits = False
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        try:
            self._socket = made = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise CannotListenError(interface, port, error) from error
        try:
            made.setblocking(False)
            if port and platformType == "posix":
                # One that was used a moment ago is free. On Windows it would be free to others, too.
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((interface, port))
            made.listen(BACKLOG)
            self.number: int = port or made.getsockname()[1]
        except OSError as error:
            made.close()
            raise CannotListenError(interface, port, error) from error

    def look(self) -> None:
        """Take the connection if it has come; those of others are closed."""
        for _ in range(BACKLOG):
            try:
                connection, client = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NOT_OURS:
                    continue
                self._awaiting.port_failed()
                return
            if self._awaiting.accepts(client[0]):
                self._awaiting.arrived(connection, client)
                return
            connection.close()

    def wait(self) -> None:
        """Take the connection when it comes; may be called again."""
        if not self._waits:
            self._waits = True
            self._reactor.addReader(self)

    def is_waited_for(self) -> bool:
        """Whether :meth:`wait` was called."""
        return self._waits

    def close(self) -> None:
        """The port is free."""
        if self._waits:
            self._reactor.removeReader(self)
        self._socket.close()

    # Called by the reactor.

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "FTP data"

    def doRead(self) -> None:
        self.look()

    def connectionLost(self, reason: Failure) -> None:
        # The reactor ends.
        self.close()


class ReactorPort:
    """The same by a reactor without sockets, such as those of tests."""

    def __init__(self, reactor: Any, port: int, interface: str, awaiting: Awaiting) -> None:
        self._port = reactor.listenTCP(port, _Acceptor(awaiting), 1, interface)
        self.number = int(self._port.getHost().port)

    def look(self) -> None:
        """The reactor tells."""

    wait = look

    def is_waited_for(self) -> bool:
        return True

    def close(self) -> Deferred[Any]:
        """Fires when the port is free."""
        return maybeDeferred(self._port.stopListening)


class _Acceptor(ServerFactory):
    noisy = False

    def __init__(self, awaiting: Awaiting) -> None:
        self.awaiting = awaiting

    @override
    def buildProtocol(self, addr: IAddress | None) -> Any:
        accepted = self.awaiting.accepts(host_and_port(addr)[0])
        return self.awaiting.protocol() if accepted else None


def listen(
    reactor: Any, port: int, interface: str, awaiting: Awaiting
) -> PassivePort | ReactorPort:
    """Listen for one client.

    :param port: 0 for any.
    :raises CannotListenError: the port is taken, or not ours to use.
    """
    kind = PassivePort if isinstance(reactor, PosixReactorBase) else ReactorPort
    return kind(reactor, port, interface, awaiting)
