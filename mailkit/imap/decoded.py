"""Parts of a message without their transfer encoding, for BINARY (RFC 3516).

A part is decoded twice, piece by piece: to know how many octets will come and whether there is a
NUL among them, and to send them. A client that fetches a part in pieces goes on where it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

from mailkit.mime.decoding import Decoder, IdentityDecoder, make_decoder

#: Octets of the encoded part that are decoded at a time.
PIECE = 64 * 1024


class DecodedPart(NamedTuple):
    """A part, and what its decoding gives."""

    #: Offsets of the encoded octets in the message.
    start: int
    end: int
    #: The encoding, of which there is a decoder.
    encoding: bytes
    #: Octets that come out.
    size: int
    #: They have to be sent as a literal8.
    has_nul: bool


class Slice(NamedTuple):
    """Octets of a decoded part that are to be sent."""

    part: DecodedPart
    first: int
    last: int


def slice_of(part: DecodedPart, partial: tuple[int, int] | None) -> Slice:
    """All octets of a decoded part, or those of a range (RFC 3516 section 4.2).

    :param partial: first octet and count.
    """
    if partial is None:
        return Slice(part, 0, part.size)
    first = min(partial[0], part.size)
    return Slice(part, first, min(first + partial[1], part.size))


class Decoding:
    """Decodes a part from its start on.

    :param read: gives the octets of the message between two offsets.
    :param encoding: one that :func:`~mailkit.mime.decoding.make_decoder` knows.
    """

    def __init__(
        self, read: Callable[[int, int], bytes], start: int, end: int, encoding: bytes
    ) -> None:
        self.read = read
        self.position = start
        self.end = end
        #: Octets that have come out.
        self.produced = 0
        decoder = make_decoder(encoding)
        assert decoder is not None
        self.decoder: Decoder = decoder

    def copy(self) -> Decoding:
        """Another one in the same state."""
        other = copy.copy(self)
        other.decoder = copy.copy(self.decoder)
        return other

    def next(self) -> bytes | None:
        """The next piece, perhaps an empty one; None behind the last."""
        if self.position > self.end:
            return None
        if self.position == self.end:
            self.position += 1
            data = self.decoder.finish()
        else:
            stop = min(self.position + PIECE, self.end)
            octets = self.read(self.position, stop)
            if len(octets) != stop - self.position:
                # The message is shorter than it was.
                return None
            self.position = stop
            data = self.decoder.feed(octets)
        self.produced += len(data)
        return data


def measure(
    read: Callable[[int, int], bytes], start: int, end: int, encoding: bytes
) -> Iterator[DecodedPart | None]:
    """What the decoding of a part gives; None as long as there is more of it.

    What is labelled as uuencoded and is not stands for itself.
    """
    decoding = Decoding(read, start, end, encoding)
    has_nul = False
    while (data := decoding.next()) is not None:
        has_nul = has_nul or b"\0" in data
        yield None
    if decoding.decoder.found:
        yield DecodedPart(start, end, encoding, decoding.produced, has_nul)
    else:
        yield from measure(read, start, end, b"binary")


class Decodings:
    """What is known of the decoded parts of one message, kept from one FETCH to the next."""

    #: Parts that are remembered; clients ask for some of a message, again and again.
    max_parts = 100

    def __init__(self) -> None:
        self.parts: dict[tuple[int, ...], DecodedPart] = {}
        # Where the decoding of the part that was sent last stands.
        self._last: tuple[DecodedPart, Decoding] | None = None

    def remember(self, numbers: tuple[int, ...], part: DecodedPart) -> None:
        """Keep what was measured."""
        if len(self.parts) >= self.max_parts:
            self.parts.clear()
        self.parts[numbers] = part

    def slice(self, read: Callable[[int, int], bytes], wanted: Slice) -> Iterator[bytes]:
        """The octets of a slice in pieces, empty ones where nothing has come out yet."""
        part, first, last = wanted
        decoding = Decoding(read, part.start, part.end, part.encoding)
        if self._last is not None:
            known, stands = self._last
            if known == part and stands.produced <= first:
                decoding = stands.copy()
                decoding.read = read
        if isinstance(decoding.decoder, IdentityDecoder):
            decoding.position = part.start + first
            decoding.produced = first
        while decoding.produced < last:
            before = decoding.copy()
            begin = decoding.produced
            data = decoding.next()
            if data is None:
                return
            # Without the means to read: the file is closed soon.
            before.read = _closed
            self._last = part, before
            yield data[max(first - begin, 0) : max(last - begin, 0)]


def _closed(start: int, end: int) -> bytes:
    raise AssertionError("the message is not open")
