"""Whose replies come next, where one message is sent right behind another (RFC 2920 section 3.1)."""

from __future__ import annotations

from mailkit.client.channel import Waiter


class Turn:
    """One operation on a connection: it reads replies once those to the one ahead have come.

    :param waiter: for whoever follows.
    :param ahead: the operation ahead, None where nothing is under way.
    """

    def __init__(self, waiter: Waiter, ahead: Turn | None = None) -> None:
        self._ended = waiter
        self._ahead = ahead
        #: A message may be sent right behind this one.
        self.open = False

    @property
    def waits(self) -> bool:
        """Replies to the operation ahead are still to come."""
        return self._ahead is not None and not self._ahead._ended.fired

    async def wait(self) -> None:
        """Wait until they have come."""
        if self._ahead is not None:
            await self._ahead._ended.wait()
            self._ahead = None

    def end(self) -> None:
        """Nothing is to come any more: whoever follows may read."""
        self.open = False
        self._ended.fire()
