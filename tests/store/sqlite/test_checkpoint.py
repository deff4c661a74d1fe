"""The write-ahead log of the index begins anew, though commits come all the time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

from mailkit.errors import StoreUnavailable
from mailkit.store.sqlite.maintenance import Maintenance
from mailkit.store.sqlite.schema import INDEX_NAME

from .helpers import StoreTestCase, message

_PUT = "INSERT OR REPLACE INTO setting VALUES ('something', zeroblob(?))"
#: Octets of a page of the index.
_PAGE = 4096


class _Watched:
    """A connection; tells when its first statement is done."""

    def __init__(self, connection: sqlite3.Connection, done: Callable[[], object]) -> None:
        self._connection = connection
        self._done = done
        self._is_first = True

    def execute(self, sql: str) -> Any:
        cursor = self._connection.execute(sql)
        if self._is_first:
            self._is_first = False
            self._done()
        return cursor


class WriteAheadTestCase(StoreTestCase):
    def rounds(self) -> int:
        """How many times it has begun anew (SQLite's file format, section 4.1)."""
        with open(os.path.join(self.directory, f"{INDEX_NAME}-wal"), "rb") as file:
            return int.from_bytes(file.read(16)[12:], "big")


class CheckpointTests(WriteAheadTestCase):
    async def begins_anew(self, pages: int) -> bool:
        """Whether it does behind so many pages, when the first checkpoint cannot copy all of them."""
        core = (await self.make_store()).core
        writing, reading, checking = core.connect(), core.connect(), core.connect()
        writing.execute(_PUT, (pages * _PAGE,))
        before = self.rounds()
        # As with a commit in the midst of it: what comes next is not copied.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM setting").fetchone()
        writing.execute(_PUT, (1,))
        maintenance = Maintenance(core, core.writer)  # type: ignore[arg-type]
        maintenance._connection = _Watched(checking, reading.close)  # type: ignore[assignment]
        maintenance._checkpoint()
        writing.execute(_PUT, (2,))
        after = self.rounds()
        writing.close()
        checking.close()
        return after > before

    async def test_a_long_one(self) -> None:
        self.assertTrue(await self.begins_anew(1024))

    async def test_the_writer_does_not_wait_for_a_short_one(self) -> None:
        self.assertFalse(await self.begins_anew(10))


class BeginAnewTests(WriteAheadTestCase):
    """No change waits for the flush of a new write-ahead log's header."""

    async def test_after_a_checkpoint(self) -> None:
        store = await self.make_store()
        core = store.core
        await self.deliver(store, message(1))
        maintenance = Maintenance(core, core.writer)  # type: ignore[arg-type]
        self.addCleanup(maintenance._db.close)
        before, commits = self.rounds(), core.writer.commits
        maintenance._turn(False)
        after = self.rounds()
        self.assertGreater(after, before)
        self.assertEqual(core.writer.commits, commits)
        # That was no change, after which there would be something to do.
        maintenance._turn(False)
        self.assertEqual(self.rounds(), after)
        await self.deliver(store, message(2))
        self.assertEqual(self.rounds(), after)

    async def test_not_while_changes_come(self) -> None:
        store = await self.make_store()
        core = store.core
        await self.deliver(store, message(1))
        maintenance = Maintenance(core, core.writer)  # type: ignore[arg-type]
        self.addCleanup(maintenance._db.close)
        copy = maintenance._copy_pages

        def copy_pages() -> int:
            pages = copy()
            core.writer.commits += 1
            return pages

        maintenance._copy_pages = copy_pages  # type: ignore[method-assign]
        before = self.rounds()
        maintenance._turn(False)
        self.assertEqual(self.rounds(), before)


class _Failing:
    """A connection whose next statement of a kind fails as when the disk does."""

    def __init__(self, connection: Any, statement: str) -> None:
        self._connection = connection
        self._statement = statement

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if self._statement and sql.startswith(self._statement):
            self._statement = ""
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(sql, *values)


class FailedFlushTests(WriteAheadTestCase):
    """What a failed flush was for is not flushed by the next one, though that succeeds."""

    async def test_a_commit(self) -> None:
        store = await self.make_store()
        writer: Any = store.core.writer
        await self.deliver(store, message(1))
        before = self.rounds()
        writer._connection = _Failing(writer._connection, "COMMIT")
        with self.assertRaises(StoreUnavailable):
            await self.deliver(store, message(2))
        # As long as somebody reads, it cannot begin anew, and nothing is answered.
        writer._connection.execute("PRAGMA busy_timeout = 1")
        with closing(store.core.connect()) as reading:
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM message").fetchone()
            with self.assertRaises(StoreUnavailable):
                await self.deliver(store, message(3))
        self.assertEqual(self.rounds(), before)
        await self.deliver(store, message(4))
        after = self.rounds()
        self.assertGreater(after, before)
        await self.deliver(store, message(5))
        self.assertEqual(self.rounds(), after)
        left = [message(1), message(4), message(5)]
        self.assertEqual(await self.contents(store), left)

    async def test_a_checkpoint(self) -> None:
        store = await self.make_store()
        await self.deliver(store, message(1))
        before = self.rounds()
        maintenance = Maintenance(store.core, store.core.writer)  # type: ignore[arg-type]
        failing = _Failing(store.core.connect(), "PRAGMA main.wal_checkpoint")
        self.addCleanup(failing.close)
        maintenance._connection = failing  # type: ignore[assignment]
        self.assertRaises(sqlite3.OperationalError, maintenance._checkpoint)
        await self.deliver(store, message(2))
        self.assertGreater(self.rounds(), before)
