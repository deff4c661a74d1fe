"""Backups of a store that is in use, and what is in them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from unittest import mock

from mailkit.errors import StoreCorrupt, StoreUnavailable
from mailkit.model import FlagOp
from mailkit.store.sqlite import SQLiteDirectory, SQLiteStore, StoreSettings, backup
from mailkit.store.sqlite.backup import BackupReport, back_up
from mailkit.store.sqlite.check import check_store
from mailkit.store.sqlite.generations import UNFINISHED, find_generation, list_generations
from mailkit.store.sqlite.names import SEGMENTS, LockedNames
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.restore import restore_store
from mailkit.store.sqlite.segments import segment_name

from .helpers import ANN, StoreTestCase, message

#: Some segments, of which each has a few messages.
SMALL = StoreSettings(maintenance_interval=3600.0, ahead_delay=3600.0, segment_size=30_000)


class BackupTestCase(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.destination = self.mktemp()

    def back_up(self, keep: int = 1, now: float = 1e9, also: tuple[str, ...] = ()) -> BackupReport:
        return back_up(self.directory, self.destination, keep=keep, also=also, clock=lambda: now)

    async def restored(self, path: str | None = None) -> SQLiteStore:
        """A store made of the newest backup, in another directory."""
        self.directory = self.mktemp()
        restore_store(path or self.destination, self.directory, clock=lambda: 1e9)
        self.check()
        return self.open_store()

    async def filled(self, count: int = 20) -> tuple[SQLiteStore, list[bytes]]:
        store = await self.make_store(settings=SMALL)
        contents = [message(number, 9000) for number in range(count)]
        for content in contents:
            await self.deliver(store, content)
        return store, contents


class BackupTests(BackupTestCase):
    async def test_a_store_in_use(self) -> None:
        store, contents = await self.filled()
        report = self.back_up()
        self.assertEqual(check_store(report.path).problems, [])
        await self.deliver(store, message(99))
        self.assertEqual(await self.contents(await self.restored()), contents)

    async def test_only_what_is_new_is_copied_again(self) -> None:
        store, contents = await self.filled()
        first = self.back_up(keep=2)
        self.assertGreater(first.segments.files, 3)
        await self.deliver(store, message(99))
        second = self.back_up(keep=2)
        # The one that is written to, and perhaps a new one.
        self.assertLessEqual(second.segments.files, 2)
        self.assertGreaterEqual(second.segments.linked, first.segments.files - 1)
        for report, expected in ((first, contents), (second, [*contents, message(99)])):
            self.assertEqual(check_store(report.path).problems, [])
            self.assertEqual(await self.contents(await self.restored(report.path)), expected)

    async def test_what_was_copied_is_flushed_once_when_all_is_written(self) -> None:
        store, _ = await self.filled()
        homes = os.path.join(self.directory, "files")
        os.makedirs(os.path.join(homes, "ann"))
        for number in range(3):
            Path(homes, "ann", str(number)).write_text("file")
        flushed: list[str] = []
        written: list[int] = []
        real = os.fsync

        def flush(descriptor: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            flushed.append(path.partition(".partial/")[2])
            written.append(len(list(Path(path.partition(".partial")[0] + ".partial").rglob("*"))))
            real(descriptor)

        for again in (False, True):
            if again:
                await self.deliver(store, message(99))
            flushed.clear()
            written.clear()
            with mock.patch("os.fsync", flush):
                report = self.back_up(keep=2)
            files = [path for path in Path(report.path).rglob("*") if path.is_file()]
            copied = [path for path in files if path.stat().st_nlink == 1]
            # The manifest by who writes it, too.
            flushed.remove("backup.json")
            names = [str(path.relative_to(report.path)) for path in copied]
            self.assertEqual(sorted(set(flushed) & set(names)), sorted(names))
            linked = {str(path.relative_to(report.path)) for path in files} - set(names)
            self.assertEqual(set(flushed) & linked, set())
            for folder in ("log", "files", "files/ann", ""):
                self.assertEqual(flushed.count(folder), 1 + (not folder), folder)
            self.assertEqual(len(set(written[:-1])), 1)
        self.assertGreater(len(linked), 3)

    async def test_another_segment_of_the_same_number_is_copied(self) -> None:
        await self.filled()
        first = self.back_up()
        names = sorted(os.listdir(os.path.join(first.path, "log")))
        shutil.copy(
            os.path.join(first.path, "log", names[0]), os.path.join(first.path, "log", names[1])
        )
        second = self.back_up()
        self.assertEqual(check_store(second.path).problems, [])

    async def test_a_segment_of_the_same_size_with_another_end_is_copied(self) -> None:
        await self.filled()
        first = self.back_up()
        with open(os.path.join(first.path, "log", segment_name(1)), "r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        self.assertNotEqual(check_store(first.path).problems, [])
        second = self.back_up()
        self.assertEqual(check_store(second.path).problems, [])

    async def test_segments_stay_while_they_are_copied(self) -> None:
        store, contents = await self.filled()
        inbox = await self.mailbox(store)
        await inbox.store_flags(uids=range(1, 20), op=FlagOp.ADD, flags=frozenset({"\\Deleted"}))
        before = self.log_files()
        names = LockedNames(self.directory)
        self.addCleanup(names.close)
        release = names.try_lock(SEGMENTS)
        assert release is not None
        await inbox.expunge(uids=range(1, 20))
        await store.compact()
        self.assertLessEqual(set(before), set(self.log_files()))
        release()
        await store.compact()
        self.assertNotIn(before[0], self.log_files())
        self.assertEqual(await self.contents(store), contents[19:])
        self.check()

    async def test_a_backup_waits_for_a_compaction_that_is_at_work(self) -> None:
        await self.filled(3)
        names = LockedNames(self.directory)
        self.addCleanup(names.close)
        self.assertIsNotNone(names.try_lock(SEGMENTS))
        self.patch(backup, "PATIENCE", 0.0)
        error = self.assertRaises(StoreUnavailable, self.back_up)
        self.assertIn("is at work", error.text)
        names.close()
        self.back_up()

    async def test_what_comes_while_segments_are_copied_is_left_out(self) -> None:
        _, contents = await self.filled()
        original = backup._copy_segments
        inserted: list[int] = []

        def later(*arguments: object) -> None:
            with sqlite3.connect(os.path.join(self.directory, "index.sqlite")) as connection:
                # As the server would, through a connection of its own.
                connection.execute("UPDATE domain SET name = name")
            path = os.path.join(self.directory, "log", self.log_files()[-1])
            with open(path, "ab") as file:
                inserted.append(file.write(b"of a later transaction"))
            original(*arguments)  # type: ignore[arg-type]

        self.patch(backup, "_copy_segments", later)
        report = self.back_up()
        self.assertTrue(inserted)
        self.assertEqual(
            (check_store(report.path).problems, check_store(report.path).notes), ([], [])
        )
        self.assertEqual(await self.contents(await self.restored()), contents)

    async def test_a_backup_that_fails_leaves_the_one_before(self) -> None:
        store, contents = await self.filled()
        first = self.back_up()
        await self.deliver(store, message(99))
        full = OSError(28, "No space left on device")
        for name in ("copy_octets", "write_manifest", "sync_tree"):
            with mock.patch.object(backup, name, side_effect=full):
                error = self.assertRaises(StoreUnavailable, self.back_up)
            self.assertIn("No space left", error.text)
            self.assertEqual(os.listdir(self.destination), [os.path.basename(first.path)])
        self.assertEqual(await self.contents(await self.restored()), contents)

    async def test_a_killed_backup_is_told_to_be_none(self) -> None:
        await self.filled(3)
        self.patch(shutil, "rmtree", lambda *_, **__: None)
        with mock.patch.object(backup, "sync_tree", side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, self.back_up)
        (partial,) = os.listdir(self.destination)
        self.assertTrue(partial.endswith(UNFINISHED))
        self.assertEqual(list_generations(self.destination), [])
        for path in (self.destination, os.path.join(self.destination, partial)):
            self.assertRaises(StoreUnavailable, find_generation, path)

    async def test_what_a_killed_backup_left_is_removed(self) -> None:
        await self.filled(3)
        os.makedirs(os.path.join(self.destination, "000007-20200101T000000Z" + UNFINISHED, "log"))
        report = self.back_up()
        self.assertEqual(os.listdir(self.destination), [os.path.basename(report.path)])

    async def test_the_newest_are_kept(self) -> None:
        await self.filled(3)
        self.destination = os.path.realpath(self.destination)
        paths = [self.back_up(keep=3, now=now).path for now in (5e8, 4e8, 3e8, 2e8)]
        kept = [
            os.path.join(self.destination, name) for _, name in list_generations(self.destination)
        ]
        # By their numbers: a clock may be wrong.
        self.assertEqual(kept, paths[1:])
        self.assertEqual(find_generation(self.destination), paths[-1])
        self.assertEqual(len(self.back_up().removed), 3)

    async def test_a_missing_segment_replaces_no_backup(self) -> None:
        store, contents = await self.filled()
        self.back_up()
        await self.close_store(store)
        os.unlink(os.path.join(self.directory, "log", self.log_files()[0]))
        error = self.assertRaises(StoreCorrupt, self.back_up)
        self.assertIn("missing", error.text)
        self.assertEqual(await self.contents(await self.restored()), contents)

    async def test_a_destination_of_another_store(self) -> None:
        await self.filled(3)
        self.back_up()
        self.directory = self.mktemp()
        await self.make_store()
        error = self.assertRaises(StoreUnavailable, self.back_up)
        self.assertIn("of another store", error.text)
        self.assertRaises(StoreUnavailable, back_up, self.directory, self.directory + "/backup")
        self.assertRaises(StoreUnavailable, back_up, self.mktemp(), self.mktemp())

    async def test_other_files(self) -> None:
        await self.filled(3)
        home = os.path.join(self.directory, "files", ANN)
        os.makedirs(os.path.join(home, "empty"))
        keys = self.mktemp()
        os.mkdir(keys)
        for path in (os.path.join(home, "one"), os.path.join(home, "two"), keys + "/dkim.key"):
            with open(path, "w", encoding="ascii") as file:
                file.write(path)
        os.chmod(keys + "/dkim.key", 0o400)
        os.symlink("one", os.path.join(home, "link"))
        first = self.back_up(keep=2, also=(keys,))
        self.assertEqual((first.files.files, first.files.linked), (3, 0))
        with open(os.path.join(home, "two"), "a", encoding="ascii") as file:
            file.write("more")
        second = self.back_up(keep=2, also=(keys,))
        self.assertEqual((second.files.files, second.files.linked), (1, 2))
        key = os.path.join(second.path, "also", os.path.realpath(keys)[1:], "dkim.key")
        self.assertEqual(os.stat(key).st_mode & 0o777, 0o400)
        await self.restored()
        now = os.path.join(self.directory, "files", ANN)
        self.assertEqual(sorted(os.listdir(now)), ["empty", "link", "one", "two"])
        self.assertEqual(os.readlink(os.path.join(now, "link")), "one")
        with open(os.path.join(now, "two"), encoding="ascii") as file:
            self.assertTrue(file.read().endswith("more"))
        self.assertFalse(os.path.exists(os.path.join(self.directory, "also")))

    async def test_what_is_not_ours_stays_where_backups_are(self) -> None:
        await self.filled(3)
        os.makedirs(os.path.join(self.destination, "holiday.partial"))
        with open(os.path.join(self.destination, "film.partial"), "wb"):
            pass
        self.back_up()
        self.assertEqual(
            sorted(os.listdir(self.destination))[1:], ["film.partial", "holiday.partial"]
        )

    async def test_other_files_are_copied_once(self) -> None:
        await self.filled(3)
        outside = self.mktemp()
        os.makedirs(os.path.join(outside, "keys"))
        with open(os.path.join(outside, "keys", "one"), "wb") as file:
            file.write(b"x")
        notes = os.path.join(self.directory, "index.sqlite.notes")
        with open(notes, "wb") as file:
            file.write(b"y")
        for also in ((outside + "/keys", outside), (outside, outside + "/keys/")):
            report = self.back_up(keep=9, also=also)
            self.assertEqual(report.files.files + report.files.linked, 2)
        self.assertTrue(os.path.exists(os.path.join(report.path, "index.sqlite.notes")))
        self.destination = os.path.join(outside, "backups")
        error = self.assertRaises(StoreUnavailable, self.back_up, also=(outside,))
        self.assertIn("is inside", error.text)

    async def test_nothing_opens_a_backup_for_writing(self) -> None:
        await self.filled(3)
        path = self.back_up().path
        before = sorted(os.listdir(path))
        for opener in (
            lambda: SQLiteStore(path).open(),
            lambda: SQLiteDirectory(path),
            lambda: repair_store(path),
            lambda: back_up(path, self.mktemp()),
            lambda: restore_store(path, path),
        ):
            error = self.assertRaises(StoreUnavailable, opener)
            self.assertIn("is a backup", error.text)
        self.assertEqual(sorted(os.listdir(path)), before)

    async def test_a_file_system_without_links(self) -> None:
        await self.filled()
        first = self.back_up()
        with mock.patch("os.link", side_effect=PermissionError(1, "Operation not permitted")):
            second = self.back_up()
        self.assertEqual((second.segments.files, second.segments.linked), (first.segments.files, 0))
        self.assertEqual(check_store(second.path).problems, [])

    async def test_a_segment_that_grows_is_no_link(self) -> None:
        store, _ = await self.filled(1)
        first = self.back_up(keep=2)
        size = os.path.getsize(os.path.join(first.path, "log", segment_name(1)))
        await self.deliver(store, message(99))
        second = self.back_up(keep=2)
        self.assertEqual(os.path.getsize(os.path.join(first.path, "log", segment_name(1))), size)
        self.assertEqual(second.segments.linked, 0)
