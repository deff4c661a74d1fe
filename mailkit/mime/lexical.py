"""What structured header fields have in common: comments, quoted strings, parameters."""

from __future__ import annotations

import re
from typing import TypeAlias

#: Octets of a structured field (Content-Type and the like) that are read.
MAX_STRUCTURED_OCTETS = 64 * 1024
#: Parameters of one field that are kept.
MAX_PARAMETERS = 256

#: Parameters in their order; a name may stand there twice, and ``name*`` is RFC 2231's form.
Parameters: TypeAlias = tuple[tuple[bytes, bytes], ...]

# RFC 2045 section 5.1: token; lenient: 8-bit octets too (RFC 6532).
TOKEN = rb"[^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]+"

_COMMENT_MARK = re.compile(rb'[()\\"]')
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_SEPARATORS = re.compile(rb"[\s;]*")
_LEADING_TOKEN = re.compile(rb"\s*(%b)" % TOKEN)
_PARAMETER = re.compile(
    rb'([^\s=;"]+)\s*=\s*(?:"([^"\\]*(?:\\.[^"\\]*)*)(?:"[^;]*|\Z)|([^;]*))', re.DOTALL
)
# RFC 2231 section 3: no leading zeroes.
_SECTION = re.compile(rb"([^*]+)\*(0|[1-9]\d{0,3})(\*?)")
_ENCODE = re.compile(rb"[^A-Za-z0-9!#$&+.^_`{}|~-]")
_EIGHT_BIT = re.compile(rb"[\x80-\xff]")


def unescape(text: bytes) -> bytes:
    """Resolve the quoted pairs of a quoted string (RFC 5322 section 3.2.1)."""
    return _ESCAPE.sub(rb"\1", text) if 0x5C in text else text


def strip_comments(value: bytes) -> bytes:
    """Replace each comment outside quoted strings by a space; an open one runs to the end.

    What is longer than ``MAX_STRUCTURED_OCTETS`` is cut.
    """
    if len(value) > MAX_STRUCTURED_OCTETS:
        value = value[:MAX_STRUCTURED_OCTETS]
    if 0x28 not in value:
        return value
    kept = []
    depth = taken = position = 0
    quoted = False
    while mark := _COMMENT_MARK.search(value, position):
        found = mark.start()
        position = found + 1
        match value[found]:
            case 0x5C:
                position += 1
            case 0x22 if not depth:
                quoted = not quoted
            case 0x28 if not quoted:
                if not depth:
                    kept.append(value[taken:found])
                depth += 1
            case 0x29 if depth:
                depth -= 1
                taken = position
    if not depth:
        kept.append(value[taken:])
    return b" ".join(kept)


def parse_token(value: bytes) -> bytes | None:
    """The token that an (unfolded) value begins with, or None."""
    token = _LEADING_TOKEN.match(strip_comments(value))
    return token[1] if token else None


def parse_parameters(value: bytes, position: int = 0) -> Parameters:
    """Read ``; name=value`` pairs from an (unfolded) value without comments.

    lenient: missing and doubled semicolons, blanks in a value that is not quoted, a quoted string
    that does not end.
    """
    found: list[tuple[bytes, bytes]] = []
    split = False
    end = len(value)
    while position < end and len(found) < MAX_PARAMETERS:
        if separators := _SEPARATORS.match(value, position):
            position = separators.end()
        parameter = _PARAMETER.match(value, position)
        if parameter is None:
            # Skip what is no parameter, up to the next semicolon.
            position = value.find(b";", position)
            if position < 0:
                break
            continue
        position = parameter.end()
        name, quoted, plain = parameter.groups()
        if 0x2A in name:
            split = True
        found.append((name, plain.strip() if quoted is None else unescape(quoted)))
    return tuple(join_sections(found)) if split else tuple(found)


def join_sections(parameters: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Put continued parameters together (RFC 2231 section 3), at the place of their first one.

    RFC 2231 section 6: IMAP servers decode continuations, but leave charset and percent signs.
    """
    sections: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    order: list[bytes | tuple[bytes, bytes]] = []
    names: dict[bytes, bytes] = {}
    for name, value in parameters:
        section = _SECTION.fullmatch(name)
        if section is None:
            order.append((name, value))
            continue
        key = section[1].lower()
        if key not in sections:
            sections[key] = {}
            names[key] = section[1]
            order.append(key)
        sections[key].setdefault(int(section[2]), (value, bool(section[3])))
    joined: list[tuple[bytes, bytes]] = []
    for item in order:
        if isinstance(item, tuple):
            joined.append(item)
            continue
        pieces: list[tuple[bytes, bool]] = []
        while piece := sections[item].get(len(pieces)):
            pieces.append(piece)
        if not pieces:
            continue  # The first section is missing: nothing to begin with.
        if any(extended for _, extended in pieces):
            value = b"".join(
                text if extended else percent_encode(text) for text, extended in pieces
            )
            if not pieces[0][1]:
                # RFC 2231 section 4.1 wants both quotes when any section is encoded.
                value = b"''" + value
            joined.append((names[item] + b"*", value))
        else:
            joined.append((names[item], b"".join(text for text, _ in pieces)))
    return joined


def percent_encode(text: bytes) -> bytes:
    """Write text as RFC 2231 ext-octets."""
    return _ENCODE.sub(lambda octet: b"%%%02X" % octet[0][0], text)


def parse_parameterized(value: bytes) -> tuple[bytes, Parameters] | None:
    """Read ``token; name=value ...`` (Content-Disposition), or None without a token."""
    value = strip_comments(value)
    token = _LEADING_TOKEN.match(value)
    if token is None:
        return None
    return token[1], parse_parameters(value, token.end())
