"""Searching by system flags alone: those of a mailbox are kept in memory, an octet a message.

UNSEEN, DELETED and the like are asked again and again, by every client that looks for news. In the
index, each message of the mailbox would be looked at each time. Most clients have all flags told
before: what is read for that is kept for searches.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

from mailkit.errors import NoSuchMailbox
from mailkit.model import SYSTEM_FLAGS
from mailkit.query import All, And, HasFlag, Not, Or, Query, UIDs
from mailkit.store.sqlite.flags import split_flags
from mailkit.store.sqlite.spans import CHANGED_SINCE

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core
    from mailkit.store.sqlite.reader import UIDs as UIDList

#: Messages whose flags are kept, an octet each, and four more for each that the last search found.
MAX_KEPT = 4_000_000
#: Mailboxes of which they are.
MAX_MAILBOXES = 3000
#: Messages whose flags are read in one step: a millisecond or two.
READ_AT_ONCE = 10_000
#: Changed messages up to which they alone are read anew.
MAX_CHANGED = 1000
#: Messages whose flags must be told together to be kept: fewer are quickly read once more.
MIN_TOLD = 100
#: Mailboxes whose flags are being told.
MAX_TOLD = 100
#: Share of a mailbox that a search is about, below which it is left to the index.
MIN_SHARE = 0.25
#: Keys within keys that are understood; the index takes the others.
MAX_DEPTH = 20

_MASK = (1 << len(SYSTEM_FLAGS)) - 1
#: All the combinations that system flags have, a bit each.
_EVERY = (1 << _MASK + 1) - 1
# Two digits each, as one value: rows and characters take many times as long. The table is its own
# primary key, and read in its order.
_READ = (
    f"SELECT group_concat(10 + (flags & {_MASK}), '') FROM message NOT INDEXED"
    " WHERE mailbox_id = ? AND uid BETWEEN ? AND ?"
)
#: The octets that stand for combinations: those two digits, read as hexadecimal ones.
_OCTETS = tuple(int(str(10 + flags), 16) for flags in range(_MASK + 1))
#: The same for flags without keywords.
_WITHOUT_KEYWORDS = bytes(_OCTETS[flags & _MASK] for flags in range(256))
_CHANGED = (
    f"SELECT m.uid, m.flags & {_MASK} {CHANGED_SINCE}"
    " AND m.modseq > m.created_modseq AND m.uid <= ? LIMIT ?"
)


class _Column(NamedTuple):
    """Flags of a mailbox's messages."""

    #: What the mailbox had before they were read: what has changed since is read once more.
    modseq: int
    uids: UIDList
    flags: bytes


class _Told(NamedTuple):
    """A column of which the first messages have been told."""

    modseq: int
    uids: UIDList
    flags: bytearray


class _Answer(NamedTuple):
    """What was found last in a mailbox; so it stays until its flags change."""

    flags: bytes
    combinations: int
    start: int
    stop: int
    found: Sequence[int]


def _combinations(query: Query, depth: int = 0) -> int | None:
    """Those combinations of system flags that match; None where they do not decide."""
    if depth > MAX_DEPTH:
        return None
    match query:
        case All():
            return _EVERY
        case HasFlag(flag=flag):
            bits, keywords = split_flags([flag])
            if keywords:
                return None
            return sum(1 << flags for flags in range(_MASK + 1) if flags & bits)
        case Not(query=inner):
            found = _combinations(inner, depth + 1)
            return None if found is None else _EVERY & ~found
        case And(queries=queries) | Or(queries=queries):
            is_and = isinstance(query, And)
            result = _EVERY if is_and else 0
            for part in queries:
                found = _combinations(part, depth + 1)
                if found is None:
                    return None
                result = result & found if is_and else result | found
            return result
    return None


def _chosen(uids: UIDList, chosen: bytes) -> Sequence[int]:
    """The UIDs beside which there is a 1."""
    count = chosen.count(1)
    if count == len(chosen):
        return uids
    if count * 16 > len(chosen):
        return list(compress(uids, chosen))
    found: list[int] = []
    place = chosen.find(1)
    while place >= 0:
        found.append(uids[place])
        place = chosen.find(1, place + 1)
    return found


class FlagColumns:
    """Searches by flags. Used by the reactor's thread alone."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._columns: OrderedDict[int, _Column] = OrderedDict()
        self._total = 0
        self._told: dict[int, _Told] = {}
        self._answers: dict[int, _Answer] = {}

    async def search(self, mailbox_id: int, query: Query) -> Sequence[int] | None:
        """UIDs that match, ascending; None for what had better be asked of the index.

        :raises NoSuchMailbox: the mailbox has been deleted.
        """
        parts = query.queries if isinstance(query, And) else (query,)
        spans = [part for part in parts if isinstance(part, UIDs)]
        if len(spans) > 1 or (spans and len(spans[0].ranges) != 1):
            return None
        others = tuple(part for part in parts if not isinstance(part, UIDs))
        combinations = _combinations(And(others))
        if combinations is None or combinations == _EVERY:
            return None
        reader = self._core.reader
        modseq, uids = reader.state_and_uids(mailbox_id)
        start, stop = 0, len(uids)
        if spans:
            ((first, last),) = spans[0].ranges
            start, stop = bisect_left(uids, first), bisect_right(uids, last)
            if stop - start < len(uids) * MIN_SHARE:
                return None
        flags = await self._read(mailbox_id, modseq, uids)
        if flags is None:
            return None
        known = self._answers.get(mailbox_id)
        if known and known.flags is flags and known[1:4] == (combinations, start, stop):
            found = known.found
            return found if len(found) == stop - start else list(found)
        wanted = bytearray(256)
        for number, octet in enumerate(_OCTETS):
            wanted[octet] = combinations >> number & 1
        found = _chosen(uids[start:stop], flags[start:stop].translate(wanted))
        if mailbox_id in self._columns:
            kept = array("I", found) if isinstance(found, list) else found
            answer = _Answer(flags, combinations, start, stop, kept)
            self._answers[mailbox_id] = answer
        return found

    def follows(self, mailbox_id: int, uids: Sequence[int]) -> bool:
        """Whether flags are worth knowing that are about to be read: :meth:`note` takes them.

        So are those of all messages from the first one on, many at a time.
        """
        told = self._told.get(mailbox_id)
        if told is not None:
            place = len(told.flags)
            if told.uids[place : place + len(uids)] == uids:
                return True
        if len(uids) < MIN_TOLD or mailbox_id in self._columns:
            return False
        try:
            modseq, everything = self._core.reader.state_and_uids(mailbox_id)
        except NoSuchMailbox:
            return False
        if everything[: len(uids)] != uids:
            return False
        if len(self._told) >= MAX_TOLD:
            self._told.clear()
        self._told[mailbox_id] = _Told(modseq, everything, bytearray())
        return True

    def note(self, mailbox_id: int, flags: Sequence[int]) -> None:
        """What the index has for the messages that :meth:`follows` was asked about."""
        told = self._told[mailbox_id]
        try:
            octets = bytes(flags).translate(_WITHOUT_KEYWORDS)
        except ValueError:
            octets = bytes([_OCTETS[number & _MASK] for number in flags])
        told.flags.extend(octets)
        if len(told.flags) == len(told.uids):
            del self._told[mailbox_id]
            self._keep(mailbox_id, _Column(told.modseq, told.uids, bytes(told.flags)))

    async def _read(self, mailbox_id: int, modseq: int, uids: UIDList) -> bytes | None:
        """Flags of the messages that there were at a modification sequence, in their order."""
        known = self._columns.get(mailbox_id)
        if known is not None:
            self._columns.move_to_end(mailbox_id)
            if known.modseq == modseq and len(known.flags) == len(uids):
                return known.flags
            known = self._refresh(mailbox_id, known)
        flags = bytearray(known.flags if known else b"")
        while len(flags) < len(uids):
            if flags:
                await self._core.pause()
            some = uids[len(flags) : len(flags) + READ_AT_ONCE]
            (text,) = self._core.reader.connection.execute(
                _READ, (mailbox_id, some[0], some[-1])
            ).fetchone()
            octets = bytes.fromhex(text or "")
            if len(octets) != len(some):
                # Some have been removed meanwhile.
                return None
            flags += octets
        if len(flags) > len(uids):
            return None
        column = _Column(modseq, uids, bytes(flags))
        self._keep(mailbox_id, column)
        return column.flags

    def _refresh(self, mailbox_id: int, known: _Column) -> _Column | None:
        """What is known with the flags that have changed since; None to begin anew."""
        reader = self._core.reader
        if not known.uids or reader.has_vanished(mailbox_id, known.modseq):
            return None
        changed = reader.connection.execute(
            _CHANGED,
            (mailbox_id, known.modseq, known.modseq, known.uids[-1], MAX_CHANGED + 1),
        ).fetchall()
        if len(changed) > MAX_CHANGED:
            return None
        flags = bytearray(known.flags)
        for uid, combination in changed:
            place = bisect_left(known.uids, uid)
            if known.uids[place] != uid:
                return None
            flags[place] = _OCTETS[combination]
        return known._replace(flags=bytes(flags))

    def _keep(self, mailbox_id: int, column: _Column) -> None:
        # Somebody else may have put it there meanwhile.
        old = self._columns.pop(mailbox_id, None)
        self._total += len(column.flags) - (0 if old is None else len(old.flags))
        self._columns[mailbox_id] = column
        while len(self._columns) > 1 and (
            self._total > MAX_KEPT or len(self._columns) > MAX_MAILBOXES
        ):
            mailbox, oldest = self._columns.popitem(last=False)
            self._total -= len(oldest.flags)
            self._answers.pop(mailbox, None)
