"""DEFLATE (RFC 1951) in both directions of a connection, piece by piece.

What comes in is inflated only as fast as somebody takes it, so a few octets that stand for many cost
no memory.
"""

from __future__ import annotations

import zlib
from typing import Any

#: How well output is compressed: most of what there is to win, at a third of the time of level 6.
LEVEL = 1
#: Octets of output that later output may refer to, as a power of two: 8 KiB.
WINDOW_BITS = 13
#: Memory for the compressor's tables; together with the window 64 KiB, against 256 KiB of zlib's
#: defaults, which compress mail by a factor of 3.2 instead of 2.8, and responses no better.
MEMORY_LEVEL = 6


class DeflateError(Exception):
    """What has come in is not DEFLATE."""


class Deflate:
    """The state of both directions.

    While :attr:`resting`, no compressor is kept between two pieces of output: its memory is the
    larger part of what an idle connection costs. What stays is the inflater, 10 to 45 KiB, for the
    other side may refer to all that it has sent.
    """

    __slots__ = ("_compressor", "_inflater", "_input", "_more", "resting")

    def __init__(self) -> None:
        self._compressor: Any = None
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        # Not inflated yet.
        self._input = b""
        # The inflater may hold octets that did not fit.
        self._more = False
        self.resting = False

    def compress(self, data: bytes) -> bytes:
        """Octets for the other side, who can read all of them at once."""
        if self._compressor is None:
            # Blocks of a fresh compressor follow the old ones: they refer to nothing before them.
            self._compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -WINDOW_BITS, MEMORY_LEVEL)
        compressed: bytes = self._compressor.compress(data)
        # RFC 4978 section 3: whatever ends a batch of responses must reach the client.
        compressed += self._compressor.flush(zlib.Z_SYNC_FLUSH)
        if self.resting:
            self._compressor = None
        return compressed

    def finish(self) -> bytes:
        """The octets that end what the other side has to inflate."""
        compressor = self._compressor or zlib.compressobj(wbits=-WINDOW_BITS)
        self._compressor = None
        return compressor.flush(zlib.Z_FINISH)

    def rest(self) -> None:
        """Keep no more memory than necessary until :attr:`resting` is unset."""
        self.resting = True
        self._compressor = None

    def feed(self, data: bytes) -> None:
        """Octets from the other side."""
        self._input += data

    @property
    def waiting(self) -> int:
        """Octets that have come in and have not been inflated."""
        return len(self._input)

    def read(self, count: int) -> bytes:
        """Inflate at most ``count`` octets; nothing when there are none.

        :raises DeflateError: they are not DEFLATE, or have said before that nothing more follows.
        """
        if self._inflater.eof:
            raise DeflateError("the compressed data has come to its end")
        if not (self._input or self._more):
            return b""
        try:
            data = self._inflater.decompress(self._input, count)
        except zlib.error as error:
            raise DeflateError(str(error)) from None
        self._input = self._inflater.unconsumed_tail or self._inflater.unused_data
        self._more = len(data) == count
        return data

    def end(self) -> bytes:
        """The other side compresses no longer; gives what it has sent since.

        It may have finished its data, or only have flushed it and then waited for a reply.

        :raises DeflateError: it has compressed more than was read.
        """
        if not self._inflater.eof and self.read(1):
            raise DeflateError("the compressed data goes on")
        return self._input
