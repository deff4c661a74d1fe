"""Puts down that an attempt is under way, where it takes long enough for somebody to ask."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from mailkit.queue.recording import Recorder
from mailkit.queue.values import QueuedMessage, RecipientState, Update

#: Seconds that an attempt takes before it is put down: most end long before, and cost nothing more.
NOTED_AFTER = 5.0
# Seconds by which a reactor may call too early, for its clock and ours are rounded.
_SLACK = 0.001


class AttemptNotes:
    """Lets whoever looks into the queue see what is being handed over.

    :param recorder: also writes the outcomes, in the order in which they come.
    :param clock: the reactor, or another source of time and calls.
    """

    log = Logger()

    def __init__(self, recorder: Recorder, clock: Any) -> None:
        self._recorder = recorder
        self._clock = clock
        #: Those that have not been put down, in the order in which they began.
        self._running: dict[_Attempting, None] = {}
        #: One for all: it is not set anew for each message.
        self._timer: Any = None

    def under_way(self, message: QueuedMessage) -> _Attempting:
        """For as long as an attempt takes, in a ``with`` statement."""
        return _Attempting(self, message)

    def stop(self) -> None:
        """No attempt is under way any more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _begin(self, attempt: _Attempting) -> None:
        attempt.noted_at = self._clock.seconds() + NOTED_AFTER
        self._running[attempt] = None
        if self._timer is None:
            self._timer = self._clock.callLater(NOTED_AFTER, self._look)

    def _end(self, attempt: _Attempting, error: BaseException | None) -> None:
        if attempt in self._running:
            del self._running[attempt]
        elif isinstance(error, CancelledError):
            # There will be no outcome.
            self._note(attempt.message)

    def _look(self) -> None:
        """Put down what has taken long enough."""
        self._timer = None
        now = self._clock.seconds()
        for attempt in list(self._running):
            left = attempt.noted_at - now
            if left > _SLACK:
                self._timer = self._clock.callLater(left, self._look)
                return
            del self._running[attempt]
            self._note(attempt.message, RecipientState.ATTEMPTING)

    def _note(self, message: QueuedMessage, state: RecipientState | None = None) -> None:
        """Put down a state for all recipients; the one that each had when None."""
        updates = [Update(each.id, state or each.state) for each in message.recipients]
        noting = Deferred.fromCoroutine(self._recorder.record(updates))
        noting.addErrback(lambda failure: self.log.failure("what is under way", failure))


class _Attempting:
    """One attempt."""

    __slots__ = ("_notes", "message", "noted_at")

    def __init__(self, notes: AttemptNotes, message: QueuedMessage) -> None:
        self._notes = notes
        self.message = message
        #: When it is put down, unless it has ended before.
        self.noted_at = 0.0

    def __enter__(self) -> None:
        self._notes._begin(self)

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._notes._end(self, error)
