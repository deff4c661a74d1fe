"""Entries about mailboxes outlive a restart, and the loss of the index."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping

from mailkit.store.sqlite import SQLiteStore
from mailkit.store.sqlite.check import check_store
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.schema import INDEX_NAME

from .helpers import ANN, BOB, StoreTestCase

PRIVATE, SHARED, USE = "/private/comment", "/shared/comment", "/private/specialuse"


class MetadataTests(StoreTestCase):
    async def fill(self) -> SQLiteStore:
        store = await self.make_store(ANN, BOB)
        await store.set_administrator(account=ANN, administrator=True)
        ann = await store.open_account(name=ANN)
        await ann.create_mailbox(name="Work")
        entries = {PRIVATE: b"\0\xff", SHARED: b"shared", "/private/x": b"x"}
        await ann.set_metadata(mailbox="Work", entries=entries)
        await ann.set_metadata(mailbox="Work", entries={"/private/x": None, USE: b"\\Archive"})
        await ann.set_metadata(mailbox=None, entries=entries)
        await ann.set_metadata(mailbox="INBOX", entries={SHARED: b"old"})
        await ann.rename_mailbox(name="INBOX", new_name="Copied")
        await ann.create_mailbox(name="Gone")
        await ann.set_metadata(mailbox="Gone", entries=entries)
        await ann.delete_mailbox(name="Gone")
        bob = await store.open_account(name=BOB)
        await bob.set_metadata(mailbox=None, entries={PRIVATE: b"Bob's"})
        return store

    async def shown(self, store: SQLiteStore) -> list[Mapping[str, bytes]]:
        ann, bob = [await store.open_account(name=name) for name in (ANN, BOB)]
        places = ["Work", "Archive", "Copied", "INBOX", None]
        return [
            *[dict(await ann.get_metadata(mailbox=place)) for place in places],
            dict(await bob.get_metadata(mailbox=None)),
        ]

    async def test_restart(self) -> None:
        store = await self.fill()
        before = await self.shown(store)
        self.assertEqual(before[0], {PRIVATE: b"\0\xff", SHARED: b"shared", USE: b"\\Archive"})
        self.assertEqual(before[1:4], [{}, {SHARED: b"old"}, {SHARED: b"old"}])
        await self.close_store(store)
        self.check()
        self.assertEqual(await self.shown(self.open_store()), before)

    async def test_repair_from_the_journal(self) -> None:
        store = await self.fill()
        before = await self.shown(store)
        await self.close_store(store)
        for suffix in ("", "-wal", "-shm"):
            path = os.path.join(self.directory, INDEX_NAME + suffix)
            if os.path.exists(path):
                os.unlink(path)
        repair_store(self.directory)
        self.check()
        store = self.open_store()
        self.assertEqual(await self.shown(store), before)
        (left,) = store.connection().execute("SELECT count(*) FROM metadata").fetchone()
        self.assertEqual(left, 8)

    async def test_removed_account(self) -> None:
        store = await self.fill()
        await store.remove_account(name=ANN)
        rows = store.connection().execute("SELECT entry, value FROM metadata ORDER BY value")
        self.assertEqual(rows.fetchall(), [(PRIVATE, b"Bob's"), (SHARED, b"shared")])
        await self.close_store(store)
        self.check()

    async def test_check(self) -> None:
        await self.close_store(await self.fill())
        connection = sqlite3.connect(os.path.join(self.directory, INDEX_NAME))
        connection.execute("INSERT INTO metadata VALUES (0, 99, '/shared/a', x'01')")
        connection.execute("INSERT INTO metadata VALUES (98, 0, '/private/b', x'01')")
        connection.commit()
        connection.close()
        self.assertEqual(
            check_store(self.directory).problems,
            [
                "the entry /shared/a is about mailbox 99, which does not exist",
                "the entry /private/b belongs to account 98, which does not exist",
            ],
        )
