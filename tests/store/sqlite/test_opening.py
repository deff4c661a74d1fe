"""Mailboxes that are opened by their names again and again."""

from __future__ import annotations

import os
import time

from mailkit.errors import NoSuchMailbox
from mailkit.model import INBOX
from mailkit.store.sqlite import SQLiteStore

from .helpers import ANN, StoreTestCase, message


class OpeningTests(StoreTestCase):
    async def make_settled(self) -> SQLiteStore:
        """A store that remembers: no other process has changed its directory for long."""
        store = await self.make_store()
        os.utime(os.path.join(self.directory, "changes"), (1, 1))
        store.core.recent._look(time.time())
        return store

    def count_queries(self, store: SQLiteStore) -> list[str]:
        """What the index is asked about names from now on."""
        asked: list[str] = []
        reader = store.core.reader
        find = reader.find_name

        def find_name(account_id: int, name: str, commits: int) -> object:
            asked.append(name)
            return find(account_id, name, commits)

        self.patch(reader, "find_name", find_name)
        return asked

    async def test_who_brings_mail_asks_the_index_for_a_name_once(self) -> None:
        store = await self.make_settled()
        asked = self.count_queries(store)
        for number in range(1, 4):
            await self.deliver(store, message(number))
            mailbox = await self.mailbox(store)
            self.assertEqual((await mailbox.get_info()).messages, number)
        self.assertEqual(asked, [INBOX])

    async def test_a_name_is_looked_for_again_when_names_have_changed(self) -> None:
        store = await self.make_settled()
        account = await store.open_account(name=ANN)
        await account.create_mailbox(name="Old")
        first = await self.mailbox(store, name="Old")
        await self.deliver(store, message(1))
        self.assertEqual((await self.mailbox(store, name="Old"))._id, first._id)
        await account.rename_mailbox(name="Old", new_name="New")
        with self.assertRaises(NoSuchMailbox):
            await account.open_mailbox(name="Old")
        self.assertEqual((await self.mailbox(store, name="New"))._id, first._id)
        await account.create_mailbox(name="Old")
        await self.deliver(store, message(2))
        self.assertNotEqual((await self.mailbox(store, name="Old"))._id, first._id)
        await account.delete_mailbox(name="New")
        with self.assertRaises(NoSuchMailbox):
            await account.open_mailbox(name="New")

    async def test_what_a_renamed_mailbox_tells_is_not_kept_for_its_old_name(self) -> None:
        store = await self.make_settled()
        account = await store.open_account(name=ANN)
        await account.create_mailbox(name="Old")
        opened = await account.open_mailbox(name="Old")
        await account.rename_mailbox(name="Old", new_name="New")
        self.assertEqual((await opened.get_info()).name, "New")
        with self.assertRaises(NoSuchMailbox):
            await account.open_mailbox(name="Old")
