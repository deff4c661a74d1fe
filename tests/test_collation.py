"""Collations."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.collation import PIECE, any_contains, collate, unicode_casemap
from mailkit.query import Collation


class UnicodeCasemapTests(SynchronousTestCase):
    """RFC 5051 section 2"""

    def test_what_is_equal(self) -> None:
        for one, other in (
            ("Re: x", "rE: X"),
            ("\N{LATIN SMALL LETTER A WITH DIAERESIS}", "A\N{COMBINING DIAERESIS}"),
            ("straße", "STRAßE"),
            ("\N{LATIN SMALL LETTER DZ}", "\N{LATIN CAPITAL LETTER DZ}"),
            ("\N{CYRILLIC SMALL LETTER IO}", "\N{CYRILLIC CAPITAL LETTER IO}"),
            ("\N{FULLWIDTH LATIN CAPITAL LETTER A}b", "aB"),
            # Marks in any order.
            ("a\N{COMBINING DOT BELOW}\N{COMBINING ACUTE ACCENT}",
             "a\N{COMBINING ACUTE ACCENT}\N{COMBINING DOT BELOW}"),
        ):  # fmt: skip
            self.assertEqual(unicode_casemap(one), unicode_casemap(other), one)

    def test_what_is_not(self) -> None:
        self.assertNotEqual(unicode_casemap("a"), unicode_casemap("b"))
        # Other than in searches: there is no simple title case of this letter.
        self.assertNotEqual(unicode_casemap("ß"), unicode_casemap("ss"))

    def test_order(self) -> None:
        words = ["", " a", "(", "1", "A", "b", "_", "ä", "Ż"]
        ordered = sorted(words, key=unicode_casemap)
        # In capitals, letters come before the underscore; decomposed, they come together.
        self.assertEqual(ordered, ["", " a", "(", "1", "A", "ä", "b", "Ż", "_"])

    def test_a_half_of_a_pair(self) -> None:
        self.assertEqual(unicode_casemap("\ud800x"), b"?X")


class StrictTests(SynchronousTestCase):
    """RFC 4790 sections 9.2 and 9.3"""

    def test_ascii_casemap(self) -> None:
        one, other = (collate(text, Collation.ASCII_CASEMAP) for text in ("aZ[ä", "Az[ä"))
        self.assertEqual(one, other)
        self.assertNotEqual(one, collate("AZ[Ä", Collation.ASCII_CASEMAP))

    def test_octet(self) -> None:
        self.assertEqual(collate("aß", Collation.OCTET), "aß".encode())
        self.assertNotEqual(collate("a", Collation.OCTET), collate("A", Collation.OCTET))

    def test_unicode_casemap(self) -> None:
        self.assertEqual(collate("ä", Collation.UNICODE_CASEMAP), unicode_casemap("Ä"))

    def test_text_that_lies_across_two_pieces(self) -> None:
        for length in (PIECE - 3, PIECE, 2 * PIECE - 1):
            text = "x" * length + "Word" + "x" * 10
            self.assertTrue(any_contains([text], "Word", Collation.OCTET), length)
            self.assertFalse(any_contains([text], "word", Collation.OCTET))
            self.assertTrue(any_contains(["", text], "wORD", Collation.ASCII_CASEMAP))
        self.assertFalse(any_contains([], "x", Collation.OCTET))
