"""Connections that are used again: those to one server, or to all servers of one domain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, gatherResults

from mailkit.smtp.client.session import Session

#: Seconds that a connection is kept for the next message.
IDLE_TIME = 30.0


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
        self._idle_time = idle_time
        # The one used last at the end, each with the call that ends it.
        self._idle: list[tuple[Session, Any]] = []
        self._used: WeakKeyDictionary[Session, float] = WeakKeyDictionary()
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
            session, call = self._idle.pop()
            call.cancel()
            if await self._is_alive(session):
                return session
            session.abort()
        return await self._connect()

    async def _is_alive(self, session: Session) -> bool:
        if self._reactor.seconds() - self._used.get(session, 0.0) < self._fresh_time:
            return not session.closed
        return await session.check()

    def give_back(self, session: Session) -> None:
        """Let others use it."""
        if session.closed:
            return
        if session.exhausted or self._closed:
            Deferred.fromCoroutine(session.quit())
            return
        seconds = IDLE_TIME if self._idle_time is None else self._idle_time
        call = self._reactor.callLater(seconds, self._end, session)
        self._used[session] = self._reactor.seconds()
        self._idle.append((session, call))

    def _end(self, session: Session) -> None:
        self._idle = [entry for entry in self._idle if entry[0] is not session]
        Deferred.fromCoroutine(session.quit())

    async def close(self) -> None:
        """End the sessions that wait, and those that are given back from now on."""
        self._closed = True
        idle, self._idle = self._idle, []
        for _, call in idle:
            call.cancel()
        await gatherResults([Deferred.fromCoroutine(session.quit()) for session, _ in idle])
