"""Questions to name servers on loopback: a zone of twisted.names, and servers that misbehave."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import DatagramProtocol
from twisted.names import dns, server
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.dns.lookups import find_addresses, find_exchangers, find_names, find_texts
from mailkit.dns.records import MX, TLSA, Answer, RecordType
from mailkit.dns.resolver import NEGATIVE_TTL, DNSResolver, ServerList
from mailkit.errors import DNSFailure, DNSTimeout
from tests.dns.fakes import FakeResolver
from tests.dns.zones import HOST, TLSARecord, Zone, serve_zone

reactor: Any = _reactor


def example_org() -> Zone:
    """example.org, and what is asked in reverse."""
    return Zone(
        b"example.org",
        {
            b"example.org": [
                dns.Record_MX(20, b"mx2.example.org"),
                dns.Record_MX(10, b"mx.example.org"),
            ],
            b"mx.example.org": [
                dns.Record_A("192.0.2.1", 600),
                dns.Record_AAAA("2001:DB8:0:0::1", 600),
            ],
            b"www.example.org": [dns.Record_CNAME(b"mx.example.org", 30)],
            b"silent.example.org": [dns.Record_MX(0, b"")],
            b"text.example.org": [dns.Record_TXT(b"two ", b"strings", b"\xff", ttl=5)],
            b"long.example.org": [dns.Record_TXT(b"x" * 250, ttl=n) for n in range(1, 10)],
            b"1.2.0.192.in-addr.arpa": [dns.Record_PTR(b"mx.example.org")],
            b"xn--bcher-kva.example.org": [dns.Record_A("192.0.2.9")],
        },
    )


class Script:
    """A name server that answers as a function says, by UDP."""

    def __init__(self, answer: Callable[[dns.Message], dns.Message | None]) -> None:
        self.answer = answer
        self.asked = 0

    def messageReceived(self, message: Any, protocol: Any, address: Any = None) -> None:  # noqa: N802
        self.asked += 1
        reply = self.answer(message)
        if reply is not None:
            protocol.writeMessage(reply, address)


def reply_to(message: dns.Message, **fields: Any) -> dns.Message:
    """An empty answer to a question."""
    reply = dns.Message(message.id, answer=1, recAv=1)
    reply.queries = message.queries
    for name, value in fields.items():
        setattr(reply, name, value)
    return reply


class ServerCase(TestCase):
    """Name servers on free ports."""

    def listen(self, protocol: DatagramProtocol) -> tuple[str, int]:
        port = reactor.listenUDP(0, protocol, interface=HOST)
        self.addCleanup(port.stopListening)
        return HOST, port.getHost().port

    def script(self, answer: Callable[[dns.Message], dns.Message | None]) -> tuple[str, int]:
        self.server = Script(answer)
        return self.listen(dns.DNSDatagramProtocol(self.server, reactor))


class ZoneTests(ServerCase):
    def setUp(self) -> None:
        self.resolver = DNSResolver([serve_zone(self, example_org())], attempts=(60.0,))

    async def ask(self, name: str, type: RecordType) -> Answer:
        return await self.resolver.lookup(name=name, type=type)

    async def test_addresses(self) -> None:
        answer = await self.ask("MX.example.org.", RecordType.A)
        self.assertEqual(answer, Answer(["192.0.2.1"], 600))
        answer = await self.ask("mx.example.org", RecordType.AAAA)
        self.assertEqual(answer.records, ["2001:db8::1"])
        found = await find_addresses(self.resolver, "mx.example.org")
        self.assertEqual(found, ["192.0.2.1", "2001:db8::1"])

    async def test_an_alias_is_followed_and_shortens_the_time_to_live(self) -> None:
        answer = await self.ask("www.example.org", RecordType.A)
        self.assertEqual(answer, Answer(["192.0.2.1"], 30, canonical="mx.example.org"))

    async def test_what_is_not_there(self) -> None:
        answer = await self.ask("nobody.example.org", RecordType.A)
        self.assertEqual((answer.exists, answer.records, answer.ttl), (False, [], NEGATIVE_TTL))
        answer = await self.ask("mx.example.org", RecordType.MX)
        self.assertEqual((answer.exists, answer.records, answer.ttl), (True, [], 77))
        self.assertEqual(await find_addresses(self.resolver, "nobody.example.org"), [])
        self.assertIsNone(await find_exchangers(self.resolver, "nobody.example.org"))

    async def test_exchangers(self) -> None:
        found = await find_exchangers(self.resolver, "example.org")
        self.assertEqual(found, [MX(10, "mx.example.org"), MX(20, "mx2.example.org")])
        # RFC 7505: a null MX.
        found = await find_exchangers(self.resolver, "silent.example.org")
        self.assertEqual(found, [MX(0, "")])

    async def test_texts(self) -> None:
        found = await find_texts(self.resolver, "text.example.org")
        self.assertEqual(found, ["two strings\udcff"])

    async def test_an_answer_too_long_for_a_datagram(self) -> None:
        found = await find_texts(self.resolver, "long.example.org")
        self.assertEqual(found, ["x" * 250] * 9)

    async def test_reverse(self) -> None:
        self.assertEqual(await find_names(self.resolver, "192.0.2.1"), ["mx.example.org"])

    async def test_names_that_are_not_ascii(self) -> None:
        answer = await self.ask("B\u00fccher.example.org", RecordType.A)
        self.assertEqual(answer.records, ["192.0.2.9"])

    async def test_what_can_be_no_name_does_not_exist(self) -> None:
        for name in ("", "a..example.org", "x" * 64 + ".org", "x." * 127 + "org", "a b.org", "\0"):
            answer = await self.ask(name, RecordType.A)
            self.assertEqual(answer, Answer(ttl=NEGATIVE_TTL, exists=False), name)


class MisbehaviourTests(ServerCase):
    async def fail(self, error: type[DNSFailure], resolver: DNSResolver) -> str:
        with self.assertRaises(error) as caught:
            await resolver.lookup(name="example.org", type=RecordType.A)
        return caught.exception.text

    async def test_silence(self) -> None:
        resolver = DNSResolver([self.script(lambda m: None)], attempts=(0.01, 0.01))
        text = await self.fail(DNSTimeout, resolver)
        self.assertEqual(text, "No name server has told about example.org in time")
        self.assertEqual(self.server.asked, 2)

    async def test_the_whole_question_has_a_time_limit(self) -> None:
        resolver = DNSResolver([self.script(lambda m: None)], attempts=(0.2,) * 100, timeout=0.05)
        await self.fail(DNSTimeout, resolver)
        # The socket's own timer, which Twisted leaves to end by itself.
        waited: Deferred[None] = Deferred()
        reactor.callLater(0.3, waited.callback, None)
        await waited

    async def test_how_long_a_name_does_not_exist(self) -> None:
        zone = dns.Record_SOA(b"ns.example.org", b"host.example.org", minimum=77)
        zones = [dns.RRHeader(b"example.org", dns.SOA, ttl=900, payload=zone)]
        server = self.script(lambda m: reply_to(m, rCode=dns.ENAME, authority=zones))
        resolver = DNSResolver([server], attempts=(60.0,))
        answer = await resolver.lookup(name="example.org", type=RecordType.A)
        self.assertEqual(answer, Answer([], 77, exists=False))

    async def test_a_server_that_fails_is_passed_over(self) -> None:
        bad = self.script(lambda m: reply_to(m, rCode=dns.ESERVER))
        record = dns.RRHeader(b"example.org", payload=dns.Record_A("192.0.2.1"))
        good = self.script(lambda m: reply_to(m, answers=[record], authenticData=m.authenticData))
        resolver = DNSResolver([bad, good], attempts=(60.0,))
        answer = await resolver.lookup(name="example.org", type=RecordType.A)
        self.assertEqual(answer.records, ["192.0.2.1"])
        # We asked for the bit of DNSSEC.
        self.assertTrue(answer.authenticated)
        text = await self.fail(DNSFailure, DNSResolver([bad], attempts=(60.0,)))
        self.assertEqual(text, "A name server cannot tell about example.org: SERVFAIL")

    async def test_whom_the_bit_of_dnssec_is_believed(self) -> None:
        record = dns.RRHeader(b"example.org", payload=dns.Record_A("192.0.2.1"))
        server = self.script(lambda m: reply_to(m, answers=[record], authenticData=1))
        for validating, believed in ((None, True), (True, True), (False, False)):
            resolver = DNSResolver([server], attempts=(60.0,), validating=validating)
            answer = await resolver.lookup(name="example.org", type=RecordType.A)
            self.assertIs(answer.authenticated, believed)
        # Whoever sits on the way to another machine could set it.
        self.assertFalse(DNSResolver([])._is_believed(("192.0.2.53", 53)))
        self.assertTrue(DNSResolver([])._is_believed(("::1", 53)))

    async def test_aliases_that_go_round(self) -> None:
        records = [
            dns.RRHeader(b"example.org", dns.CNAME, payload=dns.Record_CNAME(b"a.example.org")),
            dns.RRHeader(b"a.example.org", dns.CNAME, payload=dns.Record_CNAME(b"example.org")),
        ]
        server = self.script(lambda m: reply_to(m, answers=records))
        resolver = DNSResolver([server], attempts=(60.0,))
        answer = await resolver.lookup(name="example.org", type=RecordType.A)
        self.assertEqual((answer.records, answer.canonical), ([], ""))

    async def test_certificate_associations(self) -> None:
        # Twisted knows no TLSA; the octets come through.
        records = [
            dns.RRHeader(b"example.org", type=52, payload=TLSARecord(data))
            for data in (b"\x03\x01\x01hash", b"\x03")
        ]
        resolver = DNSResolver(
            [self.script(lambda m: reply_to(m, answers=records))], attempts=(60.0,)
        )
        answer = await resolver.lookup(name="example.org", type=RecordType.TLSA)
        self.assertEqual(answer.records, [TLSA(3, 1, 1, b"hash")])

    async def test_an_answer_to_another_question(self) -> None:
        other = [dns.Query(b"example.com")]
        resolver = DNSResolver(
            [self.script(lambda m: reply_to(m, queries=other))], attempts=(60.0,)
        )
        self.assertIn("another question", await self.fail(DNSFailure, resolver))

    async def test_records_of_another_name(self) -> None:
        records = [
            dns.RRHeader(b"example.org", dns.CNAME, payload=dns.Record_CNAME(b"A.example.org")),
            dns.RRHeader(b"evil.example", payload=dns.Record_A("192.0.2.66")),
            dns.RRHeader(b"a.example.ORG", payload=dns.Record_A("192.0.2.1")),
        ]
        server = self.script(lambda m: reply_to(m, answers=records))
        resolver = DNSResolver([server], attempts=(60.0,))
        answer = await resolver.lookup(name="example.org", type=RecordType.A)
        self.assertEqual((answer.records, answer.canonical), (["192.0.2.1"], "a.example.org"))
        alias = await resolver.lookup(name="example.org", type=RecordType.CNAME)
        self.assertEqual(alias.records, ["A.example.org"])

    async def test_damaged_records_prove_no_absence(self) -> None:
        short = [dns.RRHeader(b"example.org", type=52, payload=TLSARecord(b"\x03"))]
        server = self.script(lambda m: reply_to(m, answers=short))
        resolver = DNSResolver([server], attempts=(60.0,))
        with self.assertRaisesRegex(DNSFailure, "example.org is damaged"):
            await resolver.lookup(name="example.org", type=RecordType.TLSA)

    async def test_an_answer_that_breaks_off(self) -> None:
        class Cutter(DatagramProtocol):
            def datagramReceived(self, data: bytes, addr: Any) -> None:  # noqa: N802
                question = dns.Message()
                question.fromStr(data)
                octets = bytearray(reply_to(question).toStr())
                # One record, an address of three octets.
                octets[7] = 1
                octets += b"\xc0\x0c\0\x01\0\x01\0\0\0\x09\0\x03\x7f\0\0"
                self.transport.write(bytes(octets), addr)

        resolver = DNSResolver([self.listen(Cutter())], attempts=(60.0,))
        self.assertIn("damaged", await self.fail(DNSFailure, resolver))

    async def test_an_answer_that_is_never_whole(self) -> None:
        original = server.DNSServerFactory.sendReply

        def cut(factory: Any, protocol: Any, message: Any, address: Any) -> None:
            message.trunc, message.answers = 1, []
            original(factory, protocol, message, address)

        self.patch(server.DNSServerFactory, "sendReply", cut)
        zone = Zone(b"example.org", {b"example.org": [dns.Record_A("192.0.2.1")]})
        resolver = DNSResolver([serve_zone(self, zone)], attempts=(60.0,))
        self.assertIn("not whole", await self.fail(DNSFailure, resolver))

    async def test_no_server_there(self) -> None:
        truncated = self.script(lambda m: reply_to(m, trunc=1))
        # Truncated, and nothing listens for TCP.
        text = await self.fail(DNSFailure, DNSResolver([truncated], attempts=(60.0,)))
        self.assertIn("127.0.0.1 cannot be asked", text)

    async def test_questions_that_wait_are_limited(self) -> None:
        resolver = DNSResolver(
            [self.script(lambda m: None)], attempts=(0.05,), max_questions=2, max_waiting=3
        )
        asking = [
            Deferred.fromCoroutine(resolver.lookup(name=f"{n}.example", type=RecordType.A))
            for n in range(5)
        ]
        self.assertIn("Too many", await self.fail(DNSFailure, resolver))
        self.assertEqual([each.called for each in asking], [False] * 5)
        errors = [each.addErrback(lambda f: f.value) for each in asking]
        for error in await gatherResults(errors):
            self.assertIsInstance(error, DNSTimeout)


class ServerListTests(SynchronousTestCase):
    """/etc/resolv.conf"""

    def test_the_file_is_read_again_when_it_has_changed(self) -> None:
        now = [0.0]
        path = self.mktemp()
        servers = ServerList(path, lambda: now[0])
        self.assertEqual(servers(), [("127.0.0.1", 53)])
        with open(path, "w") as file:
            file.write(
                "search example.org\nnameserver 192.0.2.53\n;x\nnameserver ::1\nnameserver\n"
            )
        self.assertEqual(servers(), [("127.0.0.1", 53)])
        now[0] = 60.0
        self.assertEqual(servers(), [("192.0.2.53", 53), ("::1", 53)])
        os.unlink(path)
        now[0] = 120.0
        self.assertEqual(servers(), [("127.0.0.1", 53)])


class LookupTests(SynchronousTestCase):
    """Questions about both families."""

    def addresses(self, resolver: FakeResolver) -> Deferred[Any]:
        return Deferred.fromCoroutine(find_addresses(resolver, "h.example"))

    def test_one_family_is_enough(self) -> None:
        resolver = FakeResolver(addresses={"h.example": ["2001:db8::1"]})
        self.assertEqual(self.successResultOf(self.addresses(resolver)), ["2001:db8::1"])

    def test_a_failure_is_told_when_nothing_was_found(self) -> None:
        resolver = FakeResolver()
        resolver.trouble["h.example"] = DNSTimeout()
        self.failureResultOf(self.addresses(resolver), DNSTimeout)

    def test_a_name_that_does_not_exist_is_asked_for_once(self) -> None:
        resolver = FakeResolver()
        self.assertEqual(self.successResultOf(self.addresses(resolver)), [])
        self.assertEqual(len(resolver.asked), 1)
