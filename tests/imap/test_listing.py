"""Patterns and attributes of LIST and LSUB."""

from __future__ import annotations

import re
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import LimitExceeded
from mailkit.imap.listing import Listed, Listing, list_subscribed, matcher
from mailkit.model import MailboxInfo

PATTERNS = st.text(alphabet="ab/*%", max_size=12)
NAMES = st.text(alphabet="ab/", max_size=12)


def mailbox(name: str, **changes: object) -> MailboxInfo:
    info = MailboxInfo(name, "", 1, 1, 1, 0, 0, 0, 1)
    return info._replace(**changes)  # type: ignore[arg-type]


class MatcherTests(SynchronousTestCase):
    @given(PATTERNS, NAMES)
    def test_as_a_regular_expression_would(self, pattern: str, name: str) -> None:
        expression = "".join(
            {"*": ".*", "%": "[^/]*"}.get(character, re.escape(character)) for character in pattern
        )
        self.assertEqual(matcher("", pattern)(name), re.fullmatch(expression, name) is not None)

    @given(st.lists(PATTERNS, min_size=1, max_size=5), st.text(alphabet="abINOX/", max_size=8))
    def test_several_patterns_match_what_one_of_them_does(
        self, patterns: list[str], name: str
    ) -> None:
        self.assertIs(matcher("", *patterns)(name), any(matcher("", p)(name) for p in patterns))

    def test_reference_comes_first(self) -> None:
        self.assertTrue(matcher("a/", "%")("a/b"))
        self.assertFalse(matcher("a/", "%")("b"))

    def test_inbox_in_any_case(self) -> None:
        self.assertTrue(matcher("", "inbox")("INBOX"))
        self.assertTrue(matcher("", "iN*")("INBOX"))
        self.assertFalse(matcher("", "sent")("Sent"))

    def test_many_wildcards_take_linear_time(self) -> None:
        began = time.process_time()
        self.assertFalse(matcher("", "*a" * 1000 + "b")("a" * 1000))
        self.assertFalse(matcher("", "%*" * 30000 + "b")("a" * 1000))
        self.assertLess(time.process_time() - began, 8)

    def test_many_patterns_and_mailboxes_take_little_time(self) -> None:
        names = [f"{number:04}" + "a" * 900 for number in range(1000)]
        patterns = ["*" + "a" * 36 + str(number % 10) for number in range(100)]
        test = matcher("", *patterns)
        began = time.process_time()
        self.assertFalse(any(test(name) for name in names))
        self.assertLess(time.process_time() - began, 8)

    def test_patterns_that_are_too_long(self) -> None:
        self.assertRaises(LimitExceeded, matcher, "", "a" * 5000)
        self.assertRaises(LimitExceeded, matcher, "", *["a" * 1000] * 5)
        self.assertRaises(LimitExceeded, next, Listing([]).list("a" * 5000, ["*"]))


class ListingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.listing = Listing(
            [
                mailbox("INBOX"),
                mailbox("Sent", special_use="\\Sent"),
                mailbox("a/b"),
                mailbox("a/b/c/d"),
                mailbox("x", selectable=False),
                mailbox("x/y"),
            ]
        )

    def names(self, pattern: str) -> list[str]:
        return [line.name for line in self.listing.list("", [pattern]) if line]

    def test_star(self) -> None:
        self.assertEqual(self.names("*"), ["INBOX", "Sent", "a/b", "a/b/c/d", "x", "x/y"])

    def test_percent_lists_levels_that_are_no_mailboxes(self) -> None:
        self.assertEqual(self.names("%"), ["INBOX", "Sent", "x", "a"])
        self.assertEqual(self.names("a/b/%"), ["a/b/c"])
        # Only at the end of the pattern (RFC 3501 section 6.3.8).
        self.assertEqual(self.names("%/b"), ["a/b"])
        self.assertEqual(self.names("a"), [])

    def test_attributes(self) -> None:
        self.assertEqual(self.listing.attributes("a"), ["\\Noselect", "\\HasChildren"])
        self.assertEqual(self.listing.attributes("x"), ["\\Noselect", "\\HasChildren"])
        self.assertEqual(self.listing.attributes("a/b"), ["\\HasChildren"])
        self.assertEqual(self.listing.attributes("Sent"), ["\\HasNoChildren", "\\Sent"])

    def test_rendering(self) -> None:
        self.assertEqual(
            Listed('a "b" & ü', ["\\Noselect"]).render(b"LIST"),
            b'* LIST (\\Noselect) "/" "a \\"b\\" &- &APw-"\r\n',
        )

    def test_subscribed_names(self) -> None:
        lines = list_subscribed(["gone/deep", "INBOX", "x/y"], self.listing, "", "*")
        self.assertEqual(
            list(lines),
            [
                Listed("gone/deep", ["\\Noselect"]),
                Listed("INBOX", ["\\HasNoChildren"]),
                Listed("x/y", ["\\HasNoChildren"]),
            ],
        )

    def test_levels_above_subscribed_names(self) -> None:
        # RFC 3501 section 6.3.9: "foo/bar" subscribed, "foo" not, pattern "%".
        lines = list_subscribed(["INBOX", "x/y", "a/b/c/d"], self.listing, "", "%")
        self.assertEqual(
            list(filter(None, lines)),
            [
                Listed("INBOX", ["\\HasNoChildren"]),
                Listed("a", ["\\Noselect"]),
                Listed("x", ["\\Noselect"]),
            ],
        )
