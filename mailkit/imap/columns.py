"""What details and summaries of messages answer to FETCH, for many messages at once. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
from mailkit.mime.chosen import choose_fields
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


def header_column(format: bytes, names: Iterable[bytes], partial: tuple[int, int] | None) -> Column:
    """A column for the literals of HEADER.FIELDS.

    :param names: of fields in :data:`~mailkit.model.SUMMARY_FIELDS`.
    :param partial: first octet and count, or None for all.
    """
    chosen = sorted({name.lower() for name in names})
    choose = choose_fields(chosen)

    def render(values: Iterable[bytes]) -> Iterable[bytes]:
        fields = list(values)
        if partial is not None:
            start, stop = partial[0], partial[0] + partial[1]
            return [literal((octets + b"\r\n")[start:stop]) for octets in fields]
        if b"\0" in b"".join(fields):
            return [literal(octets + b"\r\n") for octets in fields]
        # The empty line belongs to them (RFC 3501 section 6.4.5).
        return [b"{%d}\r\n%b\r\n" % (len(octets) + 2, octets) for octets in fields]

    column = summary_column(format, "header", lambda headers: render(choose(headers)))
    return column._replace(field=b" ".join([b"header", *chosen]).decode("ascii"), render=render)
