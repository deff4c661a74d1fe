"""Puts down that an attempt is under way, where it takes long enough for somebody to ask."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from mailkit.deadlines import Deadlines
from mailkit.queue.recording import Recorder
from mailkit.queue.values import QueuedMessage, RecipientState, Update

#: Seconds that an attempt takes before it is put down, or one more: most end long before, and cost
#: nothing more.
NOTED_AFTER = 5.0


class AttemptNotes:
    """Lets whoever looks into the queue see what is being handed over.

    :param recorder: also writes the outcomes, in the order in which they come.
    :param clock: the reactor, or another source of time and calls.
    """

    log = Logger()

    def __init__(self, recorder: Recorder, clock: Any) -> None:
        #: Is told how many outcomes are still to come.
        self.recorder = recorder
        self._deadlines = Deadlines(clock)

    def under_way(self, message: QueuedMessage) -> Attempting:
        """For as long as an attempt takes, in a ``with`` statement."""
        return Attempting(self, message)

    def stop(self) -> None:
        """No attempt is under way any more."""
        self._deadlines.stop_timer()
        self.recorder.write_now()

    def begin(self, attempt: Attempting) -> int:
        """It is under way; gives the second in which it is to be put down."""
        return self._deadlines.add(attempt, self._deadlines.seconds() + NOTED_AFTER)

    def end(self, attempt: Attempting, second: int) -> None:
        """It has not taken so long."""
        self._deadlines.remove(attempt, second)

    def note(self, message: QueuedMessage, state: RecipientState | None = None) -> None:
        """Put down a state for all recipients; the one that each had when None."""
        updates = [Update(each.id, state or each.state) for each in message.recipients]
        noting = Deferred.fromCoroutine(self.recorder.record(updates))
        noting.addErrback(lambda failure: self.log.failure("what is under way", failure))
        # Somebody may be looking, and outcomes may be far away.
        self.recorder.write_now()


class Attempting:
    """One attempt."""

    __slots__ = ("_broken", "_message", "_noted", "_notes", "_second")

    def __init__(self, notes: AttemptNotes, message: QueuedMessage) -> None:
        self._notes = notes
        self._message = message
        self._noted = False
        self._broken = False

    def __enter__(self) -> Attempting:
        self._notes.recorder.expected += 1
        self._second = self._notes.begin(self)
        return self

    def break_off(self, ended: int) -> None:
        """There will be outcomes for the first recipients alone.

        :param ended: how many they are.
        """
        self._broken = True
        self._message = self._message._replace(recipients=self._message.recipients[ended:])

    def deadline_reached(self) -> None:
        self._noted = True
        self._notes.note(self._message, RecipientState.ATTEMPTING)

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._notes.recorder.expected -= 1
        if not self._noted:
            self._notes.end(self, self._second)
        elif self._broken or isinstance(error, CancelledError):
            # There will be no outcome.
            self._notes.note(self._message)
