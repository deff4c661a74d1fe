"""Codes of devices behind passwords: taken once, in their time, and never the password alone."""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail
from twisted.logger import capturedLogs, formatEvent, globalLogPublisher

from mailkit.auth import totp
from mailkit.auth.app_passwords import new_app_password
from mailkit.auth.totp import (
    MAX_WINDOW,
    WRONG_CODES,
    MissingLibrary,
    device_uri,
    load_pyotp,
    new_second_factor,
    wrong_code_seconds,
)
from mailkit.coroutines import run
from mailkit.errors import AuthenticationFailed, StoreUnavailable, TemporaryFailure
from mailkit.identity import SecondFactor
from tests.auth.test_app_passwords import ANN, BOB, CheckerTestCase

# RFC 6238 appendix B, in base32.
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


class TOTPTestCase(CheckerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.set(SecondFactor(SECRET))

    def set(self, factor: SecondFactor | None) -> None:
        self.successResultOf(run(self.store.set_second_factor(ANN, factor)))

    def code(self, offset: float = 0) -> bytes:
        """What the device shows at some time from now."""
        step = int(self.clock.seconds() + offset) // 30
        return str(pyotp.TOTP(SECRET).generate_otp(step)).encode()


class CodeTests(TOTPTestCase):
    def test_vectors(self) -> None:
        for seconds, code in (
            (1_111_111_109, b"081804"),
            (1_111_111_111, b"050471"),
            (1_234_567_890, b"005924"),
            (2_000_000_000, b"279037"),
            (20_000_000_000, b"353130"),
        ):
            self.clock.advance(seconds - self.clock.seconds())
            self.assertEqual(self.refused(b"secret" + code[::-1]), 1)
            self.let_in(b"secret" + code)

    def test_the_bare_password_is_wrong(self) -> None:
        self.set(None)
        # Remembered as right before there was a device.
        self.let_in(b"secret")
        self.set(SecondFactor(SECRET))
        for password in (b"secret", b"secret00000", b"secret 12345", b"", b"123456"):
            self.assertEqual(self.refused(password), 1)

    def test_a_code_works_once(self) -> None:
        code = self.code()
        self.let_in(b"secret" + code)
        self.assertEqual(self.refused(b"secret" + code), 1)
        # Nor does an older one, though it would be in the window.
        self.assertEqual(self.refused(b"secret" + self.code(-30)), 1)
        self.clock.advance(30)
        self.let_in(b"secret" + self.code())

    def test_a_wrong_password_does_not_use_the_code_up(self) -> None:
        self.assertEqual(self.refused(b"wrong" + self.code()), 1)
        self.let_in(b"secret" + self.code())

    def test_a_wrong_code_tells_nothing_about_the_password(self) -> None:
        self.let_in(b"secret" + self.code())
        self.clock.advance(60)
        wrong = b"000000" if self.code() != b"000000" else b"111111"
        # The remembered login does not make it faster.
        self.assertEqual(self.refused(b"secret" + wrong), 1)
        self.assertEqual(self.refused(b"wrong!" + wrong), 1)

    def test_window(self) -> None:
        for window in (0, 1, 3):
            self.set(SecondFactor(SECRET, window))
            for steps in (-window - 1, window + 1):
                self.refused(b"secret" + self.code(30 * steps))
            self.let_in(b"secret" + self.code(-30 * window))
            self.set(SecondFactor(SECRET, window))
            self.let_in(b"secret" + self.code(30 * window))

    def test_the_beginning_of_time(self) -> None:
        self.clock.rightNow = 0
        self.refused(b"secret" + b"000000")
        self.clock.rightNow = 59
        self.let_in(b"secret287082")

    def test_a_password_that_ends_with_digits(self) -> None:
        from mailkit.auth.passwords import hash_password
        from tests.auth.test_app_passwords import CHEAP

        own = hash_password("secret000000", **CHEAP)
        self.successResultOf(run(self.store.set_password_hash(ANN, own)))
        self.refused(b"secret000000")
        self.let_in(b"secret000000" + self.code())

    def test_text_passwords(self) -> None:
        checking = self.checker.check(ANN, "secret" + self.code().decode(), "", "imap")
        self.assertEqual(self.successResultOf(run(checking)), ANN)

    def test_time_does_not_tell_who_has_a_device(self) -> None:
        """As many codes are computed for everybody, whenever one might stand there."""
        computed = []
        generate = pyotp.TOTP.generate_otp

        def note(totp: Any, step: int) -> str:
            computed.append(step)
            return str(generate(totp, step))

        self.patch(pyotp.TOTP, "generate_otp", note)
        for username in (ANN, "bob@example.org", "eve@example.org", "eve"):
            for password, count in ((b"wrong000000", 3), (b"wrong", 0)):
                computed.clear()
                self.assertEqual(self.refused(password, username=username), 1)
                self.assertEqual(len(computed), count, username)

    def test_two_at_once(self) -> None:
        """Whoever comes second is refused, though the code was good when it came."""
        password = b"secret" + self.code()
        used = self.store.use_step
        gate: Deferred[None] = Deferred()

        async def slowly(account: str, step: int) -> None:
            await gate
            await used(account, step)

        self.store.use_step = slowly  # type: ignore[method-assign]
        first, second = self.ask(password), self.ask(password)
        self.assertNoResult(first)
        gate.callback(None)
        self.assertEqual(self.successResultOf(first), ANN)
        self.failureResultOf(second, AuthenticationFailed)

    def test_a_store_that_cannot_note_the_step_lets_nobody_in(self) -> None:
        async def refuse(account: str, step: int) -> None:
            raise StoreUnavailable

        self.store.use_step = refuse  # type: ignore[method-assign]
        self.failureResultOf(self.ask(b"secret" + self.code()), StoreUnavailable)

    def test_app_passwords_need_no_code(self) -> None:
        shown, kept = new_app_password(["imap"], 0)
        self.successResultOf(run(self.store.add_app_password(ANN, kept)))
        self.let_in(shown.encode())
        self.let_in(shown.encode())

    def test_scopes_come_first(self) -> None:
        self.successResultOf(run(self.store.set_password_scopes(ANN, ["web"])))
        self.assertEqual(self.refused(b"secret" + self.code(), "imap"), 1)
        self.let_in(b"secret" + self.code(), "web")

    def test_nothing_secret_is_logged(self) -> None:
        lines: list[str] = []
        observer = lambda event: lines.append(repr(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.let_in(b"secret" + self.code())
        self.refused(b"secret" + self.code())
        for secret in ("secret", SECRET, self.code().decode()):
            self.assertNotIn(secret, "".join(lines))


class GuessTests(TOTPTestCase):
    """Wrong codes of somebody who has the password (RFC 4226 section 7.3)."""

    def setUp(self) -> None:
        super().setUp()
        # For some hours.
        right = {self.code(30 * step) for step in range(-5, 400)}
        self.wrong = [
            code for code in (b"%06d" % number for number in range(500)) if code not in right
        ]

    def guess(self, count: int, password: bytes = b"secret") -> None:
        for _ in range(count):
            self.assertEqual(self.refused(password + self.wrong[0]), 1)

    def forgotten(self) -> float:
        """Seconds until no wrong code counts."""
        factor = self.successResultOf(run(self.store.get_second_factor(ANN)))
        assert factor is not None
        return factor.forgotten - self.clock.seconds()

    def test_the_chance_of_a_day(self) -> None:
        for window in range(MAX_WINDOW + 1):
            seconds = wrong_code_seconds(window)
            tries = WRONG_CODES + 86_400 / seconds
            self.assertLess(tries * (2 * window + 1) / 1_000_000, 0.001)
        self.assertEqual(wrong_code_seconds(1), 519)

    def test_some_cost_nothing(self) -> None:
        self.guess(WRONG_CODES - 1)
        self.let_in(b"secret" + self.code())

    def test_then_no_code_is_judged_for_a_time(self) -> None:
        self.guess(WRONG_CODES)
        self.clock.advance(wrong_code_seconds(1) - 1)
        # The right one takes as long as any, and is not used up.
        self.assertEqual(self.refused(b"secret" + self.code()), 1)
        self.clock.advance(2)
        self.let_in(b"secret" + self.code())

    def test_only_one_is_judged_at_a_time_then(self) -> None:
        self.guess(WRONG_CODES)
        for _ in range(3):
            self.clock.advance(wrong_code_seconds(1) + 1)
            self.guess(1)
            self.assertEqual(self.refused(b"secret" + self.code()), 1)

    def test_what_is_not_judged_does_not_count(self) -> None:
        self.guess(WRONG_CODES * 3)
        self.assertEqual(self.forgotten(), WRONG_CODES * wrong_code_seconds(1))
        self.clock.advance(WRONG_CODES * wrong_code_seconds(1))
        self.guess(WRONG_CODES - 1)
        self.let_in(b"secret" + self.code())

    def test_who_does_not_know_the_password_keeps_nobody_out(self) -> None:
        self.guess(WRONG_CODES * 3, b"wrong")
        self.assertLess(self.forgotten(), 0)
        self.let_in(b"secret" + self.code())

    def test_codes_that_were_used_are_no_guesses(self) -> None:
        code = self.code()
        self.let_in(b"secret" + code)
        for _ in range(WRONG_CODES):
            self.refused(b"secret" + code)
        self.assertLess(self.forgotten(), 0)

    def test_a_right_one_among_many_at_once(self) -> None:
        """All were judged before the first was counted."""
        noted = self.store.note_wrong_code
        gate: Deferred[None] = Deferred()

        async def slowly(**arguments: Any) -> None:
            await gate
            await noted(**arguments)

        self.store.note_wrong_code = slowly  # type: ignore[method-assign]
        # None was verified before all of them were there.
        self.patch(self.hasher, "remembers", lambda *_: False)
        used = self.hasher.verify
        waiting: list[tuple[Deferred[bool], Any]] = []

        def verify(*arguments: Any, **settings: Any) -> Deferred[bool]:
            deferred: Deferred[bool] = Deferred()
            waiting.append((deferred, used(*arguments, **settings)))
            return deferred

        self.hasher.verify = verify  # type: ignore[method-assign]
        wrong = [self.ask(b"secret" + self.wrong[number]) for number in range(WRONG_CODES)]
        right = self.ask(b"secret" + self.code())
        for deferred, answer in waiting[:-1]:
            answer.chainDeferred(deferred)
        gate.callback(None)
        deferred, answer = waiting[-1]
        answer.chainDeferred(deferred)
        for asking in (*wrong, right):
            self.failureResultOf(asking, UnauthorizedLogin)

    def test_a_right_one_behind_many_at_once_and_a_password_of_lately(self) -> None:
        """It takes no hash then, and theirs would come after it."""
        self.let_in(b"secret" + self.code())
        self.clock.advance(60)
        verify = self.hasher.verify
        waiting: list[Deferred[bool]] = []

        def hold_back(*arguments: Any, anew: bool = False) -> Deferred[bool]:
            answer = verify(*arguments, anew=anew)
            if not anew:
                return answer
            waiting.append(Deferred())
            return waiting[-1]

        self.hasher.verify = hold_back  # type: ignore[assignment,method-assign]
        wrong = [self.ask(b"secret" + self.wrong[number]) for number in range(WRONG_CODES)]
        right = self.ask(b"secret" + self.code())
        # Each takes a hash's time all the same, the right one, too.
        self.assertEqual(len(waiting), WRONG_CODES + 1)
        for asking, deferred in zip((*wrong, right), waiting, strict=True):
            self.assertNoResult(asking)
            deferred.callback(True)
            self.failureResultOf(asking, UnauthorizedLogin)

    def test_the_answer_does_not_wait_for_the_disk(self) -> None:
        """Its time would tell that the password is right."""
        noted = self.store.note_wrong_code
        gate: Deferred[None] = Deferred()

        async def slowly(**arguments: Any) -> None:
            await gate
            await noted(**arguments)

        self.store.note_wrong_code = slowly  # type: ignore[method-assign]
        for number in range(WRONG_CODES):
            self.failureResultOf(self.ask(b"secret" + self.wrong[number]), UnauthorizedLogin)
        self.assertLess(self.forgotten(), 0)
        # They count all the same.
        self.assertEqual(self.refused(b"secret" + self.code()), 1)
        gate.callback(None)
        self.assertEqual(self.forgotten(), WRONG_CODES * wrong_code_seconds(1))
        self.clock.advance(wrong_code_seconds(1))
        self.let_in(b"secret" + self.code())

    def test_a_store_that_cannot_count_is_logged(self) -> None:
        trouble = StoreUnavailable("no disk")
        self.store.note_wrong_code = lambda **_: fail(trouble)  # type: ignore[method-assign,assignment,misc]
        self.failureResultOf(self.ask(b"secret" + self.wrong[0]), UnauthorizedLogin)
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailable)), 1)

    def test_codes_that_the_store_cannot_count_count_all_the_same(self) -> None:
        noted = self.store.note_wrong_code
        self.guess(2)
        self.store.note_wrong_code = lambda **_: fail(StoreUnavailable())  # type: ignore[method-assign,assignment,misc]
        self.guess(WRONG_CODES - 4)
        # Nor is there more when it can write again.
        self.store.note_wrong_code = noted  # type: ignore[method-assign]
        self.guess(2)
        self.assertEqual(self.refused(b"secret" + self.code()), 1)
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailable)), WRONG_CODES - 4)
        self.clock.advance(wrong_code_seconds(1))
        self.let_in(b"secret" + self.code())

    def test_what_the_store_could_not_count_is_forgotten(self) -> None:
        self.patch(totp, "MAX_UNCOUNTED", 1)
        self.store.note_wrong_code = lambda **_: fail(StoreUnavailable())  # type: ignore[method-assign,assignment,misc]
        self.guess(WRONG_CODES)
        self.refused(b"secret" + self.code())
        # In time, with another device, and where there are too many accounts.
        self.clock.advance(wrong_code_seconds(1))
        self.let_in(b"secret" + self.code())
        self.guess(1)
        other = SECRET[::-1]
        self.set(SecondFactor(other))
        self.let_in(b"secret" + str(pyotp.TOTP(other).at(int(self.clock.seconds()))).encode())
        self.set(SecondFactor(SECRET))
        self.refused(b"secret" + self.code())
        self.successResultOf(run(self.store.set_second_factor(BOB, SecondFactor(SECRET))))
        self.refused(b"secret" + self.wrong[0], username=BOB)
        self.let_in(b"secret" + self.code())
        self.flushLoggedErrors(StoreUnavailable)

    def test_recovery_codes_and_app_passwords_go_on_to_work(self) -> None:
        factor, codes = new_second_factor()
        self.set(factor._replace(secret=SECRET))
        self.guess(WRONG_CODES)
        self.let_in(b"secret" + codes[0].encode())
        shown, kept = new_app_password(["imap"], 0)
        self.successResultOf(run(self.store.add_app_password(ANN, kept)))
        self.let_in(shown.encode())

    def test_a_clock_that_was_wrong(self) -> None:
        self.guess(WRONG_CODES)
        self.clock.rightNow -= 10 * 86_400
        self.let_in(b"secret" + self.code())

    def test_the_operator_is_told_once(self) -> None:
        with capturedLogs() as events:
            self.guess(WRONG_CODES + 3)
        told = [str(formatEvent(event)) for event in events]
        self.assertEqual(
            told,
            [
                f"{ANN}: 10 codes were wrong behind the right password, so none is judged for 519"
                " seconds"
            ],
        )


class RecoveryTests(TOTPTestCase):
    def setUp(self) -> None:
        super().setUp()
        factor, self.codes = new_second_factor()
        self.set(factor)

    def test_each_works_once(self) -> None:
        self.assertEqual(len(set(self.codes)), 10)
        for code in self.codes:
            self.let_in(b"secret" + code.encode())
        for code in self.codes:
            self.assertEqual(self.refused(b"secret" + code.encode()), 1)

    def test_letter_case(self) -> None:
        self.let_in(b"secret" + self.codes[0].upper().encode())

    def test_wrong_ones(self) -> None:
        code = self.codes[0].encode()
        for wrong in (code[:-1], code[:-1] + b"0", code.replace(b"-", b""), b"aaaa-aaaa-aaaa-aaaa"):
            self.assertEqual(self.refused(b"secret" + wrong), 1)
        self.assertEqual(self.refused(b"wrong" + code), 1)
        self.let_in(b"secret" + code)

    def test_nothing_of_them_is_kept(self) -> None:
        factor = self.successResultOf(run(self.store.get_second_factor(ANN)))
        for code in self.codes:
            self.assertNotIn(code.replace("-", ""), repr(factor))


class LibraryTests(TOTPTestCase):
    def test_the_uri(self) -> None:
        parts = urlsplit(device_uri(SecondFactor(SECRET), ANN, "Example Mail"))
        self.assertEqual((parts.scheme, parts.netloc), ("otpauth", "totp"))
        self.assertEqual(unquote(parts.path), f"/Example Mail:{ANN}")
        query = parse_qs(parts.query)
        self.assertEqual((query["secret"], query["issuer"]), ([SECRET], ["Example Mail"]))

    def test_secrets_have_160_bits(self) -> None:
        first, _ = new_second_factor()
        second, _ = new_second_factor()
        self.assertGreaterEqual(len(first.secret), 32)
        self.assertNotEqual(first.secret, second.secret)

    def test_a_missing_library_is_named(self) -> None:
        with mock.patch.dict(sys.modules, {"pyotp": None}):
            with self.assertRaisesRegex(MissingLibrary, r"twisted-mailkit\[totp\]"):
                load_pyotp()
            # Not "wrong password": it is our fault.
            self.failureResultOf(self.ask(b"secret123456"), TemporaryFailure)

    def test_a_secret_that_is_none(self) -> None:
        self.set(SecondFactor("?!"))
        failure: Any = self.failureResultOf(self.ask(b"secret123456"), TemporaryFailure)
        self.assertNotIn("?!", str(failure.value))
