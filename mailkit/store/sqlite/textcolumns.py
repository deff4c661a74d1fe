"""Searching the usual header fields: folded texts of a mailbox are kept in memory, a field at a time.

Who searches one field of a mailbox searches it again. All texts of it stand in one string of octets,
a line a message, and one look finds what is looked for in all of them; making it takes as long as
one search without it. A message's header never changes, so nothing of it grows old.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from operator import lt
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import DeferredLock

from mailkit.fieldtexts import (
    BOUNDARY,
    LINE_END,
    MAX_JOINED,
    encode_joined,
    encode_lines,
    encode_needle,
)
from mailkit.query import And, HeaderContains, Not, Or, Query, UIDs
from mailkit.store.sqlite.fields import COLUMNS, find_heads
from mailkit.store.sqlite.narrowing import is_kept
from mailkit.store.sqlite.rows import condition
from mailkit.store.sqlite.slices import Slices

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core
    from mailkit.store.sqlite.reader import UIDs as UIDList

#: Octets of texts that are kept.
MAX_KEPT = 16 * 1024 * 1024
#: Octets of one field of a mailbox; a larger one is searched in the index.
MAX_COLUMN = 4 * 1024 * 1024
#: Fields of mailboxes of which something is kept.
MAX_COLUMNS = 2000
#: Messages of a mailbox up to which this is done.
MAX_MESSAGES = 100_000
#: Messages whose texts are read in one step: a millisecond or two.
READ_AT_ONCE = 500
#: Share of a mailbox that a search is about, below which no texts are made for it.
MIN_SHARE = 0.25
#: Fields of one query that are looked at.
MAX_FIELDS = 20
#: Keys within keys that are understood; the index takes the others.
MAX_DEPTH = 20


class _Column(NamedTuple):
    """One field of a mailbox's messages."""

    #: Messages that have been removed may be among them.
    uids: Sequence[int]
    #: A line for each of them; nothing where the field lacks.
    lines: bytes


#: Of a mailbox, by id, and the name of the field in lower case.
_Key = tuple[int, bytes]


_NOTHING = _Column((), b"")
_SWAP_LINE_ENDS = bytes.maketrans(b"\n" + LINE_END, LINE_END + b"\n")


class TextColumns:
    """Searches by header fields. Used by the reactor's thread alone."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._columns: OrderedDict[_Key, _Column] = OrderedDict()
        self._total = 0
        # Of those that somebody makes.
        self._locks: dict[_Key, DeferredLock] = {}

    async def search(self, mailbox_id: int, query: Query) -> Sequence[int] | Query:
        """UIDs that match, ascending; or what is left to the index, with UIDs for what texts tell.

        :raises NoSuchMailbox: the mailbox has been deleted.
        """
        wanted = _find_wanted(query)
        if not wanted:
            return query
        uids = self._core.reader.list_uids(mailbox_id)
        if not 0 < len(uids) <= MAX_MESSAGES or _count(query, uids) < len(uids) * MIN_SHARE:
            return query
        found: dict[Query, Query] = {}
        for part in wanted:
            column = await self._get(mailbox_id, part.name.lower().encode(), uids)
            if column is None:
                return query
            needle = encode_needle(part.text)
            assert needle
            matches = _look(column, needle)
            if query == part and column.uids is uids:
                return matches
            found[part] = UIDs([(uid, uid) for uid in matches])
        # Of messages that have come meanwhile nothing is known.
        return And((UIDs(((uids[0], uids[-1]),)), _replace(query, found)))

    async def _get(self, mailbox_id: int, name: bytes, uids: UIDList) -> _Column | None:
        """The texts of at least these messages; None for too much."""
        key = mailbox_id, name
        lock = self._locks.setdefault(key, DeferredLock())
        async with lock:
            try:
                known = self._columns.get(key)
                if known is not None:
                    self._columns.move_to_end(key)
                    if known.uids[-1] >= uids[-1]:
                        return known
                    if len(known.uids) > 2 * len(uids):
                        known = None
                column = await self._read(key, known, uids)
                if column is not None:
                    self._keep(key, column)
                return column
            finally:
                if not lock.waiting:
                    self._locks.pop(key, None)

    async def _read(self, key: _Key, known: _Column | None, uids: UIDList) -> _Column | None:
        """What is known, and the texts of the messages behind that."""
        new: Sequence[int] = uids
        parts: list[bytes] = []
        if known is not None:
            new = [uid for uid in uids if uid > known.uids[-1]]
            parts.append(known.lines)
        octets = sum(map(len, parts))
        read = array("I")
        slices = Slices(self._core)
        for begin in range(0, len(new), READ_AT_ONCE):
            if slices.over:
                await slices.pause()
            some = new[begin : begin + READ_AT_ONCE]
            texts = await self._read_some(key, some, slices)
            if texts.uids:
                read.extend(texts.uids)
                parts.append(texts.lines)
                octets += len(texts.lines)
            if octets > MAX_COLUMN:
                return None
        if known is not None:
            read = array("I", known.uids) + read
        if not read:
            return None
        # Most often the mailbox's own list, which is there anyway.
        return _Column(uids if len(read) == len(uids) else read, b"\n".join(parts))

    async def _read_some(self, key: _Key, uids: Sequence[int], slices: Slices) -> _Column:
        """Texts of messages; of one that has been removed there may be none."""
        mailbox_id, name = key
        kept = self._read_kept(mailbox_id, COLUMNS[name], uids)
        found = [kept]
        if len(kept.uids) < len(uids):
            found.append(self._read_summaries(mailbox_id, name, uids))
        known = {uid for column in found for uid in column.uids}
        if rest := [uid for uid in uids if uid not in known]:
            headers = await find_heads(self._core, mailbox_id, rest, slices)
            if headers:
                found.append(_Column(list(headers), encode_lines(name, list(headers.values()))))
        return _merge(found)

    def _read_kept(self, mailbox_id: int, column: str, uids: Sequence[int]) -> _Column:
        """Texts that are kept in the index."""
        sql, values = condition(uids, False)
        # All as one value: as rows they take twice the time.
        text, octets = self._core.reader.connection.execute(
            f"SELECT group_concat(uid), CAST(group_concat(ifnull({column}, ''), ?) AS BLOB)"
            f" FROM message JOIN field_text USING (body_id) WHERE mailbox_id = ? AND {sql}",
            (LINE_END, mailbox_id, *values),
        ).fetchone()
        return _checked(text, octets and octets.translate(_SWAP_LINE_ENDS))

    def _read_summaries(self, mailbox_id: int, name: bytes, uids: Sequence[int]) -> _Column:
        """Texts made of the header fields that summaries have, of messages without such texts."""
        sql, values = condition(uids, False)
        text, longest, octets = self._core.reader.connection.execute(
            "SELECT group_concat(uid), max(length(header)),"
            " CAST(group_concat(header, ?) AS BLOB) FROM message m JOIN summary USING (body_id)"
            f" WHERE mailbox_id = ? AND {sql}"
            " AND NOT EXISTS (SELECT 1 FROM field_text WHERE body_id = m.body_id)",
            (BOUNDARY, mailbox_id, *values),
        ).fetchone()
        if not text or longest > MAX_JOINED:
            return _NOTHING
        return _checked(text, encode_joined(name, octets, text.count(",") + 1))

    def _keep(self, key: _Key, column: _Column) -> None:
        old = self._columns.pop(key, None)
        self._total += len(column.lines) - (0 if old is None else len(old.lines))
        self._columns[key] = column
        while len(self._columns) > 1 and (
            self._total > MAX_KEPT or len(self._columns) > MAX_COLUMNS
        ):
            _, oldest = self._columns.popitem(last=False)
            self._total -= len(oldest.lines)


def _find_wanted(query: Query, depth: int = 0) -> set[HeaderContains]:
    """The conditions of a query that texts decide; nothing for too many of them."""
    wanted: set[HeaderContains] = set()
    match query:
        case And(queries=queries) | Or(queries=queries) if depth < MAX_DEPTH:
            for part in queries:
                wanted |= _find_wanted(part, depth + 1)
        case Not(query=inner) if depth < MAX_DEPTH:
            return _find_wanted(inner, depth + 1)
        case HeaderContains() if query.text and is_kept(query) and encode_needle(query.text):
            return {query}
    return wanted if len(wanted) <= MAX_FIELDS else set()


def _replace(query: Query, found: dict[Query, Query], depth: int = 0) -> Query:
    """The query with others in place of some of its conditions."""
    match query:
        case And(queries=queries) if depth < MAX_DEPTH:
            return And([_replace(part, found, depth + 1) for part in queries])
        case Or(queries=queries) if depth < MAX_DEPTH:
            return Or([_replace(part, found, depth + 1) for part in queries])
        case Not(query=inner) if depth < MAX_DEPTH:
            return Not(_replace(inner, found, depth + 1))
        case HeaderContains():
            return found.get(query, query)
    return query


def _count(query: Query, uids: UIDList) -> int:
    """How many messages a query is about, at most."""
    parts = query.queries if isinstance(query, And) else (query,)
    spans = [part.ranges for part in parts if isinstance(part, UIDs)]
    return min(
        (sum(last - first + 1 for first, last in ranges) for ranges in spans), default=len(uids)
    )


def _checked(text: str | None, lines: bytes | None) -> _Column:
    """What the index gave; nothing where that is not a line for each message."""
    # Before version 3.39 of SQLite, such a value ends at the first NUL.
    if not text or lines is None or lines.count(b"\n") != text.count(","):
        return _NOTHING
    return _Column(list(map(int, text.split(","))), lines)


def _merge(columns: Sequence[_Column]) -> _Column:
    """The same with UIDs ascending."""
    found = [column for column in columns if column.uids]
    if len(found) == 1 and all(map(lt, found[0].uids, found[0].uids[1:])):
        return found[0]
    lines: dict[int, bytes] = {}
    for column in found:
        lines.update(zip(column.uids, column.lines.split(b"\n"), strict=True))
    uids = sorted(lines)
    return _Column(uids, b"\n".join([lines[uid] for uid in uids]))


def _look(column: _Column, needle: bytes) -> list[int]:
    """The UIDs of the messages in whose lines something stands."""
    uids, lines = column
    found: list[int] = []
    number = end = 0
    place = lines.find(needle)
    while place >= 0:
        number += lines.count(b"\n", end, place)
        found.append(uids[number])
        end = lines.find(b"\n", place)
        if end < 0:
            break
        place = lines.find(needle, end)
    return found
