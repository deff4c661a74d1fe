"""The MIME tree of a message (RFC 2045, RFC 2046): parts with their offsets.

How broken structure is read:

- lenient: Content- fields count without MIME-Version; a Content-Type that is no Content-Type is
  text/plain (RFC 2045 section 5.2);
- a delimiter line is "--", the boundary, perhaps "--", then white space or the line's end. RFC
  2046 section 5.1.1 asks for no more than the beginning of the line to match, but composers make
  boundaries that begin with those of outer multiparts, so a longer word is another boundary;
- a delimiter of an outer multipart ends all that is inside; a header that it cuts off has no body;
- a multipart without a boundary parameter, or without a delimiter line, has no parts;
- a multipart or message that would lie deeper than the limit is one opaque part.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import NamedTuple, cast

from mailkit.mime import mapped
from mailkit.mime.contents import content_fields, content_type, transfer_encoding
from mailkit.mime.headers import Header, Octets, parse_header
from mailkit.mime.lexical import (
    TOKEN,
    Parameters,
    parse_parameterized,
    strip_comments,
)
from mailkit.mime.words import parameter_text

#: Levels of multiparts and messages inside each other.
MAX_DEPTH = 100
#: Parts of one message, its embedded messages' parts included; further ones are ignored.
MAX_PARTS = 10_000
#: Language tags of one part that are kept.
MAX_LANGUAGES = 64

_LANGUAGE = re.compile(TOKEN)
# What may follow a boundary (and the hyphens that close it); nothing at the end of the octets.
_LINE_END = (b"", b" ", b"\t", b"\r", b"\n")
_MANY_MISSES = 8
# The re module keeps what it has compiled, so that it must not be large.
_MAX_PATTERN = 256


class Limits(NamedTuple):
    """How much structure is read."""

    depth: int = MAX_DEPTH
    parts: int = MAX_PARTS


_DEFAULT_LIMITS = Limits()


class Part:
    """A message, a part of a multipart, or the message inside a message/rfc822 part."""

    __slots__ = (
        "_lines",
        "body_end",
        "body_start",
        "children",
        "content_fields",
        "header",
        "parameters",
        "subtype",
        "type",
    )

    def __init__(
        self,
        header: Header,
        type: bytes,
        subtype: bytes,
        parameters: Parameters,
        content_fields: bytes = b"",
    ) -> None:
        #: The fields of the part; of a message, also those that are not about MIME.
        self.header = header
        #: Content type in lower case: ``text``.
        self.type = type
        #: Content subtype in lower case: ``plain``.
        self.subtype = subtype
        #: Parameters of Content-Type as written, continuations (RFC 2231) put together.
        self.parameters = parameters
        #: Raw octets of the header in which all Content- fields are, perhaps others too.
        self.content_fields = content_fields
        self.body_start = header.body_start
        #: Offset behind the body; the line end before a delimiter is not part of it.
        self.body_end = header.body_start
        #: Parts of a multipart; of message/rfc822 the embedded message alone.
        self.children: list[Part] = []
        self._lines: int | None = None

    @property
    def header_start(self) -> int:
        """Offset of the first octet."""
        return self.header.start

    @property
    def end(self) -> int:
        """Offset behind the last octet."""
        return self.body_end

    @property
    def size(self) -> int:
        """Octets of the body, still in its transfer encoding."""
        return self.body_end - self.body_start

    @property
    def is_multipart(self) -> bool:
        """True also for a multipart that has no parts."""
        return self.type == b"multipart"

    @property
    def embedded(self) -> Part | None:
        """The message inside a message/rfc822 or message/global part."""
        return self.children[0] if self.children and self.type == b"message" else None

    @property
    def content_id(self) -> bytes | None:
        """Content-ID with its angle brackets."""
        return self.header.get(b"content-id")

    @property
    def description(self) -> bytes | None:
        """Content-Description, encoded words as they stand."""
        return self.header.get(b"content-description")

    @property
    def transfer_encoding(self) -> bytes:
        """Content-Transfer-Encoding as written; ``7bit`` if there is none."""
        return transfer_encoding(self.content_fields)

    @property
    def disposition(self) -> tuple[bytes, Parameters] | None:
        """Content-Disposition and its parameters, as written."""
        value = self.header.get(b"content-disposition")
        return parse_parameterized(value) if value else None

    @property
    def languages(self) -> list[bytes]:
        """The tags of Content-Language."""
        value = self.header.get(b"content-language")
        return _LANGUAGE.findall(strip_comments(value))[:MAX_LANGUAGES] if value else []

    @property
    def location(self) -> bytes | None:
        """Content-Location."""
        return self.header.get(b"content-location")

    @property
    def md5(self) -> bytes | None:
        """Content-MD5."""
        return self.header.get(b"content-md5")

    @property
    def charset(self) -> str | None:
        """The charset parameter, or None."""
        return parameter_text(self.parameters, b"charset") if self.parameters else None

    @property
    def filename(self) -> str | None:
        """The decoded file name, from Content-Disposition or else from Content-Type; None without one.

        lenient: an empty one is none, for some programs write ``filename=""`` beside a good ``name``.
        """
        disposition = self.disposition
        name = parameter_text(disposition[1], b"filename") if disposition else None
        return name or parameter_text(self.parameters, b"name") or None

    def lines(self, data: Octets) -> int:
        """Line ends in the body (LF, with or without CR)."""
        if self._lines is None:
            if isinstance(data, bytes):
                self._lines = data.count(b"\n", self.body_start, self.body_end)
            else:
                self._lines = mapped.count(data, b"\n", self.body_start, self.body_end)
        return self._lines

    def walk(self) -> Iterator[Part]:
        """This part and all below it, each before its children."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            waiting.extend(reversed(part.children))

    def find(self, section: tuple[int, ...]) -> Part | None:
        """The part of a message that IMAP calls by these numbers, or None.

        :param section: part numbers (RFC 3501 section 6.4.5); none at all means the message.
        """
        part = self
        is_message = True
        for number in section:
            if not is_message and part.embedded is not None:
                part = part.embedded
                is_message = True
            if part.is_multipart:
                # RFC 3501 section 9 allows no multipart without parts: one is shown as having
                # one empty part.
                children = part.children or [empty_part(part)]
                if not 0 < number <= len(children):
                    return None
                part = children[number - 1]
            elif not is_message or number != 1:
                # RFC 3501 section 6.4.5: a message that is no multipart has a part 1 only.
                return None
            is_message = False
        return part


def empty_part(multipart: Part) -> Part:
    """What stands for the parts of a multipart that has none: an empty text at its end."""
    end = multipart.body_end
    return Part(Header(b"", end, end, b""), b"text", b"plain", ())


class _Delimiter(NamedTuple):
    """A delimiter line."""

    #: Offset of its first hyphen.
    start: int
    #: Where the octets before it end: the line end before it belongs to it.
    cut: int
    #: Offset behind its line end.
    end: int
    #: Whether a part begins behind it.
    opens: bool


def _find_delimiter(data: Octets, needle: bytes, position: int, limit: int) -> _Delimiter | None:
    """The first delimiter line at or behind ``position``, which lies on a line end.

    :param needle: LF, two hyphens and the boundary.
    """
    missed = 0
    search = None
    while True:
        if search is None:
            if isinstance(data, bytes):
                found = data.find(needle, position, limit)
            else:
                found = mapped.find(data, needle, position, limit)
        else:
            line = search(data, position, limit)
            found = line.start() if line else -1
        if found < 0:
            return None
        position = found + len(needle)
        if position + 4 <= limit:
            tail = data[position : position + 4]
            cut = found - 1 if found and data[found - 1] == 0x0D else found
            # Nearly all are of these two forms.
            if tail[:2] == b"\r\n":
                return _Delimiter(found + 1, cut, position + 2, True)
            if tail == b"--\r\n":
                return _Delimiter(found + 1, cut, position + 4, False)
        tail = data[position : min(position + 3, limit)]
        closes = tail[:2] == b"--"
        if (tail[2:] if closes else tail[:1]) not in _LINE_END:
            missed += 1
            if missed == _MANY_MISSES and len(needle) < _MAX_PATTERN:
                # Many lines begin like a delimiter and are none: leave them to the regex engine.
                search = re.compile(re.escape(needle) + rb"(?:--)?(?:[ \t\r\n]|\Z)").search
            continue
        line_end = data.find(b"\n", position, limit)
        if tail[:1] in (b" ", b"\t"):
            # lenient: a boundary parameter may end with blanks, so that they precede the hyphens.
            rest = data[position : limit if line_end < 0 else line_end]
            closes = rest.lstrip().startswith(b"--")
        cut = found - 1 if found and data[found - 1] == 0x0D else found
        if line_end < 0:
            return _Delimiter(found + 1, cut, limit, False)
        return _Delimiter(found + 1, cut, line_end + 1, not closes)


class _Level:
    """A multipart whose parts are being read."""

    __slots__ = ("chain", "cut", "depth", "limit", "needle", "next", "part", "shared")

    def __init__(self, chain: list[Part], needle: bytes, limit: int, cut: int, depth: int) -> None:
        #: The messages around the multipart that end with it, and itself.
        self.chain = chain
        self.part = chain[-1]
        self.needle = needle
        #: Offset of the delimiter line that ends the multipart from outside, or of the end.
        self.limit = limit
        #: Where the multipart's octets end then.
        self.cut = cut
        self.depth = depth
        #: The delimiter line that comes next.
        self.next: _Delimiter | None = None
        #: The multipart around it has the same boundary.
        self.shared = False


class _Reader:
    """Builds the tree of one message without recursion.

    Each open multipart looks for its own delimiter lines only, and only up to the next one of
    the multipart around it. So no octet is looked at more than twice a level.
    """

    def __init__(self, data: Octets, limits: Limits) -> None:
        self.data = data
        self.depth = limits.depth
        self.left = limits.parts
        self.levels: list[_Level] = []

    def read(self, start: int, end: int) -> Generator[None, None, Part]:
        """Read the message between two offsets, part by part."""
        root = self._read_part(start, end, end, None, 0)
        while self.levels:
            yield
            level = self.levels[-1]
            opening = level.next
            if opening is None or not opening.opens or self.left <= 0:
                self._leave()
                continue
            level.next = _find_delimiter(self.data, level.needle, opening.end - 1, level.limit)
            closing = level.next
            if closing is None:
                limit, cut = level.limit, level.cut
            else:
                limit, cut = closing.start, closing.cut
            self._read_part(opening.end, limit, cut, level.part, level.depth)
        return root

    def _read_part(self, start: int, limit: int, cut: int, parent: Part | None, depth: int) -> Part:
        """Read a part, and the messages embedded in it.

        :param limit: offset of the delimiter line that ends it, or of the end.
        :param cut: where its octets end.
        """
        chain: list[Part] = []
        while True:
            header = parse_header(self.data, start, limit)
            if not header.blank_line and cut < limit:
                # A delimiter line ends the header.
                header = parse_header(self.data, start, max(start, cut))
            part = _make_part(header, parent)
            part.body_end = max(part.body_start, cut)
            self.left -= 1
            if parent is not None:
                parent.children.append(part)
            chain.append(part)
            is_message = part.type == b"message" and part.subtype in (b"rfc822", b"global")
            if not is_message and part.type != b"multipart":
                break
            if self.left <= 0 or depth >= self.depth:
                part.type, part.subtype = b"application", b"octet-stream"
                break
            depth += 1
            if not is_message:
                self._enter(chain, limit, cut, depth)
                break
            parent = part
            start = part.body_start
        if len(chain) > 1:
            _extend(chain, part.body_end)
        return chain[0]

    def _enter(self, chain: list[Part], limit: int, cut: int, depth: int) -> None:
        """Begin with the parts of a multipart."""
        part = chain[-1]
        boundary = find_boundary(part.parameters)
        if not boundary:
            return
        level = _Level(chain, b"\n--" + boundary, limit, cut, depth)
        outer = self.levels[-1] if self.levels else None
        if outer is not None and outer.needle == level.needle and part.header.blank_line:
            # What limits this multipart is a delimiter line of its own: it comes first.
            level.limit, level.cut = outer.limit, outer.cut
            level.shared = True
        level.next = _find_delimiter(self.data, level.needle, part.body_start - 1, level.limit)
        self.levels.append(level)

    def _leave(self) -> None:
        """The innermost multipart has no more parts."""
        level = self.levels.pop()
        if level.part.children:
            _extend(level.chain, level.part.children[-1].body_end)
        if level.shared:
            outer = self.levels[-1]
            outer.next = level.next and _find_delimiter(
                self.data, outer.needle, level.next.end - 1, outer.limit
            )
            _extend(level.chain, outer.next.cut if outer.next else outer.cut)


def _extend(chain: list[Part], end: int) -> None:
    """Let parts that lie in each other end no earlier than the innermost.

    The empty line that ends a header stays with it even if a delimiter line follows at once.
    """
    for part in chain:
        part.body_end = max(part.body_end, end)


def find_boundary(parameters: Parameters) -> bytes:
    """The boundary parameter; RFC 2046 section 5.1.1: white space at its end does not count."""
    for name, value in parameters:
        if name.lower() == b"boundary":
            return value.rstrip()
    text = parameter_text(parameters, b"boundary")
    return text.encode("utf-8", "replace").rstrip() if text else b""


def _make_part(header: Header, parent: Part | None) -> Part:
    """A part as its Content-Type says."""
    is_message = parent is None or parent.type == b"message"
    # There is little else in the header of a part.
    fields = content_fields(header) if is_message else header.octets
    found = content_type(fields)
    if found is not None:
        return Part(header, *found, fields)
    if parent is not None and parent.type == b"multipart" and parent.subtype == b"digest":
        return Part(header, b"message", b"rfc822", (), fields)  # RFC 2046 section 5.1.5
    return Part(header, b"text", b"plain", (), fields)


def parse_message(
    data: Octets, start: int = 0, end: int | None = None, limits: Limits = _DEFAULT_LIMITS
) -> Part:
    """Read the structure of a message; never fails.

    :param start: offset of the message in ``data``; all offsets in the tree are such ones.
    """
    steps = parse_steps(data, start, end, limits)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return cast(Part, stop.value)


def parse_steps(
    data: Octets, start: int = 0, end: int | None = None, limits: Limits = _DEFAULT_LIMITS
) -> Generator[None, None, Part]:
    """As :func:`parse_message`, in steps that look through the octets once or twice each.

    50 MB with a hundred levels of multiparts take seconds.
    """
    return _Reader(data, limits).read(start, len(data) if end is None else end)


def section_range(
    data: Octets, root: Part | None, part_numbers: tuple[int, ...], kind: str = ""
) -> tuple[int, int] | None:
    """Where the octets of an IMAP body section lie (RFC 3501 section 6.4.5).

    :param root: the message's tree; None to read ``data`` here.
    :param kind: ``HEADER``, ``TEXT``, ``MIME``, or nothing for the part itself.
    :returns: start and end offset, or None if the message has no such section.
    """
    if root is None:
        root = parse_message(data)
    part = root.find(part_numbers)
    if part is None:
        return None
    if kind == "MIME":
        return (part.header_start, part.body_start) if part_numbers else None
    if not kind:
        return (part.body_start if part_numbers else part.header_start, part.body_end)
    message = part.embedded if part_numbers else part
    if message is None:
        return None
    if kind == "HEADER":
        return message.header_start, message.body_start
    return (message.body_start, message.body_end) if kind == "TEXT" else None


def section_header(root: Part, part_numbers: tuple[int, ...]) -> Header | None:
    """The header that HEADER.FIELDS of a section is taken from, or None if there is none."""
    part = root.find(part_numbers)
    if part is None:
        return None
    if not part_numbers:
        return part.header
    return part.embedded.header if part.embedded else None
