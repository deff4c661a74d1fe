"""SEARCH keys to queries."""

from __future__ import annotations

import datetime

from twisted.trial.unittest import SynchronousTestCase

from mailkit import query
from mailkit.errors import BadCharset
from mailkit.imap.grammar import Arguments, SyntaxFault
from mailkit.imap.search import parse_search
from mailkit.imap.state import SelectedState
from mailkit.model import SEEN
from mailkit.query import Comparison, HasFlag, HeaderContains, Not, Query, UIDs

DAY = datetime.date(1994, 2, 1)


class KeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = SelectedState([3, 5, 9, 20], 0)
        self.state.add_recent(9, 20)
        self.offered = {b"WITHIN", b"OBJECTID", b"SAVEDATE"}

    def parse(self, octets: bytes) -> Query:
        return parse_search(
            Arguments(octets), self.state, 1_000_000.7, self.offered.__contains__, {}
        )

    def test_keys(self) -> None:
        for octets, expected in [
            (b"ALL", query.All()),
            (b"all", query.All()),
            (b"ANSWERED", HasFlag("\\Answered")),
            (b"DELETED", HasFlag("\\Deleted")),
            (b"DRAFT", HasFlag("\\Draft")),
            (b"FLAGGED", HasFlag("\\Flagged")),
            (b"SEEN", HasFlag("\\Seen")),
            (b"UNANSWERED", Not(HasFlag("\\Answered"))),
            (b"UNDELETED", Not(HasFlag("\\Deleted"))),
            (b"UNDRAFT", Not(HasFlag("\\Draft"))),
            (b"UNFLAGGED", Not(HasFlag("\\Flagged"))),
            (b"UNSEEN", Not(HasFlag("\\Seen"))),
            (b"KEYWORD $Forwarded", HasFlag("$Forwarded")),
            (b"UNKEYWORD Junk", Not(HasFlag("Junk"))),
            (b"BCC x", HeaderContains("Bcc", "x")),
            (b"CC x", HeaderContains("Cc", "x")),
            (b"FROM Smith", HeaderContains("From", "Smith")),
            (b'SUBJECT "a b"', HeaderContains("Subject", "a b")),
            (b"TO {3}\r\na b", HeaderContains("To", "a b")),
            (b'HEADER X-Spam ""', HeaderContains("X-Spam", "")),
            (b"BODY x", query.BodyContains("x")),
            (b"TEXT x", query.TextContains("x")),
            (b"BEFORE 1-Feb-1994", query.InternalDate(Comparison.BEFORE, DAY)),
            (b'ON "1-Feb-1994"', query.InternalDate(Comparison.ON, DAY)),
            (b"SINCE 1-Feb-1994", query.InternalDate(Comparison.SINCE, DAY)),
            (b"SENTBEFORE 1-Feb-1994", query.SentDate(Comparison.BEFORE, DAY)),
            (b"SENTON 1-Feb-1994", query.SentDate(Comparison.ON, DAY)),
            (b"SENTSINCE 1-Feb-1994", query.SentDate(Comparison.SINCE, DAY)),
            # RFC 5032 section 2: both include the second that they name.
            (b"YOUNGER 100", query.ArrivedSince(999_900)),
            (b"OLDER 100", Not(query.ArrivedSince(999_901))),
            (b"LARGER 100", query.Larger(100)),
            (b"SMALLER 100", query.Smaller(100)),
            (b"RECENT", UIDs(((9, 20),))),
            (b"OLD", Not(UIDs(((9, 20),)))),
            (b"NEW", query.And((UIDs(((9, 20),)), Not(HasFlag(SEEN))))),
            (b"2:3", UIDs(((5, 9),))),
            (b"1,3:*", UIDs(((3, 3), (9, 20)))),
            (b"7:9", UIDs(())),
            (b"UID 4:9,9,30", UIDs(((4, 9), (30, 30)))),
            (b"UID 100:*", UIDs(((20, 100),))),
            (b"NOT SEEN", Not(HasFlag(SEEN))),
            (b"OR SEEN ALL", query.Or((HasFlag(SEEN), query.All()))),
            (b"(SEEN ALL)", query.And((HasFlag(SEEN), query.All()))),
            (b"SEEN ALL", query.And((HasFlag(SEEN), query.All()))),
            (b"((SEEN))", HasFlag(SEEN)),
        ]:
            self.assertEqual(self.parse(octets), expected, octets)

    def test_example_of_the_standard(self) -> None:
        # RFC 3501 section 6.4.4
        self.assertEqual(
            self.parse(b'FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"'),
            query.And(
                (
                    HasFlag("\\Flagged"),
                    query.InternalDate(Comparison.SINCE, DAY),
                    Not(HeaderContains("From", "Smith")),
                )
            ),
        )

    def test_empty_mailbox(self) -> None:
        self.state = SelectedState((), 0)
        self.assertEqual(self.parse(b"1:*"), UIDs(()))
        self.assertEqual(self.parse(b"UID *"), UIDs(()))

    def test_charsets(self) -> None:
        for octets in (
            b"CHARSET UTF-8 TEXT {2}\r\n\xc3\xa4",
            b"CHARSET iso-8859-1 TEXT {1}\r\n\xe4",
            b'CHARSET "utf-7" TEXT "+AOQ-"',
            b"CHARSET UTF-16BE TEXT {2}\r\n\x01\xe4".replace(b"\x01\xe4", b"\x30\x42"),
            # lenient: UTF-8 without a charset.
            b"TEXT {2}\r\n\xc3\xa4",
        ):
            text = self.parse(octets)
            assert isinstance(text, query.TextContains)
            self.assertIn(text.text, ("ä", "あ"))

    def test_charsets_that_are_none(self) -> None:
        for name in (b"x-unknown", b"zlib", b"idna", b"punycode", b"unicode_escape", b"a" * 65):
            self.assertRaises(BadCharset, self.parse, b"CHARSET " + name + b" TEXT x")

    def test_strings_that_are_not_in_their_charset(self) -> None:
        self.assertRaises(BadCharset, self.parse, b"CHARSET UTF-8 TEXT {1}\r\n\xe4")
        self.assertRaises(BadCharset, self.parse, b"CHARSET US-ASCII TEXT {2}\r\n\xc3\xa4")

    def test_faults(self) -> None:
        for octets in (
            b"", b" ALL", b"FOO", b"()", b"(ALL", b"ALL)", b"NOT", b"OR ALL", b"FROM", b"LARGER x",
            b"BEFORE x", b"BEFORE 31-Feb-2000", b"UID x", b"UID", b"ALL  ALL", b"HEADER x",
            b"KEYWORD \\Seen", b"CHARSET", b"CHARSET UTF-8", b"SEEN,ALL", b"0", b"1:", b"\x80",
        ):  # fmt: skip
            self.assertRaises(SyntaxFault, self.parse, octets)

    def test_limits(self) -> None:
        self.parse(b"NOT " * 99 + b"ALL")
        self.assertRaises(SyntaxFault, self.parse, b"NOT " * 101 + b"ALL")
        self.assertRaises(SyntaxFault, self.parse, b"(" * 20000)
        self.assertRaises(SyntaxFault, self.parse, b"ALL " * 1001)
        self.assertRaises(SyntaxFault, self.parse, b"TEXT " + b"x" * 8193)
