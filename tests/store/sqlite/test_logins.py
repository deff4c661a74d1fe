"""Logins at the embedded store: what an administrator changes meanwhile counts at once."""

from __future__ import annotations

import os
import time
from typing import Any, cast

from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.passwords import PasswordHasher, hash_password
from mailkit.auth.portal import make_portal
from mailkit.errors import NoSuchAccount, StoreUnavailable
from mailkit.interfaces import IMailAccount
from mailkit.model import ConnectionInfo, MaildropSettings, Path, Resolution
from mailkit.store.sqlite import SQLiteDirectory, SQLiteStore, recent
from mailkit.store.sqlite.mailboxes import CreateMailbox
from mailkit.store.sqlite.recent import (
    CHANGES,
    SECONDS,
    SETTLED,
    UNSEEN,
    RecentAnswers,
    tell_change,
)
from tests.auth.fakes import ManualExecutor
from tests.support import until

from .helpers import ANN, BOB, StoreTestCase, message

CHEAP: dict[str, Any] = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}


class RecentAnswersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = self.mktemp()
        self.changes = os.path.join(self.directory, CHANGES)
        os.makedirs(self.changes)
        self.now = 1_000_000.0
        self.modified(self.now - SETTLED - 1)
        self.recent = RecentAnswers(self.directory, lambda: self.now)

    def modified(self, when: float) -> None:
        os.utime(self.changes, (when, when))

    def find(self, login: str = "ann") -> bool:
        """Whether it was known; now it would be."""
        known = self.recent.get(login)
        if known is None:
            self.recent.add(login, "answer")
        return known is not None

    def test_known_until_somebody_changes_the_directory(self) -> None:
        self.assertEqual([self.find(), self.find(), self.find("bob")], [False, True, False])
        self.modified(self.now - SETTLED - 0.5)
        self.now += UNSEEN
        self.assertEqual([self.find(), self.find(), self.find("bob")], [False, True, False])

    def test_a_busy_server_does_not_look_each_time(self) -> None:
        self.find()
        self.modified(self.now - SETTLED - 0.5)
        self.now += UNSEEN / 2
        self.assertTrue(self.find())
        # A clock that is set back does not keep it from looking.
        self.now -= UNSEEN
        self.assertFalse(self.find())

    def test_nothing_is_kept_while_a_change_may_be_at_work(self) -> None:
        # The clock that was set back is no better.
        for age in (0.0, SETTLED, -100.0):
            self.now += 1
            self.modified(self.now - age)
            self.assertEqual([self.find(), self.find()], [False, False])
        self.modified(self.now - SETTLED)
        self.assertFalse(self.find())
        self.now += 0.5
        self.assertEqual([self.find(), self.find()], [False, True])

    def test_known_for_a_while_at_most(self) -> None:
        self.find()
        self.now += SECONDS - 1
        self.assertTrue(self.find())
        self.now += 1
        self.assertFalse(self.find())

    def test_forgotten_by_who_changes_it_here(self) -> None:
        self.find()
        self.recent.clear()
        self.assertFalse(self.find())

    def test_not_too_many(self) -> None:
        self.patch(recent, "SIZE", 3)
        for login in "abcd":
            self.find(login)
        self.assertEqual([self.find("d"), self.find("a")], [True, False])

    def test_change_is_told_by_the_time_of_the_directory(self) -> None:
        before = os.stat(self.changes).st_mtime
        tell_change(self.directory)
        self.assertGreater(os.stat(self.changes).st_mtime, before)
        self.assertEqual(os.listdir(self.changes), [])

    def test_nothing_is_kept_where_nobody_can_tell(self) -> None:
        self.find()
        os.rmdir(self.changes)
        self.now += UNSEEN
        self.assertEqual([self.find(), self.find()], [False, False])
        # As before the first server.
        tell_change(self.directory)
        self.now = time.time() + SETTLED + 1
        self.assertEqual([self.find(), self.find()], [False, True])

    def test_what_else_happens_in_the_directory_is_no_change(self) -> None:
        self.find()
        os.mkdir(os.path.join(self.directory, "log"))
        self.now += UNSEEN
        self.assertTrue(self.find())


class LoginTests(StoreTestCase):
    async def make_server(self) -> tuple[SQLiteStore, Portal, SQLiteDirectory]:
        """A store, where to log in to it, and an administrator's command beside it."""
        store = await self.make_store(ANN, BOB)
        await store.set_password_hash(account=ANN, password_hash=hash_password("one", **CHEAP))
        self.executor = ManualExecutor()
        hasher = PasswordHasher(cast(Any, self.executor), executor=self.executor, clock=self.clock)
        self.patch(recent, "UNSEEN", 0)
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

    async def test_scram_keys_that_are_wanted_meanwhile_are_made_at_the_next_login(self) -> None:
        store, portal, command = await self.make_server()
        store.core.recent._clock = lambda: time.time() + 1000  # type: ignore[method-assign]
        for _ in range(2):
            await self.log_in(portal, b"one")
        await command.set_scram_policy(mechanisms=["SCRAM-SHA-256"])
        await self.log_in(portal, b"one")

        def is_made() -> bool:
            self.executor.run()
            keys = store.connection().execute("SELECT mechanism FROM scram_key")
            return keys.fetchall() == [("SCRAM-SHA-256",)]

        await until(is_made)

    async def test_what_was_looked_up_lately_is_not_asked_for_again(self) -> None:
        store, portal, command = await self.make_server()
        asked: list[str] = []
        store.connection().set_trace_callback(asked.append)
        # Long after the last change.
        store.core.recent._clock = lambda: time.time() + 1000  # type: ignore[method-assign]
        await self.log_in(portal, b"one")
        self.assertNotEqual(asked, [])
        asked.clear()
        await self.log_in(portal, b"one")
        self.assertEqual(asked, [])
        await command.set_password_hash(account=ANN, password_hash=hash_password("two", **CHEAP))
        await self.assertFailure(self.log_in(portal, b"one"), UnauthorizedLogin)
        await self.log_in(portal, b"two")
        await store.set_password_hash(account=ANN, password_hash=None)
        await self.assertFailure(self.log_in(portal, b"two"), UnauthorizedLogin)
        await store.remove_account(name=ANN)
        await self.assertFailure(self.log_in(portal, b"two"), UnauthorizedLogin)

    async def test_a_login_is_recalled_as_long_as_it_is_true(self) -> None:
        store, portal, command = await self.make_server()
        store.core.recent._clock = lambda: time.time() + 1000  # type: ignore[method-assign]
        mind, right = ConnectionInfo("imap"), UsernamePassword(b"ann", b"one")
        recall = cast(Any, portal).recall
        self.assertIsNone(recall(right, mind, IMailAccount))
        await self.log_in(portal, b"one")
        interface, account, _ = recall(right, mind, IMailAccount)
        self.assertIs(interface, IMailAccount)
        self.assertEqual((account.name, type(account.name)), (ANN, str))
        self.assertIn("INBOX", [info.name for info in await account.list_mailboxes()])
        self.assertIsNone(recall(UsernamePassword(b"ann", b"two"), mind, IMailAccount))
        await command.set_password_hash(account=ANN, password_hash=hash_password("two", **CHEAP))
        self.assertIsNone(recall(right, mind, IMailAccount))
        await self.log_in(portal, b"two")
        self.assertIsNone(recall(right, mind, IMailAccount))
        await store.close()
        with self.assertRaises(StoreUnavailable):
            recall(right, mind, IMailAccount)

    async def test_maildrop_is_recalled_as_it_is_now(self) -> None:
        store, portal, command = await self.make_server()
        store.core.recent._clock = lambda: time.time() + 1000  # type: ignore[method-assign]

        async def recall() -> Any:
            await self.log_in(portal, b"one")
            _, account, _ = await self.log_in(portal, b"one")
            return account.recall_maildrop()

        for count in range(2):
            mailbox, info, uids, sizes, octets = await recall()
            self.assertEqual((mailbox.name, info.messages, octets), ("INBOX", count, sum(sizes)))
            self.assertEqual(list(uids), list(await mailbox.list_uids()))
            await self.deliver(store, message(count))
        _, account, _ = await self.log_in(portal, b"one")
        await command.set_maildrop_settings(account=ANN, settings=MaildropSettings(keep=True))
        # Those of the moment at which it was opened, and only once.
        self.assertIsNotNone(account.recall_maildrop())
        self.assertIsNone(account.recall_maildrop())
        self.assertIsNone(await recall())

    async def test_names_of_nobody_and_of_another_store_are_not_recalled(self) -> None:
        store, _, _ = await self.make_server()
        store.core.recent._clock = lambda: time.time() + 1000  # type: ignore[method-assign]
        for _ in range(2):
            self.assertIsNone(store.recall_login(login="eve"))
            self.assertIsNone(await store.find_login(login="eve"))
        other = SQLiteDirectory(self.mktemp())
        self.addCleanup(other.close)
        await other.add_account(name=ANN)
        found = await other.find_login(login=ANN)
        assert found is not None
        for name in (found.account, ANN):
            self.assertIsNone(store.recall_account(name=name))

    async def test_opened_accounts_are_counted(self) -> None:
        store, portal, _ = await self.make_server()
        for number in range(3):
            # Recalled, when it is not the first time.
            await self.log_in(portal, b"one")
            self.assertEqual(store.core.accounts_opened, number + 1)

    async def test_mailbox_is_not_read_again_before_something_changes(self) -> None:
        store, portal, command = await self.make_server()
        store.core.recent._clock = lambda: time.time() + 1000  # type: ignore[method-assign]
        _, account, _ = await self.log_in(portal, b"one")

        async def look() -> tuple[int, int, int]:
            inbox = await account.open_mailbox(name="INBOX")
            view = await inbox.get_view(claim_recent=True)
            return len(view.uids), view.info.messages, view.info.first_recent_uid

        self.assertEqual(await look(), (0, 0, 1))
        asked: list[str] = []
        store.connection().set_trace_callback(asked.append)
        self.assertEqual(await look(), (0, 0, 1))
        self.assertEqual(asked, [])
        await self.deliver(store, message(1))
        self.assertEqual(await look(), (1, 1, 1))
        # \Recent for one session, although the index has not been told yet.
        self.assertEqual(await look(), (1, 1, 2))
        await store.core.submit(CreateMailbox(ANN, "Work", None))
        self.assertEqual(await look(), (1, 1, 2))
        await account.subscribe(name="INBOX")
        inbox = await account.open_mailbox(name="INBOX")
        self.assertTrue((await inbox.get_info()).subscribed)
        await command.remove_account(name=ANN)
        with self.assertRaises(NoSuchAccount):
            await look()

    async def test_mailbox_of_a_closed_store(self) -> None:
        store, portal, _ = await self.make_server()
        store.core.recent._clock = lambda: time.time() + 1000  # type: ignore[method-assign]
        _, account, _ = await self.log_in(portal, b"one")
        await account.open_mailbox(name="INBOX")
        await store.close()
        with self.assertRaises(StoreUnavailable):
            await account.open_mailbox(name="INBOX")

    async def test_recipients_and_limits_of_accounts(self) -> None:
        store, _, command = await self.make_server()
        store.core.recent._clock = lambda: time.time() + 1000  # type: ignore[method-assign]
        path = Path("Ann+News", "Example.org")

        async def answers() -> tuple[Any, ...]:
            return await store.resolve(path=path), (await store.get_quota(account=ANN))[2:4]

        wanted = (Resolution((ANN,), "News"), (None, None))
        self.assertEqual(await answers(), wanted)
        asked: list[str] = []
        store.connection().set_trace_callback(asked.append)
        self.assertEqual(await answers(), wanted)
        # What it has grows without the directory's knowledge.
        (query,) = asked
        self.assertIn("FROM mailbox", query)
        await command.add_alias(alias="ann+news@example.org", targets=[BOB])
        await command.set_quota(account=ANN, max_octets=10, max_messages=None)
        self.assertEqual(await answers(), (Resolution((BOB,)), (10, None)))
        await store.remove_alias(alias="ann+news@example.org")
        await store.set_quota(account=ANN, max_octets=None, max_messages=20)
        self.assertEqual(await answers(), (wanted[0], (None, 20)))

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

    async def test_an_account_that_is_made_anew_is_another(self) -> None:
        """Within the same second too: sessions of the old one are told by it."""
        store, _, _ = await self.make_server()
        created = await store.get_creation_time(account=ANN)
        for _ in range(2):
            await store.remove_account(name=ANN)
            await store.add_account(name=ANN)
            old, created = created, await store.get_creation_time(account=ANN)
            self.assertNotEqual(created, old)

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
