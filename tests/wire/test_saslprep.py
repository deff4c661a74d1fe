"""User names that compare (RFC 4013)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire.saslprep import MAX_TEXT, Unprepared, fold_text, saslprep


class SASLprepTests(SynchronousTestCase):
    def test_examples(self) -> None:
        # RFC 4013 section 3
        for text, prepared in (
            ("I\xadX", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\xaa", "a"),
            ("\u2168", "IX"),
            ("a\xa0b", "a b"),
            ("", ""),
            ("\xad", ""),
            ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),
        ):
            self.assertEqual(saslprep(text), prepared, text)

    def test_refused(self) -> None:
        for text in (
            "\x07", "\u0627\u0031", "\u0627a\u0627", "\x7f", "\ue000", "\ufdd0", "\ud800",
            "\ufffd", "\u2ff0", "\u200e", "\U000e0041", "\U0001f600",
        ):  # fmt: skip
            with self.assertRaises(Unprepared, msg=repr(text)):
                saslprep(text)

    def test_folded_whatever_it_contains(self) -> None:
        for text, folded in (
            ("I\xadX\x07", "IX\x07"),
            ("\u1680\u2168", " IX"),
            ("\ud800\u200b", "\ud800"),
        ):
            self.assertEqual(fold_text(text), folded)

    def test_what_is_too_long_is_not_normalised(self) -> None:
        """NFKC sorts marks in quadratic time, and makes eighteen characters of some."""
        for text in ("\u0301\u0316" * MAX_TEXT, "a" * MAX_TEXT + "\xaa"):
            self.assertEqual(fold_text(text), text)
            self.assertRaises(Unprepared, saslprep, text)
        self.assertRaises(Unprepared, saslprep, "\ufdfa" * 100)
        self.assertEqual(saslprep("\xaa" * MAX_TEXT), "a" * MAX_TEXT)
