"""What a failure of disk or index is called."""

from __future__ import annotations

import errno
import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import StoreFull, StoreUnavailable
from mailkit.store.sqlite.outage import refusal


class RefusalTests(SynchronousTestCase):
    def test_no_room(self) -> None:
        for error in (
            OSError(errno.ENOSPC, "No space left on device"),
            OSError(errno.EDQUOT, "Disk quota exceeded"),
            sqlite3.OperationalError("database or disk is full"),
        ):
            self.assertIs(type(refusal(error)), StoreFull, error)

    def test_sqlite_itself_says_so_in_these_words(self) -> None:
        connection = sqlite3.connect(":memory:")
        self.addCleanup(connection.close)
        connection.execute("PRAGMA max_page_count = 2")
        error = self.assertRaises(
            sqlite3.OperationalError,
            connection.executescript,
            "CREATE TABLE a (b); INSERT INTO a VALUES (zeroblob(100000))",
        )
        self.assertIs(type(refusal(error)), StoreFull)

    def test_other_failures(self) -> None:
        for error in (
            OSError(errno.EIO, "Input/output error"),
            sqlite3.OperationalError("disk I/O error"),
            sqlite3.DatabaseError("database disk image is malformed"),
            None,
        ):
            self.assertIs(type(refusal(error)), StoreUnavailable, error)
