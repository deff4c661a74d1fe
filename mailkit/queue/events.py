"""Events of the queue as an asynchronous iterator, for programs: each until it has been seen.

A reader with a name of its own sees each event at least once, also those of the time in which the program
was not running: an event counts as seen when the next one is asked for.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from twisted.internet.defer import Deferred

from mailkit.errors import MailError, NoSuchMessage
from mailkit.interfaces import IQueue, IQueueEvents
from mailkit.queue.outcomes import Event, Outcomes
from mailkit.queue.values import QueueEvent

#: Events that are read at a time.
BATCH = 50
#: Seconds after which is looked for what another process has done.
LOOK_INTERVAL = 5.0
#: What the names of readers begin with, and of those that end with their program.
_KEPT = "program:"
_PASSING = "passing:"


class EventReader:
    """Reads events.

    :param queue: also provides :class:`~mailkit.interfaces.IQueueEvents`.
    :param outcomes: tell when something has happened.
    :param clock: the reactor, or another source of time and calls.
    :param name: under which the queue remembers what was seen, for one reader at a time; without
        one it sees what happens from now on.
    :raises TypeError: the queue keeps no events.
    """

    def __init__(
        self, queue: IQueue, outcomes: Outcomes, clock: Any, name: str | None = None
    ) -> None:
        if not IQueueEvents.providedBy(queue):
            raise TypeError("this queue keeps no events")
        self._queue: Any = queue
        self._outcomes = outcomes
        self._clock = clock
        self._is_passing = name is None
        self._name = _PASSING + secrets.token_hex(8) if name is None else _KEPT + name
        self._wake: Callable[[], None] | None = None
        #: Something has happened since the queue was read.
        self._again = False
        # From now on, though nobody reads before the first event is asked for.
        self._begun: Deferred[None] = Deferred.fromCoroutine(self._begin())

    async def _begin(self) -> None:
        await self._queue.change_listeners(add=[self._name])

    async def read(self) -> AsyncIterator[Event]:
        """The events, one after the other; it ends only when it is closed.

        :raises MailError: the queue cannot be read.
        """
        ends = [self._queue.watch(lambda _: self._look()), self._outcomes.watch(self._look)]
        try:
            await self._begun
            while True:
                self._again = False
                found = deque(await self._queue.list_events(listener=self._name, limit=BATCH))
                while found:
                    record = found.popleft()
                    event = await self._complete(record)
                    if event is not None:
                        yield event
                    await self._queue.acknowledge(listener=self._name, through=record.id)
                    if not found:
                        self._again = True
                if not self._again:
                    await self._wait()
        finally:
            for end in ends:
                end()
            if self._is_passing:
                # Not waited for: a generator that nobody holds any more cannot wait.
                Deferred.fromCoroutine(self._forget())

    async def _forget(self) -> None:
        try:
            await self._queue.change_listeners(remove=[self._name])
        except MailError:
            # The queue is closed; those that are left are forgotten at the next start.
            pass

    async def _complete(self, event: QueueEvent) -> Event | None:
        """An event with its envelope; None where the message is forgotten."""
        try:
            message = await self._queue.get_message(id=event.message)
        except NoSuchMessage:
            return None
        return Event(event.message, message.envelope, event.recipient, event.state, event.attempt)

    def _look(self) -> None:
        self._again = True
        if self._wake is not None:
            self._wake()

    async def _wait(self) -> None:
        """Until something may have happened."""
        waiting: Deferred[None] = Deferred()
        call = self._clock.callLater(LOOK_INTERVAL, waiting.callback, None)

        def wake() -> None:
            self._wake = None
            waiting.callback(None)

        self._wake = wake
        try:
            await waiting
        finally:
            self._wake = None
            if call.active():
                call.cancel()


async def forget_passing_readers(queue: IQueue) -> None:
    """Let those be forgotten that have not ended well with their program."""
    if IQueueEvents.providedBy(queue):
        gone = [each for each in await queue.list_listeners() if each.startswith(_PASSING)]
        await queue.change_listeners(remove=gone)


async def end_reader(queue: IQueue, name: str) -> None:
    """Let a reader with a name be forgotten, with what it has not seen."""
    if IQueueEvents.providedBy(queue):
        await queue.change_listeners(remove=[_KEPT + name])
