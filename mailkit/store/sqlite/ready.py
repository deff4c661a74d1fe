"""What is told of many messages at once, straight from the index: field by field, nothing made."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import compress
from operator import itemgetter
from typing import Any

from mailkit.store.sqlite.reader import Reader
from mailkit.store.sqlite.rows import DENSE

#: Octets of summaries above which messages are not told of together: usually they have 500 each.
MAX_OCTETS = 2 * 1024 * 1024
#: Rows between two looks at how many octets there are.
ROWS_AT_ONCE = 50

# Fields of MessageInfo and MessageSummary, and where they are. What is NULL makes no row below.
_NUMBERS = {
    "uid": "m.uid",
    "flags": "m.flags",
    "internal_date": "m.internal_date",
    "size": "m.size",
    "modseq": "m.modseq",
    "email_id": "m.body_id",
    "save_date": "m.save_date",
}
_SUMMARY = {
    "envelope": "s.envelope",
    "body_structure": "s.body_structure",
    "header": "s.header",
}
_COLUMNS = {**_NUMBERS, **_SUMMARY}
# A mailbox that was deleted has none, though its rows go bit by bit.
_OF_MAILBOX = "m.mailbox_id = (SELECT id FROM mailbox WHERE id = ?)"
_IN_RANGE = f"{_OF_MAILBOX} AND m.uid BETWEEN ? AND ?"
_IN_LIST = f"{_OF_MAILBOX} AND m.uid IN (SELECT value FROM json_each(?))"


def read_fields(
    reader: Reader, mailbox_id: int, uids: Sequence[int], fields: Sequence[str]
) -> Sequence[Sequence[Any]] | None:
    """See :meth:`mailkit.interfaces.IReadyFields.read_fields`."""
    if not uids:
        return [()] * len(fields)
    span = uids[-1] - uids[0] + 1
    is_range = span == len(uids)
    # UIDs first where others than these may be found.
    wanted = tuple(fields) if is_range else ("uid", *fields)
    if len(uids) < span * DENSE:
        values: tuple[object, ...] = (mailbox_id, json.dumps(list(uids)))
        columns = _by_rows(reader.connection, wanted, _IN_LIST, values)
    else:
        values = (mailbox_id, uids[0], uids[-1])
        text = _numbers_statement(wanted)
        if text is not None:
            columns = _by_numbers(reader.connection, text, values)
        else:
            columns = _by_rows(reader.connection, wanted, _IN_RANGE, values)
    if columns and not is_range:
        columns = _only(uids, columns)
    if not columns or len(columns[0]) != len(uids):
        return None
    converters: dict[str, Callable[[Any], Any]] = {
        "flags": reader.flag_sets.__getitem__,
        "email_id": "M{:x}".format,
    }
    for place, field in enumerate(fields):
        if (convert := converters.get(field)) is not None:
            columns[place] = list(map(convert, columns[place]))
    return columns


def _only(uids: Sequence[int], columns: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """The values of some messages, without the UIDs that come first."""
    found, *others = columns
    wanted = set(uids)
    chosen = [uid in wanted for uid in found]
    return [list(compress(values, chosen)) for values in others]


@lru_cache(maxsize=256)
def _rows_statement(fields: tuple[str, ...], condition: str) -> str | None:
    """What selects fields of messages, a row each; None if the index does not have them all."""
    columns = [_COLUMNS.get(field) for field in fields]
    if None in columns:
        return None
    tables = "message m"
    if not _SUMMARY.keys().isdisjoint(fields):
        tables += " JOIN summary s ON s.body_id = m.body_id"
    if "body_structure" in fields:
        tables += " AND s.body_structure IS NOT NULL"
    names = ", ".join(map(str, columns))
    return f"SELECT {names} FROM {tables} WHERE {condition} ORDER BY m.uid"


def _by_rows(
    connection: sqlite3.Connection,
    fields: tuple[str, ...],
    condition: str,
    values: Sequence[object],
) -> list[Sequence[Any]]:
    """The values of fields; nothing where the index lacks one, or they are very large."""
    sql = _rows_statement(fields, condition)
    if sql is None:
        return []
    large = [itemgetter(place) for place, field in enumerate(fields) if field in _SUMMARY]
    cursor = connection.execute(sql, values)
    rows: list[tuple[Any, ...]] = []
    octets = 0
    while some := cursor.fetchmany(ROWS_AT_ONCE):
        rows += some
        for get in large:
            octets += sum(map(len, map(get, some)))
        if octets > MAX_OCTETS:
            cursor.close()
            return []
    return list(zip(*rows, strict=True))


@lru_cache(maxsize=256)
def _numbers_statement(fields: tuple[str, ...]) -> str | None:
    """What selects fields that are numbers in the index, all of one as a JSON array.

    As rows they take twice the time, and the interpreter's lock is let go for each of them. The
    table is its own primary key, and read in its order.
    """
    columns = [_NUMBERS.get(field) for field in fields]
    if None in columns:
        return None
    arrays = ", ".join(f"'[' || group_concat({column}) || ']'" for column in columns)
    return f"SELECT {arrays} FROM message m NOT INDEXED WHERE {_IN_RANGE}"


def _by_numbers(
    connection: sqlite3.Connection, sql: str, values: Sequence[object]
) -> list[Sequence[Any]]:
    row = connection.execute(sql, values).fetchone()
    return [] if row[0] is None else list(map(json.loads, row))
