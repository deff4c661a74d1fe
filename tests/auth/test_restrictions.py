"""What the store asks of an account holds for users whose passwords are kept elsewhere, too."""

from __future__ import annotations

from typing import Any

import pyotp
from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.checkers import AuthRule, ChainChecker, DirectoryChecker
from mailkit.auth.passwords import PasswordHasher
from mailkit.auth.portal import make_portal
from mailkit.auth.restrictions import RestrictedChecker
from mailkit.auth.totp import WRONG_CODES, wrong_code_seconds
from mailkit.coroutines import run
from mailkit.errors import StoreUnavailable
from mailkit.identity import SecondFactor
from mailkit.interfaces import IMailAccount, IPasswordVerifier
from mailkit.model import ConnectionInfo
from mailkit.store.memory import MemoryStore

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

    def refused(
        self, password: bytes, username: str = ANN, protocol: str = "imap", questions: int = 1
    ) -> None:
        before = len(self.base.asked)
        self.failureResultOf(self.log_in(password, username, protocol), UnauthorizedLogin)
        # It takes the time of a wrong password.
        self.assertEqual(len(self.base.asked), before + questions)

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
            self.refused(b"wrong" + wrong, questions=2)
            self.refused(b"secret" + wrong, questions=2)
            self.assertEqual(self.base.asked[-1], (ANN.encode(), b"secret"))
        self.refused(b"secret" + self.code(), questions=2)
        self.now += wrong_code_seconds(1) + 1
        self.let_in(b"secret" + self.code())

    def test_a_wrong_code_takes_the_time_of_a_wrong_password(self) -> None:
        """Bases hold the answer to a wrong password back: PAM for seconds."""
        self.need_code()
        asked = self.base.requestAvatarId
        wrong: list[Deferred[Any]] = []

        def hold_back(credentials: Any) -> Any:
            if credentials.password == b"secret":
                return asked(credentials)
            wrong.append(Deferred())
            return wrong[-1]

        self.base.requestAvatarId = hold_back  # type: ignore[method-assign]
        code = b"000000" if self.code() != b"000000" else b"000001"
        for password, questions in ((b"secret", 1), (b"wrong", 2)):
            answer = self.log_in(password + code)
            self.assertEqual(len(wrong), questions)
            while wrong:
                self.assertNoResult(answer)
                wrong.pop().errback(UnauthorizedLogin())
            self.failureResultOf(answer, UnauthorizedLogin)
        # Nobody waits who has the right one.
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
        @implementer(IPasswordVerifier)
        class Base:
            async def verify_password(self, login: str, password: bytes) -> str | None:
                return login if password == b"secret" else None

        hasher = PasswordHasher()
        self.addCleanup(hasher.close)
        portal = make_portal(self.store, [UserBaseChecker(Base(), hasher)])
        self.assertFalse(await self.takes(portal, b"secret", "imap"))
        self.assertTrue(await self.takes(portal, b"secret", "ftp"))
