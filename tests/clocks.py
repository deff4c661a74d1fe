"""A clock of the day that somebody sets, beside one that nobody can set."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock

from mailkit._typing import override


class DayClock(Clock):
    """What a reactor has: its timers go by the clock of the day."""

    def __init__(self) -> None:
        super().__init__()
        self.steady = Clock()
        # So that it can be set back.
        super().advance(100_000.0)

    @override
    def advance(self, amount: float) -> None:
        self.steady.advance(amount)
        super().advance(amount)

    def set_back(self, seconds: float) -> None:
        """Set the clock of the day back, or forward by less than nothing."""
        self.rightNow -= seconds


def steady_of(clock: DayClock) -> Callable[[], float]:
    """Stands for :func:`mailkit.clocks.steady_seconds`, which knows only Twisted's own reactors."""
    return clock.steady.seconds
