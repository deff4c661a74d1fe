"""A quick look at octets never misses what is in the texts of a message."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit import screening
from mailkit.folding import fold
from mailkit.mime import decode_text, iter_text, parse_header, parse_message
from mailkit.screening import Screen, Sieve, may_contain, screen
from tests.mime.corpus import MISSING, messages

PLAIN = b"Content-Type: text/plain; charset=utf-8\r\n"

#: What messages of all kinds are made of.
PIECES = [
    b"Content-Type: text/plain", b"Content-Type: image/png", b"; charset=utf-8",
    b"Content-Type: multipart/mixed; boundary=b", b"; charset=\"iso-8859-1\"", b"--b", b"--b--",
    b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: 8bit", b"--bc",
    b"Content-Transfer-Encoding: quoted-printable", b"eHlsbw==", b"xy=6Co", b"xy=", b"lo",
    b"\r\n", b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"xylo", "\ufb01xyl\xf3".encode(),
    b"caf\xe9", b"Subject: ", b"=?utf-8?q?xy?=", b"=?utf-8?b?bG8=?=", b"=?iso-8859-1?q?=E9?=",
    b"Content-Type: message/rfc822", b"(", b"\t", "\u212a".encode(), "xylo\u0301".encode(),
    b"=?utf-8?q?xy=6Co?=", b"xy= \n", b"lo=\rx\n", b"=?x?b?bG8=?=lo", b"=C2=99", b"charset=windows-1252",
    b"xyl=C3=B3", b"=EF=AC=81", b"LO", b"=", b"==", b"=?", b"?=", b"=20",
]  # fmt: skip


def lacks(octets: bytes, token: str, headers: bool = False) -> bool:
    """Whether a look at the octets shows that a token is not there."""
    found = screen(octets, False)
    return found is not None and found.lacks(token.encode(), headers)


class ScreenTests(SynchronousTestCase):
    def check_never_missed(self, octets: bytes) -> None:
        """All words of the texts may be there."""
        root = parse_message(octets)
        found = screen(octets, False)
        if found is None:
            return
        for headers in (False, True):
            for text in iter_text(octets, root, headers=headers):
                for word in set(re.split(r"[\s:]+", fold(text))):
                    token = word.encode("utf-8", "replace")
                    self.assertFalse(found.lacks(token, headers), (word, headers))

    def test_text_as_it_stands(self) -> None:
        octets = PLAIN + b"Subject: Hello\r\n\r\nXylophones\r\n"
        self.assertFalse(lacks(octets, "xylophone"))
        self.assertTrue(lacks(octets, "trumpet"))
        self.assertFalse(lacks(octets, ""))

    def test_quoted_printable(self) -> None:
        octets = PLAIN + b"Content-Transfer-Encoding: quoted-printable\r\n\r\nxylo=\r\nph=6Fne\r\n"
        self.assertFalse(lacks(octets, "xylophone"))
        self.assertTrue(lacks(octets, "trumpet"))
        # The end of the line is hidden: that takes more than a look.
        self.assertFalse(lacks(octets.replace(b"=\r\n", b"= \t\r\n"), "trumpet"))

    def test_marks(self) -> None:
        for text, token in (
            ("xylophoné", "xylophone"),
            ("ﬁsh", "fish"),
            ("№ 5", "no"),
            ("Kelvin", "kelvin"),
        ):
            self.assertFalse(lacks(PLAIN + b"\r\n" + text.encode(), token), text)
        self.assertTrue(
            lacks(PLAIN + b"\r\n" + "größe für ÄÖÜ, проверка, 会議".encode(), "xylophone")
        )
        self.assertFalse(lacks(PLAIN + b"\r\n" + "ä".encode(), "größe"))

    def test_charsets(self) -> None:
        head = b"Content-Type: text/plain; charset=%b\r\n\r\n"
        for charset, text, certain in (
            (b"utf-8", b"caf\xc3\xa9", True),
            (b'"UTF-8"', b"caf\xc3\xa9", True),
            (b"utf-8", b"caf\xe9", False),
            (b"iso-8859-1", b"cafe", True),
            (b"iso-8859-1", b"caf\xe9", False),
            (b"utf-16", b"cafe", False),
            (b"utf-7", b"cafe", False),
            (b"utf-8*", b"cafe", False),
        ):
            self.assertEqual(lacks(head % charset + text, "trumpet"), certain, (charset, text))
        self.assertFalse(lacks(b"Content-Type: text/plain; charset*=utf-16''x\r\n\r\nx", "trumpet"))

    def test_base64(self) -> None:
        body = b"Content-Type: %b\r\nContent-Transfer-Encoding: base64\r\n\r\neHlsb3Bob25l\r\n"
        for kind, certain in (
            (b"image/png", True),
            (b"application/pdf; name=x", True),
            (b"text/plain", False),
            (b"message/rfc822", False),
            (b"x", False),
        ):
            self.assertEqual(lacks(body % kind, "xylophone"), certain, kind)
        # Without a type it is text, whatever stands before it.
        fake = (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\n"
            b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\neHlsb3Bob25l\r\n--b--\r\n"
        )
        self.assertFalse(lacks(fake, "xylophone"))
        self.check_never_missed(fake)

    def test_other_encodings(self) -> None:
        for field in (b"x-uuencode", b"base64 (x)", b'"base64"', b"\r\n base64 ; x", b""):
            octets = b"Content-Transfer-Encoding: %b\r\n\r\ntext\r\n" % field
            self.assertFalse(lacks(octets, "trumpet"), field)

    def test_encoded_words(self) -> None:
        octets = (
            b"Subject: =?utf-8?b?eHlsbw==?=\r\n =?utf-8?q?ph=6Fne?=\r\n of =?utf-8?q?caf=C3=A9?=\r\n"
            b"X: y\r\n\r\n"
        )
        for token, missing in (("xylophone", False), ("cafe", False), ("trumpet", True)):
            self.assertEqual(lacks(octets, token, headers=True), missing)
            self.assertTrue(lacks(octets, token, headers=False))

    def test_fields_in_the_text_of_a_message_without_parts(self) -> None:
        text = b"Content-Type: text/plain; charset=utf-16\r\nSubject: =?utf-8?b?eHlsbw==?=\r\n"
        for ends in (b"\r\n\r\n", b"\n\n"):
            self.assertTrue(lacks(b"Subject: x" + ends + text, "trumpet"))
            self.assertTrue(lacks(b"Subject: x" + ends + text, "xylo", headers=True))
        parts = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + text
        self.assertFalse(lacks(parts, "trumpet"))
        parts = parts.replace(b"utf-16", b"utf-8")
        self.assertTrue(lacks(parts, "trumpet", headers=True))
        self.assertFalse(lacks(parts, "xylo", headers=True))
        self.check_never_missed(parts)

    def test_fields_over_several_lines(self) -> None:
        for field in (
            b"Content-Type: text/plain;\r\n\tcharset=utf-16",
            b"Content-Type\r\n : multipart/x; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: x-uu",
            b"Content-Type: text/plain; x=" + b"y" * 5000,
        ):
            octets = b"Subject: x\r\n" + field + b"\r\n\r\ntext\r\n"
            self.assertFalse(lacks(octets, "trumpet"), field)

    def test_many_question_marks(self) -> None:
        octets = b"Subject: " + b"? " * 100 + b"=?utf-8?b?eHlsbw==?=\r\n\r\n"
        self.assertFalse(lacks(octets, "xylo", headers=True))
        self.assertTrue(lacks(octets, "trumpet", headers=True))

    def test_header_fields_alone(self) -> None:
        found = screen(
            b"Subject: =?utf-8?b?eHlsbw==?=\r\nContent-Type: text/plain; charset=x\r\n", True
        )
        assert found is not None
        self.assertFalse(found.lacks(b"xylo", True))
        self.assertTrue(found.lacks(b"trumpet", True))

    def test_what_is_not_in_memory(self) -> None:
        self.assertIsNone(screen(memoryview(b"Subject: x\r\n\r\n"), False))

    def test_the_corpus(self) -> None:
        if MISSING:
            self.skipTest(MISSING)
        for _, octets in messages():
            if len(octets) < 200_000:
                self.check_never_missed(octets)

    @given(st.lists(st.sampled_from(PIECES), max_size=30))
    @settings(max_examples=500, deadline=None)
    def test_any_message(self, pieces: list[bytes]) -> None:
        self.check_never_missed(b"".join(pieces))


class SieveTests(SynchronousTestCase):
    """Many messages are looked at in one go."""

    def check_never_missed(self, octets: Sequence[bytes], tokens: Sequence[str]) -> None:
        """No message is left out that has one of the tokens in a text."""
        for headers, token in itertools.product((False, True), tokens):
            sieve = Sieve(token.encode(), headers)
            # The second time it knows what it has seen.
            for _ in range(2):
                left = sieve.sift(octets)
                for number, message in enumerate(octets):
                    texts = iter_text(message, parse_message(message), headers=headers)
                    if any(token in fold(text) for text in texts):
                        self.assertIn(number, left, (token, headers))

    def sift(self, token: bytes, *bodies: bytes, headers: bool = False) -> set[int]:
        """Which of some bodies are left, and two that tell nothing."""
        messages = [b"Subject: x\r\n" + body for body in bodies]
        found = set(Sieve(token, headers).sift([PLAIN, *messages, *[b"\r\nx"] * len(messages)]))
        return {number - 1 for number in found}

    def test_what_is_left(self) -> None:
        qp = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
        base64 = b"Content-Transfer-Encoding: base64\r\n\r\neHlsbw==\r\n"
        for body, is_left in (
            (b"\r\nXylophones", True),
            (b"\r\ntrumpet", False),
            (qp + b"xylo=\r\nphone", True),
            (qp + b"xylo=\r\nphobia", False),
            (qp + b"xylo=\nphone", True),
            (qp + b"xy=6Cophone", True),
            (qp + b"xylo= \r\nphone", True),
            (qp + b"caf=C3=A9 =3D =\r\n", False),
            (qp + b"xylophon=C3=A9", True),
            (qp + b"=EF=BD=98ylophone", True),
            (qp + b"caf=E9", True),
            (b"Content-Type: text/plain; charset=iso-8859-1\r\n" + qp + b"caf=C3=A9", True),
            (b"Content-Type: text/plain; charset=iso-8859-1\r\n" + qp + b"=20", False),
            (b"Content-Type: text/plain; charset=utf-16\r\n\r\nx", True),
            ("\r\ngröße".encode(), True),
            (base64, True),
            (b"Content-Type: image/png\r\n" + base64, False),
            (b"Content-Transfer-Encoding: x-uuencode\r\n\r\n", True),
            (b"Content-Type: text/plain; x=" + b"y" * 5000, True),
        ):
            self.assertEqual(self.sift(b"xylophone", body), {0} if is_left else set(), body)
            both = self.sift(b"xylophone", b"\r\nx", body, b"\r\nx")
            self.assertEqual(both, {1} if is_left else set(), body)

    def test_encoded_words(self) -> None:
        for field, in_headers, in_bodies in (
            (b"=?utf-8?b?eHlsb3Bob25l?=", True, False),
            (b"=?utf-8?b?eHlsbw==?=\r\n =?utf-8?q?phone?= ", True, False),
            (b"=?utf-8?b?eHlsbw==?= =?utf-8?q?_phone?=", False, False),
            (b"=?iso-8859-1?b?6Q==?=", False, False),
            (b"x=?utf-8?q?=20?=", True, False),
            (b"=?utf-8?q?=78?=", False, True),
            (b"=?utf-8?q?=E9?=", False, True),
            (b"=?utf-8?q?a", True, False),
        ):
            octets = b"To: " + field + b"\r\n\r\n"
            for headers, is_left in ((True, in_headers or in_bodies), (False, in_bodies)):
                found = self.sift(b"xylophone", octets, headers=headers)
                self.assertEqual(found, {0} if is_left else set(), (field, headers))

    def test_what_one_look_does_not_tell(self) -> None:
        messages = [b"\r\nx", b"\r\ny", b"\r\nz"]
        for token in (b"", b"x", "é".encode(), b"a=b", b"a?"):
            self.assertEqual(set(Sieve(token, True).sift(messages)), {0, 1, 2}, token)
        # Where most have it, all are looked at.
        self.assertEqual(set(Sieve(b"xyz", True).sift([b"xyz", b"xyz", b"a"])), {0, 1, 2})
        self.assertEqual(set(Sieve(b"xyz", True).sift([])), set())

    def test_so_much_is_remembered(self) -> None:
        self.patch(screening, "_MAX_JUDGED", 2)
        words = [b"To: =?utf-8?q?%c?=\r\n" % letter for letter in b"abcdefx"]
        self.assertEqual(set(Sieve(b"xyz", True).sift(words)), set())

    def test_the_corpus(self) -> None:
        if MISSING:
            self.skipTest(MISSING)
        some = [octets for _, octets in messages() if len(octets) < 200_000]
        for begin in range(0, len(some), 10):
            self.check_never_missed(some[begin : begin + 10], ["the", "receiv", "subject", "größe"])

    @given(
        st.lists(st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join), max_size=6),
        st.sampled_from(["xylo", "xyl", "lo", "fi", "tm", "o", "caf", "subject", "xyxy"]),
    )
    @settings(max_examples=500, deadline=None)
    def test_any_messages(self, octets: list[bytes], token: str) -> None:
        # Where most have it all are looked at.
        self.check_never_missed([*octets, *[b"\r\n"] * len(octets)], [token])


class HeadersTests(SynchronousTestCase):
    """Many headers are looked at in one go."""

    def test_what_is_found(self) -> None:
        headers = [
            b"From: Needle <a@b.test>\r\nTo: c@d.test\r\n",
            b"Subject: needle\r\nfrom : x@y.test\r\n\t(the needles)",
            b" From: needle\r\nSubject: =?utf-8?q?need?= =?utf-8?q?le?=\r\n",
            b"From: =?utf-8?b?bmVlZGxl?= <x@y.test>\r\n",
            b"",
            b"From: \xc3\xa9 needl\xc3\xa9\r\n",
            b"From: \xc3\xa9\r\nTo: needle\r\n",
            b"To: needle\r\nFrom: x=?utf-8?q?need?=\r\n =?utf-8?q?le?=\r\nTo: x\r\n",
        ]
        # Where not all is ASCII, the other fields count as well.
        self.assertEqual(may_contain(headers, b"from", b"needle"), {0, 1, 3, 5, 6, 7})
        self.assertEqual(may_contain(headers, b"subject", b"needle"), {1, 2, 5, 6})
        self.assertEqual(may_contain(headers, b"to", b"needle"), {5, 6, 7})
        self.assertEqual(may_contain(headers, b"cc", b"needle"), {5, 6})
        self.assertEqual(may_contain([], b"cc", b"needle"), set())

    @given(
        st.lists(
            st.lists(
                st.sampled_from(
                    [
                        b"From:", b"from : ", b"To: ", b"\r\n", b"\n", b" ", b"\t", b"\r", b"xylo", b"XY", b"lo",
                        b"=?utf-8?q?xy?=", b"=?utf-8?b?bG8=?=", b"=?iso-8859-1?q?=E9?=", b"=?", b"?=", b"?", b":",
                        "\ufb01xyl\xf3".encode(), b"caf\xe9", "\u212a".encode(), "xylo\u0301".encode(), b'"', b"<",
                    ]
                ),
                max_size=12,
            ),
            max_size=5,
        )
    )  # fmt: skip
    @settings(max_examples=500, deadline=None)
    def test_nothing_is_missed(self, pieces: list[list[bytes]]) -> None:
        headers = [b"".join(each) for each in pieces]
        for number, octets in enumerate(headers):
            found = parse_header(octets + b"\r\n\r\n")
            for name in (b"from", b"to"):
                for value in found.get_all(name):
                    for token in set(re.split(r"[\s:]+", fold(decode_text(value)))) - {""}:
                        sought = token.encode("utf-8", "replace")
                        raw = [parse_header(each + b"\r\n\r\n").octets for each in headers]
                        self.assertIn(number, may_contain(raw, name, sought), (name, token))


class RareOctetTests(SynchronousTestCase):
    """What has a rare octet in it is found by that."""

    def test_where_it_stands(self) -> None:
        for token in (b"axb", b"xa", b"ax", b"x", b"x@z", b"ab"):
            for text in (
                b"",
                b"x",
                b"b x a",
                b"xaxbxa",
                b"x" * 20 + b"a",
                b"x" * 20 + b"axb",
                b"x@xzx@z",
            ):
                octets = b"Subject: " + text
                found = Screen(octets, [octets.lower()])
                self.assertEqual(
                    found.lacks(token, True), token not in octets.lower(), (token, text)
                )
