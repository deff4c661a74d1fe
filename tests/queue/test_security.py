"""How secure a connection must be: settings, DANE, REQUIRETLS, TLS-Required."""

from __future__ import annotations

import io
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailkit._typing import override
from mailkit.dns.records import TLSA, RecordType
from mailkit.errors import DNSFailure, MailError
from mailkit.queue.hosts import ExchangerFinder, FixedHosts, Host
from mailkit.queue.security import Decision, DestinationSecurity, HostNotSecure, Wish, wish_of
from mailkit.queue.sts import STSMode, STSPolicies, STSPolicy
from mailkit.smtp.client import TLSFailed, TLSMode, TLSPolicy
from mailkit.spool import PrefixedFile
from mailkit.testing.queue import queue_envelope

from ..dns.fakes import FakeResolver

OPPORTUNISTIC = TLSPolicy.opportunistic()
GOOD = TLSA(3, 1, 1, b"k" * 32)
BASE = "_25._tcp.mx.example.net"


class DecisionCase(SynchronousTestCase):
    """A domain in a signed zone, with one exchanger."""

    def setUp(self) -> None:
        self.resolver = FakeResolver(
            exchangers={"example.net": [(1, "mx.example.net")]},
            addresses={"mx.example.net": ["192.0.2.1"]},
        )
        self.resolver.secure = {"example.net", "mx.example.net", BASE}
        self.security = DestinationSecurity(self.resolver)

    def host(self, domain: str = "example.net") -> Host:
        finder = ExchangerFinder(self.resolver)
        return self.successResultOf(Deferred.fromCoroutine(finder.find(domain)))[0]

    def decide(
        self,
        base: TLSPolicy = OPPORTUNISTIC,
        wish: Wish = Wish.NORMAL,
        host: Host | None = None,
    ) -> Decision:
        host = host or self.host()
        return self.successResultOf(Deferred.fromCoroutine(self.security.decide(host, base, wish)))

    def refused(self, error: type[MailError], *arguments: Any, **named: Any) -> Any:
        host = named.pop("host", None) or self.host()
        base = named.pop("base", OPPORTUNISTIC)
        deciding = Deferred.fromCoroutine(self.security.decide(host, base, *arguments))
        return self.failureResultOf(deciding, error).value


class DANETests(DecisionCase):
    def test_no_records(self) -> None:
        decision = self.decide()
        self.assertEqual(decision.policy, TLSPolicy(hostname="mx.example.net"))
        self.assertEqual(decision.reason, "opportunistic")

    def test_records(self) -> None:
        self.resolver.add(BASE, RecordType.TLSA, GOOD)
        decision = self.decide()
        self.assertEqual(decision.policy, TLSPolicy.dane("mx.example.net", [GOOD], ["example.net"]))
        self.assertEqual(decision.reason, f"dane: 1 TLSA at {BASE}")

    def test_addresses_are_asked_for_before_the_records(self) -> None:
        # RFC 7672 section 2.2.2: of servers without DNSSEC no TLSA records are asked for, for some fail.
        self.resolver.add(BASE, RecordType.TLSA, GOOD)
        self.resolver.secure.discard("mx.example.net")
        self.assertEqual(self.decide().policy.mode, TLSMode.OPPORTUNISTIC)
        self.assertNotIn((BASE, RecordType.TLSA), self.resolver.asked)

    def test_exchanger_that_nothing_proves(self) -> None:
        self.resolver.add(BASE, RecordType.TLSA, GOOD)
        self.resolver.secure.discard("example.net")
        self.assertEqual(self.decide().policy.mode, TLSMode.OPPORTUNISTIC)

    def test_records_that_nothing_proves(self) -> None:
        self.resolver.add(BASE, RecordType.TLSA, GOOD)
        self.resolver.secure.discard(BASE)
        self.assertEqual(self.decide().policy.mode, TLSMode.OPPORTUNISTIC)

    def test_records_that_cannot_be_had(self) -> None:
        # RFC 7672 section 2.1.2: the server is unreachable.
        self.resolver.trouble[BASE] = DNSFailure("SERVFAIL")
        self.refused(DNSFailure)

    def test_records_that_cannot_be_used(self) -> None:
        self.resolver.add(BASE, RecordType.TLSA, TLSA(1, 1, 1, b"k" * 32))
        self.resolver.add(BASE, RecordType.TLSA, TLSA(3, 1, 1, b"short"))
        decision = self.decide()
        self.assertEqual(decision.policy.mode, TLSMode.REQUIRED)
        self.assertEqual(decision.reason, "required: none of the TLSA records can be used")
        self.assertEqual(self.decide(TLSPolicy.verified()).policy.mode, TLSMode.VERIFIED)

    def test_alias_of_an_exchanger(self) -> None:
        self.resolver.aliases["mx.example.net"] = "real.example.org"
        self.resolver.add(BASE, RecordType.TLSA, GOOD)
        # Nothing at the end of the alias: its start counts.
        self.assertEqual(self.decide().policy.hostname, "mx.example.net")
        other = GOOD._replace(data=b"o" * 32)
        self.resolver.add("_25._tcp.real.example.org", RecordType.TLSA, other)
        self.resolver.secure.add("_25._tcp.real.example.org")
        decision = self.decide()
        names = ["mx.example.net", "example.net"]
        self.assertEqual(decision.policy, TLSPolicy.dane("real.example.org", [other], names))

    def test_alias_into_a_zone_that_is_not_signed(self) -> None:
        self.resolver.aliases["mx.example.net"] = "real.example.org"
        self.resolver.add(BASE, RecordType.TLSA, GOOD)
        self.resolver.secure.discard("mx.example.net")
        self.resolver.add("mx.example.net", RecordType.CNAME, "real.example.org")
        self.assertEqual(self.decide().policy.mode, TLSMode.OPPORTUNISTIC)
        self.resolver.secure_records.add(("mx.example.net", RecordType.CNAME))
        self.assertEqual(self.decide().policy.mode, TLSMode.DANE)

    def test_domain_that_is_an_alias(self) -> None:
        self.resolver.aliases["example.net"] = "example.org"
        self.resolver.add(BASE, RecordType.TLSA, GOOD)
        self.assertEqual(self.decide().policy.names, ("example.net", "example.org"))

    def test_many_records(self) -> None:
        for number in range(100):
            self.resolver.add(BASE, RecordType.TLSA, TLSA(3, 1, 1, bytes([number]) * 32))
        decision = self.decide()
        self.assertEqual(len(decision.policy.associations), 32)
        self.assertEqual(len(decision.applied.lines), 32)

    def test_long_records(self) -> None:
        self.resolver.add(BASE, RecordType.TLSA, TLSA(3, 0, 0, b"k" * 60_000))
        self.assertEqual(len(self.decide().applied.lines[0]), 600)

    def test_without_a_resolver(self) -> None:
        self.resolver.add(BASE, RecordType.TLSA, GOOD)
        self.security = DestinationSecurity()
        self.assertEqual(self.decide().policy.mode, TLSMode.OPPORTUNISTIC)


class SettingTests(DecisionCase):
    def test_no_tls_at_all(self) -> None:
        self.resolver.add(BASE, RecordType.TLSA, GOOD)
        self.assertEqual(self.decide(TLSPolicy.none()).policy.mode, TLSMode.NONE)

    def test_by_domain(self) -> None:
        for key, domain, applies in (
            ("example.net", "example.net", True),
            (".example.net", "example.net", False),
            (".example.net", "a.b.example.net", True),
            ("example.net", "a.example.net", False),
        ):
            self.security = DestinationSecurity(None, domains={key: TLSMode.VERIFIED})
            host = Host("mx.example.net", "192.0.2.1", 25, domains=(domain,))
            decision = self.decide(host=host)
            mode = TLSMode.VERIFIED if applies else TLSMode.OPPORTUNISTIC
            self.assertEqual(decision.policy.mode, mode, (key, domain))
            if applies:
                self.assertEqual(decision.reason, f"verified: setting for {domain}")

    def test_dane_as_a_setting(self) -> None:
        self.security = DestinationSecurity(self.resolver, domains={"example.net": TLSMode.DANE})
        self.assertEqual(self.refused(TLSFailed).result_type, "dane-required")
        self.resolver.add(BASE, RecordType.TLSA, TLSA(0, 0, 0, b""))
        self.assertEqual(self.refused(TLSFailed).result_type, "tlsa-invalid")
        self.resolver.add(BASE, RecordType.TLSA, GOOD)
        self.assertEqual(self.decide().policy.mode, TLSMode.DANE)

    def smart_host(self, name: str = "relay.example.net") -> Host:
        finder = FixedHosts([(name, 587)])
        (host,) = self.successResultOf(Deferred.fromCoroutine(finder.find("example.net")))
        return host

    def test_a_smart_host_has_records(self) -> None:
        base = "_587._tcp.relay.example.net"
        self.resolver = FakeResolver(addresses={"relay.example.net": ["192.0.2.9"]})
        self.resolver.secure = {"relay.example.net", base}
        self.security = DestinationSecurity(self.resolver)
        self.resolver.add(base, RecordType.TLSA, GOOD)
        decision = self.decide(host=self.smart_host())
        self.assertEqual(decision.policy, TLSPolicy.dane("relay.example.net", [GOOD], []))
        self.assertEqual(decision.reason, f"dane: 1 TLSA at {base}")
        # What may be an attack keeps the message here.
        self.resolver.trouble[base] = DNSFailure("SERVFAIL")
        self.refused(DNSFailure, host=self.smart_host())
        # The site has said more.
        verified = self.decide(TLSPolicy.verified(), host=self.smart_host())
        self.assertEqual(verified.policy.mode, TLSMode.VERIFIED)

    def test_a_smart_host_has_a_policy(self) -> None:
        # RFC 8461 section 3.4: it is the policy domain itself.
        class Policies(STSPolicies):
            def __init__(self) -> None:
                self.asked: list[str] = []

            @override
            async def find(self, domain: str) -> STSPolicy | None:
                self.asked.append(domain)
                names = ("relay.example.net",) if domain == "relay.example.net" else ("mx.example",)
                return STSPolicy(STSMode.ENFORCE, names, 86_400, "7")

        policies = Policies()
        self.security = DestinationSecurity(self.resolver, policies=policies)
        decision = self.decide(host=self.smart_host())
        self.assertEqual(decision.policy.mode, TLSMode.VERIFIED)
        self.assertEqual(decision.reason, "mta-sts enforce, policy 7")
        self.refused(TLSFailed, host=self.smart_host("other.example.net"))
        for base in (TLSPolicy.required(), TLSPolicy.verified(), TLSPolicy.none()):
            self.decide(base, host=self.smart_host())
        self.assertEqual(policies.asked, ["relay.example.net", "other.example.net"])

    def test_a_smart_host_that_dns_does_not_know(self) -> None:
        self.resolver.trouble["relay.example.net"] = DNSFailure("SERVFAIL")
        for name in ("relay.example.net", "gate", "192.0.2.9", "other.example.net"):
            decision = self.decide(host=self.smart_host(name))
            self.assertEqual((decision.policy.mode.value, decision.reason), ("opportunistic",) * 2)
        asked = {name for name, _ in self.resolver.asked}
        self.assertNotIn("gate", asked)
        self.assertNotIn("192.0.2.9", asked)

    def test_a_server_of_our_own(self) -> None:
        # Nobody is asked for it, for the setting counts.
        host = self.smart_host()
        decision = self.decide(TLSPolicy.required(), host=host)
        self.assertEqual(decision.policy.mode, TLSMode.REQUIRED)
        self.assertEqual(self.resolver.asked, [])
        domains = {"relay.example.net": TLSMode.NONE}
        self.security = DestinationSecurity(self.resolver, domains=domains)
        self.assertEqual(self.decide(host=host).policy.mode, TLSMode.NONE)
        implicit = TLSPolicy.verified(implicit=True)
        self.assertTrue(self.decide(implicit, host=host).policy.implicit)


class WishTests(DecisionCase):
    def wish(self, message: bytes, **fields: Any) -> Wish:
        return wish_of(queue_envelope("eve@example.net", **fields), io.BytesIO(message))

    def test_what_a_message_says(self) -> None:
        for message, wish in (
            (b"TLS-Required: No\r\n\r\nx", Wish.OPTIONAL),
            (b"Subject: x\r\ntls-required:no \r\n\r\nx", Wish.OPTIONAL),
            (b"TLS-Required: Yes\r\n\r\nx", Wish.NORMAL),
            (b"Subject: x\r\n\r\nTLS-Required: No\r\n", Wish.NORMAL),
            (b"", Wish.NORMAL),
        ):
            self.assertEqual(self.wish(message), wish, message)

    def test_field_behind_others_that_we_have_put_before(self) -> None:
        content: Any = PrefixedFile(
            b"DKIM-Signature: x\r\n", io.BytesIO(b"TLS-Required: No\r\n\r\n")
        )
        self.assertEqual(wish_of(queue_envelope("eve@example.net"), content), Wish.OPTIONAL)

    def test_requiretls_counts_for_more(self) -> None:
        self.assertEqual(self.wish(b"TLS-Required: No\r\n\r\n", require_tls=True), Wish.REQUIRED)

    def test_a_report_is_not_lost_for_requiretls(self) -> None:
        envelope = queue_envelope("eve@example.net", require_tls=True)
        envelope.reverse_path = envelope.reverse_path._replace(local_part="", domain="")
        self.assertEqual(wish_of(envelope, io.BytesIO(b"")), Wish.NORMAL)

    def test_requiretls(self) -> None:
        decision = self.decide(wish=Wish.REQUIRED)
        self.assertEqual(decision.policy, TLSPolicy.verified("mx.example.net"))
        self.assertEqual(decision.reason, "opportunistic; REQUIRETLS")
        self.resolver.add(BASE, RecordType.TLSA, GOOD)
        self.assertEqual(self.decide(wish=Wish.REQUIRED).policy.mode, TLSMode.DANE)

    def test_requiretls_needs_a_host_that_is_certain(self) -> None:
        # RFC 8689 section 4.2.1.
        self.resolver.secure.clear()
        error = self.refused(HostNotSecure, Wish.REQUIRED)
        self.assertFalse(error.temporary)

    def test_tls_required_no(self) -> None:
        self.resolver.add(BASE, RecordType.TLSA, GOOD)
        decision = self.decide(wish=Wish.OPTIONAL)
        self.assertEqual(decision.policy.mode, TLSMode.OPPORTUNISTIC)
        self.assertEqual(decision.reason, "opportunistic: TLS-Required: No")
        # The site's own setting is another matter.
        decision = self.decide(TLSPolicy.verified(), Wish.OPTIONAL)
        self.assertNotEqual(decision.policy.mode, TLSMode.OPPORTUNISTIC)
