"""Puts down that an attempt is under way, where it takes long enough for somebody to ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from mailkit.queue.recording import Recorder
from mailkit.queue.values import QueuedMessage, RecipientState, Update

#: Seconds that an attempt takes before it is put down: most end long before, and cost nothing more.
NOTED_AFTER = 5.0


class AttemptNotes:
    """Lets whoever looks into the queue see what is being handed over.

    :param recorder: also writes the outcomes, in the order in which they come.
    :param call_later: of the reactor.
    """

    log = Logger()

    def __init__(self, recorder: Recorder, call_later: Callable[..., Any]) -> None:
        self._recorder = recorder
        self._call_later = call_later

    @contextmanager
    def under_way(self, message: QueuedMessage) -> Iterator[None]:
        """For as long as an attempt takes."""
        call = self._call_later(NOTED_AFTER, self._note, message, RecipientState.ATTEMPTING)
        try:
            yield
        except CancelledError:
            if not call.active():
                # There will be no outcome.
                self._note(message)
            raise
        finally:
            if call.active():
                call.cancel()

    def _note(self, message: QueuedMessage, state: RecipientState | None = None) -> None:
        """Put down a state for all recipients; the one that each had when None."""
        updates = [Update(each.id, state or each.state) for each in message.recipients]
        noting = Deferred.fromCoroutine(self._recorder.record(updates))
        noting.addErrback(lambda failure: self.log.failure("what is under way", failure))
