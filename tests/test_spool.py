"""Message content on its way in."""

from __future__ import annotations

import io
import os
import tracemalloc
import zlib
from contextlib import closing
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit import spool as spool_module
from mailkit.spool import PrefixedFile, Spool, SpoolMemory


class SpoolTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)

    def make(self, limit: int = 10, reserve: int = 0) -> Spool:
        spool = Spool(directory=self.directory, memory_limit=limit, reserve=reserve)
        self.addCleanup(spool.close)
        return spool

    def read(self, spool: Spool) -> bytes:
        with spool.open() as file:
            return file.read()

    @property
    def files(self) -> list[str]:
        return os.listdir(self.directory)


class CheckTests(SpoolTestCase):
    """What is known of a file without reading it."""

    def test_it_is_that_of_the_whole_message(self) -> None:
        for prefix in (b"", b"X", b"Received: here\r\n"):
            spool = self.make(reserve=5)
            for piece in (b"Subject: x\r\n", b"\r\n", b"", b"text", b"."):
                spool.write(piece)
            spool.prepend(prefix)
            whole = self.read(spool)
            self.assertEqual(spool.check, (zlib.crc32(whole), b"t."))
            with closing(spool.share()) as shared:
                self.assertEqual(shared.check, spool.check)

    def test_a_short_message(self) -> None:
        spool = self.make(limit=0)
        spool.write(b"a")
        self.assertEqual(spool.check, (zlib.crc32(b"a"), b"a"))
        spool.prepend(b"b\n")
        self.assertEqual(spool.check, (zlib.crc32(b"b\na"), b"\na"))

    def test_it_is_not_known_where_something_was_replaced(self) -> None:
        spool = self.make()
        spool.write(b"Subject: x\r\n\r\ntext")
        spool.prepend(b"X: y\r\n")
        spool.replace_head(3, b"Z:")
        self.assertEqual(spool.check, (zlib.crc32(self.read(spool)), b"xt"))
        spool.replace_head(15, b"")
        self.assertIsNone(spool.check)
        spool.write(b"more")
        self.assertIsNone(spool.check)

    def test_in_memory(self) -> None:
        spool = self.make()
        spool.write(b"text")
        self.assertIsNone(spool.check)


class StartTests(SpoolTestCase):
    """Reading the header of a message."""

    def start(self, content: bytes, limit: int = 100_000, prefix: bytes = b"") -> bytes:
        spool = self.make(reserve=7)
        spool.write(content)
        spool.prepend(prefix)
        start = spool.read_start(limit)
        self.assertEqual(start, (prefix + content)[: len(start)])
        return start

    def test_a_header_that_is_short(self) -> None:
        for end in (b"\r\n\r\n", b"\n\n", b"\n\r\n"):
            header = b"Subject: x" + end
            start = self.start(header + b"y" * 50_000)
            self.assertTrue(header in start and len(start) < 20_000, end)
        self.assertLess(len(self.start(b"\r\n" + b"y" * 50_000)), 20_000)

    def test_a_header_that_is_long(self) -> None:
        for length in (8_180, 8_190, 8_200, 30_000):
            header = b"X: " + b"y" * length + b"\r\n\r\n"
            for prefix in (b"", b"Received: here\r\n"):
                start = self.start(header + b"z" * 200_000, prefix=prefix)
                self.assertTrue(start.startswith(prefix + header), length)
                self.assertLess(len(start), 70_000)

    def test_no_end_of_the_header(self) -> None:
        self.assertEqual(len(self.start(b"y" * 50_000)), 50_000)
        self.assertEqual(len(self.start(b"y" * 50_000, limit=9_000)), 9_000)
        self.assertEqual(self.start(b"y" * 500, limit=10, prefix=b"x" * 20), b"x" * 10)

    def test_a_prefix_with_the_end(self) -> None:
        self.assertEqual(self.start(b"y" * 50_000, prefix=b"X: y\r\n\r\n"), b"X: y\r\n\r\n")

    def test_in_memory_it_is_all(self) -> None:
        spool = self.make(limit=1000)
        spool.write(b"\r\ntext")
        self.assertEqual(spool.read_start(3), b"\r\ntext")


class LargeInMemoryTests(SpoolTestCase):
    """A large message that stays in the pieces in which it came."""

    def large(self, *pieces: bytes, prefix: bytes = b"") -> tuple[Spool, bytes]:
        """One whose last piece is large, and its octets."""
        pieces += (b"z" * spool_module.MEMORY_LIMIT,)
        spool = self.make(limit=2 * spool_module.MEMORY_LIMIT)
        for piece in pieces:
            spool.write(piece)
        spool.prepend(prefix)
        return spool, prefix + b"".join(pieces)

    def test_the_header_is_read_without_the_rest(self) -> None:
        for end in (b"\r\n\r\n", b"\n\n", b"\n\r\n"):
            # Too long to be joined with what follows, wherever it is cut.
            header = b"Subject: " + b"x" * 3000 + end
            for at in (*range(2000, len(header), 500), *range(len(header) - 4, len(header) + 1)):
                for prefix in (b"", b"Received: here\r\n"):
                    spool, _ = self.large(header[:at], header[at:] + b"y" * 2000, prefix=prefix)
                    start = spool.read_start(100_000)
                    self.assertTrue(start.startswith(prefix + header), (end, at))
                    self.assertLess(len(start), 6000)

    def test_a_header_that_is_empty_or_only_a_prefix(self) -> None:
        spool, whole = self.large(b"\r\n" + b"y" * 2000)
        self.assertEqual(spool.read_start(100_000), whole[:2002])
        spool, _ = self.large(b"y" * 2000, prefix=b"X: y\r\n\r\n")
        self.assertEqual(spool.read_start(100_000), b"X: y\r\n\r\n")

    def test_no_end_of_the_header(self) -> None:
        spool, whole = self.large(b"y" * 2000, prefix=b"X: ")
        for limit in (1, 3, 4, 1000, 2003, 2004, 100_000):
            self.assertEqual(spool.read_start(limit), whole[:limit])

    def test_the_first_octets(self) -> None:
        spool, whole = self.large(b"a" * 2000, b"b" * 2000, prefix=b"X: ")
        spilled = self.make(limit=0)
        spilled.write(whole[3:])
        spilled.prepend(b"X: ")
        for count in (0, 2, 3, 4, 2003, 4004, len(whole), len(whole) + 1):
            for each in (spool, spilled):
                self.assertEqual(each.read_first(count), whole[:count])

    def test_pieces(self) -> None:
        spool, whole = self.large(b"a", b"b" * 2000, b"c", b"d", prefix=b"X: ")
        pieces = spool.pieces
        assert pieces is not None
        self.assertEqual(b"".join(pieces), whole)
        self.assertEqual({type(piece) for piece in pieces}, {bytes})
        spool.close()
        self.assertEqual(b"".join(pieces), whole)
        spilled = self.make(limit=0)
        spilled.write(b"x")
        self.assertIsNone(spilled.pieces)
        spilled.take()
        with self.assertRaises(ValueError):
            spilled.pieces  # noqa: B018


class SharedMemoryTests(SpoolTestCase):
    def share(self, memory: SpoolMemory, limit: int = 1000) -> Spool:
        spool = Spool(directory=self.directory, memory_limit=limit, memory=memory)
        self.addCleanup(spool.close)
        return spool

    def test_when_it_is_full_spools_turn_to_files_early(self) -> None:
        memory = SpoolMemory(100)
        first, second, third = (self.share(memory) for _ in range(3))
        first.write(b"x" * 60)
        second.write(b"y" * 40)
        self.assertEqual((memory.used, self.files), (100, []))
        third.write(b"z")
        self.assertEqual((memory.used, third.data, len(self.files)), (100, None, 1))
        first.write(b"w")
        self.assertEqual((memory.used, first.data, second.data), (40, None, b"y" * 40))
        self.assertEqual(self.read(first), b"x" * 60 + b"w")
        self.assertEqual(self.read(third), b"z")

    def test_it_is_given_back(self) -> None:
        memory = SpoolMemory(100)
        for ending in ("close", "file"):
            spool = self.share(memory, limit=50)
            spool.write(b"x" * 40)
            self.assertEqual(memory.used, 40)
            if ending == "close":
                spool.close()
                spool.close()
            else:
                spool.write(b"x" * 40)
            self.assertEqual(memory.used, 0, ending)

    def test_short_pieces_take_no_more_memory_than_their_octets(self) -> None:
        memory = SpoolMemory(10**6)
        spool = self.share(memory, limit=10**6)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for number in range(100_000):
                spool.write(b"%c" % (number % 256))
            taken = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        self.assertLess(taken, 150_000)
        self.assertEqual(memory.used, 100_000)
        self.assertEqual(self.read(spool), (bytes(range(256)) * 400)[:100_000])

    def test_short_and_long_pieces_keep_their_order(self) -> None:
        spool = self.share(SpoolMemory(10**6), limit=10**6)
        pieces = [b"a", b"b" * 2000, b"c", b"d", b"e" * 3000, b"f", b"", b"g" * 1024, b"h"]
        for piece in pieces:
            spool.write(piece)
        self.assertEqual(spool.data, b"".join(pieces))

    def test_files_have_no_buffer(self) -> None:
        spool = self.share(SpoolMemory(0))
        spool.write(b"abc")
        assert spool.path is not None
        self.assertEqual(os.path.getsize(spool.path), 3)


class MemoryTests(SpoolTestCase):
    def test_small_content_stays_in_memory(self) -> None:
        spool = self.make()
        spool.write(b"12345")
        spool.write(b"67890")
        self.assertEqual((spool.data, spool.size, spool.path), (b"1234567890", 10, None))
        self.assertEqual(self.read(spool), b"1234567890")
        self.assertEqual(self.files, [])
        self.assertIsNone(spool.take())
        self.assertEqual(spool.data, b"1234567890")

    def test_empty(self) -> None:
        spool = self.make()
        self.assertEqual((spool.data, spool.size, self.read(spool)), (b"", 0, b""))

    def test_prefix(self) -> None:
        spool = self.make()
        spool.write(b"body")
        spool.prepend(b"two ")
        spool.prepend(b"one ")
        self.assertEqual((spool.prefix, spool.data), (b"one two ", b"one two body"))
        self.assertEqual((spool.size, self.read(spool)), (12, b"one two body"))

    def test_from_bytes_is_in_memory_whatever_its_size(self) -> None:
        data = bytes(spool_module.MEMORY_LIMIT * 2)
        spool = Spool.from_bytes(data)
        self.assertEqual(spool.data, data)


class FileTests(SpoolTestCase):
    def test_large_content_turns_to_a_file(self) -> None:
        spool = self.make()
        for piece in (b"12345", b"678901", b"23"):
            spool.write(piece)
        self.assertIsNone(spool.data)
        self.assertEqual(spool.size, 13)
        self.assertEqual(len(self.files), 1)
        self.assertEqual(self.read(spool), b"1234567890123")

    def test_writing_goes_on_while_it_is_read(self) -> None:
        spool = self.make()
        spool.write(b"x" * 11)
        self.assertEqual(self.read(spool), b"x" * 11)
        spool.write(b"y")
        self.assertEqual(self.read(spool), b"x" * 11 + b"y")

    def test_two_readers(self) -> None:
        spool = self.make()
        spool.write(b"0123456789a")
        with spool.open() as one, spool.open() as other:
            self.assertEqual(one.read(3), b"012")
            self.assertEqual(other.read(), b"0123456789a")
            self.assertEqual(one.read(), b"3456789a")

    def test_prefix_and_reserve(self) -> None:
        spool = self.make(reserve=16)
        spool.write(b"0123456789a")
        spool.prepend(b"prefix ")
        self.assertEqual(self.read(spool), b"prefix 0123456789a")
        self.assertEqual(spool.size, 18)
        assert spool.path is not None
        with open(spool.path, "rb") as file:
            self.assertEqual(file.read(), bytes(16) + b"0123456789a")

    def test_close_removes_the_file(self) -> None:
        spool = self.make()
        spool.write(b"x" * 11)
        spool.close()
        spool.close()
        self.assertEqual(self.files, [])

    def test_close_though_somebody_removed_the_file(self) -> None:
        spool = self.make()
        spool.write(b"x" * 11)
        assert spool.path is not None
        os.unlink(spool.path)
        spool.close()
        self.assertIsNone(spool.path)

    def test_file_is_removed_though_the_disk_is_full(self) -> None:
        class FullDisk(io.BytesIO):
            def close(self) -> None:
                super().close()
                raise OSError("disk full")

        def fdopen(handle: int, *args: Any, **kwargs: Any) -> FullDisk:
            os.close(handle)
            return FullDisk()

        self.patch(spool_module.os, "fdopen", fdopen)
        spool = self.make()
        spool.write(b"x" * 11)
        self.assertEqual(len(self.files), 1)
        spool.close()
        self.assertEqual(self.files, [])


class ReplacedHeadTests(SpoolTestCase):
    """The first octets, in memory or in a file, before or behind the end of the prefix."""

    @given(
        body=st.binary(max_size=30),
        prefix=st.binary(max_size=8),
        heads=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=8)), max_size=4),
        more=st.binary(max_size=20),
    )
    @settings(max_examples=200, deadline=None)
    def test_any(
        self, body: bytes, prefix: bytes, heads: list[tuple[float, bytes]], more: bytes
    ) -> None:
        spool = Spool(self.directory, memory_limit=10, reserve=3)
        try:
            spool.write(body)
            spool.prepend(prefix)
            expected = prefix + body
            for part, data in heads:
                count = int(part * len(expected))
                spool.replace_head(count, data)
                expected = data + expected[count:]
            self.assertEqual((self.read(spool), spool.size), (expected, len(expected)))
            spool.write(more)
            self.assertEqual(
                (self.read(spool), spool.size), (expected + more, len(expected + more))
            )
        finally:
            spool.close()

    def test_the_file_stays_as_it_is(self) -> None:
        spool = self.make(reserve=4)
        spool.write(b"header body body body")
        spool.replace_head(7, b"longer header ")
        self.assertEqual((spool.start, spool.prefix), (11, b"longer header "))
        path = spool.take()
        assert path is not None
        with open(path, "rb") as file:
            self.assertEqual(file.read(), bytes(4) + b"header body body body")

    def test_more_than_there_is(self) -> None:
        spool = self.make()
        spool.write(b"12345")
        self.assertRaises(ValueError, spool.replace_head, 6, b"")
        self.assertRaises(ValueError, spool.replace_head, -1, b"")
        self.assertEqual(spool.data, b"12345")


class TakeTests(SpoolTestCase):
    def test_taken_file_is_the_takers(self) -> None:
        spool = self.make(reserve=4)
        spool.write(b"x" * 11)
        spool.prepend(b"prefix")
        path = spool.take()
        assert path is not None
        spool.close()
        with open(path, "rb") as file:
            self.assertEqual(file.read(), bytes(4) + b"x" * 11)
        self.assertEqual(spool.prefix, b"prefix")

    def test_taken_content_is_not_taken_for_an_empty_message(self) -> None:
        spool = self.make()
        spool.write(b"x" * 11)
        spool.take()
        self.assertRaises(ValueError, spool.open)
        self.assertRaises(ValueError, spool.take)
        self.assertRaises(ValueError, spool.write, b"more")
        self.assertRaises(ValueError, lambda: spool.data)
        self.assertEqual(spool.size, 11)


class PrefixedFileTests(SynchronousTestCase):
    def make(self, prefix: bytes, content: bytes, start: int = 0) -> io.BufferedReader:
        raw = PrefixedFile(prefix, io.BytesIO(bytes(start) + content), start)
        return io.BufferedReader(raw, 4)

    def test_like_one_file(self) -> None:
        for start in (0, 5):
            file = self.make(b"abc", b"defgh", start)
            self.assertEqual(file.read(), b"abcdefgh")
            self.assertEqual(file.seek(-2, os.SEEK_END), 6)
            self.assertEqual(file.read(), b"gh")
            self.assertEqual(file.seek(2), 2)
            self.assertEqual(file.read(2), b"cd")
            self.assertEqual(file.seek(1, os.SEEK_CUR), 5)
            self.assertEqual(file.read(1), b"f")
            self.assertEqual(file.tell(), 6)
            file.seek(100)
            self.assertEqual(file.read(), b"")
            self.assertTrue(file.readable() and file.seekable() and not file.writable())

    def test_close(self) -> None:
        source = io.BytesIO(b"x")
        file = PrefixedFile(b"", source)
        file.close()
        file.close()
        self.assertTrue(source.closed and file.closed)

    @settings(derandomize=True, max_examples=200)
    @given(
        st.binary(max_size=10),
        st.binary(max_size=20),
        st.lists(st.tuples(st.integers(0, 35), st.integers(0, 35))),
    )
    def test_any_reads(self, prefix: bytes, content: bytes, reads: list[tuple[int, int]]) -> None:
        file = self.make(prefix, content, 3)
        whole = prefix + content
        for position, count in reads:
            file.seek(position)
            self.assertEqual(file.read(count), whole[position : position + count])


class ShareTests(SpoolTestCase):
    """One content for several who may take it."""

    def test_in_memory(self) -> None:
        spool = self.make()
        spool.write(b"body")
        spool.prepend(b"a ")
        shared = spool.share()
        shared.prepend(b"b ")
        spool.prepend(b"c ")
        self.assertEqual((shared.data, spool.data), (b"b a body", b"c a body"))

    def test_in_a_file(self) -> None:
        spool = self.make(limit=0, reserve=7)
        spool.write(b"head body")
        spool.replace_head(5, b"new ")
        first, second = spool.share(), spool.share()
        self.assertEqual(len(self.files), 3)
        first.prepend(b"1 ")
        second.replace_head(4, b"2 ")
        self.assertEqual(first.size, 10)
        taken = first.take()
        assert taken is not None
        os.unlink(taken)
        self.assertEqual(self.read(second), b"2 body")
        second.close()
        self.assertEqual(self.read(spool), b"new body")
        spool.close()
        self.assertEqual(self.files, [])

    def test_what_was_taken_cannot_be_shared(self) -> None:
        spool = self.make(limit=0)
        spool.write(b"body")
        path = spool.take()
        assert path is not None
        self.assertRaises(ValueError, spool.share)
