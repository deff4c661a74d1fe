"""How many connections an address has, or an account: in all processes of a store where it can."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from types import MappingProxyType

from mailkit.errors import StoreUnavailable

#: Takes a name that only one process has at a time; see
#: :meth:`~mailkit.interfaces.IProcessLocks.try_lock`.
TryLock = Callable[[str], Callable[[], None] | None]


class Seats:
    """Counts connections by address, or by account.

    Only as many have a seat as are allowed. Where several processes share the seats, each is a name
    that one process has at a time: so nothing needs to be told, and what a process had that died is
    free again. Which of them a connection has is all the same, so that it need not keep it.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        # What frees the names of seats, by address or account, and number.
        self._names: dict[str, dict[int, Callable[[], None]]] = {}
        # Whose seat was given back last, and which: nobody else is likely to have it yet.
        self._freed = ("", 0)
        self._kind = ""
        self._try_lock: TryLock | None = None

    def share(self, kind: str, try_lock: TryLock) -> None:
        """Count the connections of other processes, too, from now on.

        :param kind: what is counted; what else the processes count has other names.
        """
        self._kind = kind
        self._try_lock = try_lock
        for key, count in self._counts.items():
            for _ in range(count):
                self._take_name(key, range(count))

    @property
    def counts(self) -> Mapping[str, int]:
        """Seats that are taken in this process, by address or account."""
        return MappingProxyType(self._counts)

    def take(self, key: str, limit: int) -> bool:
        """Take a seat of an address or account; false where all are taken.

        :param limit: seats that it has.
        """
        count = self._counts.get(key, 0)
        if count >= limit:
            return False
        if self._try_lock is not None:
            # Most often all of ours come first, and the next is free.
            numbers: Iterable[int] = chain(range(count, limit), range(count))
            if self._freed[0] == key and self._freed[1] < limit:
                numbers = chain(self._freed[1:], numbers)
            if not self._take_name(key, numbers):
                return False
        self._counts[key] = count + 1
        return True

    def give_back(self, key: str) -> None:
        """A connection has gone, or is another one's from now on."""
        count = self._counts[key] - 1
        if count:
            self._counts[key] = count
        else:
            del self._counts[key]
        names = self._names.get(key)
        # Some may have been taken without a name.
        if names is not None and len(names) > count:
            number, release = names.popitem()
            release()
            self._freed = key, number
            if not names:
                del self._names[key]

    def _take_name(self, key: str, numbers: Iterable[int]) -> bool:
        """Take the name of the first free seat; false where others have all of them."""
        assert self._try_lock is not None
        names = self._names.get(key, {})
        for number in numbers:
            if number in names:
                continue
            try:
                release = self._try_lock(f"{self._kind} {number} {key}")
            except (OSError, StoreUnavailable):
                # The system has no locks left, or the store is closed: what is here is counted still.
                return True
            if release is not None:
                names[number] = release
                self._names[key] = names
                return True
        return False
