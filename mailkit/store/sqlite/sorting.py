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
from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any

from mailkit.query import SortCriterion, SortKey, ThreadAlgorithm, Threads
from mailkit.sorting import DETAILS
from mailkit.store.sqlite.rows import DENSE
from mailkit.store.sqlite.slices import Slices
from mailkit.threads import COLUMNS, ThreadInput, thread_steps

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

#: Mailboxes of which it is remembered that their messages have values.
MAX_COMPLETE = 1000
#: Messages up to which they are sorted on the reactor's thread: in a millisecond or two, while a
#: thread of its own begins.
SORTED_HERE = 1000
#: Messages whose values are read at a time, to be threaded.
ROWS = 1000
#: How many times as many where all that is read of them is numbers.
PLAIN_ROWS = 4
#: Threads of fewer messages are made anew each time.
REMEMBERED_FROM = 500
#: Messages in threads that are remembered, in all mailboxes together: 8 octets each.
MAX_REMEMBERED = 1_000_000

#: Column of ``m`` (message) or ``v`` (sort_value) for each key.
_COLUMNS = {
    SortKey.ARRIVAL: "m.internal_date",
    SortKey.CC: "v.cc",
    SortKey.DATE: "ifnull(v.sent, m.internal_date)",
    SortKey.DISPLAYFROM: "v.display_from",
    SortKey.DISPLAYTO: "v.display_to",
    SortKey.FROM: "v.sender",
    SortKey.SIZE: "m.size",
    SortKey.SUBJECT: "v.subject",
    SortKey.TO: "v.recipient",
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
    " JOIN sort_value v ON v.body_id = m.body_id"
    " WHERE m.mailbox_id = ? AND m.uid BETWEEN ? AND ? ORDER BY m.uid)"
)


class Sorting:
    """Sorts messages. Used by the reactor's thread alone."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # Up to which UID all messages of a mailbox have values.
        self._complete: OrderedDict[int, int] = OrderedDict()
        # By mailbox and algorithm: the messages, and their threads, which never change.
        self._threads: OrderedDict[tuple[int, ThreadAlgorithm], tuple[Sequence[int], Threads]] = (
            OrderedDict()
        )
        self._remembered = 0

    async def sort(
        self, mailbox_id: int, uids: Sequence[int], criteria: Sequence[SortCriterion]
    ) -> list[int]:
        """Those of the ascending UIDs that exist, in the order that is wanted."""
        # Raises when the mailbox is gone.
        self._core.reader.mailbox_info(mailbox_id)
        if not len(uids):
            return []
        if any(criterion.key not in DETAILS for criterion in criteria):
            await self.complete(mailbox_id, uids[-1])
        if len(uids) <= SORTED_HERE:
            return _sort(self._core.reader.connection, mailbox_id, uids, criteria)
        return await self._core.in_thread(self._sort_in_thread, mailbox_id, uids, criteria)

    def _sort_in_thread(
        self, mailbox_id: int, uids: Sequence[int], criteria: Sequence[SortCriterion]
    ) -> list[int]:
        with self._core.borrow() as connection:
            return _sort(connection, mailbox_id, uids, criteria)

    async def thread(
        self, mailbox_id: int, uids: Sequence[int], algorithm: ThreadAlgorithm
    ) -> Threads:
        """Those of the ascending UIDs that exist, in threads."""
        self._core.reader.mailbox_info(mailbox_id)
        if not len(uids):
            return Threads(array("I"), array("I"))
        key = (mailbox_id, algorithm)
        if (known := self._threads.get(key)) is not None and list(known[0]) == list(uids):
            self._threads.move_to_end(key)
            return known[1]
        await self.complete(mailbox_id, uids[-1])
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
        self._remember(key, uids, threads)
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

    def _remember(
        self, key: tuple[int, ThreadAlgorithm], uids: Sequence[int], threads: Threads
    ) -> None:
        forgotten = self._threads.pop(key, None)
        if forgotten is not None:
            self._remembered -= len(forgotten[0])
        # Of a few messages they are made as quickly as they are found.
        if not REMEMBERED_FROM <= len(uids) <= MAX_REMEMBERED:
            return
        self._threads[key] = (uids, threads)
        self._remembered += len(uids)
        while self._remembered > MAX_REMEMBERED:
            _, (old, _) = self._threads.popitem(last=False)
            self._remembered -= len(old)

    async def complete(self, mailbox_id: int, last: int) -> None:
        """See to it that all messages up to a UID have values."""
        since = self._complete.get(mailbox_id, 0)
        if since >= last:
            return
        uids = self._core.reader.list_uids(mailbox_id)
        new = uids[bisect_right(uids, since) : bisect_right(uids, last)]
        await self._core.fields.make_values(mailbox_id, new)
        self._complete[mailbox_id] = last
        self._complete.move_to_end(mailbox_id)
        if len(self._complete) > MAX_COMPLETE:
            self._complete.popitem(last=False)


def _sort(
    connection: sqlite3.Connection,
    mailbox_id: int,
    uids: Sequence[int],
    criteria: Sequence[SortCriterion],
) -> list[int]:
    """Those of the ascending UIDs that exist, in the order that is wanted."""
    columns = [f"{_COLUMNS[key]} DESC" if reverse else _COLUMNS[key] for key, reverse in criteria]
    join = " JOIN sort_value v ON v.body_id = m.body_id" if "v." in " ".join(columns) else ""
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
    wanted = set(uids)
    return [uid for uid in found if uid in wanted]


def _one_list(connection: sqlite3.Connection, sql: str, *values: object) -> list[Any]:
    """What a statement gives as one JSON array."""
    (text,) = connection.execute(sql, values).fetchone()
    found: list[Any] = json.loads(text)
    return found
