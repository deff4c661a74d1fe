"""The thread that keeps a store in shape: checkpoints, freed space, and word of others' changes.

It reads with a connection of its own and changes nothing but through the writer.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from concurrent.futures import Future
from contextlib import closing, suppress
from typing import TYPE_CHECKING, TypeVar

from twisted.logger import Logger

from mailkit._typing import override
from mailkit.errors import MailError, StoreCorrupt, StoreUnavailable
from mailkit.store.sqlite.access import digest_of_shared
from mailkit.store.sqlite.compact import (
    MAX_VANISHED_ROWS,
    DropSegments,
    MoveBodies,
    PruneVanished,
    Seal,
    SweepBodies,
    SweepMailbox,
    find_garbage,
    live_records,
)
from mailkit.store.sqlite.disk import free_octets
from mailkit.store.sqlite.ends import look_at_ends
from mailkit.store.sqlite.journal import journal_name
from mailkit.store.sqlite.names import SEGMENTS, LockedNames
from mailkit.store.sqlite.outage import is_unsure
from mailkit.store.sqlite.recent import SETTLED, last_change
from mailkit.store.sqlite.segments import SEGMENT_HEAD_SIZE, segment_name
from mailkit.store.sqlite.snapshot import RotateJournal, write_snapshot
from mailkit.store.sqlite.transaction import DIRECTORY, SHARED, Transaction
from mailkit.store.sqlite.troubles import TELL_INTERVAL
from mailkit.store.sqlite.writer import Operation, Writer

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

T = TypeVar("T")

#: Pages of the write-ahead log above which the writer waits a moment for the last ones to be
#: copied, so that the log can begin anew. What is written over is flushed in a third of the time
#: that a file takes which grows.
MAX_WAL_PAGES = 1024
#: Seconds between two looks for mailboxes with too much history.
_PRUNE_INTERVAL = 3600.0
#: Share of garbage above which ``compact`` moves what is left of a segment.
COMPACT_RATIO = 0.05


# Setting: how often the write-ahead log has begun anew without a change of the store.
_ROUNDS = "wal_rounds"
#: Free pages of the index below which it is left as it is.
MIN_FREE_PAGES = 1000
#: Octets of garbage for which a segment is ended before its time where there is no room for mail.
MIN_GARBAGE = 1024 * 1024


class _Stopped(StoreUnavailable):
    """The store is being closed."""


class BeginAnew(Operation[None]):
    """Let the write-ahead log, all of which is copied, begin anew.

    Its header is flushed before anything else is written to it, and then what is written: who makes
    the first change waits for two flushes, with which nobody need wait.
    """

    __slots__ = ()

    losable = True
    idle = True

    @override
    def run(self, tx: Transaction) -> None:
        # What stays the same is not written.
        tx.connection.execute(
            "INSERT INTO setting VALUES (?, 1) ON CONFLICT DO UPDATE SET value = value + 1",
            (_ROUNDS,),
        )


class Maintenance:
    """Runs in a thread from :meth:`start` to :meth:`stop`."""

    log = Logger()

    def __init__(self, core: Core, writer: Writer) -> None:
        self._core = core
        self._writer = writer
        self._connection: sqlite3.Connection | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._requests: list[Future[None]] = []
        self._commits = -1
        # How many transactions there were when all of the write-ahead log was last copied.
        self._copied = -1
        self._pruned = time.monotonic()
        # When another process changed the directory, as far as that was told.
        self._changed = last_change(core.directory)
        # What others could see at the last such change; None before the first.
        self._shared: int | None = None
        #: What puts it off, and when that was told.
        self._trouble = ""
        self._told = 0.0
        # Segments with damage: what can be read stays where it is.
        self._damaged: set[int] = set()
        self._thread = threading.Thread(target=self._loop, name="mailkit-maintenance", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def request_compaction(self) -> Future[None]:
        """Give back all space that can be given back."""
        future: Future[None] = Future()
        self._requests.append(future)
        self._wake.set()
        return future

    def stop(self) -> None:
        """Tell the thread to end; the writer must still be at work."""
        self._stopping = True
        self._wake.set()

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()

    # The thread.

    def _tell(self, trouble: str) -> None:
        """Log what puts it off, not each second anew."""
        now = time.monotonic()
        if trouble != self._trouble or now - self._told >= TELL_INTERVAL:
            self._trouble, self._told = trouble, now
            self.log.warn("maintenance of the store was put off: {error}", error=trouble)

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._core.connect()
        return self._connection

    def _loop(self) -> None:
        while not self._stopping:
            self._wake.wait(self._core.settings.maintenance_interval)
            self._wake.clear()
            requests, self._requests = self._requests, []
            try:
                self.look_at_directory()
                self._turn(bool(requests))
            except _Stopped as error:
                self._answer(requests, error)
            except (sqlite3.Error, OSError, MailError) as error:
                self._tell(str(error))
                self._answer(requests, error)
            except Exception as error:
                # A bug: whoever waits hears of it, and the thread lives on for the next turn.
                self.log.failure("maintenance of the store failed")
                self._answer(requests, error)
            else:
                self._trouble = ""
                self._answer(requests, None)
        self._answer(self._requests, _Stopped())
        if self._connection is not None:
            self._connection.close()

    @staticmethod
    def _answer(requests: list[Future[None]], error: Exception | None) -> None:
        for future in requests:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def look_at_directory(self) -> None:
        """Tell those who watch names when a command beside the server has changed what others see.

        It may have given or taken rights, or removed an account with what others have seen of it.
        Each session with NOTIFY lists its mailboxes then: not for a new password.
        """
        changed = last_change(self._core.directory)
        if changed == self._changed or self._stopping:
            return
        now = time.time()
        shared = digest_of_shared(self._db)
        if not 0 <= now - changed <= SETTLED:
            # Not before: the change may be at work still, and end within the same tick.
            self._changed = changed
        if shared != self._shared:
            self._shared = shared
            self._writer.tell({DIRECTORY, SHARED})

    def _turn(self, all_of_it: bool) -> None:
        commits = self._writer.commits
        if commits == self._commits and not all_of_it:
            return
        self._checkpoint()
        self._sync_journal()
        self._free(all_of_it)
        self._look_at_ends(all_of_it)
        if all_of_it or time.monotonic() > self._pruned + _PRUNE_INTERVAL:
            self._pruned = time.monotonic()
            self._prune()
            self._vacuum(all_of_it)
        self._copy_index(all_of_it)
        if self._writer.commits != commits:
            self._checkpoint()
        if self._copied == self._writer.commits and not self._stopping:
            self._writer.submit_soon(BeginAnew()).result()
        # Not the number now: somebody else's commits in between are looked at next time.
        self._commits = commits

    def _do(self, operation: Operation[T], durable: bool = False) -> T:
        """Let the writer do something, between other things, and wait for it."""
        if self._stopping:
            raise _Stopped
        return self._writer.submit_future(operation, durable).result()

    def _checkpoint(self) -> None:
        """Copy what was committed from the write-ahead log to the index."""
        if self._copy_pages() > MAX_WAL_PAGES:
            # The log begins anew only when all of it is copied; under load that never happens by
            # itself. What came since is little, and copied quickly.
            with self._writer.gate:
                self._copy_pages()

    def _copy_pages(self) -> int:
        """Copy what no reader is in the way of; gives the pages of the write-ahead log."""
        commits = self._writer.commits
        try:
            row = self._db.execute("PRAGMA main.wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            if is_unsure(error):
                self._writer.doubt()
            raise
        pages, copied = int(row[1]), int(row[2])
        if copied == pages:
            self._copied = commits
        return pages

    def _sync_journal(self) -> None:
        """Make the journal durable; it is not flushed with the transactions."""
        number = self._one("SELECT journal FROM log_state")
        with suppress(FileNotFoundError):
            path = os.path.join(self._core.log_directory, journal_name(number))
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _free(self, all_of_it: bool) -> None:
        """Remove what was deleted, move what is in the way, drop segments."""
        while self._exists("SELECT 1 FROM doomed_mailbox") and self._do(SweepMailbox()):
            pass
        while self._exists("SELECT 1 FROM body WHERE refs = 0") and self._do(SweepBodies()):
            pass
        if all_of_it or self._wants_room():
            self._do(Seal(), durable=True)
        ratio = COMPACT_RATIO if all_of_it else self._core.settings.garbage_ratio
        current = self._one("SELECT segment FROM log_state")
        for segment, size in find_garbage(self._db, ratio, current):
            if segment not in self._damaged:
                self._move(segment, size, all_of_it)
        empty = "SELECT 1 FROM segment WHERE dead + ? >= size AND id <> ?"
        if self._exists(empty, SEGMENT_HEAD_SIZE, current):
            self._drop()

    def _drop(self) -> None:
        """Drop segments in which nothing lives, unless a backup is at work."""
        with closing(LockedNames(self._core.directory)) as names:
            if names.try_lock(SEGMENTS) is None:
                return
            # Durable: the files must not go before the index has let go of them for good.
            for segment in self._do(DropSegments(), durable=True):
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._core.log_directory, segment_name(segment)))
                self._core.bodies.forget(segment)

    def _wants_room(self) -> bool:
        """Whether there is no room for mail, and the segment that is written to is in the way."""
        settings = self._core.settings
        return (
            self._exists(
                "SELECT 1 FROM segment WHERE id = (SELECT segment FROM log_state)"
                " AND dead >= ? AND dead >= size * ?",
                MIN_GARBAGE,
                settings.garbage_ratio,
            )
            # A large message lacks room before there is none.
            and (
                self._writer.lacks_room or free_octets(self._core.log_directory) < settings.min_free
            )
        )

    def _look_at_ends(self, all_of_it: bool) -> None:
        """Note how some older bodies end, where that is not known."""
        while operation := look_at_ends(self._db, self._core.bodies):
            self._do(operation)
            if not all_of_it:
                break

    def _move(self, segment: int, size: int, at_once: bool) -> None:
        try:
            for records in live_records(self._db, self._core.log_directory, segment, size):
                self._do(MoveBodies(segment, records), durable=at_once)
        except StoreCorrupt as error:
            self.log.error("segment {segment}: {error}", segment=segment, error=error)
        left = "SELECT 1 FROM segment WHERE id = ? AND dead + ? < size"
        if self._exists(left, segment, SEGMENT_HEAD_SIZE):
            self._damaged.add(segment)

    def _vacuum(self, wanted: bool) -> None:
        """Make the index's file smaller when much of it is free; nothing is written meanwhile."""
        free = self._one("PRAGMA freelist_count")
        if wanted and free >= MIN_FREE_PAGES and free * 4 > self._one("PRAGMA page_count"):
            with self._writer.gate:
                self._db.execute("VACUUM")
            self._checkpoint()

    def _copy_index(self, at_once: bool) -> None:
        """Now and then, put a copy of the index beside the log."""
        size = self._one("SELECT journal_size FROM log_state")
        if size >= self._core.settings.journal_size or (at_once and size):
            number = self._do(RotateJournal(), durable=True)
            write_snapshot(self._db, self._core.log_directory, number)

    def _prune(self) -> None:
        found = self._db.execute(
            "SELECT mailbox_id FROM vanished GROUP BY mailbox_id HAVING count(*) > ?",
            (MAX_VANISHED_ROWS,),
        ).fetchall()
        if found:
            self._do(PruneVanished([mailbox_id for (mailbox_id,) in found]))

    def _exists(self, sql: str, *values: object) -> bool:
        return bool(self._db.execute(f"SELECT EXISTS ({sql})", values).fetchone()[0])

    def _one(self, sql: str) -> int:
        return int(self._db.execute(sql).fetchone()[0])
