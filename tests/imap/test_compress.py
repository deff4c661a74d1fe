"""COMPRESS=DEFLATE (RFC 4978)."""

from __future__ import annotations

import os
import socket
import ssl
import zlib
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit import connection
from tests.imap.messages import PLAIN
from tests.imap.support import USER, Client, Server, split_responses
from tests.support import PATIENCE
from tests.test_connection_tls import make_context

reactor: Any = global_reactor


class Compressed:
    """A client's end after COMPRESS."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
        self.inflater = zlib.decompressobj(-15)

    def encode(self, data: bytes) -> bytes:
        return self.compressor.compress(data) + self.compressor.flush(zlib.Z_SYNC_FLUSH)

    def send(self, data: bytes) -> bytes:
        return self.inflater.decompress(self.client.send(self.encode(data)))

    def read(self) -> bytes:
        return self.inflater.decompress(self.client.read())

    def command(self, text: bytes) -> list[bytes]:
        lines = split_responses(self.send(b"a " + text + b"\r\n"))
        return [*lines[:-1], lines[-1].removeprefix(b"a ")]


class CompressTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.add(PLAIN)

    def compressed(self, *commands: str, **settings: Any) -> Compressed:
        client = (Server(**settings) if settings else self.server).login(*commands)
        self.assertEqual(client.command("COMPRESS DEFLATE"), [b"OK DEFLATE active"])
        return Compressed(client)

    def test_commands_and_responses(self) -> None:
        client = self.compressed()
        self.assertEqual(client.command(b"NOOP"), [b"OK NOOP completed"])
        lines = client.command(b"SELECT INBOX")
        self.assertIn(b"* 1 EXISTS", lines)
        (line, _) = client.command(b"FETCH 1 BODY.PEEK[]")
        self.assertIn(PLAIN, line)
        self.assertIn(b"OK [APPENDUID ", client.command(b"APPEND INBOX {3+}\r\nabc")[-1])
        self.assertEqual(client.command(b"LOGOUT")[-1], b"OK LOGOUT completed")
        self.assertTrue(client.client.closed)

    def test_any_letter_case(self) -> None:
        self.assertEqual(self.server.login().command("compress Deflate"), [b"OK DEFLATE active"])

    def test_continuations_are_sent_at_once(self) -> None:
        client = self.compressed()
        self.assertEqual(client.send(b"a APPEND INBOX {3}\r\n"), b"+ Ready for the message\r\n")
        self.assertIn(b"a OK [APPENDUID ", client.send(b"abc\r\n"))

    def test_every_split_of_the_octets(self) -> None:
        commands = b"1 NOOP\r\n2 APPEND INBOX {6+}\r\na\r\nb\r\n\r\n3 NOOP\r\n"
        reference = Compressed(self.server.login("COMPRESS DEFLATE"))
        octets = reference.encode(commands)
        for position in range(len(octets)):
            client = self.compressed()
            answer = client.client.send(octets[:position]) + client.client.send(octets[position:])
            lines = split_responses(client.inflater.decompress(answer))
            self.assertEqual([line[:4] for line in lines], [b"1 OK", b"2 OK", b"3 OK"])

    def test_one_flush_for_a_batch_of_responses(self) -> None:
        client = self.compressed("SELECT INBOX")
        before = client.client.transport.writes
        client.client.protocol.dataReceived(client.encode(b"1 NOOP\r\n2 CAPABILITY\r\n3 X\r\n"))
        self.assertEqual(client.client.transport.writes, before + 1)
        octets = client.client.take()
        # RFC 1979 section 2.1: a flush ends in an empty stored block.
        self.assertEqual(octets.count(b"\0\0\xff\xff"), 1)
        self.assertTrue(octets.endswith(b"\0\0\xff\xff"))

    def test_idle(self) -> None:
        client = self.compressed("SELECT INBOX")
        self.assertEqual(client.send(b"a IDLE\r\n"), b"+ idling\r\n")
        self.server.add(PLAIN)
        self.assertEqual(client.read() + client.read(), b"* 2 EXISTS\r\n* 2 RECENT\r\n")
        deflate = client.client.protocol._deflate
        assert deflate is not None
        self.assertIsNone(deflate._compressor)
        self.assertEqual(client.send(b"DONE\r\n"), b"a OK IDLE completed\r\n")
        self.assertFalse(deflate.resting)
        self.assertEqual(client.command(b"NOOP"), [b"OK NOOP completed"])

    def test_not_twice(self) -> None:
        client = self.compressed()
        self.assertEqual(
            client.command(b"COMPRESS DEFLATE"),
            [b"BAD [COMPRESSIONACTIVE] DEFLATE is active already"],
        )
        self.assertEqual(client.command(b"NOOP"), [b"OK NOOP completed"])

    def test_faults(self) -> None:
        client = self.server.login()
        for text in ("COMPRESS", "COMPRESS LZ4", "COMPRESS DEFLATE x", 'COMPRESS "DEFLATE"'):
            (line,) = client.command(text)
            self.assertTrue(line.startswith(b"BAD "), line)
        self.assertEqual(client.command("NOOP"), [b"OK NOOP completed"])

    def test_after_login_only(self) -> None:
        # RFC 4978 section 5: command-auth.
        client = self.server.connect()
        self.assertNotIn(b"COMPRESS", client.greeting)
        self.assertTrue(client.command("COMPRESS DEFLATE")[0].startswith(b"BAD "))
        self.assertIn(b" COMPRESS=DEFLATE", self.server.login().command("CAPABILITY")[0])

    def test_switched_off(self) -> None:
        client = Server(without=["COMPRESS=DEFLATE"]).login()
        self.assertNotIn(b"COMPRESS", client.command("CAPABILITY")[0])
        self.assertTrue(client.command("COMPRESS DEFLATE")[0].startswith(b"BAD "))

    def test_what_is_not_deflate_ends_the_connection(self) -> None:
        client = self.compressed()
        answer = client.inflater.decompress(client.client.send(b"a NOOP\r\n"))
        self.assertEqual(answer, b"* BYE What you send is not compressed by DEFLATE\r\n")
        self.assertTrue(client.client.closed)

    def test_commands_sent_too_early_are_read_as_compressed(self) -> None:
        # RFC 4978 section 3 forbids it.
        client = self.server.login()
        answer = client.send(b"a COMPRESS DEFLATE\r\nb NOOP\r\n")
        self.assertTrue(answer.startswith(b"a OK DEFLATE active\r\n"), answer)
        self.assertTrue(client.closed)

    def test_bombs_cost_no_memory_and_leave_time_to_others(self) -> None:
        client = self.compressed("SELECT INBOX", max_line=64 * 1024)
        octets = client.encode(b"a NOOP " + b"x" * 60_000_000 + b"\r\nb NOOP\r\n")
        self.assertLess(len(octets), 65_536)
        protocol = client.client.protocol
        held: list[int] = []
        next_turn = protocol._next_turn

        def note_turn() -> Any:
            held.append(len(protocol.buffer))
            return next_turn()

        protocol._next_turn = note_turn  # type: ignore[method-assign]
        lines = split_responses(client.inflater.decompress(client.client.send(octets)))
        self.assertGreater(len(held), 40)
        self.assertLess(max(held), 2 * connection.CHUNK)
        self.assertEqual(lines, [b"a BAD The command line is too long", b"b OK NOOP completed"])

    def test_input_waits_while_a_command_runs(self) -> None:
        client = self.compressed("SELECT INBOX")
        self.server.add(*[os.urandom(20_000).hex().encode() for _ in range(3)])
        client.command(b"NOOP")
        transport = client.client.transport
        transport.limit = 1000
        client.client.protocol.dataReceived(client.encode(b"1 FETCH 2:4 BODY.PEEK[]\r\n"))
        self.assertTrue(transport.paused)
        for _ in range(200):
            client.client.protocol.dataReceived(client.encode(b"x NOOP\r\n" * 10_000))
            if transport.producerState == "paused":
                break
        protocol = client.client.protocol
        assert protocol._deflate is not None
        self.assertLess(len(protocol.buffer) + protocol._deflate.waiting, 400_000)

    def test_the_end_of_the_input(self) -> None:
        client = self.compressed()
        client.client.protocol.dataReceived(client.encode(b"1 NOOP\r\n2 NOOP\r\n"))
        client.client.protocol.readConnectionLost()
        self.assertEqual(client.read(), b"1 OK NOOP completed\r\n2 OK NOOP completed\r\n")
        self.assertTrue(client.client.closed)


class LoopbackTests(TestCase):
    """Over sockets, where what is sent goes straight to the system, and under TLS."""

    async def dialogue(self, port: Any, encrypted: bool) -> None:
        received = await deferToThread(_talk, port.getHost().port, encrypted)
        self.assertIn(b"c OK [APPENDUID ", received)
        self.assertEqual(received.count(b"FETCH (BODY[] {300000}\r\n"), 2)
        self.assertTrue(received.endswith(b"e OK LOGOUT completed\r\n"), received[-80:])

    async def test_plain(self) -> None:
        server = Server()
        server.factory.clock = reactor
        port = reactor.listenTCP(0, server.factory, interface="127.0.0.1")
        try:
            await self.dialogue(port, False)
        finally:
            await maybeDeferred(port.stopListening)

    async def test_under_tls(self) -> None:
        server = Server()
        server.factory.clock = reactor
        factory = TLSMemoryBIOFactory(make_context(), False, server.factory)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        try:
            await self.dialogue(port, True)
        finally:
            await maybeDeferred(port.stopListening)


def _talk(port: int, encrypted: bool) -> bytes:
    """What a client gets, without the greeting and what came before COMPRESS."""
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    if encrypted:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        client = context.wrap_socket(client)
    with client:
        file = client.makefile("rb")
        file.readline()
        client.sendall(f"a LOGIN {USER} secret\r\n".encode())
        file.readline()
        client.sendall(b"b COMPRESS DEFLATE\r\n")
        assert file.readline().startswith(b"b OK ")
        compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
        message = os.urandom(150_000).hex().encode()
        commands = b"c APPEND INBOX {300000+}\r\n%b\r\nd SELECT INBOX\r\n" % message
        commands += b"d FETCH 1 BODY.PEEK[]\r\n" * 2 + b"e LOGOUT\r\n"
        client.sendall(compressor.compress(commands) + compressor.flush(zlib.Z_SYNC_FLUSH))
        return zlib.decompressobj(-15).decompress(file.read())
