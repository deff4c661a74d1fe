"""Greylisting."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailkit.checks.greylist import ATTEMPT, Greylisting, MemoryValues, attempt_key
from mailkit.errors import StoreUnavailable
from mailkit.interfaces import IKeyValueStore
from mailkit.model import Recipient
from tests.checks.support import CheckCase, make_envelope, make_recipient, make_session

DAY = 86_400.0


@implementer(IKeyValueStore)
class BrokenValues:
    """Cannot be read, or cannot be written."""

    def __init__(self, readable: bool) -> None:
        self.readable = readable

    async def get_value(self, kind: str, key: str) -> str | None:
        if not self.readable:
            raise StoreUnavailable
        return None

    async def set_value(self, kind: str, key: str, value: str, seconds: float) -> None:
        raise StoreUnavailable


class GreylistCase(CheckCase):
    def setUp(self) -> None:
        super().setUp()
        self.values = MemoryValues(clock=self.reactor)
        self.check = self.make()

    def make(self, **settings: Any) -> Greylisting:
        return Greylisting(self.values, clock=self.reactor, **settings)

    def attempt(self, peer: str = "198.51.100.7", **words: str) -> bool:
        """Whether an attempt is accepted."""
        answer = self.judge(self.check, make_session(peer), **words)
        if answer is not None:
            self.assert_refused(answer, 450, "4.7.1", "Greylisted, please try again in")
        return answer is None

    def known(self) -> None:
        """Somebody else of the network has tried again already."""
        self.attempt(sender="x@y.example")
        self.clock.advance(60)
        self.assertTrue(self.attempt(sender="x@y.example"))


class AttemptTests(GreylistCase):
    def test_the_second_attempt_is_good(self) -> None:
        self.assertFalse(self.attempt())
        self.clock.advance(60)
        self.assertTrue(self.attempt())

    def test_the_reply_tells_how_long_to_wait(self) -> None:
        for text in ("60 seconds", "45 seconds"):
            answer = self.judge(self.check)
            self.assertIn(text, answer.text)
            self.clock.advance(15)

    def test_an_attempt_that_comes_too_late_is_a_new_one(self) -> None:
        self.assertFalse(self.attempt())
        self.clock.advance(DAY)
        self.assertFalse(self.attempt())
        self.clock.advance(DAY - 1)
        self.assertTrue(self.attempt())

    def test_an_attempt_of_a_clock_that_was_ahead_begins_anew(self) -> None:
        """The client waits no longer than anybody else."""
        # A store keeps it for as long as that clock said.
        kept: dict[str, str] = {}

        async def set_value(kind: str, key: str, value: str, seconds: float) -> None:
            kept[kind + key] = value

        async def get_value(kind: str, key: str) -> str | None:
            return kept.get(kind + key)

        self.patch(self.values, "set_value", set_value)
        self.patch(self.values, "get_value", get_value)
        self.clock.advance(30 * DAY)
        self.assertFalse(self.attempt())
        self.clock.rightNow -= 30 * DAY
        self.assertFalse(self.attempt())
        self.clock.advance(59)
        self.assertFalse(self.attempt())
        self.clock.advance(1)
        self.assertTrue(self.attempt())

    def test_each_sender_and_recipient_is_another_attempt(self) -> None:
        self.check = self.make(allow_after=100)
        self.assertFalse(self.attempt())
        self.clock.advance(60)
        self.assertFalse(self.attempt(sender="eve@sender.example"))
        self.assertFalse(self.attempt(sender=""))
        self.assertFalse(self.attempt(recipient="ann@example.org"))
        self.assertFalse(self.attempt("198.51.101.7"))
        # The same, by another machine of the network, in other letters.
        self.assertTrue(self.attempt("198.51.100.99", sender="Ann@Sender.example"))

    def test_networks_of_ipv6(self) -> None:
        self.assertFalse(self.attempt("2001:db8::1"))
        self.clock.advance(60)
        self.assertFalse(self.attempt("2001:db8:0:1::1"))
        self.assertTrue(self.attempt("2001:db8::ffff:1"))

    def test_single_addresses(self) -> None:
        self.check = self.make(ipv4_bits=32)
        self.assertFalse(self.attempt())
        self.clock.advance(60)
        self.assertFalse(self.attempt("198.51.100.8"))
        self.assertTrue(self.attempt())


class KnownTests(GreylistCase):
    """Networks whose clients try again."""

    def test_a_network_that_has_tried_again_is_known(self) -> None:
        self.known()
        self.assertTrue(self.attempt(sender="another@example.com"))
        self.assertFalse(self.attempt("203.0.113.1"))

    def test_more_attempts_may_be_wanted(self) -> None:
        self.check = self.make(allow_after=2)
        self.known()
        self.assertFalse(self.attempt(sender="another@example.com"))
        self.clock.advance(60)
        self.assertTrue(self.attempt(sender="another@example.com"))
        self.assertTrue(self.attempt(sender="third@example.com"))

    def test_an_attempt_counts_once(self) -> None:
        self.check = self.make(allow_after=2)
        self.known()
        for _ in range(5):
            self.assertTrue(self.attempt(sender="x@y.example"))
        self.assertFalse(self.attempt(sender="another@example.com"))

    def test_who_keeps_sending_stays_known(self) -> None:
        self.known()
        for _ in range(4):
            self.clock.advance(30 * DAY)
            self.assertTrue(self.attempt())
        self.clock.advance(35 * DAY)
        self.assertFalse(self.attempt())

    def test_a_pair_that_keeps_sending_stays_known(self) -> None:
        self.check = self.make(allow_after=100)
        self.known()
        for _ in range(4):
            self.clock.advance(30 * DAY)
            self.assertTrue(self.attempt(sender="x@y.example"))


class OthersTests(GreylistCase):
    """Who is not greylisted."""

    def test_they_are_not(self) -> None:
        for session in (
            make_session("127.0.0.1"),
            make_session(account="ann@example.org"),
            make_session(protocol="submission"),
        ):
            self.assertIsNone(self.judge(self.check, session))
        self.assertTrue(self.attempt(recipient="postmaster@example.org"))
        self.check = self.make(exempt=["198.51.100.0/24"])
        self.assertTrue(self.attempt())

    def test_domains_of_big_senders(self) -> None:
        self.check = self.make(exempt_names=["big.example"])
        for name, accepted in (
            ("out7.Big.example", True),
            ("big.example", True),
            ("notbig.example", False),
            ("", False),
        ):
            session = make_session(client_name=name)
            self.assertEqual(self.judge(self.check, session) is None, accepted, name)


class StoreTests(GreylistCase):
    def test_a_store_that_cannot_be_read_stops_no_mail(self) -> None:
        check = Greylisting(BrokenValues(readable=False), clock=self.reactor)
        self.assertIsNone(self.judge(check))

    def test_a_store_that_cannot_be_written_does_not_stop_the_session(self) -> None:
        check = Greylisting(BrokenValues(readable=True), clock=self.reactor)
        self.assert_refused(self.judge(check), 450, "4.7.1")

    def test_the_client_does_not_wait_for_the_disk(self) -> None:
        @implementer(IKeyValueStore)
        class SlowValues(MemoryValues):
            async def set_value(self, kind: str, key: str, value: str, seconds: float) -> None:
                await Deferred()

        check = Greylisting(SlowValues(clock=self.reactor), clock=self.reactor)
        self.assert_refused(self.judge(check), 450, "4.7.1")

    def test_damaged_values_are_none(self) -> None:
        envelope = make_envelope(make_session())
        key = attempt_key("198.51.100.0/24", envelope, make_recipient())
        self.ask(self.values.set_value, kind=ATTEMPT, key=key, value="junk", seconds=60)
        self.assertTrue(self.attempt())

    def test_keys_are_short_and_take_any_address(self) -> None:
        envelope = make_envelope(make_session(), "\udcff" * 64 + "@" + "x" * 250)
        key = attempt_key("n", envelope, Recipient(make_recipient().path))
        self.assertEqual(len(key), 32)

    def test_settings_that_make_no_sense(self) -> None:
        self.assertRaises(ValueError, self.make, delay=100.0, retry_window=100.0)
