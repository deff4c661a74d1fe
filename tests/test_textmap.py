"""Searching by a kept map of texts finds what decoding and folding all of them finds."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.folding import find_all, fold
from mailkit.matching import Matcher
from mailkit.mime import iter_text, parse_message
from mailkit.model import MessageInfo
from mailkit.query import And, BodyContains, Not, Or, TextContains
from mailkit.textmap import (
    MAX_KEPT,
    BodyText,
    TextMap,
    decode_text_map,
    encode_text_map,
    find_in_bodies,
    find_in_headers,
    make_needle,
    read_text_map,
)
from tests.mime.corpus import MISSING, messages

INFO = MessageInfo(1, frozenset(), 0, 0, 1)


def map_of(octets: bytes) -> TextMap:
    """What a store would keep."""
    made = read_text_map(parse_message(octets))
    encoded = encode_text_map(made)
    assert encoded is not None
    kept = decode_text_map(encoded)
    assert (list(kept.headers), kept.bodies) == (list(made.headers), made.bodies)
    return kept


class TextMapTests(SynchronousTestCase):
    def check(self, octets: bytes, texts: list[str]) -> None:
        """Look for all of the texts, by the map and without."""
        root, kept = parse_message(octets), map_of(octets)
        needles = {make_needle(text) for text in texts if text}
        by_text = {needle.text: needle for needle in needles}
        everywhere = find_all(by_text, iter_text(octets, root))
        in_bodies = find_all(by_text, iter_text(octets, root, headers=False))
        found = find_in_bodies(octets, kept, needles)
        self.assertEqual({needle.text for needle in found}, in_bodies)
        found |= find_in_headers(octets, kept, needles)
        self.assertEqual({needle.text for needle in found}, everywhere)

    def test_a_message_of_many_kinds(self) -> None:
        octets = (
            b"Subject: =?utf-8?q?Gr=C3=B6=C3=9Fe?= of\r\n things\r\nContent-Type: multipart/mixed;"
            b" boundary=b\r\n\r\npreamble\r\n--b\r\n\r\nPlain Text\r\n--b\r\nContent-Type: text/html;"
            b" charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            b"caf=C3=A9 =\r\nau lait\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n"
            b"\xe9t\xe9 SUMMER\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nd29yZHM=\r\n--b\r\n"
            b"Content-Type: image/png\r\n\r\npixels\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
            b"Subject: inner\r\n\r\nembedded\r\n--b--\r\nepilogue\r\n"
        )
        texts = (
            "größe,grosse,of  things,of things,things,preamble,plain text,text,café,cafe,caf,é,e"
            ",café au lait,été,ete,summer,words,d29y,pixels,inner,embedded,epilogue,image/png,--b"
            ",subject: inner,subject:inner,content-type, ,:,\r\n"
        )
        self.check(octets, texts.split(","))

    def test_charsets(self) -> None:
        for charset, octets in (
            (b"utf-7", b"+AOk-t+AOk- a+b"),
            (b"utf-16", "été".encode("utf-16")),
            (b"iso-2022-jp", "会議 abc".encode("iso-2022-jp")),
            (b"gb2312", "会議 abc".encode("gb18030")),
            (b"shift_jis", "会議 表abc".encode("shift-jis")),
            (b"hz", b"~{;aRi~} abc"),
            (b"x-unknown", b"\xe9t\xe9 abc"),
            (b"us-ascii", "été".encode()),
            (b"utf-8", b"\xc3abc \xe9t\xe9 \xe2\x84\xaa"),
            (b"koi8-r", "проверка abc".encode("koi8-r")),
        ):
            head = b"Content-Type: text/plain; charset=%b\r\n\r\n" % charset
            self.check(
                head + octets, ["abc", "été", "会", "t", "k", "+", "b", "проверка", "ý", "\\"]
            )

    def test_a_map_that_is_too_long(self) -> None:
        self.assertIsNone(encode_text_map(TextMap([0] * MAX_KEPT, [BodyText(0, 1, "", "")])))

    def test_queries(self) -> None:
        octets = b"Subject: apple\r\n\r\npear\r\n"
        for query, expected in (
            (BodyContains("apple"), False),
            (TextContains("apple"), True),
            (And([TextContains("APPLE"), BodyContains("pear")]), True),
            (And([TextContains("pear"), Not(BodyContains("apple"))]), True),
            (Or([BodyContains("apple"), TextContains("plum")]), False),
        ):
            matcher = Matcher(query)
            for texts in (None, map_of(octets)):
                self.assertIs(matcher.by_body(INFO, octets, texts)[0], expected)
            self.assertIs(matcher.by_message(INFO, octets), expected)

    def test_the_corpus(self) -> None:
        if MISSING:
            self.skipTest(MISSING)
        for number, (_, octets) in enumerate(messages()):
            if len(octets) < 100_000 and number % 3 == 0:
                words = re.split(r"\s+", fold(" ".join(iter_text(octets, parse_message(octets)))))
                self.check(octets, ["the", "é", "xylophone", *words[::29][:60]])

    @given(
        st.lists(
            st.sampled_from(
                [
                    b"Content-Type: text/plain", b"Content-Type: image/png", b"; charset=utf-8", b"; charset=utf-7",
                    b"Content-Type: multipart/mixed; boundary=b", b"; charset=\"iso-8859-1\"", b"--b", b"--b--",
                    b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: 8bit", b"--bc",
                    b"Content-Transfer-Encoding: quoted-printable", b"eHlsbw==", b"xy=6Co", b"xy=", b"lo",
                    b"\r\n", b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"xylo", "\ufb01xyl\xf3".encode(),
                    b"caf\xe9", b"Subject: ", b"=?utf-8?q?xy?=", b"=?utf-8?b?bG8=?=", b"=?iso-8859-1?q?=E9?=",
                    b"Content-Type: message/rfc822", b"(", b"\t", "\u212a".encode(), "xylo\u0301".encode(),
                ]
            ),
            max_size=30,
        ).map(b"".join)
    )  # fmt: skip
    @settings(max_examples=500, deadline=None)
    def test_any_message(self, octets: bytes) -> None:
        self.check(
            octets,
            ["xylo", "XY", "lo", "o", "fi", "k", "caf", "é", "café", "ó", "subject: xy", " ", "\n", "b", "xy lo", "y\r"],
        )  # fmt: skip
