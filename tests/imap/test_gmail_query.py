"""X-GM-RAW: what people write in Gmail's search field, as queries."""

from __future__ import annotations

import datetime

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import MailError
from mailkit.imap.gmail_query import MAX_DEPTH, MAX_TERMS, parse_gmail_query
from mailkit.imap.labels import Labelled
from mailkit.query import (
    All,
    And,
    ArrivedSince,
    Comparison,
    HasAttachment,
    HasFlag,
    HeaderContains,
    InternalDate,
    Larger,
    Not,
    Or,
    Query,
    Smaller,
    TextContains,
)

NOW = 1_000_000_000
DAY = 24 * 60 * 60


def text(words: str) -> Query:
    return TextContains(words)


def header(name: str, words: str) -> Query:
    return HeaderContains(name, words)


class QueryTests(SynchronousTestCase):
    def check(self, raw: str, *expected: Query) -> None:
        self.assertEqual(parse_gmail_query(raw, NOW), And(expected), raw)

    def test_words_and_phrases(self) -> None:
        self.check("hello", text("hello"))
        self.check("  two\twords ", text("two"), text("words"))
        self.check(
            '"a (whole) phrase: or so" +exact', text("a (whole) phrase: or so"), text("exact")
        )
        self.check("12:30 a-b OR-der Orange", text("12:30"), text("a-b"), text("OR-der"),
                   text("Orange"))  # fmt: skip
        self.check("a AND b", text("a"), text("b"))

    def test_negation(self) -> None:
        self.check("-spam", Not(text("spam")))
        self.check('-"to you" -from:bob', Not(text("to you")), Not(header("From", "bob")))
        self.check("-(a b)", Not(And((text("a"), text("b")))))

    def test_alternatives(self) -> None:
        # OR binds closer than what stands side by side.
        self.check("a OR b c", Or((text("a"), text("b"))), text("c"))
        self.check("a b OR c OR d", text("a"), Or((Or((text("b"), text("c"))), text("d"))))
        self.check("{a from:b}", Or((text("a"), header("From", "b"))))
        self.check("(a b) OR -c", Or((And((text("a"), text("b"))), Not(text("c")))))

    def test_header_fields(self) -> None:
        self.check("from:ann@example.org", header("From", "ann@example.org"))
        self.check(
            'TO:"Bob B"', Or((header("To", "Bob B"), header("Cc", "Bob B"), header("Bcc", "Bob B")))
        )
        self.check("cc:a bcc:b", header("Cc", "a"), header("Bcc", "b"))
        self.check("subject:(a b)", And((header("Subject", "a"), header("Subject", "b"))))
        self.check("from:{a b}", Or((header("From", "a"), header("From", "b"))))
        self.check("from:(a OR -b)", And((Or((header("From", "a"), Not(header("From", "b")))),)))
        self.check("list:x deliveredto:y", header("List-Id", "x"), header("Delivered-To", "y"))
        self.check("rfc822msgid:<1@x>", header("Message-ID", "1@x"))
        self.check("subject:me", header("Subject", "me"))

    def test_states_and_places(self) -> None:
        self.check("is:unread is:read", Not(HasFlag("\\Seen")), HasFlag("\\Seen"))
        self.check("is:Starred in:important", HasFlag("\\Flagged"), HasFlag("$Important"))
        self.check("has:attachment in:unread", HasAttachment(), Not(HasFlag("\\Seen")))
        self.check("in:inbox in:drafts", Labelled("\\Inbox", True), Labelled("\\Draft", True))
        self.check(
            'label:"Two words" label:a-b', Labelled("Two words", True), Labelled("a-b", True)
        )
        self.check("in:anywhere label:starred", All(), HasFlag("\\Flagged"))

    def test_times(self) -> None:
        day = datetime.date(2004, 4, 16)
        self.check("before:2004/04/16", InternalDate(Comparison.BEFORE, day))
        self.check("after:2004-4-16", InternalDate(Comparison.SINCE, day))
        self.check("older:04/16/2004", InternalDate(Comparison.BEFORE, day))
        self.check("newer:1081987200", ArrivedSince(1081987200))
        self.check("before:1081987200", Not(ArrivedSince(1081987200)))
        self.check("older_than:2d", Not(ArrivedSince(NOW - 2 * DAY + 1)))
        self.check("newer_than:1y", ArrivedSince(NOW - 365 * DAY))
        self.check("newer_than:3M", ArrivedSince(NOW - 90 * DAY))

    def test_sizes(self) -> None:
        self.check("larger:10M", Larger(10 * 1024 * 1024))
        self.check("size:1000", Larger(1000))
        self.check("smaller:5kb", Smaller(5120))

    def test_what_is_not_understood(self) -> None:
        for raw, fault in (
            ("", "The search is empty"),
            ("   ", "The search is empty"),
            ("category:social", "category: is not known here"),
            ("http://example.org", "http: is not known here"),
            ("filename:x.pdf", "filename: is not known here"),
            ("from:(to:x)", "to: is not known here"),
            ("from:", "A word is missing"),
            ("from: ann", "A word is missing"),
            ("-", "A word is missing"),
            ('"', "A word is missing"),
            ('"open', "A word is missing"),
            ('""', "A word is missing"),
            ("(a", "A ) is missing"),
            ("{a", "A } is missing"),
            ("a)", "There is a ) too many"),
            ("(a}", "There is a } too many"),
            ("()", "There is nothing between"),
            ("from:{}", "There is nothing between"),
            ("OR a", "OR stands between two terms"),
            ("a OR OR b", "OR stands between two terms"),
            ("(a OR )", "OR stands between two terms"),
            ("has:star", "has: knows attachment"),
            ("is:muted", "is: knows unread"),
            ("to:me", '"me" is not known here'),
            ("before:yesterday", "A day looks like"),
            ("after:2004/13/01", "There is no such day"),
            ("after:2004/02/30", "There is no such day"),
            ("older_than:2w", "An age looks like"),
            ("larger:big", "A size looks like"),
            ("larger:-1", "A size looks like"),
            ("a " * (MAX_TERMS + 1), "The search is too complex"),
            ("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1), "The search is too complex"),
            ("-" * (MAX_DEPTH + 1) + "a", "The search is too complex"),
            ("-" * 5000, "The search is too complex"),
        ):
            with self.assertRaises(MailError) as caught:
                parse_gmail_query(raw, NOW)
            self.assertTrue(caught.exception.text.startswith(fault), (raw, caught.exception.text))

    def test_limits(self) -> None:
        parse_gmail_query("a " * MAX_TERMS, NOW)
        parse_gmail_query("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH, NOW)
