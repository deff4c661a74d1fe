"""CRC-32 of two pieces together."""

from __future__ import annotations

import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire.crc import combine_crc


class CombineTests(SynchronousTestCase):
    @settings(derandomize=True, max_examples=200)
    @given(st.binary(max_size=40), st.binary(max_size=600))
    def test_as_if_they_were_one(self, first: bytes, second: bytes) -> None:
        combined = combine_crc(zlib.crc32(first), zlib.crc32(second), len(second))
        self.assertEqual(combined, zlib.crc32(first + second))

    def test_long_pieces(self) -> None:
        for power in range(23):
            for length in (2**power - 1, 2**power, 2**power + 1):
                second = b"x" * length
                combined = combine_crc(zlib.crc32(b"first"), zlib.crc32(second), length)
                self.assertEqual(combined, zlib.crc32(second, zlib.crc32(b"first")), length)
