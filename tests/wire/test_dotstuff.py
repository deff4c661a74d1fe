"""Transparency: only CRLF "." CRLF ends the data, whatever stands in it."""

from __future__ import annotations

import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire.dotstuff import (
    DotDecoder,
    DotEncoder,
    has_bare_line_end,
    lacks_line_end,
    normalise_line_ends,
    stuff_message,
)
from tests.wire.test_buffer import splits

#: Every way to write "line end, dot, line end" but the right one: what SMTP smuggling is made of.
ENDS = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0\r\n", b"\r\0\n")
#: Pieces that make hard input, for generated examples.
PIECES = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a", b"\r\n.", b""]))


def decode(chunks: list[bytes]) -> tuple[bytes, bytes, bool, list[bytes]]:
    """Content, what follows the end, whether there was one, and the pieces of content."""
    decoder = DotDecoder()
    pieces = []
    rest = b""
    for position, chunk in enumerate(chunks):
        content, rest = decoder.feed(chunk)
        pieces.append(content)
        if decoder.finished:
            rest += b"".join(chunks[position + 1 :])
            break
    return b"".join(pieces), rest, decoder.finished, [piece for piece in pieces if piece]


def decode_by_lines(data: bytes) -> tuple[bytes, bytes]:
    """The same, by the letter of RFC 5321 section 4.5.2: line by line; data must have an end."""
    content = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        if line == b".":
            return content, data
        content += line.removeprefix(b".") + end


class DecoderTests(SynchronousTestCase):
    def test_message_for_every_split(self) -> None:
        data = b"Subject: x\r\n\r\n..dot\r\n.x\r\n...\r\ntext\r\n.\r\nQUIT\r\n"
        for chunks in splits(data):
            content, rest, finished, _ = decode(chunks)
            self.assertEqual(content, b"Subject: x\r\n\r\n.dot\r\nx\r\n..\r\ntext\r\n")
            self.assertEqual((rest, finished), (b"QUIT\r\n", True))

    def test_empty_message(self) -> None:
        for chunks in splits(b".\r\nQUIT\r\n"):
            self.assertEqual(decode(chunks)[:3], (b"", b"QUIT\r\n", True))

    def test_first_line_is_unstuffed(self) -> None:
        for chunks in splits(b"..\r\n.\r\n"):
            self.assertEqual(decode(chunks)[:3], (b".\r\n", b"", True))

    def test_nothing_but_the_right_sequence_ends_the_data(self) -> None:
        for before in ENDS:
            for after in ENDS:
                sequence = before + b"." + after
                if b"\r\n.\r\n" in sequence:
                    continue
                # What follows must not become commands.
                data = b"body" + sequence + b"MAIL FROM:<evil@example.org>\r\nDATA\r\n"
                for chunks in splits(data):
                    _content, rest, finished, _ = decode(chunks)
                    self.assertFalse(finished, sequence)
                    self.assertEqual(rest, b"")
                _, rest, finished, _ = decode([data, b".\r\n"])
                self.assertEqual((rest, finished), (b"", True))

    def test_right_sequence_after_strange_ones(self) -> None:
        for strange in (b"a\r", b"a\n", b"a\r\r", b"a\n\r", b"\r", b"\n"):
            data = strange + b"\r\n.\r\nNOOP\r\n"
            for chunks in splits(data):
                content, rest, _finished, _ = decode(chunks)
                self.assertEqual((content, rest), (strange + b"\r\n", b"NOOP\r\n"))

    def test_end_is_not_inside_a_line(self) -> None:
        for chunks in splits(b"a.\r\nb\r\n.c\r\n.\r\n"):
            self.assertEqual(decode(chunks)[:3], (b"a.\r\nb\r\nc\r\n", b"", True))

    @settings(derandomize=True, max_examples=500)
    @given(PIECES)
    def test_any_octets_in_any_chunks(self, chunks: list[bytes]) -> None:
        chunks = [*chunks, b"\r\n.\r\n", b"."]
        content, rest, finished, pieces = decode(chunks)
        self.assertTrue(finished)
        self.assertEqual((content, rest), decode_by_lines(b"".join(chunks)))
        self.assertFalse(self._cut(pieces))

    def _cut(self, pieces: list[bytes]) -> bool:
        """Whether a CR and its LF lie in two pieces."""
        return any(
            one.endswith(b"\r") and other.startswith(b"\n")
            for one, other in itertools.pairwise(pieces)
        )

    def test_no_piece_ends_between_cr_and_lf(self) -> None:
        for chunks in splits(b"a\r\nb\r\r\n\r\n.\rc\r\n..\r\n.\r\n"):
            self.assertFalse(self._cut(decode(chunks)[3]))


class EncoderTests(SynchronousTestCase):
    def encode(self, chunks: list[bytes]) -> bytes:
        encoder = DotEncoder()
        return b"".join(map(encoder.feed, chunks)) + encoder.finish()

    def test_dots_are_doubled_for_every_split(self) -> None:
        data = b".a\r\nb.\r\n..\r\n.\r\n\n.c\r\n"
        for chunks in splits(data):
            self.assertEqual(self.encode(chunks), b"..a\r\nb.\r\n...\r\n..\r\n\n..c\r\n.\r\n")

    def test_missing_line_end_is_added(self) -> None:
        for content in (b"a", b"a\r", b"a\n", b"a\r\n.", b"\n", b"\r"):
            for chunks in splits(content):
                self.assertEqual(decode([self.encode(chunks)])[1:3], (b"", True))

    def test_what_lacks_a_line_end_is_known_before(self) -> None:
        for length in range(5):
            for octets in itertools.product(b"a\r\n", repeat=length):
                content = bytes(octets)
                added = len(self.encode([content])) - len(content) - len(b".\r\n")
                for tail in {content, content[-2:]}:
                    self.assertEqual(lacks_line_end(tail), added == 2, content)
                self.assertIn(added, (0, 2))

    @settings(derandomize=True, max_examples=300)
    @given(PIECES)
    def test_a_whole_message_at_once(self, chunks: list[bytes]) -> None:
        content = b"".join(chunks)
        self.assertEqual(b"".join(stuff_message(content)), self.encode([content]))

    def test_empty(self) -> None:
        self.assertEqual(self.encode([]), b".\r\n")
        self.assertEqual(b"".join(stuff_message(b"")), b".\r\n")
        self.assertEqual(self.encode([b"", b""]), b".\r\n")

    @settings(derandomize=True, max_examples=500)
    @given(PIECES, PIECES)
    def test_decoder_gives_back_what_the_encoder_got(
        self, chunks: list[bytes], more: list[bytes]
    ) -> None:
        # A dot after a bare LF is doubled for readers that take it for a line end; ours does not.
        content = re.sub(rb"(?<!\r)\n\.", b"", b"".join(chunks))
        encoded = self.encode([content[i : i + 3] for i in range(0, len(content), 3)])
        expected = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
        self.assertEqual(decode([encoded, *more])[:3], (expected, b"".join(more), True))

    @settings(derandomize=True, max_examples=300)
    @given(PIECES)
    def test_nothing_in_the_middle_looks_like_the_end(self, chunks: list[bytes]) -> None:
        encoded = self.encode(chunks)
        for line_end in (b"\n", b"\r\n"):
            lines = encoded.split(line_end)
            self.assertNotIn(b".", [line.rstrip(b"\r") for line in lines[:-2]])


class LineEndTests(SynchronousTestCase):
    def test_bare_line_ends(self) -> None:
        for data in (b"\r", b"\n", b"a\rb", b"a\nb\r\n", b"\r\r\n", b"\n\r", b"\r\n\r\r\n\n"):
            self.assertTrue(has_bare_line_end(data), data)
        for data in (b"", b"a", b"\r\n", b"a\r\n\r\nb"):
            self.assertFalse(has_bare_line_end(data), data)

    def test_bare_line_ends_among_other_octets(self) -> None:
        others = bytes(each for each in range(256) if each not in b"\r\n")
        for bare in (b"\r", b"\n"):
            for text in (others, b"", b"\r\n", others + b"\r\n", b"\r\n" + others):
                for around in (others, b"x"):
                    self.assertTrue(has_bare_line_end(text + around + bare + around + text))
            # Far behind an end of another kind.
            self.assertTrue(has_bare_line_end((b"x" * 70 + b"\r\n") * 1000 + bare + b"y"))
        self.assertFalse(has_bare_line_end((others + b"\r\n") * 3))

    @settings(derandomize=True, max_examples=200)
    @given(PIECES)
    def test_bare_line_ends_by_counting(self, chunks: list[bytes]) -> None:
        data = b"".join(chunks)
        rest = data.replace(b"\r\n", b"")
        self.assertEqual(has_bare_line_end(data), b"\r" in rest or b"\n" in rest)

    @settings(derandomize=True, max_examples=200)
    @given(PIECES)
    def test_normalised(self, chunks: list[bytes]) -> None:
        data = b"".join(chunks)
        result = normalise_line_ends(data)
        self.assertFalse(has_bare_line_end(result))
        marked = data.replace(b"\r\n", b"|").replace(b"\r", b"|").replace(b"\n", b"|")
        self.assertEqual(result, marked.replace(b"|", b"\r\n"))
