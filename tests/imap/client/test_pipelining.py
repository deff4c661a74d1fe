"""Several commands at a time, and which may not be (RFC 9051 section 5.5)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.security import TLSPolicy
from mailkit.imap.client import (
    ClientSettings,
    ConnectionLost,
    Numbers,
    NumbersChanged,
    Refused,
    Session,
)
from mailkit.imap.client.settings import Timeouts
from mailkit.model import FlagOp
from tests.imap.client.support import Wire

PLAIN = ClientSettings(tls=TLSPolicy.none())
GREETING = b"* OK [CAPABILITY IMAP4rev1 ESEARCH IDLE] hello\r\n"
SELECTED = b"* 5 EXISTS\r\nm1 OK [READ-WRITE] done\r\n"


class Manual(Wire):
    """Says what the test says; the server of nobody."""

    def __init__(self, greeting: bytes = GREETING, settings: ClientSettings = PLAIN) -> None:
        self.heard = b""
        super().__init__(self._hear, settings=settings)
        results = self.start(self.session.open())
        self.say(greeting)
        assert results == [None], results

    def _hear(self, data: bytes) -> bytes:
        self.heard += data
        return b""

    def say(self, octets: bytes) -> None:
        self.channel.dataReceived(octets)
        self.flush()

    def take(self) -> list[bytes]:
        """What the client has said."""
        self.flush()
        heard, self.heard = self.heard, b""
        return heard.split(b"\r\n")[:-1] if heard.endswith(b"\r\n") else [heard]


class PipelineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.wire = Manual()
        self.session: Session = self.wire.session

    def select(self) -> None:
        results = self.wire.start(self.session.select("INBOX"))
        self.assertEqual(self.wire.take(), [b"m1 SELECT INBOX"])
        self.wire.say(SELECTED)
        self.assertEqual(len(results), 1)

    def test_commands_that_do_not_wait_for_each_other(self) -> None:
        self.select()
        first = self.wire.start(self.session.fetch([1], "FLAGS"))
        second = self.wire.start(self.session.fetch([2, 3], "FLAGS"))
        third = self.wire.start(self.session.search("SEEN"))
        self.assertEqual(
            self.wire.take(),
            [
                b"m2 UID FETCH 1 (FLAGS)",
                b"m3 UID FETCH 2:3 (FLAGS)",
                b"m4 UID SEARCH RETURN (ALL) SEEN",
            ],
        )
        # In any order; each gets what is its own.
        self.wire.say(b'* ESEARCH (TAG "m4") UID ALL 2\r\n* 2 FETCH (UID 2 FLAGS ())\r\n')
        self.wire.say(b"m4 OK x\r\nm3 OK x\r\n* 1 FETCH (FLAGS (\\Seen) UID 1)\r\nm2 OK x\r\n")
        self.assertEqual([each.uid for each in first[0]], [1])
        self.assertEqual([each.uid for each in second[0]], [2])
        self.assertEqual(third, [[2]])

    def test_the_same_message_is_asked_for_once_at_a_time(self) -> None:
        self.select()
        first = self.wire.start(self.session.fetch("1:3", "FLAGS"))
        second = self.wire.start(self.session.store([3], FlagOp.ADD, ["\\Seen"]))
        self.assertEqual(self.wire.take(), [b"m2 UID FETCH 1:3 (FLAGS)"])
        self.wire.say(b"* 3 FETCH (UID 3 FLAGS ())\r\nm2 OK x\r\n")
        self.assertEqual(self.wire.take(), [b"m3 UID STORE 3 +FLAGS (\\Seen)"])
        self.wire.say(b"* 3 FETCH (UID 3 FLAGS (\\Seen))\r\nm3 OK x\r\n")
        self.assertEqual(first[0][0].flags, set())
        self.assertEqual(second[0].messages[0].flags, {"\\Seen"})

    def test_a_star_means_any_message(self) -> None:
        self.select()
        self.wire.start(self.session.fetch("4:*", "FLAGS"))
        self.wire.start(self.session.fetch([1], "FLAGS"))
        self.assertEqual(self.wire.take(), [b"m2 UID FETCH 4:* (FLAGS)"])

    def test_two_searches_without_tags_in_their_answers(self) -> None:
        wire = Manual(GREETING.replace(b" ESEARCH", b""))
        first, second = (
            wire.start(wire.session.select("INBOX")),
            wire.start(wire.session.list()),
        )
        self.assertEqual(wire.take(), [b"m1 SELECT INBOX"])
        wire.say(SELECTED + b"m2 OK x\r\n")
        self.assertEqual(second, [[]])
        self.assertEqual(len(first), 1)
        one = wire.start(wire.session.search("SEEN"))
        two = wire.start(wire.session.search("UNSEEN"))
        self.assertEqual(wire.take()[1:], [b"m3 UID SEARCH SEEN"])
        wire.say(b"* SEARCH 1\r\nm3 OK x\r\n")
        self.assertEqual(wire.take(), [b"m4 UID SEARCH UNSEEN"])
        wire.say(b"* SEARCH 2 3\r\nm4 OK x\r\n")
        self.assertEqual((one, two), ([[1]], [[2, 3]]))

    def test_numbers_wait_for_what_may_change_them(self) -> None:
        self.select()
        self.wire.start(self.session.noop())
        results = self.wire.start(self.session.fetch(Numbers("2"), "FLAGS"))
        self.assertEqual(self.wire.take(), [b"m2 NOOP"])
        self.wire.say(b"m2 OK x\r\n")
        self.assertEqual(self.wire.take(), [b"m3 FETCH 2 (FLAGS)"])
        self.wire.start(self.session.noop())
        # Nor does anything that may remove messages overtake.
        self.assertEqual(self.wire.take(), [b""])
        self.wire.say(b"* 2 FETCH (FLAGS ())\r\nm3 OK x\r\n")
        self.assertEqual(len(results[0]), 1)
        self.assertEqual(self.wire.take(), [b"m4 NOOP"])

    def test_numbers_that_were_changed_are_not_sent(self) -> None:
        self.select()
        self.wire.start(self.session.noop())
        results = self.wire.start(self.session.fetch(Numbers("2"), "FLAGS"))
        self.wire.take()
        self.wire.say(b"* 1 EXPUNGE\r\nm2 OK x\r\n")
        results[0].trap(NumbersChanged)
        self.assertEqual(self.wire.take(), [b""])
        self.wire.start(self.session.noop())
        self.assertEqual(self.wire.take(), [b"m4 NOOP"])

    def test_selecting_waits_for_all_and_all_for_it(self) -> None:
        self.select()
        self.wire.start(self.session.noop())
        other = self.wire.start(self.session.select("other"))
        self.wire.start(self.session.noop())
        self.assertEqual(self.wire.take(), [b"m2 NOOP"])
        self.wire.say(b"m2 OK x\r\n")
        self.assertEqual(self.wire.take(), [b"m3 SELECT other"])
        # Late news of the mailbox before are none of this one.
        self.wire.say(b"* 9 EXISTS\r\n* 3 EXPUNGE\r\n* 20 FETCH (FLAGS ())\r\n* 2 EXISTS\r\n")
        self.wire.say(b"m3 OK x\r\n")
        self.assertEqual(other[0].exists, 2)
        self.assertEqual(self.wire.take(), [b"m4 NOOP"])

    def test_closed_ends_the_news_of_the_mailbox_before(self) -> None:
        self.select()
        self.wire.start(self.session.select("other"))
        self.wire.say(b"* 9 EXISTS\r\n* OK [HIGHESTMODSEQ 9] x\r\n* OK [CLOSED] x\r\n")
        self.wire.say(b"* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nm2 OK [READ-ONLY] x\r\n")
        selected = self.session.selected
        assert selected is not None
        self.assertEqual((selected.exists, selected.highest_modseq), (2, None))
        self.assertEqual((selected.uid_validity, selected.read_only), (7, True))

    def test_answers_that_nobody_asked_for(self) -> None:
        self.select()
        heard: list[Any] = []
        stop = self.session.add_listener(heard.append)
        self.wire.say(b"* 6 EXISTS\r\n* 3 FETCH (FLAGS (\\Seen))\r\n* 1 EXPUNGE\r\n")
        stop()
        self.wire.say(b"* 7 EXISTS\r\n")
        self.assertEqual(len(heard), 3)
        assert self.session.selected is not None
        self.assertEqual(self.session.selected.exists, 7)

    def test_what_comes_in_several_responses_is_one_message(self) -> None:
        self.select()
        results = self.wire.start(self.session.fetch([3], ["FLAGS", "RFC822.SIZE"]))
        self.wire.say(
            b"* 3 FETCH (UID 3 FLAGS ())\r\n* 3 FETCH (UID 3 RFC822.SIZE 9)\r\nm2 OK x\r\n"
        )
        (message,) = results[0]
        self.assertEqual((message.flags, message.size), (set(), 9))

    def test_flags_of_an_unknown_message_are_no_answer(self) -> None:
        self.select()
        results = self.wire.start(self.session.store([3], FlagOp.ADD, ["\\Seen"]))
        self.wire.say(b"* 5 FETCH (FLAGS ())\r\n* 3 FETCH (UID 3 FLAGS (\\Seen))\r\nm2 OK x\r\n")
        self.assertEqual([each.uid for each in results[0].messages], [3])

    def test_uids_are_learnt(self) -> None:
        self.select()
        self.wire.start(self.session.fetch("1:*", "FLAGS"))
        self.wire.say(b"* 2 FETCH (UID 20 FLAGS ())\r\n* 5 FETCH (UID 50 FLAGS ())\r\nm2 OK x\r\n")
        selected = self.session.selected
        assert selected is not None
        self.assertEqual([selected.uid_of(each) for each in (1, 2, 5, 6)], [None, 20, 50, None])
        heard: list[Any] = []
        self.session.add_listener(heard.append)
        self.wire.say(b"* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n")
        self.assertEqual([each.uid for each in heard], [None, 20])
        self.assertEqual(selected.number_of(50), 3)
        selected.learn_uids([30, 40, 50])
        self.wire.say(b"* VANISHED 30:45\r\n")
        self.assertEqual(list(selected.uids), [50])


class LiteralTests(SynchronousTestCase):
    def append(self, capabilities: bytes, size: int) -> tuple[Manual, list[Any]]:
        wire = Manual(b"* OK [CAPABILITY IMAP4rev1 " + capabilities + b"] x\r\n")
        return wire, wire.start(wire.session.append("INBOX", b"x" * size))

    def test_waiting_for_the_server(self) -> None:
        wire, results = self.append(b"IDLE", 3)
        other = wire.start(wire.session.noop())
        self.assertEqual(wire.take(), [b"m1 APPEND INBOX {3}"])
        wire.say(b"+ go on\r\n")
        self.assertEqual(wire.take(), [b"xxx", b"m2 NOOP"])
        wire.say(b"m1 OK [APPENDUID 38505 3955] x\r\nm2 OK x\r\n")
        self.assertEqual((results[0].uid_validity, results[0].uids), (38505, [3955]))
        self.assertEqual(other, [None])

    def test_refused(self) -> None:
        wire, results = self.append(b"IDLE", 3)
        other = wire.start(wire.session.noop())
        wire.say(b"m1 NO [TOOBIG] too large\r\n")
        results[0].trap(Refused)
        self.assertEqual(results[0].value.code_name, "TOOBIG")
        self.assertEqual(wire.take()[-1:], [b"m2 NOOP"])
        wire.say(b"m2 OK x\r\n")
        self.assertEqual(other, [None])

    def test_literal_plus_and_minus(self) -> None:
        wire, _ = self.append(b"LITERAL+", 5000)
        self.assertEqual(wire.take(), [b"m1 APPEND INBOX {5000+}", b"x" * 5000])
        wire, _ = self.append(b"LITERAL-", 4096)
        self.assertEqual(wire.take(), [b"m1 APPEND INBOX {4096+}", b"x" * 4096])
        wire, _ = self.append(b"LITERAL-", 4097)
        self.assertEqual(wire.take(), [b"m1 APPEND INBOX {4097}"])

    def test_a_file_that_becomes_shorter(self) -> None:
        class Short:
            def tell(self) -> int:
                return 0

            def seek(self, offset: int, whence: int = 0) -> int:
                return 10

            def read(self, size: int) -> bytes:
                return b""

        wire = Manual(b"* OK [CAPABILITY IMAP4rev1 LITERAL+] x\r\n")
        results = wire.start(wire.session.append("INBOX", Short()))  # type: ignore[arg-type]
        results[0].trap(OSError)
        # The server waits for octets: nothing else can be said.
        self.assertTrue(wire.session.closed)


class CancelTests(SynchronousTestCase):
    def begin(self, wire: Manual, work: Any) -> tuple[Deferred[Any], list[Any]]:
        results: list[Any] = []
        deferred = Deferred.fromCoroutine(work)
        deferred.addBoth(results.append)
        wire.flush()
        return deferred, results

    def test_of_a_command_under_way(self) -> None:
        wire = Manual()
        deferred, results = self.begin(wire, wire.session.list())
        deferred.cancel()
        results[0].trap(CancelledError)
        later = wire.start(wire.session.noop())
        self.assertEqual(wire.take(), [b'm1 LIST "" "*"', b"m2 NOOP"])
        wire.say(b"* LIST () NIL x\r\nm1 OK x\r\nm2 OK x\r\n")
        self.assertEqual(later, [None])

    def test_of_a_command_that_waits(self) -> None:
        wire = Manual()
        wire.start(wire.session.list())
        deferred, results = self.begin(wire, wire.session.list())
        deferred.cancel()
        results[0].trap(CancelledError)
        wire.say(b"m1 OK x\r\n")
        later = wire.start(wire.session.noop())
        self.assertEqual(wire.take(), [b'm1 LIST "" "*"', b"m3 NOOP"])
        wire.say(b"m3 OK x\r\n")
        self.assertEqual(later, [None])

    def test_of_a_command_that_is_half_sent(self) -> None:
        wire = Manual()
        deferred, results = self.begin(wire, wire.session.append("INBOX", b"x"))
        deferred.cancel()
        results[0].trap(CancelledError)
        self.assertTrue(wire.session.closed)
        wire.start(wire.session.noop())[0].trap(ConnectionLost)


class EndTests(SynchronousTestCase):
    def test_all_that_wait_are_told(self) -> None:
        wire = Manual()
        first = wire.start(wire.session.noop())
        second = wire.start(wire.session.list())
        third = wire.start(wire.session.list())
        wire.lose()
        for results in (first, second, third):
            results[0].trap(ConnectionLost)
        self.assertTrue(wire.session.closed)

    def test_silence(self) -> None:
        settings = ClientSettings(tls=TLSPolicy.none(), timeouts=Timeouts(silence=10))
        wire = Manual(settings=settings)
        results = wire.start(wire.session.noop())
        wire.clock.advance(9)
        wire.say(b"* OK still here\r\n")
        wire.clock.advance(9)
        self.assertEqual(results, [])
        wire.clock.advance(2)
        self.assertEqual(results[0].type.__name__, "TimedOut")
        self.assertTrue(wire.session.closed)

    def test_logout(self) -> None:
        wire = Manual()
        results = wire.start(wire.session.logout())
        self.assertEqual(wire.take(), [b"m1 LOGOUT"])
        wire.say(b"* BYE bye\r\nm1 OK x\r\n")
        self.assertEqual((results, wire.session.closed), ([None], True))
        self.assertEqual(wire.start(wire.session.logout()), [None])

    def test_the_end_of_a_block(self) -> None:
        async def work(session: Session) -> None:
            async with session:
                await session.noop()

        wire = Manual()
        results = wire.start(work(wire.session))
        self.assertEqual(wire.take(), [b"m1 NOOP"])
        wire.say(b"m1 OK x\r\n")
        self.assertEqual(wire.take(), [b"m2 LOGOUT"])
        wire.say(b"* BYE bye\r\nm2 OK x\r\n")
        self.assertEqual((results, wire.session.closed), ([None], True))

    def test_the_end_of_a_block_by_an_error(self) -> None:
        async def work(session: Session) -> None:
            async with session:
                await session.delete("x")

        wire = Manual()
        results = wire.start(work(wire.session))
        wire.say(b"m1 NO x\r\n")
        results[0].trap(Refused)
        self.assertEqual(wire.take(), [b"m1 DELETE x"])
        self.assertTrue(wire.transport.aborted)
