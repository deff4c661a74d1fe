"""What UIDL tells of a message stays: through restarts, compaction, and repairs of all kinds."""

from __future__ import annotations

import os
import shutil
from typing import Any

from mailkit.model import MaildropSettings
from mailkit.pop3.protocol import POP3Factory
from mailkit.store.sqlite import SQLiteStore
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.schema import INDEX_NAME
from tests.pop3.fakes import Client

from .helpers import ANN, StoreTestCase, appended, message


class UniqueIdTests(StoreTestCase):
    async def shown(self, store: SQLiteStore) -> list[bytes]:
        """The lines of UIDL, without message numbers, of two mailboxes."""
        account = await store.open_account(name=ANN)
        settings = MaildropSettings(mailboxes=("INBOX", "Junk"))
        await store.set_maildrop_settings(account=ANN, settings=settings)
        from twisted.internet import reactor

        client = Client(POP3Factory(None, clock=reactor), "127.0.0.1")  # type: ignore[arg-type]
        await client.connection.open_maildrop(account)
        lines = client.ask(b"UIDL").split(b"\r\n")[1:-2]
        client.ask(b"QUIT")
        client.lose()
        return [line.split()[1] for line in lines]

    async def filled(self) -> tuple[SQLiteStore, list[bytes]]:
        store = await self.make_store(ANN)
        for name in ("INBOX", "Junk"):
            mailbox: Any = await self.mailbox(store, name=name)
            await mailbox.append(messages=appended(*map(message, range(9))))
            await mailbox.expunge(uids=[1, 4, 5, 9])
        shown = await self.shown(store)
        self.assertEqual((len(shown), len(set(shown))), (10, 10))
        return store, shown

    async def test_a_restart(self) -> None:
        store, before = await self.filled()
        await self.close_store(store)
        self.assertEqual(await self.shown(self.open_store()), before)

    async def test_a_compaction(self) -> None:
        store, before = await self.filled()
        await store.compact()
        self.assertEqual(await self.shown(store), before)

    async def test_a_repair(self) -> None:
        store, before = await self.filled()
        await self.close_store(store)
        repair_store(self.directory)
        self.assertEqual(await self.shown(self.open_store()), before)

    async def test_a_lost_index(self) -> None:
        store, before = await self.filled()
        await self.close_store(store)
        os.unlink(os.path.join(self.directory, INDEX_NAME))
        repair_store(self.directory)
        self.assertEqual(await self.shown(self.open_store()), before)

    async def test_a_copy_of_the_directory(self) -> None:
        store, before = await self.filled()
        await self.close_store(store)
        moved = self.directory + ".moved"
        shutil.copytree(self.directory, moved)
        self.directory = moved
        self.assertEqual(await self.shown(self.open_store()), before)

    async def test_identifiers_are_never_given_again(self) -> None:
        store, before = await self.filled()
        for name in ("INBOX", "Junk"):
            mailbox: Any = await self.mailbox(store, name=name)
            await mailbox.expunge(uids=await mailbox.list_uids())
            await mailbox.append(messages=appended(*map(message, range(9))))
        self.assertEqual(set(await self.shown(store)) & set(before), set())
