"""COMPRESS=DEFLATE (RFC 4978) as the client sees it."""

from __future__ import annotations

import zlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.channel import INFLATED
from mailkit.imap.client import ConnectionLost, Exists, NotOffered, ProtocolError, Refused
from tests.imap.client.support import login
from tests.imap.client.test_pipelining import SELECTED, Manual
from tests.imap.support import Server

GREETING = b"* OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE IDLE] hello\r\n"
MESSAGE = b"Subject: one\r\n\r\n" + bytes(range(32, 127)) * 10_000


class OurServerTests(SynchronousTestCase):
    def test_messages_both_ways(self) -> None:
        client = login(Server())
        session = client.session
        client.run(session.compress())
        self.assertTrue(session.facts.compressed)
        client.run(session.append("INBOX", MESSAGE, b"two"))
        client.run(session.select("INBOX"))
        messages = client.run(_all(session.fetch("1:*", ["FLAGS", "BODY.PEEK[]"])))
        contents: list[Any] = [each.content() for each in messages]
        self.assertEqual([each.octets() for each in contents], [MESSAGE, b"two"])
        client.run(session.logout())

    def test_idle(self) -> None:
        server = Server()
        client = login(server)
        client.run(client.session.compress())
        client.run(client.session.select("INBOX"))
        idling = client.session.idle()
        client.run(idling.__aenter__())
        waiting = client.start(idling.next(None))
        server.add(b"new")
        client.flush()
        self.assertEqual(waiting, [Exists(1)])
        client.run(idling.__aexit__())
        client.run(client.session.noop())

    def test_once(self) -> None:
        client = login(Server())
        client.run(client.session.compress())
        with self.assertRaises(NotOffered):
            client.run(client.session.compress())


async def _all(fetching: Any) -> Any:
    return await fetching


class ScriptedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.wire = Manual(GREETING)
        self.compressor = zlib.compressobj(9, zlib.DEFLATED, -15)

    def encode(self, octets: bytes) -> bytes:
        return self.compressor.compress(octets) + self.compressor.flush(zlib.Z_SYNC_FLUSH)

    def compress(self, more: bytes = b"") -> None:
        results = self.wire.start(self.wire.session.compress())
        self.assertEqual(self.wire.take(), [b"m1 COMPRESS DEFLATE"])
        self.wire.say(b"m1 OK x\r\n" + more)
        self.assertEqual(results, [None])

    def test_octets_right_behind_the_answer(self) -> None:
        self.compress(self.encode(b"* CAPABILITY IMAP4rev1 X-NEW\r\n* O"))
        self.assertIn("X-NEW", self.wire.session.capabilities)
        self.wire.say(self.encode(b"K x\r\n"))
        self.assertFalse(self.wire.session.closed)

    def test_refused(self) -> None:
        results = self.wire.start(self.wire.session.compress())
        self.wire.say(b"m1 NO [COMPRESSIONACTIVE] x\r\n* CAPABILITY IMAP4rev1 X-NEW\r\n")
        results[0].trap(Refused)
        self.assertIn("X-NEW", self.wire.session.capabilities)

    def test_not_compressed(self) -> None:
        self.compress()
        results = self.wire.start(self.wire.session.noop())
        self.wire.say(b"m2 OK this is no DEFLATE\r\n")
        results[0].trap(ProtocolError)
        self.assertIn("compress", results[0].value.text)

    def test_much_from_little(self) -> None:
        """What 60 KiB stand for is read piece by piece, and nothing else meanwhile."""
        self.compress()
        seen = 0

        def hear(response: object) -> None:
            nonlocal seen
            seen += 10

        self.wire.session.add_listener(hear)
        turns: list[Any] = []
        self.wire.channel._later = turns.append  # type: ignore[method-assign]
        bomb = self.encode(b"* OK xxx\r\n" * 200_000)
        self.assertLess(len(bomb), 8 * 1024)
        self.wire.channel.dataReceived(bomb)
        self.assertEqual(self.wire.transport.producerState, "paused")
        for turn in range(1, 4):
            turns.pop()()
            self.assertEqual(seen // 10, turn * INFLATED // 10)
        # Given up: no more of it is inflated.
        self.wire.session.abort()
        turns.pop()()
        self.assertEqual(turns, [])
        self.assertLess(seen, 3 * INFLATED + 20)

    def test_who_takes_his_time(self) -> None:
        """A fetch that holds the server back holds back what has come compressed too."""
        self.compress()
        self.wire.start(self.wire.session.select("INBOX"))
        self.wire.say(self.encode(SELECTED.replace(b"m1", b"m2").replace(b"5", b"3000")))
        messages = self.wire.session.fetch("1:*", "UID").__aiter__()
        first = self.wire.start(messages.__anext__())
        lines = b"".join(b"* %d FETCH (UID %d)\r\n" % (n, n) for n in range(1, 3001))
        self.wire.channel.dataReceived(self.encode(lines + b"m3 OK x\r\n"))
        for _ in range(5):
            self.wire.clock.advance(0)
        self.assertEqual(first[0].uid, 1)
        for uid in range(2, 3001):
            (message,) = self.wire.start(messages.__anext__())
            self.assertEqual(message.uid, uid)
        self.wire.start(messages.__anext__())[0].trap(StopAsyncIteration)

    def test_what_came_before_the_end_counts(self) -> None:
        self.compress()
        first = self.wire.start(self.wire.session.noop())
        second = self.wire.start(self.wire.session.noop())
        self.wire.channel.dataReceived(self.encode(b"m2 OK x\r\n"))
        self.wire.lose()
        self.wire.clock.advance(0)
        self.wire.clock.advance(0)
        self.assertEqual(first, [None])
        second[0].trap(ConnectionLost)
