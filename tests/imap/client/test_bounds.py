"""What a server can make the client keep or count: each has an end, and the connection with it."""

from __future__ import annotations

import tracemalloc
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.errors import ProtocolError
from mailkit.client.security import TLSPolicy
from mailkit.imap.client import ClientSettings, Exists, Message, ResponseTooLarge
from mailkit.imap.client.reader import RESPONSE_LIMITS, Response
from mailkit.imap.client.responses import parse_response
from mailkit.imap.client.selected import Selected
from mailkit.imap.client.text import words as read_words
from mailkit.imap.client.values import MAX_SHOWN_DEPTH, Expunge, Vanished
from mailkit.model import FlagOp
from tests.imap.client.support import Wire
from tests.imap.client.test_pipelining import SELECTED, Manual

LIMITS = RESPONSE_LIMITS._replace(tokens=100, ranges=50, numbers=60, sections=10)
MANY = 101


def words(count: int) -> bytes:
    return b" ".join(b"x%d" % number for number in range(count))


class OneResponseTests(SynchronousTestCase):
    """Nothing of one response costs more than its limits."""

    def check(self, octets: bytes, text: str = "too many values") -> None:
        with self.assertRaises(ProtocolError) as caught:
            parse_response(Response(octets, {}), LIMITS)
        self.assertIn(text, str(caught.exception))

    def test_values(self) -> None:
        for octets in (
            b"* 1 FETCH (BODYSTRUCTURE (%b))" % words(MANY),
            b"* 1 FETCH (BODYSTRUCTURE (%b))" % (b"()" * 51),
            b"* 1 FETCH (ENVELOPE (%b))" % (b'"x"' * MANY),
            b"* 1 FETCH (X (%b))" % words(MANY),
            b"* 1 FETCH (%b)" % b" ".join(b"X%d 1" % number for number in range(MANY)),
            b"* 1 FETCH (FLAGS (%b))" % words(MANY),
            b"* 1 FETCH (ANNOTATION (%b))" % b" ".join([b'/a (value.priv "x")'] * 51),
            b"* FLAGS (%b)" % words(MANY),
            b"* CAPABILITY %b" % words(MANY),
            b"* CAPABILITY %b" % words(MANY).replace(b" ", b"\t"),
            b"* ENABLED %b" % words(MANY),
            b'* LIST (%b) "/" x' % words(MANY),
            b'* LIST () "/" x (%b)' % words(MANY),
            b"* STATUS x (%b)" % b" ".join(b"X%d 1" % number for number in range(MANY)),
            b"* NAMESPACE NIL NIL (%b)" % (b'("" "/")' * MANY),
            b"* ID (%b)" % b" ".join(b'"x%d" "1"' % number for number in range(MANY)),
            b"* ESEARCH%b" % (b" UID" * MANY),
        ):
            self.check(octets)

    def test_what_is_within_the_limits(self) -> None:
        message: Any = parse_response(Response(b"* 1 FETCH (X (%b))" % words(97), {}), LIMITS)
        self.assertEqual(message.others["X"].count(b"x"), 97)
        self.assertEqual(len(read_words(words(100), LIMITS)), 100)
        # Spaces are no values.
        self.assertEqual(read_words(b" x " + b" " * 5000, LIMITS), {"x"})
        parse_response(Response(b"* 1 FETCH (FLAGS (%b) UID 1)" % (b" " * 5000), {}), LIMITS)

    def test_sections(self) -> None:
        items = b" ".join(b"BODY[%d] x" % number for number in range(11))
        self.check(b"* 1 FETCH (%b)" % items, "too many sections")

    def test_numbers(self) -> None:
        self.check(b"* SEARCH%b" % (b" 1" * 61), "too many numbers")
        self.check(b"* VANISHED %b1" % (b"1," * 50), "too many ranges")
        self.check(b"* ESEARCH UID ALL %b1" % (b"1," * 50), "too many ranges")
        self.check(b"* SEARCH 4294967296", "too large")

    def test_backslashes(self) -> None:
        """They cost what their octets cost."""
        octets = b'* 1 FETCH (X "%b")' % (b'\\"\\\\' * 250_000)
        tracemalloc.start()
        try:
            message: Any = parse_response(Response(octets, {}), LIMITS)
            self.assertLess(tracemalloc.get_traced_memory()[1], 5 * len(octets))
        finally:
            tracemalloc.stop()
        self.assertEqual(len(message.others["X"]), 1_000_002)

    def test_a_response_code(self) -> None:
        self.check(b"* OK [X %b" % (b"x" * 200), "no end")
        self.check(b'* OK [X "%b' % (b"x" * 200), "no end")

    def test_a_deep_thread(self) -> None:
        depth = 20_000
        octets = b"* THREAD (1 (2)(3))%b%b" % (b"(4 " * depth, b")" * depth)
        threads: Any = parse_response(Response(octets, {}))
        self.assertEqual(repr(threads.threads[0]), "[1, [2], [3]]")
        shown = repr(threads)
        self.assertIn("[4, [4, [...]]]", shown)
        self.assertEqual(shown.count("4"), MAX_SHOWN_DEPTH)
        self.assertEqual(list(threads.threads[0]), [1, [2], [3]])

    def test_names(self) -> None:
        name = b"&AOQ-" * 13_200
        for octets in (b"* STATUS %b ()" % name, b'* LIST () "/" x (OLDNAME (%b))' % name):
            self.check(octets, "too long a name")

    def test_where_a_response_code_ends(self) -> None:
        for octets, arguments in (
            (b"X a] b", b"a"),
            (b'X "a]b" c] d', b'"a]b" c'),
            (b'X "a\\"]b"] d', b'"a\\"]b"'),
            (b"X a\\] d]", b"a\\"),
            (b'X "a] d', b'"a'),
        ):
            status: Any = parse_response(Response(b"* OK [" + octets, {}), LIMITS)
            self.assertEqual(status.code.arguments, arguments)

    def test_a_long_line_in_small_pieces(self) -> None:
        """Each octet is put together once, and nothing is kept beyond the limit."""
        wire = limited(line=100_000)
        results = wire.start(wire.session.list())
        for _ in range(2):
            for _ in range(900):
                wire.channel.dataReceived(b"* X " + b"x" * 100)
            wire.say(b"\r\n")
        self.assertFalse(wire.session.closed)
        copied = 0

        class Counted(type(wire.session._connection._reader._buffer)):  # type: ignore[misc]
            def feed(self, data: bytes) -> None:
                nonlocal copied
                copied += len(self) + len(data)
                super().feed(data)

        wire.session._connection._reader._buffer = Counted()
        wire.channel.dataReceived(b"* X ")
        for _ in range(990):
            wire.channel.dataReceived(b"x" * 100)
        self.assertLess(copied, 100_000)
        for _ in range(20):
            wire.channel.dataReceived(b"x" * 100)
        self.assertEqual(len(wire.session._connection._reader._buffer), 0)
        wire.say(b"\r\nm1 OK x\r\n")
        results[0].trap(ResponseTooLarge)


def limited(**limits: int) -> Manual:
    settings = ClientSettings(tls=TLSPolicy.none(), limits=LIMITS._replace(**limits))
    return Manual(settings=settings)


class ManyResponsesTests(SynchronousTestCase):
    def test_octets_that_answer_one_command(self) -> None:
        wire = limited(answer=1000)
        for number in (1, 2):
            # Each command has so many for itself.
            results = wire.start(wire.session.list())
            wire.say(b'* LIST () "/" %b\r\n' % (b"x" * 90) * 9 + b"m%d OK x\r\n" % number)
            self.assertEqual(len(results[0]), 9)
        results = wire.start(wire.session.list())
        wire.say(b'* LIST () "/" %b\r\n' % (b"x" * 90) * 10)
        results[0].trap(ProtocolError)

    def fetch(self, wire: Manual) -> tuple[list[Message], list[Any]]:
        wire.start(wire.session.select("INBOX"))
        wire.say(SELECTED)
        taken: list[Message] = []

        async def take() -> None:
            async for message in wire.session.fetch("1:*", ["FLAGS", "X"]):
                taken.append(message)

        return taken, wire.start(take())

    def test_messages_that_are_taken_as_they_come(self) -> None:
        wire = limited(answer=1000)
        taken, results = self.fetch(wire)
        for number in range(100):
            # Octets of those that somebody has taken do not count.
            wire.say(b"* 1 FETCH (UID 1 FLAGS () X %b)\r\n" % (b"x" * 90))
            self.assertEqual(len(taken), number + 1)
        wire.say(b"m2 OK x\r\n")
        self.assertEqual(results, [None])

    def test_messages_that_stay_incomplete(self) -> None:
        wire = limited(answer=1000)
        _, results = self.fetch(wire)
        wire.say(b"* 1 FETCH (UID 1 X %b)\r\n" % (b"x" * 90) * 11)
        results[0].trap(ProtocolError)

    def test_anything_else_without_end(self) -> None:
        wire = limited(values=50)
        _, results = self.fetch(wire)
        wire.say(b"* OK x\r\n" * 51)
        results[0].trap(ProtocolError)

    def test_large_contents_wait_for_who_takes_his_time(self) -> None:
        wire = limited(tokens=1000)
        wire.start(wire.session.select("INBOX"))
        wire.say(SELECTED)
        fetching = aiter_of(wire.session.fetch("1:*", "BODY.PEEK[]"))
        first = wire.begin(fetching.__anext__())
        wire.flush()
        octets = b"x" * 9_000_000
        for number in (1, 2):
            wire.channel.dataReceived(
                b"* %d FETCH (UID %d BODY[] {%d}\r\n%b)\r\n" % (number, number, len(octets), octets)
            )
        self.assertEqual(first[0].uid, 1)
        # Two wait, and more than 16 MiB.
        self.assertEqual(wire.transport.producerState, "paused")
        self.assertEqual(wire.start(fetching.__anext__())[0].uid, 2)
        wire.start(fetching.__anext__())
        self.assertEqual(wire.transport.producerState, "producing")

    def test_names_of_extensions(self) -> None:
        wire = limited()
        results = wire.start(wire.session.noop())
        wire.say(b"* ENABLED " + b"x" * 65_000 + b"\r\n")
        self.assertEqual(results, [])
        wire.say(b"* ENABLED " + b"y" * 1000 + b"\r\n")
        results[0].trap(ProtocolError)

    def test_changes_that_nobody_takes(self) -> None:
        wire = limited()
        wire.start(wire.session.select("INBOX"))
        wire.say(SELECTED)
        idling = wire.session.idle()
        wire.start(idling.__aenter__())
        wire.say(b"+ go\r\n")
        wire.say(b"* 1 FETCH (X %b)\r\n" % (b"x" * 600_000))
        self.assertEqual(wire.transport.producerState, "producing")
        wire.say(b"* 1 FETCH (X %b)\r\n" % (b"x" * 600_000))
        self.assertEqual(wire.transport.producerState, "paused")
        for _ in range(2):
            wire.start(idling.next(None))
        wire.start(idling.next(None))
        self.assertEqual(wire.transport.producerState, "producing")

    def test_a_section_comes_once(self) -> None:
        wire = limited()
        wire.start(wire.session.select("INBOX"))
        wire.say(SELECTED)

        async def read() -> bytes:
            return b"".join([piece async for piece in wire.session.stream(1)])

        results = wire.start(read())
        wire.say(b"* 1 FETCH (UID 1 BODY[] {3}\r\none)\r\n* 1 FETCH (BODY[] {3}\r\ntwo)\r\n")
        wire.say(b"m2 OK x\r\n")
        self.assertEqual(results, [b"one"])


def aiter_of(fetching: Any) -> Any:
    return fetching.__aiter__()


class SetTests(SynchronousTestCase):
    """A few octets that stand for many UIDs: more than there are messages are none."""

    def check(self, work: Any, *answers: bytes) -> None:
        for answer in answers:
            wire = Manual(b"* OK [CAPABILITY IMAP4rev1 ESEARCH MOVE CONDSTORE] hello\r\n")
            wire.start(wire.session.select("INBOX"))
            wire.say(SELECTED)
            results = wire.start(work(wire.session))
            wire.say(answer)
            results[0].trap(ProtocolError)

    def test_of_a_search(self) -> None:
        self.check(
            lambda session: session.search(),
            b'* ESEARCH (TAG "m2") UID ALL 1:100006\r\nm2 OK x\r\n',
            b'* ESEARCH (TAG "m2") UID ALL %b1:3\r\nm2 OK x\r\n' % (b"1:60000," * 2),
        )

    def test_of_response_codes(self) -> None:
        self.check(
            lambda session: session.copy("1:*", "x"),
            b"m2 OK [COPYUID 1 1:100006 1:100006] x\r\n",
        )
        self.check(
            lambda session: session.move("1:*", "x"),
            b"* OK [COPYUID 1 1:5 1:100006] x\r\nm2 OK x\r\n",
        )
        self.check(lambda session: session.append("x", b"one"), b"m2 OK [APPENDUID 1 1:2] x\r\n")
        self.check(
            lambda session: session.store("1:*", FlagOp.ADD, ["x"], unchanged_since=1),
            b"m2 OK [MODIFIED 1:100006] x\r\n",
            b"m2 NO [MODIFIED 1:100006] x\r\n",
        )

    def test_a_response_code_that_is_told_twice(self) -> None:
        wire = Manual(b"* PREAUTH [CAPABILITY IMAP4rev1 MOVE] x\r\n")
        wire.start(wire.session.select("INBOX"))
        wire.say(b"* 60000 EXISTS\r\nm1 OK x\r\n")
        results = wire.start(wire.session.move("1:*", "x"))
        code = b"OK [COPYUID 1 1:60000 1:60000] x\r\n"
        wire.say(b"* " + code + b"m2 " + code)
        self.assertEqual(results[0].source_uids, list(range(1, 60001)))


class LoginTests(SynchronousTestCase):
    def test_questions_without_end(self) -> None:
        for question in (b"+ \r\n", b"+ !\r\n"):
            greeting = b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] x\r\n"
            wire = Wire(lambda data, question=question: question if data else b"")
            results = wire.begin(wire.session.open())
            wire.pending = greeting
            wire.flush()
            results[0].trap(ProtocolError)
            self.assertTrue(wire.session.closed)


class SelectedTests(SynchronousTestCase):
    """Knowing the messages of a large mailbox costs a few octets each, whatever the server says."""

    def select(self, uids: list[int], unknown: int = 0) -> Selected:
        selected = Selected("INBOX", False)
        selected.note(Exists(len(uids) + unknown))
        for number, uid in enumerate(uids, 1):
            selected.note(Message(number, uid))
        selected.opening = False
        return selected

    def test_vanished(self) -> None:
        for ranges, left in (
            (((1, 2),), [3, 5, 8]),
            (((3, 6), (8, 9)), [2]),
            (((4, 4),), [2, 3, 5, 8]),
            (((9, 4294967295),), [2, 3, 5, 8]),
            (((1, 4294967295),), []),
            (((8, 8), (2, 2), (8, 8)), [3, 5]),
        ):
            selected = self.select([2, 3, 5, 8])
            selected.note(Vanished(ranges, False))
            self.assertEqual(list(selected.uids), left)

    def test_vanished_where_some_are_not_known(self) -> None:
        selected = self.select([2, 3], 2)
        selected.note(Vanished(((3, 3),), False))
        self.assertEqual(list(selected.uids), [2, 0, 0])
        selected.note(Vanished(((2, 2), (9, 9)), False))
        self.assertEqual(list(selected.uids), [0])

    def test_a_large_mailbox(self) -> None:
        selected = self.select([2, 3], 100_000)
        tracemalloc.start()
        try:
            selected.note(Vanished(((3, 3),), False))
            self.assertLess(tracemalloc.get_traced_memory()[1], 2_000_000)
        finally:
            tracemalloc.stop()
        self.assertEqual(selected.exists, 100_001)
        self.assertIsNone(selected.uid_of(1))
        self.assertEqual(selected.note(Expunge(1)), Expunge(1, None))
