"""Whoever guesses passwords waits, and nobody else does."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock, patch

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailkit import guard as module
from mailkit.errors import StoreUnavailable
from mailkit.guard import GuardSettings, LoginGuard, MemoryLoginRecords, Rate, TooManyLogins
from mailkit.identity import LoginAttempt, LoginOutcome
from mailkit.interfaces import ILoginRecords

ANN = "ann@example.org"


class GuardTestCase(SynchronousTestCase):
    settings = GuardSettings()

    def setUp(self) -> None:
        self.clock = Clock()
        self.records = MemoryLoginRecords(self.settings)
        self.guard = LoginGuard(records=self.records)
        self._secrets = 0

    def admit(self, login: str = ANN, address: str = "192.0.2.1") -> Deferred[None]:
        return Deferred.fromCoroutine(self.guard.admit(LoginAttempt(login, address), self.clock))

    def settle(
        self,
        outcome: LoginOutcome,
        login: str = ANN,
        address: str = "192.0.2.1",
        secret: bytes = b"",
    ) -> Deferred[None]:
        if not secret:
            self._secrets += 1
            secret = b"guess %d" % self._secrets
        attempt = LoginAttempt(login, address, secret)
        return Deferred.fromCoroutine(self.guard.settle(attempt, outcome, self.clock))

    def seconds(self, waiting: Deferred[None]) -> float:
        """How long it takes."""
        started = self.clock.seconds()
        for _ in range(10_000):
            if waiting.called:
                self.successResultOf(waiting)
                return self.clock.seconds() - started
            # An exact one: sums of it have no error.
            self.clock.advance(0.25)
        raise AssertionError("it takes too long")

    def fail_at_once(
        self, login: str = ANN, address: str = "192.0.2.1", secret: bytes = b""
    ) -> None:
        """A wrong password whose answer nobody waits for."""
        self.settle(LoginOutcome.FAILURE, login, address, secret).addErrback(
            lambda failure: failure.trap(CancelledError)
        ).cancel()

    def log_in(self, login: str = ANN, address: str = "192.0.2.1") -> None:
        self.assertEqual(self.seconds(self.admit(login, address)), 0)
        self.assertEqual(self.seconds(self.settle(LoginOutcome.SUCCESS, login, address)), 0)


class RecordsTests(GuardTestCase):
    def test_contract(self) -> None:
        verifyObject(ILoginRecords, self.records)

    def test_names_and_passwords_are_not_kept(self) -> None:
        self.fail_at_once("somebody", secret=b"hunter2")
        self.log_in("ann-logs-in", "192.0.2.2")
        kept = repr(
            [
                [list(records._records) for records in (self.records._accounts,)],
                list(self.records._known._entries),
                list(self.records._repeated._entries),
            ]
        )
        for text in ("somebody", "hunter2", "ann-logs-in"):
            self.assertNotIn(text, kept)

    def test_what_is_remembered_is_bounded(self) -> None:
        for name in ("MAX_RECORDS", "MAX_KNOWN", "MAX_REPEATED"):
            self.patch(module, name, 10)
        records = MemoryLoginRecords()
        for number in range(100):
            for outcome in (LoginOutcome.FAILURE, LoginOutcome.SUCCESS):
                attempt = LoginAttempt(f"u{number}{outcome}", f"10.{number}.0.1", b"%d" % number)
                self.successResultOf(Deferred.fromCoroutine(records.end(attempt, outcome, 0.0)))
        self.assertEqual(len(records), 50)


class RecognizedClientTests(GuardTestCase):
    def recognize(self, login: str = ANN, address: str = "192.0.2.1") -> bytes | None:
        return self.guard.recognize(login, address, self.clock)

    def test_who_has_logged_in_from_there(self) -> None:
        self.assertIsNone(self.recognize())
        self.log_in()
        for login, address, known in (
            (ANN, "192.0.2.1", True),
            (ANN.upper(), "::ffff:192.0.2.1", True),
            (ANN, "192.0.2.2", False),
            ("bob@example.org", "192.0.2.1", False),
        ):
            self.assertEqual(self.recognize(login, address) is not None, known)

    def test_not_after_a_failure(self) -> None:
        self.log_in()
        self.fail_at_once()
        self.assertIsNone(self.recognize())
        self.log_in()
        self.assertIsNotNone(self.recognize())

    def test_others_failures_are_not_its_own(self) -> None:
        self.log_in()
        for _ in range(7):
            self.fail_at_once("bob@example.org")
        self.assertIsNotNone(self.recognize())

    def test_each_login_keeps_it_known(self) -> None:
        self.log_in()
        for _ in range(3):
            self.clock.advance(module.KNOWN_SECONDS - 1)
            known = self.recognize()
            assert known is not None
            self.guard.welcome(known)
        self.clock.advance(module.KNOWN_SECONDS)
        self.assertIsNone(self.recognize())

    def test_guesses_do_not_keep_it_known(self) -> None:
        self.log_in()
        self.clock.advance(module.KNOWN_SECONDS - 1)
        self.assertIsNotNone(self.recognize())
        self.fail_at_once()
        self.clock.advance(1)
        self.assertEqual(self.seconds(self.settle(LoginOutcome.FAILURE)), 1)

    def test_it_leaves_nothing_behind(self) -> None:
        for number in range(10):
            self.recognize(f"u{number}", f"192.0.2.{number}")
        self.assertEqual(len(self.records), 0)

    def test_records_elsewhere_are_asked(self) -> None:
        guard = LoginGuard(records=Mock())
        self.assertIsNone(guard.recognize(ANN, "192.0.2.1", self.clock))


class AddressTests(GuardTestCase):
    def test_answers_to_wrong_passwords_come_ever_later(self) -> None:
        found = []
        for _ in range(6):
            admitted = self.seconds(self.admit())
            answered = self.seconds(self.settle(LoginOutcome.FAILURE))
            found.append((admitted, answered))
        # Of 16 seconds, 8 are over when the answer is sent.
        self.assertEqual(found[:4], [(0, 1), (0, 2), (0, 4), (0, 8)])
        self.assertEqual(found[4][1], 8)
        self.assertIn(found[5][0], (7, 7.25, 7.5, 7.75, 8))

    def test_other_connections_wait_too_whatever_the_account(self) -> None:
        self.fail_at_once()
        self.assertEqual(self.seconds(self.admit("bob@example.org")), 1)
        # And for each other.
        first, second = self.admit("carl@example.org"), self.admit("dora@example.org")
        self.assertEqual(self.seconds(first), 1)
        self.assertEqual(self.seconds(second), 1)

    def test_another_address_does_not_wait(self) -> None:
        self.fail_at_once()
        self.assertEqual(self.seconds(self.admit(address="192.0.2.2")), 0)

    def test_one_that_would_wait_too_long_is_refused(self) -> None:
        for _ in range(7):
            self.fail_at_once()
        self.failureResultOf(self.admit(), TooManyLogins)
        self.clock.advance(45)
        self.assertLess(self.seconds(self.admit()), 20)

    def test_failures_are_forgotten(self) -> None:
        for _ in range(7):
            self.fail_at_once()
        self.clock.advance(5 * module.HALF_LIFE)
        self.assertEqual(self.seconds(self.admit()), 0)
        self.assertEqual(self.seconds(self.settle(LoginOutcome.FAILURE)), 1.25)

    def test_more_than_some_at_the_same_time_take_turns(self) -> None:
        for _ in range(module.MAX_PARALLEL):
            self.assertEqual(self.seconds(self.admit()), 0)
        # The account's are: all of that address's.
        more = [self.admit(address=address) for address in ("192.0.2.1", "198.51.100.1")]
        for waiting in more:
            self.assertNoResult(waiting)
            self.clock.advance(module.PARALLEL_WAIT)
            self.successResultOf(waiting)
        for _ in range(4):
            self.settle(LoginOutcome.NONE)
        self.clock.advance(1)
        self.assertEqual(self.seconds(self.admit()), 0)

    def test_an_ipv6_network_of_one_machine_counts_as_one_address(self) -> None:
        self.fail_at_once(address="2001:db8::1")
        self.assertEqual(self.seconds(self.admit(address="2001:db8::2:3")), 1)
        self.assertEqual(self.seconds(self.admit(address="2001:db8:0:1::1")), 0)
        self.fail_at_once(address="192.0.2.9")
        self.assertEqual(self.seconds(self.admit(address="::ffff:192.0.2.9")), 1)

    def test_loopback_and_unix_sockets_count_for_the_account_alone(self) -> None:
        for address in ("127.0.0.1", "::1", ""):
            for number in range(30):
                self.fail_at_once(f"user{number}", address)
            self.assertEqual(self.seconds(self.admit(address=address)), 0)

    def test_an_old_password_that_is_repeated_is_no_guess(self) -> None:
        for _ in range(20):
            self.fail_at_once(secret=b"old")
        # It costs us time all the same.
        self.assertEqual(self.seconds(self.admit()), 1)
        # Also from a program that tries it a few times a day.
        self.clock.advance(8 * 3600)
        self.fail_at_once(secret=b"old")
        self.assertEqual(self.seconds(self.admit()), 1)

    def test_an_account_of_ones_own_does_not_help_to_guess(self) -> None:
        for _ in range(5):
            self.fail_at_once()
            self.settle(LoginOutcome.SUCCESS, "eve@example.org")
        self.assertGreater(self.seconds(self.admit()), 10)


class NetworkTests(GuardTestCase):
    settings = GuardSettings(network=Rate(3, 1.0, 4.0, 1))

    def test_neighbours_wait(self) -> None:
        for number in range(5):
            self.fail_at_once(f"user{number}", f"192.0.2.{number}")
        self.assertEqual(self.seconds(self.admit(address="192.0.2.200")), 2)
        self.assertEqual(self.seconds(self.admit(address="192.0.3.1")), 0)

    def test_trusted_networks_count_for_the_account_alone(self) -> None:
        self.records = MemoryLoginRecords(self.settings._replace(trusted=("192.0.2.0/24",)))
        self.guard = LoginGuard(records=self.records)
        for number in range(9):
            self.fail_at_once(f"user{number}")
        self.assertEqual(self.seconds(self.admit()), 0)


class AccountTests(GuardTestCase):
    def attack(self, count: int, login: str = ANN) -> None:
        for number in range(count):
            self.fail_at_once(login, f"10.{number % 250}.{number // 250}.1")

    def test_guesses_from_everywhere(self) -> None:
        self.attack(5)
        self.assertEqual(self.seconds(self.admit(address="198.51.100.1")), 0)
        self.attack(1000)
        for name in (ANN, ANN.upper(), f" {ANN}"):
            self.assertEqual(self.seconds(self.admit(name, "198.51.100.1")), 8)
        self.assertEqual(self.seconds(self.admit("bob@example.org", "198.51.100.1")), 0)

    def test_ways_to_write_a_name_do_not_help_to_guess(self) -> None:
        self.attack(50)
        for name in (
            f"{ANN}.",
            "a\xadnn@example.org",
            "\u200dann@exam\u2060ple.org",
            "ann\ufe0f@example\u3002org",
            "\uff41nn@EXAMPLE.org",
        ):
            self.assertGreater(self.seconds(self.admit(name, "198.51.100.1")), 0, ascii(name))
        self.attack(50, "b\xfcrger@stra\xdfe.example")
        name = "BU\u0308RGER@xn--strae-oqa.example"
        self.assertGreater(self.seconds(self.admit(name, "198.51.100.1")), 0)

    def test_names_that_are_too_long_are_not_normalised(self) -> None:
        with patch.object(unicodedata, "normalize", Mock(side_effect=AssertionError)):
            for name in ("a\u0301\u0316" * 10_000, "a@" + "\u4e00" * 10_000):
                self.assertEqual(self.seconds(self.admit(name)), 0)

    def test_who_has_logged_in_lately_does_not_wait(self) -> None:
        self.log_in()
        self.attack(1000)
        # Not even for failures of the own address.
        self.fail_at_once("bob@example.org")
        self.log_in()
        self.clock.advance(module.KNOWN_SECONDS + 1)
        self.fail_at_once("bob@example.org")
        self.assertEqual(self.seconds(self.admit()), 1)

    def test_unless_it_fails_too_often(self) -> None:
        self.log_in()
        for _ in range(module.KNOWN_FAILURES):
            self.assertEqual(self.seconds(self.admit()), 0)
            self.assertEqual(self.seconds(self.settle(LoginOutcome.FAILURE)), 0)
        self.assertEqual(self.seconds(self.admit()), 0)
        self.assertEqual(self.seconds(self.settle(LoginOutcome.FAILURE)), 1)

    def test_a_program_with_the_old_password_stays_known(self) -> None:
        self.log_in()
        for _ in range(50):
            self.fail_at_once(secret=b"old")
        self.log_in()

    def test_unknown_names_are_treated_alike(self) -> None:
        waits = []
        for name in (ANN, "nobody@example.org"):
            self.attack(50, name)
            waits.append(self.seconds(self.admit(name, "198.51.100.1")))
        self.assertEqual(*waits)


class Channel:
    """Between processes."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[Any], None]] = []
        self.others: list[Channel] = []
        self.sent: list[Any] = []

    def send_message(self, topic: str, message: Any) -> None:
        self.sent.append(json.loads(json.dumps(message)))
        for other in self.others:
            for callback in other.callbacks:
                callback(self.sent[-1])

    def listen(self, topic: str, callback: Callable[[Any], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)


class SharedTests(GuardTestCase):
    """Guards of two processes that tell each other."""

    def setUp(self) -> None:
        super().setUp()
        self.channel: Any = Channel()
        self.far: Any = Channel()
        self.channel.others, self.far.others = [self.far], [self.channel]
        self.there = LoginGuard()
        self.end = self.there.share(self.far)
        self.guard.share(self.channel)

    def test_failures_count_in_each_process(self) -> None:
        for _ in range(3):
            self.fail_at_once()
        self.guard = self.there
        self.assertGreater(self.seconds(self.admit()), 1.0)
        # Another address waits for nothing.
        self.assertEqual(self.seconds(self.admit("bob@example.org", "198.51.100.1")), 0)

    def test_who_has_logged_in_is_known_in_each_process(self) -> None:
        self.log_in()
        self.log_in()
        # Each time is no news.
        self.assertEqual(len(self.channel.sent), 1)
        self.fail_at_once("bob@example.org")
        self.guard = self.there
        self.assertEqual(self.seconds(self.admit()), 0)
        self.assertGreater(self.seconds(self.admit("bob@example.org")), 0)

    def test_passwords_are_not_told(self) -> None:
        self.fail_at_once(secret=b"hunter2")
        self.fail_at_once(secret=b"hunter2")
        self.assertNotIn("hunter2", json.dumps(self.channel.sent))
        self.assertEqual([message[3] for message in self.channel.sent], [False, True])

    def test_what_another_process_judges_is_not_judged_here(self) -> None:
        for number in range(module.MAX_PARALLEL):
            self.assertEqual(self.seconds(self.admit(f"user{number}@example.org")), 0)
        self.guard, here = self.there, self.guard
        self.settle(LoginOutcome.NONE, "user0@example.org")
        self.guard = here
        self.assertNoResult(self.admit("other@example.org"))

    def test_the_end(self) -> None:
        self.end()
        self.assertEqual(self.far.callbacks, [])
        for error in (StoreUnavailable(), ValueError("too long")):
            self.patch(self.channel, "send_message", Mock(side_effect=error))
            self.fail_at_once()


class WaitingTests(GuardTestCase):
    def test_who_goes_leaves_nothing_behind(self) -> None:
        self.fail_at_once()
        waiting = self.admit()
        self.assertEqual(self.guard._waiting, 1)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.guard._waiting, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_number_of_those_who_wait_is_bounded(self) -> None:
        self.patch(module, "MAX_WAITING", 2)
        for address in ("192.0.2.1", "198.51.100.1"):
            self.fail_at_once(address=address)
        waiting = [self.admit(), self.admit()]
        self.failureResultOf(self.admit(), TooManyLogins)
        # What need not wait is judged; its answer is not held back.
        self.assertEqual(self.seconds(self.admit("bob", "203.0.113.1")), 0)
        answer = self.settle(LoginOutcome.FAILURE, "bob", "203.0.113.1")
        self.assertEqual(self.seconds(answer), 0)
        for each in waiting:
            each.addErrback(lambda failure: failure.trap(CancelledError))
            each.cancel()

    def test_another_keeper_of_the_records(self) -> None:
        asked: list[Any] = []
        slow: Deferred[float] = Deferred()

        class Remote:
            def begin(self, attempt: LoginAttempt, now: float) -> Any:
                asked.append((attempt, now))
                return slow

        self.guard = LoginGuard(records=Remote())  # type: ignore[arg-type]
        waiting = self.admit()
        self.assertNoResult(waiting)
        slow.callback(0.0)
        self.successResultOf(waiting)
        self.assertEqual(asked, [(LoginAttempt(ANN, "192.0.2.1"), 0.0)])

    def test_those_who_give_no_name_have_nothing_in_common(self) -> None:
        """Tokens: somebody's wrong ones hold up nobody else's."""
        for number in range(30):
            self.fail_at_once("", address=f"10.{number}.0.1")
        self.assertEqual(self.seconds(self.admit("", "203.0.113.1")), 0)
        self.assertGreater(self.seconds(self.admit("", "10.29.0.1")), 0)
        # Nor do they fail together on a UNIX socket.
        answer = self.settle(LoginOutcome.FAILURE, "", "")
        self.assertEqual(self.seconds(answer), 0)


class DumpTests(GuardTestCase):
    """What the next process knows."""

    def setUp(self) -> None:
        super().setUp()
        self.clock.advance(1_000_000)

    def restart(self, seconds: float = 0) -> None:
        """Another process, some time later."""
        kept = json.loads(json.dumps(self.guard.dump(self.clock)))
        self.clock.advance(seconds)
        self.records = MemoryLoginRecords(self.settings)
        self.guard = LoginGuard(records=self.records)
        self.guard.restore(kept, self.clock)

    def test_who_has_failed_goes_on_to_wait(self) -> None:
        for _ in range(5):
            self.fail_at_once()
        self.restart()
        # Twice as long with each failure.
        self.assertAlmostEqual(self.seconds(self.admit()), 16, delta=0.5)
        # An hour later nothing is left of it.
        self.restart(3600)
        self.assertEqual(self.seconds(self.admit()), 0)

    def test_accounts_and_networks_too(self) -> None:
        for number in range(25):
            self.fail_at_once(address=f"192.0.2.{number}")
        before = self.records._accounts.dump(self.clock.seconds())
        self.assertEqual(len(before), 1)
        self.restart()
        self.assertEqual(self.records._accounts.dump(self.clock.seconds()), before)
        (network,) = self.records._networks.dump(self.clock.seconds())
        self.assertEqual(network[:2], ("192.0.2.0/24", 25))

    def test_who_is_known_stays_known(self) -> None:
        self.log_in()
        for number in range(30):
            self.fail_at_once(address=f"198.51.100.{number}")
        self.restart(60)
        self.assertIsNotNone(self.guard.recognize(ANN, "192.0.2.1", self.clock))
        self.assertIsNone(self.guard.recognize(ANN, "192.0.2.2", self.clock))
        self.assertEqual(self.seconds(self.admit()), 0)
        self.restart(15 * 86_400)
        self.assertIsNone(self.guard.recognize(ANN, "192.0.2.1", self.clock))

    def test_no_name_and_no_password_is_written_down(self) -> None:
        self.fail_at_once("hunter2-as-a-name", secret=b"hunter2")
        self.log_in("ann-logs-in", "192.0.2.2")
        kept = json.dumps(self.guard.dump(self.clock))
        for text in ("hunter2", b"hunter2".hex(), "ann-logs"):
            self.assertNotIn(text, kept)
        self.assertIn('["192.0.2.1", 1', kept)

    def test_nothing_is_dumped_of_nothing(self) -> None:
        self.assertIsNone(self.guard.dump(self.clock))

    def test_a_process_that_knows_something_already(self) -> None:
        """It has digests of its own; addresses are the same for both."""
        self.fail_at_once()
        kept = json.loads(json.dumps(self.guard.dump(self.clock)))
        self.guard = LoginGuard(records=(records := MemoryLoginRecords(self.settings)))
        self.records = records
        self.fail_at_once("bob", "198.51.100.1")
        self.guard.restore(kept, self.clock)
        addresses = {key for key, _, _ in records._addresses.dump(self.clock.seconds())}
        self.assertEqual(addresses, {"192.0.2.1", "198.51.100.1"})
        self.assertEqual(len(records._accounts.dump(self.clock.seconds())), 1)

    def test_a_clock_that_was_wrong(self) -> None:
        for _ in range(5):
            self.fail_at_once()
        kept = self.guard.dump(self.clock)
        self.clock.rightNow -= 86_400 * 5
        self.guard = LoginGuard(records=MemoryLoginRecords(self.settings))
        self.guard.restore(json.loads(json.dumps(kept)), self.clock)
        # A minute at the most, as ever; that is too long to wait for.
        self.failureResultOf(self.admit(), TooManyLogins)
        self.clock.advance(60)
        self.assertEqual(self.seconds(self.admit()), 0)

    def test_what_was_never_dumped(self) -> None:
        self.fail_at_once()
        kept = json.loads(json.dumps(self.guard.dump(self.clock)))
        for wrong in (
            *(None, [], {}, "x", {**kept, "key": "no hex"}, {**kept, "known": [["00", 1]]}),
            *({**kept, "addresses": [["192.0.2.1", 1e9, 0]]}, {**kept, "time": "x"}),
            {**kept, "accounts": [["00", float("nan"), 0]]},
        ):
            guard = LoginGuard()
            with self.assertRaises(ValueError):
                guard.restore(wrong, self.clock)

    def test_bounds(self) -> None:
        self.patch(module, "MAX_KEPT", 3)
        self.patch(module, "MAX_KEPT_KNOWN", 2)
        for number in range(6):
            for _ in range(number):
                self.fail_at_once(f"user{number}", f"203.0.113.{number}")
            self.guard.welcome(b"%d" % number)
        kept: Any = self.guard.dump(self.clock)
        # The worst, and the last.
        self.assertEqual(
            [address for address, _, _ in kept["addresses"]],
            ["203.0.113.5", "203.0.113.4", "203.0.113.3"],
        )
        self.assertEqual([bytes.fromhex(key) for key, _, _ in kept["known"]], [b"4", b"5"])
