"""What the store asks of an account holds for users whose passwords are kept elsewhere, too."""

from __future__ import annotations

from typing import Any, cast

import pyotp
from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailkit.auth import pacing
from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.checkers import AuthRule, ChainChecker, DirectoryChecker
from mailkit.auth.passwords import PasswordHasher, hash_password
from mailkit.auth.portal import make_portal
from mailkit.auth.restrictions import RestrictedChecker
from mailkit.auth.totp import WRONG_CODES, wrong_code_seconds
from mailkit.coroutines import pause, run
from mailkit.errors import StoreUnavailable
from mailkit.identity import Login, SecondFactor
from mailkit.interfaces import IMailAccount, IPasswordVerifier, IUserLookup
from mailkit.model import ConnectionInfo
from mailkit.store.memory import MemoryStore
from tests.auth.fakes import ImmediateExecutor
from tests.auth.test_app_passwords import CHEAP

ANN = "ann@example.org"
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


class Elsewhere:
    """A user base with other names for the same accounts."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes]] = []
        self.trouble: Exception | None = None

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked.append((credentials.username, credentials.password))
        if self.trouble is not None:
            raise self.trouble
        if credentials.password != b"secret":
            raise UnauthorizedLogin
        return succeed(ANN if credentials.username == b"staff-17" else credentials.username)


class RestrictedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1_000_000.0
        self.store = MemoryStore()
        for name in (ANN, "bob@example.org"):
            self.successResultOf(run(self.store.add_account(name, None)))
        self.base = Elsewhere()
        self.checker = RestrictedChecker(self.base, self.store, lambda: self.now)

    def log_in(self, password: bytes, username: str = ANN, protocol: str = "imap") -> Any:
        portal = make_portal(self.store, [self.checker])
        return portal.login(
            UsernamePassword(username.encode(), password), ConnectionInfo(protocol), IMailAccount
        )

    def let_in(self, password: bytes, username: str = ANN, protocol: str = "imap") -> None:
        _, account, _ = self.successResultOf(self.log_in(password, username, protocol))
        self.assertEqual(account.name, ANN)

    def refused(self, password: bytes, username: str = ANN, protocol: str = "imap") -> None:
        before = len(self.base.asked)
        self.failureResultOf(self.log_in(password, username, protocol), UnauthorizedLogin)
        # Once: bases count wrong passwords.
        self.assertEqual(len(self.base.asked), before + 1)

    def code(self) -> bytes:
        return str(pyotp.TOTP(SECRET).generate_otp(int(self.now) // 30)).encode()

    def need_code(self) -> None:
        self.successResultOf(run(self.store.set_second_factor(ANN, SecondFactor(SECRET))))

    def test_nothing_is_asked_of_others(self) -> None:
        self.let_in(b"secret")
        self.refused(b"wrong")
        self.need_code()
        _, account, _ = self.successResultOf(self.log_in(b"secret", "bob@example.org"))
        self.assertEqual(account.name, "bob@example.org")

    def test_codes(self) -> None:
        self.need_code()
        self.refused(b"secret")
        self.refused(b"wrong" + self.code())
        self.let_in(b"secret" + self.code())
        self.assertEqual(self.base.asked[-1], (ANN.encode(), b"secret"))
        self.refused(b"secret" + self.code())
        self.now += 30
        self.let_in(b"secret" + self.code(), "Ann@Example.org")

    def test_wrong_codes_behind_the_right_password(self) -> None:
        self.need_code()
        wrong = b"000000" if self.code() != b"000000" else b"000001"
        for _ in range(WRONG_CODES):
            self.refused(b"wrong" + wrong)
            self.refused(b"secret" + wrong)
            self.assertEqual(self.base.asked[-1], (ANN.encode(), b"secret"))
        self.refused(b"secret" + self.code())
        self.now += wrong_code_seconds(1) + 1
        self.let_in(b"secret" + self.code())

    def test_scopes(self) -> None:
        self.successResultOf(run(self.store.set_password_scopes(ANN, ["ftp"])))
        self.refused(b"secret")
        self.let_in(b"secret", protocol="ftp")

    def test_another_name_for_the_account(self) -> None:
        self.let_in(b"secret", "staff-17")
        self.need_code()
        # There is no way to ask for the code: the account's own name has to be used.
        self.refused(b"secret", "staff-17")
        self.refused(b"secret" + self.code(), "staff-17")
        self.let_in(b"secret" + self.code())

    def test_trouble_is_no_wrong_password(self) -> None:
        self.need_code()
        self.base.trouble = StoreUnavailable()
        for password in (b"secret", b"secret" + self.code()):
            self.failureResultOf(self.log_in(password), StoreUnavailable)
        # Nor is the code used up.
        self.base.trouble = None
        self.let_in(b"secret" + self.code())

    def test_other_credentials_go_through(self) -> None:
        asked = []

        class Other:
            credentialInterfaces = ()

            def requestAvatarId(self, credentials: Any) -> Any:
                asked.append(credentials)
                return succeed("x")

        checker = RestrictedChecker(Other(), self.store)  # type: ignore[arg-type]
        self.assertEqual(self.successResultOf(checker.requestAvatarId("ticket")), "x")
        self.assertEqual(asked, ["ticket"])


@implementer(IPasswordVerifier)
class Verifying:
    """Takes its time over a wrong password, as PAM does, and less over an unknown user."""

    at_once = 64

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.asked = 0

    async def verify_password(self, login: str, password: bytes) -> str | None:
        self.asked += 1
        await pause(self.clock, 0.02)
        if password == b"secret":
            return ANN if login == "staff-17" else login
        await pause(self.clock, 0.1 if login.startswith("nobody") else 1.8)
        return None


@implementer(IUserLookup)
class Stored:
    """Has stored passwords."""

    def __init__(self) -> None:
        self.stored = hash_password("secret", **CHEAP)

    async def find_login(self, login: str) -> Login | None:
        return Login(ANN, self.stored) if login in (ANN, "staff-17") else None


class BaseTests(SynchronousTestCase):
    """What user bases have that verify passwords, and that have them stored."""

    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.clock.advance(1_000_000)
        self.store = MemoryStore()
        for name in (ANN, "bob@example.org"):
            self.successResultOf(run(self.store.add_account(name, None)))
        # One wrong code may come yet.
        known = 1_000_000 + (WRONG_CODES - 1) * wrong_code_seconds(1)
        self.successResultOf(
            run(self.store.set_second_factor(ANN, SecondFactor(SECRET, forgotten=known)))
        )
        self.executor = ImmediateExecutor()
        self.hasher = PasswordHasher(
            cast(Any, self.executor), clock=self.clock, executor=self.executor, **CHEAP
        )
        device = pyotp.TOTP(SECRET)
        step = 1_000_000 // 30
        self.right = str(device.generate_otp(step)).encode()
        near = {str(device.generate_otp(step + offset)).encode() for offset in range(-3, 4)}
        self.wrong = [code for code in map(b"%06d".__mod__, range(70)) if code not in near]

    def open(self, base: Any) -> RestrictedChecker:
        inner = UserBaseChecker(base, self.hasher, clock=self.clock)
        return RestrictedChecker(inner, self.store, self.clock.seconds)

    def ask(self, checker: RestrictedChecker, password: bytes, login: str = ANN) -> Any:
        return checker.requestAvatarId(UsernamePassword(login.encode(), password))

    def test_no_refusal_tells_that_the_password_is_right(self) -> None:
        base = Verifying(self.clock)
        checker = self.open(base)

        def take(password: bytes, login: str = ANN) -> float:
            begun, base.asked = self.clock.seconds(), 0
            asking = self.ask(checker, password, login)
            while not asking.called:
                self.clock.advance(0.01)
            self.failureResultOf(asking, UnauthorizedLogin)
            # The base counts wrong passwords, and its threads are few.
            self.assertEqual(base.asked, 1)
            return round(self.clock.seconds() - begun, 1)

        wrong = self.wrong[0]
        self.assertEqual(take(b"guess" + wrong), 2.0)
        for password, login in (
            (b"secret" + wrong, ANN),
            (b"secret", ANN),
            (b"secret", "staff-17"),
            (b"guess" + wrong, "bob@example.org"),
            (b"guess" + wrong, "nobody@example.org"),
        ):
            self.assertEqual(take(password, login), 2.0, (password, login))

    def test_who_is_let_in_does_not_wait(self) -> None:
        checker = self.open(Verifying(self.clock))
        asking = self.ask(checker, b"secret" + self.right)
        self.clock.advance(0.02)
        self.assertEqual(self.successResultOf(asking), ANN)

    def test_a_right_code_behind_many_at_once(self) -> None:
        checker = self.open(Verifying(self.clock))
        asked = [self.ask(checker, b"secret" + code) for code in (*self.wrong[:60], self.right)]
        self.clock.pump([0.01] * 500)
        for each in asked:
            self.failureResultOf(each, UnauthorizedLogin)

    def test_a_right_code_behind_many_at_once_and_a_password_of_lately(self) -> None:
        base = Stored()
        checker = self.open(base)
        self.successResultOf(self.hasher.verify(base.stored, b"secret"))
        self.executor.ran = 0
        verify = self.hasher.verify
        gate: Deferred[None] = Deferred()

        def hold_back(*arguments: Any, anew: bool = False) -> Any:
            answer = verify(*arguments, anew=anew)
            return answer if not anew else gate.addCallback(lambda _: answer)

        self.hasher.verify = hold_back  # type: ignore[assignment,method-assign]
        asked = [self.ask(checker, b"secret" + code) for code in (*self.wrong[:20], self.right)]
        for each in asked:
            self.assertNoResult(each)
        gate.callback(None)
        for each in asked:
            self.failureResultOf(each, UnauthorizedLogin)
        self.assertEqual(self.executor.ran, 21)

    def test_a_stored_password_that_is_not_enough_takes_a_hash(self) -> None:
        base = Stored()
        checker = self.open(base)
        for password, login in ((b"secret", ANN), (b"secret", "staff-17"), (b"guess", ANN)):
            for _ in range(2):
                before = self.executor.ran
                self.failureResultOf(self.ask(checker, password, login), UnauthorizedLogin)
                self.assertEqual(self.executor.ran, before + 1, (password, login))


class PortalTests(TestCase):
    """Whatever way a checker gets into a portal."""

    async def setUp(self) -> None:
        self.store = MemoryStore()
        await self.store.add_account(ANN, "{PLAIN}own")
        await self.store.set_password_scopes(ANN, ["ftp"])
        self.base = Elsewhere()

    async def takes(self, portal: Any, password: bytes, protocol: str) -> bool:
        credentials = UsernamePassword(ANN.encode(), password)
        try:
            await portal.login(credentials, ConnectionInfo(protocol), IMailAccount)
        except UnauthorizedLogin:
            return False
        return True

    async def test_ways(self) -> None:
        hasher = PasswordHasher()
        self.addCleanup(hasher.close)
        own = DirectoryChecker(self.store, hasher)
        for checkers in (
            [self.base],
            [AuthRule(self.base, ("example.org",))],  # type: ignore[arg-type]
            [own, self.base],
            [ChainChecker([own, self.base])],  # type: ignore[list-item]
            [ChainChecker([AuthRule(self.base)])],  # type: ignore[arg-type]
        ):
            portal = make_portal(self.store, checkers)  # type: ignore[arg-type]
            self.assertFalse(await self.takes(portal, b"secret", "imap"), checkers)
            self.assertTrue(await self.takes(portal, b"secret", "ftp"), checkers)

    def test_our_own_checker_asks_by_itself(self) -> None:
        own = DirectoryChecker(self.store)
        portal = make_portal(self.store, [own])
        self.assertIs(portal.checkers[IUsernamePassword], own)

    async def test_checkers_of_twisted(self) -> None:
        checker = InMemoryUsernamePasswordDatabaseDontUse()
        checker.addUser(ANN.encode(), b"secret")
        portal = make_portal(self.store, [checker])
        self.assertFalse(await self.takes(portal, b"secret", "imap"))
        self.assertTrue(await self.takes(portal, b"secret", "ftp"))
        verifyObject(ICredentialsChecker, portal.checkers[IUsernamePassword])

    async def test_a_user_base(self) -> None:
        self.patch(pacing, "STEP", 0.01)

        @implementer(IPasswordVerifier)
        class Base:
            async def verify_password(self, login: str, password: bytes) -> str | None:
                return login if password == b"secret" else None

        hasher = PasswordHasher()
        self.addCleanup(hasher.close)
        portal = make_portal(self.store, [UserBaseChecker(Base(), hasher)])
        self.assertFalse(await self.takes(portal, b"secret", "imap"))
        self.assertTrue(await self.takes(portal, b"secret", "ftp"))
