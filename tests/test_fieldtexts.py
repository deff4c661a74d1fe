"""Folded texts of header fields tell what the matcher tells."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.fieldtexts import (
    BOUNDARY,
    FIELDS,
    LINE_END,
    MAX_JOINED,
    MAX_KEPT,
    encode_field_texts,
    encode_found_texts,
    encode_joined,
    encode_lines,
    encode_needle,
)
from mailkit.matching import Matcher
from mailkit.mime import parse_header
from mailkit.model import SUMMARY_FIELDS, MessageInfo
from mailkit.query import HeaderContains

INFO = MessageInfo(1, frozenset(), 0, 0, 1)


def found_in_kept(octets: bytes, name: str, text: str) -> bool | None:
    """What the kept octets tell; None for nothing."""
    values = encode_field_texts(parse_header(octets))
    needle = encode_needle(text)
    if values is None or needle is None:
        return None
    value = values[FIELDS.index(name.lower().encode())]
    return value is not None and needle in value


#: What headers of all kinds are made of.
PIECES = [
    b"From: ", b"subject :", b"To", b"Message-ID:", b"Cc:", b"\r\n", b"\r\n", b"\r\n ", b"\n", b"\r",
    b"=?utf-8?q?=C3=A9l=0Ao?=", b"=?iso-8859-1?b?6Q==?=", b" ", b"abc", b"ABC", b"\xc3\xa9",
    b"\xe9", "\u212a\ufb01e\u0301".encode(), b"=?utf-7?q?+2AA-?=", b"<a@b>", b"\r\n\r\n",
]  # fmt: skip
#: Headers without 8-bit octets, most of them with one field of each name.
USUAL = [
    b"From: ", b"\r\nSubject: ", b"\nTo\t:", b"\r\n ", b"=?utf-8?q?=C3=A9L=0Ao?=", b"=?utf-8?b?w4k=?=",
    b" ", b"\t", b"abc", b"ABC", b"=?", b"?=", b"?q?", b"\r", b"=?x?q?a", b"\r\nX: y",
]  # fmt: skip


class FieldTextTests(SynchronousTestCase):
    def test_decoded_and_folded(self) -> None:
        octets = (
            b"FROM: =?utf-8?q?J=C3=BCrgen?= <J@Example.org>\r\nSubject: folded\r\n  Line\r\n"
            b"Subject: Second\r\n\tof\tall\r\nTo: \xc3\x84rger\r\n\tno\r\ncc\r\n\r\n"
        )
        for name, text, found in (
            ("From", "JÜRGEN", True),
            ("From", "jurgen", False),
            ("From", "j@EXAMPLE", True),
            ("Subject", "folded  line", True),
            ("Subject", "second of all", True),
            ("To", "ärger no", True),
            ("Subject", "line second", False),
            ("To", "ärger", True),
            ("To", "", True),
            ("Cc", "", False),
            ("Bcc", "", False),
        ):
            self.assertIs(found_in_kept(octets, name, text), found, (name, text))

    def test_a_line_end_is_not_looked_for(self) -> None:
        self.assertIsNone(encode_needle("a\nb"))

    def test_too_much_is_not_kept(self) -> None:
        header = parse_header(b"Subject: " + b"x" * (MAX_KEPT + 1))
        self.assertIsNone(encode_field_texts(header))

    @given(st.lists(st.sampled_from([*PIECES, b"\nReferences: ", b"\nX: "]), max_size=20))
    @settings(max_examples=400, deadline=None)
    def test_fields_found_with_others(self, pieces: list[bytes]) -> None:
        header = parse_header(b"".join(pieces))
        fields = header.find(SUMMARY_FIELDS)
        if fields is not None:
            self.assertEqual(encode_found_texts(fields), encode_field_texts(header))

    @given(
        st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join),
        st.sampled_from(["From", "subject", "TO", "Message-ID", "cc", "bcc"]),
        st.sampled_from(
            ["", "a", "É", "e", "fi", "k", "c\n", " ", "abcabc", "\ud800", "o", ">", "l"]
        ),
    )
    @settings(max_examples=400, deadline=None)
    def test_as_the_matcher(self, octets: bytes, name: str, text: str) -> None:
        kept = found_in_kept(octets, name, text)
        if kept is not None:
            self.assertIs(kept, Matcher(HeaderContains(name, text)).by_header(INFO, octets, True))

    @given(
        st.lists(
            st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)
            | st.lists(st.sampled_from(USUAL), max_size=12).map(b"".join),
            min_size=1,
            max_size=5,
        ),
        st.sampled_from([b"from", b"subject", b"to", b"message-id", b"cc"]),
    )
    @settings(max_examples=600, deadline=None)
    def test_many_at_once(self, messages: list[bytes], name: bytes) -> None:
        headers = [parse_header(octets) for octets in messages]
        kept = [encode_field_texts(header) for header in headers]
        expected = [
            (values[FIELDS.index(name)] or b"").replace(b"\n", LINE_END)
            for values in kept
            if values is not None
        ]
        lines = encode_lines(name, [header.octets for header in headers])
        self.assertEqual(lines.split(b"\n"), expected)

    def test_many_usual_ones_at_once(self) -> None:
        for subject in (b"ABC =?utf-8?q?=C3=89a?=  =?utf-8?q?_B?= c", b"a\xff", b"", b"x\n y"):
            headers = [b"FROM: a\r\nSubject: %b\r\n" % subject, b"", b"subject: B\nCc: x"]
            text = encode_lines(b"subject", headers[:1])
            self.assertEqual(encode_lines(b"subject", headers), text + b"\n\nb")
            self.assertEqual(encode_lines(b"cc", headers), b"\n\nx")
        self.assertEqual(encode_lines(b"to", [b"To: A\nTo: B", b"To: C"]), b"a\xffb\nc")
        long = b"X: %b\nTo: A" % (b"y" * MAX_JOINED)
        self.assertEqual(encode_lines(b"to", [long, b"to:b"]), b"a\nb")

    def test_joined_ones_that_cannot_be_told_apart(self) -> None:
        # A line that looks like what parts them.
        headers = [b"To: A" + BOUNDARY + b"X: y", b"To: C"]
        self.assertIsNone(encode_joined(b"to", BOUNDARY.join(headers), 2))
        self.assertEqual(encode_lines(b"to", headers), b"a\nc")
