"""The content of a message to send: where it comes from, what it needs, how it goes on the wire.

Read in pieces, as often as it takes; a large message is never in memory as a whole. No I/O but the
reading of what was given.
"""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Iterator
from email.message import EmailMessage, Message
from typing import Any, BinaryIO, TypeAlias, cast

from mailkit.mime.headers import MAX_HEADER_OCTETS
from mailkit.smtp.client.commands import ContentNeeds, Unsendable
from mailkit.smtp.client.settings import BareLineEnds
from mailkit.spool import Spool
from mailkit.wire.dotstuff import has_bare_line_end, normalise_line_ends

#: Octets that are read and sent in one go.
PIECE = 64 * 1024

#: What a message may be given as.
Source: TypeAlias = bytes | Message | Spool | BinaryIO

_HEADER_END = re.compile(rb"\n\r?\n|\A\r?\n")
# RFC 2045 section 6.1.
_DECLARED_BINARY = re.compile(rb"(?i)\ncontent-transfer-encoding:[ \t\r\n]*binary\b")
_OVERLAP = 64


class Content:
    """The octets of a message.

    :param source: octets; an ``email`` message, whose Bcc fields are left out; a spool, which
        stays the caller's; or a binary file that can seek, from where it stands.
    :raises TypeError: it is none of these.
    """

    def __init__(self, source: Source) -> None:
        if isinstance(source, Message):
            source = message_octets(source)
        self._spool = source if isinstance(source, Spool) else None
        self._file: BinaryIO | None = None
        self._start = 0
        self._octets = b""
        if isinstance(source, (bytes, bytearray, memoryview)):
            self._octets = bytes(source)
        elif self._spool is None:
            if not hasattr(source, "read"):
                raise TypeError(f"a message is octets or a file, not {type(source).__name__}")
            self._file = cast(BinaryIO, source)
            self._start = self._file.tell()

    def open(self) -> BinaryIO:
        """A reader at the start of the message; to be closed where :meth:`owns_reader`."""
        if self._spool is not None:
            return self._spool.open()
        if self._file is not None:
            self._file.seek(self._start)
            return self._file
        return io.BytesIO(self._octets)

    @property
    def owns_reader(self) -> bool:
        """What :meth:`open` gives is not the caller's own file."""
        return self._file is None

    def pieces(self) -> Iterator[bytes]:
        """The octets, at most :data:`PIECE` at a time."""
        reader = self.open()
        try:
            while piece := reader.read(PIECE):
                yield piece
        finally:
            if self.owns_reader:
                reader.close()


def message_octets(message: Message) -> bytes:
    """An ``email`` message as it is sent: lines end with CRLF, Bcc is left out.

    Its header is ASCII, with encoded words, unless an address in it cannot be.
    """
    message = copy.copy(message)
    for name in ("Bcc", "Resent-Bcc"):
        del message[name]
    changes: dict[str, Any] = {"linesep": "\r\n"}
    if isinstance(message, EmailMessage) and _has_utf8_address(message):
        # RFC 6532: there is no other way to write it.
        changes["utf8"] = True
    return message.as_bytes(policy=message.policy.clone(**changes))


def _has_utf8_address(message: EmailMessage) -> bool:
    return any(
        not address.addr_spec.isascii()
        for value in message.values()
        for address in getattr(value, "addresses", ())
    )


def is_plain(octets: bytes) -> bool:
    """Whether a message is such that every server takes it as it is, unless it is too long."""
    return octets.isascii() and b"\0" not in octets and not has_bare_line_end(octets)


class Survey:
    """Looks through a message, piece by piece, for what it needs."""

    def __init__(self, bare_line_ends: BareLineEnds = "normalise") -> None:
        self._mode = bare_line_ends
        self._header: bytes | None = b""
        self._held = b""
        self._tail = b"\n"
        self._size = 0
        self._bare = 0
        self._eight_bit = False
        self._utf8_header = False
        self._nul = False
        self._declared_binary = False

    def feed(self, piece: bytes) -> None:
        """Look at the next octets."""
        self._size += len(piece)
        ascii_only = piece.isascii()
        if self._header is not None:
            self._read_header(piece)
        elif not ascii_only:
            self._eight_bit = True
        self._nul = self._nul or b"\0" in piece
        octets = self._held + piece
        self._held = b"\r" if octets.endswith(b"\r") else b""
        self._count_bare(octets[: len(octets) - len(self._held)])
        if not self._declared_binary:
            around = self._tail + piece
            self._declared_binary = _DECLARED_BINARY.search(around) is not None
            self._tail = around[-_OVERLAP:]

    def _count_bare(self, octets: bytes) -> None:
        if has_bare_line_end(octets):
            pairs = octets.count(b"\r\n")
            self._bare += octets.count(b"\n") + octets.count(b"\r") - 2 * pairs

    def _read_header(self, piece: bytes) -> None:
        assert self._header is not None
        octets = self._header + piece
        end = _HEADER_END.search(octets)
        if end is None and len(octets) <= MAX_HEADER_OCTETS:
            self._header = octets
            return
        cut = end.end() if end else MAX_HEADER_OCTETS
        self._judge_header(octets[:cut])
        self._eight_bit = self._eight_bit or not octets[cut:].isascii()
        self._header = None

    def _judge_header(self, header: bytes) -> None:
        if header.isascii():
            return
        try:
            header.decode("utf-8")
        except UnicodeDecodeError:
            # lenient: old mail has headers in other charsets. No extension covers them, and
            # servers take them as they take 8-bit bodies.
            self._eight_bit = True
        else:
            self._utf8_header = self._eight_bit = True

    def finish(self) -> tuple[ContentNeeds, bool]:
        """What the message needs, and whether its line ends are to be corrected.

        :raises Unsendable: a CR or LF stands alone, and that is refused.
        """
        if self._header is not None:
            self._judge_header(self._header)
            self._header = None
        self._count_bare(self._held)
        self._held = b""
        normalise = False
        binary = self._nul
        if self._bare:
            if self._mode == "refuse":
                raise Unsendable("5.6.0", "The message has a CR or LF that stands alone")
            normalise = self._mode == "normalise" and not self._declared_binary
            binary = binary or not normalise
        size = self._size + (self._bare if normalise else 0)
        return ContentNeeds(size, self._eight_bit, self._utf8_header, binary), normalise


def normalised(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same octets with every line end as CRLF."""
    held = b""
    for piece in pieces:
        octets = held + piece
        held = b"\r" if octets.endswith(b"\r") else b""
        if octets := normalise_line_ends(octets[: len(octets) - len(held)]):
            yield octets
    if held:
        yield b"\r\n"
