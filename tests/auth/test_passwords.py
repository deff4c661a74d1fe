"""Hashing, its threads' limits, and the cache of verified logins."""

from __future__ import annotations

import unicodedata
from typing import Any, cast
from unittest.mock import Mock, patch

from argon2 import extract_parameters
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.auth import schemes
from mailkit.auth.names import canonical_name, prepared_name
from mailkit.auth.passwords import (
    PasswordHasher,
    forms_of,
    hash_password,
    prepare_password,
    verify_password,
)
from mailkit.auth.schemes import UnreadableHash
from mailkit.errors import TemporaryFailure
from mailkit.store.addresses import canonical_local_part
from tests.auth.fakes import ImmediateExecutor, ManualExecutor

CHEAP: dict[str, Any] = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
SECRET = hash_password("secret", **CHEAP)


class HashPasswordTests(SynchronousTestCase):
    def test_new_hashes_are_argon2id_with_the_documented_cost(self) -> None:
        parameters = extract_parameters(hash_password("secret"))
        self.assertTrue(hash_password("secret").startswith("$argon2id$v=19$m=19456,t=2,p=1$"))
        self.assertEqual((parameters.salt_len, parameters.hash_len), (16, 32))

    def test_every_hash_has_its_own_salt(self) -> None:
        self.assertNotEqual(hash_password("x", **CHEAP), hash_password("x", **CHEAP))

    def test_only_the_right_password_verifies(self) -> None:
        self.assertTrue(verify_password(SECRET, "secret"))
        self.assertTrue(verify_password(SECRET, b"secret"))
        self.assertFalse(verify_password(SECRET, "Secret"))
        self.assertFalse(verify_password(SECRET, ""))

    def test_plain_scheme_compares_the_text(self) -> None:
        self.assertTrue(verify_password("{PLAIN}secret", b"secret"))
        self.assertFalse(verify_password("{PLAIN}secret", b"secre"))
        self.assertFalse(verify_password("{PLAIN}secret", b"{PLAIN}secret"))

    def test_a_bare_text_is_no_hash(self) -> None:
        self.assertRaises(UnreadableHash, verify_password, "secret", "secret")

    def test_both_spellings_of_an_accent_are_one_password(self) -> None:
        stored = hash_password("passwo\u0308rt", **CHEAP)
        self.assertTrue(verify_password(stored, "passw\u00f6rt".encode()))

    def test_no_break_space_is_a_space(self) -> None:
        self.assertEqual(prepare_password("a\u00a0b"), b"a b")

    def test_octets_that_are_no_utf8_are_a_password_too(self) -> None:
        stored = hash_password(b"\xff\xfe", **CHEAP)
        self.assertTrue(verify_password(stored, b"\xff\xfe"))
        self.assertFalse(verify_password(stored, b"\xff"))


class LongTests(SynchronousTestCase):
    """Unicode's normal forms sort combining marks in quadratic time."""

    def test_they_stay_as_they_are(self) -> None:
        marks = "e\u0316\u0301" * 1000
        with patch.object(unicodedata, "normalize", Mock(side_effect=AssertionError)):
            self.assertEqual(forms_of(marks), [marks.encode()])
            self.assertEqual(canonical_name(f"A{marks}@example.org"), f"a{marks}@example.org")
            self.assertIsNone(prepared_name(marks))
            self.assertEqual(canonical_local_part(f"A{marks}"), f"a{marks}")


class PreparedTests(SynchronousTestCase):
    """What other servers, and RFC 4616, make of passwords by SASLprep."""

    def test_forms(self) -> None:
        for typed, forms in (
            ("secret", ["secret"]),
            ("se\tcret", ["se\tcret"]),
            ("s\u00e9cret", ["s\u00e9cret"]),
            ("se\u0301cret", ["s\u00e9cret"]),
            ("a\u00a0b", ["a b"]),
            ("\u2168", ["\u2168", "IX"]),
            ("I\u00adX", ["I\u00adX", "IX"]),
            ("\u00ad", ["\u00ad"]),
            ("\u00e9\u0007", ["\u00e9\u0007"]),
        ):
            self.assertEqual([form.decode() for form in forms_of(typed)], forms, typed)
        self.assertEqual(forms_of(b"\xff"), [b"\xff"])

    def test_either_form_may_have_been_hashed(self) -> None:
        for kept in ("\u2168", "IX"):
            for stored in (hash_password(kept, **CHEAP), "{PLAIN}" + kept):
                self.assertTrue(verify_password(stored, "\u2168"), stored)
        # But what is typed without the character is not what was kept with it.
        self.assertFalse(verify_password(hash_password("\u2168", **CHEAP), "IX"))
        self.assertFalse(verify_password(hash_password("V", **CHEAP), "\u2168"))

    def test_nobodys_password_takes_as_long(self) -> None:
        """As many forms are tried for whoever is not there."""
        tried: list[bytes] = []
        self.patch(schemes, "verify", lambda stored, octets: bool(tried.append(octets)))
        executor: Any = ImmediateExecutor()
        hasher = PasswordHasher(executor, clock=cast(Any, Clock()), executor=executor, **CHEAP)
        for like in (None, "{SHA256}x"):
            for password, count in (("wrong", 1), ("wr\u00f6ng", 1), ("wrong \u2168", 2)):
                tried.clear()
                self.assertFalse(self.successResultOf(hasher.verify_nobody(password, like=like)))
                self.assertEqual(len(tried), count, (like, password))


class PasswordHasherTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.executor = ManualExecutor()

    def hasher(self, **settings: Any) -> PasswordHasher:
        return PasswordHasher(
            cast(Any, self.executor),
            clock=cast(Any, self.clock),
            executor=self.executor,
            **{**CHEAP, **settings},
        )

    def verified(self, hasher: PasswordHasher, stored: str, password: str) -> bool:
        result = hasher.verify(stored, password)
        self.executor.run()
        return self.successResultOf(result)

    def test_hash_and_verify(self) -> None:
        hasher = self.hasher()
        result = hasher.hash("secret")
        self.assertNoResult(result)
        self.executor.run()
        stored = self.successResultOf(result)
        self.assertTrue(self.verified(hasher, stored, "secret"))
        self.assertFalse(self.verified(hasher, stored, "wrong"))

    def test_a_verified_login_costs_no_second_hash(self) -> None:
        hasher = self.hasher()
        self.assertTrue(self.verified(hasher, SECRET, "secret"))
        self.assertTrue(self.successResultOf(hasher.verify(SECRET, "secret")))
        self.assertEqual(self.executor.ran, 1)

    def test_a_wrong_password_is_hashed_each_time(self) -> None:
        hasher = self.hasher()
        self.assertTrue(self.verified(hasher, SECRET, "secret"))
        self.assertFalse(self.verified(hasher, SECRET, "wrong"))
        self.assertFalse(self.verified(hasher, SECRET, "wrong"))
        self.assertEqual(self.executor.ran, 3)

    def test_a_changed_password_is_asked_for_at_once(self) -> None:
        hasher = self.hasher()
        self.assertTrue(self.verified(hasher, SECRET, "secret"))
        changed = hash_password("other", **CHEAP)
        self.assertFalse(self.verified(hasher, changed, "secret"))

    def test_an_unused_login_is_forgotten(self) -> None:
        hasher = self.hasher(cache_seconds=60)
        self.verified(hasher, SECRET, "secret")
        self.clock.advance(59)
        self.successResultOf(hasher.verify(SECRET, "secret"))
        self.clock.advance(59)
        self.successResultOf(hasher.verify(SECRET, "secret"))
        self.clock.advance(60)
        self.assertNoResult(hasher.verify(SECRET, "secret"))

    def test_the_cache_is_bounded_and_drops_the_least_used(self) -> None:
        hasher = self.hasher(cache_size=2)
        hashes = [hash_password("secret", **CHEAP) for _ in range(3)]
        self.verified(hasher, hashes[0], "secret")
        self.verified(hasher, hashes[1], "secret")
        self.successResultOf(hasher.verify(hashes[0], "secret"))
        self.verified(hasher, hashes[2], "secret")
        self.successResultOf(hasher.verify(hashes[0], "secret"))
        self.assertNoResult(hasher.verify(hashes[1], "secret"))

    def test_cache_can_be_turned_off(self) -> None:
        hasher = self.hasher(cache_seconds=0)
        self.verified(hasher, SECRET, "secret")
        self.assertNoResult(hasher.verify(SECRET, "secret"))

    def test_the_same_login_at_the_same_time_is_hashed_once(self) -> None:
        hasher = self.hasher()
        results = [hasher.verify(SECRET, "secret") for _ in range(5)]
        self.executor.run()
        self.assertEqual([self.successResultOf(result) for result in results], [True] * 5)
        self.assertEqual(self.executor.ran, 1)

    def test_too_many_waiting_is_a_temporary_failure(self) -> None:
        hasher = self.hasher(max_pending=2)
        waiting = [hasher.verify(SECRET, "a"), hasher.verify(SECRET, "b")]
        self.failureResultOf(hasher.verify(SECRET, "c"), TemporaryFailure)
        self.failureResultOf(hasher.hash("c"), TemporaryFailure)
        self.executor.run()
        self.assertEqual([self.successResultOf(result) for result in waiting], [False, False])
        self.assertTrue(self.verified(hasher, SECRET, "secret"))

    def test_nobody_costs_what_a_user_of_another_scheme_costs(self) -> None:
        hasher = self.hasher()
        result = hasher.verify_nobody("secret", like=SECRET)
        self.executor.run()
        # Though it is that user's very password.
        self.assertFalse(self.successResultOf(result))
        self.assertEqual(self.executor.ran, 1)
        self.assertFalse(hasher.remembers(SECRET, "secret"))

    def test_addresses_take_turns(self) -> None:
        hasher = self.hasher(threads=1)
        told: list[str] = []

        def verify(address: str, password: str) -> None:
            result = hasher.verify(SECRET, password, address)
            result.addCallback(lambda _: told.append(address))

        for number in range(20):
            verify("192.0.2.1", f"guess {number}")
        verify("192.0.2.2", "secret")
        for _ in range(3):
            self.executor.run()
        # The first was at work already, the second came before.
        self.assertEqual(told, ["192.0.2.1", "192.0.2.1", "192.0.2.2"])

    def test_room_is_taken_from_those_who_have_failed(self) -> None:
        hasher = self.hasher(threads=1, max_pending=4)
        failed = hasher.verify(SECRET, "guess", "192.0.2.1")
        self.executor.run()
        self.assertFalse(self.successResultOf(failed))
        guesses = [hasher.verify(SECRET, f"guess {n}", "192.0.2.1") for n in range(4)]
        honest = hasher.verify(SECRET, "secret", "192.0.2.2")
        self.failureResultOf(guesses[-1], TemporaryFailure)
        for _ in range(2):
            self.executor.run()
        self.assertTrue(self.successResultOf(honest))
        self.assertFalse(self.successResultOf(guesses[0]))
        self.assertNoResult(guesses[1])

    def test_a_login_that_waits_and_is_given_up_is_not_computed(self) -> None:
        hasher = self.hasher(threads=1)
        first, second = hasher.verify(SECRET, "one"), hasher.verify(SECRET, "two")
        second.cancel()
        self.failureResultOf(second, CancelledError)
        for _ in range(3):
            self.executor.run()
        self.assertFalse(self.successResultOf(first))
        self.assertEqual(self.executor.ran, 1)

    def test_a_login_given_up_makes_room_for_others(self) -> None:
        hasher = self.hasher(max_pending=1)
        given_up = hasher.verify(SECRET, "wrong")
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.executor.deliver()
        other = hasher.verify(SECRET, "secret")
        self.executor.run()
        self.assertTrue(self.successResultOf(other))
        self.assertEqual(self.executor.ran, 1)

    def test_a_login_repeated_at_once_after_giving_up(self) -> None:
        hasher = self.hasher()
        given_up = hasher.verify(SECRET, "secret")
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        again = hasher.verify(SECRET, "secret")
        self.executor.run()
        self.assertTrue(self.successResultOf(again))

    def test_one_of_two_giving_up_leaves_the_other(self) -> None:
        hasher = self.hasher()
        first, second = hasher.verify(SECRET, "secret"), hasher.verify(SECRET, "secret")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.executor.run()
        self.assertTrue(self.successResultOf(second))

    def test_a_hash_given_up_is_not_computed(self) -> None:
        hasher = self.hasher(max_pending=1)
        given_up = hasher.hash("secret")
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.executor.run()
        self.assertEqual(self.executor.ran, 0)
        self.assertNoResult(hasher.hash("secret"))

    def test_a_user_that_does_not_exist_costs_a_hash(self) -> None:
        hasher = self.hasher()
        result = hasher.verify_nobody("secret")
        self.executor.run()
        self.assertFalse(self.successResultOf(result))
        self.assertEqual(self.executor.ran, 1)

    def test_plain_scheme_costs_no_thread(self) -> None:
        hasher = self.hasher()
        self.assertTrue(self.successResultOf(hasher.verify("{PLAIN}secret", "secret")))
        self.assertFalse(self.successResultOf(hasher.verify("{PLAIN}secret", "other")))

    def test_a_hash_of_an_unknown_kind_lets_nobody_in_and_is_logged(self) -> None:
        hasher = self.hasher()
        with capturedLogs() as logs:
            self.assertFalse(self.verified(hasher, "{UNKNOWN}secret", "secret"))
        (text,) = map(formatEvent, logs)
        self.assertIn("{UNKNOWN}", text)
        self.assertNotIn("secret", text)

    def test_a_damaged_hash_is_our_failure_and_is_logged(self) -> None:
        result = self.hasher().verify("$argon2id$v=19$m=1", "secret")
        self.executor.run()
        self.failureResultOf(result, TemporaryFailure)
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_close_answers_those_who_wait_and_takes_no_more(self) -> None:
        hasher = self.hasher(threads=2)
        begun = [hasher.verify(SECRET, "secret"), hasher.hash("secret")]
        waiting = [hasher.verify(SECRET, "other"), hasher.hash("other")]
        hasher.close()
        self.executor.deliver()
        for result in (*begun, *waiting):
            self.failureResultOf(result, TemporaryFailure)
        self.failureResultOf(hasher.verify(SECRET, "secret"), TemporaryFailure)


class ThreadTests(TestCase):
    async def test_with_real_threads(self) -> None:
        hasher = PasswordHasher(**CHEAP)
        stored = await hasher.hash("secret")
        self.assertEqual(await hasher.verify(stored, "wrong"), False)
        self.assertEqual(await hasher.verify(stored, "secret"), True)
        self.assertEqual(await hasher.verify_nobody("secret"), False)
        hasher.close()
