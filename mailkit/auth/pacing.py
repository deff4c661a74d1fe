"""Refusals at times that tell nothing."""

from __future__ import annotations

from collections import deque

from twisted.internet.interfaces import IReactorTime

from mailkit.coroutines import pause

#: Seconds: refusals come at a multiple of it after the question.
STEP = 0.5
#: The base's own last refusals, the slowest of which the others wait for.
REMEMBERED = 16
#: Seconds that they wait for at most: a base that was slow for a time delays nobody longer.
LONGEST = 5.0


class Refusals:
    """Holds a base's refusals back, as how long one took depends on why.

    They come at a multiple of :data:`STEP`, and not before the slowest of the base's last ones would
    have: some bases take their time over a wrong password, as PAM does for seconds. So whoever is
    refused behind a right password cannot tell.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._taken: deque[float] = deque(maxlen=REMEMBERED)

    def note(self, begun: float) -> None:
        """The base itself has refused somebody.

        :param begun: when it was asked, in seconds.
        """
        self._taken.append(min(self._clock.seconds() - begun, LONGEST))

    async def hold_back(self, begun: float) -> None:
        """Wait until a refusal may be told.

        :param begun: when the base was asked, in seconds.
        """
        taken = self._clock.seconds() - begun
        slowest = max(taken, *self._taken, 0.0)
        await pause(self._clock, (slowest // STEP + 1) * STEP - taken)
