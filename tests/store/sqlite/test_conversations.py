"""Names of conversations last as long as the messages."""

from __future__ import annotations

import os
from typing import Any

from mailkit.query import HasObjectID, Not
from mailkit.store.sqlite import conversations
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.schema import INDEX_NAME
from mailkit.testing.sorting import RELATED

from .helpers import ANN, BOB, StoreTestCase, appended


class ConversationTests(StoreTestCase):
    async def names(self, mailbox: Any) -> list[str | None]:
        uids = list(await mailbox.list_uids())
        await mailbox.name_threads(uids=uids)
        return [info.thread_id for info in await mailbox.get_messages(uids=uids)]

    async def test_search(self) -> None:
        store = await self.make_store(ANN)
        mailbox = await self.mailbox(store)
        await mailbox.append(messages=appended(*RELATED))
        thread = HasObjectID(str((await self.names(mailbox))[0]), thread=True)
        archive = await self.mailbox(store, name="Archive")
        # Nobody has asked for names of these before.
        uids = list((await archive.append(messages=appended(*RELATED))).uids)
        self.assertEqual(list(await archive.search(query=thread)), uids[:3])
        self.assertEqual(list(await archive.search(query=Not(thread))), uids[3:])
        for name in ("M1", "T01", "Tffffffffffffffffff", "x"):
            self.assertEqual(list(await archive.search(query=HasObjectID(name, thread=True))), [])

    async def test_many_at_once(self) -> None:
        self.patch(
            conversations, "_NAMELESS", conversations._NAMELESS.replace("LIMIT 2000", "LIMIT 2")
        )
        store = await self.make_store(ANN)
        mailbox = await self.mailbox(store)
        await mailbox.append(messages=appended(*RELATED * 2))
        names = await self.names(mailbox)
        self.assertEqual((len(set(names)), names.count(names[0])), (5, 6))

    async def test_accounts_are_apart(self) -> None:
        store = await self.make_store(ANN, BOB)
        found = []
        for account in (ANN, BOB):
            mailbox = await self.mailbox(store, account)
            await mailbox.append(messages=appended(*RELATED[:2]))
            first, second = await self.names(mailbox)
            self.assertEqual(first, second)
            found.append(first)
        self.assertNotEqual(*found)

    async def test_after_repair_they_are_the_same(self) -> None:
        store = await self.make_store(ANN)
        mailbox = await self.mailbox(store)
        await mailbox.append(messages=appended(*RELATED))
        names = await self.names(mailbox)
        moved = (await mailbox.list_uids())[:1]
        await mailbox.move_messages(uids=moved, destination="Archive")
        await self.close_store(store)
        os.unlink(os.path.join(self.directory, INDEX_NAME))
        repair_store(self.directory)
        store = self.open_store()
        mailbox = await self.mailbox(store)
        infos = await mailbox.get_messages(uids=await mailbox.list_uids())
        self.assertEqual([info.thread_id for info in infos], names[1:])
        # An answer finds its conversation, and what was moved is still in it.
        await mailbox.append(messages=appended(RELATED[1]))
        self.assertEqual((await self.names(mailbox))[-1], names[0])
        account = await store.open_account(name=ANN)
        archive = await account.open_mailbox(name="Archive")
        self.assertEqual(await self.names(archive), names[:1])

    async def test_gone_with_the_account(self) -> None:
        store = await self.make_store(ANN, BOB)
        mailbox = await self.mailbox(store)
        await mailbox.append(messages=appended(*RELATED))
        await self.names(mailbox)
        await store.remove_account(name=ANN)
        (count,) = store.connection().execute("SELECT count(*) FROM thread_key").fetchone()
        self.assertEqual(count, 0)
