"""User bases as checkers: who is let in, and what nobody learns."""

from __future__ import annotations

from typing import Any, cast

from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit.auth import bases, pacing
from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.checkers import LocatedPassword
from mailkit.auth.http_users import HTTPUsers
from mailkit.auth.ldap import LDAPUsers, Where
from mailkit.auth.pam_users import PAMUsers
from mailkit.auth.passwords import PasswordHasher, hash_password
from mailkit.errors import PasswordExpired, TemporaryFailure
from mailkit.identity import Login
from mailkit.interfaces import IPasswordVerifier, IUserLookup
from tests.auth.fakes import ImmediateExecutor

CHEAP: dict[str, Any] = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}


@implementer(IUserLookup)
class Lookup:
    """Users with their stored passwords."""

    def __init__(self, **users: str | None) -> None:
        self.users = users
        self.asked = 0

    async def find_login(self, login: str) -> Login | None:
        self.asked += 1
        if login not in self.users:
            return None
        return Login(f"{login}@example.org", self.users[login])


@implementer(IPasswordVerifier)
class Verifier:
    """Verifies itself, or raises what it is told to."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.trouble = trouble
        self.asked: list[tuple[str, bytes]] = []

    async def verify_password(self, login: str, password: bytes) -> str | None:
        self.asked.append((login, password))
        if self.trouble is not None:
            raise self.trouble
        return f"{login}@example.org" if password == b"secret" else None


@implementer(IPasswordVerifier)
class Slow:
    """Answers when it is told to, two at a time."""

    at_once = 2

    def __init__(self) -> None:
        self.waiting: list[Deferred[str | None]] = []

    def verify_password(self, login: str, password: bytes) -> Deferred[str | None]:
        self.waiting.append(Deferred())
        return self.waiting[-1]


class UserBaseCheckerTests(SynchronousTestCase):
    def make(self, base: Any) -> UserBaseChecker:
        self.executor = ImmediateExecutor()
        hasher = PasswordHasher(
            cast(Any, self.executor), clock=cast(Any, Clock()), executor=self.executor, **CHEAP
        )
        self.clock = Clock()
        return UserBaseChecker(base, hasher, clock=cast(Any, self.clock))

    def ask(self, checker: UserBaseChecker, login: bytes, password: bytes) -> Any:
        return checker.requestAvatarId(UsernamePassword(login, password))

    def refused(self, checker: UserBaseChecker, login: bytes, password: bytes) -> None:
        asking = self.ask(checker, login, password)
        # Where the base verifies, the answer is held back.
        self.clock.advance(pacing.STEP)
        failure = self.failureResultOf(asking, UnauthorizedLogin)
        self.assertEqual(str(failure.value), "")

    def test_stored_passwords_are_verified_by_the_hasher(self) -> None:
        checker = self.make(Lookup(ann=hash_password("secret", **CHEAP)))
        self.assertEqual(
            self.successResultOf(self.ask(checker, b"ann", b"secret")), "ann@example.org"
        )
        self.refused(checker, b"ann", b"wrong")

    def test_the_first_refusal_of_a_slow_base(self) -> None:
        base: Any = Slow()
        base.refuses_slowly = True
        asking = self.ask(self.make(base), b"ann", b"wrong")
        base.waiting[0].callback(None)
        self.clock.advance(pacing.LONGEST - 0.1)
        self.assertNoResult(asking)
        self.clock.advance(0.1)
        self.failureResultOf(asking, UnauthorizedLogin)
        self.assertTrue(PAMUsers.refuses_slowly)

    def test_a_name_that_is_refused_unasked_tells_nothing_of_how_slow_a_base_is(self) -> None:
        for base, name, password in (
            (PAMUsers("mailkit", reactor=Clock()), b"a:b", b"wrong"),
            (PAMUsers("mailkit", reactor=Clock()), "a:\uff42".encode(), b"wrong"),
            (LDAPUsers((), Where("cn=%u"), reactor=Clock()), b"a b", b"wrong"),
            (LDAPUsers((), Where("cn=%u"), reactor=Clock()), b"ann", b"\xff"),
            (HTTPUsers(cast(Any, None), "http://localhost/"), b"ann", b"\xff"),
        ):
            any_base: Any = base
            any_base.refuses_slowly = True
            checker = self.make(base)
            for _ in range(2):
                asking = self.ask(checker, name, password)
                self.clock.advance(pacing.LONGEST - 0.1)
                self.assertNoResult(asking)
                self.clock.advance(0.1)
                self.failureResultOf(asking, UnauthorizedLogin)

    def test_names_by_saslprep_where_there_is_none_as_typed(self) -> None:
        base = Lookup(ann=hash_password("secret", **CHEAP))
        checker = self.make(base)
        asking = self.ask(checker, "\uff41nn".encode(), b"secret")
        self.assertEqual(self.successResultOf(asking), "ann@example.org")
        self.assertEqual(base.asked, 2)
        self.refused(checker, "\u0430nn".encode(), b"secret")

    def test_names_by_saslprep_where_the_base_verifies(self) -> None:
        class Verifying(Verifier):
            async def verify_password(self, login: str, password: bytes) -> str | None:
                account = await super().verify_password(login, password)
                return account if login == "ann" else None

        base = Verifying()
        checker = self.make(base)
        name = "\uff41nn"
        asking = self.ask(checker, name.encode(), b"secret")
        self.assertEqual(self.successResultOf(asking), "ann@example.org")
        self.assertEqual(base.asked, [(name, b"secret"), ("ann", b"secret")])
        self.refused(checker, name.encode(), b"wrong")
        # Nothing comes of it that would be another name.
        base.asked.clear()
        for login in ("ann", "\u0430nn", "b\u00f6b"):
            self.refused(checker, login.encode(), b"wrong")
        self.assertEqual([login for login, _ in base.asked], ["ann", "\u0430nn", "b\u00f6b"])

    def test_unknown_users_cost_what_known_ones_do(self) -> None:
        stored = hash_password("secret", **CHEAP)
        digest = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
        checker = self.make(Lookup(ann=stored, bob=digest, joe=None))
        seen = []
        verify = self.executor.submit
        submitted: list[Any] = []
        self.patch(self.executor, "submit", lambda work: submitted.append(work) or verify(work))
        for login in (b"ann", b"bob", b"nobody", b"joe", b"eve"):
            before = len(submitted)
            self.refused(checker, login, b"wrong")
            seen.append(len(submitted) - before)
        self.assertEqual(seen, [1, 1, 1, 1, 1])

    def test_unknown_users_look_like_those_of_the_same_base(self) -> None:
        checker = self.make(Lookup(bob="{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="))
        self.refused(checker, b"bob", b"wrong")
        asked: list[str] = []
        hasher: Any = checker._hasher
        verify = hasher.verify
        self.patch(hasher, "verify", lambda stored, *a: asked.append(stored) or verify(stored, *a))
        for login in (b"nobody", b"eve", b"zoe"):
            # Even bob's password lets nobody else in.
            self.refused(checker, login, b"secret")
        self.assertEqual(asked, ["{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="] * 3)

    def test_a_base_may_verify_itself(self) -> None:
        base = Verifier()
        checker = self.make(base)
        self.assertEqual(
            self.successResultOf(self.ask(checker, b"ann", b"secret")), "ann@example.org"
        )
        self.refused(checker, b"ann", b"wrong")
        self.assertFalse(IUserLookup.providedBy(checker))

    def test_no_base_is_asked_with_an_empty_password_or_a_nul(self) -> None:
        base = Verifier()
        checker = self.make(base)
        for login, password in (
            *((b"ann", b""), (b"", b"secret"), (b"ann\0", b"secret"), (b"ann", b"secret\0x")),
            *((b"\xff", b"secret"), (b"a" * 5000, b"secret"), (b"ann", b"s" * 5000)),
        ):
            self.refused(checker, login, password)
        self.assertEqual(base.asked, [])

    def test_addresses_take_turns_where_a_base_verifies(self) -> None:
        base = Slow()
        checker = self.make(base)

        def ask(address: str) -> Any:
            return checker.requestAvatarId(LocatedPassword(b"ann", b"secret", address))

        # One client asks again and again, then another one once.
        many = [ask("192.0.2.1") for _ in range(20)]
        one = ask("203.0.113.1")
        self.assertEqual(len(base.waiting), 2)
        many[5].cancel()
        self.failureResultOf(many[5], CancelledError)
        for _ in range(4):
            base.waiting.pop(0).callback("ann@example.org")
        self.assertEqual(self.successResultOf(one), "ann@example.org")
        while base.waiting:
            base.waiting.pop(0).callback(None)
        self.clock.advance(pacing.STEP)
        results = [type(getattr(each.result, "value", each.result)) for each in many if each.called]
        for each in many:
            each.addErrback(lambda _: None)
        self.assertEqual(len(results), 20)
        self.assertEqual(results.count(UnauthorizedLogin), 16)
        # And there is room again.
        again = ask("192.0.2.1")
        base.waiting.pop(0).callback("ann@example.org")
        self.assertEqual(self.successResultOf(again), "ann@example.org")

    def test_when_too_many_wait_whoever_asks_most_comes_back_later(self) -> None:
        self.patch(bases, "MAX_WAITING", 3)
        base = Slow()
        checker = self.make(base)
        logins = [
            checker.requestAvatarId(LocatedPassword(b"ann", b"secret", address))
            for address in ("192.0.2.1",) * 6 + ("203.0.113.1",)
        ]
        self.assertEqual([each.called for each in logins[:4]], [False] * 4)
        for each in logins[4:6]:
            self.failureResultOf(each, TemporaryFailure)
        while base.waiting:
            base.waiting.pop(0).callback("ann@example.org")
        self.assertEqual(self.successResultOf(logins[6]), "ann@example.org")

    def test_nobody_waits_for_long_for_a_base_that_does_not_answer(self) -> None:
        base = Slow()
        checker = self.make(base)
        logins = [self.ask(checker, b"ann", b"secret") for _ in range(5)]
        self.clock.advance(bases.MAX_WAIT / 2)
        late = self.ask(checker, b"ann", b"secret")
        self.clock.advance(bases.MAX_WAIT / 2)
        for each in logins[2:]:
            self.failureResultOf(each, TemporaryFailure)
        # Those before them, which are being verified, are the base's to end.
        for each in (*logins[:2], late):
            self.assertNoResult(each)
        for _ in range(3):
            base.waiting.pop(0).callback("ann@example.org")
        self.assertEqual(self.successResultOf(late), "ann@example.org")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_trouble_is_never_a_wrong_password(self) -> None:
        checker = self.make(Verifier(TemporaryFailure()))
        self.failureResultOf(self.ask(checker, b"ann", b"secret"), TemporaryFailure)
        checker = self.make(Verifier(PasswordExpired()))
        self.failureResultOf(self.ask(checker, b"ann", b"secret"), PasswordExpired)

    def test_a_bug_is_trouble_and_is_logged_without_the_password(self) -> None:
        checker = self.make(Verifier(ValueError("no such table")))
        with capturedLogs() as logs:
            self.failureResultOf(self.ask(checker, b"ann", b"s3cr3t!"), TemporaryFailure)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        text = formatEvent(logs[0]) + logs[0]["log_failure"].getTraceback()
        self.assertIn("Verifier", text)
        self.assertIn("no such table", text)
        self.assertNotIn("s3cr3t!", text)

    def test_what_is_no_base(self) -> None:
        self.assertRaises(TypeError, UserBaseChecker, object())
