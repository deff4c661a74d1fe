"""The list of a mailbox's UIDs follows what comes and goes."""

from __future__ import annotations

import os
import random
import sqlite3
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred

from mailkit.store.sqlite import mailbox as sqlite_mailbox
from mailkit.store.sqlite import reader
from mailkit.store.sqlite.history import read_uids
from mailkit.store.sqlite.rows import NOBODY

from .helpers import StoreTestCase, appended, message


class UIDListTests(StoreTestCase):
    async def follow(self, seed: int) -> None:
        """Remove and add messages at random, and compare the list with the index each time."""
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(*[message(number) for number in range(60)]))
        dice = random.Random(seed)
        present = list(range(1, 61))
        for _ in range(12):
            self.assertEqual(list(await inbox.list_uids()), present)
            for _ in range(dice.randrange(1, 4)):
                count = dice.randrange(min(5, len(present) + 1))
                start = dice.randrange(len(present) - count + 1)
                gone = dice.choice((present[start : start + count], dice.sample(present, count)))
                await inbox.expunge(uids=sorted(gone))
                present = [uid for uid in present if uid not in gone]
            if dice.random() < 0.4:
                result = await inbox.append(messages=appended(message(1), message(2)))
                present += result.uids
        before = await inbox.list_uids()
        kept = list(before)
        await inbox.expunge(uids=kept[:1])
        # Sessions share it.
        self.assertEqual(list(before), kept)
        self.assertEqual(list(await inbox.list_uids()), kept[1:])

    async def test_few_changes_at_a_time(self) -> None:
        with mock.patch.object(reader.Reader, "_all_uids", return_value=range(1, 61)) as whole:
            await self.follow(1)
        # The rest was cut out of what was known.
        asked = [call for call in whole.call_args_list if call != mock.call(NOBODY)]
        self.assertEqual(len(asked), 1)

    async def test_what_comes_behind_a_range_makes_it_longer(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(message(1), message(2)))
        self.assertEqual(await inbox.list_uids(), range(1, 3))
        await inbox.append(messages=appended(message(3)))
        self.assertEqual(await inbox.list_uids(), range(1, 4))
        # As a start after damage does.
        index = sqlite3.connect(os.path.join(self.directory, "index.sqlite"))
        self.addCleanup(index.close)
        index.execute("UPDATE mailbox SET uid_next = uid_next + 1")
        index.commit()
        await inbox.append(messages=appended(message(4)))
        self.assertEqual(list(await inbox.list_uids()), [1, 2, 3, 5])

    async def test_what_is_not_known_is_not_compared(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(message(0)))
        index = store.core.reader
        connection = index.connection
        (mailbox_id,) = connection.execute("SELECT mailbox_id FROM message").fetchone()
        asked: list[str] = []
        connection.set_trace_callback(asked.append)
        self.addCleanup(connection.set_trace_callback, None)
        for states in (1, 2):
            # Later, the state tells that the list is still right.
            self.assertEqual(list(index.list_uids(mailbox_id)), [1])
            self.assertEqual(sum("forgotten_modseq" in sql for sql in asked), states, asked)

    async def test_many_changes_at_a_time(self) -> None:
        self.patch(reader, "MAX_VANISHED", 2)
        await self.follow(2)

    async def test_many_messages_with_gaps(self) -> None:
        """A thread reads them."""
        self.patch(reader, "MAX_VANISHED", 2)
        self.patch(reader, "MANY_UIDS", 3)
        with mock.patch.object(
            sqlite_mailbox, "read_uids", side_effect=sqlite_mailbox.read_uids
        ) as read:
            await self.follow(3)
        self.assertGreater(read.call_count, 3)

    async def test_what_a_thread_has_read_is_not_news(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(*[message(number) for number in range(9)]))
        await inbox.expunge(uids=[2, 4, 6])
        self.patch(reader, "MANY_UIDS", 3)
        reader_ = store.core.reader
        reader_._uids.drop(inbox._id)
        found = []

        def read(*arguments: Any) -> Any:
            found.append(read_uids(*arguments))
            return found[0]

        with mock.patch.object(sqlite_mailbox, "read_uids", side_effect=read):
            waiting = Deferred.fromCoroutine(inbox.list_uids())
            await inbox.append(messages=appended(message(10)))
            await inbox.expunge(uids=[1])
            newest = list(await inbox.list_uids())
            self.assertEqual(newest, [3, 5, 7, 8, 9, 10])
            # It began before both.
            first = list(await waiting)
        self.assertIn(first, ([1, 3, 5, 7, 8, 9], [1, 3, 5, 7, 8, 9, 10], newest))
        before = reader_.state_and_uids(inbox._id)
        reader_.keep_uids(inbox._id, *found[0])
        self.assertIs(reader_.list_uids(inbox._id), before[1])
        view = await (await self.mailbox(store)).get_view(claim_recent=False)
        self.assertEqual(list(view.uids), newest)

    async def test_history_that_is_forgotten(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(*[message(number) for number in range(12)]))
        self.assertEqual(len(await inbox.list_uids()), 12)
        for uid in range(1, 11):
            await inbox.expunge(uids=[uid])
        with (
            mock.patch("mailkit.store.sqlite.compact.MAX_VANISHED_ROWS", 8),
            mock.patch("mailkit.store.sqlite.maintenance.MAX_VANISHED_ROWS", 8),
        ):
            await store.compact()
        self.assertEqual(list(await inbox.list_uids()), [11, 12])


class ViewTests(StoreTestCase):
    """What opens a mailbox is all of one moment, whatever is committed meanwhile."""

    async def test_a_change_that_is_not_counted_yet(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(message(1), message(2)))
        found = await self.mailbox(store)
        # As many come as go: the number of messages tells nothing.
        await inbox.expunge(uids=[1])
        await inbox.append(messages=appended(message(3)))
        # So it is while the transaction is in the index, and its bodies are being flushed.
        writer = store.core.writer
        writer.commits -= 2
        self.addCleanup(setattr, writer, "commits", writer.commits + 2)
        self.patch(found, "_opened", float("inf"))
        view = await found.get_view(claim_recent=False)
        self.assertEqual(list(view.uids), [2, 3])
        changes = await inbox.get_changes(since=view.info.highest_modseq)
        self.assertEqual((list(changes.added), list(changes.vanished)), ([], []))
        self.assertEqual(view.info.uid_next, 4)

    async def test_a_change_between_two_looks(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(message(1)))
        reader_ = store.core.reader
        before, _ = reader_.state_and_uids(inbox._id)
        await inbox.append(messages=appended(message(2)))
        reader_._uids.drop(inbox._id)
        self.assertIsNone(reader_.uids_at(inbox._id, before))
        now, uids = reader_.state_and_uids(inbox._id)
        self.assertEqual((list(uids), reader_.uids_at(inbox._id, now)), ([1, 2], uids))

    async def test_one_moment(self) -> None:
        store = await self.make_store()
        inbox = await self.mailbox(store)
        await inbox.append(messages=appended(message(1)))
        reader_ = store.core.reader
        connection = reader_.connection
        inside = []

        def look(mailbox_id: int) -> range:
            inside.append(connection.in_transaction)
            return range(1, 2)

        reader_._uids.drop(inbox._id)
        with mock.patch.object(reader_, "_all_uids", side_effect=look):
            await inbox.list_uids()
        self.assertEqual((inside, connection.in_transaction), ([True], False))
