"""Part numbers and body sections of IMAP."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime.headers import parse_header
from mailkit.mime.parts import parse_message, section_header, section_range
from tests.mime.test_parts import MIXED

# RFC 3501 section 6.4.5: the example of a complex message.
COMPLEX = (
    b"Subject: outer\r\n"
    + MIXED % b"1"
    + b"--1\r\nX-Part: 1\r\n\r\none\r\n"
    + b"--1\r\nContent-Type: application/octet-stream\r\n\r\ntwo\r\n"
    + b"--1\r\nContent-Type: message/rfc822\r\n\r\nSubject: three\r\n"
    + MIXED % b"3"
    + b"--3\r\n\r\nthree-one\r\n"
    + b"--3\r\nContent-Type: application/octet-stream\r\n\r\nthree-two\r\n--3--\r\n"
    + b"--1\r\n"
    + MIXED % b"4"
    + b"--4\r\nContent-Type: image/gif\r\n\r\nfour-one\r\n"
    + b"--4\r\nContent-Type: message/rfc822\r\n\r\nSubject: four-two\r\n"
    + MIXED % b"42"
    + b"--42\r\n\r\nfour-two-one\r\n"
    + b"--42\r\nContent-Type: multipart/alternative; boundary=422\r\n\r\n"
    + b"--422\r\n\r\nfour-two-two-one\r\n"
    + b"--422\r\nContent-Type: text/richtext\r\n\r\nfour-two-two-two\r\n--422--\r\n--42--\r\n"
    + b"--4--\r\n--1--\r\n"
)


class SectionTests(SynchronousTestCase):
    """RFC 3501 section 6.4.5: body sections."""

    def section(self, data: bytes, *numbers: int, kind: str = "") -> bytes | None:
        found = section_range(data, parse_message(data), numbers, kind)
        self.assertEqual(found, section_range(data, None, numbers, kind))
        return None if found is None else data[slice(*found)]

    def test_leaves(self) -> None:
        for numbers, body in (
            ((1,), b"one"),
            ((2,), b"two"),
            ((3, 1), b"three-one"),
            ((3, 2), b"three-two"),
            ((4, 1), b"four-one"),
            ((4, 2, 1), b"four-two-one"),
            ((4, 2, 2, 1), b"four-two-two-one"),
            ((4, 2, 2, 2), b"four-two-two-two"),
        ):
            self.assertEqual(self.section(COMPLEX, *numbers), body)

    def test_whole_message(self) -> None:
        self.assertEqual(self.section(COMPLEX), COMPLEX)
        header, text = self.section(COMPLEX, kind="HEADER"), self.section(COMPLEX, kind="TEXT")
        assert header is not None and text is not None
        self.assertEqual(header + text, COMPLEX)
        self.assertTrue(header.endswith(b"\r\n\r\n"))

    def test_embedded_messages(self) -> None:
        for numbers, subject in (((3,), b"three"), ((4, 2), b"four-two")):
            header = self.section(COMPLEX, *numbers, kind="HEADER")
            text = self.section(COMPLEX, *numbers, kind="TEXT")
            assert header is not None and text is not None
            self.assertTrue(header.startswith(b"Subject: %b\r\n" % subject))
            self.assertTrue(header.endswith(b"\r\n\r\n"))
            self.assertEqual(header + text, self.section(COMPLEX, *numbers))

    def test_mime_headers(self) -> None:
        for numbers, header in (
            ((1,), b"X-Part: 1\r\n\r\n"),
            ((2,), b"Content-Type: application/octet-stream\r\n\r\n"),
            ((3,), b"Content-Type: message/rfc822\r\n\r\n"),
            ((3, 1), b"\r\n"),
            ((4, 1), b"Content-Type: image/gif\r\n\r\n"),
            ((4, 2, 2), b"Content-Type: multipart/alternative; boundary=422\r\n\r\n"),
        ):
            self.assertEqual(self.section(COMPLEX, *numbers, kind="MIME"), header)

    def test_multiparts(self) -> None:
        body = self.section(COMPLEX, 4)
        assert body is not None
        self.assertTrue(body.startswith(b"--4\r\n"))
        self.assertTrue(body.endswith(b"--4--"))

    def test_sections_that_are_not_there(self) -> None:
        for numbers, kind in (
            ((5,), ""),
            ((0,), ""),
            ((1, 1), ""),
            ((2, 1), ""),
            ((3, 3), ""),
            ((4, 2, 1, 1), ""),
            ((), "MIME"),
            ((1,), "HEADER"),
            ((1,), "TEXT"),
            ((4,), "HEADER"),
            ((4,), "TEXT"),
            ((9,), "MIME"),
            ((), "JUNK"),
        ):
            self.assertIsNone(self.section(COMPLEX, *numbers, kind=kind), (numbers, kind))

    def test_message_that_is_no_multipart_has_part_1(self) -> None:
        data = b"Subject: x\r\n\r\nbody"
        self.assertEqual(self.section(data, 1), b"body")
        self.assertEqual(self.section(data, 1, kind="MIME"), b"Subject: x\r\n\r\n")
        for numbers in ((2,), (0,), (1, 1)):
            self.assertIsNone(self.section(data, *numbers))
        self.assertIsNone(self.section(data, 1, kind="HEADER"))

    def test_message_that_is_a_message(self) -> None:
        data = b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nbody"
        self.assertEqual(self.section(data, 1), b"Subject: inner\r\n\r\nbody")
        self.assertEqual(self.section(data, 1, kind="HEADER"), b"Subject: inner\r\n\r\n")
        self.assertEqual(self.section(data, 1, 1), b"body")
        self.assertIsNone(self.section(data, 1, 1, 1))
        self.assertIsNone(self.section(data, 1, 2))

    def test_multipart_without_parts_shows_an_empty_one(self) -> None:
        data = b"Content-Type: multipart/mixed\r\n\r\nlost"
        self.assertEqual(self.section(data, 1), b"")
        self.assertEqual(self.section(data, 1, kind="MIME"), b"")
        self.assertIsNone(self.section(data, 2))

    def test_section_header(self) -> None:
        root = parse_message(COMPLEX)
        for numbers, subject in (((), b"outer"), ((3,), b"three"), ((4, 2), b"four-two")):
            header = section_header(root, numbers)
            assert header is not None
            self.assertEqual(header.get(b"subject"), subject)
        for numbers in ((1,), (4,), (7,)):
            self.assertIsNone(section_header(root, numbers))
        self.assertEqual(list(root.header), list(parse_header(COMPLEX)))
