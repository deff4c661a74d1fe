"""DEFLATE in both directions."""

from __future__ import annotations

import zlib

from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire.deflate import Deflate, DeflateError


class DeflateTests(SynchronousTestCase):
    def test_each_piece_can_be_read_at_once(self) -> None:
        deflate = Deflate()
        inflater = zlib.decompressobj(-15)
        for piece in (b"* 1 EXISTS\r\n", b"* 1 EXISTS\r\n" * 10_000, b"x"):
            self.assertEqual(inflater.decompress(deflate.compress(piece)), piece)

    def test_later_pieces_refer_to_earlier_ones(self) -> None:
        deflate = Deflate()
        line = bytes(range(256))
        self.assertGreater(len(deflate.compress(line)), 200)
        self.assertLess(len(deflate.compress(line)), 30)

    def test_what_follows_a_rest_is_part_of_the_same_stream(self) -> None:
        deflate = Deflate()
        inflater = zlib.decompressobj(-15)
        sent = [deflate.compress(b"abc" * 100)]
        deflate.rest()
        sent += [deflate.compress(b"abc" * 100), deflate.compress(b"def")]
        self.assertIsNone(deflate._compressor)
        deflate.resting = False
        sent += [deflate.compress(b"abc" * 100)]
        self.assertIsNotNone(deflate._compressor)
        self.assertEqual(inflater.decompress(b"".join(sent)), b"abc" * 200 + b"def" + b"abc" * 100)
        self.assertFalse(inflater.eof)

    def test_every_split_of_what_comes_in(self) -> None:
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        data = compressor.compress(b"a NOOP\r\n" * 50) + compressor.flush(zlib.Z_SYNC_FLUSH)
        for position in range(len(data)):
            deflate = Deflate()
            read = b""
            for piece in (data[:position], data[position:]):
                deflate.feed(piece)
                while octets := deflate.read(7):
                    read += octets
            self.assertEqual(read, b"a NOOP\r\n" * 50)

    def test_no_more_is_inflated_than_is_asked_for(self) -> None:
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = compressor.compress(bytes(50_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
        deflate = Deflate()
        deflate.feed(bomb)
        read = 0
        for _ in range(100):
            piece = deflate.read(65536)
            self.assertEqual(piece, bytes(65536))
            read += len(piece)
        self.assertGreater(deflate.waiting, len(bomb) // 2)
        while piece := deflate.read(65536):
            read += len(piece)
        self.assertEqual(read, 50_000_000)
        self.assertEqual(deflate.waiting, 0)

    def test_what_is_not_deflate(self) -> None:
        for data in (b"a NOOP\r\n", zlib.compress(b"a NOOP\r\n"), b"\xff" * 20):
            deflate = Deflate()
            deflate.feed(data)
            with self.assertRaises(DeflateError):
                while deflate.read(100):
                    pass

    def test_the_end_of_the_stream(self) -> None:
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        deflate = Deflate()
        deflate.feed(compressor.compress(b"abc") + compressor.flush() + b"d")
        self.assertEqual(deflate.read(100), b"abc")
        with self.assertRaises(DeflateError):
            deflate.read(100)

    def test_both_sides_stop(self) -> None:
        for finishing in (zlib.Z_FINISH, zlib.Z_SYNC_FLUSH):
            compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
            deflate = Deflate()
            deflate.feed(compressor.compress(b"abc") + compressor.flush(finishing))
            if finishing == zlib.Z_FINISH:
                deflate.feed(b"plain")
            self.assertEqual(deflate.read(3), b"abc")
            self.assertEqual(deflate.end(), b"plain" if finishing == zlib.Z_FINISH else b"")
            inflater = zlib.decompressobj(-15)
            self.assertEqual(inflater.decompress(deflate.compress(b"x") + deflate.finish()), b"x")
            self.assertTrue(inflater.eof)

    def test_the_other_side_goes_on(self) -> None:
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        deflate = Deflate()
        deflate.feed(compressor.compress(b"abcd") + compressor.flush(zlib.Z_SYNC_FLUSH))
        self.assertEqual(deflate.read(3), b"abc")
        with self.assertRaises(DeflateError):
            deflate.end()
