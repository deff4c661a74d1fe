"""Bodies, decoded: transfer encodings (RFC 2045 section 6) and charsets."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from mailkit.mime.headers import Header, Octets
from mailkit.mime.parts import Part
from mailkit.mime.words import decode_base64, decode_charset, decode_text

#: Decoded octets of one part that searches and :func:`part_text` look at.
MAX_TEXT_OCTETS = 16 * 1024 * 1024

_BASE64 = b"base64"
QUOTED_PRINTABLE = b"quoted-printable"
UUENCODE = frozenset((b"x-uuencode", b"uuencode", b"x-uue", b"uue"))

_BLANKS = (b" ", b"\t")
_UU_BEGIN = re.compile(rb"(?:\A|\n)begin [0-7]{1,4} [^\n]*\n")


def decode_quoted_printable(data: bytes) -> bytes:
    """Decode quoted-printable; what breaks its rules stays as it is."""
    if data[-1:] in _BLANKS or _has_blanks_at_end(data):
        # RFC 2045 section 6.7 (3): they were added on the way.
        lines = data.split(b"\n")
        last = lines.pop().rstrip(b" \t")
        data = b"\n".join([*map(_without_trailing_space, lines), last])
    return binascii.a2b_qp(data)


def _has_blanks_at_end(data: bytes) -> bool:
    # Each look through all of it counts: searches decode much.
    if b"\t" in data and (b"\t\r\n" in data or b"\t\n" in data):
        return True
    return b" \r\n" in data or b" \n" in data


def _without_trailing_space(line: bytes) -> bytes:
    return line[:-1].rstrip(b" \t") + b"\r" if line.endswith(b"\r") else line.rstrip(b" \t")


def decode_uuencode(data: bytes) -> bytes:
    """Decode the first uuencoded file; without one the data comes back. Bad lines are skipped."""
    begin = _UU_BEGIN.search(data)
    if begin is None:
        return data
    pieces = []
    for line in data[begin.end() :].split(b"\n"):
        line = line.rstrip(b"\r")
        if line == b"end":
            break
        pieces.append(decode_uu_line(line))
    return b"".join(pieces)


def decode_uu_line(line: bytes) -> bytes:
    """Decode a line between ``begin`` and ``end``, without its line end; nothing if it is bad."""
    if not line:
        return b""
    # The first character counts the octets; programs pad the rest as they like.
    length = ((line[0] - 32) & 63) * 4 + 5
    try:
        return binascii.a2b_uu(line[: length // 3 + 1])
    except binascii.Error:
        return b""


def decode_body(data: Octets, part: Part, limit: int | None = None) -> bytes:
    """The body without its transfer encoding; never raises.

    An unknown encoding, or any encoding of a multipart (RFC 2045 section 6.4), decodes to itself.

    :param limit: octets that are returned at most.
    """
    start, end = part.body_start, part.body_end
    encoding = b"" if part.is_multipart else part.transfer_encoding.lower()
    if limit is not None:
        # What these encodings need for one octet, line ends included, and a uuencoded file's name.
        factor = 4 if encoding == QUOTED_PRINTABLE else 2
        end = min(end, start + limit * factor + 1024)
    body = data[start:end]
    body = decode_transfer(body, encoding)
    return body if limit is None else body[:limit]


def decode_transfer(body: bytes, encoding: bytes) -> bytes:
    """Octets without a transfer encoding, whose name is in lower case; never raises."""
    if encoding == _BASE64:
        return decode_base64(body)
    if encoding == QUOTED_PRINTABLE:
        return decode_quoted_printable(body)
    if encoding in UUENCODE:
        return decode_uuencode(body)
    return body


def part_text(data: Octets, part: Part, limit: int = MAX_TEXT_OCTETS) -> str:
    """The body as text: without its transfer encoding, decoded by its charset; never raises.

    :param limit: decoded octets that are looked at.
    """
    # RFC 2046 section 4.1.2: the charset is US-ASCII if the part does not say.
    return decode_charset(decode_body(data, part, limit), part.charset or "us-ascii")


def header_text(header: Header) -> str:
    """All fields, unfolded and decoded, a line each."""
    return "\n".join(
        f"{decode_text(name)}: {decode_text(value)}" if name else decode_text(value)
        for name, value, *_ in header
    )


def iter_text(
    data: Octets, root: Part, *, headers: bool = True, limit: int = MAX_TEXT_OCTETS
) -> Iterator[str]:
    """The texts that a search of a message looks into (RFC 9051 section 6.4.4).

    With ``headers`` that is what TEXT means, without what BODY means: bodies of text parts and of
    reports (message/delivery-status), decoded, and the fields of the message, its parts and the
    messages inside it. A multipart that has no parts counts as text.

    :param limit: decoded octets of one part that are looked at.
    """
    for part in root.walk():
        if headers:
            yield header_text(part.header)
        if not part.children and part.type in (b"text", b"message", b"multipart"):
            yield part_text(data, part, limit)
