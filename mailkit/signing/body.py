"""The body of a message as DKIM sees it, read in pieces: hashed, and brought into a form that lasts."""

from __future__ import annotations

import hashlib
import mmap
import re
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from mailkit.mime import Octets
from mailkit.smtp.client.commands import ContentNeeds, Unsendable
from mailkit.smtp.client.content import Content, Survey, normalised
from mailkit.smtp.client.convert import Conversion
from mailkit.spool import MEMORY_LIMIT, READ_BUFFER, Spool

_BLANKS = re.compile(rb"[\t ]+")
#: Octets of a line, without its end, that each server takes (RFC 5321 section 4.5.3.1.6).
MAX_LINE = 998
#: Empty lines that are hashed in one go.
_LINES = 4096


class BodyHash:
    """The SHA-256 of a canonical body (RFC 6376 section 3.4); lines must end with CRLF.

    Empty lines are counted until it is known whether something follows them.

    :param relaxed: runs of blanks count as one, and none at the end of a line.
    """

    def __init__(self, relaxed: bool = True) -> None:
        self._relaxed = relaxed
        self._hash = hashlib.sha256()
        self._empty = True
        # A blank or a CR, of which the next octet shows what they are.
        self._tail = b""
        self._line_ends = 0

    def feed(self, piece: bytes) -> None:
        """The next octets."""
        data = self._tail + piece
        if self._relaxed:
            data = relax(data)
        text = data.rstrip(b" \r\n" if self._relaxed else b"\r\n")
        rest = data[len(text) :]
        if text:
            self._end_lines()
            self._hash.update(text)
            self._empty = False
        count = rest.count(b"\r\n")
        self._line_ends += count
        self._tail = rest[2 * count :]

    def _end_lines(self) -> None:
        while self._line_ends:
            count = min(self._line_ends, _LINES)
            self._hash.update(b"\r\n" * count)
            self._line_ends -= count

    def digest(self) -> bytes:
        """The hash, once all has been fed."""
        # RFC 6376 section 3.4.3: the simple form of nothing is a line end, 3.4.4: the relaxed none.
        if not (self._empty and self._relaxed):
            self._hash.update(b"\r\n")
        return self._hash.digest()


def relax(body: bytes) -> bytes:
    """A whole body in its relaxed form, but for empty lines at its end.

    dkimpy's own way takes a time that grows with the square of a run of blanks.
    """
    return _BLANKS.sub(b" ", body).replace(b" \r\n", b"\r\n")


def read_pieces(content: BinaryIO, start: int) -> Iterator[bytes]:
    """The octets of a file from a place on."""
    content.seek(start)
    while piece := content.read(READ_BUFFER):
        yield piece


class _LineLengths:
    """Finds out whether there is a line that is too long."""

    def __init__(self) -> None:
        self.too_long = False
        # Octets of the line that has not ended.
        self._held = 0

    def feed(self, piece: bytes) -> None:
        """The next octets."""
        position = -self._held
        while not self.too_long and len(piece) - position > MAX_LINE:
            found = piece.rfind(b"\n", max(0, position), max(0, position + MAX_LINE + 2))
            self.too_long = found < 0
            position = found + 1
        last = piece.rfind(b"\n", max(0, position))
        self._held = len(piece) - (position if last < 0 else last + 1)


def settle(content: BinaryIO, *, seven_bit: bool, binary: bool = False) -> Spool | None:
    """Bring a message into the form in which it can travel: nobody on the way changes it then.

    Line ends become CRLF, as the client would make them; parts with 8 bits or long lines are encoded, as
    RFC 6376 section 5.3 advises, for any server on the way may do that, and break the signature.

    :param seven_bit: encode such parts, where that may be done.
    :param binary: lines are nothing special in it (RFC 3030).
    :returns: the message in that form, for the caller to close; None when it is in it already.
    """
    content.seek(0)
    source = Content(content)
    survey = Survey("keep" if binary else "normalise")
    lengths = _LineLengths()
    for piece in source.pieces():
        survey.feed(piece)
        lengths.feed(piece)
    needs, normalise = survey.finish()
    if seven_bit and (needs.eight_bit or needs.binary or lengths.too_long):
        # A header in UTF-8 stays one: then the rest is made to fit wherever that can go.
        for keep_8bit in (False, True):
            try:
                return _convert(source, needs, normalise, keep_8bit)
            except Unsendable:
                # What is signed or encrypted must not be changed.
                pass
    if not normalise:
        return None
    spool = Spool()
    for piece in normalised(source.pieces()):
        spool.write(piece)
    return spool


def _convert(source: Content, needs: ContentNeeds, normalise: bool, keep_8bit: bool) -> Spool:
    pieces = normalised(source.pieces()) if normalise else source.pieces()
    data: Octets
    with tempfile.TemporaryFile() as file:
        if needs.size <= MEMORY_LIMIT:
            data = b"".join(pieces)
        else:
            for piece in pieces:
                file.write(piece)
            file.flush()
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        conversion = Conversion(data, keep_8bit, max_line=MAX_LINE)
        try:
            for _ in conversion.run():
                pass
        except BaseException:
            conversion.spool.close()
            raise
        finally:
            if isinstance(data, mmap.mmap):
                data.close()
    return conversion.spool
