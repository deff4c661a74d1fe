"""Chunks of a message: counts, and line ends cut between them."""

from __future__ import annotations

import itertools

from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire.chunks import ChunkDecoder


class ChunkDecoderTests(SynchronousTestCase):
    def test_content_and_what_follows(self) -> None:
        decoder = ChunkDecoder()
        decoder.begin(3, last=False)
        self.assertFalse(decoder.complete)
        self.assertEqual(decoder.feed(b"ab"), (b"ab", b""))
        self.assertEqual(decoder.feed(b"cd"), (b"c", b"d"))
        self.assertEqual((decoder.complete, decoder.finished), (True, False))
        decoder.begin(0, last=True)
        self.assertEqual(decoder.feed(b""), (b"", b""))
        self.assertEqual((decoder.complete, decoder.finished), (True, True))

    def test_a_carriage_return_waits_for_the_next_octet(self) -> None:
        decoder = ChunkDecoder()
        decoder.begin(2, last=False)
        self.assertEqual(decoder.feed(b"a\r"), (b"a", b""))
        decoder.begin(2, last=False)
        self.assertEqual(decoder.feed(b"\n\r"), (b"\r\n", b""))
        decoder.begin(1, last=True)
        self.assertEqual(decoder.feed(b"\r"), (b"\r\r", b""))

    def test_every_cut_gives_the_same_content(self) -> None:
        content = b"\r\n\r\ra\n\r\r\n"
        for cut in range(len(content) + 1):
            decoder = ChunkDecoder()
            decoder.begin(cut, last=False)
            pieces = [decoder.feed(content[:cut])[0]]
            decoder.begin(len(content) - cut, last=True)
            rest = content[cut:]
            pieces += [decoder.feed(rest[i : i + 1])[0] for i in range(len(rest))]
            if not rest:
                pieces.append(decoder.feed(b"")[0])
            self.assertEqual(b"".join(pieces), content)
            whole = [piece for piece in pieces if piece]
            for before, after in itertools.pairwise(whole):
                self.assertFalse(before.endswith(b"\r") and after.startswith(b"\n"), pieces)
