"""Copying, moving and removing spans of messages, and what the log knows of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mailkit.annotations import Annotation
from mailkit.model import FlagOp
from mailkit.store.sqlite import SQLiteStore
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.schema import INDEX_NAME

from .helpers import ANN, StoreTestCase, appended, message


class TransferTests(StoreTestCase):
    async def make_mail(self, count: int = 8) -> SQLiteStore:
        """A store with messages in INBOX, and two mailboxes for others."""
        store = await self.make_store()
        account = await store.open_account(name=ANN)
        for name in ("One", "Two"):
            await account.create_mailbox(name=name)
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(*map(message, range(count))))
        return store

    async def state(self, store: SQLiteStore) -> list[Any]:
        """All that clients can see of the messages."""
        found: list[Any] = []
        for name in ("INBOX", "One", "Two"):
            mailbox = await self.mailbox(store, name=name)
            info = await mailbox.get_info()
            messages = await mailbox.get_messages(uids=await mailbox.list_uids())
            found.append((name, info.messages, info.unseen, info.size))
            found.extend(each._replace(thread_id=None) for each in messages)
            found.append(await self.contents(store, name=name))
        return found

    async def assert_log_knows(self, store: SQLiteStore) -> None:
        """The index is whole, and can be made again from the log alone."""
        before = await self.state(store)
        await self.close_store(store)
        self.check()
        for name in (INDEX_NAME, f"{INDEX_NAME}-wal", f"{INDEX_NAME}-shm"):
            path = os.path.join(self.directory, name)
            if os.path.exists(path):
                os.unlink(path)
        repair_store(self.directory)
        self.check()
        self.assertEqual(await self.state(self.open_store()), before)

    async def subjects(self, store: SQLiteStore, name: str) -> list[int]:
        """The numbers of a mailbox's messages."""
        return [int(each[9 : each.index(b"\r")]) for each in await self.contents(store, name=name)]

    async def test_a_span_goes_and_others_stay(self) -> None:
        store = await self.make_mail()
        inbox, one = await self.mailbox(store), await self.mailbox(store, name="One")
        await inbox.store_flags(uids=[2, 3], op=FlagOp.ADD, flags=frozenset({"\\Seen"}))
        # Whole, with a message missing between, as it is asked for, and in any order.
        result = await inbox.copy_messages(uids=range(1, 9), destination="One")
        self.assertEqual(list(result.source_uids), list(range(1, 9)))
        self.assertEqual(list(result.destination_uids), list(range(1, 9)))
        await inbox.expunge(uids=[4])
        for uids, sources in (
            ([3, 4, 5], [3, 5]),
            ([3, 5], [3, 5]),
            ([5, 3], [3, 5]),
            ([4], []),
            ([3, 6], [3, 6]),
        ):
            result = await inbox.copy_messages(uids=uids, destination="One")
            self.assertEqual(list(result.source_uids), sources, uids)
            self.assertEqual(len(result.destination_uids), len(sources))
        result = await inbox.move_messages(uids=[2, 3, 4, 5], destination="Two")
        self.assertEqual(list(result.source_uids), [2, 3, 5])
        self.assertEqual(await self.subjects(store, "INBOX"), [0, 5, 6, 7])
        self.assertEqual(await self.subjects(store, "Two"), [1, 2, 4])
        self.assertEqual((await one.get_info()).unseen, 8 - 2 + 1 + 1 + 1 + 1)
        await self.assert_log_knows(store)

    async def test_several_copies_of_a_body_are_counted(self) -> None:
        store = await self.make_mail(4)
        inbox, one = await self.mailbox(store), await self.mailbox(store, name="One")
        for _ in range(2):
            await inbox.copy_messages(uids=[1, 2, 3, 4], destination="One")
        # Each body twice among those that are copied, and removed.
        await one.copy_messages(uids=list(range(1, 9)), destination="Two")
        await one.copy_messages(uids=list(range(1, 9)), destination="One")
        await one.expunge(uids=list(range(3, 12)))
        two = await self.mailbox(store, name="Two")
        await two.move_messages(uids=list(range(1, 9)), destination="Two")
        self.assertEqual(list(await two.list_uids()), list(range(9, 17)))
        await self.assert_log_knows(store)

    async def test_a_body_that_is_there_twice_among_others_in_step(self) -> None:
        store = await self.make_mail(2)
        inbox, one = await self.mailbox(store), await self.mailbox(store, name="One")
        await inbox.copy_messages(uids=[2], destination="INBOX")
        await inbox.append(messages=appended(message(2)))
        bodies = store.core.reader.connection.execute("SELECT body_id FROM message ORDER BY uid")
        first, *others = [body_id for (body_id,) in bodies]
        self.assertEqual([body_id - first for body_id in others], [1, 1, 3])
        for name in ("One", "Two"):
            await inbox.copy_messages(uids=[1, 2, 3, 4], destination=name)
        await one.expunge(uids=[1, 2, 3, 4])
        await self.assert_log_knows(store)

    async def test_keywords_and_annotations_go_along(self) -> None:
        store = await self.make_mail(4)
        inbox, one = await self.mailbox(store), await self.mailbox(store, name="One")
        await inbox.store_quietly(uids=[2, 3], op=FlagOp.ADD, flags=frozenset({"Blue"}))
        await inbox.store_quietly(
            uids=[1, 2, 3, 4], op=FlagOp.ADD, flags=frozenset({"\\Seen", "Red"})
        )
        await inbox.copy_messages(uids=[1, 2, 3, 4], destination="One")
        flags: Sequence[set[str]] = [
            set(each.flags) for each in await one.get_messages(uids=[1, 2, 3, 4])
        ]
        red, both = {"\\Seen", "Red"}, {"\\Seen", "Red", "Blue"}
        self.assertEqual(flags, [red, both, both, red])
        comment = Annotation("/comment", b"call back")
        await inbox.store_annotations(uids=[3], annotations=[comment])
        await inbox.move_messages(uids=[1, 2, 3, 4], destination="Two")
        two = await self.mailbox(store, name="Two")
        self.assertEqual(await two.get_annotations(uids=[1, 2, 3, 4]), {3: [comment]})
        await self.assert_log_knows(store)

    async def test_nothing_is_said_to_be_gone_that_was_never_there(self) -> None:
        store = await self.make_mail(3)
        inbox = await self.mailbox(store)
        before = (await inbox.get_info()).highest_modseq
        self.assertEqual(list(await inbox.expunge(uids=range(2, 9))), [2, 3])
        self.assertEqual(list((await inbox.get_changes(since=before)).vanished), [2, 3])
        (uid,) = await self.deliver(store, message(9))
        changes = await inbox.get_changes(since=before)
        self.assertEqual((list(changes.added), list(changes.vanished)), ([uid], [2, 3]))


class GuestTests(StoreTestCase):
    async def test_another_process_changes_spans(self) -> None:
        owner = await self.make_store()
        guest = self.open_store()
        account = await guest.open_account(name=ANN)
        await account.create_mailbox(name="One")
        here, there = await self.mailbox(guest), await self.mailbox(owner)
        await here.append(messages=appended(*map(message, range(6))))
        before = (await there.get_info()).highest_modseq
        result = await here.store_quietly(
            uids=range(1, 7), op=FlagOp.ADD, flags=frozenset({"\\Seen", "Blue"})
        )
        self.assertEqual((result.found, list(result.changed)), (6, list(range(1, 7))))
        self.assertEqual((result.before, list(result.modified)), (before, []))
        self.assertEqual((await there.get_info()).unseen, 0)
        moved = await here.move_messages(uids=[2, 3, 4], destination="One")
        self.assertEqual(list(moved.source_uids), [2, 3, 4])
        self.assertEqual(list(moved.destination_uids), [1, 2, 3])
        self.assertEqual(list(await here.expunge(uids=range(1, 6))), [1, 5])
        self.assertEqual(list(await there.list_uids()), [6])
        (left,) = await there.get_messages(uids=[6])
        self.assertEqual(left.flags, {"\\Seen", "Blue"})
