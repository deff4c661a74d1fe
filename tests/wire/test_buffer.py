"""Received octets, by line and by count, however they are split."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire.buffer import SHORT, InputBuffer, LineTooLong

LIMIT = 8


def read_lines(chunks: list[bytes], limit: int = LIMIT) -> list[bytes | None]:
    """All lines that the chunks give; None stands for one that was too long."""
    buffer = InputBuffer()
    lines: list[bytes | None] = []
    for chunk in chunks:
        buffer.feed(chunk)
        while True:
            try:
                line = buffer.take_line(limit)
            except LineTooLong:
                lines.append(None)
                continue
            if line is None:
                break
            lines.append(line)
    return lines


def splits(data: bytes) -> list[list[bytes]]:
    """Whole, octet by octet, and in two at every place."""
    return [
        [data],
        [data[i : i + 1] for i in range(len(data))],
        *([data[:i], data[i:]] for i in range(1, len(data))),
    ]


class LineTests(SynchronousTestCase):
    def test_lines_for_every_split(self) -> None:
        data = b"one\r\n\r\n\ntwo\nth\rree\r\nfour"
        for chunks in splits(data):
            self.assertEqual(read_lines(chunks), [b"one", b"", b"", b"two", b"th\rree"])

    def test_lines_of_a_few_octets_and_of_many(self) -> None:
        # Those are taken in other steps; the end of the line, and of the input, is wherever it may be.
        for octets in range(SHORT - 4, SHORT + 3):
            data = b"a\nb\r\n" + b"x" * (octets - 7) + b"\r"
            self.assertEqual(
                read_lines([data, b"\n", b"end\r\n"], 2 * SHORT),
                [b"a", b"b", b"x" * (octets - 7), b"end"],
            )

    def test_limit_counts_the_line_end(self) -> None:
        for chunks in splits(b"123456\r\n"):
            self.assertEqual(read_lines(chunks), [b"123456"])
        for chunks in splits(b"1234567\r\n"):
            self.assertEqual(read_lines(chunks), [None])

    def test_overlong_line_is_told_once_and_what_follows_is_in_step(self) -> None:
        for chunks in splits(b"ok\r\n" + b"x" * 30 + b"\r\nnext\r\n"):
            self.assertEqual(read_lines(chunks), [b"ok", None, b"next"])

    def test_overlong_line_costs_no_memory(self) -> None:
        buffer = InputBuffer()
        for _ in range(100):
            buffer.feed(b"x" * 1000)
            self.assertIsNone(buffer.take_line(LIMIT))
            self.assertEqual(len(buffer), 0)
        buffer.feed(b"x\nnext\n")
        self.assertRaises(LineTooLong, buffer.take_line, LIMIT)
        self.assertEqual(buffer.take_line(LIMIT), b"next")

    def test_line_below_the_limit_is_kept_until_it_ends(self) -> None:
        buffer = InputBuffer()
        buffer.feed(b"1234567")
        self.assertIsNone(buffer.take_line(LIMIT))
        self.assertEqual(len(buffer), 7)

    @settings(derandomize=True, max_examples=200)
    @given(
        st.lists(st.sampled_from([b"\r", b"\n", b"a", b"bcdef", b"0123456789", b""]), max_size=30)
    )
    def test_any_chunks_give_what_the_whole_gives(self, chunks: list[bytes]) -> None:
        whole = b"".join(chunks)
        expected = [
            None if len(line) + 1 > LIMIT else line.removesuffix(b"\r")
            for line in whole.split(b"\n")[:-1]
        ]
        self.assertEqual(read_lines(chunks), expected)


class CountTests(SynchronousTestCase):
    def test_up_to_so_many(self) -> None:
        buffer = InputBuffer()
        buffer.feed(b"abcdef")
        self.assertEqual(buffer.take(2), b"ab")
        self.assertEqual(len(buffer), 4)
        self.assertEqual(buffer.take(0), b"")
        self.assertEqual(buffer.take(100), b"cdef")
        self.assertEqual(buffer.take(1), b"")

    def test_all(self) -> None:
        buffer = InputBuffer()
        buffer.feed(b"line\nrest")
        self.assertEqual(buffer.take_line(LIMIT), b"line")
        buffer.feed(b"more")
        self.assertEqual(buffer.take_all(), b"restmore")
        self.assertEqual(buffer.take_all(), b"")

    def test_lines_and_counts_in_turn(self) -> None:
        data = b"LIT\n1234\nabc\n"
        for chunks in splits(data):
            buffer = InputBuffer()
            got: list[bytes] = []
            for chunk in chunks:
                buffer.feed(chunk)
                if not got and (line := buffer.take_line(LIMIT)) is not None:
                    got.append(line)
                while got and sum(map(len, got[1:])) < 6 and (part := buffer.take(1)):
                    got.append(part)
            self.assertEqual(b"".join(got), b"LIT1234\na")
            self.assertEqual(buffer.take_line(LIMIT), b"bc")

    def test_counted_octets_do_not_end_an_overlong_line(self) -> None:
        buffer = InputBuffer()
        buffer.feed(b"x" * 20)
        self.assertIsNone(buffer.take_line(LIMIT))
        self.assertEqual(buffer.take(5), b"")
        buffer.feed(b"y\nnext\n")
        self.assertRaises(LineTooLong, buffer.take_line, LIMIT)
        self.assertEqual(buffer.take_line(LIMIT), b"next")

    def test_put_back(self) -> None:
        buffer = InputBuffer()
        buffer.feed(b"abc\nrest\n")
        self.assertEqual(buffer.take(2), b"ab")
        buffer.unread(b"AB\n")
        self.assertEqual(buffer.take_line(LIMIT), b"AB")
        self.assertEqual(buffer.take_line(LIMIT), b"c")
        self.assertEqual(buffer.take_line(LIMIT), b"rest")

    def test_put_back_finds_a_line_end_in_front(self) -> None:
        buffer = InputBuffer()
        buffer.feed(b"abc")
        self.assertIsNone(buffer.take_line(LIMIT))
        buffer.unread(b"x\n")
        self.assertEqual(buffer.take_line(LIMIT), b"x")

    def test_clear(self) -> None:
        buffer = InputBuffer()
        buffer.feed(b"x" * 20)
        self.assertIsNone(buffer.take_line(LIMIT))
        buffer.clear()
        buffer.feed(b"a\n")
        self.assertEqual(buffer.take_line(LIMIT), b"a")
