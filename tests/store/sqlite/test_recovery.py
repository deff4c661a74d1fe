"""What a store makes of the state that a crash or a loss of power left behind."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import LogLevel, capturedLogs, formatEvent

from mailkit.errors import StoreCorrupt, StoreUnavailable
from mailkit.model import AppendMessage, FlagOp
from mailkit.store.sqlite import SQLiteDirectory, SQLiteStore, StoreSettings
from mailkit.store.sqlite.check import check_store
from mailkit.store.sqlite.core import Core
from mailkit.store.sqlite.lock import DirectoryLock
from mailkit.store.sqlite.marking import find_marking
from mailkit.store.sqlite.records import BODY, encode_header
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.schema import INDEX_NAME
from mailkit.store.sqlite.segments import SEGMENT_HEAD_SIZE, encode_head
from mailkit.store.sqlite.snapshot import snapshot_name

from .helpers import ANN, BOB, QUIET, StoreTestCase, appended, message

#: Segments roll over, large bodies are adopted, nothing is checkpointed.
SETTINGS = StoreSettings(
    maintenance_interval=3600.0,
    ahead_delay=3600.0,
    segment_size=30_000,
    large_body=20_000,
    spool_memory=5_000,
)


class Synced(NamedTuple):
    """What would survive a loss of power at some moment."""

    #: Octets of the write-ahead log when the last answer was given.
    wal: int
    #: Mailbox contents as answered.
    answered: list[list[bytes]]


@pytest.mark.slow
class PowerLossTests(StoreTestCase):
    timeout = 600

    def flush(self, descriptor: int) -> None:
        os.fdatasync(descriptor)
        status = os.fstat(descriptor)
        self.synced[status.st_ino] = status.st_size
        self.rooms[status.st_ino] = max(status.st_size, self.rooms.get(status.st_ino, 0))
        if self.running is not None:
            log = self.running.core.writer._tx.log
            if os.fstat(log._descriptor).st_ino == status.st_ino:
                # What is behind it is zeros, or not flushed yet.
                self.synced[status.st_ino] = log.size
        # No other batch begins before its log is flushed.
        batch = 0 if self.running is None else self.running.core.writer._tx.batch
        self.flushed[batch] = dict(self.synced)

    def path(self, *names: str) -> str:
        return os.path.join(self.directory, *names)

    def remember(self, answered: list[list[bytes]]) -> None:
        wal = os.path.getsize(self.path(INDEX_NAME + "-wal"))
        self.moments.append(Synced(wal, [list(contents) for contents in answered]))

    def flushed_at(self, wal: int, ahead: int) -> dict[int, int]:
        """Inode to the length at its last flush, so many batches after the last in the index."""
        directory = self.mktemp()
        os.mkdir(directory)
        self.copy_index(directory, wal)
        with closing(sqlite3.connect(os.path.join(directory, INDEX_NAME))) as connection:
            (batch,) = connection.execute("SELECT batch FROM log_state").fetchone()
        return self.flushed[max(each for each in self.flushed if each <= batch + ahead)]

    def copy_index(self, target: str, wal: int) -> None:
        shutil.copy(self.path(INDEX_NAME), target)
        shutil.copy(self.path(INDEX_NAME + "-wal"), target)
        os.truncate(os.path.join(target, INDEX_NAME + "-wal"), wal)

    async def run_scenario(self, store: SQLiteStore) -> None:
        """Change a store step by step, noting after each answer what must survive."""
        ann, bob = await self.mailbox(store, ANN), await self.mailbox(store, BOB)
        state: list[list[bytes]] = [[], []]
        self.remember(state)
        for step in range(12):
            contents = [message(step * 10 + number, 700) for number in range(5)]
            await gatherResults(
                [Deferred.fromCoroutine(self.deliver(store, c, ANN, BOB)) for c in contents]
            )
            for mailbox in state:
                mailbox.extend(contents)
            self.remember(state)
            await bob.append(messages=appended(message(step + 1000), message(step + 2000)))
            state[1] += [message(step + 1000), message(step + 2000)]
            self.remember(state)
            uids = list(await ann.list_uids())[:2]
            await ann.expunge(uids=uids)
            del state[0][:2]
            self.remember(state)
            await bob.store_flags(uids=[1, 3], op=FlagOp.ADD, flags=frozenset({f"step{step}"}))
            await bob.copy_messages(uids=[1], destination="INBOX")
            state[1].append(state[1][0])
            self.remember(state)
            if step % 4 == 3:
                spool = store.new_spool()
                spool.write(message(step + 5000, 40_000))
                await ann.append(messages=[AppendMessage(spool)])
                state[0].append(message(step + 5000, 40_000))
                self.remember(state)

    def cut(
        self, target: str, wal: int, files: dict[int, int], more: bool, dice: random.Random
    ) -> None:
        """Make the directory as it is found when the power comes back.

        :param more: there may be some of what was written to the log after these lengths.
        """
        os.makedirs(os.path.join(target, "log"))
        self.copy_index(target, wal)
        for name in os.listdir(self.path("log")):
            source = self.path("log", name)
            inode, size = os.stat(source).st_ino, os.path.getsize(source)
            if name.endswith(".notes"):
                # Never flushed: any of it may be there.
                keep = dice.randrange(size + 1)
            elif inode in files:
                # What was not flushed may be there in part, or as zeros.
                keep = files[inode] + dice.choice([0, dice.randrange(200)]) * more
            else:
                continue
            copy = os.path.join(target, "log", name)
            shutil.copy(source, copy)
            os.truncate(copy, min(keep, size))
            if dice.random() < 0.3 and not name.endswith(".notes"):
                with open(copy, "ab") as file:
                    file.write(bytes(dice.randrange(300)))
            elif dice.random() < 0.8 and not name.endswith(".notes"):
                # The room ahead is there, whatever has come of what was written to it.
                os.truncate(copy, max(os.path.getsize(copy), self.rooms[inode]))

    async def test_any_moment(self) -> None:
        self.synced: dict[int, int] = {}
        #: Inode to the octets that the file has had, with those that wait to be overwritten.
        self.rooms: dict[int, int] = {}
        # By the batch in which the log was flushed.
        self.flushed: dict[int, dict[int, int]] = {0: {}}
        self.moments: list[Synced] = []
        self.running: Any = None
        store = await self.make_store(ANN, BOB, settings=SETTINGS, flush=self.flush)
        self.running = store
        await self.run_scenario(store)
        dice = random.Random(99)
        original = self.directory
        cuts: list[tuple[int, int, int]] = []
        for number, moment in enumerate(self.moments):
            cuts.append((number, moment.wal, 0))
            if number + 1 < len(self.moments):
                after = self.moments[number + 1]
                # The log of the next batch is flushed, its commit is torn; the one behind it has
                # not begun.
                torn = dice.randrange(moment.wal, after.wal)
                cuts.append((number, torn, 1))
                # The other way round: its commit is flushed, its part of the log is torn.
                cuts.append((number, after.wal, -1))
        for turn, (number, wal, ahead) in enumerate(dice.sample(cuts, 80)):
            target = os.path.join(self.mktemp(), str(turn))
            self.directory = original
            self.cut(target, wal, self.flushed_at(wal, ahead), ahead < 1, dice)
            self.directory = target
            again = self.open_store(QUIET)
            found = [await self.contents(again, name) for name in (ANN, BOB)]
            await self.close_store(again)
            allowed = [self.moments[number].answered]
            if number + 1 < len(self.moments):
                # A transaction that was torn behind its end counts; batches end between moments.
                allowed.append(self.moments[number + 1].answered)
            self.assertTrue(
                found in allowed or self.is_between(found, *allowed), f"cut {turn} at {number}"
            )
            self.check()
        self.directory = original

    def is_between(
        self, found: list[list[bytes]], before: list[list[bytes]], after: list[list[bytes]]
    ) -> bool:
        """Some of a step's transactions are there: everything answered, and only whole messages."""
        return all(
            [item for item in now if item in old] in (old, now) and set(now) <= set(old) | set(new)
            for now, old, new in zip(found, before, after, strict=True)
        )


class OpeningTests(StoreTestCase):
    def segment(self, number: int) -> str:
        return os.path.join(self.directory, "log", f"{number:08x}.seg")

    def marker(self) -> bytes:
        return find_marking(os.path.join(self.directory, "log")).marker

    def stray_record(self, batch: int) -> bytes:
        body = b"stray"
        marker = self.marker()
        return encode_header(1, b"[]", len(body), 0, 10**6, batch, marker) + b"[]" + body

    async def test_the_rest_of_an_unfinished_batch_is_cut_off(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        (batch,) = store.connection().execute("SELECT batch FROM log_state").fetchone()
        await self.close_store(store)
        size = os.path.getsize(self.segment(1))
        for rest in (self.stray_record(batch + 1), self.stray_record(batch + 1)[:30], bytes(99)):
            with open(self.segment(1), "ab") as file:
                file.write(rest)
            with open(self.segment(9), "wb") as file:
                file.write(encode_head(SEGMENT_HEAD_SIZE, self.marker()) + rest)
            report = check_store(self.directory)
            self.assertEqual((report.problems, len(report.notes)), ([], 2))
            store = self.open_store()
            self.assertEqual(os.path.getsize(self.segment(1)), size)
            self.assertFalse(os.path.exists(self.segment(9)))
            self.assertEqual(await self.contents(store), [message(1)])
            await self.close_store(store)

    async def test_an_index_older_than_the_log_is_refused_and_nothing_is_cut(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        await self.close_store(store)
        index = os.path.join(self.directory, INDEX_NAME)
        shutil.copy(index, index + ".backup")
        store = self.open_store()
        for number in range(2, 5):
            await self.deliver(store, message(number))
        await self.close_store(store)
        size = os.path.getsize(self.segment(1))
        os.replace(index + ".backup", index)
        error = self.assertRaises(StoreCorrupt, self.open_store)
        self.assertIn("mailkit repair", error.text)
        self.assertEqual(os.path.getsize(self.segment(1)), size)

    async def test_whatever_file_of_the_log_is_newer_than_the_index(self) -> None:
        # Two transactions more are enough, and they may be in a segment that the index lacks.
        for settings, number in ((QUIET, 1), (SETTINGS, 2)):
            self.directory = self.mktemp()
            store = await self.make_store(settings=settings)
            await self.deliver(store, message(1, 29_000))
            await self.close_store(store)
            index = os.path.join(self.directory, INDEX_NAME)
            shutil.copy(index, index + ".backup")
            store = self.open_store(settings)
            for each in (2, 3):
                await self.deliver(store, message(each, 10_000))
            await self.close_store(store)
            size = os.path.getsize(self.segment(number))
            os.replace(index + ".backup", index)
            error = self.assertRaises(StoreCorrupt, self.open_store)
            self.assertEqual(os.path.getsize(self.segment(number)), size)
            # A store that no server opens is not whole.
            self.assertIn(error.text, check_store(self.directory).problems)

    async def test_the_number_of_a_lost_segment_is_not_given_again(self) -> None:
        # Or the index would find new mail where it looks for the old.
        store = await self.make_store(settings=SETTINGS)
        for number in (1, 2):
            await self.deliver(store, message(number, 25_000))
        await self.close_store(store)
        os.unlink(self.segment(2))
        store = self.open_store(SETTINGS)
        self.assertEqual(await self.deliver(store, message(3, 25_000)), [3])
        self.assertFalse(os.path.exists(self.segment(2)))
        inbox = await self.mailbox(store)
        self.assertEqual(await self.read(inbox, 3), message(3, 25_000))

    async def test_an_older_index_does_not_cost_what_was_moved(self) -> None:
        settings = replace(SETTINGS, segment_size=200_000, large_body=200_000)
        store = await self.make_store(settings=settings)
        for number in range(1, 8):
            await self.deliver(store, message(number, 70_000))
        await (await self.mailbox(store)).expunge(uids=[1])
        await self.close_store(store)
        index = os.path.join(self.directory, INDEX_NAME)
        shutil.copy(index, index + ".backup")
        # No mail comes, but the compaction puts what there is elsewhere.
        store = self.open_store(settings)
        await store.compact()
        await self.close_store(store)
        self.assertNotIn("00000001.seg", self.log_files())
        files = self.log_files()
        os.replace(index + ".backup", index)
        await self.close_store(self.open_store(settings))
        self.assertEqual(self.log_files(), files)
        repair_store(self.directory)
        left = await self.contents(self.open_store(settings))
        self.assertTrue(left == [message(number, 70_000) for number in range(2, 8)])

    async def test_nothing_gets_the_numbers_of_what_is_left_behind_the_end_of_the_index(
        self,
    ) -> None:
        settings = replace(SETTINGS, segment_size=200_000, large_body=200_000)
        for size, segments in ((1_000, 3), (100_000, 4)):
            # Behind the end of the segment, or in one that the index does not know.
            self.directory = self.mktemp()
            store = await self.make_store(ANN, BOB, settings=settings)
            for number in range(1, 7):
                await self.deliver(store, message(number, 70_000), ANN)
            await self.close_store(store)
            index = os.path.join(self.directory, INDEX_NAME)
            shutil.copy(index, index + ".backup")
            store = self.open_store(settings)
            await self.deliver(store, message(100, size), ANN)
            await self.close_store(store)
            self.assertEqual(len(self.log_files()), segments)
            # It came to the log, and not to the index.
            os.replace(index + ".backup", index)
            os.unlink(self.segment(1))
            store = self.open_store(settings)
            await self.deliver(store, message(200), BOB)
            await self.deliver(store, message(300), ANN)
            await self.close_store(store)
            os.unlink(index)
            repair_store(self.directory)
            store = self.open_store(settings)
            self.assertTrue(await self.contents(store, BOB) == [message(200)])
            found = await self.contents(store, ANN)
            self.assertFalse(message(200) in found)
            self.assertTrue(message(300) in found)
            await self.close_store(store)

    async def test_what_a_sender_has_made_is_not_passed_over(self) -> None:
        settings = replace(SETTINGS, segment_size=200_000, large_body=200_000)
        store = await self.make_store(ANN, BOB, settings=settings)
        box = (await self.mailbox(store, BOB))._id
        for number in range(1, 7):
            await self.deliver(store, message(number, 70_000), ANN)
        await self.close_store(store)
        os.unlink(self.segment(1))
        last = json.dumps([[box, 2**32 - 2]]).encode()
        torn = encode_header(BODY, b"[]", 100_000, 0, 9, 1) + b"[]"
        expected = []
        for number, (before, meta, lsn) in enumerate(
            (
                (torn, last, 1_000),
                (b"", last, 2**63 - 1),
                (b"", last, 2**64 - 1),
                (b"", json.dumps([[box, 2**63]]).encode(), 1_000),
                (b"", json.dumps([[box, "2"]]).encode(), 1_001),
                (b"", b"[1]", 1_002),
                (b"", b"{", 1_003),
            )
        ):
            with open(os.path.join(self.directory, "log", self.log_files()[-1]), "ab") as file:
                file.write(before + encode_header(BODY, meta, 6, 0, lsn, 1) + meta + b"forged")
            store = self.open_store(settings)
            expected.append(message(number))
            await self.deliver(store, message(number), BOB)
            mailbox = await self.mailbox(store, BOB)
            self.assertEqual((await mailbox.get_info()).uid_next, number + 2)
            self.assertEqual(await self.contents(store, BOB), expected)
            await self.close_store(store)

    async def test_a_copy_of_a_lost_index_is_not_passed_over(self) -> None:
        store = await self.make_store()
        await self.close_store(store)
        log = os.path.join(self.directory, "log")
        os.rename(os.path.join(self.directory, INDEX_NAME), os.path.join(log, snapshot_name(1)))
        self.assertRaises(StoreCorrupt, self.open_store)

    async def test_a_log_without_an_index_is_refused(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        await self.close_store(store)
        os.unlink(os.path.join(self.directory, INDEX_NAME))
        self.assertRaises(StoreCorrupt, self.open_store)
        self.assertRaises(StoreCorrupt, SQLiteDirectory, self.directory)
        self.assertFalse(os.path.exists(os.path.join(self.directory, INDEX_NAME)))

    async def test_a_log_with_an_empty_index_is_refused(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        await self.close_store(store)
        index = os.path.join(self.directory, INDEX_NAME)
        os.truncate(index, 0)
        self.assertRaises(StoreCorrupt, self.open_store)
        self.assertRaises(StoreCorrupt, SQLiteDirectory, self.directory)
        # No account was made in it that the repair would take for all there were.
        self.assertEqual(os.path.getsize(index), 0)

    async def test_a_damaged_index_is_told_of_in_our_own_words(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        await self.close_store(store)
        index = os.path.join(self.directory, INDEX_NAME)
        with closing(sqlite3.connect(index)) as connection:
            roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master"))
        octets = Path(index).read_bytes()
        made: list[sqlite3.Connection] = []
        connect = Core.connect

        def remember(core: Core) -> sqlite3.Connection:
            made.append(connect(core))
            return made[-1]

        self.patch(Core, "connect", remember)
        # What the writer reads first, and what is read for clients.
        for table in ("log_state", "message"):
            spoiled = bytearray(octets)
            start = (roots[table] - 1) * 4096
            spoiled[start : start + 4096] = bytes(4096)
            Path(index).write_bytes(spoiled)
            error = self.assertRaises(StoreCorrupt, self.open_store)
            self.assertIn("mailkit repair", error.text)
            # Nor is the store held any more.
            DirectoryLock(self.directory).release()
        self.assertTrue(made)
        for connection in made:
            self.assertRaises(sqlite3.ProgrammingError, connection.execute, "SELECT 1")
        Path(index).write_bytes(octets)
        self.assertEqual(await self.contents(self.open_store()), [message(1)])

    async def test_a_directory_that_cannot_be_written_is_told_of_in_our_own_words(self) -> None:
        store = await self.make_store()
        await self.close_store(store)
        lock = Path(self.directory, "lock")
        lock.unlink()
        lock.mkdir()
        self.assertRaises(StoreUnavailable, self.open_store)
        self.assertRaises(StoreUnavailable, repair_store, self.directory)
        lock.rmdir()
        refusal = OSError(errno.EROFS, "Read-only file system")
        with mock.patch("tempfile.mkdtemp", side_effect=refusal):
            error = self.assertRaises(StoreUnavailable, self.open_store)
        self.assertIn("Read-only file system", error.text)
        self.open_store()

    async def test_lost_segments_are_told_of_at_the_start(self) -> None:
        store = await self.make_store(settings=SETTINGS)
        for number in (1, 2, 3):
            await self.deliver(store, message(number, 25_000))
        await self.close_store(store)
        os.unlink(self.segment(1))
        os.truncate(self.segment(2), 100)
        with capturedLogs() as logged:
            store = self.open_store(SETTINGS)
        [told] = [formatEvent(event) for event in logged if event["log_level"] == LogLevel.error]
        self.assertIn(
            f"2 segments of the log are missing, or shorter than the index says, {os.path.abspath(self.segment(1))} first",
            told,
        )

    async def test_a_segment_that_is_missing_or_too_short(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        await self.deliver(store, message(2))
        await self.close_store(store)
        os.truncate(self.segment(1), os.path.getsize(self.segment(1)) - 5)
        store = self.open_store()
        size = os.path.getsize(self.segment(1))
        self.assertEqual(await self.deliver(store, message(3)), [3])
        # It is left as it is, to be looked at.
        self.assertEqual(os.path.getsize(self.segment(1)), size)
        inbox = await self.mailbox(store)
        self.assertEqual(await self.read(inbox, 1), message(1))
        with self.assertRaises(StoreCorrupt):
            await self.read(inbox, 2)
        self.assertEqual(await self.read(inbox, 3), message(3))
        await self.close_store(store)
        self.assertEqual(len(check_store(self.directory).problems), 1)
