"""Refusals at times that tell nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, TypeAlias

from twisted.internet.interfaces import IReactorTime

from mailkit.clocks import steady_seconds
from mailkit.coroutines import pause

#: Seconds: refusals come at a multiple of it after the question.
STEP = 0.5
#: Seconds for which the base's own refusals are remembered behind one another, the slowest of which
#: the others wait for.
#: Not their number: names that a base refuses at once would push the slow ones out.
REMEMBERED = 600.0
#: Seconds that they wait for at most: a base that was slow for a time delays nobody longer.
LONGEST = 5.0

#: Waits until a refusal may be told; from when it is called, so that several add up.
Hold: TypeAlias = Callable[[], Awaitable[None]]


class Question(NamedTuple):
    """A base is asked about a password."""

    #: When, by the clock of durations.
    asked: float
    #: Seconds after which a refusal is told, as far as is known then.
    told: float


class Refusals:
    """Holds a base's refusals back, as how long one took depends on why.

    They come at a multiple of :data:`STEP`, and not before the slowest of the base's last ones would
    have: some bases take their time over a wrong password, as PAM does for seconds. So whoever is
    refused behind a right password cannot tell.

    :param slow: the base takes its time over refusals, nobody knows how long until it has refused somebody.
    """

    def __init__(self, clock: IReactorTime, *, slow: bool = False) -> None:
        self._clock = clock
        self._seconds = steady_seconds(clock)
        self._unknown = LONGEST if slow else STEP
        # When they were last told after so many seconds, of which there are LONGEST / STEP at most.
        self._taken: dict[float, float] = {}

    def ask(self) -> Question:
        """The base is asked now."""
        return Question(self._seconds(), self._slowest())

    def note(self, question: Question) -> None:
        """The base itself has refused somebody."""
        now = self._seconds()
        self._taken[min(_told_after(now - question.asked), LONGEST)] = now

    def hold(self, question: Question) -> Hold:
        """Somebody is refused now; what this gives waits until it may be told."""
        taken = self._seconds() - question.asked
        told = max(_told_after(taken), question.told, self._slowest())
        return partial(pause, self._clock, told - taken)

    def _slowest(self) -> float:
        """Seconds after which a refusal is told that is known at once."""
        # Not by the time of now: nobody has refused anybody since, so nobody knows better.
        forgotten = max(self._taken.values(), default=0.0) - REMEMBERED
        slow = (told for told, noted in self._taken.items() if noted > forgotten)
        return max(slow, default=self._unknown)


def _told_after(taken: float) -> float:
    """Seconds after the question when a refusal is told that took so long."""
    return (taken // STEP + 1) * STEP
