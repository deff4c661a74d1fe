"""Domains of senders."""

from __future__ import annotations

from typing import Any

from mailkit.checks.sender import SenderDomain
from mailkit.errors import DNSTimeout
from tests.checks.support import CheckCase
from tests.dns.fakes import FakeResolver


class SenderTests(CheckCase):
    def setUp(self) -> None:
        super().setUp()
        self.resolver = FakeResolver(
            exchangers={
                "good.example": [(10, "mx.good.example")],
                "silent.example": [(0, "")],
                "torn.example": [(0, ""), (10, "mx.good.example")],
                "inside.example": [(10, "mx.inside.example"), (20, "gone.example")],
            },
            addresses={
                "mx.good.example": ["8.8.8.8"],
                "host.example": ["8.8.4.4"],
                "six.example": ["2001:4860:4860::8888"],
                "mx.inside.example": ["10.0.0.1", "::1"],
                "loop.example": ["127.0.0.1"],
            },
            texts={"text.example": ["nothing else"]},
        )

    def said(self, sender: str, **settings: Any) -> Any:
        return self.judge(SenderDomain(self.resolver, **settings), sender=sender)

    def test_domains_that_take_mail(self) -> None:
        for domain in ("good.example", "host.example", "six.example"):
            self.assertIsNone(self.said(f"a@{domain}", unreachable="reject"), domain)

    def test_what_is_no_domain(self) -> None:
        for sender in ("", "a@[198.51.100.1]"):
            self.assertIsNone(self.said(sender))
        self.assertEqual(self.resolver.asked, [])

    def test_domains_that_do_not_exist(self) -> None:
        answer = self.said("a@none.example")
        self.assert_refused(answer, 550, "5.1.8", "The sender's domain none.example does not exist")
        self.assert_refused(self.said("a@text.example"), 550, "5.1.8", "has no mail exchanger")
        self.assert_refused(self.said("a@none.example", missing="defer"), 450, "4.1.8")
        self.assertIsNone(self.said("a@none.example", missing="none"))

    def test_null_mx(self) -> None:
        # RFC 7505 section 4.2
        self.assert_refused(self.said("a@silent.example"), 550, "5.7.27", "takes no mail")
        self.assertIsNone(self.said("a@silent.example", null_mx="none"))
        # RFC 7505 section 3: beside another exchanger it means nothing.
        self.assertIsNone(self.said("a@torn.example", unreachable="reject"))
        self.assertNotIn("", self.resolver.asked)

    def test_exchangers_that_cannot_be_reached(self) -> None:
        for domain in ("inside.example", "loop.example"):
            self.assertIsNone(self.said(f"a@{domain}"), domain)
            answer = self.said(f"a@{domain}", unreachable="reject")
            self.assert_refused(answer, 550, "5.1.8", "can be reached")

    def test_exchangers_are_limited(self) -> None:
        self.resolver = FakeResolver(
            exchangers={"many.example": [(n, f"{n}.many.example") for n in range(50)]}
        )
        self.said("a@many.example", unreachable="reject", max_exchangers=5)
        self.assertEqual(len(self.resolver.asked), 6)

    def test_dns_does_not_answer(self) -> None:
        self.resolver.trouble["good.example"] = DNSTimeout()
        self.assertIsNone(self.said("a@good.example"))
        answer = self.said("a@good.example", unknown="defer")
        self.assert_refused(answer, 451, "4.4.3", "cannot be looked up")
