"""Several commands at a time, users that take their time, and those that give up."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.content import CONTENT_MEMORY, SHARED_CONTENT_MEMORY
from mailkit.pop3.client import Refused, Retrieved
from mailkit.pop3.client.fetching import MAX_WAITING_OCTETS
from tests.pop3.client.support import LOGIN, SETTINGS, Script, Wire, scripted, served
from tests.pop3.fakes import FakeWritableMailbox, Server

LARGE = b"Subject: large\r\n\r\n" + b".line that begins with a dot\r\n" * 40_000


class PipeliningTests(SynchronousTestCase):
    def test_commands_leave_before_answers_come(self) -> None:
        wire = scripted()
        results = [wire.start(wire.session.noop()) for _ in range(3)]
        script: Any = wire.answer
        self.assertEqual(script.heard[-3:], [b"NOOP"] * 3)
        for number in range(3):
            wire.pending += b"-ERR no\r\n" if number == 1 else b"+OK\r\n"
            wire.flush()
            self.assertEqual(
                [len(each) for each in results], [1] * (number + 1) + [0] * (2 - number)
            )
        self.assertRaises(Refused, wire.result, results[1])

    def test_no_more_than_the_settings_say(self) -> None:
        wire = scripted()
        script: Any = wire.answer
        for _ in range(SETTINGS.max_pipelined + 5):
            wire.start(wire.session.noop())
        self.assertEqual(script.heard.count(b"NOOP"), SETTINGS.max_pipelined)
        wire.pending += b"+OK\r\n" * 2
        wire.flush()
        self.assertEqual(script.heard.count(b"NOOP"), SETTINGS.max_pipelined + 2)

    def test_quit_waits_for_all_before(self) -> None:
        wire = scripted()
        script: Any = wire.answer
        wire.start(wire.session.noop())
        results = wire.start(wire.session.quit())
        self.assertEqual(script.heard[-1], b"NOOP")
        wire.pending += b"+OK\r\n"
        wire.flush()
        self.assertEqual(script.heard[-1], b"QUIT")
        wire.pending += b"+OK bye\r\n"
        wire.flush()
        wire.lose()
        self.assertEqual(results[0].text, "bye")

    def test_a_command_that_was_given_up_keeps_its_place(self) -> None:
        wire = scripted()
        waiting = Deferred.fromCoroutine(wire.session.retr(1))
        other = wire.start(wire.session.stat())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        wire.pending += b"+OK\r\nSubject: x\r\n\r\n.\r\n+OK 3 4\r\n"
        wire.flush()
        self.assertEqual(other, [(3, 4)])

    def test_a_command_that_was_given_up_before_it_was_sent(self) -> None:
        script = Script((b"CAPA", b"+OK\r\nUSER\r\n.\r\n"), *LOGIN[1:], (b"NOOP", b""))
        wire = Wire(script)
        wire.run(wire.session.open())
        first = wire.start(wire.session.noop())
        waiting = Deferred.fromCoroutine(wire.session.dele(1))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        wire.pending += b"+OK\r\n"
        wire.flush()
        self.assertEqual(first, [None])
        self.assertEqual(script.heard[-1], b"NOOP")


class LargeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(FakeWritableMailbox(LARGE, b"Subject: small\r\n\r\n", LARGE))

    async def join(self, pieces: AsyncIterator[bytes]) -> bytes:
        return b"".join([piece async for piece in pieces])

    def test_a_large_message_lies_in_a_file(self) -> None:
        wire = served(self.server)
        content = wire.run(wire.session.retr(1))
        self.assertGreater(content.size, CONTENT_MEMORY)
        self.assertEqual(content.octets(), LARGE)
        path = content._spool.path
        assert path is not None
        self.assertEqual(os.path.getsize(path), len(LARGE))
        content.close()
        self.assertFalse(os.path.exists(path))

    def test_a_stream(self) -> None:
        for piece in (None, 100_001):
            wire = served(self.server, piece=piece)
            self.assertEqual(wire.run(self.join(wire.session.stream(1))), LARGE)
            wire.run(wire.session.quit())

    def test_a_slow_reader_holds_the_server_back(self) -> None:
        wire = served(self.server, piece=64 * 1024)
        stream = wire.session.stream(1)
        piece = wire.run(anext(stream))
        wire.flush()
        self.assertEqual(wire.transport.producerState, "paused")
        self.assertGreater(len(wire.pending), len(LARGE) - 3 * MAX_WAITING_OCTETS)
        # However long that takes.
        wire.clock.advance(10_000)
        self.assertEqual(piece + wire.run(self.join(stream)), LARGE)

    def test_another_command_meanwhile_is_answered(self) -> None:
        wire = served(self.server, piece=64 * 1024)
        stream = wire.session.stream(1)
        piece = wire.run(anext(stream))
        self.assertEqual(wire.run(wire.session.stat())[0], 3)
        self.assertEqual(piece + wire.run(self.join(stream)), LARGE)

    def test_a_stream_that_is_left(self) -> None:
        async def begin() -> None:
            async for _ in wire.session.stream(1):
                break

        wire = served(self.server, piece=64 * 1024)
        wire.run(begin())
        self.assertEqual(wire.run(wire.session.stat())[0], 3)

    def test_messages_that_nobody_takes_hold_the_server_back(self) -> None:
        message = b"x" * 1_000_000 + b"\r\n"
        server = Server(FakeWritableMailbox(*[message] * 12))
        wire = served(server, piece=128 * 1024)
        messages = wire.session.fetch(range(1, 13))
        first: Retrieved = wire.run(anext(messages))
        assert first.content is not None
        wire.flush()
        self.assertEqual(wire.transport.producerState, "paused")
        self.assertLess(self.waiting(wire), SHARED_CONTENT_MEMORY + 2**20)

        async def rest() -> list[int]:
            return [each.content.size if each.content else 0 async for each in messages]

        self.assertEqual(wire.run(rest()), [len(message)] * 11)
        self.assertEqual(self.waiting(wire), 0)

    def waiting(self, wire: Wire) -> int:
        return wire.session._contents._waiting

    def test_deleting_while_fetching(self) -> None:
        async def fetch_and_delete() -> int:
            count = 0
            async for message in wire.session.fetch([1, 2, 3]):
                await wire.session.dele(message.number)
                count += 1
            return count

        wire = served(self.server)
        self.assertEqual(wire.run(fetch_and_delete()), 3)
        self.assertEqual(wire.run(wire.session.stat())[0], 0)

    def test_fetching_that_is_left(self) -> None:
        async def begin() -> None:
            async for _ in wire.session.fetch([1, 2, 3]):
                break

        wire = served(self.server, piece=64 * 1024)
        wire.run(begin())
        wire.run(wire.session.noop())
        self.assertEqual(self.waiting(wire), 0)
