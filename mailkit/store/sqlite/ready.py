"""What is told of many messages at once, straight from the index: field by field, nothing made."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import compress
from typing import Any

from mailkit.mime.chosen import choose_fields
from mailkit.store.sqlite.flagcolumns import FlagColumns
from mailkit.store.sqlite.reader import Reader
from mailkit.store.sqlite.readycolumns import ReadyColumns
from mailkit.store.sqlite.rows import DENSE

#: Octets of a field above which messages are not told of together: usually it has some hundred.
MAX_OCTETS = 10 * 1024

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
#: What a field begins with that is some fields of the header.
CHOSEN = "header "
_HEADER = "header"
_COLUMNS = {**_NUMBERS, **_SUMMARY}
# What is told as it is; to make numbers of it, and digits again, would take longer than to read it.
_DIGITS = ("size", "modseq")
_to_digits = b"%d".__mod__
# A mailbox that was deleted has none, though its rows go bit by bit.
_OF_MAILBOX = "m.mailbox_id = (SELECT id FROM mailbox WHERE id = ?)"
_IN_RANGE = f"{_OF_MAILBOX} AND m.uid BETWEEN ? AND ?"
_IN_LIST = f"{_OF_MAILBOX} AND m.uid IN (SELECT value FROM json_each(?))"


def read_fields(
    reader: Reader,
    mailbox_id: int,
    uids: Sequence[int],
    fields: Sequence[str],
    flag_columns: FlagColumns,
    kept: ReadyColumns,
) -> Sequence[Sequence[Any]] | None:
    """See :meth:`mailkit.interfaces.IReadyFields.read_fields`.

    :param flag_columns: gets the flags of mailboxes.
    :param kept: gets what never changes, and gives it.
    """
    if not uids:
        return [()] * len(fields)
    known: dict[str, Sequence[Any]] = {}
    for field in fields:
        if _lasts(field) and (found := kept.get(mailbox_id, field, uids)) is not None:
            known[field] = found
    unknown = [field for field in fields if field not in known]
    if unknown:
        columns = _read_fields(reader, mailbox_id, uids, unknown, flag_columns)
    else:
        columns = [] if _are_there(reader, mailbox_id, uids) else None
    if columns is None:
        return None
    for field, values in zip(unknown, columns, strict=True):
        if _lasts(field):
            kept.keep(mailbox_id, field, uids, values)
    if not known:
        return columns
    known.update(zip(unknown, columns, strict=True))
    return [known[field] for field in fields]


def _are_there(reader: Reader, mailbox_id: int, uids: Sequence[int]) -> bool:
    """Whether all of these messages are still in the mailbox, as the index alone knows."""
    values: tuple[object, ...] = (mailbox_id, uids[0], uids[-1])
    sql = f"SELECT count(*) FROM message m NOT INDEXED WHERE {_IN_RANGE}"
    if len(uids) <= uids[-1] - uids[0]:
        values = (mailbox_id, json.dumps(list(uids)))
        sql = f"SELECT count(*) FROM message m WHERE {_IN_LIST}"
    (count,) = reader.connection.execute(sql, values).fetchone()
    return bool(count == len(uids))


def _lasts(field: str) -> bool:
    """Its values are octets, and never change."""
    return field in _SUMMARY or field.startswith(CHOSEN)


def _read_fields(
    reader: Reader,
    mailbox_id: int,
    uids: Sequence[int],
    fields: Sequence[str],
    flag_columns: FlagColumns,
) -> Sequence[Sequence[Any]] | None:
    """The same from the index."""
    # Before they are read: what changes after that is read again.
    follows = "flags" in fields and flag_columns.follows(mailbox_id, uids)
    span = uids[-1] - uids[0] + 1
    is_range = span == len(uids)
    # UIDs first where others than these may be found.
    wanted = [_HEADER if field.startswith(CHOSEN) else field for field in fields]
    wanted = wanted if is_range else ["uid", *wanted]
    if len(uids) < span * DENSE:
        values: tuple[object, ...] = (mailbox_id, json.dumps(list(uids)))
        columns = _by_rows(reader.connection, tuple(wanted), _IN_LIST, values)
    else:
        values = (mailbox_id, uids[0], uids[-1])
        text = _numbers_statement(tuple(wanted))
        if text is not None:
            columns = _by_numbers(reader.connection, text, wanted, values)
        else:
            columns = _by_rows(reader.connection, tuple(wanted), _IN_RANGE, values)
    if columns and not is_range:
        columns = _only(uids, columns)
    if not columns or len(columns[0]) != len(uids):
        return None
    if follows:
        flag_columns.note(mailbox_id, columns[fields.index("flags")])
    converters: dict[str, Callable[[Any], Any]] = {
        "flags": reader.flag_sets.__getitem__,
        "email_id": "M{:x}".format,
        **dict.fromkeys(_DIGITS, _to_digits),
    }
    for place, field in enumerate(fields):
        convert = converters.get(field)
        if convert is not None and not isinstance(columns[place][0], bytes):
            columns[place] = list(map(convert, columns[place]))
        elif field.startswith(CHOSEN):
            columns[place] = choose_fields(field.encode().split()[1:])(columns[place])
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
    # Nor is there a length of what has not been made.
    for name in fields:
        if name in _SUMMARY:
            condition += f" AND length({_SUMMARY[name]}) <= ?"
    names = ", ".join(map(str, columns))
    return f"SELECT {names} FROM {tables} WHERE {condition} ORDER BY m.uid"


def _by_rows(
    connection: sqlite3.Connection,
    fields: tuple[str, ...],
    condition: str,
    values: Sequence[object],
) -> list[Sequence[Any]]:
    """The values of fields; nothing where the index lacks one, without those that are large."""
    sql = _rows_statement(fields, condition)
    if sql is None:
        return []
    limits = [MAX_OCTETS for field in fields if field in _SUMMARY]
    return list(zip(*connection.execute(sql, (*values, *limits)).fetchall(), strict=True))


@lru_cache(maxsize=256)
def _numbers_statement(fields: tuple[str, ...]) -> str | None:
    """What selects fields that are numbers in the index, all of one with commas between.

    As rows they take twice the time, and the interpreter's lock is let go for each of them. The
    table is its own primary key, and read in its order.
    """
    columns = [_NUMBERS.get(field) for field in fields]
    if None in columns:
        return None
    lists = ", ".join(f"group_concat({column})" for column in columns)
    return f"SELECT {lists} FROM message m NOT INDEXED WHERE {_IN_RANGE}"


def _by_numbers(
    connection: sqlite3.Connection, sql: str, fields: Sequence[str], values: Sequence[object]
) -> list[Sequence[Any]]:
    """The values of fields, some of them as digits already."""
    row = connection.execute(sql, values).fetchone()
    if row[0] is None:
        return []
    return [
        text.encode().split(b",") if field in _DIGITS else json.loads(f"[{text}]")
        for field, text in zip(fields, row, strict=True)
    ]
