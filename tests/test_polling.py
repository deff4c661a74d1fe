"""Connections that share an epoll: each is served as the reactor itself would do it."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IReadDescriptor
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailkit import polling
from mailkit.polling import MAX_EVENTS, Together
from mailkit.tcp import Server
from tests.support import PATIENCE

_React: TypeAlias = Callable[["Talker", bytes], object]


class Reactor:
    """Knows who reads; calls nobody."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.later: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)

    def callLater(self, delay: float, function: Any, *arguments: Any) -> None:
        self.later.append((function, arguments))


class Talker(Protocol):
    """Does what the test wants when data comes."""

    def __init__(self, react: _React) -> None:
        self.react = react
        self.received: list[bytes] = []
        self.reasons: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)
        self.react(self, data)

    def connectionLost(self, reason: Any = None) -> None:
        self.reasons.append(reason.type)


@implementer(IHalfCloseableProtocol)
class HalfCloser(Talker):
    """Goes on when the client sends no more."""

    ended = False

    def readConnectionLost(self) -> None:
        self.ended = True

    def writeConnectionLost(self) -> None:
        """Never asked for."""


class TogetherTests(SynchronousTestCase):
    def setUp(self) -> None:
        if not polling.AVAILABLE:
            raise SkipTest("this system has no epoll(7)")
        self.reactor = Reactor()
        self.together = Together(self.reactor)
        self.addCleanup(self.end)

    def end(self) -> None:
        self.together.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.reactor.readers, [])

    def connect(
        self, react: _React = lambda talker, data: None, kind: type[Talker] = Talker
    ) -> tuple[Any, socket.socket]:
        """A protocol whose transport is a member, and the client's end."""
        near, far = socket.socketpair()
        self.addCleanup(far.close)
        far.setblocking(False)
        protocol = kind(react)
        protocol.makeConnection(Server(near, protocol, ("127.0.0.1", 1), None, 1, self.together))
        return protocol, far

    def test_is_a_reader(self) -> None:
        self.assertTrue(verifyObject(IReadDescriptor, self.together))

    def test_reads_and_writes(self) -> None:
        def echo(talker: Talker, data: bytes) -> None:
            talker.transport.write(data.upper())  # type: ignore[union-attr]

        pairs = [self.connect(echo) for _ in range(3)]
        for number, (_, far) in enumerate(pairs):
            far.send(b"hello %d" % number)
        self.together.doRead()
        # The transport keeps what is written for the next turn.
        self.together.doRead()
        for number, (_, far) in enumerate(pairs):
            self.assertEqual(far.recv(100), b"HELLO %d" % number)
        # Nothing is left to do.
        self.assertEqual(self.together._epoll.poll(0), [])

    def test_one_reader_as_long_as_somebody_waits(self) -> None:
        self.assertEqual((self.reactor.readers, self.together.fileno()), ([], -1))
        for _ in range(2):
            (one, _), (two, _) = self.connect(), self.connect()
            self.assertEqual(self.reactor.readers, [self.together])
            self.assertGreater(self.together.fileno(), 2)
            one.transport.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(self.reactor.readers, [self.together])
            two.transport.connectionLost(Failure(ConnectionDone()))
            self.assertEqual((self.reactor.readers, self.together.fileno()), ([], -1))

    def test_what_else_a_reactor_does(self) -> None:
        self.together.callLater(1, print)
        self.assertEqual(self.reactor.later, [(print, ())])

    def test_protocol_that_fails(self) -> None:
        def fail(talker: Talker, data: bytes) -> None:
            raise RuntimeError

        broken, far = self.connect(fail)
        good, other = self.connect()
        far.send(b"x")
        other.send(b"y")
        self.together.doRead()
        self.assertEqual((broken.reasons, good.received), ([RuntimeError], [b"y"]))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual((far.recv(1), good.reasons), (b"", []))

    def test_protocol_that_fails_at_the_end(self) -> None:
        def fail(reason: Any) -> None:
            raise RuntimeError

        broken, far = self.connect()
        broken.connectionLost = fail
        good, other = self.connect()
        far.close()
        other.send(b"y")
        self.together.doRead()
        self.assertEqual(good.received, [b"y"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_client_that_goes(self) -> None:
        talker, far = self.connect()
        far.send(b"bye")
        far.close()
        self.together.doRead()
        self.assertEqual((talker.received, talker.reasons), ([b"bye"], []))
        self.together.doRead()
        self.assertEqual(talker.reasons, [ConnectionDone])

    def test_client_that_sends_no_more(self) -> None:
        talker, far = self.connect(kind=HalfCloser)
        far.shutdown(socket.SHUT_WR)
        self.together.doRead()
        self.assertEqual((talker.ended, talker.reasons), (True, []))
        talker.transport.write(b"the rest")
        self.together.doRead()
        self.assertEqual(far.recv(100), b"the rest")

    def break_off(self, *, paused: bool) -> Any:
        """A protocol whose client has reset the connection."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            far = socket.create_connection(listening.getsockname())
            near, _ = listening.accept()
        talker = Talker(lambda talker, data: None)
        talker.makeConnection(Server(near, talker, ("127.0.0.1", 1), None, 1, self.together))
        if paused:
            talker.transport.pauseProducing()  # type: ignore[union-attr]
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        return talker

    def test_client_that_breaks_off(self) -> None:
        talker = self.break_off(paused=False)
        self.together.doRead()
        self.assertEqual(talker.reasons, [ConnectionLost])

    def test_client_that_breaks_off_while_nobody_reads(self) -> None:
        talker = self.break_off(paused=True)
        # Nobody wants to know before there is something to write.
        self.assertEqual(self.reactor.readers, [])
        talker.transport.write(b"x")
        self.together.doRead()
        self.assertEqual(talker.reasons, [ConnectionLost])

    def test_pauses(self) -> None:
        talker, far = self.connect()
        self.connect()
        talker.transport.pauseProducing()
        far.send(b"later")
        self.together.doRead()
        self.assertEqual(talker.received, [])
        talker.transport.resumeProducing()
        self.together.doRead()
        self.assertEqual(talker.received, [b"later"])

    def test_waits_to_write_and_not_to_read(self) -> None:
        talker, far = self.connect()
        talker.transport.pauseProducing()
        talker.transport.write(b"x" * 1_000_000)
        far.send(b"later")
        received = b""
        for _ in range(1000):
            self.together.doRead()
            received += far.recv(100_000)
            if len(received) == 1_000_000:
                break
        self.assertEqual((len(received), talker.received), (1_000_000, []))
        talker.transport.resumeProducing()
        self.together.doRead()
        self.assertEqual(talker.received, [b"later"])

    def test_one_ends_another_whose_turn_would_be_next(self) -> None:
        pairs: list[tuple[Any, socket.socket]] = []

        def end_others(talker: Talker, data: bytes) -> None:
            for other, _ in pairs:
                if other is not talker:
                    other.transport.connectionLost(Failure(ConnectionDone()))

        pairs += [self.connect(end_others) for _ in range(5)]
        for _, far in pairs:
            far.send(b"x")
        self.together.doRead()
        self.assertEqual(sum(len(talker.received) for talker, _ in pairs), 1)
        self.assertEqual(sum(len(talker.reasons) for talker, _ in pairs), 4)

    def test_others_have_their_turn_too(self) -> None:
        pairs = [self.connect() for _ in range(MAX_EVENTS + 10)]
        for _, far in pairs:
            far.send(b"x")
        self.together.doRead()
        self.assertEqual(sum(len(talker.received) for talker, _ in pairs), MAX_EVENTS)
        self.together.doRead()
        self.assertEqual(sum(len(talker.received) for talker, _ in pairs), len(pairs))

    def test_the_port_comes_last(self) -> None:
        served: list[str] = []
        last, far = self.connect(lambda talker, data: served.append("last"))
        self.together.last = last.transport
        others = [self.connect(lambda talker, data: served.append("one")) for _ in range(2)]
        for _, client in [(last, far), *others]:
            client.send(b"x")
        self.together.doRead()
        self.assertEqual(served, ["one", "one", "last"])

    def test_the_reactor_ends(self) -> None:
        pairs = [self.connect() for _ in range(3)]
        pairs[0][0].connectionLost = lambda reason: 1 / 0
        self.together.connectionLost(Failure(ConnectionLost()))
        self.assertEqual([talker.reasons for talker, _ in pairs[1:]], [[ConnectionLost]] * 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.reactor.readers, [])


_PROGRAM = """
import sys, threading, socket
from twisted.internet import {module}
{module}.install()
from twisted.internet import protocol, reactor
from mailkit.tcp import ListeningReactor

class Shout(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data.upper())
        self.transport.loseConnection()
    def connectionLost(self, reason):
        self.factory.left -= 1
        if not self.factory.left:
            reactor.stop()

factory = protocol.Factory.forProtocol(Shout)
factory.left = 3
port = ListeningReactor(reactor).listenTCP(0, factory, interface="127.0.0.1")

def client():
    with socket.create_connection(("127.0.0.1", port.getHost().port), {patience}) as connection:
        connection.send(b"hello")
        received.append(connection.makefile("rb").read())

received = []
threads = [threading.Thread(target=client) for _ in range(3)]
for thread in threads:
    reactor.callWhenRunning(thread.start)
reactor.callLater({patience}, reactor.stop)
reactor.run()
for thread in threads:
    thread.join()
print(received)
"""


class ReactorTests(SynchronousTestCase):
    """Other reactors wait for an epoll just as well."""

    def check(self, module: str) -> None:
        ran = subprocess.run(
            [sys.executable, "-c", _PROGRAM.format(module=module, patience=PATIENCE)],
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        self.assertEqual((ran.stdout, ran.stderr), ("[b'HELLO', b'HELLO', b'HELLO']\n", ""))

    def test_asyncio(self) -> None:
        self.check("asyncioreactor")

    def test_select(self) -> None:
        self.check("selectreactor")

    def test_poll(self) -> None:
        self.check("pollreactor")
