"""Domain names, and how people are shown them."""

from __future__ import annotations

import unicodedata
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire import domains as module
from mailkit.wire.domains import (
    MAX_DOMAIN,
    canonical_domain,
    displayed_address,
    displayed_domain,
    is_dns_name,
)


class CanonicalDomainTests(SynchronousTestCase):
    def test_what_is_too_long_is_not_encoded(self) -> None:
        """Punycode takes quadratic time: 20 s for the longest user name that IMAP reads."""
        letters = "".join(map(chr, range(0x4E00, 0x4E00 + MAX_DOMAIN)))
        encoded: list[int] = []

        def count(form: str, text: str) -> str:
            encoded.append(len(text))
            return normalize(form, text)

        normalize = module.unicodedata.normalize
        with patch.object(module.unicodedata, "normalize", count):
            for domain in (f"{letters * 4}x", letters * 40, "\ud800" * 1100, "\xe9." * 10_000):
                canonical = canonical_domain(domain)
                self.assertNotIn("xn--", canonical)
                self.assertTrue(canonical.isascii())
                self.assertFalse(is_dns_name(canonical))
            self.assertEqual(encoded, [])
            # NFKC makes eighteen characters of the second.
            for domain in (f"{letters}x", "\ufdfa" * MAX_DOMAIN):
                canonical = canonical_domain(domain)
                self.assertNotIn("xn--", canonical)
                self.assertFalse(is_dns_name(canonical))

    def test_letters_that_are_written_apart(self) -> None:
        domain = ".".join(["\ud55c\uad6d\uc5b4" * 6] * 4)
        apart = unicodedata.normalize("NFD", domain)
        self.assertGreater(len(apart), 3 * MAX_DOMAIN // 4)
        self.assertEqual(canonical_domain(apart), canonical_domain(domain))
        self.assertIn("xn--", canonical_domain(apart))

    def test_the_longest(self) -> None:
        label = "\xfc" + "a" * 53
        domain = ".".join([label] * 4)
        canonical = canonical_domain(domain)
        self.assertEqual(displayed_domain(canonical), domain)
        self.assertTrue(is_dns_name(canonical))


class DisplayedDomainTests(SynchronousTestCase):
    def test_a_labels_become_what_was_typed(self) -> None:
        for typed in (
            "münchen.example",
            "straße.example",
            "例え.テスト",
            "пример.рф",
            "a.bücher.b",
        ):
            self.assertNotEqual(canonical_domain(typed), typed)
            self.assertEqual(displayed_domain(canonical_domain(typed)), typed)

    def test_whatever_is_none_stays(self) -> None:
        for domain in (
            *("example.org", "", "xn--", "xn--a.example", "xn--99999999.example"),
            # What nobody could type, or would be another name: capitals, ASCII alone, parts that
            # turn the line around or end it, labels within a label.
            *("xn--Bcher-kva.example", "xn--abc-.example", "xn--a-0fv.example", "xn--a-ecp.ru"),
            *(
                canonical_domain(f"a{odd}b.example")
                for odd in ("\u202e", "\u200b", "\x85", "\ud800")
            ),
        ):
            self.assertEqual(displayed_domain(domain), domain)

    def test_what_is_shown_names_the_same_domain(self) -> None:
        for domain in ("xn--mnchen-3ya.example", "xn--strae-oqa.xn--p1ai", "xn--abc-.example"):
            self.assertEqual(canonical_domain(displayed_domain(domain)), domain)

    def test_addresses(self) -> None:
        for typed in ("müller@münchen.example", "ann@example.org", "@bücher.example", "ann"):
            local, at, domain = typed.rpartition("@")
            self.assertEqual(displayed_address(f"{local}{at}{canonical_domain(domain)}"), typed)
        self.assertEqual(displayed_address("xn--mnchen-3ya"), "xn--mnchen-3ya")
