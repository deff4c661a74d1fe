"""Bodies that are encoded already, in other octets of the same encoding.

RFC 2045 section 6.4 forbids to encode twice. What a reader decodes stays the same: lines are cut anew,
and octets that may not stand in the encoding are quoted or left out. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailkit.mime import Octets
from mailkit.mime.content import QUOTED_PRINTABLE, UUENCODE

BASE64 = b"base64"

#: Octets of a body that are recoded in one go.
_STEP = 57 * 1024
#: Characters of a line of either encoding (RFC 2045 sections 6.7 and 6.8).
_LINE = 76
#: Octets of a line of quoted-printable that is left as it is (RFC 5321 section 4.5.3.1.6).
_MAX_LINE = 998

# RFC 2045 section 6.8: a reader ignores what is not in the alphabet.
# Octets of 8 bits may be somebody's text all the same.
_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/=\s\0]")
_IGNORED = b" \t\r\n\v\f\0"
# More than a word, or what ends in padding.
_SOME_BASE64 = re.compile(rb"(?m)[A-Za-z0-9+/]{40}|^[A-Za-z0-9+/]{2,}==?[ \t\r]*$")
# RFC 2045 section 6.3: the private encodings that are in use, besides uuencode.
_PRIVATE = re.compile(rb"(x-)?(yenc(ode)?|(mac-)?binhex(40)?)")
_UNFIT = re.compile(rb"[\0\r\x80-\xff]")
# lenient: a "=" that quotes nothing stands for itself (RFC 2045 section 6.7, note 1).
_TO_QUOTE = re.compile(rb"[\0\r\x80-\xff]|=(?![0-9A-Fa-f]{2})")


def known_encoding(encoding: bytes) -> bytes:
    """The transfer encoding in lower case; empty if the octets stand for themselves.

    lenient: ``8-bit``, ``x-unknown`` and other words that are no encoding stand for none, as readers
    take them.
    """
    encoding = encoding.lower()
    known = encoding in (BASE64, QUOTED_PRINTABLE) or encoding in UUENCODE
    return encoding if known or _PRIVATE.fullmatch(encoding) else b""


def is_base64(piece: bytes) -> bool:
    """Nothing is in it but base64, line ends, and octets that never were text in 7 bits."""
    return _NO_BASE64.search(piece) is None


def has_base64(piece: bytes) -> bool:
    """Something in it can hardly be anything but base64, whatever else there is."""
    return _SOME_BASE64.search(piece) is not None


def rewrap_base64(data: Octets, start: int, end: int) -> Iterator[bytes]:
    """The same characters of the alphabet, in lines of the length that RFC 2045 section 6.8 allows."""
    held = line_end = b""
    for position in range(start, end, _STEP):
        octets = held + data[position : min(position + _STEP, end)].translate(None, _IGNORED)
        whole = len(octets) // _LINE * _LINE
        held = octets[whole:]
        if whole:
            lines = [octets[at : at + _LINE] for at in range(0, whole, _LINE)]
            yield line_end + b"\r\n".join(lines)
            line_end = b"\r\n"
    if held:
        yield line_end + held
    if end == len(data) or data[end - 1 : end] == b"\n":
        yield b"\r\n"


def requote(data: Octets, start: int, end: int) -> Iterator[bytes]:
    """Quoted-printable with soft line breaks in lines that are too long, and no octets but ASCII."""
    while start < end:
        cut, is_open = _cut(data, start, end)
        *lines, rest = data[start:cut].split(b"\n")
        requoted = [
            _requote_line(line[:-1], b"\r\n") if line.endswith(b"\r") else _end_quoted(line)
            for line in lines
        ]
        if rest:
            requoted.append(_wrap(_quote(rest)) + b"=\r\n" if is_open else _requote_line(rest, b""))
        yield b"".join(requoted)
        start = cut


def _cut(data: Octets, start: int, end: int) -> tuple[int, bool]:
    """Where the next piece ends, and whether that is within a line."""
    if end - start <= _STEP:
        return end, False
    line_end = data.rfind(b"\n", start, start + _STEP)
    if line_end >= 0:
        return line_end + 1, False
    cut = start + _STEP
    # Not within what stands for one octet, nor within a line end.
    before = data[cut - 2 : cut]
    if before[1:] in (b"=", b"\r"):
        cut -= 1
    elif before[:1] == b"=":
        cut -= 2
    return cut, True


def _end_quoted(line: bytes) -> bytes:
    """A line that ended with LF alone."""
    if line.rstrip(b" \t").endswith(b"="):
        return _requote_line(line, b"\r\n")
    return _wrap(_quote(line) + b"=0A") + b"=\r\n"


def _requote_line(line: bytes, line_end: bytes) -> bytes:
    if len(line) <= _MAX_LINE and not _UNFIT.search(line):
        return line + line_end
    soft = b""
    # RFC 2045 section 6.7 (3): blanks at the end were added on the way.
    text = line.rstrip(b" \t")
    if text.endswith(b"="):
        text, soft = text[:-1], b"="
    return _wrap(_quote(text)) + soft + line_end


def _quote(line: bytes) -> bytes:
    return _TO_QUOTE.sub(lambda found: b"=%02X" % ord(found[0]), line)


def _wrap(line: bytes) -> bytes:
    """:param line: well-formed: after each "=" are two digits."""
    pieces = []
    position = 0
    while len(line) - position > _LINE - 1:
        cut = position + _LINE - 1
        equals = line.find(b"=", cut - 2, cut)
        if equals >= 0:
            cut = equals
        pieces.append(line[position:cut])
        position = cut
    pieces.append(line[position:])
    return b"=\r\n".join(pieces)
