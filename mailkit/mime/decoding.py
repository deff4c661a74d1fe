"""Transfer encodings (RFC 2045 section 6) decoded piece by piece, in memory that has a bound.

What comes out is the same however the octets are cut, and the same as what
:func:`mailkit.mime.decode_body` gives for the whole.
"""

from __future__ import annotations

import binascii
import re
from abc import ABC, abstractmethod

from mailkit._typing import override
from mailkit.mime.content import QUOTED_PRINTABLE, UUENCODE, decode_quoted_printable, decode_uu_line
from mailkit.mime.words import BASE64_ALPHABET, decode_base64_piece

#: Octets of a line of quoted-printable or uuencode that are looked at in one piece; RFC 2045 section
#: 6.7 (5) allows 76. A longer line of quoted-printable is cut, one of uuencode is skipped.
MAX_LINE = 64 * 1024

#: The encodings that leave the octets as they are (RFC 2045 section 6.2).
IDENTITY = frozenset((b"7bit", b"8bit", b"binary"))

_NEITHER_BASE64_NOR_PADDING = bytes(set(range(256)) - BASE64_ALPHABET - {0x3D})
_BEGIN = re.compile(rb"begin [0-7]{1,4} [^\n]*\Z")


class Decoder(ABC):
    """Decodes one body. :func:`copy.copy` keeps the state that it is in."""

    #: The octets turned out to be in this encoding; else they stand for themselves.
    found = True

    @abstractmethod
    def feed(self, data: bytes) -> bytes:
        """Some more octets of the body; gives what is certain by now."""

    def finish(self) -> bytes:
        """The body has ended; gives the rest."""
        return b""


class IdentityDecoder(Decoder):
    """For what is not encoded."""

    @override
    def feed(self, data: bytes) -> bytes:
        return data


class Base64Decoder(Decoder):
    """RFC 2045 section 6.8; lenient: as :func:`mailkit.mime.words.decode_base64`."""

    def __init__(self) -> None:
        # Characters that make no group of four yet.
        self._left = b""

    @override
    def feed(self, data: bytes) -> bytes:
        *complete, rest = data.translate(None, _NEITHER_BASE64_NOR_PADDING).split(b"=")
        decoded = []
        for piece in complete:
            # Padding ends what was encoded in one go; another may follow.
            if self._left or piece:
                decoded.append(decode_base64_piece(self._left + piece))
                self._left = b""
        group = self._left + rest
        whole = len(group) & ~3
        self._left = group[whole:]
        decoded.append(binascii.a2b_base64(group[:whole]))
        return b"".join(decoded)

    @override
    def finish(self) -> bytes:
        left, self._left = self._left, b""
        return decode_base64_piece(left)


class QuotedPrintableDecoder(Decoder):
    """RFC 2045 section 6.7."""

    def __init__(self) -> None:
        # A line whose end is not here yet.
        self._line = b""

    @override
    def feed(self, data: bytes) -> bytes:
        data = self._line + data
        end = data.rfind(b"\n") + 1
        decoded = [self._decode_lines(data[:end])] if end else []
        line = data[end:]
        while len(line) > MAX_LINE:
            cut = _cut(line)
            decoded.append(binascii.a2b_qp(line[:cut]))
            line = line[cut:]
        self._line = line
        return b"".join(decoded)

    def _decode_lines(self, data: bytes) -> bytes:
        """:param data: complete lines."""
        half = MAX_LINE // 2
        if all(data.find(b"\n", start, start + half) >= 0 for start in range(0, len(data), half)):
            # So no line is too long.
            return decode_quoted_printable(data)
        decoded = []
        for line in data[:-1].split(b"\n"):
            line += b"\n"
            while len(line) > MAX_LINE + 1:
                cut = _cut(line)
                decoded.append(binascii.a2b_qp(line[:cut]))
                line = line[cut:]
            decoded.append(decode_quoted_printable(line))
        return b"".join(decoded)

    @override
    def finish(self) -> bytes:
        line, self._line = self._line, b""
        return decode_quoted_printable(line)


def _cut(line: bytes) -> int:
    """Where a line that is too long is cut: never behind the beginning of an ``=3D``."""
    equals = line.rfind(b"=", MAX_LINE - 2, MAX_LINE)
    return MAX_LINE if equals < 0 else equals


class UUDecoder(Decoder):
    """The first file of a uuencoded body, as :func:`mailkit.mime.content.decode_uuencode`."""

    found = False

    def __init__(self) -> None:
        self._line = b""
        self._skipping = False
        self._ended = False

    @override
    def feed(self, data: bytes) -> bytes:
        if self._ended:
            return b""
        *lines, rest = data.split(b"\n")
        decoded = []
        for line in lines:
            decoded.append(self._take_line(self._line + line))
            self._line = b""
            self._skipping = False
        self._line += rest
        if self._skipping or len(self._line) > MAX_LINE:
            self._line = b""
            self._skipping = True
        return b"".join(decoded)

    def _take_line(self, line: bytes) -> bytes:
        if self._ended or self._skipping or len(line) > MAX_LINE:
            return b""
        if not self.found:
            self.found = _BEGIN.match(line) is not None
            return b""
        line = line.rstrip(b"\r")
        if line == b"end":
            self._ended = True
            return b""
        return decode_uu_line(line)

    @override
    def finish(self) -> bytes:
        line, self._line = self._line, b""
        return self._take_line(line) if self.found else b""


def make_decoder(encoding: bytes) -> Decoder | None:
    """A decoder for a Content-Transfer-Encoding in lower case; None if it is not known."""
    if encoding == b"base64":
        return Base64Decoder()
    if encoding == QUOTED_PRINTABLE:
        return QuotedPrintableDecoder()
    if encoding in UUENCODE:
        return UUDecoder()
    return IdentityDecoder() if encoding in IDENTITY else None
