"""Folded texts of header fields tell what the matcher tells."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.fieldtexts import FIELDS, MAX_KEPT, encode_field_texts, encode_needle
from mailkit.matching import Matcher
from mailkit.mime import parse_header
from mailkit.model import MessageInfo
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


class FieldTextTests(SynchronousTestCase):
    def test_decoded_and_folded(self) -> None:
        octets = (
            b"FROM: =?utf-8?q?J=C3=BCrgen?= <J@Example.org>\r\nSubject: folded\r\n  Line\r\n"
            b"Subject: Second\r\nTo: \xc3\x84rger\r\ncc\r\n\r\n"
        )
        for name, text, found in (
            ("From", "JÜRGEN", True),
            ("From", "jurgen", False),
            ("From", "j@EXAMPLE", True),
            ("Subject", "folded  line", True),
            ("Subject", "second", True),
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

    @given(
        st.lists(
            st.sampled_from(
                [
                    b"From: ", b"subject :", b"To", b"Message-ID:", b"Cc:", b"\r\n", b"\r\n", b"\r\n ", b"\n", b"\r",
                    b"=?utf-8?q?=C3=A9l=0Ao?=", b"=?iso-8859-1?b?6Q==?=", b" ", b"abc", b"ABC", b"\xc3\xa9",
                    b"\xe9", "\u212a\ufb01e\u0301".encode(), b"=?utf-7?q?+2AA-?=", b"<a@b>", b"\r\n\r\n",
                ]
            ),
            max_size=20,
        ).map(b"".join),
        st.sampled_from(["From", "subject", "TO", "Message-ID", "cc", "bcc"]),
        st.sampled_from(["", "a", "É", "e", "fi", "k", "c\n", " ", "abcabc", "\ud800", "o", ">", "l"]),
    )  # fmt: skip
    @settings(max_examples=400, deadline=None)
    def test_as_the_matcher(self, octets: bytes, name: str, text: str) -> None:
        kept = found_in_kept(octets, name, text)
        if kept is not None:
            self.assertIs(kept, Matcher(HeaderContains(name, text)).by_header(INFO, octets, True))
