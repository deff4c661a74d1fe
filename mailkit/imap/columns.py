"""What details and summaries of messages answer to FETCH, for many messages at once. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from mailkit.imap.labels import LabelledInfo, message_number, thread_number
from mailkit.imap.render import (
    literal,
    render_flags,
    render_internal_date,
    render_internal_dates,
    render_recent_flags,
)
from mailkit.mime import body_from_bodystructure
from mailkit.model import Flags, MessageInfo, MessageSummary


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
    #: The field of a row that tells everything; none where it takes more.
    field: str = ""
    #: The values from those of the field.
    render: Callable[[Iterable[Any]], Iterable[Any]] = iter
    #: The same as ``format`` where the field comes with those of many messages.
    ready_format: bytes = b""


def _info_column(
    format: bytes, field: str, render: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> Column:
    """A column that one field of the details answers."""
    get = itemgetter(MessageInfo._fields.index(field))
    ready_format = format
    if field in ("size", "modseq"):
        ready_format = format.replace(b"%d", b"%b")
    return Column(
        format, lambda rows: render(map(get, rows)), False, False, field, render, ready_format
    )


def summary_column(
    format: bytes, field: str, render: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> Column:
    """A column that one field of the summaries answers."""
    get = itemgetter(MessageSummary._fields.index(field))
    structure = field == "body_structure"
    return Column(
        format, lambda rows: render(map(get, rows)), True, structure, field, render, format
    )


def _flags(values: Iterable[Flags]) -> Iterable[bytes]:
    return map(render_flags, values)


def recent_flags(
    uids: Iterable[int], values: Iterable[Flags], is_recent: Callable[[int], bool]
) -> Iterable[bytes]:
    """What :data:`FLAGS_COLUMN` tells where messages are \\Recent."""
    return [
        render_recent_flags(flags) if is_recent(uid) else render_flags(flags)
        for uid, flags in zip(uids, values, strict=True)
    ]


def _email_id(values: Iterable[str | None]) -> Iterable[bytes]:
    return [(email_id or "").encode("ascii") for email_id in values]


def _message_number(values: Iterable[str | None]) -> Iterable[int]:
    return map(message_number, values)


def _save_date(values: Iterable[int | None]) -> Iterable[bytes]:
    # RFC 8514 section 4.2
    return [
        b"NIL" if save_date is None else b'"%b"' % render_internal_date(save_date)
        for save_date in values
    ]


def _thread_id(rows: Sequence[MessageInfo]) -> Iterable[bytes]:
    # RFC 8474 section 5.2
    return [b"(%b)" % info.thread_id.encode("ascii") if info.thread_id else b"NIL" for info in rows]


def _thread_number(rows: Sequence[MessageInfo]) -> Iterable[int]:
    return map(thread_number, rows)


def _labels(rows: Sequence[LabelledInfo]) -> Iterable[bytes]:
    return [info.labels for info in rows]


def _body(values: Iterable[bytes]) -> Iterable[bytes]:
    return map(body_from_bodystructure, values)


UID_COLUMN = _info_column(b"UID %d", "uid")
FLAGS_COLUMN = _info_column(b"FLAGS (%b)", "flags", _flags)
COLUMNS: Mapping[bytes, Column] = {
    b"UID": UID_COLUMN,
    b"FLAGS": FLAGS_COLUMN,
    b"INTERNALDATE": _info_column(b'INTERNALDATE "%b"', "internal_date", render_internal_dates),
    b"RFC822.SIZE": _info_column(b"RFC822.SIZE %d", "size"),
    b"MODSEQ": _info_column(b"MODSEQ (%d)", "modseq"),
    b"EMAILID": _info_column(b"EMAILID (%b)", "email_id", _email_id),
    b"THREADID": Column(b"THREADID %b", _thread_id),
    b"SAVEDATE": _info_column(b"SAVEDATE %b", "save_date", _save_date),
    b"X-GM-MSGID": _info_column(b"X-GM-MSGID %d", "email_id", _message_number),
    b"X-GM-THRID": Column(b"X-GM-THRID %d", _thread_number),
    b"X-GM-LABELS": Column(b"X-GM-LABELS (%b)", _labels),
    b"ENVELOPE": summary_column(b"ENVELOPE %b", "envelope"),
    b"BODYSTRUCTURE": summary_column(b"BODYSTRUCTURE %b", "body_structure"),
    b"BODY": summary_column(b"BODY %b", "body_structure", _body),
}


@lru_cache(maxsize=256)
def _field_pattern(names: frozenset[bytes]) -> re.Pattern[bytes]:
    """Finds the fields of these lower-case names, with folded lines, behind a line end."""
    # The line end is what is looked for first, and quickly found; a look at one octet is enough for
    # most lines, as a branch that begins with a letter is passed over quickly. Few fields have a
    # third line: a loop is begun for those alone. Sorted by length, so that no name hides one that
    # it begins.
    rests: dict[bytes, list[bytes]] = {}
    for name in sorted(names, key=len, reverse=True):
        for letter in {name[:1].upper(), name[:1]}:
            rests.setdefault(letter, []).append(re.escape(name[1:]))
    branches = [b"%b(?i:%b)" % (re.escape(a), b"|".join(rests[a])) for a in sorted(rests)]
    return re.compile(
        rb"\n(?=[%b])(?:%b)[ \t]*:.*(?:\n[ \t].*(?:\n[ \t].*)*|)"
        % (re.escape(b"".join(rests)), b"|".join(branches))
    )


def header_fields(
    names: Iterable[bytes], partial: tuple[int, int] | None
) -> Callable[[Iterable[bytes]], Iterable[bytes]]:
    """What gives the literals of HEADER.FIELDS from the headers of summaries.

    :param names: of fields in :data:`~mailkit.model.SUMMARY_FIELDS`.
    :param partial: first octet and count, or None for all.
    """
    find = _field_pattern(frozenset(name.lower() for name in names)).findall

    def values(headers: Iterable[bytes]) -> Iterable[bytes]:
        headers = list(headers)
        if partial is None and _are_usual(headers):
            # Each field comes with the line end before it, and without its own; the first of them
            # ends the line that tells the size.
            return [
                b"{%d}\r%b\n\r\n" % (len(fields) + 2, fields)
                for fields in [b"".join(find(b"\n" + header)) for header in headers]
            ]
        found = [_with_ends(find(b"\n" + header), header) for header in headers]
        if partial is not None:
            start, stop = partial[0], partial[0] + partial[1]
            found = [octets[start:stop] for octets in found]
        return map(literal, found)

    return values


def _are_usual(headers: Sequence[bytes]) -> bool:
    """All end with a line end, and none has NUL in it."""
    return b"\0" not in b"".join(headers) and not [h for h in headers if h[-1:] != b"\n"]


def _with_ends(fields: Sequence[bytes], header: bytes) -> bytes:
    """Fields with the line end behind each, which the last one of a header may lack."""
    lacks = bool(fields) and (b"\n" + header).endswith(fields[-1])
    return b"".join([*fields, b"\r\n" if lacks else b"\n\r\n"])[1:]
