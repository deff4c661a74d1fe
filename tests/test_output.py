"""Output that goes straight to the socket, and what happens where that is not possible."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.interfaces import ISSLTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from mailkit.connection import CHUNK
from mailkit.output import APART_OCTETS, APART_PIECES
from tests.line_protocol import LineConnection, LineFactory


class Reactor:
    """Knows who wants to write."""

    def __init__(self) -> None:
        self.writers: list[Any] = []

    def addWriter(self, writer: Any) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def addReader(self, reader: Any) -> None:
        """Reading is what the tests do."""

    removeReader = addReader


class Server(tcp.Server):
    """A real transport that notes what it is given to write."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.given: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.given.append(data)
        super().write(data)


class _OutputCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.factory = LineFactory(tls_context="context")
        self.reactor = Reactor()

    def connect(
        self, prepare: Callable[[Server], None] = lambda transport: None
    ) -> tuple[LineConnection, Server, socket.socket]:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        self.addCleanup(far.close)
        self.addCleanup(near.close)
        connection: LineConnection = self.factory.buildProtocol(None)
        transport = Server(near, connection, ("127.0.0.1", 1), None, 1, self.reactor)
        self.patch(transport, "getHost", lambda: None)
        self.patch(transport, "getPeer", lambda: None)
        prepare(transport)
        connection.makeConnection(transport)
        return connection, transport, far

    def talk(self) -> tuple[LineConnection, Server, socket.socket]:
        connection, transport, far = self.connect()
        self.assertEqual(far.recv(100), b"hello\n")
        return connection, transport, far

    def receive(self, far: socket.socket, length: int) -> bytes:
        """Read as a client does, while the reactor serves whoever wants to write."""
        received = bytearray()
        while len(received) < length:
            try:
                received += far.recv(1 << 20)
            except BlockingIOError:
                self.assertTrue(self.reactor.writers, "nobody wants to write")
                for writer in list(self.reactor.writers):
                    self.assertIsNone(writer.doWrite())
        return bytes(received)


class StraightOutputTests(_OutputCase):
    def test_unix_socket_has_no_tcp_options(self) -> None:
        # The transport would log an error.
        self.talk()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_reply_is_sent_before_the_reactors_next_turn(self) -> None:
        connection, transport, far = self.talk()
        connection.dataReceived(b"ECHO 1\nECHO 2\n")
        self.assertEqual(far.recv(100), b"1\n2\n")
        self.assertEqual((transport.given, self.reactor.writers), ([], []))

    def test_client_that_does_not_read_gets_everything_in_order(self) -> None:
        connection, transport, far = self.talk()
        count = 100
        connection.dataReceived(b"BIG %d\nECHO 1\n" % count)
        self.assertTrue(transport.given)
        self.assertNotEqual(self.reactor.writers, [])
        expected = b"x" * (count * CHUNK) + b"done\n1\n"
        self.assertEqual(self.receive(far, len(expected)), expected)
        self.assertEqual(self.reactor.writers, [])

    def test_socket_is_written_to_again_after_the_transport_is_empty(self) -> None:
        connection, transport, far = self.talk()
        connection.dataReceived(b"BIG 100\n")
        self.receive(far, 100 * CHUNK + 5)
        transport.given.clear()
        connection.dataReceived(b"ECHO 2\n")
        self.assertEqual((far.recv(100), transport.given), (b"2\n", []))

    def test_what_follows_does_not_overtake_what_the_transport_holds(self) -> None:
        connection, transport, far = self.talk()
        line, count = b"y" * 900 + b"\n", 0
        # It holds less than makes it say that it is full, and later empty.
        while not transport.given:
            connection.dataReceived(b"ECHO " + line)
            count += 1
        received = far.recv(1 << 24)
        connection.dataReceived(b"ECHO last\n")
        self.assertEqual(transport.given[1:], [b"last\n"])
        received += self.receive(far, count * len(line) + 5 - len(received))
        self.assertEqual(received, line * count + b"last\n")

    def test_broken_socket_is_left_to_the_transport(self) -> None:
        connection, transport, far = self.talk()
        far.close()
        connection.dataReceived(b"ECHO 1\nECHO 2\n")
        self.assertEqual(transport.given, [b"1\n2\n"])
        self.assertIsNotNone(transport.doWrite())

    def test_nothing_goes_round_tls(self) -> None:
        connection, transport, far = self.talk()
        self.patch(transport, "startTLS", lambda context: None)
        connection.dataReceived(b"TLS\n")
        self.assertEqual(far.recv(100), b"go ahead\n")
        connection.dataReceived(b"ECHO secret\n")
        self.assertEqual(transport.given, [b"secret\n"])
        self.assertRaises(BlockingIOError, far.recv, 100)

    def test_nothing_goes_round_a_transport_under_tls_from_the_start(self) -> None:
        def encrypt(transport: Server) -> None:
            directlyProvides(transport, ISSLTransport)

        _, transport, far = self.connect(encrypt)
        self.assertEqual(transport.given, [b"hello\n"])
        self.assertRaises(BlockingIOError, far.recv, 100)

    def test_nothing_is_sent_after_the_end(self) -> None:
        connection, transport, far = self.talk()
        self.patch(transport, "abortConnection", lambda: None)
        connection.dataReceived(b"ABORT\n")
        connection.write(b"late\n")
        connection.flush()
        self.assertRaises(BlockingIOError, far.recv, 100)


class _NotingSocket:
    """Sends by another one, and notes by which call."""

    def __init__(self, connected: socket.socket) -> None:
        self._connected = connected
        self.calls: list[str] = []

    def send(self, data: bytes, flags: int = 0) -> int:
        self.calls.append("send")
        return self._connected.send(data, flags)

    def sendmsg(self, pieces: list[bytes], *more: Any) -> int:
        self.calls.append("sendmsg")
        return self._connected.sendmsg(pieces, *more)


class PiecesTests(_OutputCase):
    """Output that is written in pieces, and sent without being joined."""

    def note_calls(self, connection: LineConnection) -> list[str]:
        noting = _NotingSocket(cast(socket.socket, connection._socket))
        connection._socket = cast(Any, noting)
        return noting.calls

    def test_how_pieces_are_sent(self) -> None:
        many = APART_OCTETS // APART_PIECES
        for pieces, call in (
            ([b"a"], "send"),
            ([b"a", b"b"], "send"),
            ([b"a" * APART_OCTETS], "send"),
            ([b"a" * APART_OCTETS, b"b"], "sendmsg"),
            ([b"a" * many] * APART_PIECES, "sendmsg"),
            ([b"a" * many] * (APART_PIECES + 1), "send"),
        ):
            connection, transport, far = self.talk()
            calls = self.note_calls(connection)
            connection.write(b"first")
            connection.flush()
            self.assertEqual(connection.write_all(pieces), sum(map(len, pieces)))
            connection.flush()
            self.assertEqual(calls, ["send", call])
            self.assertEqual(far.recv(1 << 20), b"first" + b"".join(pieces))
            self.assertEqual(transport.given, [])

    def test_pieces_wait_for_the_end_of_the_turn_unless_they_are_many(self) -> None:
        connection, _, far = self.talk()
        pieces = [b"2", b"3"]
        connection.write(b"1")
        connection.write_all(pieces)
        connection.write(b"4")
        connection.write_all([])
        self.assertRaises(BlockingIOError, far.recv, 100)
        connection.write_all((b"x" * CHUNK, b"5"))
        self.assertEqual(far.recv(1 << 20), b"1234" + b"x" * CHUNK + b"5")
        self.assertEqual(pieces, [b"2", b"3"])

    def test_a_list_of_pieces_stays_with_whoever_gave_it(self) -> None:
        connection, _, far = self.talk()
        pieces = [b"1", b"2"]
        connection.write_all(pieces)
        connection.write(b"3")
        self.assertEqual(pieces, [b"1", b"2"])
        connection.flush()
        self.assertEqual(far.recv(100), b"123")

    def test_a_socket_that_takes_a_part(self) -> None:
        connection, transport, far = self.talk()
        expected = b""
        number = 0
        while not transport.given:
            pieces = [b"%d " % number, b"x" * 30_000, b"y" * 7, b"z" * 20_000]
            connection.write_all(pieces)
            connection.flush()
            expected += b"".join(pieces)
            number += 1
        # The transport has the rest, and all that follows.
        connection.write_all([b"last", b"x" * CHUNK])
        expected += b"last" + b"x" * CHUNK
        self.assertEqual(self.receive(far, len(expected)), expected)

    def test_a_broken_socket(self) -> None:
        connection, transport, far = self.talk()
        far.close()
        connection.write_all([b"x" * CHUNK, b"end"])
        self.assertEqual(transport.given, [b"x" * CHUNK + b"end"])
        self.assertIsNotNone(transport.doWrite())

    def test_pieces_that_are_encoded(self) -> None:
        connection, _, far = self.talk()
        connection._encode = lambda data: data[::2]
        connection.write_all([b"x." * APART_OCTETS, b"y."])
        connection.flush()
        self.assertEqual(far.recv(1 << 20), b"x" * APART_OCTETS + b"y")
