"""Flags of a message as one integer: a bit for each system flag, above them the keywords' set."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable

from mailkit.model import SYSTEM_FLAGS, Flags

#: Bit of :data:`mailkit.model.SEEN`.
SEEN_BIT = 1
#: Bit of :data:`mailkit.model.DELETED`.
DELETED_BIT = 8
#: The bits below belong to system flags; those above are the number of a keyword set, 0 for none.
KEYWORD_SHIFT = 8
SYSTEM_MASK = (1 << KEYWORD_SHIFT) - 1
#: Sets of flags that a cache holds before it is emptied.
_CACHE_LIMIT = 20_000

_BITS = {flag.lower(): 1 << number for number, flag in enumerate(SYSTEM_FLAGS)}


def split_flags(flags: Iterable[str]) -> tuple[int, list[str]]:
    """System flags as bits, and the keywords.

    \\Recent and system flags that nobody defined are left out (RFC 3501 section 7.1).
    """
    bits = 0
    keywords = []
    for flag in flags:
        if flag.startswith("\\"):
            bits |= _BITS.get(flag.lower(), 0)
        else:
            keywords.append(flag)
    return bits, keywords


def system_flags(bits: int) -> list[str]:
    """The system flags that the low bits stand for."""
    return [flag for number, flag in enumerate(SYSTEM_FLAGS) if bits >> number & 1]


def join_keywords(keywords: Iterable[str]) -> str:
    """A set of keywords as the index keeps it."""
    return " ".join(sorted(keywords))


class FlagSets(dict[int, Flags]):
    """The flags that an integer stands for, read from the index when first asked for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection

    def __missing__(self, number: int) -> Flags:
        if len(self) >= _CACHE_LIMIT:
            self.clear()
        row = None
        if number >> KEYWORD_SHIFT:
            row = self._connection.execute(
                "SELECT keywords FROM keyword_set WHERE id = ?", (number >> KEYWORD_SHIFT,)
            ).fetchone()
        # One object for each keyword, in however many sets it is.
        keywords = map(sys.intern, row[0].split(" ")) if row else ()
        flags = self[number] = frozenset([*system_flags(number), *keywords])
        return flags
