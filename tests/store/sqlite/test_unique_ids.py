"""What UIDL tells of a message stays: through restarts, compaction, and repairs of all kinds."""

from __future__ import annotations

import os
import shutil
from typing import Any

from mailkit.store.sqlite import SQLiteStore
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.schema import INDEX_NAME

from .helpers import ANN, StoreTestCase, appended, message
from .uidl import list_unique_ids


class UniqueIdTests(StoreTestCase):
    async def filled(self) -> tuple[SQLiteStore, list[bytes]]:
        store = await self.make_store(ANN)
        for name in ("INBOX", "Junk"):
            mailbox: Any = await self.mailbox(store, name=name)
            await mailbox.append(messages=appended(*map(message, range(9))))
            await mailbox.expunge(uids=[1, 4, 5, 9])
        shown = await list_unique_ids(store)
        self.assertEqual((len(shown), len(set(shown))), (10, 10))
        return store, shown

    async def test_a_restart(self) -> None:
        store, before = await self.filled()
        await self.close_store(store)
        self.assertEqual(await list_unique_ids(self.open_store()), before)

    async def test_a_compaction(self) -> None:
        store, before = await self.filled()
        await store.compact()
        self.assertEqual(await list_unique_ids(store), before)

    async def test_a_repair(self) -> None:
        store, before = await self.filled()
        await self.close_store(store)
        repair_store(self.directory)
        self.assertEqual(await list_unique_ids(self.open_store()), before)

    async def test_a_lost_index(self) -> None:
        store, before = await self.filled()
        await self.close_store(store)
        os.unlink(os.path.join(self.directory, INDEX_NAME))
        repair_store(self.directory)
        self.assertEqual(await list_unique_ids(self.open_store()), before)

    async def test_a_copy_of_the_directory(self) -> None:
        store, before = await self.filled()
        await self.close_store(store)
        moved = self.directory + ".moved"
        shutil.copytree(self.directory, moved)
        self.directory = moved
        self.assertEqual(await list_unique_ids(self.open_store()), before)

    async def test_identifiers_are_never_given_again(self) -> None:
        store, before = await self.filled()
        for name in ("INBOX", "Junk"):
            mailbox: Any = await self.mailbox(store, name=name)
            await mailbox.expunge(uids=await mailbox.list_uids())
            await mailbox.append(messages=appended(*map(message, range(9))))
        self.assertEqual(set(await list_unique_ids(store)) & set(before), set())
