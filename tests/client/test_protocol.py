"""What a connection of Twisted's writes: in one piece where it can, and in order whatever happens."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit._typing import override
from mailkit.client.address import ServerAddress
from mailkit.client.protocol import MAX_HELD, TwistedChannel, connector
from mailkit.client.security import TLSMode, TLSPolicy

reactor: Any = global_reactor
PIECE = 64 * 1024
PIECES = 100


class _Transport(StringTransport):
    """Remembers what is written at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    @override
    def write(self, data: bytes) -> None:
        self.written.append(data)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As TCP has it."""


class OutputTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.transport = _Transport()
        self.channel = TwistedChannel(Clock())
        self.channel.makeConnection(self.transport)

    async def answer(self, *parts: bytes) -> None:
        await self.channel.read(10.0)
        for part in parts:
            await self.channel.write(part, 10.0)

    def test_what_an_answer_leads_to_leaves_in_one_piece(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.channel.write(b"DATA\r\n", 10.0)))
        answering = Deferred.fromCoroutine(self.answer(b"text\r\n", b".\r\n", b"MAIL\r\n"))
        self.channel.dataReceived(b"354 go on\r\n")
        self.successResultOf(answering)
        self.successResultOf(Deferred.fromCoroutine(self.channel.write(b"QUIT\r\n", 10.0)))
        self.assertEqual(
            self.transport.written, [b"DATA\r\n", b"text\r\n.\r\nMAIL\r\n", b"QUIT\r\n"]
        )

    def test_much_is_not_held_back(self) -> None:
        answering = Deferred.fromCoroutine(self.answer(b"x" * MAX_HELD, b"y", b"z"))
        self.channel.dataReceived(b"354 go on\r\n")
        self.successResultOf(answering)
        self.assertEqual(self.transport.written, [b"x" * MAX_HELD, b"yz"])

    def test_what_was_said_is_said_before_the_end(self) -> None:
        async def leave() -> None:
            await self.answer(b"QUIT\r\n")
            await self.channel.close()

        leaving = Deferred.fromCoroutine(leave())
        self.channel.dataReceived(b"421 good bye\r\n")
        self.assertEqual(self.transport.written, [b"QUIT\r\n"])
        self.assertTrue(self.transport.disconnecting)
        self.channel.connectionLost()
        self.successResultOf(leaving)

    def test_nothing_is_said_after_it_was_broken_off(self) -> None:
        async def give_up() -> None:
            await self.answer(b"DATA\r\n")
            self.channel.abort()

        giving_up = Deferred.fromCoroutine(give_up())
        self.channel.dataReceived(b"oops\r\n")
        self.successResultOf(giving_up)
        self.assertEqual(self.transport.written, [])


class _Reader(Protocol):
    """Reads nothing until it is told to."""

    transport: Any

    def __init__(self) -> None:
        self.found = hashlib.sha256()
        self.connected_now: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()

    @override
    def connectionMade(self) -> None:
        self.transport.pauseProducing()
        self.connected_now.callback(None)

    @override
    def dataReceived(self, data: bytes) -> None:
        self.found.update(data)

    @override
    def connectionLost(self, reason: object = None) -> None:
        self.ended.callback(None)


class SocketTests(TestCase):
    async def test_a_full_socket_loses_nothing(self) -> None:
        reader = _Reader()
        factory: Any = Factory.forProtocol(lambda: reader)  # type: ignore[arg-type]
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        address = ServerAddress("127.0.0.1", port.getHost().port)
        channel, _ = await connector(address, 10.0, 10.0)(TLSPolicy(mode=TLSMode.NONE))
        await reader.connected_now
        sent = hashlib.sha256()
        reactor.callLater(0, reader.transport.resumeProducing)
        for number in range(PIECES):
            data = bytes([number]) * PIECE
            sent.update(data)
            await channel.write(data, 60.0)
        await channel.close()
        await reader.ended
        self.assertEqual(reader.found.hexdigest(), sent.hexdigest())
