"""One message right behind another: its commands go before the replies to the one ahead have come."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailkit.smtp.client import ClientSettings, RecipientOutcome, SendResult, make_envelope
from tests.smtp.client.test_twisted import SETTINGS, Wire

FIRST = b"Subject: first\r\n\r\nOne.\r\n"
SECOND = b"Subject: second\r\n\r\nTwo.\r\n"
GROUP = b"MAIL FROM:<ann@example.net>\r\nRCPT TO:<%b@example.org>\r\nDATA\r\n"
ACCEPTED = b"250 sender\r\n250 recipient\r\n354 go on\r\n"
LMTP = ClientSettings(helo="client.example", lmtp=True)


class FollowingCase(SynchronousTestCase):
    """A first message whose content is sent, and a second one that follows."""

    def begin(self, *keywords: bytes, settings: ClientSettings = SETTINGS, to: str = "bob") -> Wire:
        """A session that has sent the first message and has no reply to it yet."""
        self.wire = Wire(settings).open(*(keywords or (b"PIPELINING",)))
        self.second: Deferred[SendResult] | None = None
        self.wire.transport.clear()
        people = [f"{name}@example.org" for name in to.split()]
        # By its name: a test may put another one there.
        self.first = self.send(people, FIRST, lambda: self.follow())
        return self.wire

    def send(self, people: list[str], message: bytes, follow: Any = None) -> Deferred[SendResult]:
        envelope = make_envelope("ann@example.net", *[people])
        return self.wire.start(self.wire.session.send(envelope, message, follow))

    def follow(self) -> None:
        self.second = self.send(["eve@example.org"], SECOND)

    def outcome(self, sending: Deferred[SendResult] | None) -> RecipientOutcome:
        assert sending is not None
        return self.successResultOf(sending).outcomes[0]


class OrderTests(FollowingCase):
    def test_in_one_group_with_the_end_of_the_content(self) -> None:
        # RFC 2920 section 3.1
        wire = self.begin()
        said = wire.say(ACCEPTED)
        self.assertEqual(said, FIRST + b".\r\n" + GROUP % b"eve")
        assert self.second is not None
        self.assertNoResult(self.first)
        self.assertEqual(wire.say(b"250 taken\r\n"), b"")
        self.assertTrue(self.outcome(self.first).accepted)
        self.assertNoResult(self.second)
        self.assertEqual(wire.say(ACCEPTED), SECOND + b".\r\n")
        wire.say(b"250 2.6.0 taken too\r\n")
        self.assertEqual(self.outcome(self.second).text, "taken too")
        self.assertEqual(wire.session.facts.transactions, 2)
        wire.lose()
        self.assertEqual(wire.clock.getDelayedCalls(), [])

    def test_replies_in_one_piece_and_octet_by_octet(self) -> None:
        replies = b"554 5.7.1 spam\r\n250 sender\r\n450 4.2.0 later\r\n554 nobody\r\n"
        for pieces in ([replies], [bytes([octet]) for octet in replies]):
            wire = self.begin()
            wire.say(ACCEPTED)
            for piece in pieces:
                wire.say(piece)
            self.assertEqual(self.outcome(self.first).text, "spam")
            self.assertEqual(self.outcome(self.second).code, 450)
            self.assertFalse(wire.session.closed)

    def test_a_row_of_messages(self) -> None:
        count, results = 50, []

        def follow() -> None:
            if len(results) < count:
                results.append(self.send(["eve@example.org"], SECOND, follow))

        wire = self.wire = Wire().open(b"PIPELINING")
        results.append(self.send(["bob@example.org"], FIRST, follow))
        wire.say(ACCEPTED)
        for _ in range(count):
            wire.say(b"250 taken\r\n" + ACCEPTED)
        wire.say(b"250 taken\r\n")
        self.assertEqual(len(results), count)
        self.assertTrue(all(self.outcome(each).accepted for each in results))

    def test_after_chunks_reset_comes_first(self) -> None:
        # RFC 3030 section 2: after BDAT has failed, only RSET brings back a known state.
        wire = self.begin(b"PIPELINING", b"CHUNKING")
        said = wire.say(b"250 sender\r\n250 recipient\r\n")
        self.assertEqual(
            said,
            b"BDAT %d LAST\r\n%bRSET\r\n" % (len(FIRST), FIRST)
            + (GROUP % b"eve").removesuffix(b"DATA\r\n"),
        )
        said = wire.say(b"554 5.6.0 no\r\n250 reset\r\n250 sender\r\n250 recipient\r\n")
        self.assertTrue(self.outcome(self.first).permanent)
        self.assertEqual(said, b"BDAT %d LAST\r\n%b" % (len(SECOND), SECOND))
        wire.say(b"250 taken\r\n")
        self.assertTrue(self.outcome(self.second).accepted)

    def test_lmtp(self) -> None:
        # RFC 2033 section 4.2: a reply for each recipient of the first one, then those to the next.
        wire = self.begin(settings=LMTP, to="bob joe")
        wire.say(b"250 sender\r\n250 bob\r\n250 joe\r\n354 go on\r\n")
        wire.say(b"250 taken\r\n")
        self.assertNoResult(self.first)
        wire.say(b"452 4.2.2 full\r\n" + ACCEPTED)
        self.assertEqual(
            [each.code for each in self.successResultOf(self.first).outcomes], [250, 452]
        )
        wire.say(b"250 taken\r\n")
        self.assertTrue(self.outcome(self.second).accepted)

    def test_one_that_cannot_be_sent(self) -> None:
        def follow() -> None:
            envelope = make_envelope("ann@example.net", "\u00e9v\u00e9@example.org")
            self.second = self.wire.start(self.wire.session.send(envelope, SECOND))

        self.follow = follow  # type: ignore[method-assign]
        wire = self.begin()
        self.assertEqual(wire.say(ACCEPTED), FIRST + b".\r\n")
        # Who comes last gives the connection back: not before the first one has its reply.
        assert self.second is not None
        self.assertNoResult(self.second)
        wire.say(b"250 taken\r\n")
        self.assertTrue(self.outcome(self.first).accepted)
        self.assertTrue(self.outcome(self.second).permanent)
        self.assertFalse(wire.session.closed)


class RefrainTests(FollowingCase):
    """Nobody is let follow where the server, or what stands before it, could lose track."""

    def check_alone(self, wire: Wire, reply: bytes = ACCEPTED) -> None:
        self.assertTrue(wire.say(reply).endswith(FIRST + b".\r\n"))
        self.assertIs(self.second, None)

    def test_without_pipelining(self) -> None:
        wire = self.begin(b"8BITMIME")
        wire.say(b"250 sender\r\n")
        wire.say(b"250 recipient\r\n")
        self.check_alone(wire, b"354 go on\r\n")

    def test_no_more_transactions(self) -> None:
        # RFC 9422 section 5.1
        self.check_alone(self.begin(b"PIPELINING", b"LIMITS MAILMAX=1"))

    def test_recipients_that_are_left_over(self) -> None:
        wire = self.begin(to="bob joe")
        self.check_alone(wire, b"250 sender\r\n250 bob\r\n452 4.5.3 too many\r\n354 go on\r\n")

    def test_behind_a_pix(self) -> None:
        wire = self.wire = Wire()
        opening = wire.start(wire.session.open())
        wire.say(b"220 ****************************2**00*\r\n")
        wire.say(b"250-mx.example.org\r\n250 PIPELINING\r\n")
        self.successResultOf(opening)
        self.second = None
        self.send(["bob@example.org"], FIRST, self.follow)
        self.check_alone(wire)

    def test_others_than_one(self) -> None:
        wire = self.begin()
        wire.say(ACCEPTED)
        for operation in (self.send, None):
            doing = (
                self.send(["joe@example.org"], FIRST)
                if operation
                else wire.start(wire.session.check())
            )
            self.failureResultOf(doing, RuntimeError)
        wire.say(b"250 taken\r\n" + ACCEPTED)
        wire.say(b"250 taken\r\n")
        self.assertTrue(self.outcome(self.second).accepted)


class FailureTests(FollowingCase):
    """What ends badly: the second one can be sent again, for none of its content was."""

    def check_not_sent(self) -> None:
        outcome = self.outcome(self.second)
        self.assertTrue(outcome.temporary)
        self.assertEqual((outcome.code, outcome.command), (0, "MAIL"))
        self.assertTrue(self.wire.session.closed)
        self.assertEqual(self.wire.clock.getDelayedCalls(), [])

    def test_connection_ends_before_the_first_reply(self) -> None:
        wire = self.begin()
        wire.say(ACCEPTED)
        wire.lose()
        outcome = self.outcome(self.first)
        self.assertTrue(outcome.temporary)
        self.assertEqual(outcome.command, "end of data")
        self.check_not_sent()

    def test_connection_ends_behind_the_first_reply(self) -> None:
        wire = self.begin()
        wire.say(ACCEPTED)
        wire.say(b"250 taken\r\n")
        wire.lose()
        self.assertTrue(self.outcome(self.first).accepted)
        self.check_not_sent()

    def test_first_one_is_answered_with_421(self) -> None:
        wire = self.begin()
        wire.say(ACCEPTED)
        wire.say(b"421 4.3.2 going down\r\n250 sender\r\n250 recipient\r\n354 go on\r\n")
        self.assertEqual(self.outcome(self.first).code, 421)
        # Not one of those replies is believed.
        self.check_not_sent()

    def test_421_in_between(self) -> None:
        wire = self.begin()
        wire.say(ACCEPTED)
        wire.say(b"250 taken\r\n421 4.3.2 enough\r\n")
        self.assertTrue(self.outcome(self.first).accepted)
        outcome = self.outcome(self.second)
        self.assertEqual((outcome.code, outcome.command), (421, "MAIL"))
        self.assertTrue(wire.session.closed)

    def test_each_has_its_own_time(self) -> None:
        wire = self.begin()
        wire.say(ACCEPTED)
        wire.clock.advance(599)
        wire.say(b"250 taken\r\n")
        self.assertTrue(self.outcome(self.first).accepted)
        assert self.second is not None
        wire.clock.advance(299)
        self.assertNoResult(self.second)
        wire.clock.advance(1)
        self.check_not_sent()

    def test_first_one_waits_in_vain(self) -> None:
        wire = self.begin()
        wire.say(ACCEPTED)
        wire.clock.advance(600)
        self.assertEqual(self.outcome(self.first).command, "end of data")
        self.check_not_sent()

    def test_nonsense(self) -> None:
        wire = self.begin()
        wire.say(ACCEPTED)
        wire.say(b"250 taken\r\nwhat?\r\n")
        self.assertTrue(self.outcome(self.first).accepted)
        self.check_not_sent()

    def test_second_one_is_cancelled(self) -> None:
        wire = self.begin()
        wire.say(ACCEPTED)
        assert self.second is not None
        self.second.cancel()
        self.failureResultOf(self.second, CancelledError)
        # The first one still hears what became of it; then the connection ends.
        self.assertFalse(wire.session.closed)
        wire.say(b"250 taken\r\n")
        self.assertTrue(self.outcome(self.first).accepted)
        self.assertTrue(wire.session.closed)

    def test_first_one_is_cancelled(self) -> None:
        wire = self.begin()
        wire.say(ACCEPTED)
        self.first.cancel()
        self.failureResultOf(self.first, CancelledError)
        self.check_not_sent()

    def test_server_that_reads_no_more(self) -> None:
        """The commands of the second one do not get through: that does not end the first one."""
        wire = self.begin()
        follow = self.follow

        def follow_slowly() -> None:
            wire.transport.full = True
            follow()

        self.follow = follow_slowly  # type: ignore[method-assign]
        wire.say(ACCEPTED)
        wire.clock.advance(599)
        self.assertFalse(wire.session.closed)
        wire.say(b"250 taken\r\n")
        self.assertTrue(self.outcome(self.first).accepted)
