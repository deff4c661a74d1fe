"""Which of the processes of a store works on its queue: one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from mailkit.interfaces import IProcessLocks

#: The name that whoever works on a store's queue has locked.
QUEUE_LOCK = "queue"
#: Seconds between two looks whether the process that does it has ended.
TURN_INTERVAL = 1.0


class QueueTurn:
    """Waits until no other process works on the queue, then begins.

    :param begin: is called once.
    :param reactor: a clock.
    """

    log = Logger()

    def __init__(self, store: object, begin: Callable[[], None], reactor: Any) -> None:
        self._store: Any = store
        self._begin = begin
        self._reactor = reactor
        self._timer: Any = None
        self._told = False
        self._release: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin, now or when it is our turn."""
        self._timer = None
        if not IProcessLocks.providedBy(self._store):
            # Nobody else can have it open.
            self._begin()
            return
        self._release = self._store.try_lock(QUEUE_LOCK)
        if self._release is not None:
            if self._told:
                self.log.info("this process works on the queue now")
            self._begin()
            return
        if not self._told:
            self._told = True
            self.log.info("another process works on the queue; this one adds to it")
        self._timer = self._reactor.callLater(TURN_INTERVAL, self.start)

    def cancel(self) -> None:
        """Do not begin any more."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def end(self) -> None:
        """Let another process work on the queue; this one has ended its work."""
        release, self._release = self._release, None
        if release is not None:
            release()
