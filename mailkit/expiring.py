"""A mapping that forgets: what is old, and what is too much."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

#: Seconds by which a clock may be set back without further notice.
CLOCK_SLACK = 60

K = TypeVar("K")
V = TypeVar("V")


class ExpiringMap(Generic[K, V]):
    """Values that are kept for some seconds each.

    Where the clock is set back meanwhile, none is kept for much longer than the longest of them was
    to be.

    :param max_entries: values that are kept; those not used for longest go first.
    :param seconds: tells the time.
    """

    def __init__(self, max_entries: int, seconds: Callable[[], float]) -> None:
        self._max_entries = max_entries
        self._seconds = seconds
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()
        #: Seconds that one can have left: more shows that the clock was set back.
        self._most = float(CLOCK_SLACK)
        # Found once, and not for each login.
        self._find, self._move_to_end = self._entries.get, self._entries.move_to_end

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value of a key, or None."""
        entry = self._find(key)
        if entry is None:
            return None
        if not 0 < entry[0] - self._seconds() <= self._most:
            del self._entries[key]
            return None
        self._move_to_end(key)
        return entry[1]

    def pop(self, key: K) -> V | None:
        """The value of a key, which is forgotten, or None."""
        entry = self._entries.pop(key, None)
        if entry is None or not 0 < entry[0] - self._seconds() <= self._most:
            return None
        return entry[1]

    def list_entries(self) -> list[tuple[K, V, float]]:
        """Keys, values and when each is forgotten, those not used for longest first."""
        return [(key, value, expires) for key, (expires, value) in self._entries.items()]

    def replace(self, key: K, value: V) -> None:
        """Keep another value for as long as the one that the key has; nothing if it has none."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries[key] = entry[0], value

    def drop(self, unwanted: Callable[[K], bool]) -> None:
        """Forget the keys of which a function says so."""
        for key in [key for key in self._entries if unwanted(key)]:
            del self._entries[key]

    def discard(self, key: K) -> None:
        """Forget a key, if it is there."""
        self._entries.pop(key, None)

    def set(self, key: K, value: V, seconds: float) -> None:
        """Keep a value for so long, instead of the one that the key had."""
        if seconds <= 0:
            self._entries.pop(key, None)
            return
        if seconds + CLOCK_SLACK > self._most:
            self._most = seconds + CLOCK_SLACK
        self._entries[key] = self._seconds() + seconds, value
        self._move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
