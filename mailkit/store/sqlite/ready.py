"""What is told of many messages at once, straight from the index: field by field, nothing made."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from mailkit.store.sqlite.reader import Reader
from mailkit.store.sqlite.rows import DENSE

# Fields of MessageInfo and MessageSummary, and where they are. What is NULL makes no row below.
_MESSAGE = {
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
# A mailbox that was deleted has none, though its rows go bit by bit.
_OF_MAILBOX = "m.mailbox_id = (SELECT id FROM mailbox WHERE id = ?)"


@lru_cache(maxsize=256)
def _statement(fields: tuple[str, ...], chosen: str, with_uid: bool) -> str | None:
    """What selects fields; None if the index does not have them all."""
    columns = ["m.uid"] if with_uid else []
    tables = "message m"
    for field in fields:
        column = _MESSAGE.get(field) or _SUMMARY.get(field)
        if column is None:
            return None
        columns.append(column)
    if not _SUMMARY.keys().isdisjoint(fields):
        tables += " JOIN summary s ON s.body_id = m.body_id"
    if "body_structure" in fields:
        tables += " AND s.body_structure IS NOT NULL"
    return (
        f"SELECT {', '.join(columns)} FROM {tables} WHERE {_OF_MAILBOX} AND {chosen} ORDER BY m.uid"
    )


def read_fields(
    reader: Reader, mailbox_id: int, uids: Sequence[int], fields: Sequence[str]
) -> Sequence[Sequence[Any]] | None:
    """See :meth:`mailkit.interfaces.IReadyFields.read_fields`."""
    if not uids:
        return [()] * len(fields)
    values: tuple[object, ...] = (uids[0], uids[-1])
    chosen = "m.uid BETWEEN ? AND ?"
    span = uids[-1] - uids[0] + 1
    is_range = span == len(uids)
    if len(uids) < span * DENSE:
        chosen = "m.uid IN (SELECT value FROM json_each(?))"
        values = (json.dumps(list(uids)),)
    sql = _statement(tuple(fields), chosen, not is_range)
    if sql is None:
        return None
    rows = reader.connection.execute(sql, (mailbox_id, *values)).fetchall()
    if not is_range:
        wanted = set(uids)
        rows = [row[1:] for row in rows if row[0] in wanted]
    if len(rows) != len(uids):
        return None
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    converters: dict[str, Callable[[Any], Any]] = {
        "flags": reader.flag_sets.__getitem__,
        "email_id": "M{:x}".format,
    }
    for place, field in enumerate(fields):
        if (convert := converters.get(field)) is not None:
            columns[place] = list(map(convert, columns[place]))
    return columns
