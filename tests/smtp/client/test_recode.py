"""Bodies that are encoded already, and do not fit as they are."""

from __future__ import annotations

import base64
import email
import quopri
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from mailkit.smtp.client.commands import Unsendable
from tests.smtp.client import converting

MAX_LINE = 998
convert = partial(converting.convert, max_line=MAX_LINE)


def head(encoding: str, content_type: str = "text/plain; charset=utf-8") -> bytes:
    fields = f"From: ann@example.org\r\nMIME-Version: 1.0\r\nContent-Type: {content_type}\r\n"
    return f"{fields}Content-Transfer-Encoding: {encoding}\r\n\r\n".encode()


class RecodeTests(SynchronousTestCase):
    """RFC 2045 section 6.4: nothing is encoded twice."""

    def body(self, message: bytes, header: bytes) -> bytes:
        self.assertTrue(message.startswith(header))
        body = message[len(header) :]
        self.assertTrue(body.isascii() and b"\0" not in body)
        self.assertEqual(body.count(b"\r"), body.count(b"\r\n"))
        self.assertEqual(body.count(b"\n"), body.count(b"\r\n"))
        self.assertLessEqual(max(map(len, body.split(b"\r\n"))), 76)
        return body

    def decoded(self, message: bytes) -> object:
        return email.message_from_bytes(message).get_payload(decode=True)

    def test_base64_on_one_line(self) -> None:
        content = bytes(range(256)) * 1000
        for encoded in (
            base64.b64encode(content),
            base64.b64encode(content).rstrip(b"="),
            base64.b64encode(content)[:1000] + b" \n\r\n\r\n" + base64.b64encode(content)[1000:],
        ):
            for end in (b"", b"\r\n"):
                for keep_8bit in (False, True):
                    converted = convert(head("Base64") + encoded + end, keep_8bit=keep_8bit)
                    body = self.body(converted, head("Base64"))
                    self.assertEqual(
                        body.translate(None, b"\r\n="), encoded.translate(None, b" \r\n=")
                    )
                    self.assertEqual(body.count(b"\r\n\r\n"), 0)
                    self.assertTrue(body.endswith(b"\r\n"))
                    self.assertEqual(base64.b64decode(body + b"=="), content)

    def test_base64_with_octets_that_readers_ignore(self) -> None:
        content = b"hello" * 100
        lines = base64.encodebytes(content).replace(b"\n", b"\r\n")
        for stray in (b"\0", b"\r"):
            converted = convert(head("base64") + lines[:80] + stray + lines[80:], max_line=None)
            self.assertEqual(converted, head("base64") + lines)

    def test_base64_with_octets_of_eight_bits(self) -> None:
        """They may be text that somebody has added: they stay, or the message does not go."""
        lines = base64.encodebytes(b"hello" * 100).replace(b"\n", b"\r\n")
        for content in (lines, b"aGVsbG8=\r\n", lines.replace(b"\r\n", b"")):
            for stray in (b"\xc2\xa0\r\n", "\r\n-- \r\nListe für alle\r\n".encode()):
                message = head("base64") + content + stray
                self.assertEqual(convert(message, keep_8bit=True, max_line=MAX_LINE), message)
                with self.assertRaises(Unsendable) as caught:
                    convert(message)
                self.assertEqual(caught.exception.enhanced, "5.6.3")

    def test_text_that_is_no_base64(self) -> None:
        for text in ("Привет мир\r\n", "お元気ですか 2026\r\n", "Grüße, Jörg\r\n" * 9999):
            message = head("base64") + text.encode()
            converted = convert(message)
            self.assertTrue(converted.isascii())
            self.assertNotIn(b": base64", converted)
            self.assertEqual(self.decoded(converted), text.encode())
            self.assertEqual(convert(message, keep_8bit=True), message)
        converted = convert(head("base64", "application/octet-stream") + "Grüße\r\n".encode())
        self.assertIn(b": base64\r\n\r\n", converted)
        self.assertEqual(self.decoded(converted), "Grüße\r\n".encode())

    def test_base64_within_a_multipart(self) -> None:
        parts = []
        for octets in (b"a" * 3000, b"b" * 57):
            header = b"Content-Transfer-Encoding: base64\r\n\r\n"
            parts.append(b"--b\r\n" + header + base64.b64encode(octets) + b"\r\n")
        message = head("7bit", 'multipart/mixed; boundary="b"') + b"".join(parts) + b"--b--\r\n"
        converted = convert(message)
        first = email.message_from_bytes(converted).get_payload(0)
        self.assertEqual(first.get_payload(decode=True), b"a" * 3000)
        self.assertTrue(converted.endswith(b"\r\n" + parts[1] + b"--b--\r\n"))
        # A delimiter brings its own line end.
        self.assertIn(b"YWFh\r\n--b\r\n", converted)

    def test_quoted_printable_on_one_line(self) -> None:
        for encoded in (
            b"caf=C3=A9 " * 20_000 + b"end",
            b"=3D" * 30_000 + b"=\r\n" + b"x" * 999,
            b"x" * 1000 + b" \t=\t\r\nend",
            b"x" * 57 * 1024 + b"\r\n" + b"y=zz= =" * 200,
            *(b"x" * (57 * 1024 - number) + b"=C3=A9" * 200 for number in range(5)),
        ):
            body = self.body(convert(head("quoted-printable") + encoded), head("quoted-printable"))
            wanted = quopri.decodestring(encoded.replace(b" \t=\t\r\n", b" \t=\r\n"))
            self.assertEqual(quopri.decodestring(body), wanted)

    def test_quoted_printable_with_octets_of_eight_bits(self) -> None:
        message = head("quoted-printable") + b"caf=C3=A9 and caf\xc3\xa9 =\r\nfine =zz \r\n"
        wanted = head("quoted-printable") + b"caf=C3=A9 and caf=C3=A9 =\r\nfine =zz \r\n"
        self.assertEqual(convert(message), wanted)
        # What quotes nothing must not quote the next octet.
        self.assertEqual(
            convert(head("quoted-printable") + b"a=\xe9=C3"),
            head("quoted-printable") + b"a=3D=E9=C3",
        )

    def test_quoted_printable_with_other_line_ends(self) -> None:
        encoded = b"a\nb=\nc\rd\0 =\n"
        body = self.body(
            convert(head("quoted-printable") + encoded, keep_8bit=True), head("quoted-printable")
        )
        self.assertEqual(body, b"a=0A=\r\nb=\r\nc=0Dd=00 =\r\n")
        self.assertEqual(quopri.decodestring(body), quopri.decodestring(encoded))

    def test_quoted_printable_with_blanks_at_the_end(self) -> None:
        """RFC 2045 section 6.7 (3): they are padding, and no soft line break may make them content."""
        for number in range(60, 80):
            for blanks in (b" ", b" \t  "):
                for end in (b"", b"\r\n"):
                    text = b"a" * number
                    message = head("quoted-printable") + text + b"=C3\xa9" + blanks + end
                    self.assertEqual(self.decoded(convert(message)), text + "é".encode() + end)

    def test_what_stays_as_it_is(self) -> None:
        long = b"x" * 1200 + b"\r\n"
        for message in (
            head("x-uuencode") + b"begin 644 " + long + b"end\r\n",
            head("x-yenc") + long,
            head("mac-binhex40") + long,
            # It is no base64, and a reader may see that, too.
            head("base64") + b"-- \r\nYWE=\r\n" + long,
            head("quoted-printable", "message/rfc822") + b"Subject: x\r\n\r\n" + long,
        ):
            self.assertEqual(convert(message), message)
            with self.assertRaises(Unsendable) as caught:
                convert(message.replace(b"x" * 1200, b"\xff"))
            self.assertEqual(caught.exception.enhanced, "5.6.3")
            eight_bit = message.replace(b"x" * 1200, b"\xff")
            self.assertEqual(convert(eight_bit, keep_8bit=True), eight_bit)

    def test_messages_that_are_encoded(self) -> None:
        """RFC 6532 section 3.7, and against RFC 2046 section 5.2."""
        inner = "From: ü@example.org\r\n\r\n".encode() + b"x" * 2000 + b"\r\n"
        for kind in ("message/global", "message/rfc822", "message/delivery-status"):
            header = head("base64", kind)
            body = self.body(convert(header + base64.b64encode(inner)), header)
            self.assertEqual(base64.b64decode(body), inner)
        header = head("quoted-printable", "message/global")
        encoded = inner.replace("ü".encode(), b"=C3=BC")
        body = self.body(convert(header + encoded), header)
        self.assertEqual(quopri.decodestring(body), inner)

    def test_words_that_are_no_encoding(self) -> None:
        for word in ("8-bit", "utf-8", "binary", "none", "x-unknown", "x-8bit"):
            converted = convert(head(word) + "Grüße\r\n".encode() + b"x" * 1200)
            self.assertEqual(self.decoded(converted), "Grüße\r\n".encode() + b"x" * 1200)
            self.assertNotIn(f"Encoding: {word}".encode(), converted)

    def test_ascii_without_a_type_has_no_unknown_charset(self) -> None:
        """RFC 2045 section 5.2: it is US-ASCII."""
        field = b"From: ann@example.org\r\n"
        converted = convert(field + b"\r\n" + b"x" * 1200)
        self.assertNotIn(b"Content-Type", converted)
        self.assertEqual(self.decoded(converted), b"x" * 1200)
        self.assertIn(b"charset=unknown-8bit", convert(field + b"\r\n" + b"x" * 1200 + b"\xff"))
