"""The BODYSTRUCTURE of messages of the usual form, read and written in one go, without a tree.

Nearly all messages are of it: texts and attachments, in multiparts whose delimiter lines are all
there. What says the same as in thousands of other parts is looked at once. Whatever is out of the
ordinary is left to :mod:`~mailkit.mime.parts`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from mailkit.mime.contents import (
    MAX_REMEMBERED,
    REMEMBERED,
    content_fields,
    content_type,
)
from mailkit.mime.envelope import envelope_octets
from mailkit.mime.headers import MAX_HEADER_OCTETS, Header, Octets, parse_header
from mailkit.mime.nstring import imap_string
from mailkit.mime.parts import find_boundary, parse_message
from mailkit.mime.structure import (
    bodystructure_octets,
    make_frame,
    render_extension,
    render_parameters,
)

#: Levels of multiparts, and parts of each: together fewer parts than are looked at.
MAX_LEVELS = 3
MAX_CHILDREN = 20

_CR = 0x0D
_BLANK_LINE = re.compile(rb"\n\r?\n")
_COMMON_MULTIPART = re.compile(
    rb"[Cc]ontent-[Tt]ype:[ \t]*[Mm]ultipart/([A-Za-z-]+);[ \t]*(?:\r\n[ \t]+)?"
    rb'(boundary)="([!#-\[\]-~ ]+)"\r\n'
)


class _Contents(NamedTuple):
    """What a header says of what follows it."""

    #: What stands before the size of a part, and behind what follows it.
    before: bytes
    behind: bytes
    is_text: bool = False
    #: A message is inside.
    is_message: bool = False
    #: Of a multipart: LF, two hyphens and the boundary.
    needle: bytes = b""


def _read_contents(fields: bytes) -> _Contents | None:
    """What the Content- fields among these say; None for what is out of the ordinary."""
    if common := _COMMON_MULTIPART.fullmatch(fields):
        # As below, in a fifth of the time: no two messages have the same boundary.
        subtype, name, boundary = common.groups()
        subtype = subtype.lower()
        if subtype == b"digest" or boundary.isspace():
            return None
        behind = b' "%b" ("%b" %b) NIL NIL NIL)' % (subtype, name, imap_string(boundary))
        return _Contents(b"", behind, needle=b"\n--" + boundary.rstrip())
    type, subtype, parameters = content_type(fields) or (b"text", b"plain", ())
    if type == b"message" and subtype == b"global":
        return None
    if type != b"multipart":
        before, behind = make_frame(fields, type, subtype, parameters, True)
        is_message = type == b"message" and subtype == b"rfc822"
        return _Contents(before, behind, type == b"text", is_message)
    boundary = find_boundary(parameters)
    # RFC 2046 section 5.1.5: parts of a digest that say nothing are messages.
    if not boundary or subtype == b"digest":
        return None
    behind = b" %b %b%b)" % (
        imap_string(subtype),
        render_parameters(parameters),
        render_extension(fields),
    )
    return _Contents(b"", behind, needle=b"\n--" + boundary)


_remembered = lru_cache(maxsize=REMEMBERED)(_read_contents)


def read_bodystructure(data: Octets, header: Header, end: int) -> bytes:
    """The BODYSTRUCTURE value of a message, as :func:`bodystructure_octets` gives it.

    :param header: the message's, where it is in ``data``.
    :param end: offset behind the message.
    """
    if isinstance(data, bytes) and header.blank_line:
        fields = content_fields(header)
        usual = _render(data, fields, header.body_start, end, end, b"", MAX_LEVELS)
        if usual is not None:
            return usual
    return bodystructure_octets(data, parse_message(data, header.start, end))


def _render(
    data: bytes, fields: bytes, start: int, limit: int, cut: int, outer: bytes, levels: int
) -> bytes | None:
    """Render a part; None if it is not of the usual form.

    :param start: offset of its body.
    :param limit: offset of the delimiter line that ends it, or of the end.
    :param cut: where its octets end.
    :param outer: what the multipart around it looks for.
    """
    contents = _remembered(fields) if len(fields) <= MAX_REMEMBERED else _read_contents(fields)
    if contents is None:
        return None
    before, behind, is_text, is_message, needle = contents
    if not needle:
        size = cut - start if cut > start else 0
        if is_text:
            return b"%b %d %d%b" % (before, size, data.count(b"\n", start, start + size), behind)
        if not is_message:
            return b"%b %d%b" % (before, size, behind)
    if not levels:
        return None
    if is_message:
        header = parse_header(data, start, limit)
        if not header.blank_line or header.body_start > cut:
            return None
        inside = content_fields(header)
        inner = _render(data, inside, header.body_start, limit, cut, outer, levels - 1)
        if inner is None:
            return None
        envelope = envelope_octets(b"", header)
        lines = data.count(b"\n", start, cut)
        return b"%b %d %b %b %d%b" % (before, size, envelope, inner, lines, behind)
    if needle == outer:
        return None
    children: list[bytes] = []
    length = len(needle)
    begin = 0
    while True:
        found = data.find(needle, (begin or start) - 1, limit)
        end = found + length
        if found < 0 or end + 4 > limit or len(children) > MAX_CHILDREN:
            return None
        if begin:
            child_cut = found - 1 if data[found - 1] == _CR else found
            if data.startswith(b"\r\n", begin, found + 1):
                child_fields, begin = b"", begin + 2
            else:
                blank = _BLANK_LINE.search(data, begin, found + 1)
                if blank is None or data[begin] in b"\r\n":
                    return None
                child_fields, begin = data[begin : blank.start() + 1], blank.end()
                if len(child_fields) > MAX_HEADER_OCTETS:
                    return None
            child = _render(data, child_fields, begin, found + 1, child_cut, needle, levels - 1)
            if child is None:
                return None
            children.append(child)
        behind_it = data[end : end + 4]
        if behind_it == b"--\r\n":
            return b"(%b%b" % (b"".join(children), behind) if children else None
        if behind_it[:2] != b"\r\n":
            return None
        begin = end + 2
