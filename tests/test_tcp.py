"""TCP ports of ours: what Twisted's do, over loopback, and what a connection does at its end."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from mailkit import polling
from mailkit.tcp import (
    FULL_TURNS,
    MAX_ACCEPTS,
    ListeningReactor,
    Port,
    Server,
    connecting_together,
)
from tests import test_connection_tls as tls
from tests.line_protocol import LineFactory
from tests.support import PATIENCE, until

reactor: Any = global_reactor


class Reactor:
    """Knows who reads and writes; calls nobody."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.writers: list[Any] = []
        self.later: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def addWriter(self, writer: Any) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def callLater(self, delay: float, function: Any, *arguments: Any) -> None:
        self.later.append((function, arguments))


class Talker(Protocol):
    """Does what the test wants when data comes."""

    def __init__(self, test: EndTests) -> None:
        self.test = test
        self.reasons: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.test.react(self.transport)

    def connectionLost(self, reason: Any = None) -> None:
        self.reasons.append(reason)


class EndTests(SynchronousTestCase):
    """How a connection ends."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        near, self.far = socket.socketpair()
        self.addCleanup(near.close)
        self.addCleanup(self.far.close)
        self.far.setblocking(False)
        self.protocol = Talker(self)
        self.server = Server(near, self.protocol, ("127.0.0.1", 1), None, 1, self.reactor)
        self.protocol.makeConnection(self.server)

    def react(self, transport: Any) -> None:
        raise NotImplementedError

    def read(self, react: Any) -> None:
        self.react = react  # type: ignore[method-assign]
        self.far.send(b"x")
        self.assertIsNone(self.server.doRead())

    def reasons(self) -> list[type[BaseException] | None]:
        return [reason.type for reason in self.protocol.reasons]

    def test_at_once_when_all_is_sent(self) -> None:
        def react(transport: Any) -> None:
            transport.loseConnection()
            transport.loseConnection()
            self.assertEqual(self.reasons(), [])

        self.read(react)
        self.assertEqual(self.reasons(), [ConnectionDone])
        self.assertEqual((self.reactor.readers, self.reactor.writers), ([], []))
        self.assertEqual(self.far.recv(10), b"")
        self.assertEqual(self.server.fileno(), -1)

    def test_after_what_waits_to_be_sent(self) -> None:
        for write_first in (True, False):
            self.setUp()

            def react(transport: Any, write_first: bool = write_first) -> None:
                if write_first:
                    transport.write(b"bye")
                transport.loseConnection()
                if not write_first:
                    transport.write(b"bye")

            self.read(react)
            self.assertEqual(self.reasons(), [])
            self.assertEqual(self.reactor.readers, [])
            (writer,) = self.reactor.writers
            self.assertIsInstance(writer.doWrite(), ConnectionDone)
            self.assertEqual(self.far.recv(10), b"bye")

    def test_after_the_producer(self) -> None:
        def react(transport: Any) -> None:
            transport.registerProducer(self, True)
            transport.loseConnection()

        self.read(react)
        self.assertEqual(self.reasons(), [])
        self.server.unregisterProducer()
        (writer,) = self.reactor.writers
        self.assertIsInstance(writer.doWrite(), ConnectionDone)

    def test_abort_is_an_abort(self) -> None:
        def react(transport: Any) -> None:
            transport.loseConnection()
            transport.abortConnection()

        self.read(react)
        self.assertEqual(self.reasons(), [])
        ((function, arguments),) = self.reactor.later
        function(*arguments)
        self.assertEqual(self.reasons(), [ConnectionAborted])

    def test_outside_of_reading_it_is_the_reactors_turn(self) -> None:
        self.server.loseConnection()
        self.assertEqual((self.reasons(), self.reactor.writers), ([], [self.server]))

    def test_protocol_that_fails_while_it_reads(self) -> None:
        def react(transport: Any) -> None:
            raise RuntimeError

        with self.assertRaises(RuntimeError):
            self.read(react)
        self.server.loseConnection()
        self.assertEqual(self.reactor.writers, [self.server])


class Echo(Protocol):
    """Sends back what it gets; ends after a full stop."""

    def connectionMade(self) -> None:
        self.factory: Any
        self.factory.made.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)
        if data.endswith(b"."):
            self.transport.loseConnection()


class Dud(Protocol):
    """Fails as soon as it is connected."""

    def connectionMade(self) -> None:
        1 / 0  # noqa: B018


class Listener(Protocol):
    """Remembers what comes."""

    def __init__(self) -> None:
        self.received = b""
        self.reasons: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.reasons.append(reason)


class EchoFactory(Factory):
    noisy = False

    def __init__(self) -> None:
        self.made: list[Any] = []
        self.protocol = Echo

    def buildProtocol(self, addr: Any) -> Any:
        if self.protocol is None:
            return None
        return super().buildProtocol(addr)


class PortTests(TestCase):
    """A port on loopback."""

    def setUp(self) -> None:
        self.factory = EchoFactory()

    def listen(self, interface: str = "127.0.0.1") -> Port:
        port = ListeningReactor(reactor).listenTCP(0, self.factory, interface=interface)
        self.addCleanup(port.stopListening)
        return port

    def connect(self, port: Port, host: str = "127.0.0.1") -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        client = socket.socket(family)
        self.addCleanup(client.close)
        client.settimeout(PATIENCE)
        client.connect((host, port.getHost().port))
        client.setblocking(False)
        return client

    async def made(self, count: int) -> None:
        await until(lambda: len(self.factory.made) >= count)

    async def receive(self, client: socket.socket) -> bytes:
        """All that comes until the server closes."""
        received = b""

        def closed() -> bool:
            nonlocal received
            try:
                while data := client.recv(100):
                    received += data
            except BlockingIOError:
                return False
            return True

        await until(closed)
        return received

    def run_coroutine(self, coroutine: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(coroutine)

    async def test_dialogue(self) -> None:
        client = self.connect(self.listen())
        client.send(b"hello.")
        self.assertEqual(await self.receive(client), b"hello.")

    async def test_many_clients_at_once(self) -> None:
        port = self.listen()
        clients = [self.connect(port) for _ in range(3 * MAX_ACCEPTS)]
        await self.made(len(clients))
        for client in clients:
            client.send(b".")
        for client in clients:
            self.assertEqual(await self.receive(client), b".")
        self.assertLessEqual(port.numberAccepts, MAX_ACCEPTS)

    async def test_one_after_the_other(self) -> None:
        port = self.listen()
        for number in range(1, 3 * FULL_TURNS):
            self.connect(port)
            await self.made(number)
        self.assertLessEqual(port.numberAccepts, 2)

    async def test_addresses(self) -> None:
        for interface, host in (("127.0.0.1",) * 2, ("", "127.0.0.1"), ("::1", "::1")):
            self.factory.made.clear()
            try:
                port = self.listen(interface)
            except Exception:
                if ":" in interface:
                    # No IPv6 here.
                    continue
                raise
            client = self.connect(port, host)
            await self.made(1)
            transport = self.factory.made[0].transport
            peer, local = transport.getPeer(), transport.getHost()
            self.assertEqual((peer.host, peer.port), client.getsockname()[:2])
            self.assertEqual((local.host, local.port), client.getpeername()[:2])

    async def test_no_delay(self) -> None:
        self.connect(self.listen())
        await self.made(1)
        transport = self.factory.made[0].transport
        for enabled in (True, False, True, False):
            transport.setTcpNoDelay(enabled)
            self.assertEqual(transport.getTcpNoDelay(), enabled)

    async def test_factory_that_wants_no_client(self) -> None:
        port = self.listen()
        self.factory.protocol = None  # type: ignore[assignment]
        self.assertEqual(await self.receive(self.connect(port)), b"")

    async def test_factory_that_fails(self) -> None:
        port = self.listen()
        self.patch(self.factory, "protocol", lambda: 1 / 0)
        self.assertEqual(await self.receive(self.connect(port)), b"")
        self.patch(self.factory, "protocol", Dud)
        self.assertEqual(await self.receive(self.connect(port)), b"")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.patch(self.factory, "protocol", Echo)
        client = self.connect(port)
        client.send(b".")
        self.assertEqual(await self.receive(client), b".")

    async def test_errors_of_accept_are_handled_as_twisted_does(self) -> None:
        port = self.listen()

        class Broken:
            def __init__(self) -> None:
                self.asked = 0

            def accept(self) -> Any:
                self.asked += 1
                raise OSError(errno.ECONNABORTED, "gone")

        broken = Broken()
        real, port.socket = port.socket, broken  # type: ignore[assignment]
        port.doRead()
        port.socket = real
        self.assertEqual(broken.asked, 2)
        client = self.connect(port)
        client.send(b".")
        self.assertEqual(await self.receive(client), b".")


class ConnectingTests(TestCase):
    """Outgoing connections that are waited for together, over loopback."""

    def setUp(self) -> None:
        if not polling.AVAILABLE:
            raise SkipTest("this system has no epoll(7)")
        self.server = EchoFactory()
        self.port = reactor.listenTCP(0, self.server, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        number = self.port.getHost().port
        self.endpoint = TCP4ClientEndpoint(connecting_together(reactor), "127.0.0.1", number)

    def connect(self, protocol: Protocol) -> Deferred[Any]:
        return connectProtocol(self.endpoint, protocol)

    async def test_each_has_its_own_dialogue_and_end(self) -> None:
        listeners = [Listener() for _ in range(30)]
        await gatherResults([self.connect(each) for each in listeners])
        # Something else stands for all of them.
        self.assertFalse({each.transport for each in listeners}.intersection(reactor.getReaders()))
        for number, each in enumerate(listeners):
            each.transport.write(b"%d." % number)  # type: ignore[union-attr]
        await until(lambda: all(each.reasons for each in listeners))
        self.assertEqual(
            [each.received for each in listeners],
            [b"%d." % number for number in range(len(listeners))],
        )
        self.assertEqual({each.reasons[0].type for each in listeners}, {ConnectionDone})

    async def test_more_than_goes_at_once(self) -> None:
        listener = Listener()
        await self.connect(listener)
        octets = b"x" * 5_000_000 + b"."
        listener.transport.write(octets)  # type: ignore[union-attr]
        await until(lambda: bool(listener.reasons))
        self.assertEqual(len(listener.received), len(octets))

    async def test_nobody_listens(self) -> None:
        await self.port.stopListening()
        await self.assertFailure(self.connect(Listener()), ConnectionRefusedError)

    def test_reactor_without_sockets_connects_itself(self) -> None:
        clock = MemoryReactorClock()
        self.assertIs(connecting_together(clock), clock)


class LastReplyTests(TestCase):
    """The last reply of a protocol of ours, over loopback."""

    def setUp(self) -> None:
        self.factory = LineFactory()
        port = ListeningReactor(reactor).listenTCP(0, self.factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.client = socket.create_connection(("127.0.0.1", port.getHost().port), 10)
        self.addCleanup(self.client.close)
        self.client.setblocking(False)

    async def receive(self, end: bytes) -> bytes:
        received = b""
        for _ in range(2000):
            try:
                received += self.client.recv(100)
            except BlockingIOError:
                pass
            if received.endswith(end):
                return received
            await deferLater(reactor, 0.002)
        self.fail(f"{received!r} is all that came")

    async def test_client_that_says_good_bye(self) -> None:
        await self.receive(b"hello\n")
        self.client.send(b"QUIT\n")
        await self.receive(b"bye\n")
        while self.factory.connections:
            await deferLater(reactor, 0.002)
        self.assertEqual(self.client.recv(100), b"")

    async def test_client_that_goes_on_sending(self) -> None:
        await self.receive(b"hello\n")
        (connection,) = self.factory.connections
        sorry = connection.command_failed

        def fail() -> None:
            sorry()
            # The server has read everything, and will not read this.
            self.client.send(b"ECHO more\n")

        self.patch(connection, "command_failed", fail)
        self.client.send(b"UNREADABLE\n")
        self.assertEqual(await self.receive(b"sorry\n"), b"sorry\n")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class StartTLSTests(tls.StartTLSTests):
    listener = ListeningReactor(reactor)


class LargeReplyTests(tls.LargeReplyTests):
    listener = ListeningReactor(reactor)


del tls
