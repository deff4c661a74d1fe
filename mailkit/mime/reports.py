"""Reports that mail servers send about messages: delivery status and feedback, read leniently.

Delivery status notifications (RFC 3464, in the frame of RFC 6522; international ones by RFC 6533),
feedback reports (ARF, RFC 5965), and two kinds of older bounces that say plainly whom they mean:
QSBMF, which qmail writes, and Exim's field ``X-Failed-Recipients``. Of what has no such form nothing is
guessed.

Whatever stands in a report may be forged: it is only worth as much as the proof that it belongs to
a message of ours.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mailkit.mime.content import decode_body
from mailkit.mime.dates import parse_date
from mailkit.mime.headers import Header, Octets, parse_header, unfold
from mailkit.mime.ids import message_id
from mailkit.mime.lexical import strip_comments
from mailkit.mime.parts import Part, parse_message
from mailkit.mime.words import decode_raw

#: Parts of a report that are looked at.
MAX_PARTS = 20
#: Recipients of one report that are read, and groups of fields in which they are looked for.
MAX_REPORTED = 1000
MAX_BLOCKS = 2000
#: Octets of the part for programs, of a returned header, and of a bounce in prose that are read.
MAX_STATUS_OCTETS = 1024 * 1024
#: Characters of one value that are kept.
MAX_VALUE = 2000


class Action(enum.Enum):
    """What happened (RFC 3464 section 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    #: Passed on to several addresses, which may send reports of their own.
    EXPANDED = "expanded"


class ReportedAddress(NamedTuple):
    """An address with its type, decoded (RFC 3464 section 2.3.1, RFC 6533 section 3)."""

    #: Such as ``rfc822`` or ``utf-8``, in lower case.
    address_type: str
    address: str


class ReportedRecipient(NamedTuple):
    """What a report says of one recipient (RFC 3464 section 2.3)."""

    #: Empty where only the original recipient is told.
    final: ReportedAddress
    action: Action
    #: As the sender wrote it (RFC 3461 section 4.2).
    original: ReportedAddress | None = None
    #: The enhanced status code (RFC 3463), such as ``5.1.1``; empty where there is none.
    status: str = ""
    #: What the other server said, such as an SMTP reply, and of which type that is.
    diagnostic: str = ""
    diagnostic_type: str = ""
    remote_mta: str = ""
    #: Seconds since the epoch.
    last_attempt: int | None = None
    will_retry_until: int | None = None


class DeliveryReport(NamedTuple):
    """A delivery status notification."""

    recipients: Sequence[ReportedRecipient]
    reporting_mta: str = ""
    #: ENVID of the message, decoded (RFC 3461 section 4.4).
    envelope_id: str | None = None
    #: Seconds since the epoch.
    arrival: int | None = None
    #: Message-ID of the message, with its angle brackets.
    message_id: str | None = None
    #: The header of the message, as far as it came back.
    header: Header | None = None
    #: By the standard; False where a bounce in prose was read.
    standard: bool = True


class FeedbackReport(NamedTuple):
    """A feedback report: somebody complains about a message (RFC 5965)."""

    #: ``abuse``, ``fraud``, ``virus``, ``not-spam``, ``other`` or a later one, in lower case.
    feedback_type: str
    user_agent: str = ""
    #: Who got the message, as far as that is told.
    recipients: Sequence[str] = ()
    reverse_path: str | None = None
    envelope_id: str | None = None
    source_ip: str = ""
    reported_domains: Sequence[str] = ()
    #: Seconds since the epoch.
    arrival: int | None = None
    #: How many such messages are reported at once (RFC 5965 section 3.2).
    incidents: int = 1
    message_id: str | None = None
    header: Header | None = None


_STATUS_TYPES = (b"delivery-status", b"global-delivery-status")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_LOOSE_STATUS = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")
_BY_CLASS = {"5": Action.FAILED, "4": Action.DELAYED, "2": Action.DELIVERED}
# RFC 6533 section 3: EmbeddedUnicodeChar
_EMBEDDED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_QMAIL_START = b"Hi. This is the"
# A domain has no at sign; one that might have them would be sought in quadratic time.
_QMAIL_ADDRESS = re.compile(rb"<([^<>\s]+@[^<>@\s]+)>:[ \t]*\r?\n")
_PARAGRAPH = re.compile(rb"\n\r?\n")


def parse_report(data: Octets, root: Part | None = None) -> DeliveryReport | FeedbackReport | None:
    """Read a report; never fails.

    :param root: the structure of the message, where it is known.
    :returns: None for a message that is no report.
    """
    root = root or parse_message(data)
    found: DeliveryReport | FeedbackReport | None = None
    for part in root.children[:MAX_PARTS] if root.is_multipart else ():
        if part.type == b"message" and part.subtype in _STATUS_TYPES:
            found = _delivery(data, root, part)
        elif part.type == b"message" and part.subtype == b"feedback-report":
            found = _feedback(data, root, part)
        if found is not None:
            return found
    return _exim(data, root) or _qmail(data, root)


# The standard's.


def _delivery(data: Octets, root: Part, status: Part) -> DeliveryReport | None:
    blocks = _blocks(decode_body(data, status, MAX_STATUS_OCTETS))
    head = next(blocks, None)
    if head is None:
        return None
    recipients: list[ReportedRecipient] = []
    if b"final-recipient" in head:
        # lenient: without the fields of the message.
        recipients += filter(None, [_recipient(head)])
    for block in blocks:
        recipient = _recipient(block)
        if recipient is not None:
            recipients.append(recipient)
        if len(recipients) >= MAX_REPORTED:
            break
    if not recipients:
        return None
    header = _returned(data, root)
    return DeliveryReport(
        recipients,
        _typed(head.get(b"reporting-mta"))[1],
        _text(head.get(b"original-envelope-id")) or None,
        _date(head.get(b"arrival-date")),
        _id(header),
        header,
    )


def _blocks(octets: bytes) -> Iterator[Header]:
    """The groups of fields between empty lines."""
    position = 0
    for _ in range(MAX_BLOCKS):
        if position >= len(octets):
            return
        block = parse_header(octets, position)
        if block.names:
            yield block
        position = block.body_start


def _recipient(block: Header) -> ReportedRecipient | None:
    final = _address(block.get(b"final-recipient"))
    original = _address(block.get(b"original-recipient"))
    if final is None and original is None:
        return None
    found = _STATUS.search(_text(strip_comments(block.get(b"status") or b"")))
    status = found[0] if found else ""
    word = _text(strip_comments(block.get(b"action") or b"")).lower()
    try:
        action = Action(word)
    except ValueError:
        # lenient: some leave the field out, or write words of their own.
        if not status:
            return None
        action = _BY_CLASS[status[0]]
    kind, diagnostic = _typed(block.get(b"diagnostic-code"))
    return ReportedRecipient(
        final or ReportedAddress("", ""),
        action,
        original,
        status,
        diagnostic,
        kind,
        _typed(block.get(b"remote-mta"))[1],
        _date(block.get(b"last-attempt-date")),
        _date(block.get(b"will-retry-until")),
    )


def _feedback(data: Octets, root: Part, report: Part) -> FeedbackReport | None:
    fields = next(_blocks(decode_body(data, report, MAX_STATUS_OCTETS)), None)
    if fields is None:
        return None
    kind = _text(strip_comments(fields.get(b"feedback-type") or b"")).lower()
    if not kind:
        return None
    path = fields.get(b"original-mail-from")
    incidents = _text(fields.get(b"incidents"))
    header = _returned(data, root)
    return FeedbackReport(
        kind,
        _text(fields.get(b"user-agent")),
        [_bare(_text(value)) for value in fields.get_all(b"original-rcpt-to")[:MAX_REPORTED]],
        None if path is None else _bare(_text(path)),
        _text(fields.get(b"original-envelope-id")) or None,
        _text(fields.get(b"source-ip")),
        [_text(value) for value in fields.get_all(b"reported-domain")[:MAX_REPORTED]],
        # RFC 5965 section 3.2: received-date is what some early ones call it.
        _date(fields.get(b"arrival-date") or fields.get(b"received-date")),
        int(incidents) if incidents.isdecimal() and len(incidents) < 10 else 1,
        _id(header),
        header,
    )


def _returned(data: Octets, root: Part) -> Header | None:
    """The header of the message that is reported, from the last part that has one."""
    for part in reversed(root.children[:MAX_PARTS]):
        if part.embedded is not None:
            return part.embedded.header
        kind = part.type, part.subtype
        if kind in (
            (b"text", b"rfc822-headers"),
            (b"message", b"global-headers"),
            # In a transfer encoding, which RFC 6533 section 4 allows.
            (b"message", b"global"),
            (b"message", b"rfc822"),
        ):
            return parse_header(decode_body(data, part, MAX_STATUS_OCTETS))
    return None


# Older ones.


def _exim(data: Octets, root: Part) -> DeliveryReport | None:
    values = root.header.get_all(b"x-failed-recipients")
    addresses = [word.strip() for value in values for word in _text(value).split(",")]
    recipients = [
        ReportedRecipient(ReportedAddress("rfc822", address), Action.FAILED)
        for address in addresses[:MAX_REPORTED]
        if "@" in address
    ]
    if not recipients:
        return None
    body = decode_body(data, root, MAX_STATUS_OCTETS) if not root.is_multipart else b""
    mark = re.search(rb"^------ This is a copy of .*\r?\n\r?\n", body, re.MULTILINE)
    header = parse_header(body, mark.end()) if mark else None
    return DeliveryReport(recipients, message_id=_id(header), header=header, standard=False)


def _qmail(data: Octets, root: Part) -> DeliveryReport | None:
    """QSBMF: paragraphs, the first one greets, each of the next is about a recipient."""
    if root.is_multipart or root.type != b"text":
        return None
    body = decode_body(data, root, MAX_STATUS_OCTETS)
    if not body.lstrip().startswith(_QMAIL_START):
        return None
    recipients: list[ReportedRecipient] = []
    position = 0
    header = None
    while (end := _PARAGRAPH.search(body, position)) is not None:
        paragraph, position = body[position : end.end()].lstrip(), end.end()
        if paragraph.startswith(b"-"):
            # What is below the line is the message.
            header = parse_header(body, position)
            break
        about = _QMAIL_ADDRESS.match(paragraph)
        if about is None or len(recipients) >= MAX_REPORTED:
            continue
        said = " ".join(decode_raw(paragraph[about.end() :]).split())[:MAX_VALUE]
        found = _LOOSE_STATUS.search(said)
        # The format knows failures only.
        status = found[0] if found and found[0].startswith("5") else ""
        address = ReportedAddress("rfc822", decode_raw(about[1])[:MAX_VALUE])
        recipients.append(ReportedRecipient(address, Action.FAILED, None, status, said))
    if not recipients:
        return None
    return DeliveryReport(recipients, message_id=_id(header), header=header, standard=False)


# Values.


def _text(value: bytes | None) -> str:
    return " ".join(decode_raw(unfold(value or b"")[: 4 * MAX_VALUE]).split())[:MAX_VALUE]


def _typed(value: bytes | None) -> tuple[str, str]:
    """A value behind its type: ``smtp; 550 no``."""
    kind, mark, text = _text(value).partition(";")
    return (kind.strip().lower(), text.strip()) if mark else ("", kind)


def _address(value: bytes | None) -> ReportedAddress | None:
    kind, text = _typed(value)
    if not text:
        return None
    if kind == "utf-8":
        text = _EMBEDDED.sub(_embedded, text)
    # lenient: some leave the type out, which is this one nearly always.
    return ReportedAddress(kind or "rfc822", _bare(text))


def _embedded(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return chr(code) if 0x20 < code < 0x110000 and not 0xD800 <= code < 0xE000 else found[0]


def _bare(text: str) -> str:
    """lenient: an address in angle brackets."""
    return text[1:-1] if text.startswith("<") and text.endswith(">") else text


def _date(value: bytes | None) -> int | None:
    if not value:
        return None
    parsed = parse_date(value[:MAX_VALUE])
    return None if parsed is None else int(parsed.timestamp())


def _id(header: Header | None) -> str | None:
    found = None if header is None else message_id(header)
    return None if found is None else decode_raw(found)[:MAX_VALUE]
