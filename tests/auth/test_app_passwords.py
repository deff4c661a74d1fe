"""App passwords: found by their prefix, for their protocols, until they expire, in no time."""

from __future__ import annotations

from typing import Any, cast

from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.app_passwords import (
    NOTE_SECONDS,
    new_app_password,
    parse_app_password,
    scope_of,
)
from mailkit.auth.checkers import DirectoryChecker
from mailkit.auth.passwords import PasswordHasher, hash_password
from mailkit.auth.portal import make_portal
from mailkit.coroutines import run
from mailkit.errors import AuthorizationFailed, PasswordExpired, StoreUnavailable
from mailkit.identity import AppPassword
from mailkit.interfaces import IMailAccount
from mailkit.model import ConnectionInfo
from mailkit.store.memory import MemoryStore
from tests.auth.fakes import ImmediateExecutor

ANN, BOB = "ann@example.org", "bob@example.org"
CHEAP: dict[str, Any] = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}


class FormTests(SynchronousTestCase):
    def test_a_new_one(self) -> None:
        shown, kept = new_app_password(["imap"], 1000, label="phone", expires=2000)
        self.assertEqual(len(shown), 29)
        self.assertEqual(kept.prefix, shown[:4])
        self.assertNotIn(shown.replace("-", "")[4:], repr(kept))
        self.assertEqual((kept.created, kept.expires, kept.label), (1000, 2000, "phone"))
        self.assertEqual(kept.scopes, {"imap"})

    def test_no_two_are_alike(self) -> None:
        made = [new_app_password(["imap"], 0) for _ in range(50)]
        self.assertEqual(len({shown for shown, _ in made}), 50)
        # Nor would two equal ones be seen to be equal.
        self.assertEqual(len({kept.digest.partition("$")[0] for _, kept in made}), 50)

    def test_ways_to_write_one(self) -> None:
        shown, _ = new_app_password(["imap"], 0)
        plain = shown.replace("-", "")
        for text in (shown, plain, shown.upper(), shown.replace("-", " "), f" {shown} "):
            self.assertEqual(parse_app_password(text), plain)
            self.assertEqual(parse_app_password(text.encode()), plain)

    def test_what_is_none(self) -> None:
        shown, _ = new_app_password(["imap"], 0)
        for text in ("", "secret", shown[:-1], shown + "a", "0" * 24, "é" * 24, "a" * 25, "-" * 24):
            self.assertIsNone(parse_app_password(text), text)
            self.assertIsNone(parse_app_password(text.encode()), text)
        self.assertIsNone(parse_app_password(bytes(range(232, 256))))

    def test_scopes_of_protocols(self) -> None:
        self.assertEqual(scope_of("submission"), "smtp")
        self.assertEqual(scope_of("smtp"), "smtp")
        self.assertEqual(scope_of("imap"), "imap")


class CheckerTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.store = MemoryStore()
        for name in (ANN, BOB):
            hashed = hash_password("secret", **CHEAP)
            self.successResultOf(run(self.store.add_account(name, hashed)))
        self.executor = ImmediateExecutor()
        self.hasher = PasswordHasher(
            cast(Any, self.executor), clock=cast(Any, self.clock), executor=self.executor, **CHEAP
        )
        self.checker = DirectoryChecker(self.store, self.hasher, seconds=self.clock.seconds)

    def new(self, *scopes: str, **settings: Any) -> bytes:
        """An app password of Ann's."""
        shown, kept = new_app_password(scopes or ["imap"], 1_000_000, **settings)
        self.successResultOf(run(self.store.add_app_password(ANN, kept)))
        return shown.encode()

    def ask(self, password: bytes, protocol: str = "imap", username: str = ANN) -> Any:
        checking = self.checker.check(username.encode(), password, "192.0.2.1", protocol)
        return run(checking)

    def let_in(self, password: bytes, protocol: str = "imap", username: str = ANN) -> None:
        self.assertEqual(self.successResultOf(self.ask(password, protocol, username)), ANN)

    def refused(self, password: bytes, protocol: str = "imap", username: str = ANN) -> int:
        """How many hashes it took."""
        before = self.executor.ran
        failure = self.failureResultOf(self.ask(password, protocol, username), UnauthorizedLogin)
        self.assertEqual(str(failure.value), "")
        return self.executor.ran - before


class CheckerTests(CheckerTestCase):
    def test_it_lets_in_without_a_slow_hash(self) -> None:
        password = self.new()
        for username in (ANN, "Ann@EXAMPLE.org"):
            self.let_in(password, username=username)
            self.let_in(password.replace(b"-", b"").upper(), username=username)
        self.assertEqual(self.executor.ran, 0)

    def test_the_own_password_goes_on_to_work(self) -> None:
        self.new()
        self.let_in(b"secret")

    def test_an_own_password_of_that_form(self) -> None:
        own = b"abcd-abcd-abcd-abcd-abcd-abcd"
        self.new()
        self.successResultOf(run(self.store.set_password_hash(ANN, hash_password(own, **CHEAP))))
        self.let_in(own)

    def test_wrong_ones_take_as_long_as_any_wrong_password(self) -> None:
        password = self.new()
        other = password[:-1] + (b"a" if password[-1:] != b"a" else b"b")
        for wrong, username in (
            (other, ANN),
            (b"abcd-abcd-abcd-abcd-abcd-abcd", ANN),
            (password, BOB),
            (password, "eve@example.org"),
            (password, "eve"),
            (b"wrong", ANN),
            (b"wrong", BOB),
        ):
            self.assertEqual(self.refused(wrong, username=username), 1)

    def test_scopes(self) -> None:
        password = self.new("smtp", "pop3")
        for protocol in ("smtp", "submission", "pop3"):
            self.let_in(password, protocol)
        for protocol in ("imap", "ftp", "", "web"):
            failure = self.failureResultOf(self.ask(password, protocol), AuthorizationFailed)
            self.assertIn("for other services", str(failure.value))
        self.assertEqual(self.refused(password[:-1] + b"?", "imap"), 1)

    def test_expiry(self) -> None:
        password = self.new(expires=1_000_100)
        self.clock.advance(99)
        self.let_in(password)
        self.clock.advance(1)
        self.failureResultOf(self.ask(password), PasswordExpired)

    def test_removed_ones_count_no_more(self) -> None:
        password = self.new()
        self.let_in(password)
        self.successResultOf(run(self.store.remove_app_password(ANN, password[:4].decode())))
        self.refused(password)

    def test_an_account_without_own_password(self) -> None:
        password = self.new()
        self.successResultOf(run(self.store.set_password_hash(ANN, None)))
        self.let_in(password)


class OwnPasswordTests(CheckerTestCase):
    """Accounts whose own password is not good for everything."""

    def limit(self, *scopes: str) -> None:
        self.successResultOf(run(self.store.set_password_scopes(ANN, scopes)))

    def test_where_it_is_not_taken(self) -> None:
        password = self.new()
        # Remembered logins must not matter.
        self.let_in(b"secret")
        self.limit("web")
        for protocol in ("imap", "submission", "pop3", "ftp", ""):
            # Nobody learns that it was right.
            self.assertEqual(self.refused(b"secret", protocol), 1)
        self.let_in(b"secret", "web")
        self.let_in(password)

    def test_nowhere(self) -> None:
        self.limit()
        for protocol in ("web", "imap", ""):
            self.refused(b"secret", protocol)

    def test_an_account_that_goes_meanwhile(self) -> None:
        self.limit("imap")
        found = self.store.find_login

        async def find_and_lose(login: str) -> Any:
            answer = await found(login)
            await self.store.remove_account(ANN)
            return answer

        self.checker._find = find_and_lose
        self.assertEqual(self.refused(b"secret"), 1)


class UseTests(CheckerTestCase):
    def kept(self) -> AppPassword:
        (found,) = self.successResultOf(run(self.store.list_app_passwords(ANN)))
        return cast(AppPassword, found)

    def test_it_is_noted_once_a_day(self) -> None:
        password = self.new("imap", "pop3")
        self.assertIsNone(self.kept().used)
        self.let_in(password, "imap")
        noted = self.kept()
        self.assertEqual(
            (noted.used, noted.used_from, noted.used_by), (1_000_000, "192.0.2.1", "imap")
        )
        self.clock.advance(NOTE_SECONDS - 1)
        self.let_in(password, "pop3")
        self.assertEqual(self.kept(), noted)
        self.clock.advance(1)
        self.let_in(password, "pop3")
        self.assertEqual((self.kept().used, self.kept().used_by), (1_086_400, "pop3"))

    def test_connections_at_once_are_one_note(self) -> None:
        password = self.new()
        notes = []

        async def slowly(**use: Any) -> None:
            notes.append(use)

        self.store.note_app_password_use = slowly  # type: ignore[assignment]
        for _ in range(5):
            self.let_in(password)
        self.assertEqual(len(notes), 1)

    def test_refused_ones_are_not_noted(self) -> None:
        password = self.new("smtp")
        self.failureResultOf(self.ask(password, "imap"), AuthorizationFailed)
        self.assertIsNone(self.kept().used)

    def test_trouble_with_the_note_keeps_nobody_out(self) -> None:
        password = self.new()

        async def refuse(**use: Any) -> None:
            raise StoreUnavailable

        self.store.note_app_password_use = refuse  # type: ignore[assignment]
        self.let_in(password)
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailable)), 1)


class PortalTests(CheckerTestCase):
    """The protocol reaches the checker on each way through the portal."""

    def log_in(self, portal: Any, password: bytes, protocol: str) -> Any:
        credentials = UsernamePassword(ANN.encode(), password)
        return portal.login(credentials, ConnectionInfo(protocol, "192.0.2.1"), IMailAccount)

    def test_scopes(self) -> None:
        password = self.new("imap")
        for checkers in ((), (self.checker,), (_Nobody(), self.checker)):
            portal = make_portal(self.store, checkers, hasher=self.hasher)
            _, account, _ = self.successResultOf(self.log_in(portal, password, "imap"))
            self.assertEqual(account.name, ANN)
            self.failureResultOf(self.log_in(portal, password, "pop3"), AuthorizationFailed)

    def test_nothing_secret_is_logged(self) -> None:
        lines: list[str] = []
        observer = lambda event: lines.append(repr(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        portal = make_portal(self.store, (_Nobody(), self.checker), hasher=self.hasher)
        password = self.new("imap", expires=1_000_001)
        self.successResultOf(self.log_in(portal, password, "imap"))
        self.failureResultOf(self.log_in(portal, password, "ftp"), AuthorizationFailed)
        self.clock.advance(5)
        self.failureResultOf(self.log_in(portal, password, "imap"), PasswordExpired)
        text = "".join(lines).encode()
        self.assertNotIn(password, text)
        self.assertNotIn(password.replace(b"-", b""), text)


class _Nobody:
    """Knows nobody."""

    credentialInterfaces = (IUsernamePassword,)

    def requestAvatarId(self, credentials: Any) -> Any:
        raise UnauthorizedLogin
