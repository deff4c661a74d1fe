"""Counting what happens in a time, in memory that is bounded."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

_RATE = re.compile(r"(\d{1,9}) ?/ ?(\d{0,6}) ?([a-z]+)")
_UNITS = {
    **dict.fromkeys(("s", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
}


class Rate(NamedTuple):
    """So many in so many seconds."""

    limit: int
    seconds: int


def parse_rate(text: str) -> Rate | None:
    """``300/minute``, ``100/10m``, ``5/s``; nothing for no limit.

    :raises ValueError: it is no rate.
    """
    if not text:
        return None
    match = _RATE.fullmatch(text.strip().lower())
    seconds = int(match[2] or 1) * _UNITS.get(match[3], 0) if match else 0
    if match is None or not seconds or not int(match[1]):
        raise ValueError(f"{text!r} is no rate such as 300/minute or 100/10m")
    return Rate(int(match[1]), seconds)


class SlidingWindows:
    """Counts by key, each over the last seconds of its rate.

    A count is kept for the present window of time and for the one before, of which the part counts
    that is not over yet: as exact as it need be, in three numbers a key.

    :param max_keys: keys that are remembered; those not used for longest go first.
    """

    def __init__(self, max_keys: int) -> None:
        self._max_keys = max_keys
        # The number of the present window, the count in the one before, and in it.
        self._counts: OrderedDict[Hashable, tuple[int, int, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, key: Hashable, rate: Rate, now: float, count: int = 1) -> None:
        """Count something."""
        window, before, current = self._look(key, rate, now)
        self._counts[key] = window, before, current + count
        self._counts.move_to_end(key)
        while len(self._counts) > self._max_keys:
            self._counts.popitem(last=False)

    def wait(self, key: Hashable, rate: Rate, now: float) -> float:
        """Seconds until there is room for one more; 0 when there is now."""
        window, before, current = self._look(key, rate, now)
        passed = now / rate.seconds - window
        if before * (1 - passed) + current + 1 <= rate.limit:
            return 0.0
        if current + 1 <= rate.limit:
            fraction = 1 - (rate.limit - current - 1) / before
            return (fraction - passed) * rate.seconds
        # Only in the next window, of which this one will be the one before.
        fraction = 1 - (rate.limit - 1) / current
        return (1 - passed + fraction) * rate.seconds

    def _look(self, key: Hashable, rate: Rate, now: float) -> tuple[int, int, int]:
        present = int(now // rate.seconds)
        window, before, current = self._counts.get(key, (present, 0, 0))
        if window == present:
            return present, before, current
        return present, current if window == present - 1 else 0, 0
