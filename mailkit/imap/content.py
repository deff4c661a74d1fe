"""One message that is being fetched: small ones in memory, large ones by offset, never copied.

No Twisted here; where reading a large message takes long, :meth:`Content.load` says when others
may have their turn.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from typing import BinaryIO

from mailkit.errors import UnknownTransferEncoding
from mailkit.imap.decoded import DecodedPart, Decodings, Slice, measure
from mailkit.mime import (
    Header,
    Octets,
    Part,
    body_octets,
    bodystructure_octets,
    envelope_octets,
    parse_header,
    parse_message,
    parse_steps,
    preview_text,
    section_header,
    section_range,
)
from mailkit.mime.decoding import make_decoder

#: Messages up to this size are read at once.
SMALL = 256 * 1024
#: Octets that are copied in one go.
PIECE = 64 * 1024


class MessageContent:
    """The octets of a message and, when asked for, its structure.

    :param file: seekable; closed by :meth:`close`.
    :param root: the structure, if it is known already.
    :param decodings: what is known of its parts.
    """

    __slots__ = ("_data", "_file", "_header", "_map_file", "decodings", "rev2", "root", "size")

    def __init__(
        self, file: BinaryIO, root: Part | None = None, decodings: Decodings | None = None
    ) -> None:
        self.decodings = decodings or Decodings()
        self._file = file
        self._map_file: BinaryIO | None = None
        self._header: Header | None = None
        #: The structure, once it is known.
        self.root = root
        #: The structure is for a client of IMAP4rev2.
        self.rev2 = False
        data = file.read(SMALL + 1)
        self._data: Octets | None = None
        if len(data) <= SMALL:
            self._data = data
            self.size = len(data)
        else:
            self.size = file.seek(0, os.SEEK_END)

    @property
    def large(self) -> bool:
        """The message is not in memory."""
        return self.size > SMALL

    def close(self) -> None:
        """Give everything back."""
        if isinstance(self._data, mmap.mmap):
            self._data.close()
        self._data = None
        if self._map_file is not None:
            self._map_file.close()
        self._file.close()

    async def load(self, drain: Callable[[], Awaitable[None]]) -> None:
        """Make the whole message readable by offset.

        :param drain: awaited before each piece of copying.
        """
        if self._data is not None:
            return
        # The message may lie anywhere in a larger file, so it gets a file of its own to be mapped.
        copy = tempfile.TemporaryFile()
        self._map_file = copy
        self._file.seek(0)
        while data := self._file.read(PIECE):
            copy.write(data)
            await drain()
        copy.flush()
        self.size = copy.tell()
        self._data = mmap.mmap(copy.fileno(), self.size, access=mmap.ACCESS_READ)

    async def parse(self, drain: Callable[[], Awaitable[None]]) -> Part:
        """The MIME tree of a large message, after :meth:`load`.

        :param drain: awaited before each step of it.
        """
        if self.root is not None:
            return self.root
        steps = parse_steps(self.octets())
        while self.root is None:
            await drain()
            try:
                next(steps)
            except StopIteration as stop:
                self.root = stop.value
        return self.root

    def read(self, start: int, end: int) -> bytes:
        """Some octets of the message."""
        if self._data is not None:
            return self._data[start:end]
        self._file.seek(start)
        return self._file.read(end - start)

    # Structure.

    def octets(self) -> Octets:
        """The whole message; of a large one after :meth:`load`."""
        assert self._data is not None, "load() comes first"
        return self._data

    def header(self) -> Header:
        """The message's header."""
        if self._header is None:
            if self.root is not None:
                self._header = self.root.header
            elif self._data is not None:
                self._header = parse_header(self._data)
            else:
                self._header = self._read_header()
        return self._header

    def _read_header(self) -> Header:
        """The header of a large message, without the rest of it."""
        self._file.seek(0)
        size = SMALL
        while True:
            self._file.seek(0)
            header = parse_header(self._file.read(size))
            # It ends with an empty line, or with the message.
            if header.blank_line or size >= self.size:
                return header
            size *= 4

    def structure(self) -> Part:
        """The MIME tree."""
        if self.root is None:
            self.root = parse_message(self.octets())
        return self.root

    def find(self, parts: tuple[int, ...], kind: str) -> tuple[int, int] | None:
        """Offsets of a body section, or None if there is no such section."""
        if not parts:
            # These need no structure.
            if not kind:
                return 0, self.size
            body_start = self.header().body_start
            return (0, body_start) if kind == "HEADER" else (body_start, self.size)
        return section_range(b"", self.structure(), parts, kind)

    def header_of(self, parts: tuple[int, ...]) -> Header | None:
        """The header that HEADER.FIELDS of a section is taken from."""
        return section_header(self.structure(), parts) if parts else self.header()

    # Parts without their transfer encoding.

    async def measure(self, parts: tuple[int, ...], drain: Callable[[], Awaitable[None]]) -> None:
        """Find out what :meth:`decoded` tells.

        :param drain: awaited before each piece of a large part.
        :raises UnknownTransferEncoding: it cannot be decoded.
        """
        if parts in self.decodings.parts:
            return
        start, end, encoding = 0, self.size, b"binary"
        if parts:
            part = self.structure().find(parts)
            if part is None:
                return
            start, end = part.body_start, part.body_end
            if not part.is_multipart:
                # RFC 2045 section 6.4: only what has no parts is encoded.
                encoding = part.transfer_encoding.lower()
        if make_decoder(encoding) is None:
            shown = encoding[:80].decode("ascii", "replace")
            raise UnknownTransferEncoding(f"The transfer encoding {shown} is not known here")
        for measured in measure(self.read, start, end, encoding):
            if measured is not None:
                self.decodings.remember(parts, measured)
            elif self.large:
                await drain()

    def decoded(self, parts: tuple[int, ...]) -> DecodedPart | None:
        """What the decoding of a part gives, after :meth:`measure`; None if there is no such part."""
        return self.decodings.parts.get(parts)

    def slice(self, wanted: Slice) -> Iterator[bytes]:
        """Some octets of a decoded part, in pieces."""
        return self.decodings.slice(self.read, wanted)

    def envelope(self) -> bytes:
        return envelope_octets(b"", self.header())

    def body_structure(self) -> bytes:
        return bodystructure_octets(self.octets(), self.structure(), rev2=self.rev2)

    def preview(self, lazy: bool) -> str | None:
        if lazy and self.large:
            return None
        return preview_text(self.octets(), self.structure())

    def body(self) -> bytes:
        return body_octets(self.octets(), self.structure(), rev2=self.rev2)
