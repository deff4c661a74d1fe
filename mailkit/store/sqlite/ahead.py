"""Making ahead what fetching, searching and sorting will ask for, soon after messages have come.

A helper makes it, a process of its own (see :mod:`~mailkit.store.sqlite.helper`): all that this one
has to do is to save it. Where there cannot be a helper, and of a few messages, it is made here, most
of the time asleep.

First headers are looked at, of which searches and sorts of a whole mailbox want something at once;
then all of the messages. The newest come first: who fetches a whole mailbox before all is made begins
with the oldest, and so the two meet in the middle. How far all was made is kept in the index, so that
a server goes on where the one before it has stopped.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Container, Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, NamedTuple

from twisted.logger import Logger

from mailkit._typing import override
from mailkit.errors import MailError
from mailkit.store.sqlite.bodies import BodyPlace
from mailkit.store.sqlite.fields import ADDRESSES, TEXTS, THREADS
from mailkit.store.sqlite.helperprocess import AT_ONCE, HelperFailed, HelperProcess
from mailkit.store.sqlite.making import MAX_KEPT, Job, Made, Wanted, make
from mailkit.store.sqlite.summaries import SaveSummaries
from mailkit.store.sqlite.textmaps import SaveTextMaps
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.writer import Operation, Writer

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

#: Messages that are made something of at a time: whoever waits for the helper waits for so many.
MESSAGES_AT_ONCE = 64
#: Octets of them, the last one left out.
OCTETS_AT_ONCE = 4 * 1024 * 1024
#: Messages for which a helper is worth its beginning, and seconds without work after which it ends.
WORTH_A_HELPER = 32
IDLE = 30.0
#: Times as long as it takes to make something here that is waited behind it.
REST = 4
#: Share of a processor above which this process is busy; saving what the helper has made takes less.
BUSY = 0.4
#: Seconds for which that, or changes that are asked for, put the beginning off at most.
MAX_WAIT = 1.0
#: Seconds for which it puts off each task with whole messages at most, and between two looks.
GIVING_WAY = 0.25
LOOK = 0.02
#: Operations that the writer may be behind.
MAX_BEHIND = 12
#: Failures of helpers, and in how many seconds, after which there is no other for as long.
MAX_FAILURES = 20
FAILURES_WITHIN = 3600.0

_COLUMNS = "b.id, b.segment, b.position, b.start, b.size"
#: Of those that are in mailboxes: nobody looks at what only waits to be sent.
_NEW = (
    f"SELECT {_COLUMNS} FROM body b LEFT JOIN summary s ON s.body_id = b.id"
    " WHERE b.id >= ? AND b.id < ?"
    " AND b.refs > (SELECT count(*) FROM queue_message WHERE body_id = b.id)"
)
_NEW_BODIES = f"{_NEW} AND s.body_structure IS NULL ORDER BY b.id DESC LIMIT ?"
_MADE = " AND ".join(
    f"EXISTS (SELECT 1 FROM {kind.save.table} WHERE body_id = b.id)"
    for kind in (TEXTS, THREADS, ADDRESSES)
)
_NEW_HEADERS = f"{_NEW} AND NOT ({_MADE}) ORDER BY b.id DESC LIMIT ?"
#: Of older ones, after somebody has fetched their envelopes.
_UNFINISHED = (
    f"SELECT {_COLUMNS} FROM summary s JOIN body b ON b.id = s.body_id"
    " WHERE s.body_id >= ? AND s.body_id < ? AND b.refs > 0 AND s.body_structure IS NULL"
    " ORDER BY s.body_id DESC LIMIT ?"
)
_LAST = "SELECT ifnull(max(id), 0) FROM body"
_SETTING = "made_ahead_to"


class NoteMadeAhead(Operation[None]):
    """Keep before which body all has been made; a rebuilt index begins anew."""

    __slots__ = ("_body_id",)

    losable = True

    def __init__(self, body_id: int) -> None:
        self._body_id = body_id

    @override
    def run(self, tx: Transaction) -> None:
        tx.connection.execute(
            "INSERT INTO setting VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            (_SETTING, self._body_id),
        )


class _Task(NamedTuple):
    """Something to be made."""

    wanted: Wanted
    places: Sequence[BodyPlace]
    #: A helper has died of a message that may be this one.
    is_suspect: bool = False


class _Search:
    """Finds bodies that lack something, up to the newest one; then those that came meanwhile.

    :param sql: takes the first body, the one behind the last, and how many are wanted.
    """

    def __init__(self, sql: str, start: int) -> None:
        self._sql = sql
        #: All before this one have been found.
        self.start = start
        # Those from here on as well, up to the one that was to come when this pass began.
        self._reached = self._end = start

    def find(self, index: sqlite3.Connection, unfit: Container[int]) -> list[BodyPlace]:
        """Some that are not unfit; none if there are no more."""
        places: list[BodyPlace] = []
        while not places:
            if self._reached == self.start:
                self.start = self._end
                (last,) = index.execute(_LAST).fetchone()
                if last < self.start:
                    break
                self._reached = self._end = last + 1
            rows = index.execute(
                self._sql, (self.start, self._reached, MESSAGES_AT_ONCE)
            ).fetchall()
            self._reached = rows[-1][0] if len(rows) == MESSAGES_AT_ONCE else self.start
            octets = 0
            for place in map(BodyPlace._make, rows):
                octets += place.size
                if places and octets > OCTETS_AT_ONCE:
                    self._reached = places[-1].body_id
                    break
                if place.body_id not in unfit:
                    places.append(place)
        return places


class _Stopped(Exception):
    """The store is being closed."""


class Ahead:
    """Runs in a thread from :meth:`start` to :meth:`stop`.

    It reads with a connection of its own and changes nothing but through the writer.
    """

    log = Logger()

    def __init__(self, core: Core, writer: Writer) -> None:
        self._core = core
        self._writer = writer
        self._wake = threading.Event()
        self._closing = threading.Event()
        # What a helper has died of, message by message, or has not come to.
        self._again: deque[_Task] = deque()
        self._helper: HelperProcess | None = None
        # When it has last answered.
        self._helped = 0.0
        # When the next one may be begun, after one could not, and when helpers have failed.
        self._none_before = 0.0
        self._failures: deque[float] = deque(maxlen=MAX_FAILURES)
        self._headers = self._bodies = _Search(_NEW_BODIES, 0)
        # Before which body all has been made, as the index has it.
        self._noted = 0
        # Bodies that are damaged, or whose summaries are too long to be kept, or that kill helpers.
        self._unfit: set[int] = set()
        # What the writer has been given.
        self._saving: deque[Future[None]] = deque()
        self._thread = threading.Thread(target=self._loop, name="mailkit-ahead", daemon=True)

    def start(self) -> None:
        # For what the owner before this one has left.
        self._wake.set()
        self._thread.start()

    def wake(self) -> None:
        """There may be new messages; from any thread."""
        self._wake.set()

    def stop(self) -> None:
        """Tell the thread to end; the writer must still be at work."""
        self._closing.set()
        self._wake.set()
        helper = self._helper
        if helper is not None:
            helper.kill()

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()

    # The thread.

    def _loop(self) -> None:
        index: sqlite3.Connection | None = None
        while not self._closing.is_set():
            is_awake = self._wake.wait(None if self._helper is None else IDLE)
            if time.monotonic() - self._helped >= IDLE:
                self._end_helper()
            if not is_awake:
                continue
            # What comes together is made together.
            self._wait_for_calm(MAX_WAIT, self._core.settings.ahead_delay)
            self._wake.clear()
            try:
                if index is None:
                    index = self._core.connect()
                    self._find_beginning(index)
                self._work(index)
            except _Stopped:
                break
            except (sqlite3.Error, OSError, MailError) as error:
                self.log.warn("nothing is made ahead now: {error}", error=error)
            except Exception:
                # A bug: the thread lives on for the next messages.
                self.log.failure("making ahead failed")
        self._end_helper()
        if index is not None:
            index.close()

    def _wait_for_calm(self, patience: float, look: float) -> None:
        """Wait while clients are served, but not for long: they come first.

        :param patience: seconds.
        :param look: seconds in which nothing may happen.
        """
        end = time.monotonic() + patience
        while time.monotonic() < end and not (self._closing.is_set() or self._is_calm(look)):
            pass

    def _is_calm(self, seconds: float) -> bool:
        """Let some time pass; true if nobody has asked for changes, nor made this process work."""
        begun, worked, asked = time.monotonic(), time.process_time(), self._writer.asked
        self._closing.wait(seconds)
        worked = time.process_time() - worked
        return self._writer.asked == asked and worked < BUSY * (time.monotonic() - begun)

    def _find_beginning(self, index: sqlite3.Connection) -> None:
        row = index.execute("SELECT value FROM setting WHERE name = ?", (_SETTING,)).fetchone()
        self._noted = 0 if row is None else int(row[0])
        self._headers = _Search(_NEW_HEADERS, self._noted)
        self._bodies = _Search(_NEW_BODIES, self._noted)

    def _work(self, index: sqlite3.Connection) -> None:
        """Make all that there is to make."""
        unfinished = _Search(_UNFINISHED, 0)
        flying: deque[_Task] = deque()
        try:
            while not self._has_given_up:
                if self._closing.is_set():
                    raise _Stopped
                task = self._choose(index, unfinished) if len(flying) < AT_ONCE else None
                if task is None and not flying:
                    break
                if task is not None and not self._is_for_helper(task):
                    self._make_here(task)
                    continue
                assert self._helper is not None
                if task is not None and task.wanted is Wanted.MESSAGES:
                    # Headers take little, and searches and sorts wait for them.
                    self._wait_for_calm(GIVING_WAY, LOOK)
                try:
                    self._converse(self._helper, task, flying)
                except HelperFailed as error:
                    self._recover(flying, str(error))
        finally:
            if flying:
                # Nobody reads the answers.
                self._end_helper()
                self._again += flying
        if self._bodies.start != self._noted:
            self._noted = self._bodies.start
            self._submit(NoteMadeAhead(self._noted))

    def _choose(self, index: sqlite3.Connection, unfinished: _Search) -> _Task | None:
        """What is to be made next; None if there is nothing left."""
        if self._again:
            return self._again.popleft()
        if places := self._headers.find(index, self._unfit):
            return _Task(Wanted.FIELDS, places)
        places = self._bodies.find(index, self._unfit) or unfinished.find(index, self._unfit)
        return _Task(Wanted.MESSAGES, places) if places else None

    def _is_for_helper(self, task: _Task) -> bool:
        """Whether the helper makes something; then there is one."""
        if self._helper is not None:
            return True
        if not (task.is_suspect or len(task.places) >= WORTH_A_HELPER):
            return False
        if not self._core.settings.helper_process or time.monotonic() < self._none_before:
            return False
        try:
            self._helper = HelperProcess(self._core.log_directory)
        except HelperFailed as error:
            self._none_before = time.monotonic() + FAILURES_WITHIN
            self.log.warn("the mail store has no helper: {reason}", reason=str(error))
        return self._helper is not None

    def _make_here(self, task: _Task) -> None:
        """Make something in this thread, which leaves the interpreter to others most of the time."""
        if task.is_suspect:
            self._leave_out(task)
            return
        for place in task.places:
            if self._closing.is_set():
                raise _Stopped
            begun = time.monotonic()
            self._save(make(self._core.bodies, task.wanted, [Job(place)]))
            time.sleep(REST * (time.monotonic() - begun))

    def _converse(self, helper: HelperProcess, task: _Task | None, flying: deque[_Task]) -> None:
        """Give the helper a task, or take the oldest answer from it.

        :param flying: what it has, oldest first.
        :raises HelperFailed: it has died.
        """
        if task is None:
            self._save(helper.receive())
            self._helped = time.monotonic()
            flying.popleft()
        else:
            flying.append(task)
            helper.send(task.wanted, task.places)

    def _recover(self, flying: deque[_Task], reason: str) -> None:
        """Go on without the helper: another one begins when there is something for it.

        What it was at is tried once more, message by message.
        """
        if self._closing.is_set():
            raise _Stopped
        self._end_helper()
        self._failures.append(time.monotonic())
        self.log.warn("the helper of the mail store has failed: {reason}", reason=reason)
        suspect = flying.popleft()
        if suspect.is_suspect:
            self._leave_out(suspect)
        else:
            self._again += [_Task(suspect.wanted, [place], True) for place in suspect.places]
        self._again += flying
        flying.clear()

    def _leave_out(self, suspect: _Task) -> None:
        ((body_id, *_),) = suspect.places
        self._unfit.add(body_id)
        self.log.error("nothing is made ahead of message body {body_id}", body_id=body_id)

    @property
    def _has_given_up(self) -> bool:
        """Helpers die again and again. Here is no place for what kills them."""
        failures = self._failures
        return len(failures) == MAX_FAILURES and time.monotonic() < failures[0] + FAILURES_WITHIN

    def _end_helper(self) -> None:
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.close()

    def _save(self, made: Made) -> None:
        self._unfit.update(made.damaged)
        fields = (TEXTS, made.texts), (THREADS, made.threads), (ADDRESSES, made.addresses)
        for kind, rows in fields:
            if rows:
                self._submit(kind.save(rows))
        kept = [each for each in made.summaries if each[1].size <= MAX_KEPT]
        self._unfit.update({body_id for body_id, _ in made.summaries}.difference(dict(kept)))
        if kept:
            self._submit(SaveSummaries(kept))
        if made.maps:
            self._submit(SaveTextMaps(made.maps))
        while len(self._saving) > MAX_BEHIND:
            wait((self._saving.popleft(),))

    def _submit(self, operation: Operation[None]) -> None:
        self._saving.append(self._writer.submit_soon(operation))
