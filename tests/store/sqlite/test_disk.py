"""What the store does where the disk is nearly full: new messages leave room for what removes old ones."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import cast
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mailkit.errors import StoreFull, StoreUnavailable
from mailkit.model import FlagOp, LocalDelivery
from mailkit.queue.values import NewMessage, RecipientState, Report, Update
from mailkit.spool import Spool
from mailkit.store.sqlite import StoreSettings
from mailkit.store.sqlite.maintenance import Maintenance
from mailkit.store.sqlite.troubles import CALM, TELL_INTERVAL
from mailkit.store.sqlite.writer import Writer
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

    async def test_removing_gives_room_for_a_large_message(self) -> None:
        store = await self.make_store(
            settings=StoreSettings(maintenance_interval=0.01, min_free=RESERVE)
        )
        for number in range(3):
            await self.deliver(store, message(number, 600_000))
        inbox = await self.mailbox(store)
        await inbox.store_flags(uids=[1, 2, 3], op=FlagOp.ADD, flags=frozenset({"\\Deleted"}))
        await inbox.expunge(uids=[1, 2, 3])
        self.has_room_for(100_000)
        await self.deliver(store, message(4, 50_000))
        self.assertIn("00000001.seg", self.log_files())
        with self.assertRaises(StoreFull):
            await self.deliver(store, message(5, 600_000))
        await self.wait_until(lambda: "00000001.seg" not in self.log_files())

    async def test_a_full_disk_is_logged_once_and_so_is_its_end(self) -> None:
        now = [0.0]
        store = await self.make_store(settings=SETTINGS)
        writer = cast(Writer, store.core.writer)
        lines = self.capture_log()
        for trouble in (writer._full, writer._unwritable):
            self.patch(trouble, "_clock", lambda: now[0])
        self.has_room_for(10_000)
        for _ in range(5):
            with self.assertRaises(StoreFull):
                await self.deliver(store, message(1, 20_000))
            await self.deliver(store, message(1))
        self.assertEqual(
            lines,
            [
                f"the disk of {store.directory} is full: 1010000 octets are free, of"
                " which 1000000 are for what removes mail; new mail is refused for now (1 times)"
            ],
        )
        now[0] = TELL_INTERVAL
        with self.assertRaises(StoreFull):
            await self.deliver(store, message(1, 20_000))
        self.assertIn("(5 times)", lines.pop())
        now[0] += CALM
        await self.deliver(store, message(1))
        self.assertEqual(
            lines.pop(),
            f"new mail is taken again in {store.directory}; 1010000 octets of its disk are free",
        )

    async def test_a_disk_that_cannot_be_written_is_logged_once_and_so_is_its_end(self) -> None:
        now = [0.0]
        failure: list[int] = []

        def flush(descriptor: int) -> None:
            if failure:
                raise OSError(failure[0], os.strerror(failure[0]))

        store = await self.make_store(settings=SETTINGS, flush=flush)
        trouble = cast(Writer, store.core.writer)._unwritable
        self.patch(trouble, "_clock", lambda: now[0])
        lines = self.capture_log()
        for number, kind in (
            (errno.ENOSPC, StoreFull),
            (errno.EDQUOT, StoreFull),
            (errno.EROFS, StoreUnavailable),
            (errno.EIO, StoreUnavailable),
        ):
            failure[:] = [number]
            for _ in range(3):
                error = await self.assertFailure(
                    Deferred.fromCoroutine(self.deliver(store, message(1))), StoreUnavailable
                )
                self.assertIs(type(error), kind)
            (line,) = lines
            self.assertIn(os.strerror(number), line)
            lines.clear()
            failure.clear()
            self.assertEqual(len(await self.deliver(store, message(2))), 1)
            self.assertEqual(lines, [])
            now[0] += CALM
            await self.deliver(store, message(2))
            self.assertIn("is written again", lines.pop())
        await self.close_store(store)
        self.check()

    def capture_log(self) -> list[str]:
        """What the writer logs from now on."""
        lines: list[str] = []

        def observe(event: LogEvent) -> None:
            if event["log_namespace"].endswith("Writer"):
                lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return lines

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
