"""One timer for many connections: what a timer of its own would cost each of them adds up."""

from __future__ import annotations

from math import ceil
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailkit.clocks import steady_seconds

#: Seconds by which a timer may be late: the clocks of the day and of durations drift apart.
_SLACK = 0.1


class Waiting(Protocol):
    """What has a deadline."""

    def deadline_reached(self) -> None:
        """The time is over."""


class Deadlines:
    """Tells its members when their time is over, up to a second late.

    A member is in it once at most, and remembers the second that :meth:`add` gave.

    :param clock: makes the timer. Its times are those of :attr:`seconds`, so that a clock of the day that
        is set makes no deadline come sooner; see :class:`mailkit.tap.clock_watch.ClockWatch` for later.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        #: Tells the time, by a clock that nobody sets.
        self.seconds = steady_seconds(clock)
        # By the second of their deadlines, in the order of arrival.
        self._waiting: dict[int, dict[Waiting, None]] = {}
        self._timer: IDelayedCall | None = None

    def add(self, member: Waiting, when: float) -> int:
        """Tell a member at that time, by :attr:`seconds`; gives the second in which it is."""
        second = ceil(when)
        members = self._waiting.get(second)
        if members is not None:
            members[member] = None
            return second
        self._waiting[second] = {member: None}
        # By what is left, as the clock of the day may have been set back since the timer was set.
        left = second - self.seconds()
        if self._timer is None or self._timer.getTime() - self._clock.seconds() > left + _SLACK:
            self._set_timer(min(self._waiting))
        return second

    def remove(self, member: Waiting, second: int) -> None:
        """Forget a member; one that has been told is forgotten already."""
        members = self._waiting.get(second)
        if members is not None:
            members.pop(member, None)
            if not members:
                # The timer stays: another member will come.
                del self._waiting[second]

    def stop_timer(self) -> None:
        """Nobody is waiting, and nobody is expected."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _set_timer(self, second: int) -> None:
        # Not reset: Twisted looks through all its timers then.
        self.stop_timer()
        delay = max(0.0, second - self.seconds())
        self._timer = self._clock.callLater(delay, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self.seconds()
        for second in sorted(second for second in self._waiting if second <= now):
            for member in self._waiting.pop(second, ()):
                try:
                    member.deadline_reached()
                except Exception:
                    # A bug of one connection must not take the others' time away.
                    self.log.failure("a time-out could not be handled")
        if self._waiting and self._timer is None:
            self._set_timer(min(self._waiting))
