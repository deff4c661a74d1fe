"""Transfer encodings, texts, and what a search looks into."""

from __future__ import annotations

import base64
import binascii
import mmap
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime.content import (
    decode_body,
    decode_quoted_printable,
    decode_uuencode,
    header_text,
    iter_text,
    part_text,
)
from mailkit.mime.headers import parse_header
from mailkit.mime.parts import parse_message


def message(encoding: bytes, body: bytes, content_type: bytes = b"text/plain") -> bytes:
    return b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (
        content_type,
        encoding,
        body,
    )


class QuotedPrintableTests(SynchronousTestCase):
    def test_rfc_2045_section_6_7(self) -> None:
        self.assertEqual(
            decode_quoted_printable(
                b"Now's the time =\r\nfor all folk to come=\r\n to the aid of their country."
            ),
            b"Now's the time for all folk to come to the aid of their country.",
        )

    def test_white_space_at_line_ends_goes(self) -> None:
        self.assertEqual(
            decode_quoted_printable(b"a \t\r\nb=20 \r\nc= \r\nd\t\n"), b"a\r\nb \r\ncd\n"
        )
        self.assertEqual(decode_quoted_printable(b"a \r \r\n\t\n b\t "), b"a \r\r\n\n b")
        self.assertEqual(decode_quoted_printable(b"a \n b \r"), b"a\n b \r")

    def test_broken(self) -> None:
        self.assertEqual(decode_quoted_printable(b"a=3Db=zz=4"), b"a=b=zz=4")
        self.assertEqual(decode_quoted_printable(b"a="), b"a")


class UuencodeTests(SynchronousTestCase):
    def test_one_file(self) -> None:
        content = bytes(range(256))
        lines = [b"Text before", b"begin 644 a.bin"]
        lines += [binascii.b2a_uu(content[i : i + 45]).rstrip(b"\n") for i in range(0, 256, 45)]
        lines += [b"`", b"end", b"#86)C"]
        for line_end in (b"\n", b"\r\n"):
            self.assertEqual(decode_uuencode(line_end.join(lines)), content)

    def test_no_file(self) -> None:
        self.assertEqual(decode_uuencode(b"begin with this\r\nend"), b"begin with this\r\nend")

    def test_bad_lines_are_skipped(self) -> None:
        self.assertEqual(decode_uuencode(b"begin 644 a\n\xff\xff\xff\n#86)C\n"), b"abc")


class DecodeBodyTests(SynchronousTestCase):
    def decode(self, data: bytes, limit: int | None = None) -> bytes:
        return decode_body(data, parse_message(data), limit)

    def test_encodings(self) -> None:
        for encoding, body, decoded in (
            (b"base64", b"SGVs\r\nbG8=\r\n", b"Hello"),
            (b"BASE64", b"SGVs\r\nbG8=\r\n", b"Hello"),
            (b"Quoted-Printable", b"a=\r\n=62", b"ab"),
            (b"quoted-printable (x); y", b"=61", b"a"),
            (b"x-uuencode", b"begin 644 a\n#86)C\n`\nend\n", b"abc"),
            (b"7bit", b"a=61\r\n", b"a=61\r\n"),
            (b"8bit", b"\xff\0", b"\xff\0"),
            (b"x-unknown", b"a=61", b"a=61"),
            (b"", b"a=61", b"a=61"),
        ):
            self.assertEqual(self.decode(message(encoding, body)), decoded, encoding)

    def test_encoding_of_a_multipart_does_not_count(self) -> None:
        data = message(b"base64", b"--x\r\n\r\na\r\n--x--\r\n", b"multipart/mixed; boundary=x")
        self.assertEqual(self.decode(data), b"--x\r\n\r\na\r\n--x--\r\n")

    def test_limit(self) -> None:
        content = b"\xff" * 5000
        for encoding, body in (
            (b"base64", base64.encodebytes(content).replace(b"\n", b"\r\n")),
            (b"quoted-printable", b"=\r\n".join([b"=FF" * 25] * 200)),
            (b"x-uue", b"begin 644 a\n" + binascii.b2a_uu(b"\xff" * 40) * 125 + b"`\nend\n"),
            (b"binary", content),
        ):
            for limit in (0, 1, 1000, len(content), 10**6):
                self.assertEqual(self.decode(message(encoding, body), limit), content[:limit])

    def test_memory_map(self) -> None:
        data = message(b"base64", b"SGVsbG8=")
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                self.assertEqual(decode_body(mapped, parse_message(mapped)), b"Hello")


class TextTests(SynchronousTestCase):
    def text(self, content_type: bytes, body: bytes) -> str:
        data = message(b"8bit", body, content_type)
        return part_text(data, parse_message(data))

    def test_charsets(self) -> None:
        self.assertEqual(self.text(b"text/plain; charset=utf-8", b"\xc3\xa4"), "\xe4")
        self.assertEqual(self.text(b"text/plain; charset=iso-8859-15", b"\xa4"), "\u20ac")
        self.assertEqual(self.text(b'text/html; CHARSET="koi8-r"', b"\xf0"), "\u041f")
        self.assertEqual(self.text(b"text/plain", b"\xc3\xa4"), "\xe4")
        self.assertEqual(self.text(b"text/plain; charset=nobody-knows", b"\xe4"), "\xe4")

    def test_header_text(self) -> None:
        header = parse_header(b"Subject: =?utf-8?Q?=C3=A4?=\r\n b\r\njunk\r\n\r\n")
        self.assertEqual(header_text(header), "Subject: \xe4 b\njunk")


SEARCHED = (
    b"Subject: =?utf-8?Q?outer=20=C3=A4?=\r\n"
    b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n'
    b"preamble\r\n"
    b"--x\r\nContent-Description: first\r\n\r\nplain\r\n"
    b"--x\r\nContent-Type: text/html; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>=E4</p>\r\n"
    b"--x\r\nContent-Type: image/gif\r\nContent-Transfer-Encoding: base64\r\n\r\ncGljdHVyZQ==\r\n"
    b"--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner body\r\n"
    b"--x\r\nContent-Type: message/delivery-status\r\n\r\nStatus: 5.1.1\r\n"
    b"--x--\r\nepilogue\r\n"
)


class SearchTests(SynchronousTestCase):
    """RFC 9051 section 6.4.4: BODY and TEXT."""

    def test_body(self) -> None:
        root = parse_message(SEARCHED)
        self.assertEqual(
            list(iter_text(SEARCHED, root, headers=False)),
            ["plain", "<p>\xe4</p>", "inner body", "Status: 5.1.1"],
        )

    def test_text(self) -> None:
        text = "\n".join(iter_text(SEARCHED, parse_message(SEARCHED)))
        for found in ("outer \xe4", "Description: first", "plain", "<p>\xe4</p>", "Subject: inner"):
            self.assertIn(found, text)
        for missing in ("preamble", "epilogue", "picture"):
            self.assertNotIn(missing, text)

    def test_multipart_without_parts_is_searched_as_text(self) -> None:
        data = b"Content-Type: multipart/mixed\r\n\r\nlost text"
        self.assertEqual(list(iter_text(data, parse_message(data), headers=False)), ["lost text"])

    def test_limit(self) -> None:
        data = b"\r\n" + b"x" * 1000
        self.assertEqual(
            list(iter_text(data, parse_message(data), headers=False, limit=10)), ["x" * 10]
        )
