"""The Content- fields of a header, apart from the others: of many parts they are the same."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

from mailkit.mime.headers import MAX_HEADER_FIELDS, Header
from mailkit.mime.lexical import TOKEN, Parameters, parse_parameters, parse_token, strip_comments

#: Type and subtype in lower case, and the parameters as written.
ContentType: TypeAlias = tuple[bytes, bytes, Parameters]

#: Octets of fields up to which it is remembered what they say.
MAX_REMEMBERED = 400
#: Of so many different ones.
REMEMBERED = 512

_CONTENT_FIELD = re.compile(rb"\n([Cc](?i:ontent-)[^\n]*(?:\n[ \t][^\n]*)*)")
_CONTENT_TYPE = re.compile(rb"\s*(%b)\s*/\s*(%b)" % (TOKEN, TOKEN))
# As the first field, without a parameter or with one: the form that nearly all have.
_COMMON_TYPE = re.compile(
    rb"[Cc]ontent-[Tt]ype:[ \t]*(%b)/(%b)(?:;[ \t]*(?:\r?\n[ \t]+)?"
    rb'([A-Za-z-]+)=(?:"([^"\\\r\n]*)"|(%b)))?\r?\n(?![ \t])' % (TOKEN, TOKEN, TOKEN)
)
# Each time the name stands there, and what it says in the form that nearly all have.
_ENCODINGS = re.compile(
    rb"(?:(?:\A|(?<=\n))[Cc]ontent-[Tt]ransfer-[Ee]ncoding:[ \t]*([A-Za-z0-9-]+)\r\n(?![ \t])"
    rb"|(?i:content-transfer-encoding))"
)


def content_fields(header: Header) -> bytes:
    """The raw octets of the fields whose names begin with ``Content-``."""
    octets = header.octets
    if len(octets) > MAX_HEADER_FIELDS and octets.count(b"\n") > MAX_HEADER_FIELDS:
        # Some of them are ignored, which the number of all tells.
        return octets
    return b"\n".join([*_CONTENT_FIELD.findall(b"\n" + octets), b""])


def make_header(fields: bytes) -> Header:
    """The header of these fields alone."""
    return Header(fields, 0, len(fields), b"")


def transfer_encoding(fields: bytes) -> bytes:
    """Content-Transfer-Encoding as written; ``7bit`` if there is none."""
    if len(fields) > MAX_REMEMBERED:
        return _read_encoding(fields)
    return _remembered_encoding(fields)


def _read_encoding(fields: bytes) -> bytes:
    found: list[bytes] = _ENCODINGS.findall(fields)
    if len(found) == 1 and found[0]:
        return found[0]
    value = make_header(fields).get(b"content-transfer-encoding")
    return (value and parse_token(value)) or b"7bit"


def content_type(fields: bytes) -> ContentType | None:
    """What Content-Type says; None if there is no such field."""
    return _remembered(fields) if len(fields) <= MAX_REMEMBERED else _read(fields)


def _read(fields: bytes) -> ContentType | None:
    if common := _COMMON_TYPE.match(fields):
        type, subtype, name, quoted, plain = common.groups()
        pair = (name, plain if quoted is None else quoted)
        return type.lower(), subtype.lower(), () if name is None else (pair,)
    value = make_header(fields).get(b"content-type")
    if value is None:
        return None
    value = strip_comments(value)
    if found := _CONTENT_TYPE.match(value):
        return found[1].lower(), found[2].lower(), parse_parameters(value, found.end())
    return b"text", b"plain", ()


_remembered = lru_cache(maxsize=REMEMBERED)(_read)
_remembered_encoding = lru_cache(maxsize=REMEMBERED)(_read_encoding)
