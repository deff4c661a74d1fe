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

    def went_back(self) -> bool:
        """Whether the clock was set back by more than a minute since this was asked before."""
        offset = self._seconds() - self._monotonic()
        back = self._offset - offset > CLOCK_SLACK
        self._offset = offset
        return back
