"""Names of clients, confirmed in both directions."""

from __future__ import annotations

from typing import Any

from mailkit.checks.reverse import ReverseDNS
from mailkit.dns.records import Answer, RecordType
from mailkit.errors import DNSTimeout
from mailkit.hooks import MailSession, Quarantine
from tests.checks.support import PEER, CheckCase, make_envelope, make_recipient, make_session
from tests.dns.fakes import FakeResolver


class ReverseTests(CheckCase):
    def check(self, **settings: Any) -> ReverseDNS:
        return ReverseDNS(self.resolver, clock=self.reactor, **settings)

    def name_of(self, session: MailSession) -> str:
        self.assertIsNone(self.judge(self.check(), session))
        return session.client_name

    def test_a_confirmed_name(self) -> None:
        self.resolver = FakeResolver(
            names={PEER: ["other.example", "MX.Client.example"], "2001:db8::1": ["six.example"]},
            addresses={
                "other.example": ["192.0.2.99"],
                "MX.Client.example": ["192.0.2.98", PEER],
                "six.example": ["2001:db8::1"],
            },
        )
        self.assertEqual(self.name_of(make_session()), "mx.client.example")
        self.assertEqual(self.name_of(make_session(f"::ffff:{PEER}")), "mx.client.example")
        self.assertEqual(self.name_of(make_session("2001:db8::1")), "six.example")

    def test_a_name_that_a_proxy_told_stays(self) -> None:
        self.resolver = FakeResolver(names={PEER: ["a.example"]}, addresses={"a.example": [PEER]})
        self.assertEqual(self.name_of(make_session(client_name="told.example")), "told.example")

    def test_policies(self) -> None:
        answer = self.judge(self.check(missing="reject"))
        self.assert_refused(answer, 550, "5.7.25", f"[{PEER}] has no name in DNS")
        self.resolver = FakeResolver(names={PEER: ["a.example"]}, addresses={"a.example": ["::2"]})
        session = make_session()
        answer = self.judge(self.check(missing="reject", unconfirmed="defer"), session)
        self.assert_refused(answer, 450, "4.7.25", "leads back")
        self.assertEqual(session.client_name, "")
        self.assertIsNone(self.judge(self.check(missing="reject")))

    def test_dns_does_not_answer(self) -> None:
        self.resolver = FakeResolver(names={PEER: ["a.example"]})
        self.resolver.trouble["a.example"] = DNSTimeout()
        self.assertIsNone(self.judge(self.check(missing="reject", unconfirmed="reject")))
        self.assertEqual(
            self.judge(self.check(unknown="quarantine")),
            Quarantine(f"[{PEER}] is not told by DNS just now"),
        )

    def test_trouble_with_the_addresses_of_the_other_family_alone(self) -> None:
        # What it has by IPv4 tells nothing of a client that comes by IPv6, and the other way round.
        six = "2001:db8::1"
        self.resolver = FakeResolver(
            names={PEER: ["a.example"], six: ["a.example"]}, addresses={"a.example": [PEER]}
        )
        lookup = self.resolver.lookup

        async def fail(name: str, type: RecordType) -> Answer:
            if type is RecordType.AAAA:
                raise DNSTimeout
            return await lookup(name=name, type=type)

        self.patch(self.resolver, "lookup", fail)
        answer = self.judge(self.check(unconfirmed="reject", unknown="defer"), make_session(six))
        self.assert_refused(answer, 450, "4.7.25", "just now")
        self.assertEqual(self.name_of(make_session()), "a.example")

    def test_the_client_is_greeted_meanwhile_and_waited_for_at_rcpt(self) -> None:
        self.resolver.slow = True
        session = make_session()
        check = self.check(unknown="defer", timeout=4.0)
        self.assertIsNone(self.ask(check.connect, session))
        self.assertEqual(len(self.resolver.asked), 1)
        waiting = self.begin(check.rcpt, session, make_envelope(session), make_recipient())
        self.clock.advance(3.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.assert_refused(self.successResultOf(waiting), 450, "4.7.25", "just now")

    def test_names_are_limited(self) -> None:
        names = [f"{number}.example" for number in range(20)]
        self.resolver = FakeResolver(names={PEER: names})
        self.judge(self.check(max_names=3))
        self.assertEqual(len(self.resolver.asked), 4)

    def test_local_clients_are_not_looked_up(self) -> None:
        self.judge(self.check(missing="reject"), make_session("127.0.0.1"))
        self.judge(self.check(missing="reject"), make_session(protocol="submission"))
        self.assertEqual(self.resolver.asked, [])
