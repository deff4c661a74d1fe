"""The first words of messages."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit._typing import override
from mailkit.mime import parse_message, preview_text
from mailkit.mime.preview import MAX_PREVIEW, without_markup
from tests.mime.corpus import MISSING, messages


def preview(octets: bytes) -> str:
    return preview_text(octets, parse_message(octets))


def html(body: str) -> str:
    return preview(b"Content-Type: text/html; charset=utf-8\r\n\r\n" + body.encode())


class Counted(str):
    """Counts what was looked for in vain, from one place to the end."""

    missed = 0

    @override
    def find(self, *args: Any) -> int:
        place: int = super().find(*args)
        self.missed += place < 0
        return place


class PreviewTests(SynchronousTestCase):
    def test_plain_text(self) -> None:
        self.assertEqual(
            preview(b"Subject: x\r\n\r\nHello,\r\n\r\n\tthis  is it.\r\n"), "Hello, this is it."
        )
        self.assertEqual(preview(b"Subject: x\r\n\r\n"), "")
        self.assertEqual(preview(b""), "")

    def test_length(self) -> None:
        text = preview(b"\r\n\r\n" + "äöü ".encode() * 500)
        self.assertEqual(text, ("äöü " * 50)[:MAX_PREVIEW].rstrip())
        self.assertLessEqual(len(text), MAX_PREVIEW)

    def test_encodings(self) -> None:
        head = (
            b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: %b\r\n\r\n"
        )
        self.assertEqual(
            preview(head % b"quoted-printable" + b"caf=E9 au =\r\nlait"), "café au lait"
        )
        self.assertEqual(preview(head % b"base64" + b"Y2Fm6Q=="), "café")

    def test_quoted_lines_and_signature(self) -> None:
        text = b"\r\n> What do you think?\r\n  > > nested\r\nYes.\r\n-- \r\nAnn\r\n"
        self.assertEqual(preview(b"\r\n" + text), "Yes.")
        self.assertEqual(preview(b"\r\n> only this\r\n-- \r\nAnn\r\n"), "> only this -- Ann")

    def test_invisible_characters(self) -> None:
        self.assertEqual(
            html("<p>Sale\u200b\u200c\u034f &zwnj;&nbsp;&#8203; now\0</p>"), "Sale now"
        )

    def test_html(self) -> None:
        self.assertEqual(
            html(
                "<!DOCTYPE html><html><head><title>T</title><style>p {}</style></head><body>"
                "<script>if (1 < 2) x();</script><h1>One</h1><p>t<b>w</b>o &amp; &lt;three&gt;"
                "<br>four<!-- no --></p>"
            ),
            "One two & <three> four",
        )
        # What nobody has closed.
        self.assertEqual(html("<head><title>T<body>text <b>goes on"), "text goes on")
        self.assertEqual(html('a <b c="d e'), "a")
        self.assertEqual(html("<![foo[ x"), "")

    def test_less_than_in_other_places(self) -> None:
        for text, words in (
            ("1 < 2 <3", "1 < 2 <3"),
            ("<img alt=\"a > b\"><a href = 'x>y'>link</a>", "link"),
            ("<p title=Bob's>it's</p>", "it's"),
            ("<script>if (a<b) x = '</p>'</SCRIPT>z<style/>y", "zy"),
            ("<!-->a<!-- > --b-->c<![if !mso]>d<!doctype x></ >e", "acde"),
            ("a<style>b", "a"),
            ("a<!-- b", "a"),
            # The rest as the HTML Standard's section 13.2.5 has it.
            ("a<!--!>b--!>c<!--<!--!>d<!--->e", "acde"),
            ("a<?x y=\">b</ c='>d<!e '>f", "abdf"),
            ("a<p<b>c", "ac"),
            ("a<b c='d>e<b>f", "a"),
        ):
            self.assertEqual(html(text), words, text)

    def test_what_has_no_end_is_looked_for_once(self) -> None:
        for piece in ("<!--", "<a ", '<a href="', "<a b='", "</a", "<?", "<a b=\"<a b='"):
            text = Counted(piece * 100)
            without_markup(text)
            self.assertLess(text.missed, 5, piece)

    def test_parts(self) -> None:
        head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n"
        part = b"--b\r\nContent-Type: %b\r\n\r\n%b\r\n"
        self.assertEqual(
            preview(head + part % (b"image/png", b"x") + part % (b"text/html", b"<p>hi")), "hi"
        )
        # An empty part says nothing.
        self.assertEqual(
            preview(head + part % (b"text/plain", b" ") + part % (b"text/plain", b"two")), "two"
        )
        attached = b"text/plain\r\nContent-Disposition: attachment"
        self.assertEqual(
            preview(head + part % (attached, b"one") + part % (b"text/plain", b"two")), "two"
        )
        self.assertEqual(preview(head + part % (b"application/pkcs7-mime", b"secret")), "")
        self.assertEqual(
            preview(head + part % (b"text/plain", b" ") * 10 + part % (b"text/plain", b"x")), ""
        )

    @given(st.text(alphabet="<>!-/[]ab &;#x\"'=\n", max_size=200))
    @settings(max_examples=200, deadline=None)
    def test_any_markup(self, text: str) -> None:
        self.assertLessEqual(len(html(text)), MAX_PREVIEW)

    def test_the_corpus(self) -> None:
        if MISSING:
            self.skipTest(MISSING)
        found = [preview(octets) for _, octets in messages()]
        self.assertTrue(all(len(text) <= MAX_PREVIEW and text.isprintable() for text in found))
        self.assertGreater(sum(map(bool, found)), len(found) * 0.7)
