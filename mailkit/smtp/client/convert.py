"""Messages with 8-bit or binary parts made fit for servers without 8BITMIME or BINARYMIME.

Each leaf part that needs it gets quoted-printable or base64 (RFC 6152 section 3, RFC 2045 section
6), or stays in its encoding, in other octets; all other octets stay as they are. What is signed is
never touched. A report that has something within that cannot be converted may return the header
alone of the message that it is about. No I/O.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Generator, Iterator

from mailkit.mime import Octets, Part, parse_steps
from mailkit.mime.content import QUOTED_PRINTABLE
from mailkit.smtp.client.commands import Unsendable
from mailkit.smtp.client.content import PIECE
from mailkit.smtp.client.recode import (
    BASE64,
    has_base64,
    is_base64,
    known_encoding,
    requote,
    rewrap_base64,
)
from mailkit.spool import Spool
from mailkit.wire.dotstuff import has_bare_line_end

#: Octets of a part that are encoded in one go: whole lines of base64 (57 octets each).
_STEP = 57 * 1024
_LONE_LF = re.compile(rb"(?<!\r)\n")
_FIELD = rb"(?im)^%b[ \t]*:(?:[^\n]|\n(?=[ \t]))*(?:\n|\Z)"
_ENCODING = re.compile(_FIELD % b"content-transfer-encoding")
_SIGNATURE = re.compile(_FIELD % b"dkim-signature")

# How much a range of octets needs; a part needs what the neediest range in it needs.
_SEVEN_BIT, _EIGHT_BIT, _BINARY = range(3)

Steps = Generator[None, None, None]


class Conversion:
    """One message on its way to 7 bits.

    :param data: the message, with CRLF line ends wherever it is text.
    :param keep_8bit: the server has 8BITMIME: only binary parts are encoded.
    :param may_shorten: it is a report, which need not return a message whole.
    :param max_line: octets of a line, without its end; parts with longer ones are encoded, too.
    """

    def __init__(
        self,
        data: Octets,
        keep_8bit: bool,
        may_shorten: bool = False,
        *,
        max_line: int | None = None,
    ) -> None:
        self._data = data
        self._limit = _EIGHT_BIT if keep_8bit else _SEVEN_BIT
        self._max_line = max_line
        self._may_shorten = may_shorten
        self._needs: dict[Part, int] = {}
        #: Parts that say of themselves that they are base64, and are not.
        self._mislabelled: set[Part] = set()
        #: A part of which only the header of the message in it is left.
        self._shortened: Part | None = None
        #: The new message; the caller closes it.
        self.spool = Spool()

    def run(self) -> Steps:
        """Convert, in steps.

        :raises Unsendable: it cannot be converted, or must not.
        """
        root = yield from parse_steps(self._data)
        try:
            parts = yield from self._judge(root)
        except Unsendable:
            self._shortened = _returned_message(root) if self._may_shorten else None
            if self._shortened is None:
                raise
            parts = yield from self._judge(root)
        position = 0
        for part in parts:
            if self._needs[part] <= self._limit and not self._changes(part, root):
                continue
            yield from self._copy(position, part.header_start)
            position = part.body_start
            if self._parts_of(part) or self._needs[part] <= self._limit:
                encoding = b"7bit" if self._limit == _SEVEN_BIT else b"8bit"
                self.spool.write(self._new_header(part, root, encoding))
                if part is self._shortened:
                    yield from self._copy(position, self._body_end(part))
                    position = part.body_end
                continue
            yield from self._write_leaf(part, root)
            position = part.body_end
        yield from self._copy(position, len(self._data))

    def _write_leaf(self, part: Part, root: Part) -> Steps:
        """A part that is encoded as a whole, with its header."""
        start, end = part.body_start, self._body_end(part)
        pieces: Iterator[bytes]
        if encoding := self._encoding(part):
            # RFC 2045 section 6.4: nothing is encoded twice.
            self.spool.write(self._header(part))
            pieces = (rewrap_base64 if encoding == BASE64 else requote)(self._data, start, end)
        else:
            is_text = self._needs[part] <= _EIGHT_BIT and (
                part.type == b"text" or _is_global(part) or part is self._shortened
            )
            encoding = QUOTED_PRINTABLE if is_text else BASE64
            self.spool.write(self._new_header(part, root, encoding))
            pieces = self._quoted_printable(start, end) if is_text else self._base64(start, end)
        for piece in pieces:
            self.spool.write(piece)
            yield

    def _judge(self, root: Part) -> Generator[None, None, list[Part]]:
        """Find out what each part needs; gives them, each before what is in it.

        :raises Unsendable: it cannot be converted, or must not.
        """
        parts = []
        waiting = [root]
        while waiting:
            parts.append(waiting.pop())
            waiting.extend(reversed(self._parts_of(parts[-1])))
        # Children before what they are part of.
        for part in reversed(parts):
            yield from self._measure(part)
            if self._needs[part] > self._limit and part is not self._shortened:
                self._check(part)
        return parts

    def _parts_of(self, part: Part) -> list[Part]:
        """What is converted part by part; nothing in what is encoded as a whole."""
        whole = _is_global(part) or part is self._shortened or self._encoding(part)
        return [] if whole else part.children

    def _encoding(self, part: Part) -> bytes:
        """The encoding that a part is in already; empty if it is in none.

        RFC 2045 section 6.4 forbids that of multiparts, and no reader takes it for true.
        """
        if part.is_multipart or part is self._shortened or part in self._mislabelled:
            return b""
        return known_encoding(part.transfer_encoding)

    def _body_end(self, part: Part) -> int:
        """Where what is left of a part ends."""
        if part is self._shortened and part.embedded is not None:
            return part.embedded.body_start - len(part.embedded.header.blank_line)
        return part.body_end

    def _copy(self, start: int, end: int) -> Steps:
        for position in range(start, end, PIECE):
            self.spool.write(self._data[position : min(position + PIECE, end)])
            yield

    def _measure(self, part: Part) -> Steps:
        """Find out what a part needs whose children are measured."""
        header = self._header(part)
        if b"\0" in header or has_bare_line_end(header):
            # It cannot be encoded, and another reader might see the end of the data there.
            raise Unsendable("5.6.0", "A NUL, CR or LF stands in the header, where none may stand")
        if self._limit == _SEVEN_BIT and not header.isascii():
            # RFC 6532 knows no way back.
            raise Unsendable("5.6.9", "The header is not ASCII, and the server takes only that")
        children = self._parts_of(part)
        if not children:
            self._needs[part] = yield from self._leaf_level(part)
            return
        position = part.body_start
        for start, end in [*((c.header_start, c.end) for c in children), (part.body_end,) * 2]:
            # Preamble, epilogue and delimiters: nothing there can be encoded.
            if (yield from self._level(position, start)) > self._limit:
                raise Unsendable("5.6.3", "Text between the parts of the message is not ASCII")
            position = end
        self._needs[part] = max(self._needs[child] for child in children)

    def _leaf_level(self, part: Part) -> Generator[None, None, int]:
        """What a part needs that is encoded as a whole.

        :raises Unsendable: it is in an encoding in which it cannot be made fit.
        """
        start, end = part.body_start, self._body_end(part)
        level = yield from self._level(start, end)
        is_long = self._has_long_line(start, end)
        encoding = self._encoding(part)
        if encoding and (is_long or level > self._limit):
            if encoding == BASE64:
                can_recode, has_some = True, False
                for position in range(start, end, PIECE):
                    piece = self._data[position : min(position + PIECE, end)]
                    can_recode = can_recode and is_base64(piece)
                    has_some = has_some or has_base64(piece)
                    yield
                if level > self._limit and not (can_recode or has_some or part.children):
                    self._mislabelled.add(part)
                    return level
            else:
                # What is in a message of RFC 5322 nobody encodes, and few decode.
                can_recode = encoding == QUOTED_PRINTABLE and (
                    part.type != b"message" or _is_global(part)
                )
            if not can_recode:
                if level > self._limit:
                    raise Unsendable("5.6.3", "An encoded part is damaged and cannot be converted")
                return level
        return max(level, self._limit + 1) if is_long else level

    def _level(self, start: int, end: int) -> Generator[None, None, int]:
        """What a range of octets needs."""
        level = _SEVEN_BIT
        held = b""
        for position in range(start, end, PIECE):
            piece = self._data[position : min(position + PIECE, end)]
            octets = held + piece
            held = b"\r" if octets.endswith(b"\r") else b""
            if b"\0" in piece or has_bare_line_end(octets[: len(octets) - len(held)]):
                return _BINARY
            if not piece.isascii():
                level = _EIGHT_BIT
            yield
        # A delimiter's line end was cut off: a CR before it would stand alone.
        return _BINARY if held else level

    def _has_long_line(self, position: int, end: int) -> bool:
        if self._max_line is None:
            return False
        while end - position > self._max_line:
            # From the far end of a line that is just not too long: most are passed over together.
            found = self._data.rfind(b"\n", position, min(position + self._max_line + 2, end))
            if found < 0:
                return True
            position = found + 1
        return False

    def _check(self, part: Part) -> None:
        """
        :raises Unsendable: the part needs to be changed and must not, or cannot.
        """
        if part.is_multipart and part.subtype in (b"signed", b"encrypted"):
            # RFC 1847 section 2.1: whoever carries it leaves the signed part as it is.
            raise Unsendable("5.6.3", "A signed part is not ASCII and must not be converted")
        is_opaque = part.type in (b"message", b"multipart") and not part.children
        if is_opaque and not (_is_global(part) or self._encoding(part)):
            # RFC 2046 section 5.2: of messages only those of RFC 6532 and RFC 6533 may be encoded.
            raise Unsendable("5.6.3", "A part of the message cannot be converted to 7 bits")
        if not part.header.blank_line:
            raise Unsendable("5.6.3", "The message is damaged and cannot be converted to 7 bits")

    def _changes(self, part: Part, root: Part) -> bool:
        """Whether it is another one in a shortened report."""
        return self._shortened is not None and part in (self._shortened, root)

    def _header(self, part: Part) -> bytes:
        return self._data[part.header_start : part.body_start]

    def _new_header(self, part: Part, root: Part, encoding: bytes) -> bytes:
        """The header of a part with another Content-Transfer-Encoding."""
        octets = self._header(part)
        fields = _ENCODING.sub(b"", octets[: len(octets) - len(part.header.blank_line)])
        if part is self._shortened:
            fields = b"Content-Type: text/rfc822-headers\r\n"
        elif self._shortened is not None and part is root:
            # It would be wrong now, which may be worse than none.
            fields = _SIGNATURE.sub(b"", fields)
        added = b""
        if part is root and b"mime-version" not in part.header:
            added = b"MIME-Version: 1.0\r\n"
        if b"content-type" not in part.header and not part.children and not self._is_ascii(part):
            # RFC 1428 section 3: what the charset is, nobody has said.
            added += b"Content-Type: text/plain; charset=unknown-8bit\r\n"
        return b"%b%bContent-Transfer-Encoding: %b\r\n\r\n" % (fields, added, encoding)

    def _is_ascii(self, part: Part) -> bool:
        pieces = range(part.body_start, part.body_end, PIECE)
        return all(self._data[at : min(at + PIECE, part.body_end)].isascii() for at in pieces)

    def _base64(self, body_start: int, end: int) -> Iterator[bytes]:
        for start in range(body_start, end, _STEP):
            piece = self._data[start : min(start + _STEP, end)]
            lines = [
                binascii.b2a_base64(piece[at : at + 57], newline=False)
                for at in range(0, len(piece), 57)
            ]
            if start > body_start:
                yield b"\r\n"
            yield b"\r\n".join(lines)
        if end == len(self._data):
            yield b"\r\n"

    def _quoted_printable(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            cut = end
            if end - start > _STEP:
                line_end = self._data.rfind(b"\n", start, start + _STEP)
                cut = line_end + 1 if line_end >= 0 else start + _STEP
            encoded = binascii.b2a_qp(self._data[start:cut], istext=True)
            # Its soft line breaks are bare LFs where the first line has no CRLF.
            yield _LONE_LF.sub(b"\r\n", encoded)
            if cut < end and not encoded.endswith(b"\n"):
                yield b"=\r\n"
            start = cut


def _is_global(part: Part) -> bool:
    """A message, or part of one, in UTF-8.

    RFC 6532 section 3.7, RFC 6533 section 6: for 7 bits it may be encoded as a whole.
    """
    return part.type == b"message" and part.subtype.partition(b"-")[0] == b"global"


def _returned_message(root: Part) -> Part | None:
    """The part of a report that is the message which it is about; None where it has none.

    RFC 6522 section 3: where that cannot be made one of 7 bits, its header alone is returned.
    """
    if (root.type, root.subtype) != (b"multipart", b"report"):
        return None
    last = root.children[-1] if root.children else None
    return last if last is not None and last.embedded is not None else None
