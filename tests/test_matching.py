"""Queries against messages: what they find, and how much of a message they ask for."""

from __future__ import annotations

import datetime
import mmap
import re
import tempfile
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit import folding, matching
from mailkit.folding import find_all, fold
from mailkit.matching import Matcher, Need
from mailkit.mime import parse_header
from mailkit.model import SEEN, SUMMARY_FIELDS, MessageInfo
from mailkit.query import (
    All,
    And,
    BodyContains,
    Comparison,
    HasAttachment,
    HasFlag,
    HeaderContains,
    InternalDate,
    Larger,
    ModifiedSince,
    Not,
    Or,
    Query,
    SentDate,
    Smaller,
    TextContains,
    UIDs,
)

#: 1 March 2024, 23:59:59 UTC
ARRIVED = 1709337599
MESSAGE = b"""\
From: =?utf-8?q?J=C3=BCrgen?= <jm@example.org>\r
To: "Ann, Lee" <ann@example.org>\r
Subject: a rather\r
 long =?iso-8859-1?q?subject_f=FCr?= you\r
Date: Thu, 29 Feb 2024 23:30:00 -0500\r
X-Empty:\r
X-Spam-Score: 5\r
Content-Type: multipart/mixed; boundary=b\r
\r
preamble words\r
--b\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: quoted-printable\r
Content-Description: partly\r
\r
Stra=C3=9Fe and C=\r
afe=CC=81\r
--b\r
Content-Type: text/html; charset=iso-8859-1\r
Content-Transfer-Encoding: base64\r
\r
PGI+SGVsbG8gV2/8cmxkPC9iPg==\r
--b\r
Content-Type: application/octet-stream\r
\r
binary words\r
--b--\r
"""
INFO = MessageInfo(
    uid=7,
    flags=frozenset({SEEN, "$Forwarded"}),
    internal_date=ARRIVED,
    size=len(MESSAGE),
    modseq=50,
)
HEADER = MESSAGE[: MESSAGE.index(b"\r\n\r\n") + 4]
SUMMARY = parse_header(HEADER).raw_fields(SUMMARY_FIELDS, blank_line=False)
DAY = datetime.date(2024, 3, 1)
ONE_DAY = datetime.timedelta(days=1)


class MatchingTestCase(SynchronousTestCase):
    def finds(self, query: Query, message: bytes = MESSAGE) -> bool:
        """The answer of the whole message; less evidence gives the same one or none."""
        matcher = Matcher(query)
        header = parse_header(message)
        octets = message[: header.body_start]
        summary = header.raw_fields(SUMMARY_FIELDS, blank_line=False)
        answer = matcher.by_message(INFO, message)
        answers = [
            matcher.by_info(INFO),
            matcher.by_header(INFO, summary, False),
            matcher.by_header(INFO, octets, True),
        ]
        for level, less in enumerate(answers):
            self.assertIn(less, (answer, None))
            if matcher.needs <= level:
                self.assertEqual(less, answer)
        return answer


class InfoTests(MatchingTestCase):
    def test_all(self) -> None:
        self.assertTrue(self.finds(All()))

    def test_uids(self) -> None:
        self.assertTrue(self.finds(UIDs([(7, 7)])))
        self.assertTrue(self.finds(UIDs([(100, 200), (8, 9), (1, 6), (5, 8)])))
        self.assertFalse(self.finds(UIDs([(8, 9), (1, 6)])))
        self.assertFalse(self.finds(UIDs([])))

    def test_range_inside_another(self) -> None:
        self.assertTrue(self.finds(UIDs([(1, 10), (2, 3)])))

    def test_flags(self) -> None:
        self.assertTrue(self.finds(HasFlag(SEEN)))
        self.assertTrue(self.finds(HasFlag("\\SEEN")))
        self.assertFalse(self.finds(HasFlag("\\Deleted")))
        self.assertTrue(self.finds(HasFlag("$Forwarded")))
        self.assertTrue(self.finds(HasFlag("$FORWARDED")))
        self.assertFalse(self.finds(HasFlag("Junk")))

    def test_size(self) -> None:
        size = len(MESSAGE)
        self.assertTrue(self.finds(Larger(size - 1)))
        self.assertFalse(self.finds(Larger(size)))
        self.assertTrue(self.finds(Smaller(size + 1)))
        self.assertFalse(self.finds(Smaller(size)))

    def test_modseq(self) -> None:
        self.assertTrue(self.finds(ModifiedSince(50)))
        self.assertFalse(self.finds(ModifiedSince(51)))

    def test_internal_date_is_the_day_in_utc(self) -> None:
        self.assertTrue(self.finds(InternalDate(Comparison.ON, DAY)))
        self.assertFalse(self.finds(InternalDate(Comparison.ON, DAY + ONE_DAY)))
        self.assertFalse(self.finds(InternalDate(Comparison.ON, DAY - ONE_DAY)))
        self.assertTrue(self.finds(InternalDate(Comparison.SINCE, DAY)))
        self.assertFalse(self.finds(InternalDate(Comparison.SINCE, DAY + ONE_DAY)))
        self.assertTrue(self.finds(InternalDate(Comparison.BEFORE, DAY + ONE_DAY)))
        self.assertFalse(self.finds(InternalDate(Comparison.BEFORE, DAY)))

    def test_what_is_no_query(self) -> None:
        self.assertRaises(TypeError, Matcher, Query())


class HeaderTests(MatchingTestCase):
    def test_sent_date_is_as_written(self) -> None:
        sent = datetime.date(2024, 2, 29)
        self.assertTrue(self.finds(SentDate(Comparison.ON, sent)))
        self.assertFalse(self.finds(SentDate(Comparison.ON, DAY)))
        self.assertTrue(self.finds(SentDate(Comparison.SINCE, sent)))
        self.assertFalse(self.finds(SentDate(Comparison.SINCE, DAY)))
        self.assertTrue(self.finds(SentDate(Comparison.BEFORE, DAY)))
        self.assertFalse(self.finds(SentDate(Comparison.BEFORE, sent)))

    def test_message_without_date_was_never_sent(self) -> None:
        for message in (b"Date: soon\r\n\r\n", b"\r\n", b""):
            for comparison in Comparison:
                self.assertFalse(self.finds(SentDate(comparison, DAY), message))

    def test_a_time_that_is_none_does_not_count(self) -> None:
        # RFC 3501 section 6.4.4: time and zone are disregarded.
        for time in (b"24:00:00 +0000", b"23:61", b"99:99:99 -0800"):
            message = b"Date: Fri, 1 Mar 2024 " + time + b"\r\n\r\n"
            self.assertTrue(self.finds(SentDate(Comparison.ON, DAY), message), time)
        self.assertFalse(self.finds(SentDate(Comparison.ON, DAY), b"Date: 32 Mar 2024\r\n\r\n"))

    def test_a_field_that_continues_with_a_tab(self) -> None:
        message = b"Subject: one\r\n\ttwo\r\nX-Foo: =?utf-8?q?=C3=A9?=\r\n\ttwo\r\n\r\na\tb\r\n"
        for query in (
            HeaderContains("Subject", "One two"),
            HeaderContains("Subject", "one\ttwo"),
            HeaderContains("X-Foo", "\u00c9 two"),
            TextContains("one two"),
            TextContains("x-foo: \u00e9 two"),
            BodyContains("a b"),
            BodyContains("a\tb"),
        ):
            self.assertTrue(self.finds(query, message), query)

    def test_decoded_in_any_case(self) -> None:
        for name, text in (
            ("From", "jürgen"),
            ("FROM", "JÜRGEN"),
            ("from", "Ju\u0308rgen <JM@EXAMPLE.org"),
            ("to", "ann, lee"),
            ("Subject", "rather long SUBJECT für YOU"),
            ("x-spam-score", "5"),
        ):
            self.assertTrue(self.finds(HeaderContains(name, text)), (name, text))

    def test_what_is_not_there(self) -> None:
        for name, text in (
            ("From", "ann"),
            ("Subject", "=?iso"),
            ("Cc", "ann"),
            ("Content-Description", "partly"),
            ("Subject", "rather\r\n long"),
        ):
            self.assertFalse(self.finds(HeaderContains(name, text)), (name, text))

    def test_empty_text_asks_for_the_field(self) -> None:
        self.assertTrue(self.finds(HeaderContains("X-Empty", "")))
        self.assertTrue(self.finds(HeaderContains("subject", "")))
        self.assertFalse(self.finds(HeaderContains("Cc", "")))
        self.assertFalse(self.finds(HeaderContains("", "")))
        self.assertFalse(self.finds(HeaderContains("Sübject\udc80", "")))

    def test_each_field_of_a_name(self) -> None:
        message = b"Received: one\r\nReceived: two\r\n\r\n"
        self.assertTrue(self.finds(HeaderContains("Received", "two"), message))
        self.assertFalse(self.finds(HeaderContains("Received", "one two"), message))


class TextTests(MatchingTestCase):
    def test_body_is_decoded(self) -> None:
        for text in ("straße", "STRASSE and", "CAFÉ", "cafe\u0301", "hello woürld", "<b>"):
            self.assertTrue(self.finds(BodyContains(text)), text)

    def test_body_is_text_parts_alone(self) -> None:
        for text in ("preamble", "binary words", "rather", "partly", "PGI+", "=C3", "cafe\r\n"):
            self.assertFalse(self.finds(BodyContains(text)), text)

    def test_text_is_header_too(self) -> None:
        for text in ("jürgen", "X-SPAM-score: 5", "straße", "rather long", "partly"):
            self.assertTrue(self.finds(TextContains(text)), text)
        for text in ("preamble", "binary words", "PGI+", "=?utf"):
            self.assertFalse(self.finds(TextContains(text)), text)

    def test_text_over_two_fields(self) -> None:
        # From and Subject are neighbours in the summary only.
        message = b"From: a\r\nX-Between: b\r\nSubject: c\r\n\r\n"
        self.assertFalse(self.finds(TextContains("a\nSubject"), message))
        self.assertTrue(self.finds(TextContains("a\nX-Between"), message))

    def test_empty_text_is_everywhere(self) -> None:
        for query in (TextContains(""), BodyContains("")):
            self.assertTrue(self.finds(query))
            self.assertTrue(self.finds(query, b""))

    def test_mapped_file(self) -> None:
        with tempfile.TemporaryFile() as file:
            file.write(MESSAGE)
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                for query in (
                    BodyContains("straße"),
                    TextContains("jürgen"),
                    HeaderContains("Subject", "rather"),
                    SentDate(Comparison.BEFORE, DAY),
                ):
                    self.assertTrue(Matcher(query).by_message(INFO, data))

    def test_any_octets(self) -> None:
        for message in (b"", b"\0\xff\r\n\r\n\xff\0", b"\n" * 50, bytes(range(256)) * 10):
            self.assertFalse(self.finds(TextContains("zebra"), message))


class AttachmentTests(MatchingTestCase):
    def test_files(self) -> None:
        self.assertTrue(self.finds(HasAttachment()))
        for header in (b"", b"Content-Type: Text/html\r\n", b"Content-Type: multipart/mixed\r\n"):
            self.assertFalse(self.finds(HasAttachment(), header + b"\r\nbody\r\n"), header)
        self.assertTrue(self.finds(HasAttachment(), b"Content-Type: image/png\r\n\r\nx"))

    def test_the_header_of_plain_text_is_enough(self) -> None:
        matcher = Matcher(HasAttachment())
        self.assertIs(matcher.by_header(INFO, b"Content-Type: text/plain\r\n", False), False)
        self.assertIsNone(matcher.by_header(INFO, SUMMARY, False))


class LogicTests(MatchingTestCase):
    YES: Query = HasFlag(SEEN)
    NO: Query = HasFlag("Junk")
    HEADER_YES: Query = HeaderContains("X-Spam-Score", "5")
    BODY_YES: Query = BodyContains("hello")
    BODY_NO: Query = BodyContains("zebra")

    def test_empty(self) -> None:
        self.assertTrue(self.finds(And([])))
        self.assertFalse(self.finds(Or([])))

    def test_truth_tables(self) -> None:
        for left in (self.YES, self.NO, self.BODY_YES, self.BODY_NO, self.HEADER_YES):
            for right in (self.YES, self.NO, self.BODY_YES, self.BODY_NO):
                one, other = self.finds(left), self.finds(right)
                self.assertEqual(self.finds(And([left, right])), one and other)
                self.assertEqual(self.finds(Or([left, right])), one or other)
                self.assertEqual(self.finds(Not(And([left, right]))), not (one and other))

    def test_decided_by_the_cheap_side(self) -> None:
        self.assertIs(Matcher(And([self.BODY_YES, self.NO])).by_info(INFO), False)
        self.assertIs(Matcher(Or([self.BODY_NO, self.YES])).by_info(INFO), True)
        self.assertIsNone(Matcher(And([self.BODY_YES, self.YES])).by_info(INFO))
        self.assertIsNone(Matcher(Not(self.BODY_YES)).by_info(INFO))

    def test_decided_by_the_header(self) -> None:
        query = Or([self.BODY_NO, self.HEADER_YES])
        self.assertIsNone(Matcher(query).by_header(INFO, SUMMARY, False))
        self.assertIs(Matcher(query).by_header(INFO, HEADER, True), True)

    def test_text_is_found_in_the_summary_but_never_missed_by_it(self) -> None:
        self.assertIs(Matcher(TextContains("jürgen")).by_header(INFO, SUMMARY, False), True)
        self.assertIsNone(Matcher(TextContains("zebra")).by_header(INFO, SUMMARY, False))
        self.assertIsNone(Matcher(TextContains("zebra")).by_header(INFO, HEADER, True))

    def test_needs(self) -> None:
        for query, need in (
            (And([self.YES, UIDs([(1, 2)]), Larger(1)]), Need.INFO),
            (HeaderContains("SUBJECT", "x"), Need.SUMMARY),
            (SentDate(Comparison.ON, DAY), Need.SUMMARY),
            (Or([self.HEADER_YES, self.YES]), Need.HEADER),
            (Not(self.BODY_YES), Need.MESSAGE),
            (TextContains("x"), Need.MESSAGE),
            (HasAttachment(), Need.MESSAGE),
            (TextContains(""), Need.INFO),
        ):
            self.assertIs(Matcher(query).needs, need)


#: Lines that make messages in which text does not stand as it is read, or nearly so.
LINES = st.sampled_from(
    [
        b"Subject: one two",
        b"Subject : Two",
        b"\tthree",
        b" FOUR: five",
        b"Subject: =?utf-8?q?o=6Ee?=",
        b"From:one",
        b"no colon one",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Type: text/plain; charset=utf-7",
        b'Content-Type: text/html; charset="us-ascii"',
        b"Content-Type: text/plain; charset*0=utf; charset*1=-7",
        b"Content-Type: text/plain; charset==?utf-8?q?utf-7?=",
        b"Content-Type: text/plain; charset = utf-7",
        b"Content-Type: text/plain;\r\n charset=utf-7",
        b"Content-Type: multipart/mixed; boundary=b",
        b"Content-Transfer-Encoding: 7bit",
        b"Content-Transfer-Encoding\r\n : Base64",
        b"Content-Transfer-Encoding: (seven) quoted-printable",
        b"Content-Transfer-Encoding: x-uuencode",
        b"--b",
        b"--b--",
        b"",
        b"",
        b"one two three",
        b"+AG8-ne o=6Ee tw=",
        b"b25lIHR3bw==",
        b"t\xc3\xb6o one",
    ]
)


class ShortcutTests(SynchronousTestCase):
    @settings(derandomize=True, max_examples=600, deadline=None)
    @given(
        st.lists(LINES, max_size=14),
        st.sampled_from(["one", "two", "TWO three", "four: five", "from: one", "zebra", "=", "=?"]),
    )
    def test_plain_messages_give_what_parsing_gives(self, lines: list[bytes], text: str) -> None:
        message = b"\r\n".join(lines)
        octets = message[: parse_header(message).body_start]

        def answers() -> list[bool | None]:
            queries = [BodyContains(text), TextContains(text), HeaderContains("Subject", text)]
            return [
                answer
                for matcher in map(Matcher, queries)
                for answer in (
                    matcher.by_message(INFO, message),
                    matcher.by_header(INFO, octets, True),
                )
            ]

        found = answers()
        shortcut = matching.screen
        matching.screen = lambda octets, header_alone: None
        try:
            self.assertEqual(found, answers())
        finally:
            matching.screen = shortcut

    def test_plain_message_without_the_text_is_not_parsed(self) -> None:
        def fail(*arguments: object) -> None:
            raise AssertionError("parsed")

        self.patch(matching, "parse_message", fail)
        message = b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nbody\r\n"
        for query in (BodyContains("zebra"), TextContains("zebra"), TextContains("zébra")):
            self.assertFalse(Matcher(query).by_message(INFO, message))


class FoldTests(SynchronousTestCase):
    @settings(derandomize=True, max_examples=300)
    @given(st.text())
    def test_case_and_composition_do_not_count(self, text: str) -> None:
        self.assertEqual(fold(fold(text)), fold(text))
        self.assertEqual(fold(text.lower()), fold(text.casefold()))

    def test_examples(self) -> None:
        for one, other in (
            ("Straße", "STRASSE"),
            ("É", "e\u0301"),
            ("ΟΔΟΣ", "οδος"),
            ("\uff21\uff22", "ab"),
            ("\u212b", "å"),
            ("\u210c", "h"),
            ("ﬁ", "FI"),
            ("KAPI", "kap\u0131"),
            ("a\tb", "a b"),
            ("é\tb", "É b"),
        ):
            self.assertEqual(fold(one), fold(other))

    @settings(derandomize=True, max_examples=300)
    @given(st.text(st.sampled_from("aÉß\u0301\u0323\u0345\u0f73\u1161ﬀ한\ufdfa "), max_size=200))
    def test_pieces_make_no_difference(self, text: str) -> None:
        whole = fold(text)
        self.patch(folding, "FOLD_PIECE", 8)
        # More marks than a piece holds are another matter.
        if not re.search("[\u0301\u0323\u0345\u0f73]{3}", text):
            self.assertEqual(fold(text), whole)

    def test_a_character_that_begins_anew_does_so_in_any_case(self) -> None:
        for code in range(0x110000):
            character = chr(code)
            if not unicodedata.combining(character) and folding._begins_anew(character):
                self.assertFalse(unicodedata.combining(fold(character)[0]), hex(code))

    def test_a_letter_with_very_many_marks(self) -> None:
        # Sorting them all at once would take minutes.
        text = "a" + "\u0301\u0323" * 200_000 + "end"
        self.assertTrue(fold(text).endswith("end"))
        message = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + text.encode()
        self.assertTrue(Matcher(BodyContains("\u0301end")).by_message(INFO, message))
        self.assertFalse(Matcher(TextContains("end\u0323")).by_message(INFO, message))


class FindAllTests(SynchronousTestCase):
    @settings(derandomize=True, max_examples=300)
    @given(
        st.lists(st.text("abÄß", min_size=1, max_size=4)), st.lists(st.text("abÄß", max_size=40))
    )
    def test_what_a_plain_scan_finds(self, words: list[str], texts: list[str]) -> None:
        self.patch(folding, "FOLD_PIECE", 4)
        self.patch(folding, "SEARCH_PIECE", 3)
        needles = {fold(word) for word in words}
        expected = {needle for needle in needles if any(needle in fold(text) for text in texts)}
        self.assertEqual(find_all(needles, texts), expected)

    def test_each_text_is_folded_once(self) -> None:
        message = "Subject: ä\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nöü é".encode()
        folded: list[str] = []
        fold_piece = folding._fold_piece

        def count(text: str) -> str:
            folded.append(text)
            return fold_piece(text)

        queries = [BodyContains(f"é{number}") for number in range(20)]
        queries += [TextContains(f"é{number}") for number in range(20)]
        matcher = Matcher(Or([*queries, BodyContains("É")]))
        self.patch(folding, "_fold_piece", count)
        self.assertTrue(matcher.by_message(INFO, message))
        self.assertEqual(folded.count("öü é"), 1)
        matcher = Matcher(Or([HeaderContains("Subject", text) for text in ("x", "y", "z")]))
        folded.clear()
        self.assertFalse(matcher.by_header(INFO, message, True))
        self.assertEqual(folded, ["ä"])
