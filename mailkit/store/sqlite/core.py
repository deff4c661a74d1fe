"""What the parts of an open store share: connections, writer, files, threads, watchers."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from mailkit.errors import StoreUnavailable
from mailkit.spool import SpoolMemory
from mailkit.store.metadata import MetadataWatchers
from mailkit.store.sqlite.bodies import BodyFiles
from mailkit.store.sqlite.conversations import Conversations
from mailkit.store.sqlite.journal import Journal
from mailkit.store.sqlite.loading import Loading
from mailkit.store.sqlite.lock import DirectoryLock
from mailkit.store.sqlite.log import SegmentLog, sync_directory
from mailkit.store.sqlite.maintenance import Maintenance
from mailkit.store.sqlite.reader import Found, Reader
from mailkit.store.sqlite.recent import CHANGES, RecentAnswers
from mailkit.store.sqlite.recovery import recover, refuse_missing_index
from mailkit.store.sqlite.schema import INDEX_NAME, configure, connect, open_index
from mailkit.store.sqlite.settings import StoreSettings
from mailkit.store.sqlite.sorting import Sorting
from mailkit.store.sqlite.states import States
from mailkit.store.sqlite.summaries import Summaries
from mailkit.store.sqlite.transaction import Touched, Transaction
from mailkit.store.sqlite.values import Values
from mailkit.store.sqlite.writer import Operation, Writer

T = TypeVar("T")

# Threads for hashing, copying and searching bodies.
_POOL_SIZE = 4
# Of the index, for each of them.
_LENT_CACHE_KIB = 4096


class Reactor(Protocol):
    """What a store needs of a reactor."""

    def callFromThread(self, callable: Callable[..., object], *args: Any) -> object:  # noqa: N802
        """Run a function on the reactor's thread."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any) -> Any:
        """Run a function later."""


class _Watch:
    """Somebody watches a mailbox, or names; to call it ends that.

    An object of its own, as each session has one: a closure would take six times the memory.
    """

    __slots__ = ("_watched", "_watchers", "callback")

    def __init__(
        self,
        watchers: dict[Touched, list[_Watch]],
        watched: Touched,
        callback: Callable[[], None],
    ) -> None:
        self._watchers = watchers
        self._watched = watched
        self.callback = callback

    def __call__(self) -> None:
        watchers = self._watchers.get(self._watched, [])
        if self in watchers:
            watchers.remove(self)
            if not watchers:
                del self._watchers[self._watched]


class Core:
    """An open store's insides.

    :param directory: of the store; made if it is missing.
    :param clock: seconds since the epoch.
    :param flush: makes a file of the log durable, given its descriptor.
    :raises StoreUnavailable: the directory is in use, or can't be written.
    :raises StoreCorrupt: index and log do not fit together.
    """

    log = Logger()

    def __init__(
        self,
        directory: str,
        reactor: Reactor,
        clock: Callable[[], float],
        settings: StoreSettings,
        flush: Callable[[int], None],
    ) -> None:
        self.directory = directory
        self.log_directory = os.path.join(directory, "log")
        self.spool_directory = os.path.join(directory, "tmp")
        self.spool_memory = SpoolMemory(settings.shared_spool_memory)
        self.loading = Loading(settings.shared_spool_memory)
        #: What was asked lately of the index, in whose directory tables others may write.
        self.recent = RecentAnswers(directory)
        self.reactor = reactor
        self.clock = clock
        self.settings = settings
        self._closed = False
        self.metadata_watchers = MetadataWatchers()
        self._watchers: dict[Touched, list[_Watch]] = {}
        self._make_directories()
        self._lock = DirectoryLock(directory)
        self._connection: sqlite3.Connection | None = None
        #: Mailboxes, by id, in whose texts somebody has searched.
        self.searched: set[int] = set()
        # As many as there were threads that read at the same time.
        self._lent: deque[sqlite3.Connection] = deque()
        self._segments = SegmentLog(self.log_directory, limit=settings.segment_size, flush=flush)
        self._journal = Journal(self.log_directory)
        try:
            refuse_missing_index(directory)
            self._clear_spools()
            self._connection = open_index(directory)
            recover(self._connection, self.log_directory, self._segments, self._journal)
            self._reader = Reader(self.connect())
            #: Log sequence number of what comes first.
            self.first_lsn = self._one("SELECT lsn FROM log_state")
        except BaseException:
            self._release()
            raise
        states = States(self._connection)
        self._transaction = Transaction(self._connection, self._segments, self._journal, states)
        self.writer = Writer(self._transaction, reactor, clock, self._announce)
        self.bodies = BodyFiles(self.log_directory)
        self.summaries = Summaries(self)
        self.sorting = Sorting(self)
        self.conversations = Conversations(self)
        self.values = Values(self)
        self._pool = ThreadPool(0, _POOL_SIZE, name="mailkit-store")
        self._pool.start()
        self.writer.start()
        self.maintenance = Maintenance(self)
        self.maintenance.start()

    def connect(self) -> sqlite3.Connection:
        """Another connection to the index."""
        connection = connect(os.path.join(self.directory, INDEX_NAME))
        configure(connection)
        return connection

    @contextmanager
    def borrow(self) -> Iterator[sqlite3.Connection]:
        """A connection for a thread to read with; what it has read before is still in its memory."""
        try:
            connection = self._lent.pop()
        except IndexError:
            connection = self.connect()
            connection.execute(f"PRAGMA cache_size = -{_LENT_CACHE_KIB}")
        try:
            yield connection
        finally:
            self._lent.append(connection)

    def _one(self, sql: str) -> int:
        return int(self._reader.connection.execute(sql).fetchone()[0])

    def _make_directories(self) -> None:
        try:
            changes = os.path.join(self.directory, CHANGES)
            for path in (self.directory, self.log_directory, self.spool_directory, changes):
                os.makedirs(path, mode=0o700, exist_ok=True)
            sync_directory(self.directory)
        except OSError as error:
            raise StoreUnavailable(f"Cannot open {self.directory}: {error.strerror}") from error

    def _clear_spools(self) -> None:
        """Remove what a process that died had not handed over."""
        for name in os.listdir(self.spool_directory):
            # Not ours, or a disk that cannot be written, which the index will tell.
            with suppress(OSError):
                os.unlink(os.path.join(self.spool_directory, name))

    def _release(self) -> None:
        self._segments.close()
        self._journal.close()
        if self._connection is not None:
            self._connection.close()
        self._lock.release()

    async def close(self) -> None:
        """Finish what was submitted and release everything."""
        self._closed = True
        self.maintenance.stop()
        await self.in_thread(self.maintenance.join)
        await self.writer.stop()
        await self.in_thread(self._checkpoint)
        self._pool.stop()
        while self._lent:
            self._lent.pop().close()
        self._reader.close()
        self.bodies.close()
        self._release()

    def _checkpoint(self) -> None:
        connection = self._transaction.connection
        try:
            # All that was begun is durable: nothing has to be verified when it is opened again.
            connection.execute("UPDATE log_state SET closed = 1")
            connection.execute("PRAGMA main.wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            self.log.warn("the index is not checkpointed: {error}", error=error)

    # Work.

    def check_open(self) -> None:
        """:raises StoreUnavailable: the store is closed."""
        if self._closed:
            raise StoreUnavailable("The mail store is closed")

    @property
    def reader(self) -> Reader:
        """What answers from the index.

        :raises StoreUnavailable: the store is closed.
        """
        if self._closed:
            self.check_open()
        return self._reader

    def find_mailbox(self, account_id: int, name: str) -> Found:
        """A mailbox to be opened, by its canonical name.

        :raises NoSuchMailbox: no selectable mailbox has it.
        """
        reader = self.reader
        # Clients that poll come back before anything has changed.
        question = account_id, name
        commits = self.writer.commits
        found: Found | None = self.recent.get(question)
        if found is None or found.commits != commits:
            found = reader.find_name(account_id, name, commits)
            self.recent.add(question, found)
        return found

    def submit(self, operation: Operation[T]) -> Deferred[T]:
        """Change the store; the answer comes when it is durable.

        :raises StoreUnavailable: the store is closed.
        """
        self.check_open()
        return self.writer.submit(operation)

    def keep(self, operation: Operation[None]) -> None:
        """Let the writer save, soon, what can be made again: no harm when it cannot."""
        self.writer.submit_lazy(operation).addErrback(lambda failure: None)

    def in_thread(self, function: Callable[..., T], *args: object) -> Deferred[T]:
        """Run what may wait for the disk, or takes long, in a thread."""
        # Of a reactor it needs callFromThread alone.
        return deferToThreadPool(self.reactor, self._pool, function, *args)  # type: ignore[arg-type]

    def pause(self) -> Deferred[None]:
        """Let the reactor do other work before going on."""
        deferred: Deferred[None] = Deferred()
        self.reactor.callLater(0, _fire, deferred)
        return deferred

    # Watching.

    def watch(self, watched: Touched, callback: Callable[[], None]) -> Callable[[], None]:
        """Call a function after each transaction that changed a mailbox, or names."""
        watch = _Watch(self._watchers, watched, callback)
        self._watchers.setdefault(watched, []).append(watch)
        return watch

    def _announce(self, touched: set[Touched]) -> None:
        for watched in touched & self._watchers.keys():
            for watch in list(self._watchers.get(watched, ())):
                try:
                    watch.callback()
                except Exception:
                    # The change has happened; who made it is not to blame for the watcher.
                    self.log.failure("a watcher of a mailbox failed")


def _fire(deferred: Deferred[None]) -> None:
    if not deferred.called:
        deferred.callback(None)
