"""A response that is larger than the limits is passed over: the command fails, the connection goes on."""

from __future__ import annotations

import tracemalloc
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.errors import ProtocolError
from mailkit.imap.client import PassedOver, Refused, ResponseTooLarge
from mailkit.imap.client.reader import Response, ResponseLimits, ResponseReader
from mailkit.imap.client.responses import parse_response
from tests.imap.client.test_bounds import limited
from tests.imap.client.test_pipelining import SELECTED, Manual

LIMITS = ResponseLimits(
    line=100, status=80, strings=100, content=100, sections=3, tokens=5, skipped=4000
)
NEXT = b"* 7 EXISTS\r\n"


class ReaderTests(SynchronousTestCase):
    def read(self, octets: bytes, piece: int) -> list[Response]:
        reader = ResponseReader(LIMITS)
        found = []
        for start in range(0, len(octets), piece):
            reader.feed(octets[start : start + piece])
            while (response := reader.read()) is not None:
                found.append(response)
        self.assertTrue(reader.idle)
        return found

    def check(self, octets: bytes, limit: str, beginning: bytes = b"") -> None:
        """However it arrives, what comes behind is read."""
        for piece in (1, 2, 3, 7, 40, 101, len(octets) + len(NEXT)):
            large, following = self.read(octets + NEXT, piece)
            self.assertEqual(large.excess, limit, piece)
            self.assertEqual(large.contents, {})
            self.assertTrue(octets.startswith(large.octets[:12]), (piece, large))
            self.assertTrue(large.octets.startswith(beginning), (piece, large))
            self.assertEqual(following, Response(NEXT[:-2], {}))

    def test_lines(self) -> None:
        for octets in (
            b"* LIST () NIL " + b"x" * 100 + b"\r\n",
            b"* LIST () NIL " + b"x" * 100 + b" {9}\r\n* 1 EXIST\r\n",
            b"* LIST () NIL {3}\r\n\r\nx " + b"x" * 100 + b" {5}\r\n\r\n* 1 {0}\r\n\r\n",
            b"* X " + b"{0}\r\n " * 4 + b"x" * 100 + b"\r\n",
            b"* 1 FETCH (BODY[] {3}\r\n\r\n) FLAGS (" + b"x" * 100 + b") BODY[1] ~{2}\r\n\r\n)\r\n",
        ):
            self.check(octets, "line")

    def test_text(self) -> None:
        for beginning in (b"* OK [", b"* BYE ", b"m12 NO "):
            self.check(beginning + b"x" * 80 + b"\r\n", "status", beginning)
            # It has no literals.
            self.check(beginning + b"x" * 80 + b" {12}\r\n", "status", beginning)

    def test_what_is_as_large_as_it_may_be(self) -> None:
        for octets in (
            b"* X " + b"x" * 94 + b"\r\n",
            b"* OK " + b"x" * 73 + b"\r\n",
            b"* X {100}\r\n" + b"x" * 100 + b"\r\n",
        ):
            for piece in (1, 50, 1000):
                first, following = self.read(octets + NEXT, piece)
                self.assertEqual((first.octets, first.excess), (octets[:-2], ""))
                self.assertEqual(following.octets, NEXT[:-2])

    def test_literals(self) -> None:
        self.check(b"* LIST () NIL {101}\r\n" + b"\r\n* 1 X\r\n" * 11 + b"xy\r\n", "strings")
        self.check(b"* X {60}\r\n%b {60}\r\n%b\r\n" % ((b"x\r\n" * 20,) * 2), "strings")
        self.check(b"* LIST () NIL " + b"{0}\r\n" * 50 + b"\r\n", "tokens")

    def test_contents(self) -> None:
        self.check(b"* 1 FETCH (BODY[] {101}\r\n" + b"x" * 101 + b" UID 1)\r\n", "content")
        twice = b"* 1 FETCH (BODY[1] {60}\r\n%b BODY[2] {60}\r\n%b)\r\n"
        self.check(twice % ((b"x" * 60,) * 2), "content")
        self.check(b"* 1 FETCH (" + b"BODY[] {1}\r\nx " * 4 + b"UID 1)\r\n", "sections")

    def test_too_much_to_pass_over(self) -> None:
        for octets in (
            b"* X {5000}\r\n",
            b"* X " + b"x" * 5000,
            (b"* X " + b"x" * 1100 + b"\r\n") * 4,
        ):
            for piece in (1, 200, 9000):
                self.assertRaises(ProtocolError, self.read, octets, piece)

    def test_memory(self) -> None:
        reader = ResponseReader(LIMITS._replace(skipped=10_000_000))
        piece = b"x" * 10_000
        reader.feed(b"* X ")
        tracemalloc.start()
        try:
            for _ in range(500):
                reader.feed(piece)
                self.assertIsNone(reader.read())
            self.assertLess(tracemalloc.get_traced_memory()[1], 100_000)
        finally:
            tracemalloc.stop()


class CodeTests(SynchronousTestCase):
    """Where a response code ends is not looked for without end."""

    def test_quotes(self) -> None:
        limits = ResponseLimits(quotes=10)
        status: Any = parse_response(Response(b"* OK [X %b] y" % (b'"]"' * 3), {}), limits)
        self.assertEqual((status.code.arguments, status.text), (b'"]"' * 3, "y"))
        with self.assertRaises(ResponseTooLarge) as caught:
            parse_response(Response(b"* OK [X %b] y" % (b'""' * 6), {}), limits)
        self.assertIn("ResponseLimits.quotes", str(caught.exception))

    def test_the_limits_are_small(self) -> None:
        limits = ResponseLimits()
        self.assertLessEqual(limits.quotes, 10_000)
        self.assertLess(limits.status, limits.line)


class CommandTests(SynchronousTestCase):
    """Which command fails."""

    def setUp(self) -> None:
        self.wire: Manual = limited(line=1000, status=200)
        self.wire.start(self.wire.session.select("INBOX"))
        self.wire.say(SELECTED)
        self.heard: list[Any] = []
        self.wire.session.add_listener(self.heard.append)

    def usable(self) -> None:
        results = self.wire.start(self.wire.session.noop())
        tag = self.wire.take()[-1].split()[0]
        self.wire.say(tag + b" OK x\r\n")
        self.assertEqual(results, [None])

    def test_a_list(self) -> None:
        results = self.wire.start(self.wire.session.list())
        fetched = self.wire.start(self.wire.session.fetch([1], "FLAGS"))
        self.wire.say(b'* LIST () "/" %b\r\n* LIST () "/" x\r\n' % (b"x" * 1000))
        self.wire.say(b"* 1 FETCH (UID 1 FLAGS ())\r\nm2 OK x\r\nm3 OK x\r\n")
        error: Any = results[0].value
        self.assertIs(type(error), ResponseTooLarge)
        self.assertEqual(error.command, "LIST")
        self.assertIn("1000 (ResponseLimits.line)", error.text)
        self.assertFalse(error.temporary)
        self.assertEqual([each.uid for each in fetched[0]], [1])
        self.assertEqual(self.heard[0], PassedOver("LIST", 0, None))
        self.usable()

    def test_what_can_be_read_but_is_too_much(self) -> None:
        results = self.wire.start(self.wire.session.fetch("1:*", "FLAGS"))
        self.wire.say(b"* 1 FETCH (UID 1 FLAGS (%b))\r\nm2 OK x\r\n" % (b"x " * 200))
        results[0].trap(ResponseTooLarge)
        self.assertIn("ResponseLimits.tokens", results[0].value.text)
        self.usable()

    def test_messages_one_by_one(self) -> None:
        uids: list[int | None] = []

        async def fetch() -> None:
            async for message in self.wire.session.fetch("1:*", ["ENVELOPE"]):
                uids.append(message.uid)

        results = self.wire.start(fetch())
        envelope = b"ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
        self.wire.say(b"* 1 FETCH (UID 1 %b)\r\n" % envelope)
        self.wire.say(b"* 2 FETCH (UID 2 ENVELOPE (NIL %b))\r\n" % (b"x" * 1000))
        self.wire.say(b"* 3 FETCH (UID 3 %b)\r\nm2 OK x\r\n" % envelope)
        self.assertEqual(uids, [1, 3])
        results[0].trap(ResponseTooLarge)
        self.assertEqual(self.heard[1], PassedOver("FETCH", 2, None))
        self.usable()

    def test_whose_message_it_is(self) -> None:
        self.wire.say(b"* 2 FETCH (UID 2)\r\n")
        first = self.wire.start(self.wire.session.fetch([1], "FLAGS"))
        second = self.wire.start(self.wire.session.fetch([2], "FLAGS"))
        third = self.wire.start(self.wire.session.noop())
        self.wire.say(b"* 2 FETCH (FLAGS (%b))\r\n" % (b"x" * 1000))
        self.wire.say(b"m2 OK x\r\nm3 OK x\r\nm4 OK x\r\n")
        self.assertEqual((first, third), ([[]], [None]))
        second[0].trap(ResponseTooLarge)

    def test_an_extended_search(self) -> None:
        first = self.wire.start(self.wire.session.search("SEEN"))
        second = self.wire.start(self.wire.session.search("UNSEEN"))
        self.wire.say(b'* ESEARCH (TAG "m3") UID ALL %b\r\n' % (b"1," * 1000))
        self.wire.say(b'* ESEARCH (TAG "m2") UID ALL 5\r\nm2 OK x\r\nm3 OK x\r\n')
        self.assertEqual(first, [[5]])
        second[0].trap(ResponseTooLarge)
        self.usable()

    def test_the_end_of_a_command(self) -> None:
        results = self.wire.start(self.wire.session.copy([1], "x"))
        self.wire.say(b"m2 OK [COPYUID 1 %b %b] x\r\n" % (b"1," * 100, b"1," * 100))
        results[0].trap(ResponseTooLarge)
        results = self.wire.start(self.wire.session.copy([1], "x"))
        self.wire.say(b"m3 NO [NONEXISTENT] %b\r\n" % (b"x" * 1000))
        results[0].trap(Refused)
        self.usable()

    def test_a_set_of_a_response_code(self) -> None:
        wire = limited(ranges=3)
        wire.start(wire.session.select("INBOX"))
        wire.say(SELECTED)
        results = wire.start(wire.session.copy([1], "x"))
        wire.say(b"* OK [COPYUID 1 1,3,5,7 1,3,5,7] x\r\nm2 OK x\r\n")
        results[0].trap(ProtocolError)

    def test_what_nobody_asked_for(self) -> None:
        self.wire.say(b"* OK [ALERT] %b\r\n* 1 FETCH (X %b)\r\n" % ((b"x" * 1000,) * 2))
        self.assertEqual([each.name for each in self.heard], ["OK", "FETCH"])
        self.usable()

    def test_while_idling(self) -> None:
        idling = self.wire.session.idle()
        self.wire.start(idling.__aenter__())
        self.wire.say(
            b"+ go\r\n* 1 FETCH (X %b)\r\n* OK %b\r\n* 6 EXISTS\r\n" % ((b"x" * 1000,) * 2)
        )
        self.assertEqual(self.wire.run(idling.next(None)).messages, 6)
        results = self.wire.start(idling.__aexit__(None, None, None))
        self.wire.say(b"m2 OK x\r\n")
        self.assertEqual(results, [None])

    def test_goodbye(self) -> None:
        results = self.wire.start(self.wire.session.noop())
        self.wire.say(b"* BYE %b\r\n" % (b"x" * 1000))
        self.wire.lose()
        self.assertEqual(type(results[0].value).__name__, "FarewellSaid")

    def test_what_the_client_cannot_do_without(self) -> None:
        for octets in (
            b"* 5 EXISTS " + b"x" * 1000,
            b"* 1 EXPUNGE " + b"x" * 1000,
            b"* VANISHED %b1" % (b"1," * 1000),
            b"+ " + b"x" * 1000,
            b"* 1 " + b"x" * 1000,
            b"m9 OK " + b"x" * 1000,
            b"x" * 2000,
        ):
            self.setUp()
            results = self.wire.start(self.wire.session.noop())
            self.wire.say(octets + b"\r\n")
            results[0].trap(ProtocolError)
            self.assertTrue(self.wire.session.closed, octets[:20])

    def test_vanished_earlier(self) -> None:
        octets = b"* VANISHED (EARLIER) %b1\r\n" % (b"1," * 1000)
        self.wire.say(octets)
        self.usable()
        self.wire.session._connection.facts.announced |= {"QRESYNC"}
        fetching = self.wire.session.fetch("1:*", "FLAGS", changed_since=5, vanished=True)
        results = self.wire.start(fetching._all())
        stored = self.wire.start(self.wire.session.noop())
        self.wire.say(octets + b"m3 OK x\r\nm4 OK x\r\n")
        results[0].trap(ResponseTooLarge)
        self.assertEqual(stored, [None])
        self.usable()

    def test_messages_in_the_answer_to_select(self) -> None:
        for octets in (b"* 1 FETCH (UID 1 FLAGS (%b))", b"* VANISHED (EARLIER) %b"):
            self.setUp()
            results = self.wire.start(self.wire.session.select("Other"))
            self.wire.say(octets % (b"x" * 1000) + b"\r\nm2 OK x\r\n")
            results[0].trap(ResponseTooLarge)
            self.usable()

    def test_text_beside_a_command(self) -> None:
        """What was done counts as done."""
        results = self.wire.start(self.wire.session.append("INBOX", b"x"))
        self.wire.say(b"+ go\r\n* OK %b\r\nm2 OK [APPENDUID 1 5] x\r\n" % (b"x" * 300))
        self.assertEqual(results[0].uids, [5])
        self.wire.session._connection.facts.announced |= {"MOVE"}
        results = self.wire.start(self.wire.session.move([1], "x"))
        self.wire.say(b"* OK [COPYUID 1 %b\r\nm3 OK x\r\n" % (b"1," * 300))
        results[0].trap(ResponseTooLarge)

    def test_response_codes(self) -> None:
        for code in (b"CAPABILITY", b"PERMANENTFLAGS"):
            wire = limited(tokens=5)
            octets = b"OK [%b A B C D E F] x\r\n" % code
            first = wire.start(wire.session.noop())
            wire.say(b"* %bm1 OK x\r\n" % octets)
            second = wire.start(wire.session.noop())
            wire.say(b"m2 %b" % octets)
            self.assertEqual(first, [None])
            second[0].trap(ResponseTooLarge)
            third = wire.start(wire.session.select("INBOX"))
            wire.say(b"* %bm3 OK x\r\n" % octets)
            third[0].trap(ResponseTooLarge)
            self.assertFalse(wire.session.closed)

    def test_each_command_has_room_of_its_own(self) -> None:
        wire = limited(line=100, skipped=5000)
        for number in range(1, 5):
            results = wire.start(wire.session.list())
            wire.say(b'* LIST () "/" %b\r\nm%d OK x\r\n' % (b"x" * 3000, number))
            results[0].trap(ResponseTooLarge)
        results = wire.start(wire.session.list())
        wire.say(b'* LIST () "/" %b\r\n' % (b"x" * 3000) * 2)
        results[0].trap(ProtocolError)
        self.assertTrue(wire.session.closed)

    def test_a_stream(self) -> None:
        async def read() -> bytes:
            return b"".join([piece async for piece in self.wire.session.stream(1)])

        results = self.wire.start(read())
        self.wire.say(b"* 1 FETCH (UID 1 X %b BODY[] {3}\r\none)\r\nm2 OK x\r\n" % (b"x" * 1000))
        results[0].trap(ResponseTooLarge)
        self.usable()


class GreetingTests(SynchronousTestCase):
    def test_greeting(self) -> None:
        limits = LIMITS._replace(status=80)
        with self.assertRaises(ProtocolError):
            parse_response(Response(b"* OK x", {}, "status"), limits, greeting=True)
