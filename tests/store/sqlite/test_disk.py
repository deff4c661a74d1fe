"""What the store does where the disk is nearly full: new messages leave room for what removes old ones."""

from __future__ import annotations

from types import SimpleNamespace
from unittest import mock

from mailkit.errors import StoreFull
from mailkit.model import FlagOp, LocalDelivery
from mailkit.queue.values import NewMessage, RecipientState, Report, Update
from mailkit.spool import Spool
from mailkit.store.sqlite import StoreSettings
from mailkit.store.sqlite.maintenance import Maintenance
from mailkit.testing.queue import queue_envelope

from .helpers import ANN, BOB, StoreTestCase, appended, message

RESERVE = 1_000_000
SETTINGS = StoreSettings(maintenance_interval=3600.0, ahead_delay=3600.0, min_free=RESERVE)


class DiskTests(StoreTestCase):
    def has_room_for(self, octets: int) -> None:
        """So much is free, besides the reserve."""
        disk = SimpleNamespace(f_bavail=RESERVE + octets, f_frsize=1, f_blocks=1)
        patcher = mock.patch("os.statvfs", return_value=disk)
        patcher.start()
        self.addCleanup(patcher.stop)

    async def test_new_messages_leave_room_for_changes(self) -> None:
        store = await self.make_store(ANN, BOB, settings=SETTINGS)
        await self.deliver(store, message(1))
        octets = message(2)
        self.has_room_for(-1)
        deliveries = [LocalDelivery(ANN), LocalDelivery(BOB)]
        results = await store.deliver(message=Spool.from_bytes(octets), deliveries=deliveries)
        self.assertEqual([type(each.error) for each in results], [StoreFull] * 2)
        inbox = await self.mailbox(store)
        with self.assertRaises(StoreFull):
            await inbox.append(messages=appended(octets))
        with self.assertRaises(StoreFull):
            [new] = appended(octets)
            await inbox.replace_message(uid=1, destination="INBOX", message=new)
        await inbox.store_flags(uids=[1], op=FlagOp.ADD, flags=frozenset({"\\Deleted"}))
        self.assertEqual(list(await inbox.expunge(uids=[1])), [1])
        self.has_room_for(10_000)
        self.assertEqual(await self.deliver(store, octets), [2])

    async def test_messages_of_one_step_share_the_room(self) -> None:
        store = await self.make_store(settings=SETTINGS)
        self.has_room_for(100_000)
        inbox = await self.mailbox(store)
        with self.assertRaises(StoreFull):
            await inbox.append(messages=appended(message(1, 60_000), message(2, 60_000)))
        await inbox.append(messages=appended(message(1, 60_000)))
        self.assertEqual(list(await inbox.list_uids()), [1])

    async def test_what_becomes_of_sent_mail_is_always_put_down(self) -> None:
        store = await self.make_store(settings=SETTINGS)
        new = NewMessage(queue_envelope("eve@example.net"), 0, 3600)
        spool = Spool.from_bytes(message(1))
        (id,) = (await store.queue.enqueue(message=spool, new=[new])).ids
        (recipient,) = (await store.queue.get_message(id=id)).recipients
        self.has_room_for(-1)
        with self.assertRaises(StoreFull):
            await store.queue.enqueue(message=Spool.from_bytes(message(2)), new=[new])
        update = Update(recipient.id, RecipientState.FAILED)
        report = Report(new, Spool.from_bytes(message(3)))
        await store.queue.record(updates=[update], reports=[report])
        self.assertEqual(len(await store.queue.list_messages()), 1)

    async def test_removing_gives_room(self) -> None:
        store = await self.make_store(
            settings=StoreSettings(maintenance_interval=0.01, min_free=RESERVE)
        )
        await self.deliver(store, message(1, 600_000))
        await self.deliver(store, message(2, 600_000))
        self.has_room_for(-1)
        inbox = await self.mailbox(store)
        await inbox.store_flags(uids=[1, 2], op=FlagOp.ADD, flags=frozenset({"\\Deleted"}))
        await inbox.expunge(uids=[1, 2])
        # Though the segment is far from full.
        await self.wait_until(lambda: "00000001.seg" not in self.log_files())

    async def test_a_file_system_that_does_not_count(self) -> None:
        store = await self.make_store(settings=SETTINGS)
        disk = SimpleNamespace(f_bavail=0, f_frsize=4096, f_blocks=0)
        with mock.patch("os.statvfs", return_value=disk):
            self.assertEqual(await self.deliver(store, message(1)), [1])

    async def test_what_puts_maintenance_off_is_told_once(self) -> None:
        store = await self.make_store(settings=StoreSettings(maintenance_interval=0.001))
        turns: list[bool] = []

        def turn(_: Maintenance, compact: bool) -> None:
            turns.append(compact)
            raise OSError("the disk is full")

        with (
            mock.patch.object(Maintenance, "_turn", turn),
            mock.patch.object(Maintenance, "log") as log,
        ):
            await self.wait_until(lambda: len(turns) >= 5)
        self.assertEqual(log.warn.call_count, 1)
        await self.close_store(store)
