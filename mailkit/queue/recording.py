"""Puts down what became of messages: those that end close behind each other go in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailkit.queue.values import Report, Update

if TYPE_CHECKING:
    from mailkit.interfaces import IQueue

#: Updates that go in one step; one caller's stay together.
MAX_UPDATES = 1000
#: Seconds that an outcome waits for those of other attempts at most, and no longer than the last
#: step took: what dies with this process before it is put down is sent again.
GATHERING_TIME = 0.01


class _Entry(NamedTuple):
    """What one caller wants to be put down."""

    updates: Sequence[Update]
    reports: Sequence[Report]
    done: Deferred[None]


class Recorder:
    """Writes to a queue, one step after the other.

    :param clock: the reactor, or another source of time and calls.
    """

    def __init__(self, queue: IQueue, clock: Any) -> None:
        self._queue = queue
        self._clock = clock
        #: Attempts that are under way: as long as there are some, outcomes wait for theirs.
        self.expected = 0
        self._waiting: list[_Entry] = []
        self._writing = False
        self._timer: Any = None
        #: Seconds that the last step took.
        self._step_time = 0.0

    async def record(self, updates: Sequence[Update], reports: Sequence[Report] = ()) -> None:
        """Put something down; durable on return. What a caller wanted that is cancelled is put down too.

        :param reports: belong to the recorder from now on, which closes them.
        :raises MailError: nothing of it is put down.
        """
        entry = _Entry(updates, reports, Deferred())
        self._waiting.append(entry)
        if not self._writing:
            if not self.expected:
                self.write_now()
            elif self._timer is None:
                delay = max(0.0, min(GATHERING_TIME, self._step_time))
                self._timer = self._clock.callLater(delay, self._gathered)
            elif self._timer.getTime() - self._clock.seconds() > 2 * GATHERING_TIME:
                # The clock was set back meanwhile. (A time of day is too rough for the exact limit.)
                self.write_now()
        await entry.done

    def write_now(self) -> None:
        """Wait for no other outcome."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._begin()

    def _gathered(self) -> None:
        self._timer = None
        self._begin()

    def _begin(self) -> None:
        if self._waiting and not self._writing:
            self._writing = True
            Deferred.fromCoroutine(self._write())

    async def _write(self) -> None:
        """Write until nothing waits."""
        try:
            while self._waiting:
                batch = self._take()
                updates = [update for entry in batch for update in entry.updates]
                reports = [report for entry in batch for report in entry.reports]
                failure: Failure | None = None
                began = self._clock.seconds()
                try:
                    await self._queue.record(updates=updates, reports=reports)
                except Exception:
                    # Whatever it is: each caller gets it.
                    failure = Failure()
                self._step_time = self._clock.seconds() - began
                for entry in batch:
                    _end(entry.done, failure)
                for report in reports:
                    report.content.close()
        finally:
            self._writing = False

    def _take(self) -> list[_Entry]:
        """What waits, as much as goes in one step."""
        count, total = 0, 0
        for entry in self._waiting:
            total += len(entry.updates)
            if count and total > MAX_UPDATES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch


def _end(done: Deferred[None], failure: Failure | None) -> None:
    if done.called:
        # Whoever waited was cancelled.
        return
    if failure is None:
        done.callback(None)
    else:
        done.errback(failure)
