"""FETCH responses (RFC 9051 section 7.5.2). No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable

from mailkit.imap.client.body import read_body, read_envelope
from mailkit.imap.client.errors import too_large
from mailkit.imap.client.text import Text
from mailkit.imap.client.values import AnnotationValues, Message
from mailkit.wire.chars import ATOM_CHAR, octet_class

_ITEM = re.compile(
    rb"(?:BODY|BINARY(?:\.SIZE)?)\[[^\]\r\n]*\](?:<\d+>)?|[%b]+" % octet_class(ATOM_CHAR),
    re.IGNORECASE,
)

_GMAIL_ID = re.compile(rb"\d{1,20}")


def read_fetch(text: Text, number: int) -> Message:
    """The data items of a message."""
    message = Message(number)

    def item() -> None:
        name = text.match(_ITEM, "A data item").upper().decode("ascii")
        text.space()
        message.items.add(name)
        if "[" in name or name in ("RFC822", "RFC822.HEADER", "RFC822.TEXT"):
            if name.startswith("BINARY.SIZE"):
                message.others[name] = b"%d" % text.number64()
            else:
                if len(message.sections) >= text.limits.sections:
                    raise too_large("too many sections", "sections")
                message.sections[name] = text.content()
        elif name in _ITEMS:
            _ITEMS[name](text, message)
        else:
            start = text.position
            text.value()
            message.others[name] = text.data[start : text.position]

    text.in_parentheses(item)
    return message


def _read_flags(text: Text, message: Message) -> None:
    flags = text.any_flags()
    message.recent = "\\Recent" in flags
    message.flags = flags - {"\\Recent"}


def _read_uid(text: Text, message: Message) -> None:
    message.uid = text.nonzero_number()


def _read_date(text: Text, message: Message) -> None:
    message.internal_date = text.moment()


def _read_save_date(text: Text, message: Message) -> None:
    message.save_date = text.moment()


def _read_size(text: Text, message: Message) -> None:
    message.size = text.number64()


def _read_modseq(text: Text, message: Message) -> None:
    text.expect(b"(")
    message.modseq = text.number64()
    text.expect(b")")


def _read_envelope(text: Text, message: Message) -> None:
    message.envelope = read_envelope(text.value())


def _read_structure(text: Text, message: Message) -> None:
    message.structure = read_body(text.value())


def _read_email_id(text: Text, message: Message) -> None:
    message.email_id = _object_id(text)


def _read_thread_id(text: Text, message: Message) -> None:
    message.thread_id = _object_id(text)


def _object_id(text: Text) -> str | None:
    if text.accept_word(b"NIL"):
        return None
    text.expect(b"(")
    found = text.any_string().decode("utf-8", "replace")
    text.expect(b")")
    return found


def _read_preview(text: Text, message: Message) -> None:
    message.preview = text.decoded()


def _read_annotations(text: Text, message: Message) -> None:
    """``(/comment (value.priv "x" size.priv "1") ...)``, or names alone (RFC 5257 section 4.4)."""
    found: dict[str, AnnotationValues] = {}

    def entry() -> None:
        values = found.setdefault(text.any_string().decode("utf-8", "replace"), AnnotationValues())
        if text.looking_at(b" ("):
            text.space()
            text.in_parentheses(lambda: attribute(values))

    def attribute(values: AnnotationValues) -> None:
        name = text.any_string().lower()
        text.space()
        value = text.nil_or_string()
        size = int(value) if value and value.isdigit() and len(value) < 20 else None
        if name == b"value.priv":
            values.private = value
        elif name == b"value.shared":
            values.shared = value
        elif name == b"size.priv":
            values.private_size = size
        elif name == b"size.shared":
            values.shared_size = size

    text.in_parentheses(entry)
    message.annotations = found


def _read_labels(text: Text, message: Message) -> None:
    labels: list[str] = []
    text.in_parentheses(lambda: labels.append(text.mailbox_name()))
    message.labels = frozenset(labels)


def _read_gmail_id(text: Text, message: Message) -> None:
    message.gmail_id = int(text.match(_GMAIL_ID, "A number"))


def _read_gmail_thread(text: Text, message: Message) -> None:
    message.gmail_thread = int(text.match(_GMAIL_ID, "A number"))


_ITEMS: dict[str, Callable[[Text, Message], None]] = {
    "ANNOTATION": _read_annotations,
    "FLAGS": _read_flags,
    "UID": _read_uid,
    "INTERNALDATE": _read_date,
    "SAVEDATE": _read_save_date,
    "RFC822.SIZE": _read_size,
    "MODSEQ": _read_modseq,
    "ENVELOPE": _read_envelope,
    "BODY": _read_structure,
    "BODYSTRUCTURE": _read_structure,
    "EMAILID": _read_email_id,
    "THREADID": _read_thread_id,
    "PREVIEW": _read_preview,
    "X-GM-LABELS": _read_labels,
    "X-GM-MSGID": _read_gmail_id,
    "X-GM-THRID": _read_gmail_thread,
}
