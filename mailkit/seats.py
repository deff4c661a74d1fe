"""How many connections an address has, or an account: in all processes of a store where it can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from mailkit.errors import StoreUnavailable

#: Takes a name that only one process has at a time; see
#: :meth:`~mailkit.interfaces.IProcessLocks.try_lock`.
TryLock = Callable[[str], Callable[[], None] | None]


class Seat(NamedTuple):
    """One of those that an address or account may have at a time."""

    key: str
    number: int


def _nothing() -> None:
    """There is no other process to be told."""


class Seats:
    """Counts connections by address, or by account.

    Each has a seat, and only as many are there as are allowed. With names that one process has at a
    time, each seat is one of them: so nothing needs to be told, and what a process had that died is
    free again.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._taken: dict[Seat, Callable[[], None]] = {}
        self._kind = ""
        self._try_lock: TryLock | None = None

    def share(self, kind: str, try_lock: TryLock) -> None:
        """Count the connections of other processes, too; those that are there stay ours alone.

        :param kind: what is counted; what else the processes count has other names.
        """
        self._kind = kind
        self._try_lock = try_lock

    @property
    def counts(self) -> Mapping[str, int]:
        """Seats that are taken in this process, by address or account."""
        return MappingProxyType(self._counts)

    def take(self, key: str, limit: int) -> Seat | None:
        """A seat; None where all are taken.

        :param limit: seats of this address or account.
        """
        count = self._counts.get(key, 0)
        if count >= limit:
            return None
        # Most often all of ours come first, and the next is free.
        for number in chain(range(count, limit), range(count)):
            seat = Seat(key, number)
            if seat in self._taken:
                continue
            release = self._lock(seat)
            if release is not None:
                self._taken[seat] = release
                self._counts[key] = count + 1
                return seat
        return None

    def give_back(self, seat: Seat) -> None:
        """The connection has gone, or is another one's from now on."""
        self._taken.pop(seat)()
        if (count := self._counts[seat.key] - 1) > 0:
            self._counts[seat.key] = count
        else:
            del self._counts[seat.key]

    def _lock(self, seat: Seat) -> Callable[[], None] | None:
        if self._try_lock is None:
            return _nothing
        try:
            return self._try_lock(f"{self._kind} {seat.number} {seat.key}")
        except (OSError, StoreUnavailable):
            # The system has no locks left, or the store is closed: what is here is counted still.
            return _nothing
