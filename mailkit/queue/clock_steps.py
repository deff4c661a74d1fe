"""Notices when somebody sets the clock back."""

from __future__ import annotations

import time
from collections.abc import Callable

from mailkit.expiring import CLOCK_SLACK


class ClockSteps:
    """Compares the clock with one that nobody can set.

    :param seconds: tells the time since the epoch.
    :param monotonic: tells seconds since any moment.
    """

    def __init__(
        self, seconds: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._offset = seconds() - monotonic()

    def seconds_back(self) -> float:
        """By how much the clock was set back since this was asked before; 0 for up to a minute."""
        offset = self._seconds() - self._monotonic()
        back = self._offset - offset
        self._offset = offset
        return back if back > CLOCK_SLACK else 0.0
