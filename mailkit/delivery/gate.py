"""How many deliveries are at work, and how many may wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import DeferredSemaphore

from mailkit.errors import TemporaryFailure

T = TypeVar("T")


class Gate:
    """Lets some in at a time.

    :param at_work: how many.
    :param waiting: how many may wait; whoever comes then is sent away.
    """

    def __init__(self, at_work: int, waiting: int) -> None:
        self._semaphore = DeferredSemaphore(at_work)
        self._waiting = 0
        self._max_waiting = waiting

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Wait for one's turn, then work.

        :raises TemporaryFailure: too many wait.
        """
        if self._waiting >= self._max_waiting:
            raise TemporaryFailure("Too many messages wait to be delivered, try again later")
        self._waiting += 1
        try:
            await self._semaphore.acquire()
        finally:
            self._waiting -= 1
        try:
            return await work()
        finally:
            self._semaphore.release()
