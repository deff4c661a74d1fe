"""Lets no timer wait for longer where somebody sets the clock back.

Twisted's timers go by the clock of the day. One that is set back by an hour makes each of them an hour
late, and nothing that would notice it happens in a server without mail: the queue is not looked
through, and an attempt at a server that hangs does not end.

Steps of up to a minute (``CLOCK_SLACK``) are left alone.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from mailkit.queue.clock_steps import ClockSteps

#: Seconds between two looks.
LOOK_INTERVAL = 1.0
#: Timers that are moved in one turn of the reactor, which searches through all of its timers for each.
MOVED_A_TURN = 20


class ClockWatch:
    """Looks at the clock from a thread, whose waits go by a clock that nobody can set.

    :param reactor: the one whose timers are meant.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._steps = ClockSteps(reactor.seconds)
        self._thread: threading.Thread | None = None
        self._end = -1
        #: Moves more timers.
        self._more: dict[object, IDelayedCall] = {}

    def start(self) -> None:
        """Begin to look."""
        ends, self._end = os.pipe()
        self._thread = threading.Thread(target=self._look_on, args=[ends], daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more, if that was begun."""
        thread, self._thread = self._thread, None
        if thread is not None:
            os.close(self._end)
            thread.join()
        for more in self._more.values():
            more.cancel()
        self._more.clear()

    def stop_behind(self, stopping: Deferred[None]) -> Deferred[None]:
        """Look no more once that has ended, for which timers may be needed, too."""

        def stop(result: Any) -> Any:
            self.stop()
            return result

        return stopping.addBoth(stop)

    def _look_on(self, ends: int) -> None:
        # Not the wait of a lock: before Python 3.11 that goes by the clock of the day.
        poll = select.poll()
        poll.register(ends, select.POLLIN)
        before = self._reactor.seconds()
        while not poll.poll(LOOK_INTERVAL * 1000):
            now = self._reactor.seconds()
            back = self._steps.seconds_back()
            if back:
                self._reactor.callFromThread(self.hurry, back, before)
            before = now
        os.close(ends)

    def hurry(self, back: float, before: float) -> None:
        """Let all timers that were set before the clock was set back come at their time.

        :param back: seconds by which it was set back.
        :param before: when it had not been set back yet, by itself. What is due before that was set since,
            or would have come. A timer that was set since and is due later, as it takes longer than
            the clock was set back, comes too early by as much.
        """
        self.log.warn("the clock was set back by {back:.0f} seconds", back=back)
        calls = [call for call in self._reactor.getDelayedCalls() if call.getTime() >= before]
        self._move(iter(sorted(calls, key=lambda call: call.getTime())), back, before)

    def _move(self, calls: Iterator[IDelayedCall], back: float, before: float) -> None:
        self._more.pop(calls, None)
        some = list(islice(calls, MOVED_A_TURN))
        for call in some:
            # It may have come, or have been set anew, in the turns before.
            if call.active() and call.getTime() >= before:
                call.delay(-back)
        if some:
            self._more[calls] = self._reactor.callLater(0, self._move, calls, back, before)
