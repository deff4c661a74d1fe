"""Refusals at times that tell nothing."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from mailkit.coroutines import pause

#: Seconds: refusals come at a multiple of it after the question.
STEP = 0.5


async def even_out(clock: IReactorTime, begun: float) -> None:
    """Wait until a refusal may be told, when how long it took depends on why."""
    await pause(clock, STEP - (clock.seconds() - begun) % STEP)
