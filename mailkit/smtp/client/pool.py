"""Connections that are used again: those to one server, or to all servers of one domain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from mailkit.clocks import steady_seconds
from mailkit.smtp.client.session import Session

#: Seconds that a connection is kept for the next message.
IDLE_TIME = 30.0
# Seconds by which a reactor may call too early, for its clock and ours are rounded.
_SLACK = 0.001


class SessionPool:
    """Keeps the sessions that nobody uses just now.

    :param connect: opens another session.
    :param reactor: tells when a session has waited long enough.
    :param idle_time: seconds; :data:`IDLE_TIME` when None.
    :param fresh_time: seconds after its last use for which a session is given without asking the
        server: for those who try again where it turns out to be gone.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Session]],
        reactor: Any,
        idle_time: float | None = None,
        fresh_time: float = 0.0,
    ) -> None:
        self._connect = connect
        self._fresh_time = fresh_time
        self._reactor = reactor
        self._seconds = steady_seconds(reactor)
        self._idle_time = idle_time
        # Each with when it was used, the last one at the end.
        self._idle: list[tuple[Session, float]] = []
        #: One for all: it is not set anew for each message.
        self._timer: Any = None
        self._closed = False

    @property
    def idle(self) -> int:
        """How many sessions wait."""
        return len(self._idle)

    async def take(self) -> Session:
        """A session that nobody else uses.

        :raises ClientError: the server cannot be used.
        """
        while self._idle:
            session, used = self._idle.pop()
            if await self._is_alive(session, used):
                return session
            session.abort()
        return await self._connect()

    async def _is_alive(self, session: Session, used: float) -> bool:
        if self._seconds() - used < self._fresh_time:
            return not session.closed
        return await session.check()

    def give_back(self, session: Session) -> None:
        """Let others use it."""
        if session.closed:
            return
        if session.exhausted or self._closed:
            Deferred.fromCoroutine(session.quit())
            return
        self._idle.append((session, self._seconds()))
        if self._timer is None:
            self._timer = self._reactor.callLater(self._most_idle, self._look)

    @property
    def _most_idle(self) -> float:
        return IDLE_TIME if self._idle_time is None else self._idle_time

    def _look(self) -> None:
        """End what has waited for long enough."""
        self._timer = None
        now = self._seconds()
        while self._idle:
            session, used = self._idle[0]
            left = used + self._most_idle - now
            if left > _SLACK:
                self._timer = self._reactor.callLater(left, self._look)
                return
            del self._idle[0]
            Deferred.fromCoroutine(session.quit())

    async def close(self) -> None:
        """End the sessions that wait, and those that are given back from now on."""
        self._closed = True
        idle, self._idle = self._idle, []
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        await gatherResults([Deferred.fromCoroutine(session.quit()) for session, _ in idle])
