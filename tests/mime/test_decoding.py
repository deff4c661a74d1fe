"""Transfer encodings decoded piece by piece."""

from __future__ import annotations

import base64
import binascii
import copy
import quopri
import random

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime import decoding
from mailkit.mime.content import decode_quoted_printable, decode_uuencode
from mailkit.mime.decoding import (
    Base64Decoder,
    Decoder,
    QuotedPrintableDecoder,
    UUDecoder,
    make_decoder,
)
from mailkit.mime.words import decode_base64


def run(decoder: Decoder, *pieces: bytes) -> bytes:
    return b"".join([*map(decoder.feed, pieces), decoder.finish()])


def uuencoded(content: bytes) -> bytes:
    lines = [content[start : start + 45] for start in range(0, len(content), 45)]
    encoded = [binascii.b2a_uu(line).rstrip(b"\n") for line in lines]
    return b"\r\n".join([b"Look:", b"begin 644 a b", *encoded, b"`", b"end", b"Bye"])


class PieceTests(SynchronousTestCase):
    """However the octets are cut, the same comes out."""

    def check_splits(self, make: type[Decoder], data: bytes, expected: bytes) -> None:
        self.assertEqual(run(make(), data), expected)
        for position in range(len(data)):
            self.assertEqual(run(make(), data[:position], data[position:]), expected, position)
        octets = [data[position : position + 1] for position in range(len(data))]
        self.assertEqual(run(make(), *octets), expected)

    def test_base64(self) -> None:
        for data in (
            b"SGVsbG8sIHdvcmxkIQ==\r\n",
            b"SGVs\r\nbG8\r\n=",
            b"SGVsbG8",
            b"SGVsb",
            b"SGVs*bG8=SGVsbG8=\r\n\r\n-- \r\nlist footer",
            b"====\r\n=A=",
            b"",
        ):
            self.check_splits(Base64Decoder, data, decode_base64(data))

    def test_quoted_printable(self) -> None:
        for data in (
            b"Now's the time =\r\nfor all folk to come=\r\n to the aid  \r\nof \t\n  ",
            b"a=3Db=zz=4=\r\n=3",
            b"a= \r\nb==3D\r\n=\rx\n=",
            b"a \r \r\n\t\n b\t ",
            b"no end",
            b"",
        ):
            self.check_splits(QuotedPrintableDecoder, data, decode_quoted_printable(data))

    def test_uuencode(self) -> None:
        for data in (
            uuencoded(bytes(range(256))),
            uuencoded(b"x" * 50).replace(b"\r", b""),
            b"begin 644 x\n#86)C",
            b"begin 644 x\n#86)C\n\n*bad line\xff\n#86)C\nend\n#86)C\n",
        ):
            self.check_splits(UUDecoder, data, decode_uuencode(data))

    def test_what_is_not_uuencoded(self) -> None:
        decoder = UUDecoder()
        self.assertEqual(run(decoder, b"begin 9 x\r\nbegin 644 x"), b"")
        self.assertFalse(decoder.found)

    def test_overlong_lines(self) -> None:
        # RFC 2045 section 6.7 (5) has 76 octets; memory has a bound.
        self.patch(decoding, "MAX_LINE", 20)
        line = b"x=3Dy" * 30
        for data in (
            line,
            line + b"\r\nz=3D \r\n" + line,
            line[:21] + b"\n",
            b"\n" + line[:20] + b"\n",
        ):
            expected = run(QuotedPrintableDecoder(), data)
            self.assertEqual(expected, quopri.decodestring(data.replace(b" \r", b"\r")))
            self.check_splits(QuotedPrintableDecoder, data, expected)
        long = b"begin 644 x\n#86)C\n" + b"M" * 50 + b"\n#86)C\nend\n"
        self.check_splits(UUDecoder, long, b"abcabc")

    def test_memory_is_bounded(self) -> None:
        for make in (QuotedPrintableDecoder, UUDecoder):
            decoder = make()
            for _ in range(50):
                decoder.feed(b"x" * 10_000)
            self.assertLessEqual(len(decoder._line), decoding.MAX_LINE)

    def test_random_octets_are_decoded_as_in_one_piece(self) -> None:
        chance = random.Random(3516)
        alphabet = b"AbZ9+/==\r\n \t=3Dx\xff*"
        for _ in range(400):
            data = bytes(chance.choice(alphabet) for _ in range(chance.randrange(60)))
            cut = chance.randrange(len(data) + 1)
            for make, whole in (
                (Base64Decoder, decode_base64),
                (QuotedPrintableDecoder, decode_quoted_printable),
            ):
                self.assertEqual(run(make(), data[:cut], data[cut:]), whole(data), data)

    def test_a_copy_goes_on_from_where_it_was_made(self) -> None:
        encoded = base64.encodebytes(bytes(range(256)))
        decoder = Base64Decoder()
        first = decoder.feed(encoded[:101])
        other = copy.copy(decoder)
        decoder.feed(encoded[101:150])
        self.assertEqual(first + run(other, encoded[101:]), bytes(range(256)))


class NameTests(SynchronousTestCase):
    def test_names(self) -> None:
        for name in (b"7bit", b"8bit", b"binary"):
            decoder = make_decoder(name)
            assert decoder is not None
            self.assertEqual(run(decoder, b"=41\0"), b"=41\0")
        for name, kind in (
            (b"base64", Base64Decoder),
            (b"quoted-printable", QuotedPrintableDecoder),
            (b"x-uuencode", UUDecoder),
            (b"uuencode", UUDecoder),
            (b"x-uue", UUDecoder),
            (b"uue", UUDecoder),
        ):
            self.assertIsInstance(make_decoder(name), kind)
        for name in (b"", b"x-gzip64", b"base64 "):
            self.assertIsNone(make_decoder(name))
