"""Sets of UIDs and of message numbers."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from mailkit.imap.client.values import Ranges

#: Octets of a set in one command; a longer one goes in several. RFC 7162 section 4: servers take
#: lines of 8192 octets.
MAX_SET_OCTETS = 7500

_SET = re.compile(r"(?:\d+|\*)(?::(?:\d+|\*))?(?:,(?:\d+|\*)(?::(?:\d+|\*))?)*|\$")


class Numbers(NamedTuple):
    """Message numbers instead of UIDs: ``Numbers("1:*")``, ``Numbers([3, 5])``."""

    set: str | int | Iterable[int]


#: UIDs as ``"1:5,9,20:*"``, one UID, or several; or :class:`Numbers`.
SetLike: TypeAlias = str | int | Iterable[int] | Numbers


def to_ranges(numbers: Iterable[int]) -> Ranges:
    """Numbers as ranges, ascending; each once."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same set in ascending ranges that do not touch."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def expand(ranges: Ranges) -> Iterator[int]:
    """The numbers of some ranges, in their order. What a server sent may be very many."""
    for first, last in ranges:
        yield from range(first, last + 1)


class RangeSet:
    """Tells quickly whether a number lies in a set."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self.ranges = merged(ranges)
        self._starts = [first for first, _ in self.ranges]

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number <= self.ranges[at][1]

    def overlaps(self, other: RangeSet) -> bool:
        """Whether a number lies in both."""
        few, many = sorted((self, other), key=lambda each: len(each.ranges))
        for first, last in few.ranges:
            at = bisect_right(many._starts, last) - 1
            if at >= 0 and many.ranges[at][1] >= first:
                return True
        return False

    @property
    def count(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)


def format_ranges(ranges: Ranges) -> str:
    """A set as IMAP writes it."""
    return ",".join(f"{a}:{b}" if a != b else str(a) for a, b in ranges)


def format_sets(wanted: SetLike) -> tuple[list[str], bool]:
    """The sets to send, and whether they are of UIDs; none where nothing is wanted.

    :raises ValueError: it is no set.
    """
    by_uid = not isinstance(wanted, Numbers)
    value = wanted.set if isinstance(wanted, Numbers) else wanted
    if isinstance(value, str):
        if _SET.fullmatch(value) is None:
            raise ValueError(f"not a set of messages: {value!r}")
        text = value
    else:
        numbers = [value] if isinstance(value, int) else value
        ranges = to_ranges(numbers)
        if ranges and not (ranges[0][0] > 0 and ranges[-1][1] < 2**32):
            raise ValueError("a UID or message number lies between 1 and 4294967295")
        text = format_ranges(ranges)
    if not text:
        return [], by_uid
    # Numbers may change between two commands.
    return (_split(text) if by_uid else [text]), by_uid


def _split(text: str) -> list[str]:
    found = []
    while len(text) > MAX_SET_OCTETS:
        cut = text.rindex(",", 0, MAX_SET_OCTETS)
        found.append(text[:cut])
        text = text[cut + 1 :]
    return [*found, text]


def covered(text: str) -> RangeSet:
    """What a set as IMAP writes it may mean: ``*`` and ``$`` anything."""
    ranges = []
    for part in text.split(","):
        low, _, high = part.partition(":")
        ends = [int(end) if end.isdigit() else None for end in (low, high or low)]
        known = [end for end in ends if end is not None]
        if len(known) == 2:
            ranges.append((min(known), max(known)))
        else:
            # RFC 3501 section 6.4.8: 559:* includes the last message, whatever its UID.
            ranges.append((1, 2**32 - 1))
    return RangeSet(ranges)
