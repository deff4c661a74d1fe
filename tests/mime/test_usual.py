"""What is made of messages in one go is what their headers and trees say."""

from __future__ import annotations

from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime import (
    bodystructure_octets,
    parse_header,
    parse_message,
    read_bodystructure,
    read_envelope,
    render_envelope,
    summarize_header,
    usual,
)
from mailkit.mime.headers import MAX_HEADER_FIELDS
from mailkit.model import SUMMARY_FIELDS

steady = settings(deadline=None, max_examples=400, derandomize=True, database=None)

PIECES = [
    b"\r\n", b"\r\n", b"\n", b"\r\n\r\n", b" ", b"\t", b"\r\n ", b"\n\t", b"\r", b"\0", b"\xff", b"--", b"--b", b"x\r\n",
    b"--b\r\n", b"--b\r\n", b"--b--\r\n", b"--b--", b"--c\r\n", b"--c--\r\n", b"--b \r\n", b"--bb\r\n", b"\r\n--b\r\n\r\n",
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n', b'Content-Type: multipart/digest; boundary="b"\r\n\r\n',
    b"content-type: multipart/related; boundary=c\r\n\r\n", b'Content-Type: multipart/alternative;\r\n\tboundary="c "\r\n\r\n',
    b'Content-Type: multipart/mixed; boundary=" "\r\n\r\n', b"Content-Type: message/rfc822\r\n\r\n", b"Content-Type:",
    b"Content-Type: text/plain; charset=utf-8\r\n\r\n", b"Content-Type: image/png; name=a\r\n", b"Content-ID: <a>\r\n",
    b"Content-Transfer-Encoding: base64\r\n\r\n", b'Content-Disposition: attachment; filename="b"\r\n\r\n',
]  # fmt: skip
FIELDS = [
    b"From: a <b@c>\r\n", b"FROM : d@e\r\n", b"From\r\n\t: f@g", b"from\r\n", b"To: x@y,\r\n z@y\r\n", b"to: <u@v>\r\n",
    b"Cc: g: a@b;\r\n", b"Bcc:\r\n", b"Bcc: a@b\r\n", b"Sender: \r\n", b"Reply-To:q@r\r\n", b"Subject: a\r\n\tb\r\n  c\r\n",
    b"subject:\r\n", b"Date: 1\r\n", b"Message-ID: <i@j>\r\n", b"Message-ID\r\n", b"In-Reply-To: <k>\r\n", b"Tom: x\r\n",
    b"Received: from a\r\n\tby b\r\n", b" From: x@y\r\n", b"\r\n", b"\n", b"\r", b" ", b":", b"\0", b"\xe9", b"References: <l>\n",
]  # fmt: skip


def octets(pieces: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(pieces), max_size=16).map(b"".join)


class StructureTests(SynchronousTestCase):
    def check(self, data: bytes, before: bytes = b"", behind: bytes = b"") -> None:
        start, end = len(before), len(before) + len(data)
        data = before + data + behind
        self.assertEqual(
            read_bodystructure(data, parse_header(data, start, end), end),
            bodystructure_octets(data, parse_message(data, start, end)),
        )

    @given(octets(PIECES))
    @steady
    def test_it_is_that_of_the_tree(self, data: bytes) -> None:
        self.check(data)
        self.check(data, b"\r\n--b\r\n", b"\r\n--b\r\n\r\nx\r\n--b--\r\n")

    def test_no_tree_is_made_of_usual_messages(self) -> None:
        text = b"Content-Type: text/plain\r\n\r\nHello\r\nyou\r\n"
        image = (
            b'Content-Type: image/png; name="a.png"\r\nContent-Disposition: attachment;\r\n'
            b' filename="a.png"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA'
        )
        inner = (
            b'Content-Type: multipart/alternative; boundary="=_1"\r\n\r\n--=_1\r\n%b\r\n--=_1\r\n'
            b"\r\n\r\n--=_1\r\nContent-Type: text/html\r\n\r\n\r\n--=_1--\r\n" % text
        )
        outer = b"Content-Type: multipart/mixed; boundary==_0\r\n\r\n--=_0\r\n%b\r\n--=_0\r\n%b\r\n--=_0--\r\n"
        for data in (b"\r\n", text, image, inner, outer % (text, image), outer % (inner, image)):
            with mock.patch.object(usual, "parse_message", side_effect=AssertionError):
                read_bodystructure(data, parse_header(data), len(data))
            self.check(data)

    def test_more_parts_and_levels_than_usual(self) -> None:
        head = b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n"
        for count in (usual.MAX_CHILDREN, usual.MAX_CHILDREN + 1, usual.MAX_CHILDREN + 2):
            self.check(head % b"b" + b"--b\r\n\r\nx\r\n" * count + b"--b--\r\n")
        data = b"X: y\r\n\r\nx\r\n"
        for level in range(usual.MAX_LEVELS + 2):
            boundary = b"b%d" % level
            data = head % boundary + b"--%b\r\n%b--%b--\r\n" % (boundary, data, boundary)
            self.check(data)

    def test_parts_of_a_digest_are_messages(self) -> None:
        # RFC 2046 section 5.1.5, with the header in either of the forms that are looked for.
        for boundary in (b'"b"', b"b"):
            for start in (b"--b\r\n\r\nSubject: a\r\n\r\nx\r\n", b"--b\r\nX: y\r\n\r\nx\r\n"):
                head = b"Content-Type: multipart/digest; boundary=%b\r\n\r\n" % boundary
                self.check(head + start + b"--b--\r\n")

    def test_inner_boundaries_that_are_or_begin_with_outer_ones(self) -> None:
        head = b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n"
        for outer, inner in ((b"b", b"b"), (b"b", b"bb"), (b"bb", b"b")):
            part = head % inner + b"--%b\r\n\r\nx\r\n--%b--\r\n" % (inner, inner)
            self.check(head % outer + b"--%b\r\n%b\r\n--%b--\r\n" % (outer, part, outer))


class SummaryTests(SynchronousTestCase):
    def check(self, data: bytes) -> None:
        envelope = render_envelope(read_envelope(parse_header(data)))
        fields = parse_header(data).raw_fields(SUMMARY_FIELDS, blank_line=False)
        found = summarize_header(parse_header(data), SUMMARY_FIELDS)
        self.assertEqual(found, (envelope, fields), data)

    @given(octets(FIELDS))
    @steady
    def test_it_is_what_the_header_says(self, data: bytes) -> None:
        self.check(data)
        self.check(data + b"\r\nFrom: body@example.org\r\n")

    def test_fields_behind_too_many_others_stay_ignored(self) -> None:
        for count in (MAX_HEADER_FIELDS - 1, MAX_HEADER_FIELDS, MAX_HEADER_FIELDS + 1):
            self.check(b"X:\n" * count + b"Subject: a\nFrom: a@b\n\n")
