"""The store in memory: the contracts, and its own limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mailkit.errors import LimitExceeded, NoSuchMailbox
from mailkit.interfaces import ISearchableMailbox
from mailkit.model import AppendMessage, FlagOp, Path
from mailkit.store import memory_account, memory_keywords, memory_mailbox
from mailkit.store.memory import MemoryStore
from mailkit.store.memory_account import MemoryAccount
from mailkit.store.memory_mailbox import MemoryMailbox
from mailkit.testing import (
    DirectoryContract,
    QueueContract,
    SharingContract,
    StoreContract,
    fill_directory,
    sample_messages,
    spooled,
)


class MemoryStoreContractTests(StoreContract, TestCase):
    async def make_store(self, accounts: Sequence[str]) -> MemoryStore:
        store = MemoryStore()
        for account in accounts:
            await store.add_account(name=account)
        return store


class MemorySharingContractTests(SharingContract, TestCase):
    async def make_store(self, accounts: Sequence[str]) -> MemoryStore:
        store = MemoryStore()
        for account in accounts:
            await store.add_account(name=account)
        return store


class MemoryDirectoryContractTests(DirectoryContract, TestCase):
    async def make_directory(
        self, accounts: Mapping[str, str | None], aliases: Mapping[str, Sequence[str]]
    ) -> MemoryStore:
        store = MemoryStore()
        await fill_directory(store, accounts, aliases)
        return store


class MemoryQueueContractTests(QueueContract, TestCase):
    async def make_queueing_store(self, accounts: Sequence[str]) -> MemoryStore:
        store = MemoryStore()
        for account in accounts:
            await store.add_account(name=account)
        return store


class MemoryStoreTests(TestCase):
    """What the contracts leave open."""

    async def account(self, store: MemoryStore | None = None) -> MemoryAccount:
        store = store or MemoryStore()
        await store.add_account(name="ann@example.org")
        return await store.open_account(name="ann@example.org")

    async def inbox(self, count: int = 0) -> MemoryMailbox:
        mailbox = await (await self.account()).open_mailbox(name="INBOX")
        await mailbox.append(messages=sample_messages(count))
        return mailbox

    async def test_uids_are_shared_while_nothing_changes(self) -> None:
        mailbox = await self.inbox(2)
        uids = await mailbox.list_uids()
        await mailbox.store_flags(uids=[1], op=FlagOp.ADD, flags=frozenset({"\\Seen"}))
        self.assertIs(await mailbox.list_uids(), uids)
        await mailbox.append(messages=sample_messages(1))
        self.assertEqual((list(uids), list(await mailbox.list_uids())), ([1, 2], [1, 2, 3]))

    async def test_searching_is_left_to_the_caller(self) -> None:
        self.assertFalse(ISearchableMailbox.providedBy(await self.inbox()))

    async def test_time_comes_from_the_clock(self) -> None:
        clock = Clock()
        clock.advance(1_700_000_000)
        account = await self.account(MemoryStore(clock))
        mailbox = await account.open_mailbox(name="INBOX")
        clock.advance(60)
        await mailbox.append(messages=[AppendMessage(spooled(b"x"))])
        (info,) = await mailbox.get_messages(uids=[1])
        self.assertEqual((info.internal_date, info.save_date), (1_700_000_060, 1_700_000_060))
        self.assertGreaterEqual(mailbox.uid_validity, 1_700_000_000)

    async def test_too_many_keywords(self) -> None:
        self.patch(memory_keywords, "MAX_KEYWORDS", 3)
        mailbox = await self.inbox(1)
        uids = [1]
        await mailbox.store_flags(uids=uids, op=FlagOp.REPLACE, flags=frozenset({"a", "b", "c"}))
        with self.assertRaises(LimitExceeded):
            await mailbox.store_flags(uids=uids, op=FlagOp.ADD, flags=frozenset({"d"}))
        with self.assertRaises(LimitExceeded):
            await mailbox.append(messages=[AppendMessage(spooled(b"x"), frozenset({"e"}))])
        self.assertEqual(list(await mailbox.list_uids()), [1])
        await mailbox.store_flags(uids=uids, op=FlagOp.REMOVE, flags=frozenset({"d", "e", "C"}))
        # A keyword that no message has makes room.
        await mailbox.store_flags(uids=uids, op=FlagOp.ADD, flags=frozenset({"d"}))
        (info,) = await mailbox.get_messages(uids=uids)
        self.assertEqual(info.flags, frozenset({"a", "b", "d"}))

    async def test_unknown_system_flags_are_left_out(self) -> None:
        mailbox = await self.inbox(1)
        await mailbox.store_flags(
            uids=[1], op=FlagOp.REPLACE, flags=frozenset({"\\Recent", "\\Custom", "\\SEEN"})
        )
        (info,) = await mailbox.get_messages(uids=[1])
        self.assertEqual(info.flags, frozenset({"\\Seen"}))

    async def test_forgotten_vanished_messages_are_told_all_the_same(self) -> None:
        self.patch(memory_mailbox, "MAX_VANISHED", 2)
        mailbox = await self.inbox(6)
        since = (await mailbox.get_info()).highest_modseq
        for uid in (2, 5, 1, 4):
            await mailbox.expunge(uids=[uid])
        recent = (await mailbox.get_info()).highest_modseq - 2
        self.assertEqual(list((await mailbox.get_changes(since=since)).vanished), [1, 2, 4, 5])
        self.assertEqual(list((await mailbox.get_changes(since=recent)).vanished), [1, 4])

    async def test_too_many_mailboxes(self) -> None:
        account = await self.account()
        count = len(await account.list_mailboxes())
        self.patch(memory_account, "MAX_MAILBOXES", count + 2)
        with self.assertRaises(LimitExceeded):
            await account.create_mailbox(name="a/b/c")
        self.assertEqual(len(await account.list_mailboxes()), count)
        await account.create_mailbox(name="a/b")
        with self.assertRaises(LimitExceeded):
            await account.rename_mailbox(name="INBOX", new_name="c")
        await account.rename_mailbox(name="a/b", new_name="c")
        with self.assertRaises(LimitExceeded):
            await account.rename_mailbox(name="c", new_name="d/e")

    async def test_too_many_subscriptions(self) -> None:
        account = await self.account()
        self.patch(memory_account, "MAX_MAILBOXES", len(await account.list_subscriptions()) + 1)
        await account.subscribe(name="a")
        await account.subscribe(name="a")
        with self.assertRaises(LimitExceeded):
            await account.subscribe(name="b")

    async def test_a_watcher_that_fails_does_not_undo_the_change(self) -> None:
        mailbox = await self.inbox()
        calls = []
        mailbox.watch(callback=lambda: 1 // 0)
        mailbox.watch(callback=lambda: calls.append(1))
        await mailbox.append(messages=sample_messages(1))
        self.assertEqual(calls, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_watchers_hear_of_the_end(self) -> None:
        account = await self.account()
        await account.create_mailbox(name="Work")
        mailbox = await account.open_mailbox(name="Work")
        calls: list[int] = []
        mailbox.watch(callback=lambda: calls.append(1))
        await account.delete_mailbox(name="Work")
        self.assertEqual(calls, [1])
        with self.assertRaises(NoSuchMailbox):
            await mailbox.list_uids()

    async def test_sub_address_separator_is_a_setting(self) -> None:
        store = MemoryStore(separator="-")
        await self.account(store)
        resolution = await store.resolve(path=Path("ann-x", "example.org"))
        self.assertEqual(resolution.detail, "x")

    async def test_account_with_a_quoted_local_part(self) -> None:
        store = MemoryStore()
        await store.add_account(name='"Ann Lee"@example.org')
        (name,) = await store.list_accounts()
        self.assertEqual(name, "ann lee@example.org")
        await store.set_password_hash(account=name, password_hash="x")
        await store.remove_account(name='"ann lee"@example.org')
        self.assertEqual(await store.list_accounts(), [])
