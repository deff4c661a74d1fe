"""The clock by which durations are measured."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorTime


def steady_seconds(clock: IReactorTime) -> Callable[[], float]:
    """What tells seconds since any moment and is never set, other than the clock of the day.

    :param clock: makes the timers. Twisted's reactors tell the time of the day; any other clock is
        believed to be steady itself.
    """
    return time.monotonic if isinstance(clock, ReactorBase) else clock.seconds
