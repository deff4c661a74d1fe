"""Which hosts get the mail of a domain (RFC 5321 section 5.1)."""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailkit.dns.records import MX
from mailkit.errors import DNSFailure, DomainAcceptsNoMail, MailError, MailLoop, NoSuchDomain
from mailkit.queue.hosts import ExchangerFinder, FixedHosts, Host

from ..dns.fakes import FakeResolver


def in_order(exchangers: MutableSequence[MX]) -> None:
    """Leaves exchangers of equal preference as they are."""


class ExchangerTests(SynchronousTestCase):
    def find(
        self,
        domain: str,
        exchangers: Mapping[str, Sequence[tuple[int, str]]] | None = None,
        addresses: Mapping[str, Sequence[str]] | None = None,
        **settings: Any,
    ) -> list[str]:
        self.resolver = FakeResolver(exchangers=exchangers or {}, addresses=addresses or {})
        settings.setdefault("shuffle", in_order)
        finder = ExchangerFinder(self.resolver, ["mail.example.org"], **settings)
        results: list[Any] = []
        Deferred.fromCoroutine(finder.find(domain)).addBoth(results.append)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return [f"{host.name} {host}" for host in results[0]]

    def test_preference(self) -> None:
        self.assertEqual(
            self.find(
                "example.net",
                {"example.net": [(20, "b.example.net"), (10, "a.example.net")]},
                {"a.example.net": ["192.0.2.1"], "b.example.net": ["192.0.2.2"]},
            ),
            ["a.example.net 192.0.2.1:25", "b.example.net 192.0.2.2:25"],
        )

    def test_equals_are_shuffled(self) -> None:
        exchangers = {"example.net": [(10, "a.example.net"), (10, "b.example.net")]}
        addresses = {"a.example.net": ["192.0.2.1"], "b.example.net": ["192.0.2.2"]}
        found = self.find(
            "example.net", exchangers, addresses, shuffle=lambda group: group.reverse()
        )
        self.assertEqual(found[0], "b.example.net 192.0.2.2:25")

    def test_both_kinds_of_addresses_in_turn(self) -> None:
        self.assertEqual(
            self.find(
                "example.net",
                {"example.net": [(1, "a.example.net")]},
                {"a.example.net": ["192.0.2.1", "192.0.2.2", "2001:db8::1"]},
                port=2525,
            ),
            [
                "a.example.net [2001:db8::1]:2525",
                "a.example.net 192.0.2.1:2525",
                "a.example.net 192.0.2.2:2525",
            ],
        )

    def test_implicit_exchanger(self) -> None:
        found = self.find("example.net", {}, {"example.net": ["192.0.2.1"]})
        self.assertEqual(found, ["example.net 192.0.2.1:25"])

    def test_no_implicit_exchanger_beside_others(self) -> None:
        # RFC 5321 section 5.1: if MX records are present, but none is usable, it is an error.
        with self.assertRaises(MailError):
            self.find(
                "example.net",
                {"example.net": [(1, "gone.example.net")]},
                {"example.net": ["192.0.2.1"]},
            )

    def test_null_exchanger(self) -> None:
        with self.assertRaises(DomainAcceptsNoMail):
            self.find("example.net", {"example.net": [(0, "")]}, {"example.net": ["192.0.2.1"]})
        with self.assertRaises(DomainAcceptsNoMail):
            two = {"example.net": [(0, ""), (10, "")]}
            self.find("example.net", two, {"example.net": ["192.0.2.1"]})

    def test_no_such_domain(self) -> None:
        for domain in ("nothing.example", "x" * 64 + ".example", "[what]", "[IPv6:zz]"):
            with self.assertRaises(NoSuchDomain):
                self.find(domain)

    def test_address_literals(self) -> None:
        self.assertEqual(self.find("[192.0.2.7]"), ["192.0.2.7 192.0.2.7:25"])
        self.assertEqual(self.find("[IPv6:2001:db8::7]"), ["2001:db8::7 [2001:db8::7]:25"])

    def test_we_are_an_exchanger(self) -> None:
        exchangers = {
            "example.net": [
                (10, "a.example.net"),
                (20, "MAIL.example.org"),
                (20, "b.example.net"),
                (30, "c.example.net"),
            ]
        }
        addresses = {f"{name}.example.net": ["192.0.2.1"] for name in "abc"}
        self.assertEqual(
            self.find("example.net", exchangers, addresses), ["a.example.net 192.0.2.1:25"]
        )

    def test_we_are_the_best_exchanger(self) -> None:
        with self.assertRaises(MailLoop):
            self.find("example.net", {"example.net": [(1, "mail.example.org"), (2, "b.example")]})

    def test_one_exchanger_without_an_answer_is_passed_over(self) -> None:
        resolver = FakeResolver(
            exchangers={"example.net": [(1, "a.example.net"), (2, "b.example.net")]},
            addresses={"b.example.net": ["192.0.2.2"]},
        )
        resolver.trouble["a.example.net"] = DNSFailure()
        finder = ExchangerFinder(resolver, shuffle=in_order)
        found = self.successResultOf(Deferred.fromCoroutine(finder.find("example.net")))
        self.assertEqual([host.name for host in found], ["b.example.net"])

    def test_no_answer_is_temporary(self) -> None:
        resolver = FakeResolver()
        resolver.trouble["example.net"] = DNSFailure()
        finder = ExchangerFinder(resolver)
        failure = self.failureResultOf(
            Deferred.fromCoroutine(finder.find("example.net")), DNSFailure
        )
        self.assertTrue(failure.value.temporary)

    def test_fixed_host(self) -> None:
        finder = FixedHosts([("relay.example.org", 587)])
        found = self.successResultOf(Deferred.fromCoroutine(finder.find("example.net")))
        self.assertEqual(found, [Host("relay.example.org", "relay.example.org", 587, True)])
        self.assertEqual(finder.key("example.net"), finder.key("example.com"))
