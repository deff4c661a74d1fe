"""The write-ahead log of the index begins anew, though commits come all the time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any

from mailkit.store.sqlite.maintenance import Maintenance
from mailkit.store.sqlite.schema import INDEX_NAME

from .helpers import StoreTestCase

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


class CheckpointTests(StoreTestCase):
    def rounds(self) -> int:
        """How many times it has begun anew (SQLite's file format, section 4.1)."""
        with open(os.path.join(self.directory, f"{INDEX_NAME}-wal"), "rb") as file:
            return int.from_bytes(file.read(16)[12:], "big")

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
