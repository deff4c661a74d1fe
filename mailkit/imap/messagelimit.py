"""How many messages one command works on (RFC 9738): the highest UIDs of those it names. No I/O."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from mailkit.errors import LimitExceeded
from mailkit.imap.spans import Spans
from mailkit.query import And, Query, UIDs


class TooManyMessages(LimitExceeded):
    """One command would work on more messages than it may, and does not work on some of them.

    :param limit: how many it may.
    :param lowest: UID from which on there are not more; 0 where that is not known.
    """

    default_text = "These are too many messages for one command"

    def __init__(self, limit: int, lowest: int = 0) -> None:
        super().__init__()
        self.limit = limit
        self.lowest = lowest

    @property
    def code(self) -> bytes:
        """The response code."""
        return limit_code(self.limit, self.lowest)


def limit_code(limit: int, lowest: int = 0) -> bytes:
    """``MESSAGELIMIT 1000 23221`` (RFC 9738 section 3.1)."""
    return b"MESSAGELIMIT %d %d" % (limit, lowest) if lowest else b"MESSAGELIMIT %d" % limit


def count(spans: Spans) -> int:
    """How many messages there are at some positions."""
    return sum(stop - start for start, stop in spans)


def last_of(spans: Spans, limit: int) -> Spans:
    """The highest of the positions, as many as the limit allows."""
    kept: Spans = []
    for start, stop in reversed(spans):
        if limit <= 0:
            break
        kept.append((max(start, stop - limit), stop))
        limit -= stop - start
    return kept[::-1]


def candidates(query: Query, view: Sequence[int]) -> Sequence[int]:
    """The messages that a search has to look at: those that all its sets of messages name.

    :param view: UIDs of the mailbox, ascending.
    """
    for ranges in _named(query):
        named: list[int] = []
        for low, high in ranges:
            named.extend(view[bisect_left(view, low) : bisect_right(view, high)])
        view = named
    return view


def _named(query: Query) -> Iterator[Sequence[tuple[int, int]]]:
    if isinstance(query, UIDs):
        yield query.ranges
    elif isinstance(query, And):
        for part in query.queries:
            yield from _named(part)


def narrow(query: Query, view: Sequence[int], limit: int) -> tuple[Query, int]:
    """The search among as many messages as the limit allows.

    :returns: it and the lowest UID that it looks at, 0 where it looks at all that it would.
    """
    among = candidates(query, view)
    if not limit or len(among) <= limit:
        return query, 0
    lowest = among[-limit]
    return And((UIDs(((lowest, among[-1]),)), query)), lowest
