"""Checks in the dialogue: what a client hears."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.checks.content import ContentLimits
from mailkit.checks.dnsbl import DNSLists
from mailkit.checks.early import EarlyTalkers
from mailkit.checks.greylist import Greylisting, MemoryValues
from mailkit.checks.helo import HeloSanity
from mailkit.checks.rates import Rates
from mailkit.checks.reverse import ReverseDNS
from mailkit.dns.records import RecordType
from tests.dns.fakes import FakeResolver
from tests.smtp.hooked import HookedServer, codes

PEER = "192.0.2.7"
MESSAGE = b"From: ann@example.net\r\nDate: Mon, 01 Jan 2024 12:00:00 +0000\r\n\r\nHello\r\n"


class WireTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)

    @property
    def reactor(self) -> IReactorTime:
        return cast(IReactorTime, self.clock)

    def transaction(self, server: HookedServer) -> list[str]:
        """The codes of a whole session."""
        return codes(server.whole(MESSAGE))

    def test_an_early_talker(self) -> None:
        server = HookedServer(EarlyTalkers(clock=self.reactor))
        self.assertEqual(server.answer(), b"")
        self.assertEqual(server.send(b"EHLO client.example\r\n"), b"")
        self.clock.advance(2)
        lines = server.answer().splitlines()
        self.assertEqual(lines[0], b"554 mx.example.org You must wait for the greeting")
        self.assertTrue(lines[1].startswith(b"503 "), lines)

    def test_a_patient_client(self) -> None:
        server = HookedServer(EarlyTalkers(clock=self.reactor))
        self.clock.advance(2)
        self.assertEqual(server.answer(), b"220 mx.example.org ESMTP ready\r\n")
        self.assertEqual(self.transaction(server)[-2:], ["250 2.0.0"] * 2)

    def test_greylisting(self) -> None:
        check = Greylisting(MemoryValues(clock=self.reactor), clock=self.reactor)
        server = HookedServer(check)
        answer = server.whole(MESSAGE)
        self.assertIn(b"450 4.7.1 Greylisted, please try again in 60 seconds\r\n", answer)
        server.send(b"RSET\r\n")
        self.clock.advance(60)
        self.assertEqual(self.transaction(server)[-2:], ["250 2.0.0"] * 2)
        self.assertEqual(len(server.delivery.received), 1)

    def test_a_block_list_and_postmaster(self) -> None:
        resolver = FakeResolver(addresses={"7.2.0.192.bl.example": ["127.0.0.2"]})
        check = DNSLists(resolver, block=["bl.example"], clock=self.reactor)
        server = HookedServer(check).greet()
        said = server.say(
            "MAIL FROM:<ann@example.net>", "RCPT TO:<bob@example.org>", "RCPT TO:<Postmaster>"
        )
        refusal = f"550 5.7.1 Mail from [{PEER}] is refused: {PEER} is on the list bl.example"
        self.assertEqual(said[1:], [refusal, "250 2.1.5 Recipient OK"])

    def test_quarantine(self) -> None:
        server = HookedServer(HeloSanity(single_label="quarantine"))
        server.say("EHLO pc17")
        server.say("MAIL FROM:<ann@example.net>", "RCPT TO:<bob@example.org>", "DATA")
        self.assertEqual(codes(server.send_message(MESSAGE)), ["250 2.0.0"])
        envelope, _ = server.delivery.received[0]
        self.assertEqual(envelope.quarantine, "pc17: that is not a fully qualified name")

    def test_the_confirmed_name_stands_in_the_trace(self) -> None:
        resolver = FakeResolver(names={PEER: ["mx.client.example"]})
        resolver.add("mx.client.example", RecordType.A, PEER)
        server = HookedServer(ReverseDNS(resolver, clock=self.reactor))
        self.transaction(server)
        _, message = server.delivery.received[0]
        self.assertIn(b"mx.client.example", message.partition(b"\r\nFrom: ")[0])

    def test_content(self) -> None:
        server = HookedServer(ContentLimits()).begin()
        answer = server.send_message(b"From: a@b.example\r\n" + MESSAGE)
        self.assertEqual(
            answer,
            b"554 5.6.0 The message is not accepted: it has more than one field From\r\n",
        )
        server = HookedServer(ContentLimits(max_depth=1)).begin()
        nested = b"Content-Type: message/rfc822\r\n\r\n" * 3
        self.assertEqual(codes(server.send_message(nested)), ["554 5.6.0"])
        self.assertEqual(server.delivery.received, [])


class RateTests(SynchronousTestCase):
    def server(self, **settings: Any) -> HookedServer:
        self.clock = Clock()
        return HookedServer(Rates(clock=cast(IReactorTime, self.clock), **settings))

    def test_connections_come_back_when_clients_leave(self) -> None:
        server = self.server(address_simultaneous=2)
        first = server.protocol
        server.connect()
        self.assertTrue(server.answer().startswith(b"220 "))
        second, third = server.protocol, (server.connect(), server.protocol)[1]
        self.assertEqual(
            server.answer(),
            b"421 mx.example.org Too many connections at the same time from your address\r\n",
        )
        self.assertTrue(server.closed)
        server.lose()
        self.assertNotIn(third, (first, second))
        server.protocol = first
        server.lose()
        server.connect()
        self.assertTrue(server.answer().startswith(b"220 "))

    def test_messages(self) -> None:
        server = self.server(address_messages="1/minute").greet()
        said = server.say("MAIL FROM:<a@b.example>", "RSET", "MAIL FROM:<a@b.example>")
        self.assertEqual(said[0], "250 2.1.0 Sender OK")
        self.assertTrue(said[2].startswith("450 4.7.1 Too many messages, try again in "), said)

    def test_errors(self) -> None:
        server = self.server(address_errors="3/10m", tarpit_after=100).greet()
        server.say("WHAT", "WHAT", "WHAT")
        (said,) = server.say("MAIL FROM:<a@b.example>")
        self.assertTrue(said.startswith("421 4.7.0 "), said)
        self.assertTrue(server.closed)
        server.lose()
        server.connect()
        self.assertTrue(server.answer().startswith(b"421 "))

    def test_the_tarpit(self) -> None:
        server = self.server(tarpit_after=1, tarpit_delay=3.0).greet()
        server.say("WHAT", "WHAT")
        self.assertEqual(server.say("MAIL FROM:<a@b.example>"), [])
        self.clock.advance(3)
        self.assertEqual(server.answer(), b"250 2.1.0 Sender OK\r\n")

    def test_whoever_is_told_to_come_back_makes_no_error(self) -> None:
        clock = Clock()
        reactor = cast(IReactorTime, clock)
        rates = Rates(clock=reactor, address_errors="3/10m", tarpit_after=2)
        greylisting = Greylisting(MemoryValues(clock=reactor), clock=reactor)
        server = HookedServer(rates, greylisting).greet()
        server.say("MAIL FROM:<ann@example.net>")
        said = server.say(*(f"RCPT TO:<user{number}@example.org>" for number in range(20)))
        self.assertEqual([line[:9] for line in said], ["450 4.7.1"] * 20)
        # Real errors count all the same.
        server.say("WHAT", "WHAT", "WHAT")
        (line,) = server.say("RCPT TO:<bob@example.org>")
        self.assertTrue(line.startswith("421 4.7.0 Too many errors"), line)
