"""User bases as checkers: who is let in, and what nobody learns."""

from __future__ import annotations

from typing import Any, cast

from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.passwords import PasswordHasher, hash_password
from mailkit.errors import PasswordExpired, TemporaryFailure
from mailkit.interfaces import IPasswordVerifier, IUserLookup
from mailkit.model import Login
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


class UserBaseCheckerTests(SynchronousTestCase):
    def make(self, base: Any) -> UserBaseChecker:
        self.executor = ImmediateExecutor()
        hasher = PasswordHasher(
            cast(Any, self.executor), clock=cast(Any, Clock()), executor=self.executor, **CHEAP
        )
        return UserBaseChecker(base, hasher)

    def ask(self, checker: UserBaseChecker, login: bytes, password: bytes) -> Any:
        return checker.requestAvatarId(UsernamePassword(login, password))

    def refused(self, checker: UserBaseChecker, login: bytes, password: bytes) -> None:
        failure = self.failureResultOf(self.ask(checker, login, password), UnauthorizedLogin)
        self.assertEqual(str(failure.value), "")

    def test_stored_passwords_are_verified_by_the_hasher(self) -> None:
        checker = self.make(Lookup(ann=hash_password("secret", **CHEAP)))
        self.assertEqual(
            self.successResultOf(self.ask(checker, b"ann", b"secret")), "ann@example.org"
        )
        self.refused(checker, b"ann", b"wrong")

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
