"""What details and summaries of messages answer to FETCH, for many messages at once. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from mailkit.imap.labels import LabelledInfo, message_number, thread_number
from mailkit.imap.render import literal, render_flags, render_internal_date
from mailkit.mime import body_from_bodystructure
from mailkit.model import MessageInfo, MessageSummary


class Column(NamedTuple):
    """An item that details or summaries answer, for many messages at once."""

    #: How the item is written: one ``%`` conversion.
    format: bytes
    #: The values from the rows (infos or summaries) in their order.
    values: Callable[[Sequence[Any]], Iterable[Any]]
    #: The rows are summaries.
    summary: bool = False
    #: They need the BODYSTRUCTURE.
    structure: bool = False


def _uid(rows: Sequence[MessageInfo]) -> Iterable[int]:
    return map(itemgetter(0), rows)


def _flags(rows: Sequence[MessageInfo]) -> Iterable[bytes]:
    return map(render_flags, map(itemgetter(1), rows))


def _internal_date(rows: Sequence[MessageInfo]) -> Iterable[bytes]:
    return map(render_internal_date, map(itemgetter(2), rows))


def _size(rows: Sequence[MessageInfo]) -> Iterable[int]:
    return map(itemgetter(3), rows)


def _modseq(rows: Sequence[MessageInfo]) -> Iterable[int]:
    return map(itemgetter(4), rows)


def _email_id(rows: Sequence[MessageInfo]) -> Iterable[bytes]:
    return [(info.email_id or "").encode("ascii") for info in rows]


def _thread_id(rows: Sequence[MessageInfo]) -> Iterable[bytes]:
    # RFC 8474 section 5.2
    return [b"(%b)" % info.thread_id.encode("ascii") if info.thread_id else b"NIL" for info in rows]


def _save_date(rows: Sequence[MessageInfo]) -> Iterable[bytes]:
    # RFC 8514 section 4.2
    return [
        b"NIL" if info.save_date is None else b'"%b"' % render_internal_date(info.save_date)
        for info in rows
    ]


def _message_number(rows: Sequence[MessageInfo]) -> Iterable[int]:
    return map(message_number, rows)


def _thread_number(rows: Sequence[MessageInfo]) -> Iterable[int]:
    return map(thread_number, rows)


def _labels(rows: Sequence[LabelledInfo]) -> Iterable[bytes]:
    return [info.labels for info in rows]


def _envelope(rows: Sequence[MessageSummary]) -> Iterable[bytes]:
    return map(itemgetter(1), rows)


def _body_structure(rows: Sequence[MessageSummary]) -> Iterable[bytes]:
    return map(itemgetter(2), rows)


def _body(rows: Sequence[MessageSummary]) -> Iterable[bytes]:
    return map(body_from_bodystructure, map(itemgetter(2), rows))


FLAGS_COLUMN = Column(b"FLAGS (%b)", _flags)
COLUMNS: Mapping[bytes, Column] = {
    b"UID": Column(b"UID %d", _uid),
    b"FLAGS": FLAGS_COLUMN,
    b"INTERNALDATE": Column(b'INTERNALDATE "%b"', _internal_date),
    b"RFC822.SIZE": Column(b"RFC822.SIZE %d", _size),
    b"MODSEQ": Column(b"MODSEQ (%d)", _modseq),
    b"EMAILID": Column(b"EMAILID (%b)", _email_id),
    b"THREADID": Column(b"THREADID %b", _thread_id),
    b"SAVEDATE": Column(b"SAVEDATE %b", _save_date),
    b"X-GM-MSGID": Column(b"X-GM-MSGID %d", _message_number),
    b"X-GM-THRID": Column(b"X-GM-THRID %d", _thread_number),
    b"X-GM-LABELS": Column(b"X-GM-LABELS (%b)", _labels),
    b"ENVELOPE": Column(b"ENVELOPE %b", _envelope, summary=True),
    b"BODYSTRUCTURE": Column(b"BODYSTRUCTURE %b", _body_structure, summary=True, structure=True),
    b"BODY": Column(b"BODY %b", _body, summary=True, structure=True),
}


@lru_cache(maxsize=256)
def _field_pattern(names: frozenset[bytes]) -> re.Pattern[bytes]:
    """Finds the fields of these lower-case names, with folded lines and line end."""
    # Sorted by length, so that no name hides one that it begins.
    alternatives = b"|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rb"(?im)^(?:%b)[ \t]*:.*(?:\n[ \t].*)*\n?" % alternatives)


def header_fields(
    names: Iterable[bytes], partial: tuple[int, int] | None
) -> Callable[[Sequence[MessageSummary]], Iterable[bytes]]:
    """What gives the literals of HEADER.FIELDS from summaries.

    :param names: of fields in :data:`~mailkit.model.SUMMARY_FIELDS`.
    :param partial: first octet and count, or None for all.
    """
    find = _field_pattern(frozenset(name.lower() for name in names)).findall

    def values(rows: Sequence[MessageSummary]) -> Iterable[bytes]:
        found = [b"".join(find(row[3])) + b"\r\n" for row in rows]
        if partial is not None:
            start, stop = partial[0], partial[0] + partial[1]
            found = [octets[start:stop] for octets in found]
        return map(literal, found)

    return values
