"""Parts of a store that cannot be opened, or not be written: they are not damaged."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from unittest import mock

from twisted.logger import LogLevel, capturedLogs, formatEvent

from mailkit.errors import StoreUnavailable
from mailkit.store.sqlite import schema
from mailkit.store.sqlite.journal import journal_name, list_journals
from mailkit.store.sqlite.names import NAMES_DIRECTORY
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.schema import INDEX_NAME
from mailkit.store.sqlite.segments import segment_name
from mailkit.store.sqlite.snapshot import copy_tables, snapshot_name
from mailkit.store.sqlite.trees import sync_tree

from .helpers import StoreTestCase, message


@contextmanager
def closed(path: str) -> Iterator[None]:
    """Let a file be another user's, also for root."""
    real = os.open

    def refuse(opened: str, flags: int, *arguments: int) -> int:
        if opened == path:
            raise PermissionError(errno.EACCES, "Permission denied", opened)
        return real(opened, flags, *arguments)

    with mock.patch("os.open", refuse):
        yield


class ClosedFileTests(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory = os.path.abspath(self.directory)

    async def fill(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        await self.close_store(store)

    async def test_a_repair_does_not_take_it_for_damage(self) -> None:
        await self.fill()
        index = Path(self.directory, INDEX_NAME)
        copy = Path(self.directory, "log", snapshot_name(9))
        copy.write_bytes(b"")
        for path in (str(index), f"{index}-wal", f"{index}-shm", str(copy)):
            before = index.read_bytes()
            with closed(path):
                error = self.assertRaises(StoreUnavailable, repair_store, self.directory)
            self.assertEqual(error.text, f"Cannot open {path}: Permission denied")
            self.assertEqual(index.read_bytes(), before)
            self.assertFalse(Path(f"{index}.broken-1").exists())
        self.assertEqual(await self.contents(self.open_store()), [message(1)])

    async def test_a_repair_does_not_take_a_full_disk_for_damage(self) -> None:
        await self.fill()
        index = Path(self.directory, INDEX_NAME)
        with closing(sqlite3.connect(index)) as connection:
            # More than there is room for.
            connection.execute("UPDATE account SET password_hash = hex(randomblob(10000))")
            connection.commit()

        def copy(connection: sqlite3.Connection, *arguments: str) -> None:
            # To no more pages than it has; there is room for what is made without.
            connection.execute("PRAGMA main.max_page_count = 1")
            try:
                copy_tables(connection, *arguments)
            finally:
                connection.execute("PRAGMA main.max_page_count = 1000000")

        with mock.patch("mailkit.store.sqlite.repair.copy_tables", copy):
            error = self.assertRaises(StoreUnavailable, repair_store, self.directory)
        self.assertEqual(error.text, "The repair failed: database or disk is full")
        self.assertFalse(Path(f"{index}.broken-1").exists())
        report = repair_store(self.directory)
        self.assertIn("The index can be read; it is brought up to the end of the log", report.lines)

    async def test_a_repair_does_not_take_a_quota_for_damage(self) -> None:
        await self.fill()
        index = Path(self.directory, INDEX_NAME)
        # What SQLite makes of EDQUOT and EFBIG.
        error = sqlite3.OperationalError("disk I/O error")
        with mock.patch("mailkit.store.sqlite.repair.copy_tables", side_effect=error):
            told = self.assertRaises(StoreUnavailable, repair_store, self.directory)
        self.assertEqual(told.text, "The repair failed: disk I/O error")
        self.assertFalse(Path(f"{index}.broken-1").exists())
        report = repair_store(self.directory)
        self.assertIn("The index can be read; it is brought up to the end of the log", report.lines)

    async def test_a_repair_does_not_take_an_index_for_damaged_that_others_have(self) -> None:
        await self.fill()
        index = Path(self.directory, INDEX_NAME)
        self.patch(schema, "BUSY_TIMEOUT", 0)
        with closing(sqlite3.connect(index)) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("UPDATE account SET modseq = modseq")
            connection.commit()
            error = self.assertRaises(StoreUnavailable, repair_store, self.directory)
        self.assertEqual(error.text, "The repair failed: database is locked")
        self.assertFalse(Path(f"{index}.broken-1").exists())
        self.assertEqual(await self.contents(self.open_store()), [message(1)])

    async def test_a_store_tells_of_it_in_our_own_words(self) -> None:
        await self.fill()
        log = os.path.join(self.directory, "log")
        [journal] = list_journals(log)
        for path in (os.path.join(log, segment_name(1)), os.path.join(log, journal_name(journal))):
            with closed(path):
                error = self.assertRaises(StoreUnavailable, self.open_store)
            self.assertEqual(error.text, f"Cannot open {path}: Permission denied")
        self.assertEqual(await self.contents(self.open_store()), [message(1)])

    async def test_the_directory_of_locks_cannot_be_made(self) -> None:
        await self.fill()
        locks = Path(self.directory, NAMES_DIRECTORY)
        for path in locks.iterdir():
            path.unlink()
        locks.rmdir()
        locks.write_bytes(b"")
        error = self.assertRaises(StoreUnavailable, self.open_store)
        self.assertEqual(error.text, f"Cannot open {self.directory}: File exists")

    async def test_a_lock_that_cannot_be_written_is_not_kept(self) -> None:
        await self.fill()
        for name in ("pwrite", "ftruncate"):
            full = OSError(errno.ENOSPC, "No space left on device")
            with mock.patch(f"mailkit.store.sqlite.lock.os.{name}", side_effect=full):
                error = self.assertRaises(StoreUnavailable, self.open_store)
            self.assertIn("No space left on device", error.text)
            await self.close_store(self.open_store())

    async def test_a_guest_that_cannot_take_the_lock_goes_on(self) -> None:
        store, guest = await self.make_store(), self.open_store()
        with (
            mock.patch(
                "mailkit.store.sqlite.core.DirectoryLock", side_effect=OSError(5, "no disk")
            ),
            capturedLogs() as logged,
        ):
            self.assertEqual([guest.core.take_over() for _ in range(3)], [False] * 3)
        [told] = [formatEvent(event) for event in logged if event["log_level"] == LogLevel.error]
        self.assertIn("cannot be taken over: [Errno 5] no disk", told)
        await self.deliver(guest, message(1))
        self.assertEqual(await self.contents(store), [message(1)])


class SyncTests(StoreTestCase):
    def test_a_file_whose_names_were_not_counted_is_made_durable(self) -> None:
        os.mkdir(self.directory)
        path = Path(self.directory, "file")
        path.write_bytes(b"octets")
        found = list(os.lstat(path))
        for names, synced in ((0, 1), (1, 1), (2, 0)):
            found[3] = names
            with (
                mock.patch("os.lstat", return_value=os.stat_result(found)),
                mock.patch("mailkit.store.sqlite.trees.sync_file") as sync,
            ):
                sync_tree(self.directory)
            self.assertEqual(sync.call_count, synced)
