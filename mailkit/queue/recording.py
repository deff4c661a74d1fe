"""Puts down what became of messages: those that end while something is written go in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailkit.queue.values import Report, Update

if TYPE_CHECKING:
    from mailkit.interfaces import IQueue

#: Updates that go in one step; one caller's stay together.
MAX_UPDATES = 1000


class _Entry(NamedTuple):
    """What one caller wants to be put down."""

    updates: Sequence[Update]
    reports: Sequence[Report]
    done: Deferred[None]


class Recorder:
    """Writes to a queue, one step after the other."""

    def __init__(self, queue: IQueue) -> None:
        self._queue = queue
        self._waiting: list[_Entry] = []
        self._writing = False

    async def record(self, updates: Sequence[Update], reports: Sequence[Report] = ()) -> None:
        """Put something down; durable on return. A caller that is cancelled may be too late.

        :raises MailError: nothing of it is put down.
        """
        entry = _Entry(updates, reports, Deferred())
        self._waiting.append(entry)
        if not self._writing:
            self._writing = True
            Deferred.fromCoroutine(self._write())
        await entry.done

    async def _write(self) -> None:
        """Write until nothing waits."""
        try:
            while self._waiting:
                batch = self._take()
                updates = [update for entry in batch for update in entry.updates]
                reports = [report for entry in batch for report in entry.reports]
                failure: Failure | None = None
                try:
                    await self._queue.record(updates=updates, reports=reports)
                except Exception:
                    # Whatever it is: each caller gets it.
                    failure = Failure()
                for entry in batch:
                    _end(entry.done, failure)
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
