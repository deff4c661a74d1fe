"""FETCH: what is asked for, how it is got, and how it is written (RFC 3501 sections 6.4.5, 7.4.2).

A request becomes a :class:`Plan`. What the details and summaries of messages answer is written in
bulk, column by column, without touching a message from Python more than once an item; what needs
the message itself is written message by message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple, Protocol, TypeAlias

from mailkit.annotations import Annotation
from mailkit.imap.annotate import CAPABILITY, Request, annotation_column, parse_request
from mailkit.imap.columns import (
    COLUMNS,
    FLAGS_COLUMN,
    UID_COLUMN,
    Column,
    header_column,
    recent_flags,
)
from mailkit.imap.decoded import DecodedPart, Slice, slice_of
from mailkit.imap.grammar import Arguments, SyntaxFault, part_numbers
from mailkit.imap.render import astring, literal
from mailkit.mime import Header, imap_string
from mailkit.model import SUMMARY_FIELDS, MessageInfo, MessageSummary

#: Items of one FETCH: each body section is one.
MAX_ITEMS = 100
#: Header fields that one item may name.
MAX_FIELDS = 200

#: How a BODYSTRUCTURE tells a message in UTF-8 (RFC 6532), which IMAP4rev2 tells more of.
GLOBAL = b'"message" "global"'

#: Octets, offsets of octets in the message that are to be copied from there, or decoded octets.
Piece: TypeAlias = bytes | tuple[int, int] | Slice

_NAME = re.compile(rb"[A-Za-z0-9.-]+")
_PART = re.compile(rb"([1-9]\d{0,9}(?:\.[1-9]\d{0,9})*)(\.)?")
_TEXT = re.compile(rb"HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME", re.IGNORECASE)
_PARTIAL = re.compile(rb"<(\d{1,19})\.([1-9]\d{0,18})>")

MACROS = {
    b"FAST": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE"),
    b"ALL": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE"),
    b"FULL": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE", b"BODY"),
}


class Content(Protocol):
    """A message that is being read (:class:`mailkit.imap.content.MessageContent`)."""

    def find(self, parts: tuple[int, ...], kind: str) -> tuple[int, int] | None:
        """Offsets of a body section, or None if there is no such section."""

    def header_of(self, parts: tuple[int, ...]) -> Header | None:
        """The header that HEADER.FIELDS of a section is taken from, or None."""

    def decoded(self, parts: tuple[int, ...]) -> DecodedPart | None:
        """What a part is without its transfer encoding, or None if there is no such part."""

    def envelope(self) -> bytes:
        """The ENVELOPE value."""

    def preview(self, lazy: bool) -> str | None:
        """The first words; None when that takes long and ``lazy`` is asked for."""

    def body(self) -> bytes:
        """The BODY value."""

    def body_structure(self) -> bytes:
        """The BODYSTRUCTURE value."""


class Section(NamedTuple):
    """Octets of a message: ``BODY[1.2.HEADER.FIELDS (FROM)]<0.100>``."""

    parts: tuple[int, ...] = ()
    #: HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT, MIME, or nothing for the part itself.
    kind: bytes = b""
    #: Field names as the client wrote them.
    fields: tuple[bytes, ...] = ()
    #: First octet and count, or None for all.
    partial: tuple[int, int] | None = None


class Attribute(NamedTuple):
    """One item of a request."""

    #: What the response calls it.
    name: bytes
    #: For BODY[...] and BINARY[...], and the RFC822 items that are short for one.
    section: Section | None = None
    #: Fetching it sets \\Seen.
    sets_seen: bool = False
    #: The transfer encoding is taken off, or only the size without it is told (RFC 3516).
    decoded: bool = False
    #: PREVIEW only if it is quickly made (RFC 8970 section 4.1).
    lazy: bool = False
    #: For ANNOTATION (RFC 5257 section 4.3).
    annotation: Request | None = None


# RFC 3501 section 6.4.5: the RFC822 items are functionally equivalent to these sections.
_SHORTHAND = {
    b"RFC822": (Section(), True),
    b"RFC822.HEADER": (Section(kind=b"HEADER"), False),
    b"RFC822.TEXT": (Section(kind=b"TEXT"), True),
}
_SIMPLE = frozenset(
    (b"ENVELOPE", b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"UID", b"BODYSTRUCTURE")
)
# Items that need the octets of the message, not only where they lie.
_OF_TEXT = frozenset((b"BODY", b"BODYSTRUCTURE", b"PREVIEW"))
# RFC 3516 section 4.2
_DECODED = frozenset((b"BINARY", b"BINARY.PEEK", b"BINARY.SIZE"))
#: Items that a capability brings.
_EXTENSIONS = {
    b"MODSEQ": b"CONDSTORE",
    b"EMAILID": b"OBJECTID",
    b"THREADID": b"OBJECTID",
    b"SAVEDATE": b"SAVEDATE",
    b"PREVIEW": b"PREVIEW",
    **dict.fromkeys((b"X-GM-MSGID", b"X-GM-THRID", b"X-GM-LABELS"), b"X-GM-EXT-1"),
}
# RFC 8970 section 6, preview-mod; other parentheses are modifiers of the command.
_LAZY = re.compile(rb" \(LAZY(?: LAZY){0,9}\)", re.IGNORECASE)


# Reading a request.


def parse_attributes(arguments: Arguments, offers: Callable[[bytes], bool]) -> list[Attribute]:
    """The items of a FETCH command, macros resolved, without repetitions.

    :param offers: tells whether a capability is offered.
    """
    if arguments.looking_at(b"("):
        attributes = arguments.parenthesized(lambda: _attribute(arguments, offers))
    else:
        start = arguments.position
        macro = MACROS.get(_name(arguments))
        if macro is not None:
            return [Attribute(name) for name in macro]
        arguments.position = start
        attributes = [_attribute(arguments, offers)]
    if len(attributes) > MAX_ITEMS:
        raise SyntaxFault(f"At most {MAX_ITEMS} items can be fetched at once")
    # What is asked for twice is answered once, and sets \\Seen if one of the two would. Names are
    # not enough: BODY[]<0.2> and BODY[]<0.4> are told under the same.
    unique: dict[Attribute, bool] = {}
    for attribute in attributes:
        key = attribute._replace(sets_seen=False)
        unique[key] = unique.get(key, False) or attribute.sets_seen
    return [attribute._replace(sets_seen=sets_seen) for attribute, sets_seen in unique.items()]


def _name(arguments: Arguments) -> bytes:
    match = _NAME.match(arguments.data, arguments.position)
    if match is None:
        raise SyntaxFault("An item to fetch is missing")
    arguments.position = match.end()
    return match.group().upper()


def _attribute(arguments: Arguments, offers: Callable[[bytes], bool]) -> Attribute:
    name = _name(arguments)
    if name in (b"BODY", b"BODY.PEEK") and arguments.accept(b"["):
        section = parse_section(arguments)
        return Attribute(section_name(section), section, name == b"BODY")
    if name in _DECODED and arguments.accept(b"[") and offers(b"BINARY"):
        return _decoded_attribute(name, arguments)
    if name in _SIMPLE or name == b"BODY":
        return Attribute(name)
    if name in _SHORTHAND:
        section, sets_seen = _SHORTHAND[name]
        return Attribute(name, section, sets_seen)
    if name == b"ANNOTATION" and offers(CAPABILITY):
        arguments.space()
        return Attribute(name, annotation=parse_request(arguments))
    if name in _EXTENSIONS and offers(_EXTENSIONS[name]):
        lazy = _LAZY.match(arguments.data, arguments.position) if name == b"PREVIEW" else None
        if lazy is not None:
            arguments.position = lazy.end()
        return Attribute(name, lazy=lazy is not None)
    raise SyntaxFault(f"{name.decode('ascii')} is not an item that can be fetched")


def parse_section(arguments: Arguments) -> Section:
    """What stands behind ``BODY[``, with the closing bracket and the range behind it."""
    data = arguments.data
    parts: tuple[int, ...] = ()
    kind = b""
    fields: tuple[bytes, ...] = ()
    text_needed = False
    if part := _PART.match(data, arguments.position):
        arguments.position = part.end()
        parts = part_numbers(part.group(1))
        text_needed = bool(part.group(2))
    if not parts or text_needed:
        text = _TEXT.match(data, arguments.position)
        if text is not None:
            arguments.position = text.end()
            kind = text.group().upper()
        # RFC 3501 section 9, section-text: MIME stands behind a part number only.
        if (text is None and text_needed) or (kind == b"MIME" and not parts):
            raise SyntaxFault("That is not a section of a message")
    if kind.startswith(b"HEADER.FIELDS"):
        arguments.space()
        fields = tuple(arguments.parenthesized(lambda: arguments.astring("A field name")))
        if len(fields) > MAX_FIELDS:
            raise SyntaxFault(f"At most {MAX_FIELDS} header fields can be named")
    arguments.expect(b"]")
    return Section(parts, kind, fields, _partial(arguments))


def _partial(arguments: Arguments) -> tuple[int, int] | None:
    if not arguments.looking_at(b"<"):
        return None
    match = _PARTIAL.match(arguments.data, arguments.position)
    if match is None:
        raise SyntaxFault("A part of a section looks like <0.1024>")
    arguments.position = match.end()
    partial = (int(match.group(1)), int(match.group(2)))
    if max(partial) > arguments.max_size:
        raise SyntaxFault("A number is too large")
    return partial


def _decoded_attribute(name: bytes, arguments: Arguments) -> Attribute:
    """What stands behind ``BINARY[`` (RFC 3516 section 7, section-binary)."""
    parts: tuple[int, ...] = ()
    match = _PART.match(arguments.data, arguments.position)
    if match is not None and not match.group(2):
        arguments.position = match.end()
        parts = part_numbers(match.group(1))
    arguments.expect(b"]")
    numbers = b".".join(b"%d" % part for part in parts)
    if name == b"BINARY.SIZE":
        return Attribute(b"BINARY.SIZE[%b]" % numbers, Section(parts), decoded=True)
    section = Section(parts, partial=_partial(arguments))
    first = b"<%d>" % section.partial[0] if section.partial else b""
    return Attribute(b"BINARY[%b]%b" % (numbers, first), section, name == b"BINARY", True)


def section_name(section: Section) -> bytes:
    """What a response calls a section: never PEEK, and only the first octet of a range."""
    text = b".".join([*(b"%d" % part for part in section.parts), *filter(None, [section.kind])])
    if section.fields:
        text += b" (%b)" % b" ".join(map(astring, section.fields))
    name = b"BODY[%b]" % text
    return b"%b<%d>" % (name, section.partial[0]) if section.partial else name


def _column(attribute: Attribute, summaries: bool) -> Column | None:
    """How details or summaries answer an item; None when the message is needed."""
    section = attribute.section
    if section is not None:
        fields = {name.lower() for name in section.fields}
        if (
            summaries
            and section.kind == b"HEADER.FIELDS"
            and not section.parts
            and fields <= SUMMARY_FIELDS
        ):
            name = attribute.name.replace(b"%", b"%%")
            return header_column(name + b" %b", section.fields, section.partial)
        return None
    column = COLUMNS.get(attribute.name)
    return None if column is None or (column.summary and not summaries) else column


# The plan.


class Plan:
    """How a request is answered.

    :param summaries: the mailbox gives summaries.
    :param uid: it was UID FETCH, so the response tells the UID (RFC 3501 section 6.4.8).
    :param modseq: the response tells the modification sequence in any case.
    :param uid_only: the response is named by the UID, where others are by the number (RFC 9586).
    :ivar by_message: messages have to be opened.
    :ivar by_info: details are needed.
    :ivar by_thread: details are needed that name the thread.
    :ivar by_labels: details are needed with labels.
    :ivar by_annotation: annotations are needed.
    :ivar by_summary: summaries are needed.
    :ivar by_structure: summaries with BODYSTRUCTURE are needed.
    :ivar fields: those of details and summaries that are told, as far as one field tells an item,
        besides the UID; None where something else is needed.
    :ivar sets_seen: \\Seen is set by this.
    """

    def __init__(
        self,
        attributes: Sequence[Attribute],
        summaries: bool,
        uid: bool,
        modseq: bool = False,
        uid_only: bool = False,
    ) -> None:
        wanted = list(attributes)
        names = {attribute.name for attribute in wanted}
        if uid and not uid_only and b"UID" not in names:
            wanted.insert(0, Attribute(b"UID"))
        if modseq and b"MODSEQ" not in names:
            wanted.append(Attribute(b"MODSEQ"))
        #: By UID, of the messages that are told of; whoever uses the plan puts them there.
        self.annotations: dict[int, Sequence[Annotation]] = {}
        self.by_annotation = b"ANNOTATION" in names
        columns = [self._column(attribute, summaries) for attribute in wanted]
        self.by_message = any(column is None for column in columns)
        if self.by_message:
            columns = [self._column(attribute, False) for attribute in wanted]  # Read anyway.
        self._columns = columns
        self._present = present = [column for column in columns if column is not None]
        self.by_summary = any(column.summary for column in present)
        self.by_structure = any(column.structure for column in present)
        self.sets_seen = any(attribute.sets_seen for attribute in wanted)
        self.tells_flags = FLAGS_COLUMN in present
        self.by_info = any(not column.summary and column.format != b"UID %d" for column in present)
        self.by_thread = not names.isdisjoint((b"THREADID", b"X-GM-THRID"))
        self.by_labels = b"X-GM-LABELS" in names
        told = [column.field for column in present if column is not UID_COLUMN]
        self.fields = None if self.by_message or "" in told else told
        self.uid_only = uid_only
        self._head = b"* %d UIDFETCH (" if uid_only else b"* %d FETCH ("
        self._format = self._head + b" ".join(column.format for column in present) + b")\r\n"
        ready = b" ".join(column.ready_format for column in present)
        self._ready_format = self._head + ready + b")\r\n"
        self._readers = [
            None if column is not None else _reader(attribute)
            for attribute, column in zip(wanted, columns, strict=True)
        ]
        #: Where the only item stands that needs the message, and its name, if it wants all octets.
        self.whole = _find_whole(wanted, columns)
        self.needs_structure = any(_beyond_header(attribute) for attribute in wanted)
        #: The parts that are wanted without their transfer encoding.
        self.decoded = {a.section.parts for a in wanted if a.decoded and a.section is not None}
        #: Octets of the message, not only where they lie.
        self.needs_text = any(a.name in _OF_TEXT and not a.lazy for a in wanted)

    def _column(self, attribute: Attribute, summaries: bool) -> Column | None:
        if attribute.annotation is not None:
            return annotation_column(attribute.annotation, self.annotations)
        return _column(attribute, summaries)

    def rows(
        self,
        numbers: Sequence[int],
        infos: Sequence[Any],
        summaries: Sequence[MessageSummary],
        is_recent: Callable[[int], bool] | None = None,
    ) -> Iterator[bytes]:
        """The responses for some messages; all sequences run in parallel.

        :param infos: may be summaries or any rows that begin with the UID if not ``by_info``.
        :param is_recent: tells what is \\Recent, None when none of these messages is.
        """
        columns = [self._values(column, infos, summaries, is_recent) for column in self._present]
        if self.by_annotation:
            return self._rows_with_gaps(numbers, columns)
        return map(self._format.__mod__, zip(numbers, *columns, strict=True))

    def _rows_with_gaps(
        self, numbers: Sequence[int], columns: Sequence[Iterable[Any]]
    ) -> Iterator[bytes]:
        """The responses where an item may be left out; none for a message that has no other."""
        formats = [column.format for column in self._present]
        for number, *values in zip(numbers, *columns, strict=True):
            items = [each % value for each, value in zip(formats, values, strict=True)]
            if told := b" ".join(filter(None, items)):
                yield self._head % number + told + b")\r\n"

    def ready_rows(
        self,
        numbers: Sequence[int],
        uids: Sequence[int],
        fields: Sequence[Sequence[Any]],
        is_recent: Callable[[int], bool] | None,
    ) -> Iterator[bytes]:
        """The same as :meth:`rows`, from what :attr:`fields` asks for."""
        columns: list[Iterable[Any]] = [numbers]
        left = iter(fields)
        for column in self._present:
            if column is UID_COLUMN:
                columns.append(uids)
            elif column is FLAGS_COLUMN and is_recent is not None:
                columns.append(recent_flags(uids, next(left), is_recent))
            else:
                columns.append(column.render(next(left)))
        return map(self._ready_format.__mod__, zip(*columns, strict=True))

    def has_global(self, fields: Sequence[Sequence[Any]]) -> bool:
        """Whether a BODYSTRUCTURE among what :attr:`fields` asks for has message/global in it."""
        return any(
            any(GLOBAL in structure for structure in values)
            for field, values in zip(self.fields or (), fields, strict=True)
            if field == "body_structure"
        )

    def _values(
        self,
        column: Column,
        infos: Sequence[MessageInfo],
        summaries: Sequence[MessageSummary],
        is_recent: Callable[[int], bool] | None,
    ) -> Iterable[Any]:
        if column.summary:
            return column.values(summaries)
        if column is FLAGS_COLUMN and is_recent is not None:
            return recent_flags(
                [info.uid for info in infos], [info.flags for info in infos], is_recent
            )
        return column.values(infos)

    def details(
        self, infos: Sequence[MessageInfo], is_recent: Callable[[int], bool] | None, flags: set[int]
    ) -> Iterator[list[bytes | None]]:
        """For each message what its details answer, item by item; None where it must be read.

        :param flags: UIDs whose flags have to be told although nobody asked for them.
        """
        columns: list[Iterable[bytes | None]] = []
        for column in self._columns:
            if column is None:
                columns.append(repeat(None, len(infos)))
            else:
                values = self._values(column, infos, (), is_recent)
                columns.append([column.format % value for value in values])
        if flags and not self.tells_flags:
            told = self._values(FLAGS_COLUMN, infos, (), is_recent)
            columns.append(
                [
                    FLAGS_COLUMN.format % value if info.uid in flags else b""
                    for info, value in zip(infos, told, strict=True)
                ]
            )
        return map(list, zip(*columns, strict=True))

    def pieces(self, number: int, details: Sequence[bytes | None], content: Content) -> list[Piece]:
        """The response for one message: octets, and offsets of octets in the message."""
        pieces: list[Piece] = [self._head % number]
        separator = b""
        readers = self._readers
        for position, known in enumerate(details):
            if known is None:
                reader = readers[position]
                assert reader is not None
                if separator:
                    pieces.append(separator)
                pieces.extend(reader(content))
            elif known:
                pieces.append(separator + known)
            else:
                continue
            separator = b" "
        pieces.append(b")\r\n")
        return pieces

    def wrap(
        self,
        numbers: Sequence[int],
        details: Sequence[Sequence[bytes | None]],
        contents: Iterable[bytes],
    ) -> list[bytes]:
        """The responses for some messages, where the plan is for the ``whole``.

        :param contents: all octets of each.
        """
        assert self.whole is not None
        position, name = self.whole
        pieces: list[bytes] = []
        head = self._head + b"%b" + name.replace(b"%", b"%%") + b" {%d}\r\n"
        before, end = b"", b")\r\n"
        behind = end
        for number, known, octets in zip(numbers, details, contents, strict=True):
            if len(known) > 1:
                before = b"".join([each + b" " for each in known[:position] if each])
                behind = b" ".join([b"", *filter(None, known[position + 1 :])]) + end
            pieces += (head % (number, before, len(octets)), octets, behind)
        return pieces


def _find_whole(
    attributes: Sequence[Attribute], columns: Sequence[Column | None]
) -> tuple[int, bytes] | None:
    unknown = [number for number, column in enumerate(columns) if column is None]
    if len(unknown) != 1:
        return None
    attribute = attributes[unknown[0]]
    if attribute.section != Section() or attribute.decoded:
        return None
    return unknown[0], attribute.name


def _beyond_header(attribute: Attribute) -> bool:
    """Whether more than the message's header and its size are needed to find the octets."""
    section = attribute.section
    if section is None:
        return attribute.name in _OF_TEXT and not attribute.lazy
    return bool(section.parts)


_Reader: TypeAlias = Callable[[Content], list[Piece]]


def _reader(attribute: Attribute) -> _Reader:
    """What answers an item from the message itself."""
    name = attribute.name
    section = attribute.section
    if section is not None:
        if attribute.decoded:
            return lambda content: _read_decoded(name, section, content)
        return lambda content: _read_section(name, section, content)
    if name == b"ENVELOPE":
        return lambda content: [b"ENVELOPE " + content.envelope()]
    if name == b"BODYSTRUCTURE":
        return lambda content: [b"BODYSTRUCTURE " + content.body_structure()]
    if name == b"PREVIEW":
        return lambda content: [b"PREVIEW " + _preview(content, attribute.lazy)]
    return lambda content: [b"BODY " + content.body()]


def _preview(content: Content, lazy: bool) -> bytes:
    text = content.preview(lazy)
    return imap_string(None if text is None else text.encode("utf-8", "replace"))


def _read_section(name: bytes, section: Section, content: Content) -> list[Piece]:
    found = locate(section, content)
    if found is None:
        return [name + b" NIL"]
    if isinstance(found, bytes):
        return [b"%b %b" % (name, literal(found))]
    start, end = found
    return [b"%b {%d}\r\n" % (name, end - start), (start, end)]


def locate(section: Section, content: Content) -> bytes | tuple[int, int] | None:
    """The octets of a section, or their offsets; None if there is no such section."""
    if section.fields:
        return _fields(section, content)
    found = content.find(section.parts, section.kind.decode("ascii"))
    if found is None or section.partial is None:
        return found
    # RFC 3501 section 6.4.5: beyond the end lies an empty string.
    start = min(found[0] + section.partial[0], found[1])
    return start, min(start + section.partial[1], found[1])


def _read_decoded(name: bytes, section: Section, content: Content) -> list[Piece]:
    part = content.decoded(section.parts)
    if name.startswith(b"BINARY.SIZE"):
        return [b"%b %d" % (name, part.size if part else 0)]
    if part is None:
        return [name + b" NIL"]
    wanted = slice_of(part, section.partial)
    # RFC 3516 section 4.3: a literal8 tells the client that it has to look for NUL.
    tilde = b"~" if part.has_nul else b""
    return [b"%b %b{%d}\r\n" % (name, tilde, wanted.last - wanted.first), wanted]


def _fields(section: Section, content: Content) -> bytes | None:
    header = content.header_of(section.parts)
    if header is None:
        return None
    octets = header.raw_fields(
        section.fields, exclude=section.kind == b"HEADER.FIELDS.NOT", blank_line=False
    )
    # RFC 3501 section 6.4.5: the empty line belongs to all header fetches.
    octets += b"\r\n"
    if section.partial is not None:
        first, count = section.partial
        octets = octets[first : first + count]
    return octets
