"""The one thread that changes a store: it does what waits in one transaction, then answers it all.

Log and index are flushed at the same time, so that a transaction takes one flush's time and not
two. Nobody is answered before both are done; what a crash between them leaves behind is dealt with
by :mod:`~mailkit.store.sqlite.recovery`.

What one turn of the reactor submits is handed over at the end of that turn: if the first of twenty
messages woke the thread, it would commit that one by itself, and the two threads would take the
interpreter's lock from each other.

An operation that raises a :class:`MailError` before it has changed anything is answered with that
error and disturbs nobody. Any other failure rolls the batch back. When disk or index were the
cause, all of the batch are answered with a :class:`~mailkit.errors.StoreUnavailable`; otherwise
each operation is tried again in a transaction of its own, so that only the culprit fails.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailkit._typing import override
from mailkit.errors import MailError
from mailkit.store.sqlite.flusher import Flusher
from mailkit.store.sqlite.outage import is_unsure, refusal
from mailkit.store.sqlite.rows import drop_bodies
from mailkit.store.sqlite.transaction import NamesOf, Touched, Transaction
from mailkit.store.sqlite.troubles import Trouble

#: Operations, and octets of their bodies, that wait for the end of the reactor's turn: with more of
#: them the disk need not wait.
MAX_HELD = 64
MAX_HELD_OCTETS = 256 * 1024
#: Operations of one transaction.
MAX_BATCH = 256
#: Octets of bodies in one transaction, above which it takes no more of them.
MAX_BATCH_OCTETS = 16 * 1024 * 1024
#: Lazy operations that ride along with one transaction.
MAX_LAZY = 64
#: Seconds that lazy operations wait for a transaction to ride along with.
LAZY_DELAY = 0.1

T = TypeVar("T")


class Operation(ABC, Generic[T]):
    """A change of the store. Made on the reactor's thread, run by the writer's."""

    __slots__ = ()

    #: Octets of bodies that it brings along.
    weight = 0
    #: Losing it in a crash is harmless: it is not worth a flush of its own.
    losable = False
    #: Nothing of the store is other than before: it does not count as a transaction.
    idle = False

    @abstractmethod
    def run(self, tx: Transaction) -> T:
        """Do it. May be called again after the transaction was rolled back."""

    def failed(self, error: MailError) -> T:
        """Turn a failure of the whole transaction into a result, or raise it."""
        raise error

    def discard(self) -> None:
        """It has failed for good: remove files that came with it."""


class WriterReactor(Protocol):
    """The part of a reactor that the writer needs."""

    def callFromThread(self, callable: Callable[..., object], *args: Any) -> object:  # noqa: N802
        """Run a function on the reactor's thread."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any) -> Any:
        """Run a function later; without delay, at the end of this turn."""


class Waiter(Protocol):
    """Who hears of an operation's end on the reactor's thread; a ``Deferred`` is one."""

    def callback(self, result: Any) -> object:
        """It is done."""

    def errback(self, fail: Any) -> object:
        """It has failed, with that exception."""


class _Entry(NamedTuple):
    operation: Operation[Any]
    waiter: Waiter | Future[Any] | None
    #: Not worth a flush of its own.
    lazy: bool = False


class _Raised(NamedTuple):
    """The answer of an operation that failed."""

    error: BaseException


class _Unflushed(Exception):
    """The index has committed a batch of which the log may lack bodies."""


class _Isolate(Exception):
    """An operation failed after it had changed something."""


class _Nothing(Operation[None]):
    """For what is not work in the queue."""

    __slots__ = ()

    @override
    def run(self, tx: Transaction) -> None:
        """Never called."""


class _Settle(Operation[None]):
    """Comes after all that waits, the lazy operations too."""

    __slots__ = ()
    losable = True

    @override
    def run(self, tx: Transaction) -> None:
        """What came before it is what counts."""


_CLOSE = _Entry(_Nothing(), None)
_WAKE = _Entry(_Nothing(), None)


class Writer:
    """Owns the writing connection and the end of the log.

    :param tx: the transaction object, with its connection.
    :param reactor: where the answers are given.
    :param clock: seconds since the epoch.
    :param announce: called on the reactor's thread with the ids of the mailboxes that changed, which
        may be none, after each transaction's answers.
    """

    log = Logger()

    def __init__(
        self,
        tx: Transaction,
        reactor: WriterReactor,
        clock: Callable[[], float],
        announce: Callable[[set[Touched]], None],
    ) -> None:
        self._tx = tx
        self._connection = tx.connection
        self._reactor = reactor
        self._clock = clock
        self._announce = announce
        self._queue: queue.SimpleQueue[_Entry] = queue.SimpleQueue()
        # Of this turn of the reactor.
        self._held: list[_Entry] = []
        self._held_octets = 0
        self._lazy: deque[_Entry] = deque()
        self._data_version = -1
        self._synchronous = True
        # The first number of a batch that was refused, and is in the index.
        self._refused_from: int | None = None
        # The index's write-ahead log may lack what was written to it before.
        self._doubted = False
        #: Held while a transaction is at work; the maintenance takes it for what must fit between.
        self.gate = threading.Lock()
        #: Operations that somebody has asked for so far, but what is made ahead.
        self.asked = 0
        #: Transactions committed so far.
        self.commits = 0
        #: Those of them that changed names of mailboxes.
        self.renames = 0
        self._unwritable = Trouble(
            self.log,
            "the store in {directory} cannot be written: {reason}; {free} octets of its disk are"
            " free (refused {times} times)",
            "the store in {directory} is written again; {free} octets of its disk are free",
        )
        self._full = Trouble(
            self.log,
            "the disk of {directory} is full: {free} octets are free, of which {reserve} are for"
            " what removes mail; new mail is refused for now ({times} times)",
            "new mail is taken again in {directory}; {free} octets of its disk are free",
        )
        self._flusher = Flusher(tx.log.flush)
        self._stopped: Deferred[None] = Deferred()
        self._thread = threading.Thread(target=self._loop, name="mailkit-writer", daemon=True)

    def start(self) -> None:
        self._flusher.start()
        self._thread.start()

    def submit(self, operation: Operation[T]) -> Deferred[T]:
        """Do an operation; the answer comes when it is durable, unless it may be lost."""
        deferred: Deferred[T] = Deferred()
        self._hold(operation, deferred)
        return deferred

    def _hold(self, operation: Operation[Any], waiter: Waiter) -> None:
        self.asked += 1
        held = self._held
        held.append(_Entry(operation, waiter, operation.losable))
        self._held_octets += operation.weight
        if len(held) >= MAX_HELD or self._held_octets >= MAX_HELD_OCTETS:
            self._hand_over()
        elif len(held) == 1:
            self._reactor.callLater(0, self._hand_over)

    def _hand_over(self) -> None:
        """Give the thread what this turn has submitted."""
        held, self._held = self._held, []
        self._held_octets = 0
        for entry in held:
            self._queue.put(entry)

    def submit_lazy(self, operation: Operation[T]) -> Deferred[T]:
        """Do an operation with the next ones, or soon; losing it in a crash must be harmless."""
        deferred: Deferred[T] = Deferred()
        self._lazy.append(_Entry(operation, deferred, True))
        self._queue.put(_WAKE)
        return deferred

    def submit_for(self, operation: Operation[Any], waiter: Waiter, lazily: bool) -> None:
        """:meth:`submit` or :meth:`submit_lazy` for somebody who needs no ``Deferred``."""
        if lazily:
            self._lazy.append(_Entry(operation, waiter, True))
            self._queue.put(_WAKE)
        else:
            self._hold(operation, waiter)

    def submit_future(self, operation: Operation[T], durable: bool) -> Future[T]:
        """Do an operation for another thread than the reactor's, lazily unless durable."""
        future: Future[T] = Future()
        if durable:
            self._queue.put(_Entry(operation, future))
        else:
            self._lazy.append(_Entry(operation, future, True))
            self._queue.put(_WAKE)
        return future

    def submit_soon(self, operation: Operation[T]) -> Future[T]:
        """:meth:`submit_future` for what a crash may lose, and others may wait for."""
        future: Future[T] = Future()
        self._queue.put(_Entry(operation, future, operation.losable))
        return future

    def settle(self) -> Deferred[None]:
        """See to it that the index has all that was submitted, lazily or not."""
        return self.submit(_Settle())

    @property
    def waiting(self) -> int:
        """Operations that wait; a guess."""
        return self._queue.qsize() + len(self._held)

    @property
    def lacks_room(self) -> bool:
        """New mail was refused lately for want of room on the disk."""
        return self._full.going_on

    def stop(self) -> Deferred[None]:
        """Let the thread finish what was submitted and end."""
        self._hand_over()
        self._queue.put(_CLOSE)
        return self._stopped

    # The writer's thread.

    def _loop(self) -> None:
        closing = False
        while not closing:
            entries, closing = self._collect()
            if closing:
                entries.extend(self._drain())
            settling = any(type(entry.operation) is _Settle for entry in entries)
            lazy = self._take_lazy(closing or settling)
            entries = [*lazy, *entries] if settling else [*entries, *lazy]
            for begin in range(0, len(entries), MAX_BATCH):
                self._process(entries[begin : begin + MAX_BATCH])
        self._flusher.stop()
        self._reactor.callFromThread(self._stopped.callback, None)

    def _collect(self) -> tuple[list[_Entry], bool]:
        """Wait for an operation, then take all that wait; nothing when lazy ones waited enough."""
        entry = _WAKE
        lazy_until: float | None = None
        while entry is _WAKE:
            left = None
            if self._lazy:
                # From the first one on, however many follow it.
                lazy_until = lazy_until or time.monotonic() + LAZY_DELAY
                left = lazy_until - time.monotonic()
                if left <= 0 or len(self._lazy) >= MAX_LAZY:
                    return [], False
            try:
                entry = self._queue.get(timeout=left)
            except queue.Empty:
                return [], False
        entries: list[_Entry] = []
        octets = 0
        while entry is not _CLOSE:
            if entry is not _WAKE:
                entries.append(entry)
                octets += entry.operation.weight
                if len(entries) >= MAX_BATCH or octets >= MAX_BATCH_OCTETS:
                    return entries, False
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                return entries, False
        return entries, True

    def _drain(self) -> list[_Entry]:
        entries = []
        while not self._queue.empty():
            entries.append(self._queue.get())
        return [entry for entry in entries if entry not in (_CLOSE, _WAKE)]

    def _take_lazy(self, closing: bool) -> list[_Entry]:
        limit = len(self._lazy) if closing else MAX_LAZY
        taken: list[_Entry] = []
        while self._lazy and len(taken) < limit:
            taken.append(self._lazy.popleft())
        return taken

    def _process(self, entries: Sequence[_Entry]) -> None:
        if not entries:
            return
        with self.gate:
            answers, touched = self._attempt_all(entries)
        waiting: list[tuple[Waiter, object]] = []
        for entry, answer in zip(entries, answers, strict=True):
            if isinstance(answer, _Raised):
                entry.operation.discard()
            if isinstance(entry.waiter, Future):
                _resolve(entry.waiter, answer)
            elif entry.waiter is not None:
                waiting.append((entry.waiter, answer))
        if waiting or touched:
            self._reactor.callFromThread(self._answer, waiting, touched)

    def _attempt_all(self, entries: Sequence[_Entry]) -> tuple[list[object], set[Touched]]:
        """Answers of all entries, one transaction if all goes well."""
        try:
            return self._attempt(entries), self._tx.touched
        except _Unflushed as error:
            self._unwritable.meet(f"the log cannot be flushed: {error.__cause__}", **self._disk())
            self._take_back()
            return self._refuse(entries, error.__cause__), self._tx.touched
        except Exception as error:
            self._undo()
            if _is_outage(error):
                self._unwritable.meet(str(error), **self._disk())
                return self._refuse(entries, error), set()
            if len(entries) == 1:
                return [_Raised(_own_error(error))], set()
        answers: list[object] = []
        touched: set[Touched] = set()
        for entry in entries:
            answer, changed = self._attempt_all([entry])
            answers.extend(answer)
            touched |= changed
        return answers, touched

    def _attempt(self, entries: Sequence[_Entry]) -> list[object]:
        """Do everything in one transaction; raises when it could not be committed."""
        self._set_synchronous(not all(entry.lazy for entry in entries))
        connection, tx = self._connection, self._tx
        if self._doubted:
            self._begin_anew()
        connection.execute("BEGIN IMMEDIATE")
        # An administrator's command in another process may have changed what is remembered.
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version != self._data_version:
            tx.forget()
            self._data_version = version
        dropped = self._drop_refused()
        tx.begin(int(self._clock()))
        # RFC 9051 section 5.2: those who have the mailbox open were told that they are there.
        tx.touched.update(dropped)
        answers: list[object] = []
        changed = False
        for entry in entries:
            tx.changed = False
            try:
                answers.append(entry.operation.run(tx))
            except MailError as error:
                if tx.changed:
                    raise _Isolate from error
                answers.append(_Raised(error))
            changed = changed or tx.changed
        tx.changed = changed
        self._commit()
        self._refused_from = None
        self.commits += not all(entry.operation.idle for entry in entries)
        self._look_at_troubles()
        if any(type(each) is NamesOf for each in tx.touched):
            self.renames += 1
        return answers

    def _look_at_troubles(self) -> None:
        """Tell the log of a full disk, and of what is over."""
        if self._tx.lacked_room:
            self._full.meet("", **self._disk())
        elif self._full.going_on and self._tx.took_room:
            self._full.pass_over(**self._disk())
        if self._unwritable.going_on and self._synchronous:
            self._unwritable.pass_over(**self._disk())

    def _disk(self) -> dict[str, object]:
        """What the log says of the store's disk."""
        log = self._tx.log
        free: int | str = "(unknown)"
        with suppress(OSError):
            free = log.measure_room() + log.min_free
        directory = os.path.dirname(log.directory)
        return {"directory": directory, "free": free, "reserve": log.min_free}

    def _commit(self) -> None:
        """Make log and index durable, both at once: recovery drops what only the index has.

        :raises _Unflushed: the index has committed, but the log is not durable.
        """
        tx = self._tx
        flushing = tx.log.write()
        if flushing:
            self._flusher.begin()
        try:
            tx.finish()
            if flushing and tx.ordered:
                flushing = False
                self._flusher.end()
            self._connection.execute("COMMIT")
        except BaseException as error:
            if is_unsure(error):
                self.doubt()
            if flushing:
                with suppress(OSError):
                    self._flusher.end()
            raise
        if flushing:
            try:
                self._flusher.end()
            except OSError as error:
                raise _Unflushed from error
        tx.committed()

    def _take_back(self) -> None:
        """Remove the messages of a committed batch whose bodies are not durable."""
        tx = self._tx
        self._refused_from = tx.first_lsn
        try:
            tx.give_up()
            self._connection.execute("BEGIN IMMEDIATE")
            self._drop_refused()
            self._connection.execute("COMMIT")
            self.commits += 1
            self._refused_from = None
        except (sqlite3.Error, OSError) as error:
            self.log.error(
                "messages that were refused are shown until the store is written again: {error}",
                error=error,
            )
            if is_unsure(error):
                self.doubt()
            if self._connection.in_transaction:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")

    def _drop_refused(self) -> list[int]:
        """Ids of the mailboxes in which there were refused messages."""
        if self._refused_from is None:
            return []
        return drop_bodies(self._connection, self._refused_from).mailboxes

    def doubt(self) -> None:
        """A flush of the index's write-ahead log has failed: rely on it no longer."""
        self._doubted = True

    def _begin_anew(self) -> None:
        """Copy the write-ahead log to the index, and go on without any of its octets.

        :raises sqlite3.Error: that cannot be done now; nothing may be answered before it is.
        """
        row = self._connection.execute("PRAGMA main.wal_checkpoint(TRUNCATE)").fetchone()
        if row[0]:
            raise sqlite3.OperationalError("the write-ahead log cannot be begun anew")
        self._doubted = False

    def _set_synchronous(self, full: bool) -> None:
        if full is not self._synchronous:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._synchronous = full

    def _undo(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self.log.error("cannot roll back: {error}", error=error)
        self._tx.rollback()

    def _refuse(self, entries: Sequence[_Entry], cause: BaseException | None) -> list[object]:
        """The answers when disk or index failed."""
        answers: list[object] = []
        for entry in entries:
            try:
                answers.append(entry.operation.failed(refusal(cause)))
            except MailError as error:
                answers.append(_Raised(error))
        return answers

    def tell(self, touched: set[Touched]) -> None:
        """Announce what another process has changed without the writer. For any thread."""
        self._reactor.callFromThread(self._answer, [], touched)

    # The reactor's thread.

    def _answer(self, waiting: list[tuple[Waiter, object]], touched: set[Touched]) -> None:
        for waiter, answer in waiting:
            # One that was cancelled ignores this.
            if isinstance(answer, _Raised):
                waiter.errback(answer.error)
            else:
                waiter.callback(answer)
        self._announce(touched)


def _is_outage(error: Exception) -> bool:
    """Whether disk or index failed, rather than an operation."""
    if isinstance(error, (sqlite3.OperationalError, OSError)):
        return True
    # A damaged file is reported by the base class itself.
    return type(error) is sqlite3.DatabaseError


def _own_error(error: Exception) -> BaseException:
    """The refusal behind a transaction that was undone because of it, or the bug itself."""
    if isinstance(error, _Isolate) and error.__cause__ is not None:
        return error.__cause__
    return error


def _resolve(future: Future[Any], answer: object) -> None:
    if isinstance(answer, _Raised):
        future.set_exception(answer.error)
    else:
        future.set_result(answer)
