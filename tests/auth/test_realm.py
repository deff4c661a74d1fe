"""Which avatar a login gets."""

from __future__ import annotations

from typing import Any, cast

from twisted.cred.checkers import ANONYMOUS, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.error import UnauthorizedLogin, UnhandledCredentials
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface, implementer
from zope.interface.verify import verifyObject

from mailkit.auth.checkers import DirectoryChecker
from mailkit.auth.located import ExistingUser
from mailkit.auth.passwords import PasswordHasher
from mailkit.auth.portal import MailPortal, make_portal
from mailkit.auth.realm import MailRealm
from mailkit.errors import AuthorizationFailed, NoSuchAccount
from mailkit.interfaces import (
    IDirectory,
    IMailAccount,
    IMailStore,
    IMessageDelivery,
    IScramLogin,
)
from mailkit.model import ConnectionInfo
from mailkit.store.memory import MemoryStore
from tests.auth.fakes import FakeAdminStore, FakeLoginStore, FakeStore, ImmediateExecutor

MIND = ConnectionInfo("imap")


@implementer(IMessageDelivery)
class FakeDelivery:
    def __init__(self, account: str | None, connection: ConnectionInfo) -> None:
        self.account = account
        self.connection = connection

    async def check_sender(self, envelope: Any) -> None:
        raise NotImplementedError

    async def check_recipient(self, envelope: Any, recipient: Any) -> None:
        raise NotImplementedError

    async def deliver(self, envelope: Any, message: Any) -> Any:
        raise NotImplementedError


class MailRealmTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = FakeStore(ann=None)

    def ask(self, realm: MailRealm, avatar_id: Any, *interfaces: type[Interface]) -> Deferred[Any]:
        return realm.requestAvatar(avatar_id, MIND, *interfaces)

    def test_is_a_realm(self) -> None:
        verifyObject(IRealm, MailRealm(self.store))

    def test_account_by_its_name(self) -> None:
        realm = MailRealm(self.store)
        for avatar_id in ("ann@example.org", b"ann@example.org"):
            interface, avatar, logout = self.successResultOf(
                self.ask(realm, avatar_id, IMailAccount)
            )
            self.assertIs(interface, IMailAccount)
            self.assertEqual(avatar.name, "ann@example.org")
            logout()

    def test_without_directory_the_name_is_taken_as_it_is(self) -> None:
        self.failureResultOf(self.ask(MailRealm(self.store), b"ann", IMailAccount), NoSuchAccount)

    def test_directory_gives_the_canonical_name(self) -> None:
        realm = MailRealm(self.store, self.store, FakeDelivery)
        for avatar_id in (b"Ann", "ANN@example.org"):
            _, avatar, _ = self.successResultOf(self.ask(realm, avatar_id, IMailAccount))
            self.assertEqual(avatar.name, "ann@example.org")
            _, delivery, _ = self.successResultOf(self.ask(realm, avatar_id, IMessageDelivery))
            self.assertEqual(delivery.account, "ann@example.org")

    def test_authenticated_without_account(self) -> None:
        realm = MailRealm(self.store, self.store, FakeDelivery)
        for avatar_id in (b"eve", b"\xff"):
            for interface in (IMailAccount, IMessageDelivery):
                self.failureResultOf(self.ask(realm, avatar_id, interface), NoSuchAccount)

    def test_what_is_no_name_is_nobody(self) -> None:
        """Checkers that give None or False instead of raising UnauthorizedLogin let nobody in."""
        for directory in (self.store, None):
            realm = MailRealm(self.store, directory, FakeDelivery)
            for avatar_id in (None, False, "", b"", 17):
                for interface in (IMailAccount, IMessageDelivery):
                    self.failureResultOf(self.ask(realm, avatar_id, interface), TypeError)

    def test_anonymous_never_gets_an_account(self) -> None:
        realm = MailRealm(self.store, self.store, FakeDelivery)
        self.failureResultOf(self.ask(realm, ANONYMOUS, IMailAccount), AuthorizationFailed)
        interface, delivery, _ = self.successResultOf(
            self.ask(realm, ANONYMOUS, IMailAccount, IMessageDelivery)
        )
        self.assertIs(interface, IMessageDelivery)
        self.assertIsNone(delivery.account)
        self.assertIs(delivery.connection, MIND)

    def test_what_is_not_provided(self) -> None:
        realm = MailRealm(self.store)
        failed = self.failureResultOf(
            self.ask(realm, b"ann", IMessageDelivery), NotImplementedError
        )
        self.assertEqual(
            str(failed.value), "this realm has no IMessageDelivery: give make_portal deliveries"
        )
        self.failureResultOf(self.ask(realm, b"ann", IRealm), NotImplementedError)


class CreateAccountTests(SynchronousTestCase):
    def name_of(self, store: FakeAdminStore, avatar_id: Any) -> str:
        realm = MailRealm(store, store, create_accounts=True)
        result: Deferred[Any] = realm.requestAvatar(avatar_id, MIND, IMailAccount)
        return cast(str, self.successResultOf(result)[1].name)

    def test_needs_a_directory_that_can_be_changed(self) -> None:
        self.assertRaises(ValueError, MailRealm, FakeStore(), None, None, True)
        self.assertRaises(ValueError, MailRealm, FakeStore(), FakeStore(), None, True)

    def test_an_account_is_made_once(self) -> None:
        store = FakeAdminStore(ann=None)
        self.assertEqual(self.name_of(store, b"bob@example.net"), "bob@example.net")
        self.assertEqual(self.name_of(store, b"bob@example.net"), "bob@example.net")
        self.assertEqual(sorted(store.hashes), ["ann@example.org", "bob@example.net"])

    def test_a_bare_name_belongs_to_the_domain(self) -> None:
        self.assertEqual(self.name_of(FakeAdminStore(ann=None), b"bob"), "bob@example.org")

    def test_a_bare_name_belongs_to_the_first_of_several_domains(self) -> None:
        store = FakeAdminStore(ann=None)
        store.domains = ("example.com",)
        store.hashes["bob@example.net"] = None
        self.assertEqual(self.name_of(store, b"bob"), "bob@example.com")
        self.assertEqual(self.name_of(store, b"bob"), "bob@example.com")

    def test_a_bare_name_without_domains_stays_bare(self) -> None:
        self.assertEqual(self.name_of(FakeAdminStore(), b"bob"), "bob")

    def test_another_connection_was_faster(self) -> None:
        class Racing(FakeAdminStore):
            async def add_account(self, name: str, password_hash: str | None = None) -> None:
                self.hashes[name] = None
                await super().add_account(name, password_hash)

        self.assertEqual(self.name_of(Racing(ann=None), b"bob"), "bob@example.org")


class MakePortalTests(SynchronousTestCase):
    def setUp(self) -> None:
        executor = ImmediateExecutor()
        self.hasher = PasswordHasher(
            cast(Any, executor), clock=cast(Any, Clock()), executor=executor
        )

    def test_the_stores_own_accounts(self) -> None:
        portal = make_portal(FakeStore(ann="{PLAIN}secret"), hasher=self.hasher)
        right, wrong = UsernamePassword(b"ann", b"secret"), UsernamePassword(b"ann", b"other")
        _, avatar, _ = self.successResultOf(portal.login(right, MIND, IMailAccount))
        self.assertEqual(cast(Any, avatar).name, "ann@example.org")
        self.failureResultOf(portal.login(wrong, MIND, IMailAccount), UnauthorizedLogin)
        self.failureResultOf(portal.login(Anonymous(), MIND, IMailAccount), UnhandledCredentials)

    def test_name_from_the_directory_is_not_looked_up_again(self) -> None:
        store = FakeLoginStore(ann="{PLAIN}secret")
        portal = make_portal(store, deliveries=FakeDelivery, hasher=self.hasher)
        self.patch(store, "find_account", lambda login: 1 // 0)
        ann = UsernamePassword(b"ANN", b"secret")
        for interface in (IMailAccount, IMessageDelivery):
            found, avatar, logout = self.successResultOf(portal.login(ann, MIND, interface))
            self.assertIs(found, interface)
            self.assertTrue(interface.providedBy(avatar))
            logout()
        self.failureResultOf(portal.login(ann, MIND, IRealm), NotImplementedError)

    def test_a_password_comes_with_the_address_of_its_client(self) -> None:
        addresses: list[str] = []

        def verify(stored: str, password: bytes, address: str, **_: Any) -> Deferred[bool]:
            addresses.append(address)
            return succeed(True)

        self.patch(self.hasher, "verify", verify)
        store = FakeStore(ann="a hash")
        several = [DirectoryChecker(store, self.hasher), InMemoryUsernamePasswordDatabaseDontUse()]
        ann = UsernamePassword(b"ann", b"secret")
        for portal in (make_portal(store, hasher=self.hasher), make_portal(store, several)):
            for mind in (ConnectionInfo("imap", "192.0.2.1"), None):
                self.successResultOf(portal.login(ann, mind, IMailAccount))
        self.assertEqual(addresses, ["192.0.2.1", "", "192.0.2.1", ""])

    def test_name_from_another_directory_is_looked_up(self) -> None:
        ann = UsernamePassword(b"ann", b"secret")
        realm = MailRealm(FakeStore(), FakeStore())
        checker = DirectoryChecker(FakeStore(ann="{PLAIN}secret"), self.hasher)
        login = MailPortal(realm, [checker]).login(ann, MIND, IMailAccount)
        self.failureResultOf(login, NoSuchAccount)

    def test_user_of_another_directory_gets_an_account_here(self) -> None:
        store = FakeAdminStore(ann=None)
        portal = make_portal(store, [DirectoryChecker(FakeStore(bob="{PLAIN}secret"), self.hasher)])
        login = portal.login(UsernamePassword(b"bob", b"secret"), MIND, IMailAccount)
        self.assertEqual(self.successResultOf(login)[1].name, "bob@example.org")
        self.assertIn("bob@example.org", store.hashes)

    def test_mechanisms_that_need_keys_only_where_every_user_has_them(self) -> None:
        store = MemoryStore()
        own = DirectoryChecker(store, self.hasher)
        other = InMemoryUsernamePasswordDatabaseDontUse(bob=b"two")
        for checkers, offered in (([own], True), ([own, other], False), ([other], False)):
            portal = make_portal(store, checkers)
            self.assertEqual(IScramLogin in portal.checkers, offered, checkers)

    def test_who_must_exist_is_not_made(self) -> None:
        store = FakeAdminStore(ann=None)
        realm = MailRealm(store, store, create_accounts=True)
        asked = realm.requestAvatar(ExistingUser("bob@example.org"), MIND, IMailAccount)
        self.failureResultOf(asked, AuthorizationFailed)
        self.assertNotIn("bob@example.org", store.hashes)

    def test_anybody_delivers(self) -> None:
        portal = make_portal(FakeStore(), deliveries=FakeDelivery, hasher=self.hasher)
        _, avatar, _ = self.successResultOf(portal.login(Anonymous(), MIND, IMessageDelivery))
        self.assertIsNone(cast(Any, avatar).account)

    def test_several_checkers_of_one_interface_and_new_accounts(self) -> None:
        store = FakeAdminStore(ann=None)
        checkers = [
            InMemoryUsernamePasswordDatabaseDontUse(ann=b"one"),
            InMemoryUsernamePasswordDatabaseDontUse(bob=b"two"),
        ]
        portal = make_portal(store, checkers)
        for name, password in ((b"ann", b"one"), (b"bob", b"two")):
            _, avatar, _ = self.successResultOf(
                portal.login(UsernamePassword(name, password), MIND, IMailAccount)
            )
            self.assertEqual(cast(Any, avatar).name, f"{name.decode()}@example.org")

    def test_given_checkers_do_not_make_accounts_when_told_so(self) -> None:
        checker = InMemoryUsernamePasswordDatabaseDontUse(bob=b"two")
        portal = make_portal(FakeAdminStore(ann=None), [checker], create_accounts=False)
        login = portal.login(UsernamePassword(b"bob", b"two"), MIND, IMailAccount)
        self.failureResultOf(login, NoSuchAccount)

    def test_a_store_without_directory_needs_a_checker(self) -> None:
        @implementer(IMailStore)
        class Bare:
            async def open_account(self, name: str) -> Any:
                raise NoSuchAccount

            async def deliver(self, message: Any, deliveries: Any) -> Any:
                raise NotImplementedError

            async def close(self) -> None:
                raise NotImplementedError

        self.assertFalse(IDirectory.providedBy(Bare()))
        self.assertRaises(ValueError, make_portal, Bare())
