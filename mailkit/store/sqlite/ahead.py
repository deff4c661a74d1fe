"""Making ahead what fetching, searching and sorting will ask for, soon after messages have come.

A helper makes it, a process of its own (see :mod:`~mailkit.store.sqlite.helper`): all that this one
has to do is to save it. Where there cannot be a helper, and of a few messages, it is made here, most
of the time asleep.

First come the texts that are searched, and summaries without BODYSTRUCTURE, of whole mailboxes and at
once: one look at the headers takes little, and gives way to much new mail or many logins alone. All
else gives way to clients: what sorts and threads want of headers, then what needs whole messages.
Who lacks something says so (:meth:`Ahead.hurry`), and it is made before all else and without giving
way, for a while. The newest messages come first: who fetches a whole mailbox begins with the
oldest, and so the two meet in the middle. How far all was made is kept in the index, so that a
server goes on where the one before it has stopped.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from twisted.logger import Logger

from mailkit._typing import override
from mailkit.errors import MailError
from mailkit.store.sqlite.bodies import BodyPlace
from mailkit.store.sqlite.fields import ADDRESSES, TEXTS, THREADS, Kind
from mailkit.store.sqlite.helperprocess import AT_ONCE, HelperFailed, HelperProcess
from mailkit.store.sqlite.making import MAX_KEPT, Job, Made, Wanted, make
from mailkit.store.sqlite.summaries import SaveStructures, SaveSummaries
from mailkit.store.sqlite.textmaps import SaveTextMaps
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.writer import Operation, Writer

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

#: Messages that are made something of at a time: whoever waits for the helper waits for so many.
MESSAGES_AT_ONCE = 64
#: Those of which somebody lacks it already, or which takes little.
HURRIED_AT_ONCE = 250
#: Octets of them, the last one left out.
OCTETS_AT_ONCE = 4 * 1024 * 1024
#: Messages for which a helper is worth its beginning, and seconds without work after which it ends.
WORTH_A_HELPER = 32
IDLE = 30.0
#: Times as long as it takes to make something here that is waited behind it.
REST = 4
#: Share of a processor above which this process is busy; saving what the helper has made takes less.
BUSY = 0.4
#: Seconds for which that, or what clients ask for, puts the beginning off at most.
MAX_WAIT = 1.0
#: Seconds for which it puts off each task at most, and between two looks.
GIVING_WAY = 0.25
LOOK = 0.02
#: Changes and logins in a second from which much mail is coming, or many clients come and go, and
#: seconds for which that puts off each task at most: what is made meanwhile takes its part of the
#: machine.
BURST = 100.0
MAX_BURST = 5.0
#: What gives way to nothing else, as it takes little.
PROMPT = Wanted.HEADS
#: Seconds for which there is a hurry about something after somebody has lacked it; who searches is
#: likely to sort as well.
HURRY = {
    Wanted.TEXTS: 10.0,
    Wanted.ORDERS: 10.0,
    Wanted.SUMMARIES: 1.0,
    Wanted.STRUCTURES: 1.0,
}
_SCHEDULED = "/proc/self/schedstat"
#: Operations that the writer may be behind.
MAX_BEHIND = 12
#: Failures of helpers, and in how many seconds, after which there is no other for as long.
MAX_FAILURES = 20
FAILURES_WITHIN = 3600.0

_COLUMNS = "b.id, b.segment, b.position, b.start, b.size"
_VALUES = "id, segment, position, start, size"
#: Of those that are in mailboxes: nobody looks at what only waits to be sent.
_NEW = (
    f"SELECT {_COLUMNS} FROM body b LEFT JOIN summary s ON s.body_id = b.id"
    " WHERE b.id >= ? AND b.id < ?"
    " AND b.refs > (SELECT count(*) FROM queue_message WHERE body_id = b.id)"
)
_NEW_MESSAGES = f"{_NEW} AND s.body_id IS NULL ORDER BY b.id DESC LIMIT ?"


def _new_without(*kinds: Kind) -> str:
    made = (f"EXISTS (SELECT 1 FROM {kind.save.table} WHERE body_id = b.id)" for kind in kinds)
    return f"{_NEW} AND NOT ({' AND '.join(made)}) ORDER BY b.id DESC LIMIT ?"


_NEW_WITHOUT_MAPS = f"{_NEW} AND NOT EXISTS (SELECT 1 FROM text_map WHERE body_id = b.id) ORDER BY b.id DESC LIMIT ?"
#: After somebody has fetched their envelopes.
_UNFINISHED = (
    f"SELECT {_COLUMNS} FROM summary s JOIN body b ON b.id = s.body_id"
    " WHERE s.body_id >= ? AND s.body_id < ? AND b.refs > 0 AND s.body_structure IS NULL"
    " ORDER BY s.body_id DESC LIMIT ?"
)
_LAST = "SELECT ifnull(max(id), 0) FROM body"
_LEFT = "SELECT count(*) FROM (SELECT 1 FROM body WHERE id >= ? LIMIT ?)"
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
    #: Seconds for which it gives way to clients; None when somebody waits for it.
    patience: float | None = GIVING_WAY


class _Search:
    """Finds bodies that lack something, up to the newest one; then those that came meanwhile.

    :param wanted: what is made of them.
    :param lacked: what somebody lacks who is in a hurry about it: a key of :data:`HURRY`, if anybody
        can be.
    :param sql: takes the first body, the one behind the last, and how many are wanted.
    :param end: the body before which it ends.
    """

    def __init__(
        self, wanted: Wanted, lacked: Wanted, sql: str, start: int, end: float = math.inf
    ) -> None:
        self.wanted = wanted
        self.lacked = lacked
        self._limit = end - 1
        # All as one value: where the reactor's thread is at work, each row is waited for.
        self._sql = f"SELECT json_group_array(json_array({_VALUES})) FROM ({sql})"
        #: All before this one have been found.
        self.start = start
        # Those from here on as well, up to the one that was to come when this pass began.
        self._reached = self._end = start

    def find(self, index: sqlite3.Connection, limit: int, unfit: Container[int]) -> list[BodyPlace]:
        """Some that are not unfit; none if there are no more."""
        places: list[BodyPlace] = []
        while not places:
            if self._reached == self.start:
                self.start = self._end
                (last,) = index.execute(_LAST).fetchone()
                last = int(min(last, self._limit))
                if last < self.start:
                    break
                self._reached = self._end = last + 1
            values = self.start, self._reached, limit
            rows = json.loads(index.execute(self._sql, values).fetchone()[0])
            self._reached = rows[-1][0] if len(rows) == limit else self.start
            octets = 0
            for place in map(BodyPlace._make, rows):
                octets += place.size
                if places and octets > OCTETS_AT_ONCE:
                    self._reached = places[-1].body_id
                    break
                if place.body_id not in unfit:
                    places.append(place)
        return places


def _work_time() -> float:
    """Seconds that processors have worked for this process, or its first thread has waited for one.

    On a busy machine it has little of them however much it has to do.
    """
    waited = 0
    # Linux has it.
    with suppress(OSError, ValueError, IndexError), open(_SCHEDULED, "rb") as file:
        waited = int(file.read().split()[1])
    return time.process_time() + waited / 1e9


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
        # Somebody is in a hurry, or waits for our end.
        self._called = threading.Event()
        # When somebody has last lacked something.
        self._lacked = dict.fromkeys(HURRY, -math.inf)
        # What a helper has died of, message by message, or has not come to.
        self._again: deque[_Task] = deque()
        self._helper: HelperProcess | None = None
        # When it began, or has last answered.
        self._helped = 0.0
        # When the next one may be begun, after one could not, and when helpers have failed.
        self._none_before = 0.0
        self._failures: deque[float] = deque(maxlen=MAX_FAILURES)
        # Those that are gone through in this order, and those of which something is made in a hurry.
        self._searches: list[_Search] = []
        # What those have left out in a hurry.
        self._left = _Search(Wanted.MAPS, Wanted.MAPS, _NEW_WITHOUT_MAPS, 0)
        # Before which body all has been made, as the index has it.
        self._noted = 0
        # Bodies that are damaged, or whose summaries are too long to be kept, or that kill helpers.
        self._unfit: set[int] = set()
        # What the writer has been given.
        self._saving: deque[Future[None]] = deque()
        # When changes and logins were last counted, how many there were, and whether they came fast.
        self._counted, self._asked, self._is_burst = -math.inf, 0, False
        self._thread = threading.Thread(target=self._loop, name="mailkit-ahead", daemon=True)

    def start(self) -> None:
        # For what the owner before this one has left.
        self._wake.set()
        self._thread.start()

    def wake(self) -> None:
        """There may be new messages; from any thread."""
        self._wake.set()

    def hurry(self, wanted: Wanted) -> None:
        """Somebody lacks something, and may well lack more of it; from any thread.

        :param wanted: a key of :data:`HURRY`.
        """
        is_new = wanted not in self._hurried
        self._lacked[wanted] = time.monotonic()
        if is_new:
            self._called.set()

    def stop(self) -> None:
        """Tell the thread to end; the writer must still be at work."""
        self._closing.set()
        self._called.set()
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
            self._wake.clear()
            if not self._hurried:
                self._called.clear()
            try:
                if index is None:
                    # What the owner before this one has left is there already.
                    index = self._core.connect()
                    self._find_beginning(index)
                else:
                    # What comes together is made together.
                    self._wait_for_calm(MAX_WAIT, self._core.settings.ahead_delay)
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

        There is no wait once somebody is in a hurry.

        :param patience: seconds; :data:`MAX_BURST` as long as much mail is coming.
        :param look: seconds in which nothing may happen.
        """
        begun = time.monotonic()
        while not (self._closing.is_set() or self._called.is_set()):
            looked, asked = time.monotonic(), self._asked_for
            if self._is_calm(look):
                break
            now = time.monotonic()
            is_burst = self._asked_for - asked >= BURST * (now - looked)
            if now - begun >= (max(patience, MAX_BURST) if is_burst else patience):
                break
            if is_burst:
                # To look takes the interpreter away from those who ask.
                look = max(look, GIVING_WAY)

    def _gives_way(self, task: _Task) -> bool:
        """Whether a task waits for calm before it."""
        now, asked = time.monotonic(), self._asked_for
        seconds = now - self._counted
        if seconds >= LOOK:
            self._is_burst = asked - self._asked >= BURST * seconds
            self._counted, self._asked = now, asked
        # No time is taken to look at what clients do where that does not count.
        return task.patience is not None and (task.patience > 0 or self._is_burst)

    @property
    def _asked_for(self) -> int:
        """Changes that were asked for, and logins."""
        return self._writer.asked + self._core.accounts_opened

    def _is_calm(self, seconds: float) -> bool:
        """Let some time pass; true if nobody has asked for anything, nor made this process work."""
        begun, worked, asked = time.monotonic(), _work_time(), self._asked_for
        self._called.wait(seconds)
        worked = _work_time() - worked
        return self._asked_for == asked and worked < BUSY * (time.monotonic() - begun)

    def _find_beginning(self, index: sqlite3.Connection) -> None:
        row = index.execute("SELECT value FROM setting WHERE name = ?", (_SETTING,)).fetchone()
        self._noted = 0 if row is None else int(row[0])
        self._searches = [
            _Search(wanted, lacked, sql, self._noted)
            for wanted, lacked, sql in (
                (PROMPT, Wanted.TEXTS, _new_without(TEXTS)),
                (Wanted.ORDERS, Wanted.ORDERS, _new_without(THREADS, ADDRESSES)),
                (Wanted.SUMMARIES, Wanted.SUMMARIES, _NEW_MESSAGES),
                (Wanted.MESSAGES, Wanted.STRUCTURES, _NEW_MESSAGES),
                (Wanted.BODIES, Wanted.STRUCTURES, _UNFINISHED),
            )
        ]

        self._left = _Search(Wanted.MAPS, Wanted.MAPS, _NEW_WITHOUT_MAPS, self._noted)

        (left,) = index.execute(_LEFT, (self._noted, WORTH_A_HELPER)).fetchone()
        if left == WORTH_A_HELPER:
            # It takes as long to begin as to make something of some thousand messages.
            self._begin_helper()

    def _work(self, index: sqlite3.Connection) -> None:
        """Make all that there is to make."""
        # Of older messages.
        unfinished = _Search(Wanted.BODIES, Wanted.STRUCTURES, _UNFINISHED, 0, self._noted)
        self._go_through(index, [*self._searches, unfinished])
        # What is not there yet would be found once more.
        wait(self._saving)
        self._go_through(index, [*self._searches, unfinished, self._left])
        reached = min(
            search.start for search in self._searches if search.wanted is not Wanted.SUMMARIES
        )
        reached = min(reached, self._left.start)
        if reached != self._noted:
            self._noted = reached
            self._submit(NoteMadeAhead(self._noted))
        wait(self._saving)

    def _go_through(self, index: sqlite3.Connection, searches: Sequence[_Search]) -> None:
        """Make what they find."""
        flying: deque[_Task] = deque()
        try:
            while not self._has_given_up:
                if self._closing.is_set():
                    raise _Stopped
                task = self._choose(index, searches) if len(flying) < AT_ONCE else None
                if task is None and not flying:
                    break
                if task is not None:
                    is_large = task.is_suspect or len(task.places) >= WORTH_A_HELPER
                    # To begin a helper takes more than most tasks do.
                    if (is_large or self._helper is not None) and self._gives_way(task):
                        self._wait_for_calm(task.patience or 0.0, LOOK)
                    if is_large and self._helper is None:
                        self._begin_helper()
                    if self._helper is None:
                        self._make_here(task)
                        continue
                assert self._helper is not None
                try:
                    self._converse(self._helper, task, flying)
                except HelperFailed as error:
                    self._recover(flying, str(error))
        finally:
            if flying:
                # Nobody reads the answers.
                self._end_helper()
                self._again += flying

    @property
    def _hurried(self) -> Mapping[Wanted, float]:
        """What there is a hurry about, and when somebody has last lacked it."""
        now = time.monotonic()
        return {kind: last for kind, last in self._lacked.items() if now - last < HURRY[kind]}

    def _choose(self, index: sqlite3.Connection, searches: Sequence[_Search]) -> _Task | None:
        """What is to be made next; None if there is nothing left."""
        if self._again:
            return self._again.popleft()
        self._called.clear()
        hurried = self._hurried
        # What was lacked last comes first.
        for search in sorted(searches, key=lambda search: -hurried.get(search.lacked, -math.inf)):
            wanted = search.wanted
            patience: float | None = 0.0 if wanted is PROMPT else GIVING_WAY
            if search.lacked in hurried:
                patience = None
                # Nobody waits for the rest, which comes later then: maps take as long again.
                wanted &= ~Wanted.MAPS
                if search.lacked is Wanted.TEXTS:
                    wanted = Wanted.TEXTS
            elif wanted is Wanted.SUMMARIES:
                # All of a message is looked at anyway, later.
                continue
            limit = MESSAGES_AT_ONCE if patience else HURRIED_AT_ONCE
            if places := search.find(index, limit, self._unfit):
                return _Task(wanted, places, patience=patience)
        return None

    def _begin_helper(self) -> None:
        if not self._core.settings.helper_process or time.monotonic() < self._none_before:
            return
        try:
            self._helper = HelperProcess(self._core.log_directory)
        except HelperFailed as error:
            self._none_before = time.monotonic() + FAILURES_WITHIN
            self.log.warn("the mail store has no helper: {reason}", reason=str(error))
        self._helped = time.monotonic()

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
        # Of those of which the header alone was looked at, more is made.
        self._unfit.update(
            body_id
            for body_id, summary in made.summaries
            if summary.size > MAX_KEPT and summary.body_structure
        )
        structures = [each for each in kept if not each[1].envelope]
        if structures:
            self._submit(SaveStructures(structures))
        elif kept:
            self._submit(SaveSummaries(kept))
        if made.maps:
            self._submit(SaveTextMaps(made.maps))
        while len(self._saving) > MAX_BEHIND:
            wait((self._saving.popleft(),))

    def _submit(self, operation: Operation[None]) -> None:
        self._saving.append(self._writer.submit_soon(operation))
