"""BODY and BODYSTRUCTURE of IMAP, ready to send (RFC 3501 section 7.4.2)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from mailkit.mime.contents import MAX_REMEMBERED, REMEMBERED, make_header, transfer_encoding
from mailkit.mime.envelope import read_envelope, render_envelope
from mailkit.mime.headers import Octets
from mailkit.mime.lexical import Parameters
from mailkit.mime.nstring import imap_string
from mailkit.mime.parts import Part, empty_part

# May be in fields that name one; others may look like it.
_BASIC_FIELD = re.compile(rb"content-(?:id|description|md5)", re.IGNORECASE)
_EXTENSION_FIELD = re.compile(rb"content-(?:disposition|language|location)", re.IGNORECASE)
# The form that nearly all have.
_COMMON_DISPOSITION = re.compile(
    rb"(?:\A|\n)[Cc]ontent-[Dd]isposition:[ \t]*([A-Za-z]+);[ \t]*(?:\r\n[ \t]+)?"
    rb'filename="([^"\\\r\n]*)"\r\n(?![ \t])'
)
# RFC 2045 section 5.2
_DEFAULT_CHARSET = (b"charset", b"us-ascii")
#: What stands before the size of a part, and behind what follows it.
_Frame: TypeAlias = tuple[bytes, bytes]
_TOKEN = re.compile(rb' *([()]|"[^"\\]*(?:\\.[^"\\]*)*"|\{(\d+)\}\r\n|[^ ()"{]+)', re.DOTALL)


def body_octets(data: Octets, root: Part, *, rev2: bool = False) -> bytes:
    """The BODY value of a message: its structure without extension data.

    :param rev2: see :func:`bodystructure_octets`.
    """
    return _render(data, root, False, rev2)


def bodystructure_octets(data: Octets, root: Part, *, rev2: bool = False) -> bytes:
    """The BODYSTRUCTURE value of a message, extension data included.

    :param rev2: show what is inside message/global too, which IMAP4rev1 has no syntax for
        (RFC 9051 section 9, media-message).
    """
    return _render(data, root, True, rev2)


def _render(data: Octets, root: Part, extended: bool, rev2: bool) -> bytes:
    """Render a tree without recursion: children come before what they are part of."""
    if not root.children and not root.is_multipart:
        return _render_single(data, root, None, extended)
    parts = [root]
    for part in parts:
        parts += part.children
    done: dict[Part, bytes] = {}
    for part in reversed(parts):
        children = [done.pop(child) for child in part.children]
        if part.is_multipart:
            # RFC 3501 section 9: 1*body
            if not children:
                children.append(_render_single(data, empty_part(part), None, extended))
            done[part] = _render_multipart(part, children, extended)
        else:
            inner = children[0] if children and (rev2 or part.subtype == b"rfc822") else None
            done[part] = _render_single(data, part, inner, extended)
    return done[root]


def _render_multipart(part: Part, children: list[bytes], extended: bool) -> bytes:
    """Render body-type-mpart."""
    subtype = imap_string(part.subtype)
    if not extended:
        return b"(%b %b)" % (b"".join(children), subtype)
    parameters = render_parameters(part.parameters)
    extension = render_extension(part.content_fields)
    return b"(%b %b %b%b)" % (b"".join(children), subtype, parameters, extension)


def _render_single(data: Octets, part: Part, inner: bytes | None, extended: bool) -> bytes:
    """Render body-type-1part.

    :param inner: the structure of the embedded message, for body-type-msg.
    """
    fields = part.content_fields
    make = _remembered_frame if len(fields) <= MAX_REMEMBERED else make_frame
    before, behind = make(fields, part.type, part.subtype, part.parameters, extended)
    size = part.body_end - part.body_start
    if part.type == b"text":
        return b"%b %d %d%b" % (before, size, part.lines(data), behind)
    if inner is None or part.embedded is None:
        return b"%b %d%b" % (before, size, behind)
    envelope = render_envelope(read_envelope(part.embedded.header))
    return b"%b %d %b %b %d%b" % (before, size, envelope, inner, part.lines(data), behind)


def make_frame(
    fields: bytes, type: bytes, subtype: bytes, parameters: Parameters, extended: bool
) -> _Frame:
    """Render what the header of a part says.

    :param fields: among which its Content- fields are.
    """
    if type == b"text" and not any(
        name.lower().rstrip(b"*") == b"charset" for name, _ in parameters
    ):
        parameters = (*parameters, _DEFAULT_CHARSET)
    content_id = description = md5 = b"NIL"
    if _BASIC_FIELD.search(fields) is not None:
        part = Part(make_header(fields), type, subtype, parameters, fields)
        content_id = imap_string(part.content_id)
        description = imap_string(part.description)
        md5 = imap_string(part.md5)
    before = b"(%b %b %b %b %b %b" % (
        imap_string(type),
        imap_string(subtype),
        render_parameters(parameters),
        content_id,
        description,
        imap_string(transfer_encoding(fields)),
    )
    return before, b" %b%b)" % (md5, render_extension(fields)) if extended else b")"


_remembered_frame = lru_cache(maxsize=REMEMBERED)(make_frame)


def render_parameters(parameters: Parameters) -> bytes:
    """Render body-fld-param."""
    if not parameters:
        return b"NIL"
    return b"(%b)" % b" ".join([imap_string(text) for pair in parameters for text in pair])


def render_extension(fields: bytes) -> bytes:
    """Render disposition, language and location, each with a space before it.

    :param fields: among which the Content- fields of the part are.
    """
    found = _EXTENSION_FIELD.findall(fields)
    if not found:
        return b" NIL NIL NIL"
    if len(found) == 1 and (common := _COMMON_DISPOSITION.search(fields)) is not None:
        kind, name = common.groups()
        return b' ("%b" ("filename" %b)) NIL NIL' % (kind, imap_string(name))
    part = Part(make_header(fields), b"", b"", (), fields)
    disposition = part.disposition
    languages = part.languages
    return b" %b %b %b" % (
        b"(%b %b)" % (imap_string(disposition[0]), render_parameters(disposition[1]))
        if disposition
        else b"NIL",
        b"(%b)" % b" ".join([imap_string(tag) for tag in languages]) if languages else b"NIL",
        imap_string(part.location),
    )


class _Item(NamedTuple):
    """A string, NIL, number or list in a BODYSTRUCTURE value."""

    octets: bytes
    #: Of a list that is a body: the same without extension data.
    body: bytes | None
    #: Offset behind it.
    end: int


def body_from_bodystructure(octets: bytes) -> bytes:
    """The BODY value that belongs to a BODYSTRUCTURE value which this module has made."""
    open_lists: list[tuple[int, list[_Item]]] = [(0, [])]
    position = 0
    while token := _TOKEN.match(octets, position):
        start, position = token.start(1), token.end()
        if token[1] == b"(":
            open_lists.append((start, []))
            continue
        body = None
        if token[1] == b")" and len(open_lists) > 1:
            start, items = open_lists.pop()
            body = _without_extension(octets, start, items)
        elif token[2]:
            position += int(token[2])
        open_lists[-1][1].append(_Item(octets[start:position], body, position))
    whole = open_lists[0][1]
    return (whole and whole[0].body) or octets


def _without_extension(octets: bytes, start: int, items: list[_Item]) -> bytes | None:
    """A body that consists of these items without its extension data; None if it is no body."""
    children = []
    for item in items:
        if item.body is None:
            break
        children.append(item.body)
    if children and len(children) < len(items):
        return b"(%b %b)" % (b"".join(children), items[len(children)].octets)
    # The seventh item of no other list (envelope, address, parameters) is a number.
    if len(items) < 7 or not items[6].octets.isdigit():
        return None
    if len(items) > 9 and items[8].body is not None:
        return b"%b %b %b)" % (octets[start : items[7].end], items[8].body, items[9].octets)
    count = 8 if len(items) > 7 and items[7].octets.isdigit() else 7
    return octets[start : items[count - 1].end] + b")"
