"""Refusals at times that tell nothing."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from mailkit.coroutines import pause

#: Seconds: refusals come at a multiple of it after the question.
STEP = 0.5
#: Seconds for which the base's own refusals are remembered, the slowest of which the others wait for.
#: Not their number: names that a base refuses at once would push the slow ones out.
REMEMBERED = 600.0
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
        # When they were last told after so many seconds, of which there are LONGEST / STEP at most.
        self._taken: dict[float, float] = {}

    def note(self, begun: float) -> None:
        """The base itself has refused somebody.

        :param begun: when it was asked, in seconds.
        """
        now = self._clock.seconds()
        self._taken[min(_told_after(now - begun), LONGEST)] = now

    async def hold_back(self, begun: float) -> None:
        """Wait until a refusal may be told.

        :param begun: when the base was asked, in seconds.
        """
        now = self._clock.seconds()
        taken = now - begun
        slow = [told for told, noted in self._taken.items() if now - noted < REMEMBERED]
        await pause(self._clock, max(_told_after(taken), *slow, 0.0) - taken)


def _told_after(taken: float) -> float:
    """Seconds after the question when a refusal is told that took so long."""
    return (taken // STEP + 1) * STEP
