"""Lets no timer wait for longer where somebody sets the clock back.

Twisted's timers go by the clock of the day. One that is set back by an hour makes each of them an hour
late, and nothing that would notice it happens in a server without mail: the queue is not looked
through, and an attempt at a server that hangs does not end.

Steps of up to a minute (``CLOCK_SLACK``) are left alone. The parent of several workers and the process that
keeps their store have no watch: what they wait for may come as much later.
"""

from __future__ import annotations

import os
import select
import threading
from typing import Any

from twisted.logger import Logger

from mailkit.queue.clock_steps import ClockSteps

#: Seconds between two looks.
LOOK_INTERVAL = 1.0


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

    def _look_on(self, ends: int) -> None:
        # Not the wait of a lock: before Python 3.11 that goes by the clock of the day.
        poll = select.poll()
        poll.register(ends, select.POLLIN)
        while not poll.poll(LOOK_INTERVAL * 1000):
            back = self._steps.seconds_back()
            if back:
                self._reactor.callFromThread(self.hurry, back)
        os.close(ends)

    def hurry(self, back: float) -> None:
        """Let all timers that were set before the clock was set back come at their time.

        :param back: seconds by which it was set back.
        """
        self.log.warn("the clock was set back by {back:.0f} seconds", back=back)
        # What is due before that was set since. Who set one in the last second or two that takes longer
        # than the clock was set back has it come too early by as much.
        first = self._reactor.seconds() + back - 2 * LOOK_INTERVAL
        for call in self._reactor.getDelayedCalls():
            if call.getTime() > first:
                call.delay(-back)
