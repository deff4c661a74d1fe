"""Line ends of text."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire.lineends import FromNetwork, ToNetwork


class LineEndTests(SynchronousTestCase):
    def test_every_split_gives_the_same(self) -> None:
        for text in (b"a\nb\r\nc\rd\n", b"\n\n", b"\r\n", b"\r", b"\r\r\n"):
            whole = ToNetwork().convert(text)
            back = FromNetwork()
            received = back.convert(text) + back.rest()
            for place in range(len(text) + 1):
                out, lines = ToNetwork(), FromNetwork()
                parts = text[:place], text[place:]
                self.assertEqual(b"".join(map(out.convert, parts)), whole, (text, place))
                split = b"".join(map(lines.convert, parts)) + lines.rest()
                self.assertEqual(split, received, (text, place))
        self.assertEqual(ToNetwork().convert(b"a\nb\r\n"), b"a\r\nb\r\n")
