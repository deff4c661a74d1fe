"""How much one destination gets: messages at the same time, and messages a minute.

It begins with a few at a time. Each success allows more, until there is trouble, which halves what is
allowed; from then on it grows slowly (as TCP does, RFC 5681 section 3.1). A destination is a set of
hosts, however many domains they serve.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from mailkit.clocks import steady_seconds
from mailkit.expiring import ExpiringMap
from mailkit.smtp.client import ClientError, Session

#: Messages at the same time to a destination of which nothing is known.
FIRST_WINDOW = 4.0
#: Destinations that are remembered.
MAX_DESTINATIONS = 10_000
#: Hosts of which it is remembered that they cannot be used.
MAX_DEAD = 100_000
#: Seconds for which a host is not tried again that could not be used.
DEAD_TIME = 60.0


@dataclass(frozen=True)
class PaceSettings:
    """What a destination may get at most.

    :param max_connections: connections with messages under way at the same time.
    :param rate: messages a minute; 0 for as many as it takes.
    :param dead_time: seconds for which a host is left alone that cannot be connected to.
    :param pipelined_messages: the next message's commands go right behind the content of the one
        before, where a server has PIPELINING (RFC 2920 section 3.1).
    :raises ValueError: a value makes no sense.
    """

    max_connections: int = 20
    rate: float = 0.0
    dead_time: float = DEAD_TIME
    pipelined_messages: bool = True

    def __post_init__(self) -> None:
        if self.max_connections < 1:
            raise ValueError("max_connections is at least 1")
        if self.rate < 0 or self.dead_time < 0:
            raise ValueError("rate and dead_time are not negative")


class Pace:
    """The messages to one destination.

    :param clock: the reactor, or another source of time and calls.
    """

    __slots__ = (
        "_clock",
        "_interval",
        "_most",
        "_next_time",
        "_seconds",
        "_slow",
        "_timer",
        "_troubles",
        "_waiting",
        "under_way",
        "window",
    )

    def __init__(self, settings: PaceSettings, clock: Any) -> None:
        self._most = settings.max_connections
        self._interval = 60.0 / settings.rate if settings.rate else 0.0
        self._clock = clock
        self._seconds = steady_seconds(clock)
        #: How many may be under way; what is behind the point counts for growth.
        self.window = min(FIRST_WINDOW, self._most)
        self.under_way = 0
        #: When the next one may begin, by :attr:`_seconds`.
        self._next_time = float("-inf")
        self._slow = False
        # Several may fail for one reason, which halves once: those that began before do not count.
        self._troubles = 0
        #: A list: there are thousands of these, and an empty deque takes ten times as much.
        self._waiting: list[tuple[object, Deferred[Session | None]]] = []
        self._timer: Any = None

    @property
    def idle(self) -> bool:
        """Nobody is under way or waits."""
        return not self.under_way and not self._waiting

    async def enter(self) -> int:
        """Wait until one more message may be under way.

        :returns: what :meth:`leave` takes.
        """
        ticket, _ = await self.enter_or_follow(None)
        return ticket

    async def enter_or_follow(self, link: object) -> tuple[int, Session | None]:
        """The same for a message that may take over the place of another one.

        :param link: those with the same may take over from each other.
        :returns: also the connection that the other one has passed on.
        """
        session = None
        if self._waiting or not self._is_free():
            turn: Deferred[Session | None] = Deferred()
            entry = (link, turn)
            self._waiting.append(entry)
            self._look()
            try:
                session = await turn
            except BaseException:
                if entry in self._waiting:
                    self._waiting.remove(entry)
                else:
                    # It was our turn already.
                    self._release()
                raise
        else:
            self._take()
        return self._troubles, session

    def pass_on(self, link: object, session: Session) -> bool:
        """Give the place of a message that is nearly sent, and its connection, to one that waits.

        Only to the one that has waited for longest, so that other links come to their turns; and not
        where there are more under way than there may be now.

        :returns: whether it was taken; then :meth:`leave` is to be told.
        """
        if not self._waiting or self._waiting[0][0] is not link:
            return False
        if self.under_way > int(self.window) or self._seconds() < self._next_time:
            return False
        _, turn = self._waiting.pop(0)
        self._note_begin()
        turn.callback(session)
        return True

    def leave(self, ticket: int, trouble: bool | None = False, passed_on: bool = False) -> None:
        """A message is no longer under way.

        :param trouble: the destination has asked for less, or could not be reached; None where it was not
            spoken to.
        :param passed_on: another one has its place.
        """
        if trouble is False:
            self.window = min(self._most, self.window + (1 / self.window if self._slow else 1.0))
        elif trouble and ticket == self._troubles:
            self._troubles += 1
            self._slow = True
            self.window = max(1.0, self.window / 2)
        if passed_on:
            self._look()
        else:
            self._release()

    def _release(self) -> None:
        self.under_way -= 1
        self._look()

    def _is_free(self) -> bool:
        return self.under_way < int(self.window) and self._seconds() >= self._next_time

    def _take(self) -> None:
        self.under_way += 1
        self._note_begin()

    def _note_begin(self) -> None:
        if self._interval:
            self._next_time = self._seconds() + self._interval

    def _look(self) -> None:
        """Let those begin who may."""
        while self._waiting and self._is_free():
            self._take()
            _, turn = self._waiting.pop(0)
            turn.callback(None)
        delay = self._next_time - self._seconds()
        if self._waiting and delay > 0 and self._timer is None:
            self._timer = self._clock.callLater(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        self._look()

    def close(self) -> None:
        """Nobody will enter any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Paces:
    """What is known of destinations and hosts.

    :param clock: as for :class:`Pace`.
    """

    def __init__(self, settings: PaceSettings, clock: Any) -> None:
        self._settings = settings
        self._clock = clock
        self._paces: OrderedDict[Sequence[str], Pace] = OrderedDict()
        self._dead: ExpiringMap[str, ClientError] = ExpiringMap(MAX_DEAD, clock.seconds)

    def find(self, destination: Sequence[str]) -> Pace:
        """The pace of a destination.

        :param destination: names of its hosts.
        """
        pace = self._paces.get(destination)
        if pace is None:
            self._make_room()
            pace = self._paces[destination] = Pace(self._settings, self._clock)
        self._paces.move_to_end(destination)
        return pace

    def _make_room(self) -> None:
        if len(self._paces) >= MAX_DESTINATIONS:
            oldest = [key for key, pace in self._paces.items() if pace.idle][
                : MAX_DESTINATIONS // 2
            ]
            for key in oldest:
                self._paces.pop(key).close()

    def note_dead(self, host: str, error: ClientError) -> None:
        """A host could not be connected to."""
        # A copy has no traceback, which would keep the message in memory that was to be sent.
        self._dead.set(host, copy.copy(error), self._settings.dead_time)

    def why_dead(self, host: str) -> ClientError | None:
        """Why a host is not tried now, as an error to be raised; None when it may be."""
        return copy.copy(self._dead.get(host))

    def close(self) -> None:
        """Nothing more will be sent."""
        for pace in self._paces.values():
            pace.close()
