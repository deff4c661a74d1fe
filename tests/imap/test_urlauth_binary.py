"""URLAUTH=BINARY (RFC 5524)."""

from __future__ import annotations

from typing import Any

from mailkit._typing import override
from mailkit.imap import content
from tests.imap.support import Server, ServerTestCase

STRUCTURED = (
    b"Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BC=C3=9Fe\r\n"
    b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORwAA\r\n"
    b"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: x-odd\r\n\r\nodd\r\n"
    b"--b--\r\n"
)
STRUCTURE = b'("text" "plain" ("charset" "utf-8") NIL NIL "quoted-printable" 14 1 NIL NIL NIL NIL)'


class ExtendedTests(ServerTestCase):
    @override
    def setUp(self) -> None:
        self.server = self.make_server()
        self.server.add(STRUCTURED)
        self.client = self.server.login()

    def signed(self, tail: bytes) -> bytes:
        url = b"imap://ann%%40example.org@example.org/INBOX/;uid=1%b;urlauth=anonymous" % tail
        line, _ = self.client.command(b'GENURLAUTH "%b" INTERNAL' % url)
        return line.partition(b'"')[2][:-1]

    def fetch(self, tail: bytes, wanted: bytes) -> bytes:
        url = self.signed(tail)
        line, last = self.client.command(b'URLFETCH ("%b"%b)' % (url, wanted))
        self.assertEqual(last, b"OK URLFETCH completed")
        begin = b'* URLFETCH "%b" ' % url
        self.assertTrue(line.startswith(begin), line)
        return line[len(begin) :]

    def test_decoded(self) -> None:
        # RFC 5524 section 4
        header = STRUCTURED.split(b"--b\r\n")[1].partition(b"gr=")[0]
        for section, value in (
            (b"1", b"{7}\r\ngr\xc3\xbc\xc3\x9fe)"),
            (b"2", b"~{6}\r\n\x89PNG\0\0)"),
            (b"3", b"NIL)"),
            (b"1.MIME", b"{%d}\r\n%b)" % (len(header), header)),
        ):
            answer = self.fetch(b"/;section=" + section, b" BINARY")
            self.assertEqual(answer, b"(BINARY " + value)

    def test_as_it_is(self) -> None:
        self.assertEqual(self.fetch(b"/;section=2", b" BODY"), b"(BODY {8}\r\niVBORwAA)")
        self.assertEqual(self.fetch(b"/;section=2", b""), b"{8}\r\niVBORwAA")

    def test_structure(self) -> None:
        answer = self.fetch(b"/;section=1", b" BODYPARTSTRUCTURE binary")
        self.assertTrue(answer.startswith(b"(BODYPARTSTRUCTURE (" + STRUCTURE[1:20]), answer)
        self.assertIn(b") (BINARY {", answer)
        whole = self.fetch(b"", b" BODYPARTSTRUCTURE")
        self.client.command("SELECT INBOX")
        told = self.client.command("FETCH 1 BODYSTRUCTURE")[0]
        structure = told.partition(b"BODYSTRUCTURE ")[2]
        self.assertEqual(whole, b"(BODYPARTSTRUCTURE " + structure)
        self.assertEqual(
            self.fetch(b"/;section=HEADER", b" BODYPARTSTRUCTURE"), b"(BODYPARTSTRUCTURE NIL)"
        )

    def test_octets_of_a_decoded_part(self) -> None:
        # RFC 3516 section 4.2: counted without the encoding.
        self.assertEqual(
            self.fetch(b"/;section=2/;partial=1.3", b" BINARY"), b"(BINARY ~{3}\r\nPNG)"
        )
        self.assertEqual(self.fetch(b"/;section=2/;partial=99.3", b" BINARY"), b"(BINARY ~{0}\r\n)")

    def test_large_messages(self) -> None:
        for small in (content.SMALL, 10):
            self.patch(content, "SMALL", small)
            self.assertEqual(self.fetch(b"/;section=2", b" BINARY")[:13], b"(BINARY ~{6}\r")
            self.assertTrue(self.fetch(b"", b" BODYPARTSTRUCTURE BINARY").endswith(b"--b--\r\n)"))

    def test_several(self) -> None:
        one, two = self.signed(b"/;section=1"), self.signed(b"/;section=2")
        lines = self.client.command(b'URLFETCH ("%b" BINARY) "%b" (nonsense BODY)' % (one, two))
        self.assertEqual(len(lines), 4)
        self.assertEqual(lines[1], b'* URLFETCH "%b" {8}\r\niVBORwAA' % two)
        self.assertEqual(lines[2], b'* URLFETCH "nonsense" NIL')

    def test_malformed(self) -> None:
        for text in (
            "(x BINARY BODY)",
            "(x BODY BODY)",
            "(x BINARY BODYPARTSTRUCTURE BINARY)",
            "(x ENVELOPE)",
            "(x BODY",
            "(x  BODY)",
            "()",
            "(x)(y)",
        ):
            line = self.client.command(f"URLFETCH {text}")[-1]
            self.assertTrue(line.startswith(b"BAD "), (text, line))
        self.assertEqual(self.client.command("URLFETCH (x)")[-1], b"OK URLFETCH completed")

    def test_switched_off(self) -> None:
        self.assertIn(b" URLAUTH=BINARY", self.client.command("CAPABILITY")[0])
        for without in ("URLAUTH=BINARY", "BINARY"):
            settings: dict[str, Any] = {"without": [without]}
            client = Server(**settings).login()
            self.assertNotIn(b"URLAUTH=BINARY", client.command("CAPABILITY")[0])
            self.assertTrue(client.command("URLFETCH (x BODY)")[0].startswith(b"BAD "))


class SQLiteExtendedTests(ExtendedTests):
    sqlite = True
