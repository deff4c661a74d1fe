"""How much of what is on its way to the writer is in memory at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred


class Loading:
    """Lets messages pass that were spooled to files and must be read back; others wait their turn.

    A thousand of them that end at once would be a thousand megabytes.

    :param limit: octets; one message may be larger, alone.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._waiting: deque[tuple[int, Deferred[None]]] = deque()

    @asynccontextmanager
    async def room(self, octets: int) -> AsyncIterator[None]:
        """Wait until there is room for so many octets, and keep it for the block."""
        if self._waiting or not self._fits(octets):
            turn: Deferred[None] = Deferred()
            self._waiting.append((octets, turn))
            # Whoever lets it go on counts the octets.
            await turn
        else:
            self._used += octets
        try:
            yield
        finally:
            self._used -= octets
            while self._waiting and (self._waiting[0][1].called or self._fits(self._waiting[0][0])):
                size, turn = self._waiting.popleft()
                if not turn.called:
                    self._used += size
                    turn.callback(None)

    def _fits(self, octets: int) -> bool:
        return not octets or not self._used or self._used + octets <= self.limit
