"""Who is next when more log in than there is time for: no client crowds out another."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from typing import Generic, TypeAlias, TypeVar, cast

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from mailkit.errors import TemporaryFailure

#: Addresses of which it is remembered how their last login went.
MAX_ADDRESSES = 10_000
#: One turn in so many goes to the addresses that would otherwise come last.
LAST_FIRST = 4

T = TypeVar("T")

#: By network and address, each in the order of their turns.
_Line: TypeAlias = "OrderedDict[str, OrderedDict[str, deque[T]]]"

_GOOD, _UNKNOWN, _BAD = range(3)


class Turns(Generic[T]):
    """Things that wait, by the client address that they are for.

    Networks take turns, and so do the addresses in each, whatever the number of things that wait
    for one. Addresses whose last login was right come first; those whose last one was wrong come
    last, though not never.

    :ivar limit: things that may wait.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lines: tuple[_Line[T], ...] = tuple(OrderedDict() for _ in range(3))
        self._standing: OrderedDict[str, int] = OrderedDict()
        self._count = 0
        self._turn = 0

    def __len__(self) -> int:
        return self._count

    def note(self, client: str, good: bool) -> None:
        """A login from that address was right, or wrong."""
        _, address = locate(client)
        self._standing[address] = _GOOD if good else _BAD
        self._standing.move_to_end(address)
        if len(self._standing) > MAX_ADDRESSES:
            self._standing.popitem(last=False)

    def put(self, client: str, thing: T) -> T | None:
        """Let something wait.

        :returns: what has to go because there is no room, which may be this very thing.
        """
        network, address = locate(client)
        line = self._lines[self._standing.get(address, _UNKNOWN)]
        addresses = line.setdefault(network, OrderedDict())
        addresses.setdefault(address, deque()).append(thing)
        self._count += 1
        return self._drop() if self._count > self.limit else None

    def take(self) -> T | None:
        """What is next; None when nothing waits."""
        if not self._count:
            return None
        self._turn += 1
        lines = self._lines if self._turn % LAST_FIRST else self._lines[::-1]
        line = next(filter(None, lines))
        network, addresses = line.popitem(last=False)
        address, things = addresses.popitem(last=False)
        thing = things.popleft()
        if things:
            addresses[address] = things
        if addresses:
            line[network] = addresses
        self._count -= 1
        return thing

    def remove(self, client: str, thing: T) -> bool:
        """Let something wait no longer; false when it does not wait."""
        network, address = locate(client)
        for line in self._lines:
            addresses = line.get(network)
            if addresses is not None and thing in addresses.get(address, ()):
                self._remove(line, network, address, thing)
                return True
        return False

    def _remove(self, line: _Line[T], network: str, address: str, thing: T) -> None:
        addresses = line[network]
        addresses[address].remove(thing)
        self._count -= 1
        if not addresses[address]:
            del addresses[address]
        if not addresses:
            del line[network]

    def _drop(self) -> T:
        """Take the latest thing away from whom most waits for, among those that come last."""
        line = next(filter(None, reversed(self._lines)))

        def total(network: str) -> int:
            return sum(map(len, line[network].values()))

        network = max(reversed(line), key=total)
        address = max(reversed(line[network]), key=lambda address: len(line[network][address]))
        thing = line[network][address][-1]
        self._remove(line, network, address, thing)
        return thing


class Entrance:
    """Lets so many in at the same time; those who wait take turns by the addresses of their clients.

    :param most: who may be in.
    :param max_waiting: who may wait.
    :param seconds: how long.
    :param clock: tells when they have passed; the reactor when None.
    """

    def __init__(
        self, most: int, max_waiting: int, seconds: float, clock: IReactorTime | None = None
    ) -> None:
        if clock is None:
            from twisted.internet import reactor

            clock = cast(IReactorTime, reactor)
        self._free = most
        self._waiting: Turns[Deferred[None]] = Turns(max_waiting)
        self._seconds = seconds
        self._clock = clock

    async def enter(self, address: str) -> None:
        """Come in, as soon as it is one's turn.

        :raises TemporaryFailure: too many wait, and others have more claim; or it takes too long.
        """
        if self._free:
            self._free -= 1
            return

        def give_up(turn: Deferred[None]) -> None:
            self._waiting.remove(address, turn)

        turn: Deferred[None] = Deferred(give_up)
        turn.addTimeout(self._seconds, self._clock)
        dropped = self._waiting.put(address, turn)
        if dropped is not None:
            dropped.errback(TemporaryFailure())
        try:
            await turn
        except TimeoutError:
            raise TemporaryFailure from None

    def leave(self, address: str, good: bool | None) -> None:
        """Go out again.

        :param good: how the login went; None when nobody knows.
        """
        if good is not None:
            self._waiting.note(address, good)
        turn = self._waiting.take()
        if turn is None:
            self._free += 1
        else:
            turn.callback(None)


def locate(client: str) -> tuple[str, str]:
    """A client's network, and what counts as one address in it.

    That is a /16 of IPv4 and a /32 of IPv6, as providers have them, and of IPv6 a /64, all of which
    one machine may have.
    """
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        # A UNIX socket, or nobody knows.
        return client, client
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return _prefix(address, 32), _prefix(address, 64)
        address = address.ipv4_mapped
    return _prefix(address, 16), str(address)


def _prefix(address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int) -> str:
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))
