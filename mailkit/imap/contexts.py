"""Searches whose changes a client wants to be told of (RFC 5267 section 4.3). No I/O."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from typing import TypeAlias

from mailkit.imap import render
from mailkit.imap.annotate import AnnotationKey
from mailkit.imap.sort import Criterion
from mailkit.query import (
    And,
    ArrivedSince,
    HasFlag,
    ModifiedSince,
    Query,
    UIDs,
    conditions_in,
)

#: Such searches of one session.
MAX_CONTEXTS = 10

#: Context positions, and the messages that come or go there. Position 0 leaves it to the client.
Update: TypeAlias = list[tuple[int, list[int]]]


class Context:
    """One search, and what the client has been told that it finds.

    :param criteria: of a SORT; empty for mailbox order.
    :param source: correlators besides the tag, which tell the mailbox (RFC 7377 section 2.1).
    """

    __slots__ = ("by_uid", "criteria", "query", "source", "tag", "uids")

    def __init__(
        self,
        tag: bytes,
        by_uid: bool,
        query: Query,
        criteria: Sequence[Criterion],
        uids: Sequence[int],
        source: bytes = b"",
    ) -> None:
        self.tag = tag
        self.source = source
        self.by_uid = by_uid
        self.query = query
        self.criteria = criteria
        #: In the order that was asked for.
        self.uids = array("I", uids)

    def remove(self, gone: Collection[int]) -> Update:
        """Take messages out."""
        if not self.criteria:
            found = [uid for uid in self.uids if uid in gone]
            update: Update = [(0, found)] if found else []
        else:
            # From the end: what comes before keeps its position.
            places = [place for place, uid in enumerate(self.uids, 1) if uid in gone]
            update = [(place, [self.uids[place - 1]]) for place in reversed(places)]
        if update:
            self.uids = array("I", [uid for uid in self.uids if uid not in gone])
        return update

    def add(self, uids: Sequence[int]) -> Update:
        """Take new messages into a list in mailbox order."""
        self.uids = array("I", sorted([*self.uids, *uids]))
        return [(0, sorted(uids))]

    def add_in_order(self, uids: Collection[int], order: Sequence[int]) -> Update:
        """Take new messages into a sorted list.

        :param order: all messages as they are sorted now; those that are gone may be missing.
        """
        told = iter(self.uids)
        merged: list[int] = []
        update: Update = []
        for uid in order:
            if uid not in uids:
                for known in told:
                    merged.append(known)
                    if known == uid:
                        break
                continue
            merged.append(uid)
            if update and update[-1][0] + len(update[-1][1]) == len(merged):
                update[-1][1].append(uid)
            else:
                update.append((len(merged), [uid]))
        merged.extend(told)
        self.uids = array("I", merged)
        return update


def render_update(context: Context, name: bytes, update: Update) -> bytes:
    """The ESEARCH response that tells an update.

    :param name: ``ADDTO`` or ``REMOVEFROM``.
    :param update: with the numbers that the client is told.
    """
    pairs = b" ".join(
        [b"%d %b" % (position, render.uid_set(numbers)) for position, numbers in update]
    )
    by_uid = b" UID" if context.by_uid else b""
    correlators = b'TAG "%b"%b' % (context.tag, context.source)
    return b"* ESEARCH (%b)%b %b (%b)\r\n" % (correlators, by_uid, name, pairs)


def depends_on_flags(query: Query) -> bool:
    """Whether a message may match at one time and not at another."""
    kinds = HasFlag, ModifiedSince, AnnotationKey
    return any(isinstance(each, kinds) for each in conditions_in(query))


def depends_on_clock(query: Query) -> bool:
    """Whether a message may match at one time and not at another, though nothing happens to it."""
    return any(isinstance(each, ArrivedSince) and each.by_age for each in conditions_in(query))


def among(query: Query, uids: Sequence[int]) -> Query:
    """The query, for some messages alone.

    :param uids: ascending.
    """
    return And((UIDs(to_ranges(uids)), query))


def to_ranges(uids: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Ascending UIDs as ranges, both ends included."""
    ranges: list[tuple[int, int]] = []
    for uid in uids:
        if ranges and ranges[-1][1] + 1 == uid:
            ranges[-1] = (ranges[-1][0], uid)
        else:
            ranges.append((uid, uid))
    return tuple(ranges)
