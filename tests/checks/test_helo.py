"""What clients call themselves."""

from __future__ import annotations

from typing import Any

from mailkit.checks.helo import HeloSanity
from mailkit.hooks import Reject
from tests.checks.support import OWN, PEER, CheckCase, make_session


class HeloTests(CheckCase):
    def said(self, helo: str, peer: str = PEER, **settings: Any) -> Any:
        return self.judge(HeloSanity(**settings), make_session(peer, helo=helo))

    def test_our_own_name(self) -> None:
        for helo in ("mx.example.org", "MX.Example.ORG.", f"[{OWN}]", OWN):
            self.assert_refused(self.said(helo), 550, "5.7.1", "my own name")
        self.assert_refused(self.said("[MX.example.org]"), 550, "5.7.1", "my own name")
        answer = self.said("mail.example.org", own_names=["Mail.example.org"])
        self.assert_refused(answer, 550, "5.7.1", "mail.example.org: you are not")
        self.assertIsNone(self.said("mx.example.org", own_name="none"))

    def test_our_addresses_that_the_listener_does_not_know(self) -> None:
        # Behind a translator of addresses.
        own = ["192.0.2.77", "2001:db8::77", "[192.0.2.78]", "[IPv6:2001:db8::78]"]
        for helo in (
            "[192.0.2.77]",
            "192.0.2.77",
            "[192.0.2.78]",
            "[IPv6:2001:DB8:0::77]",
            "[IPv6:2001:db8::78]",
        ):
            self.assert_refused(self.said(helo, own_names=own), 550, "5.7.1", "my own name")
        self.assertIsNone(self.said("[192.0.2.79]", own_names=own))

    def test_by_default_only_that(self) -> None:
        for helo in ("client.example", "localhost", "[10.0.0.1]", "10.0.0.1", "[IPv6:fd00::1]"):
            self.assertIsNone(self.said(helo), helo)

    def test_literals(self) -> None:
        for helo, peer in (
            (f"[{PEER}]", PEER),
            ("[IPv6:2001:DB8:0::1]", "2001:db8::1"),
            (f"[{PEER}]", f"::ffff:{PEER}"),
            ("[Tag:what]", PEER),
        ):
            self.assertIsNone(self.said(helo, peer, other_literal="reject"), helo)
        for helo, peer in (("[198.51.100.8]", PEER), ("[IPv6:2001:db8::2]", "2001:db8::1")):
            answer = self.said(helo, peer, other_literal="reject")
            self.assert_refused(answer, 550, "5.7.1", "not the address you come from")

    def test_addresses_without_brackets(self) -> None:
        for helo in (PEER, "10.0.0.1", "2001:db8::1"):
            self.assertIsInstance(self.said(helo, bare_address="reject"), Reject)
        self.assertIsNone(self.said("1.example", bare_address="reject"))

    def test_single_labels(self) -> None:
        for helo in ("localhost", "PC17", "host.", "[localhost]", "[PC17.]"):
            self.assertIsInstance(self.said(helo, single_label="reject"), Reject)
        for helo in ("a.example", "[a.example]", f"[{PEER}]", "[IPv6:fd00::1]", "[Tag:what]"):
            self.assertIsNone(self.said(helo, single_label="reject"))
