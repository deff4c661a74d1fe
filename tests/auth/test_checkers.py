"""Who is let in, and that nobody can tell why he is not."""

from __future__ import annotations

from typing import Any, cast

from twisted.cred.checkers import (
    AllowAnonymousAccess,
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import (
    Anonymous,
    IAnonymous,
    IUsernameHashedPassword,
    IUsernamePassword,
    UsernamePassword,
)
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailkit.auth.checkers import ChainChecker, DirectoryChecker, VouchedUserChecker
from mailkit.auth.passwords import PasswordHasher, hash_password
from mailkit.auth.portal import make_portal
from mailkit.errors import StoreUnavailable
from mailkit.interfaces import IVouchedUser
from mailkit.smtp.extensions.xclient import VouchedUser
from tests.auth.fakes import FakeLoginStore, FakeStore, ImmediateExecutor

CHEAP: dict[str, Any] = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}


class DirectoryCheckerTests(SynchronousTestCase):
    make_store: type[FakeStore] = FakeStore

    def setUp(self) -> None:
        self.store = self.make_store(ann=hash_password("secret", **CHEAP), nopass=None)
        self.executor = ImmediateExecutor()
        self.checker = DirectoryChecker(
            self.store,
            PasswordHasher(
                cast(Any, self.executor),
                clock=cast(Any, Clock()),
                executor=self.executor,
                **CHEAP,
            ),
        )

    def ask(self, username: bytes, password: bytes) -> Any:
        return self.checker.requestAvatarId(UsernamePassword(username, password))

    def test_is_a_checker(self) -> None:
        verifyObject(ICredentialsChecker, self.checker)

    def test_the_avatar_is_the_canonical_name(self) -> None:
        for login in (b"ann@example.org", b"ANN@Example.ORG", b"ann"):
            self.assertEqual(self.successResultOf(self.ask(login, b"secret")), "ann@example.org")

    def test_unknown_wrong_and_without_password_look_alike(self) -> None:
        seen = set()
        for login, password in (
            (b"ann", b"wrong"),
            (b"nobody", b"secret"),
            (b"nopass", b"secret"),
            (b"nopass", b""),
            (b"", b"secret"),
            (b"\xff", b"secret"),
        ):
            before = self.executor.ran
            failure = self.failureResultOf(self.ask(login, password), UnauthorizedLogin)
            # One hash each: the time is the same.
            seen.add((str(failure.value), self.executor.ran - before))
        self.assertEqual(seen, {("", 1)})

    def test_absurd_lengths_are_refused_unread(self) -> None:
        self.failureResultOf(self.ask(b"a" * 5000, b"secret"), UnauthorizedLogin)
        self.failureResultOf(self.ask(b"ann", b"a" * 5000), UnauthorizedLogin)
        self.assertEqual(self.executor.ran, 0)

    def test_password_changed_or_removed_after_a_login(self) -> None:
        self.successResultOf(self.ask(b"ann", b"secret"))
        before = self.executor.ran
        self.successResultOf(self.ask(b"ann", b"secret"))
        # The first one is remembered.
        self.assertEqual(self.executor.ran, before)
        self.store.hashes["ann@example.org"] = hash_password("other", **CHEAP)
        self.failureResultOf(self.ask(b"ann", b"secret"), UnauthorizedLogin)
        self.successResultOf(self.ask(b"ann", b"other"))
        self.store.hashes["ann@example.org"] = None
        self.failureResultOf(self.ask(b"ann", b"other"), UnauthorizedLogin)
        del self.store.hashes["ann@example.org"]
        self.failureResultOf(self.ask(b"ann", b"other"), UnauthorizedLogin)

    def test_trouble_of_the_directory_is_no_wrong_password(self) -> None:
        self.store.trouble = StoreUnavailable()
        self.failureResultOf(self.ask(b"ann", b"secret"), StoreUnavailable)

    def test_names_by_saslprep(self) -> None:
        for login in ("\uff41\uff4e\uff4e@example.org", "a\u00adnn@example.org", "\uff41nn"):
            asking = self.ask(login.encode(), b"secret")
            self.assertEqual(self.successResultOf(asking), "ann@example.org", login)
        # Nobody, a letter of another script, and what no name may contain.
        for login in ("\uff45\uff56\uff45@example.org", "\u0430nn@example.org", "ann\ue000"):
            self.failureResultOf(self.ask(login.encode(), b"secret"), UnauthorizedLogin)

    def test_a_name_that_is_somebodys_as_it_stands(self) -> None:
        hashed = hash_password("other", **CHEAP)
        self.store.hashes["m\u00aa@example.org"] = hashed
        self.store.hashes["ma@example.org"] = hash_password("secret", **CHEAP)
        asking = self.ask("m\u00aa@example.org".encode(), b"other")
        self.assertEqual(self.successResultOf(asking), "m\u00aa@example.org")
        self.failureResultOf(self.ask("m\u00aa@example.org".encode(), b"secret"), UnauthorizedLogin)


class LoginDirectoryTests(DirectoryCheckerTests):
    """The same with a directory that gives account and hash at once."""

    make_store = FakeLoginStore

    def test_it_is_asked_once(self) -> None:
        self.store.find_account = self.store.get_password_hash = None  # type: ignore[assignment]
        self.successResultOf(self.ask(b"ann", b"secret"))


class Failing:
    credentialInterfaces = (IUsernamePassword,)

    def requestAvatarId(self, credentials: Any) -> Any:
        raise StoreUnavailable


class ChainCheckerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.first = InMemoryUsernamePasswordDatabaseDontUse(ann=b"one")
        self.second = InMemoryUsernamePasswordDatabaseDontUse(ann=b"two", bob=b"three")

    def ask(self, chain: ChainChecker, username: bytes, password: bytes) -> Any:
        return chain.requestAvatarId(UsernamePassword(username, password))

    def test_is_a_checker_of_all_their_interfaces(self) -> None:
        chain = ChainChecker([self.first, AllowAnonymousAccess(), self.second])
        verifyObject(ICredentialsChecker, chain)
        self.assertEqual(
            chain.credentialInterfaces, (IUsernamePassword, IUsernameHashedPassword, IAnonymous)
        )

    def test_each_is_asked_in_turn(self) -> None:
        chain = ChainChecker([self.first, self.second])
        for name, password in ((b"ann", b"one"), (b"ann", b"two"), (b"bob", b"three")):
            self.assertEqual(self.successResultOf(self.ask(chain, name, password)), name)
        self.failureResultOf(self.ask(chain, b"bob", b"one"), UnauthorizedLogin)
        self.failureResultOf(self.ask(chain, b"eve", b"one"), UnauthorizedLogin)

    def test_only_those_for_the_credentials_are_asked(self) -> None:
        chain = ChainChecker([self.first, AllowAnonymousAccess()])
        self.assertEqual(self.successResultOf(chain.requestAvatarId(Anonymous())), ())
        self.failureResultOf(self.ask(chain, b"eve", b"one"), UnauthorizedLogin)

    def test_one_in_trouble_does_not_stop_the_next(self) -> None:
        chain = ChainChecker([cast(Any, Failing()), self.first])
        self.assertEqual(self.successResultOf(self.ask(chain, b"ann", b"one")), b"ann")
        self.failureResultOf(self.ask(chain, b"ann", b"two"), StoreUnavailable)

    def test_an_empty_chain_lets_nobody_in(self) -> None:
        self.failureResultOf(self.ask(ChainChecker([]), b"ann", b"one"), UnauthorizedLogin)


class VouchedUserCheckerTests(SynchronousTestCase):
    """Users who come without a password."""

    def setUp(self) -> None:
        self.checker = VouchedUserChecker(FakeStore(ann=hash_password("secret", **CHEAP)))

    def ask(self, username: str) -> Any:
        return self.checker.requestAvatarId(VouchedUser(username))

    def test_is_a_checker(self) -> None:
        verifyObject(ICredentialsChecker, self.checker)
        verifyObject(IVouchedUser, VouchedUser("ann"))

    def test_the_avatar_is_the_canonical_name(self) -> None:
        for login in ("ann@example.org", "ANN@Example.ORG", "ann"):
            self.assertEqual(self.successResultOf(self.ask(login)), "ann@example.org")

    def test_nobody_else(self) -> None:
        for login in ("eve@example.org", "", "x" * 5000):
            self.failureResultOf(self.ask(login), UnauthorizedLogin)

    def test_portals_know_it_where_mail_is_delivered(self) -> None:
        store: Any = FakeStore()
        self.assertNotIn(IVouchedUser, make_portal(store).listCredentialsInterfaces())
        deliveries: Any = object()
        portal = make_portal(store, deliveries=deliveries)
        self.assertIn(IVouchedUser, portal.listCredentialsInterfaces())
