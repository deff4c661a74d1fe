"""Collations."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.collation import unicode_casemap


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
