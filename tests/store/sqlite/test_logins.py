"""Logins at the embedded store: what an administrator changes meanwhile counts at once."""

from __future__ import annotations

from typing import Any, cast

from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal

from mailkit.auth.passwords import PasswordHasher, hash_password
from mailkit.auth.portal import make_portal
from mailkit.errors import NoSuchAccount
from mailkit.interfaces import IMailAccount
from mailkit.model import ConnectionInfo
from mailkit.store.sqlite import SQLiteDirectory, SQLiteStore
from tests.auth.fakes import ManualExecutor

from .helpers import ANN, BOB, StoreTestCase, message

CHEAP: dict[str, Any] = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}


class LoginTests(StoreTestCase):
    async def make_server(self) -> tuple[SQLiteStore, Portal, SQLiteDirectory]:
        """A store, where to log in to it, and an administrator's command beside it."""
        store = await self.make_store(ANN, BOB)
        await store.set_password_hash(account=ANN, password_hash=hash_password("one", **CHEAP))
        self.executor = ManualExecutor()
        hasher = PasswordHasher(cast(Any, self.executor), executor=self.executor, clock=self.clock)
        command = SQLiteDirectory(self.directory)
        self.addCleanup(command.close)
        return store, make_portal(store, hasher=hasher), command

    @property
    def clock(self) -> Any:
        from twisted.internet import reactor

        return reactor

    def log_in(self, portal: Portal, password: bytes) -> Any:
        login = portal.login(
            UsernamePassword(b"ann", password), ConnectionInfo("imap"), IMailAccount
        )
        # What was seen lately needs no hash.
        self.executor.run()
        return login

    async def test_password_changed_by_a_command(self) -> None:
        _, portal, command = await self.make_server()
        for _ in range(2):
            _, account, _ = await self.log_in(portal, b"one")
            self.assertEqual((account.name, type(account.name)), (ANN, str))
        self.assertEqual(self.executor.ran, 1)
        await command.set_password_hash(account=ANN, password_hash=hash_password("two", **CHEAP))
        await self.assertFailure(self.log_in(portal, b"one"), UnauthorizedLogin)
        await self.log_in(portal, b"two")
        await command.set_password_hash(account=ANN, password_hash=None)
        await self.assertFailure(self.log_in(portal, b"two"), UnauthorizedLogin)

    async def test_password_changed_by_the_server(self) -> None:
        store, portal, _ = await self.make_server()
        await self.log_in(portal, b"one")
        await store.set_password_hash(account=ANN, password_hash=hash_password("two", **CHEAP))
        await self.assertFailure(self.log_in(portal, b"one"), UnauthorizedLogin)
        await self.log_in(portal, b"two")

    async def test_account_removed_by_a_command(self) -> None:
        _, portal, command = await self.make_server()
        await self.log_in(portal, b"one")
        await command.remove_account(name=ANN)
        await self.assertFailure(self.log_in(portal, b"one"), UnauthorizedLogin)

    async def test_account_removed_while_its_password_is_verified(self) -> None:
        _, portal, command = await self.make_server()
        login = portal.login(UsernamePassword(b"ann", b"one"), ConnectionInfo("imap"), IMailAccount)
        await command.remove_account(name=ANN)
        self.executor.run()
        await self.assertFailure(login, NoSuchAccount)

    async def test_account_removed_during_a_session(self) -> None:
        store, portal, command = await self.make_server()
        _, account, _ = await self.log_in(portal, b"one")
        await command.remove_account(name=ANN)
        for again in (False, True):
            if again:
                await command.add_account(name=ANN)
                await self.deliver(store, message(1))
            for call in (account.list_mailboxes, account.list_subscriptions):
                with self.assertRaises(NoSuchAccount):
                    await call()
            with self.assertRaises(NoSuchAccount):
                # It is somebody else's now.
                await account.open_mailbox(name="INBOX")

    async def test_name_found_in_another_store(self) -> None:
        store, _, _ = await self.make_server()
        await store.remove_account(name=ANN)
        other = SQLiteDirectory(self.mktemp())
        self.addCleanup(other.close)
        await other.add_account(name=ANN)
        found = await other.find_login(login=ANN)
        assert found is not None
        with self.assertRaises(NoSuchAccount):
            await store.open_account(name=found.account)
