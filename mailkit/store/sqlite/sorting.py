"""Sorting and threading a mailbox by the index: what counts is taken from the headers once.

SQLite sorts, in a thread and on a connection of its own: meanwhile it holds no lock of the
interpreter, and gives the whole order as one value. What threads are made of comes in the same way;
they are made on the reactor's thread, a few milliseconds at a time.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress, islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from mailkit.query import SortCriterion, SortKey, ThreadAlgorithm, Threads
from mailkit.sorting import read_dates, sort_steps
from mailkit.store.sqlite.fields import (
    ADDRESSES,
    HEADERS,
    THREADS,
    Kind,
    find_headers,
)
from mailkit.store.sqlite.making import Wanted
from mailkit.store.sqlite.rows import DENSE, condition
from mailkit.store.sqlite.slices import Slices
from mailkit.threads import COLUMNS, ThreadInput, thread_steps

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

#: Mailboxes and tables of which it is remembered that all messages have values.
MAX_COMPLETE = 3000
#: Messages up to which they are sorted on the reactor's thread: in a millisecond or two, while a
#: thread of its own begins.
SORTED_HERE = 1000
#: Messages whose values are read at a time, to be threaded.
ROWS = 1000
#: How many times as many where all that is read of them is numbers.
PLAIN_ROWS = 4
#: Threads and orders of fewer messages are made anew each time.
REMEMBERED_FROM = 500
#: Messages whose dates are read at a time, where they are not kept.
DATES = 100
#: Messages of which nothing was made yet from which their dates alone are read.
WANTED_FROM = 500
#: Messages in threads and orders that are remembered, in all mailboxes together: 12 octets each.
MAX_REMEMBERED = 1_000_000

#: What each key takes beyond ``m`` (message), and what it sorts by.
_COLUMNS: Mapping[SortKey, tuple[Kind | None, str]] = {
    SortKey.ARRIVAL: (None, "m.internal_date"),
    SortKey.CC: (ADDRESSES, "cc"),
    SortKey.DATE: (THREADS, "ifnull(sent, m.internal_date)"),
    SortKey.DISPLAYFROM: (ADDRESSES, "display_from"),
    SortKey.DISPLAYTO: (ADDRESSES, "display_to"),
    SortKey.FROM: (ADDRESSES, "sender"),
    SortKey.SIZE: (None, "m.size"),
    SortKey.SUBJECT: (THREADS, "subject"),
    SortKey.TO: (ADDRESSES, "recipient"),
}
# Columns of a ThreadInput, each as one value: they take a fraction of the time of as many rows.
_THREAD_COLUMNS = {
    "uids": "json_group_array(uid)",
    "dates": "json_group_array(sent)",
    "replies": "json_group_array(is_reply)",
    "subjects": "json_group_array(subject_id)",
    "ids": "json_group_array(json(ids))",
}
_THREAD_ROWS = (
    " FROM (SELECT m.uid AS uid, ifnull(v.sent, m.internal_date) AS sent,"
    " v.is_reply AS is_reply, v.subject_id AS subject_id, v.ids AS ids FROM message m"
    " JOIN thread_value v ON v.body_id = m.body_id"
    " WHERE m.mailbox_id = ? AND m.uid BETWEEN ? AND ? ORDER BY m.uid)"
)
_LACKING = (
    "SELECT count(*) FROM (SELECT 1 FROM message m LEFT JOIN thread_value v USING (body_id)"
    " WHERE m.mailbox_id = ? AND v.body_id IS NULL LIMIT ?)"
)
# With the header fields of those messages alone whose date is not kept.
_DATE_ROWS = (
    "SELECT m.uid, m.internal_date, m.body_id, v.body_id, v.sent,"
    " CASE WHEN v.body_id IS NULL THEN s.header END FROM message m"
    " LEFT JOIN thread_value v ON v.body_id = m.body_id"
    " LEFT JOIN summary s ON s.body_id = m.body_id WHERE m.mailbox_id = ?"
)
#: A mailbox, and what was asked.
_Key: TypeAlias = "tuple[int, ThreadAlgorithm | tuple[SortCriterion, ...]]"


class _Remembered(NamedTuple):
    """What was found of some messages: it holds until one of them is removed."""

    uids: Sequence[int]
    #: As :meth:`Sorting._gone` had it before.
    gone: object
    found: Any


class Sorting:
    """Sorts messages. Used by the reactor's thread alone."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # By mailbox and table, up to which UID all messages have values.
        self._complete: OrderedDict[tuple[int, str], int] = OrderedDict()
        self._found: OrderedDict[_Key, _Remembered] = OrderedDict()
        self._remembered = 0

    async def sort(
        self, mailbox_id: int, uids: Sequence[int], criteria: Sequence[SortCriterion]
    ) -> Sequence[int]:
        """Those of the ascending UIDs that exist, in the order that is wanted."""
        # Raises when the mailbox is gone.
        self._core.reader.mailbox_info(mailbox_id)
        if not len(uids):
            return []
        key = mailbox_id, tuple(criteria)
        gone = self._gone(mailbox_id)
        if (known := self._recall(key, uids, gone)) is not None:
            order: Sequence[int] = known
            return order
        self._core.hurry(Wanted.ORDERS)
        if await self._lacks_dates(mailbox_id, uids, criteria):
            order = array("I", await self._sort_by_date(mailbox_id, uids, criteria))
            self._remember(key, _Remembered(uids, gone, order))
            return order
        for kind in _kinds(criteria):
            await self.complete(mailbox_id, uids[-1], kind)
        if len(uids) <= SORTED_HERE:
            order = array("I", _sort(self._core.reader.connection, mailbox_id, uids, criteria))
        else:
            order = await self._core.in_thread(self._sort_in_thread, mailbox_id, uids, criteria)
        self._remember(key, _Remembered(uids, gone, order))
        return order

    async def _lacks_dates(
        self, mailbox_id: int, uids: Sequence[int], criteria: Sequence[SortCriterion]
    ) -> bool:
        """Whether dates alone are asked for, and nothing was made of many messages yet."""
        if [key for key, _ in criteria] != [SortKey.DATE]:
            return False
        if self._complete.get((mailbox_id, THREADS.save.table), 0) >= uids[-1]:
            return False
        if not self._core.settings.summarize_ahead:
            # Who makes them for the next time is this sort alone.
            return False
        lacking: int = await self._core.in_thread(self._count_lacking, mailbox_id)
        return lacking >= WANTED_FROM

    def _count_lacking(self, mailbox_id: int) -> int:
        """Messages of which there is nothing that sorts by date, if they are few; in a thread."""
        with self._core.borrow() as connection:
            (count,) = connection.execute(_LACKING, (mailbox_id, WANTED_FROM)).fetchone()
        return int(count)

    async def _sort_by_date(
        self, mailbox_id: int, uids: Sequence[int], criteria: Sequence[SortCriterion]
    ) -> list[int]:
        """The order by sent date, read from headers where it is not kept; all else is made ahead."""
        core = self._core
        slices = Slices(core)
        found: list[int] = []
        dates: list[int] = []
        for start in range(0, len(uids), DATES):
            where, values = condition(uids[start : start + DATES], False)
            rows = core.reader.connection.execute(
                f"{_DATE_ROWS} AND m.{where} ORDER BY m.uid", (mailbox_id, *values)
            ).fetchall()
            sent: dict[int, int | None] = {row[0]: row[4] for row in rows if row[3]}
            summaries = {row[0]: row[5] for row in rows if row[5] is not None}
            sent.update(zip(summaries, read_dates(list(summaries.values())), strict=True))
            bodies = {row[0]: row[2] for row in rows if row[0] not in sent}
            for some in _parts(bodies, HEADERS):
                headers = await find_headers(core, mailbox_id, some, slices)
                octets = [header.octets for header, _ in headers.values()]
                sent.update(zip(headers, read_dates(octets), strict=True))
            for uid, arrived, *_ in rows:
                # One that is not there has been removed since.
                if uid in sent:
                    found.append(uid)
                    date = sent[uid]
                    dates.append(arrived if date is None else date)
            if slices.over:
                await slices.pause()
        order: list[int] = []
        for step in sort_steps(found, criteria, [dates]):
            order = step or order
            if slices.over:
                await slices.pause()
        return order

    def _sort_in_thread(
        self, mailbox_id: int, uids: Sequence[int], criteria: Sequence[SortCriterion]
    ) -> array[int]:
        with self._core.borrow() as connection:
            return array("I", _sort(connection, mailbox_id, uids, criteria))

    async def thread(
        self, mailbox_id: int, uids: Sequence[int], algorithm: ThreadAlgorithm
    ) -> Threads:
        """Those of the ascending UIDs that exist, in threads."""
        self._core.reader.mailbox_info(mailbox_id)
        if not len(uids):
            return Threads(array("I"), array("I"))
        key = mailbox_id, algorithm
        gone = self._gone(mailbox_id)
        if (known := self._recall(key, uids, gone)) is not None:
            found: Threads = known
            return found
        self._core.hurry(Wanted.ORDERS)
        await self.complete(mailbox_id, uids[-1], THREADS)
        given, names = ThreadInput(), COLUMNS[algorithm]
        at_once = ROWS if "ids" in names else ROWS * PLAIN_ROWS
        for start in range(0, len(uids), at_once):
            some = uids[start : start + at_once]
            columns = await self._core.in_thread(self._read_columns, mailbox_id, some, names)
            for name, column in zip(names, columns, strict=True):
                getattr(given, name).extend(column)
        threads = Threads(array("I"), array("I"))
        slices = Slices(self._core)
        for step in thread_steps(algorithm, given):
            threads = step or threads
            if slices.over:
                await slices.pause()
        self._remember(key, _Remembered(uids, gone, threads))
        return threads

    def _read_columns(
        self, mailbox_id: int, uids: Sequence[int], names: Sequence[str]
    ) -> list[list[Any]]:
        """What threads are made of, the UIDs first; runs in a thread."""
        sql = "SELECT " + ", ".join(_THREAD_COLUMNS[name] for name in names) + _THREAD_ROWS
        with self._core.borrow() as connection:
            row = connection.execute(sql, (mailbox_id, uids[0], uids[-1])).fetchone()
        columns: list[list[Any]] = [json.loads(text) for text in row]
        if columns[0] != list(uids):
            wanted = set(uids)
            chosen = [uid in wanted for uid in columns[0]]
            columns = [list(compress(column, chosen)) for column in columns]
        return columns

    def _gone(self, mailbox_id: int) -> object:
        """What differs whenever messages have been removed."""
        return self._core.reader.connection.execute(
            "SELECT forgotten_modseq,"
            " (SELECT max(modseq) FROM vanished WHERE mailbox_id = mailbox.id)"
            " FROM mailbox WHERE id = ?",
            (mailbox_id,),
        ).fetchone()

    def _recall(self, key: _Key, uids: Sequence[int], gone: object) -> Any:
        """What was found of the same messages, if it is remembered."""
        known = self._found.get(key)
        if known is None or known.gone != gone or len(known.uids) != len(uids):
            return None
        if not _are_same(known.uids, uids):
            return None
        self._found.move_to_end(key)
        return known.found

    def _remember(self, key: _Key, new: _Remembered) -> None:
        forgotten = self._found.pop(key, None)
        if forgotten is not None:
            self._remembered -= len(forgotten.uids)
        # Of a few messages they are made as quickly as they are found.
        if not REMEMBERED_FROM <= len(new.uids) <= MAX_REMEMBERED:
            return
        uids = new.uids if isinstance(new.uids, range) else array("I", new.uids)
        self._found[key] = new._replace(uids=uids)
        self._remembered += len(new.uids)
        while self._remembered > MAX_REMEMBERED:
            _, old = self._found.popitem(last=False)
            self._remembered -= len(old.uids)

    async def complete(self, mailbox_id: int, last: int, kind: Kind) -> None:
        """See to it that all messages up to a UID have values of a kind."""
        key = mailbox_id, kind.save.table
        since = self._complete.get(key, 0)
        if since >= last:
            return
        uids = self._core.reader.list_uids(mailbox_id)
        new = uids[bisect_right(uids, since) : bisect_right(uids, last)]
        await self._core.fields.make(mailbox_id, new, kind)
        self._complete[key] = last
        self._complete.move_to_end(key)
        if len(self._complete) > MAX_COMPLETE:
            self._complete.popitem(last=False)


def _are_same(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether these are the same ascending UIDs, as many of each and one at least."""
    if one[0] != other[0] or one[-1] != other[-1]:
        return False
    # Looked at one by one, a hundred thousand take long; arrays are compared as octets.
    if one[-1] - one[0] + 1 == len(one):
        return True
    if isinstance(one, array) and isinstance(other, array):
        return one == other
    return list(one) == list(other)


def _parts(bodies: Mapping[int, int], size: int) -> Iterator[dict[int, int]]:
    """Some of them at a time."""
    left = iter(bodies.items())
    while part := dict(islice(left, size)):
        yield part


def _kinds(criteria: Sequence[SortCriterion]) -> list[Kind]:
    """What is needed to sort, each kind once."""
    kinds = (_COLUMNS[criterion.key][0] for criterion in criteria)
    return list(dict.fromkeys(kind for kind in kinds if kind is not None))


def _sort(
    connection: sqlite3.Connection,
    mailbox_id: int,
    uids: Sequence[int],
    criteria: Sequence[SortCriterion],
) -> list[int]:
    """Those of the ascending UIDs that exist, in the order that is wanted."""
    columns = [_COLUMNS[key][1] + (" DESC" if reverse else "") for key, reverse in criteria]
    tables = [kind.save.table for kind in _kinds(criteria)]
    join = "".join(f" JOIN {table} ON {table}.body_id = m.body_id" for table in tables)
    # SQLite wants an order of rows to be that of an aggregate, or leaves it out.
    sql = (
        f"SELECT json_group_array(uid) FROM (SELECT m.uid AS uid FROM message m{join}"
        f" WHERE m.mailbox_id = ? AND m.{{}} ORDER BY {', '.join(columns)}, m.uid)"
    )
    first, last = uids[0], uids[-1]
    if len(uids) < (last - first + 1) * DENSE:
        sql = sql.format("uid IN (SELECT value FROM json_each(?))")
        return _one_list(connection, sql, mailbox_id, json.dumps(list(uids)))
    sql = sql.format("uid BETWEEN ? AND ?")
    found = _one_list(connection, sql, mailbox_id, first, last)
    if last - first + 1 == len(uids):
        return found
    wanted = set(uids)
    return [uid for uid in found if uid in wanted]


def _one_list(connection: sqlite3.Connection, sql: str, *values: object) -> list[Any]:
    """What a statement gives as one JSON array."""
    (text,) = connection.execute(sql, values).fetchone()
    found: list[Any] = json.loads(text)
    return found
