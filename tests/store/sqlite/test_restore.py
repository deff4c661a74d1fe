"""A store that was made of an older backup is not taken for the one that was lost."""

from __future__ import annotations

import os
import time
from typing import Any
from unittest import mock

from mailkit.errors import StoreUnavailable
from mailkit.model import FlagOp
from mailkit.queue.values import NewMessage, Order, RecipientState, Update
from mailkit.spool import Spool
from mailkit.store.sqlite import SQLiteStore, restore
from mailkit.store.sqlite.backup import back_up
from mailkit.store.sqlite.generations import MANIFEST_NAME
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.restore import restore_store
from mailkit.store.sqlite.schema import INDEX_NAME
from mailkit.testing.queue import queue_envelope

from .helpers import ANN, StoreTestCase, appended, message
from .uidl import list_unique_ids


class RestoreTests(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.destination = self.mktemp()

    def back_up(self) -> str:
        return back_up(self.directory, self.destination, keep=9).path

    def restore(self, **options: Any) -> SQLiteStore:
        self.directory = self.mktemp()
        self.report = restore_store(self.destination, self.directory, **options)
        self.check()
        return self.open_store()

    async def unique_ids(self, store: SQLiteStore) -> dict[bytes, bytes]:
        """Messages by what UIDL tells of them, in two mailboxes."""
        contents = await self.contents(store) + await self.contents(store, name="Junk")
        return dict(zip(await list_unique_ids(store), contents, strict=True))

    async def add(self, store: SQLiteStore, *numbers: int, name: str = "INBOX") -> None:
        mailbox = await self.mailbox(store, name=name)
        await mailbox.append(messages=appended(*map(message, numbers)))

    async def test_no_identifier_is_used_again(self) -> None:
        """One state, another one that is lost, and a third that began with the first."""
        store = await self.make_store()
        await self.add(store, 1, 2, 3)
        await self.add(store, 4, name="Junk")
        self.back_up()
        account = await store.open_account(name=ANN)
        await self.add(store, 10, 11)
        inbox = await self.mailbox(store)
        await inbox.store_flags(uids=[2], op=FlagOp.ADD, flags=frozenset({"\\Deleted"}))
        await inbox.expunge(uids=[2])
        await account.create_mailbox(name="Later")
        lost = {info.name: info for info in await account.list_mailboxes()}
        lost_ids = await self.unique_ids(store)
        lost_emails = await self.object_ids(store)
        await self.close_store(store)

        store = self.restore()
        account = await store.open_account(name=ANN)
        self.assertEqual(await self.contents(store), [message(1), message(2), message(3)])
        await account.create_mailbox(name="Another")
        await self.add(store, 20, 21, 22)
        await self.add(store, 23, name="Junk")
        for info in await account.list_mailboxes():
            # RFC 9051 section 2.3.1.1: what a client keeps of a mailbox is told to be of another.
            self.assertGreater(info.uid_validity, max(each.uid_validity for each in lost.values()))
        another = await (await account.open_mailbox(name="Another")).get_info()
        self.assertNotIn(another.mailbox_id, {each.mailbox_id for each in lost.values()})
        for seen, now in (
            (lost_ids, await self.unique_ids(store)),
            (lost_emails, await self.object_ids(store)),
        ):
            both = seen.keys() & now.keys()
            self.assertEqual(
                {each: seen[each] for each in both}, {each: now[each] for each in both}
            )
            # What was there already keeps its name (RFC 1939 section 7).
            kept = {message(number) for number in (1, 3, 4)}
            self.assertEqual({seen[each] for each in both}, kept)
        self.assertEqual(self.report.mailboxes, len(lost) - 1)

    async def object_ids(self, store: SQLiteStore) -> dict[str, bytes]:
        """Messages by their EMAILID (RFC 8474)."""
        found = {}
        for name in ("INBOX", "Junk"):
            mailbox = await self.mailbox(store, name=name)
            for info in await mailbox.get_messages(uids=await mailbox.list_uids()):
                found[info.email_id] = await self.read(mailbox, info.uid)
        return found

    async def test_identifiers_stay_when_it_happens_again(self) -> None:
        store = await self.make_store()
        await self.add(store, 1, 2)
        self.back_up()
        for number in (3, 4, 5):
            await self.close_store(store)
            store = self.restore()
            before = await self.unique_ids(store)
            await self.add(store, number)
            now = await self.unique_ids(store)
            self.assertEqual({**before, **now}, now)
            self.assertEqual(len(now), len(before) + 1)
            self.destination = self.mktemp()
            self.back_up()
        # What stood between is told by what it was then.
        self.assertEqual(len({each.split(b".")[0] for each in now}), 4)

    async def test_a_repair_afterwards(self) -> None:
        store = await self.make_store()
        await self.add(store, 1, 2)
        await store.add_alias(alias="info@example.org", targets=[ANN])
        self.back_up()
        await self.close_store(store)
        store = self.restore()
        info = await (await self.mailbox(store)).get_info()
        before = await self.unique_ids(store)
        await self.close_store(store)
        repair_store(self.directory)
        for lost in (False, True):
            if lost:
                os.unlink(os.path.join(self.directory, INDEX_NAME))
                repair_store(self.directory)
            store = self.open_store()
            again = await (await self.mailbox(store)).get_info()
            self.assertEqual(again.uid_validity, info.uid_validity)
            self.assertEqual(await self.unique_ids(store), before)
            self.assertEqual(len(await store.list_aliases()), 1)
            await self.close_store(store)
            self.check()

    async def test_queued_messages_are_held(self) -> None:
        store = await self.make_store()
        now = int(time.time())
        ids = []
        for number in range(4):
            new = NewMessage(queue_envelope("eve@example.net"), now, now + 3600)
            spool = Spool.from_bytes(message(number))
            ids += (await store.queue.enqueue(message=spool, new=[new])).ids
        _, under_way, sent, held = [
            (await store.queue.get_message(id=id)).recipients[0].id for id in ids
        ]
        await store.queue.record(
            updates=[
                Update(under_way, RecipientState.ATTEMPTING),
                Update(sent, RecipientState.DELIVERED),
                Update(held, RecipientState.HELD),
            ],
            reports=[],
        )
        self.back_up()
        store = self.restore()
        self.assertEqual(self.report.held, 2)
        states = [(await store.queue.get_message(id=id)).recipients[0].state for id in ids]
        held_now, delivered = RecipientState.HELD, RecipientState.DELIVERED
        self.assertEqual(states, [held_now, held_now, delivered, held_now])
        due = store.connection().execute("SELECT count(*) FROM queue_domain").fetchone()
        self.assertEqual(due, (0,))
        await store.queue.order(order=Order.RELEASE, id=ids[0], now=now)
        (recipient,) = (await store.queue.get_message(id=ids[0])).recipients
        self.assertEqual(recipient.state, RecipientState.QUEUED)
        new = NewMessage(queue_envelope("eve@example.net"), now, now + 3600)
        (another,) = (await store.queue.enqueue(message=Spool.from_bytes(b"x"), new=[new])).ids
        self.assertGreater(int(another), int(ids[-1]) + 1)

    async def test_a_move_changes_nothing(self) -> None:
        store = await self.make_store()
        await self.add(store, 1, 2)
        new = NewMessage(queue_envelope("eve@example.net"), 0, int(time.time()) + 3600)
        (id,) = (await store.queue.enqueue(message=Spool.from_bytes(message(3)), new=[new])).ids
        info = await (await self.mailbox(store)).get_info()
        ids = await self.unique_ids(store)
        running = self.back_up()
        self.assertRaises(StoreUnavailable, restore_store, running, self.mktemp(), unchanged=True)
        await self.close_store(store)
        self.back_up()
        store = self.restore(unchanged=True)
        self.assertEqual((self.report.mailboxes, self.report.held), (0, 0))
        self.assertEqual(await (await self.mailbox(store)).get_info(), info)
        self.assertEqual(await self.unique_ids(store), ids)
        (recipient,) = (await store.queue.get_message(id=id)).recipients
        self.assertEqual(recipient.state, RecipientState.QUEUED)

    async def test_only_into_an_empty_directory(self) -> None:
        await self.make_store()
        self.back_up()
        error = self.assertRaises(StoreUnavailable, restore_store, self.destination, self.directory)
        self.assertIn("not empty", error.text)
        self.assertRaises(StoreUnavailable, restore_store, self.mktemp(), self.mktemp())

    async def test_one_that_was_not_finished_is_no_store(self) -> None:
        await self.make_store()
        self.back_up()
        self.directory = self.mktemp()
        self.patch(os, "unlink", self.fail_to_unlink)
        self.assertRaises(StoreUnavailable, restore_store, self.destination, self.directory)
        self.assertRaises(StoreUnavailable, SQLiteStore(self.directory).open)

    async def test_one_that_fails_leaves_the_directory_empty(self) -> None:
        store = await self.make_store()
        await self.add(store, 1)
        self.back_up()
        self.directory = self.mktemp()
        full = OSError(28, "No space left on device")
        for name in ("copy_tree", "write_snapshot", "sync_tree"):
            with mock.patch.object(restore, name, side_effect=full):
                error = self.assertRaises(
                    StoreUnavailable, restore_store, self.destination, self.directory
                )
            self.assertIn("No space left", error.text)
            self.assertEqual(os.listdir(self.directory), [])
        restore_store(self.destination, self.directory)
        self.assertEqual(await self.contents(self.open_store()), [message(1)])

    unlink = staticmethod(os.unlink)

    def fail_to_unlink(self, path: str, **options: Any) -> None:
        if os.path.basename(path) == MANIFEST_NAME:
            raise OSError(5, "Input/output error")
        self.unlink(path, **options)
