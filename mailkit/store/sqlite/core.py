"""What the parts of an open store share: connections, writer, files, threads, watchers."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorSocket, IReactorUNIX
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from mailkit.errors import MailError, StoreUnavailable
from mailkit.pools import DaemonThreadPool
from mailkit.spool import SpoolMemory
from mailkit.store.sqlite.bodies import BodyFiles
from mailkit.store.sqlite.channel import Channel, SharedMetadataWatchers
from mailkit.store.sqlite.codec import Codec, fingerprint
from mailkit.store.sqlite.conversations import Conversations
from mailkit.store.sqlite.disk import sync_directory
from mailkit.store.sqlite.fields import Fields
from mailkit.store.sqlite.flagcolumns import FlagColumns
from mailkit.store.sqlite.generations import refuse_backup
from mailkit.store.sqlite.guest import Guest
from mailkit.store.sqlite.guest import connect as connect_to_owner
from mailkit.store.sqlite.lock import DirectoryLock, Holder, InUse, read_holder
from mailkit.store.sqlite.making import Wanted
from mailkit.store.sqlite.names import LockedNames
from mailkit.store.sqlite.owner import Owner
from mailkit.store.sqlite.reader import Found, Reader
from mailkit.store.sqlite.readycolumns import ReadyColumns
from mailkit.store.sqlite.recent import CHANGES, RecentAnswers
from mailkit.store.sqlite.schema import INDEX_NAME, configure, connect, told_as_ours
from mailkit.store.sqlite.settings import StoreSettings
from mailkit.store.sqlite.sorting import Sorting
from mailkit.store.sqlite.spools import SpoolDirectory
from mailkit.store.sqlite.summaries import Summaries
from mailkit.store.sqlite.textcolumns import TextColumns
from mailkit.store.sqlite.transaction import DIRECTORY, DomainDue, Touched
from mailkit.store.sqlite.values import Values
from mailkit.store.sqlite.writer import Operation, Writer

T = TypeVar("T")

# Threads for hashing, copying and searching bodies.
_POOL_SIZE = 4
# Of the index, for each of them.
_LENT_CACHE_KIB = 4096
# Seconds for which a process that has the store, and cannot be reached, may be just starting, and
# between two looks.
_ENTER_PATIENCE = 5.0
_ENTER_INTERVAL = 0.02


class _ClosedReader:
    """Stands for what answers from the index when the store is closed."""

    def __getattr__(self, name: str) -> NoReturn:
        raise StoreUnavailable("The mail store is closed")


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
    :raises StoreUnavailable: the directory is in use, is a backup, or can't be written.
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
        refuse_backup(directory)
        self.directory = directory
        self.log_directory = os.path.join(directory, "log")
        self.spools_directory = os.path.join(directory, "tmp")
        self.spool_memory = SpoolMemory(settings.shared_spool_memory)
        #: What was asked lately of the index, in whose directory tables others may write.
        self.recent = RecentAnswers(directory)
        self.reactor = reactor
        self.clock = clock
        self.settings = settings
        self._flush = flush
        self._closed = False
        self.channel = Channel(self._send_message)
        self.metadata_watchers = SharedMetadataWatchers(self.channel)
        self._watchers: dict[Touched, list[_Watch]] = {}
        # Of this process, or of another one that goes through the same writer.
        self.watch(DIRECTORY, self.recent.clear)
        # Wait for another process.
        self._alone: list[Callable[[], None]] = []
        #: Are called with domains for which there is something new in the outbound queue.
        self.queue_watchers: dict[object, Callable[[str], None]] = {}
        self._make_directories()
        #: How often accounts were opened in this process: mostly for users who have just logged in.
        self.accounts_opened = 0
        #: Mailboxes, by id, in whose texts somebody has searched.
        self.searched: set[int] = set()
        # As many as there were threads that read at the same time.
        self._lent: deque[sqlite3.Connection] = deque()
        self.bodies = BodyFiles(self.log_directory)
        self.summaries = Summaries(self)
        self.fields = Fields(self)
        self.flag_columns = FlagColumns(self)
        self.ready_columns = ReadyColumns()
        self.text_columns = TextColumns(self)
        self.sorting = Sorting(self)
        self.conversations = Conversations(self)
        self.values = Values(self)
        self.spool_directory = self._spools.path
        self.codec = Codec(self.spools_directory)
        self._owner: Owner | None = None
        self.writer: Writer | Guest
        # Why this process could not become the owner.
        self._obstacle = ""
        self._pool = DaemonThreadPool(0, _POOL_SIZE, name="mailkit-store")
        reader: Reader | None = None
        try:
            with told_as_ours(os.path.join(directory, INDEX_NAME)):
                self._enter()
                reader = self._reader = Reader(self.connect())
                reader.prepare()
            #: What answers from the index; whatever it is asked raises StoreUnavailable when the store
            #: is closed.
            self.reader = self._reader
            if self._owner is not None:
                self._owner.start()
        except BaseException:
            if reader is not None:
                reader.close()
            if self._owner is not None:
                self._owner.release()
            self._spools.release()
            self.names.close()
            raise
        self._pool.start()

    # The processes of the store.

    def _enter(self) -> None:
        """Become the owner of the store, or a guest of the process that is it."""
        begun = time.monotonic()
        end = begun + _ENTER_PATIENCE
        reluctant_to = begun + self.settings.reluctance if _has_guests(self.reactor) else 0.0
        while True:
            if time.monotonic() < reluctant_to:
                connection = connect_to_owner(self.directory)
                if connection is not None:
                    self._enter_as_guest(connection, read_holder(self.directory))
                    return
                time.sleep(_ENTER_INTERVAL)
                continue
            try:
                lock = DirectoryLock(self.directory, fingerprint())
                owner = self._owner = Owner(self, lock, self._flush)
            except InUse as error:
                connection = self._connect_to_owner(error)
                if connection is not None:
                    self._enter_as_guest(connection, error.holder)
                    return
                # It has only just begun, or is about to end.
                if time.monotonic() > end or not _has_guests(self.reactor):
                    raise
                time.sleep(_ENTER_INTERVAL)
            except OSError as error:
                path = error.filename or self.directory
                raise StoreUnavailable(f"Cannot open {path}: {error.strerror}") from error
            else:
                self.writer = owner.writer
                return

    def _connect_to_owner(self, refusal: InUse) -> socket.socket | None:
        """:raises StoreUnavailable: the owner is of another version."""
        if not refusal.holder.fingerprint or not _has_guests(self.reactor):
            # A command, which needs the store for itself.
            return None
        self._check_version(refusal.holder)
        return connect_to_owner(self.directory)

    def _check_version(self, holder: Holder) -> None:
        """:raises StoreUnavailable: the owner is of another version."""
        if holder.fingerprint != fingerprint():
            raise StoreUnavailable(
                f"{InUse(self.directory, holder).text}, which runs another version of mailkit;"
                " stop it first"
            )

    def _enter_as_guest(self, connection: socket.socket, owner: Holder) -> None:
        """:raises StoreUnavailable: the owner is of another version."""
        try:
            self._check_version(owner)
        except StoreUnavailable:
            connection.close()
            raise
        self.bodies.check_names = True
        self.writer = Guest(self, connection, self.settings.reluctance)

    def take_over(self) -> bool:
        """Become the owner, if nobody is: the last owner has gone."""
        guest = self.writer
        assert isinstance(guest, Guest)
        try:
            lock = DirectoryLock(self.directory, fingerprint())
            owner = Owner(self, lock, self._flush)
            owner.start()
        except InUse:
            return False
        except (MailError, OSError, sqlite3.Error) as error:
            # Told once, though it is tried again and again.
            if str(error) != self._obstacle:
                self._obstacle = str(error)
                self.log.error("the store cannot be taken over: {error}", error=error)
            return False
        self._owner = owner
        writer = self.writer = owner.writer
        self.bodies.check_names = False
        self.log.info("this process makes the changes of the mail store now")
        guest.take_waiting(
            lambda lazy, operation: (writer.submit_lazy if lazy else writer.submit)(operation)
        )
        self.owner_changed()
        return True

    def owner_changed(self) -> None:
        """Forget what may not hold with another owner, and tell all who watch to look again."""
        self.bodies.close()
        self.announce(set(self._watchers))

    @property
    def data_version(self) -> int:
        """Changes with each transaction of another process."""
        (version,) = self.reader.connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    @property
    def version(self) -> int:
        """Another number after a change that may not have been announced here yet."""
        # Where this process makes the changes, nobody is answered before.
        return 0 if self._owner is not None else self.data_version

    @property
    def is_shared(self) -> bool:
        """Other processes have the store open, too."""
        return self._owner is None or self._owner.has_guests

    def when_shared(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call a function once, as soon as other processes have the store open, too."""
        if self.is_shared:
            callback()
        else:
            self._alone.append(callback)

        def end() -> None:
            if callback in self._alone:
                self._alone.remove(callback)

        return end

    def guest_entered(self) -> None:
        """Another process has opened the store."""
        waiting, self._alone = self._alone, []
        for callback in waiting:
            callback()

    @property
    def is_known(self) -> bool:
        """The other processes know of this one."""
        return not isinstance(self.writer, Guest) or self.writer.is_welcome

    @property
    def is_guest(self) -> bool:
        """Another process makes the changes."""
        return self._owner is None

    def _send_message(self, topic: str, text: str) -> None:
        sender = self.writer if self._owner is None else self._owner
        assert not isinstance(sender, Writer)
        sender.send_message(topic, text)

    async def compact(self) -> None:
        """Give back all space that can be given back."""
        writer = self.writer
        if self._owner is not None:
            await self.in_thread(self._owner.maintenance.request_compaction().result)
        elif isinstance(writer, Guest):
            await writer.compact()

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

    def _make_directories(self) -> None:
        try:
            changes = os.path.join(self.directory, CHANGES)
            for path in (self.directory, self.log_directory, self.spools_directory, changes):
                os.makedirs(path, mode=0o700, exist_ok=True)
            sync_directory(self.directory)
            self.names = LockedNames(self.directory)
            self._spools = SpoolDirectory(self.spools_directory)
        except OSError as error:
            raise StoreUnavailable(f"Cannot open {self.directory}: {error.strerror}") from error

    async def close(self) -> None:
        """Finish what was submitted and release everything."""
        self._closed = True
        self.reader = cast(Reader, _ClosedReader())
        if self._owner is not None:
            await self._owner.close()
        elif isinstance(self.writer, Guest):
            await self.writer.stop()
        self._pool.stop()
        while self._lent:
            self._lent.pop().close()
        self._reader.close()
        self.bodies.close()
        self._spools.release()
        self.names.close()

    # Work.

    def check_open(self) -> None:
        """:raises StoreUnavailable: the store is closed."""
        if self._closed:
            raise StoreUnavailable("The mail store is closed")

    def find_mailbox(self, account_id: int, name: str) -> Found:
        """A mailbox to be opened, by its canonical name.

        Only its id need hold when others have changed something since: see :meth:`find_again`.

        :raises NoSuchMailbox: no selectable mailbox has it.
        """
        reader = self.reader
        # Clients that poll come back before anything has changed, and who brings mail has no use for
        # anything but the id.
        question = account_id, name
        commits, renames = self.writer.commits, self.writer.renames
        known: tuple[int, Found] | None = self.recent.get(question)
        if known is None or (known[1].commits != commits and known[0] != renames):
            known = renames, reader.find_name(account_id, name, commits)
            self.recent.add(question, known)
        return known[1]

    def find_again(self, mailbox_id: int) -> Found:
        """The same as it is now, whatever its name.

        :raises NoSuchMailbox: it has been deleted, or is not selectable.
        """
        commits, renames = self.writer.commits, self.writer.renames
        found = self.reader.find(mailbox_id, commits)
        question = found.account_id, found.info.name
        if self.recent.get(question) is not None:
            self.recent.add(question, (renames, found))
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

    def hurry(self, wanted: Wanted) -> None:
        """Somebody lacks what is made ahead: more of it is likely to be asked for.

        :param wanted: a key of :data:`~mailkit.store.sqlite.ahead.HURRY`.
        """
        if self._owner is not None and self._owner.ahead is not None:
            self._owner.ahead.hurry(wanted)

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

    def announce(self, touched: set[Touched]) -> None:
        """Tell those who watch."""
        if self.queue_watchers:
            for each in touched:
                if isinstance(each, DomainDue):
                    self._tell_queue(each.domain)
        for watched in touched & self._watchers.keys():
            for watch in list(self._watchers.get(watched, ())):
                try:
                    watch.callback()
                except Exception:
                    # The change has happened; who made it is not to blame for the watcher.
                    self.log.failure("a watcher of a mailbox failed")

    def _tell_queue(self, domain: str) -> None:
        for callback in list(self.queue_watchers.values()):
            try:
                callback(domain)
            except Exception:
                self.log.failure("a watcher of the queue failed")


def _has_guests(reactor: object) -> bool:
    """Whether a reactor can talk to other processes; those of tests cannot."""
    return IReactorUNIX.providedBy(reactor) and IReactorSocket.providedBy(reactor)


def _fire(deferred: Deferred[None]) -> None:
    if not deferred.called:
        deferred.callback(None)
