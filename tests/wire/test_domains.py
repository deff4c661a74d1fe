"""Domain names, and how people are shown them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire.domains import canonical_domain, displayed_address, displayed_domain


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
