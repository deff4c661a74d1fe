"""From the octets of one response to its values (RFC 9051 section 9). No I/O.

The tokens are those of the server's grammar. lenient, here and there: a client has to live with the
servers that there are, and a value that cannot be read ends the connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from mailkit.client.content import Content
from mailkit.client.errors import ProtocolError
from mailkit.imap.client.body import Value, read_body, read_envelope
from mailkit.imap.client.names import decode_name, find_old_name
from mailkit.imap.client.reader import RESPONSE_LIMITS, Response, ResponseLimits
from mailkit.imap.client.values import (
    AnnotationValues,
    Capabilities,
    Continuation,
    Enabled,
    Exists,
    Expunge,
    ExtendedSearch,
    Identification,
    Listing,
    MailboxFlags,
    MailboxStatus,
    Message,
    Namespace,
    Namespaces,
    Ranges,
    Recent,
    ResponseCode,
    SearchNumbers,
    Status,
    Tagged,
    Unknown,
    Vanished,
)
from mailkit.imap.grammar import Arguments, SyntaxFault
from mailkit.mime.dates import parse_imap_datetime
from mailkit.model import SYSTEM_FLAGS, Flags
from mailkit.spool import Spool
from mailkit.wire.chars import ATOM_CHAR, octet_class

#: One response.
Typed: TypeAlias = (
    Capabilities
    | Continuation
    | Enabled
    | Exists
    | Expunge
    | ExtendedSearch
    | Identification
    | Listing
    | MailboxFlags
    | MailboxStatus
    | Message
    | Namespaces
    | Recent
    | SearchNumbers
    | Status
    | Tagged
    | Unknown
    | Vanished
)

_CONDITIONS = frozenset((b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"))
_WORD = re.compile(rb"[^ \r\n]+")
# flag, flag-perm and mbx-list-flags. lenient: "]" too, which some keywords have.
_FLAG = re.compile(rb"\\\*|\\?[%b\]]+" % octet_class(ATOM_CHAR))
_ITEM = re.compile(
    rb"(?:BODY|BINARY(?:\.SIZE)?)\[[^\]\r\n]*\](?:<\d+>)?|[%b]+" % octet_class(ATOM_CHAR),
    re.IGNORECASE,
)
_LITERAL = re.compile(rb"~?\{(\d{1,20})\}\r\n")
_PLAIN = re.compile(rb"[^ ()\"{\r\n]+")
_RANGES = re.compile(rb"\d{1,10}(?::\d{1,10})?(?:,\d{1,10}(?::\d{1,10})?)*")
_NUMBERS = re.compile(rb"(?: \d{1,10})*")
_CODE_NAME = re.compile(rb"[^ \]\r\n]+")
_SYSTEM = {flag.lower(): flag for flag in (*SYSTEM_FLAGS, "\\Recent")}


class Text(Arguments):
    """Reads the values of one response, from left to right."""

    __slots__ = ("contents", "limits")

    def __init__(self, response: Response, limits: ResponseLimits) -> None:
        super().__init__(response.octets)
        self.contents = response.contents
        self.limits = limits

    def rest(self) -> bytes:
        """All that follows."""
        position, self.position = self.position, len(self.data)
        return self.data[position:]

    # Strings and values.

    def literal(self) -> bytes | None:
        """The octets of a literal of any kind, if one stands here."""
        match = _LITERAL.match(self.data, self.position)
        if match is None:
            return None
        end = match.end() + int(match[1])
        self.position = end
        return self.data[match.end() : end]

    def any_string(self) -> bytes:
        """A quoted string, a literal, or an atom of any octets."""
        octets = self.literal()
        if octets is not None:
            return octets
        if self.looking_at(b'"'):
            return self.string()
        return self._match(_PLAIN, "A string")

    def nil_or_string(self) -> bytes | None:
        if self.accept_word(b"NIL"):
            return None
        return self.any_string()

    def decoded(self) -> str | None:
        octets = self.nil_or_string()
        return None if octets is None else octets.decode("utf-8", "replace")

    def value(self, depth: int = 0) -> Value:
        """A string, NIL, a number or a list of values.

        :raises ProtocolError: lists are nested too deep.
        """
        if not self.accept(b"("):
            octets = self.literal()
            if octets is None and not self.looking_at(b'"'):
                octets = self._match(_PLAIN, "A value")
                if octets.upper() == b"NIL":
                    return None
                return int(octets) if octets.isdigit() and len(octets) < 20 else octets
            return self.string() if octets is None else octets
        if depth >= self.limits.depth:
            raise ProtocolError("A response of the mail server is nested too deep")
        found: list[Value] = []
        while not self.accept(b")"):
            # Bodies and addresses follow each other without a space.
            while self.accept(b" "):
                pass
            if self.accept(b")"):
                break
            found.append(self.value(depth + 1))
        return found

    def content(self) -> Content | None:
        """The octets of a section; they may be elsewhere."""
        if self.position in self.contents:
            match = _LITERAL.match(self.data, self.position)
            assert match is not None
            content = self.contents[self.position]
            self.position = match.end()
            return content
        octets = self.nil_or_string()
        return None if octets is None else Content(Spool.from_bytes(octets))

    # Flags, names, numbers.

    def any_flag(self) -> str:
        name = self._match(_FLAG, "A flag").decode("ascii")
        return _SYSTEM.get(name.lower(), name)

    def any_flags(self) -> Flags:
        self.expect(b"(")
        flags = set()
        while not self.accept(b")"):
            if not self.accept(b" "):
                flags.add(self.any_flag())
        return frozenset(flags)

    def mailbox_name(self) -> str:
        return decode_name(self.any_string())

    def separator(self) -> str | None:
        octets = self.nil_or_string()
        return octets.decode("utf-8", "replace") if octets else None

    def ranges(self) -> Ranges:
        return parse_ranges(self._match(_RANGES, "A set of numbers"))

    def moment(self) -> int | None:
        if self.accept_word(b"NIL"):
            return None
        octets = self.string()
        seconds = parse_imap_datetime(b" " + octets if octets[1:2] == b"-" else octets)
        if seconds is None:
            raise SyntaxFault("A date-time is none")
        return seconds

    def in_parentheses(self, read: Callable[[], object]) -> None:
        self.expect(b"(")
        while not self.accept(b")"):
            if not self.accept(b" "):
                read()


def parse_ranges(octets: bytes) -> Ranges:
    """A set of numbers without ``*``, its parts in ascending order each.

    :raises SyntaxFault: it is none.
    """
    found = []
    if octets:
        if _RANGES.fullmatch(octets) is None:
            raise SyntaxFault("A set of numbers is none")
        for part in octets.split(b","):
            low, _, high = part.partition(b":")
            first, last = int(low), int(high or low)
            found.append((min(first, last), max(first, last)))
    return tuple(found)


def parse_response(
    response: Response, limits: ResponseLimits = RESPONSE_LIMITS, *, greeting: bool = False
) -> Typed:
    """
    :raises ProtocolError: it is none.
    """
    text = Text(response, limits)
    typed: Typed
    try:
        if text.accept(b"+"):
            text.accept(b" ")
            typed = Continuation(text.rest())
        elif text.accept(b"* "):
            typed = _untagged(text)
        else:
            tag = text._match(_WORD, "A tag")
            text.expect(b" ")
            status = _status(text)
            if status.condition in ("BYE", "PREAUTH"):
                raise SyntaxFault("Not the end of a command")
            typed = Tagged(tag, status)
    except (SyntaxFault, ValueError) as fault:
        reason = fault.text if isinstance(fault, SyntaxFault) else str(fault)
        begin = response.octets[:60].decode("utf-8", "replace")
        raise ProtocolError(
            f"The mail server's response cannot be read: {reason}: {begin!r}"
        ) from (fault)
    if greeting and not (isinstance(typed, Status) and typed.condition in ("OK", "PREAUTH", "BYE")):
        raise ProtocolError("The server does not greet as an IMAP server does")
    return typed


def _status(text: Text) -> Status:
    condition = text.word("OK, NO or BAD")
    if condition not in _CONDITIONS:
        raise SyntaxFault("OK, NO or BAD is missing")
    text.accept(b" ")
    code = None
    if text.accept(b"["):
        name = text._match(_CODE_NAME, "A response code").decode("utf-8", "replace").upper()
        end = _end_of_code(text)
        code = ResponseCode(name, text.data[text.position : end].strip(b" "))
        text.position = end + 1
        text.accept(b" ")
    return Status(condition.decode("ascii"), code, text.rest().decode("utf-8", "replace"))


def _end_of_code(text: Text) -> int:
    """Where the bracket closes: not within a quoted string (BADCHARSET, METADATA, REFERRAL)."""
    quoted = escaped = False
    for position in range(text.position, len(text.data)):
        octet = text.data[position]
        if escaped:
            escaped = False
        elif quoted and octet == 0x5C:
            escaped = True
        elif octet == 0x22:
            quoted = not quoted
        elif octet == 0x5D and not quoted:
            return position
    # lenient: a quote that stands alone.
    end = text.data.find(b"]", text.position)
    if end < 0:
        raise SyntaxFault("A response code has no end")
    return end


def _untagged(text: Text) -> Typed:
    if text.data[text.position : text.position + 1].isdigit():
        return _numbered(text)
    word = text._match(_WORD, "A response")
    name = word.upper()
    if name in _CONDITIONS:
        text.position -= len(word)
        return _status(text)
    reader = _NAMED.get(name)
    if reader is None:
        text.accept(b" ")
        return Unknown(name.decode("utf-8", "replace"), text.rest())
    return reader(text)


def _numbered(text: Text) -> Typed:
    number = text.number()
    text.space()
    name = text.word("A response")
    if name == b"EXISTS":
        return Exists(number)
    if name == b"RECENT":
        return Recent(number)
    if name == b"EXPUNGE":
        return Expunge(number)
    if name == b"FETCH":
        text.space()
        return _fetch(text, number)
    return Unknown(name.decode("ascii"), b"%d %b" % (number, text.rest()))


def _names(text: Text) -> frozenset[str]:
    return frozenset(text.rest().decode("utf-8", "replace").upper().split())


def _capabilities(text: Text) -> Capabilities:
    return Capabilities(_names(text))


def _enabled(text: Text) -> Enabled:
    return Enabled(_names(text))


def _flags(text: Text) -> MailboxFlags:
    text.space()
    return MailboxFlags(text.any_flags())


def _vanished(text: Text) -> Vanished:
    text.space()
    earlier = text.accept(b"(EARLIER) ")
    return Vanished(text.ranges(), earlier)


def _search(text: Text) -> SearchNumbers:
    numbers = tuple(map(int, text._match(_NUMBERS, "Numbers").split()))
    modseq = None
    text.accept(b" ")
    if text.accept(b"(MODSEQ "):
        modseq = text.number64()
        text.expect(b")")
    text.end()
    return SearchNumbers(numbers, modseq)


def _esearch(text: Text) -> ExtendedSearch:
    tag = None
    if text.accept(b" (TAG "):
        tag = text.any_string()
        text.expect(b")")
    result = ExtendedSearch(tag, False)
    while text.accept(b" "):
        if text.at_end():
            break
        name = text.word("A search result")
        if name == b"UID":
            result = result._replace(by_uid=True)
            continue
        text.space()
        if name == b"MIN":
            result = result._replace(minimum=text.number64())
        elif name == b"MAX":
            result = result._replace(maximum=text.number64())
        elif name == b"COUNT":
            result = result._replace(total=text.number64())
        elif name == b"MODSEQ":
            result = result._replace(modseq=text.number64())
        elif name == b"ALL":
            result = result._replace(all=text.ranges())
        else:
            text.value()
    return result


def _list(text: Text, lsub: bool = False) -> Listing:
    text.space()
    attributes = text.any_flags()
    text.space()
    separator = text.separator()
    text.space()
    name = text.mailbox_name()
    # What else extensions add (RFC 5258 section 6) is passed over.
    extended = text.value() if text.accept(b" ") and text.looking_at(b"(") else None
    return Listing(name, attributes, separator, lsub, find_old_name(extended))


def _mailbox_status(text: Text) -> MailboxStatus:
    text.space()
    name = text.mailbox_name()
    text.space()
    items: dict[str, int | str] = {}

    def item() -> None:
        key = text.word("A status item").decode("ascii")
        text.space()
        if text.looking_at(b"("):
            # MAILBOXID (RFC 8474 section 4.3)
            text.position += 1
            items[key] = text.any_string().decode("utf-8", "replace")
            text.expect(b")")
        elif not text.accept_word(b"NIL"):
            items[key] = text.number64()

    text.in_parentheses(item)
    return MailboxStatus(name, items)


def _namespaces(text: Text) -> Namespaces:
    groups = []
    for _ in range(3):
        text.space()
        found: list[Namespace] = []

        def one(found: list[Namespace] = found) -> None:
            text.expect(b"(")
            prefix = text.mailbox_name()
            text.space()
            found.append(Namespace(prefix, text.separator()))
            while not text.accept(b")"):
                text.space()
                text.value()

        if not text.accept_word(b"NIL"):
            text.in_parentheses(one)
        groups.append(tuple(found))
    return Namespaces(*groups)


def _identification(text: Text) -> Identification:
    text.space()
    fields: dict[str, str | None] = {}

    def one() -> None:
        name = text.decoded() or ""
        text.space()
        fields[name] = text.decoded()

    if not text.accept_word(b"NIL"):
        text.in_parentheses(one)
    return Identification(fields)


_NAMED: dict[bytes, Callable[[Text], Typed]] = {
    b"CAPABILITY": _capabilities,
    b"ENABLED": _enabled,
    b"FLAGS": _flags,
    b"VANISHED": _vanished,
    b"SEARCH": _search,
    b"ESEARCH": _esearch,
    b"LIST": _list,
    b"LSUB": lambda text: _list(text, True),
    b"STATUS": _mailbox_status,
    b"NAMESPACE": _namespaces,
    b"ID": _identification,
}


# FETCH.


def _fetch(text: Text, number: int) -> Message:
    message = Message(number)

    def item() -> None:
        name = text._match(_ITEM, "A data item").upper().decode("ascii")
        text.space()
        message.items.add(name)
        if "[" in name or name in ("RFC822", "RFC822.HEADER", "RFC822.TEXT"):
            if name.startswith("BINARY.SIZE"):
                message.others[name] = b"%d" % text.number64()
            else:
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
}
