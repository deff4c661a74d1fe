"""MTA-STS: records, policies, remembering them, getting them by HTTPS, sending by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from mailkit._typing import override
from mailkit.dns.records import RecordType
from mailkit.errors import DNSFailure
from mailkit.https import HTTPSClient
from mailkit.queue.security import DestinationSecurity
from mailkit.queue.sts import (
    FAILURE_INTERVAL,
    MAX_POLICY,
    REFRESH_INTERVAL,
    PolicyFetcher,
    STSMode,
    STSPolicies,
    STSPolicy,
    STSPolicyUnavailable,
    parse_policy,
    parse_record,
)
from mailkit.queue.sts_fetch import HTTPSFetcher
from mailkit.queue.tls_results import TLSSession
from mailkit.smtp.client import ClientSettings, Status, TLSPolicy
from mailkit.store.memory import MemoryStore

from ..certificates import Identity, authority, make_identity
from ..dns.fakes import FakeResolver
from ..https import serve_https
from .test_relay_tls import HOST, NAME, SecureWorldCase

reactor: Any = _reactor
POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.example.net\r\nmax_age: 604800\r\n"
TESTING = POLICY.replace(b"enforce", b"testing")
URL = "/.well-known/mta-sts.txt"


class RecordTests(SynchronousTestCase):
    def test_records(self) -> None:
        for texts, id in (
            (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
            (["v=STSv1;id=a"], "a"),
            (["v=STSv1 ; x=y; id=a ; "], "a"),
            (["other", "v=STSv1; id=a"], "a"),
            ([], None),
            (["v=STSv1; id=a", "v=STSv1; id=b"], None),
            (["v=STSv2; id=a"], None),
            (["v=STSv1;"], None),
            (["v=STSv1; id="], None),
            (["v=STSv1; id=a-b"], None),
            (["v=STSv1; id=" + "a" * 33], None),
            (["v=STSv1; id=a; nonsense"], None),
            ([" v=STSv1; id=a"], None),
        ):
            self.assertEqual(parse_record(texts), id, texts)


class PolicyTests(SynchronousTestCase):
    def test_example_of_the_standard(self) -> None:
        text = (
            b"version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\n"
            b"mx: backupmx.example.com\nmax_age: 604800\n"
        )
        policy = parse_policy(text, "x")
        names = ("mail.example.com", "*.example.net", "backupmx.example.com")
        self.assertEqual(policy, STSPolicy(STSMode.ENFORCE, names, 604_800, "x"))
        self.assertEqual(parse_policy("\n".join(policy.lines()).encode(), "x"), policy)

    def test_leniency_that_the_standard_asks_for(self) -> None:
        policy = parse_policy(
            b"extra: \xc3\xa4 b\r\nmax_age:86400 \nmode: none\nversion: STSv1\nmode: enforce"
        )
        self.assertEqual(policy, STSPolicy(STSMode.NONE, (), 86_400))

    def test_nonsense(self) -> None:
        for text in (
            b"",
            b"<html>",
            b"\xff",
            POLICY + b"\r\n",
            POLICY.replace(b"STSv1", b"STSv2"),
            POLICY.replace(b"enforce", b"Enforce"),
            POLICY.replace(b"mx: mx.example.net\r\n", b""),
            POLICY.replace(b"604800", b"-1"),
            POLICY.replace(b"604800", b"31557601"),
            POLICY.replace(b"mx.example.net", b"*.*.example.net"),
            POLICY.replace(b"mx.example.net", b"a..b"),
            POLICY.replace(b"mx.example.net", b"m\xc3\xbcx.example.net"),
            POLICY + b"mx: a.example\n" * 100,
            POLICY + b"x: " + b"y" * MAX_POLICY,
        ):
            self.assertRaises(ValueError, parse_policy, text)

    def test_patterns(self) -> None:
        policy = STSPolicy(STSMode.ENFORCE, ("mail.example.com", "*.example.net"), 60)
        for host, matches in (
            ("mail.example.com", True),
            ("MAIL.Example.COM.", True),
            ("x.mail.example.com", False),
            ("a.example.net", True),
            ("a.b.example.net", False),
            ("example.net", False),
        ):
            self.assertIs(policy.matches(host), matches, host)


class ScriptedFetcher(PolicyFetcher):
    def __init__(self) -> None:
        self.answer: bytes | None = POLICY
        self.asked: list[str] = []
        self.gate: Deferred[None] | None = None

    async def fetch(self, domain: str) -> bytes:
        self.asked.append(domain)
        if self.gate is not None:
            await self.gate
        if self.answer is None:
            raise STSPolicyUnavailable
        return self.answer


class RememberingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.resolver = FakeResolver()
        self.fetcher = ScriptedFetcher()
        self.store = MemoryStore(clock=self.clock)
        self.failures: list[tuple[str, str]] = []
        self.policies = self.make()
        self.publish("1")

    def make(self) -> STSPolicies:
        def failed(domain: str, error: STSPolicyUnavailable) -> None:
            self.failures.append((domain, error.result_type))

        return STSPolicies(self.resolver, self.fetcher, self.store, self.clock, failed)

    def publish(self, id: str | None) -> None:
        key = ("_mta-sts.example.net", RecordType.TXT)
        self.resolver.records.pop(key, None)
        if id is not None:
            self.resolver.add(*key, f"v=STSv1; id={id};")

    def find(self) -> STSPolicy | None:
        finding = Deferred.fromCoroutine(self.policies.find("example.net"))
        return self.successResultOf(finding)

    def found(self) -> str | None:
        policy = self.find()
        return None if policy is None else policy.id

    def test_fetched_once(self) -> None:
        self.assertEqual(self.find(), parse_policy(POLICY, "1"))
        self.assertEqual(self.found(), "1")
        self.assertEqual(self.fetcher.asked, ["example.net"])

    def test_nothing_announced(self) -> None:
        self.publish(None)
        self.assertIsNone(self.find())
        self.resolver.trouble["_mta-sts.example.net"] = DNSFailure()
        self.assertIsNone(self.find())
        self.assertEqual(self.fetcher.asked, [])

    def test_a_new_id(self) -> None:
        self.find()
        self.publish("2")
        self.fetcher.answer = TESTING
        self.assertEqual(self.find(), parse_policy(TESTING, "2"))

    def test_what_is_known_holds_in_all_trouble(self) -> None:
        self.find()
        self.fetcher.answer = None
        self.publish("2")
        self.assertEqual(self.found(), "1")
        self.publish(None)
        self.assertEqual(self.found(), "1")
        self.resolver.trouble["_mta-sts.example.net"] = DNSFailure()
        self.assertEqual(self.found(), "1")
        self.clock.advance(604_800)
        self.assertIsNone(self.find())

    def test_refreshed_each_day(self) -> None:
        self.find()
        self.publish(None)
        self.clock.advance(REFRESH_INTERVAL - 1)
        self.find()
        self.assertEqual(len(self.fetcher.asked), 1)
        self.clock.advance(1)
        self.find()
        self.assertEqual(len(self.fetcher.asked), 2)
        # From then on it holds for as long again.
        self.clock.advance(604_799)
        self.assertEqual(self.found(), "1")

    def test_a_restart_forgets_nothing(self) -> None:
        self.find()
        self.policies = self.make()
        self.publish(None)
        self.assertEqual(self.find(), parse_policy(POLICY, "1"))
        self.assertEqual(len(self.fetcher.asked), 1)

    def test_failures_are_not_repeated_at_once(self) -> None:
        self.fetcher.answer = None
        for _ in range(3):
            self.assertIsNone(self.find())
        self.assertEqual(len(self.fetcher.asked), 1)
        self.clock.advance(FAILURE_INTERVAL)
        self.fetcher.answer = b"nonsense"
        self.assertIsNone(self.find())
        types = ["sts-policy-fetch-error", "sts-policy-invalid"]
        self.assertEqual(self.failures, [("example.net", each) for each in types])

    def test_asked_at_the_same_time(self) -> None:
        self.fetcher.gate = Deferred()
        first, second = (Deferred.fromCoroutine(self.policies.find("example.net")) for _ in "ab")
        self.fetcher.gate.callback(None)
        self.assertEqual(self.successResultOf(first), self.successResultOf(second))
        self.assertEqual(len(self.fetcher.asked), 1)

    def test_mode_none(self) -> None:
        self.find()
        self.publish("2")
        self.fetcher.answer = b"version: STSv1\nmode: none\nmax_age: 86400\n"
        self.assertIsNone(self.find())


class Page(Resource):
    isLeaf = True  # noqa: N815

    def __init__(self, render: Callable[[Any], Any]) -> None:
        super().__init__()
        self._render = render
        self.asked: list[tuple[bytes, bytes]] = []

    def render_GET(self, request: Any) -> Any:  # noqa: N802
        self.asked.append((request.getRequestHostname(), request.path))
        return self._render(request)


class Talker(Protocol):
    """Sends octets, no matter what it was asked, and ends the connection."""

    factory: Any

    @override
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self.factory.head)  # type: ignore[union-attr]
        self.go_on()

    def go_on(self) -> None:
        transport: Any = self.transport
        if not self.factory.left or not self.connected:
            transport.loseConnection()
            return
        self.factory.left -= 1
        transport.write(self.factory.more)
        reactor.callLater(0, self.go_on)

    @override
    def connectionLost(self, reason: Any = None) -> None:
        self.connected = 0


class HTTPSTests(TestCase):
    def setUp(self) -> None:
        self.ca_file = self.mktemp()
        with open(self.ca_file, "wb") as file:
            file.write(authority().pem)
        self.page = Page(self.policy)

    @staticmethod
    def policy(request: Any) -> bytes:
        request.setHeader("Content-Type", "text/plain; charset=utf-8")
        return POLICY

    def fetcher(
        self, identity: Identity | None = None, site: Any = None, **settings: Any
    ) -> HTTPSFetcher:
        identity = identity or make_identity(["mta-sts.example.net"], authority())
        number = serve_https(self, site or Site(self.page), identity)
        resolver = FakeResolver(addresses={"mta-sts.example.net": [HOST]})
        settings.setdefault("port", number)
        client = HTTPSClient(resolver, reactor, ca_file=self.ca_file, **settings)
        return HTTPSFetcher(client)

    async def refuse(self, fetcher: HTTPSFetcher, result_type: str, text: str) -> None:
        with self.assertRaises(STSPolicyUnavailable) as caught:
            await fetcher.fetch("example.net")
        self.assertIn(text, caught.exception.text)
        self.assertEqual(caught.exception.result_type, result_type)

    async def test_fetched(self) -> None:
        self.assertEqual(await self.fetcher().fetch("example.net"), POLICY)
        self.assertEqual(self.page.asked, [(b"mta-sts.example.net", URL.encode())])

    async def test_the_log_says_nothing_of_a_request(self) -> None:
        events: list[Any] = []
        fetcher = self.fetcher()
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        await fetcher.fetch("example.net")
        self.assertFalse([each for each in events if "HTTP11Client" in str(each.get("factory"))])

    async def test_bad_certificates(self) -> None:
        for identity in (
            make_identity(["mta-sts.example.net"]),
            make_identity(["example.net"], authority()),
            make_identity(["mta-sts.example.net"], authority(), days=-1),
        ):
            await self.refuse(self.fetcher(identity), "sts-webpki-invalid", "no certificate")
        self.assertEqual(self.page.asked, [])

    async def test_no_redirection_nor_another_answer(self) -> None:
        for code in (301, 302, 307, 404, 500):

            def render(request: Any, code: int = code) -> bytes:
                request.setResponseCode(code)
                request.setHeader("Location", b"https://127.0.0.1/")
                return self.policy(request)

            self.page = Page(render)
            await self.refuse(self.fetcher(), "sts-policy-fetch-error", f"says {code}")

    async def test_another_media_type(self) -> None:
        def render(request: Any) -> bytes:
            request.setHeader("Content-Type", "text/html")
            return POLICY

        self.page = Page(render)
        await self.refuse(self.fetcher(), "sts-policy-invalid", "text/plain")

    async def test_too_long(self) -> None:
        self.page = Page(lambda request: self.policy(request) * 10_000)
        await self.refuse(self.fetcher(), "sts-policy-invalid", "too long")

    def talker(self, head: bytes, more: bytes = b"", times: int = 0) -> HTTPSFetcher:
        """What asks a server that sends these octets, whatever HTTP says, and goes away."""
        self.factory = Factory.forProtocol(Talker)
        self.factory.head, self.factory.more, self.factory.left = head, more, times  # type: ignore[attr-defined]
        return self.fetcher(site=self.factory)

    async def test_a_header_without_end(self) -> None:
        start = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
        field = b"X-Field: " + b"x" * 1000
        for more in (
            field + b"\r\n",
            b" " + field + b"\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n" * 40,
        ):
            fetcher = self.talker(b"" if more.startswith(b"HTTP") else start, more, 10_000)
            await self.refuse(fetcher, "sts-policy-fetch-error", "sends more than")

    async def test_chunks_that_are_mostly_frames(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        fetcher = self.talker(head, b"1;" + b"x" * 1000 + b"\r\na\r\n", 10_000)
        await self.refuse(fetcher, "sts-policy-fetch-error", "sends more than")

    async def test_without_a_length(self) -> None:
        head = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"
        fetcher = self.talker(head + POLICY)
        self.assertEqual(await fetcher.fetch("example.net"), POLICY)

    async def test_what_is_cut_off_is_not_whole(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
        head += (b"X-Field: " + b"x" * 1000 + b"\r\n") * 213 + b"\r\n" + POLICY
        fetcher = self.talker(head, b"mx: mx.example.net\r\n" * 50, 60)
        await self.refuse(fetcher, "sts-policy-fetch-error", "sends more than")

    async def test_without_a_length_and_without_an_end_of_tls(self) -> None:
        """Nobody can tell whether it is whole (RFC 9112 section 9.8)."""

        class Cutting(Talker):
            def go_on(self) -> None:
                transport: Any = self.transport
                # That of TCP, when the octets are on their way.
                reactor.callLater(0, transport.transport.transport.loseConnection)

        head = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"
        fetcher = self.talker(head + POLICY)
        self.factory.protocol = Cutting
        await self.refuse(fetcher, "sts-policy-fetch-error", "breaks off")

    async def test_one_that_breaks_off(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n"
        fetcher = self.talker(head + POLICY)
        await self.refuse(fetcher, "sts-policy-fetch-error", "breaks off")

    async def test_no_answer(self) -> None:
        self.page = Page(lambda request: NOT_DONE_YET)
        await self.refuse(self.fetcher(timeout=0.2), "sts-policy-fetch-error", "0.2 seconds")

    async def test_nobody_there(self) -> None:
        fetcher = self.fetcher(port=1)
        await self.refuse(fetcher, "sts-policy-fetch-error", "cannot be reached")
        fetcher = HTTPSFetcher(HTTPSClient(FakeResolver(), reactor))
        await self.refuse(fetcher, "sts-policy-fetch-error", "no address")


class SendingTests(SecureWorldCase):
    """Servers with certificates of an authority, and without DNSSEC."""

    def setUp(self) -> None:
        super().setUp()
        self.resolver.secure.clear()
        self.resolver.add("_mta-sts.example.net", RecordType.TXT, "v=STSv1; id=7;")
        self.fetcher = ScriptedFetcher()
        self.ca_file = self.mktemp()
        with open(self.ca_file, "wb") as file:
            file.write(authority().pem)

    def security(self) -> DestinationSecurity:
        policies = STSPolicies(self.resolver, self.fetcher, None, reactor)
        return DestinationSecurity(self.resolver, policies=policies)

    def settings(self) -> ClientSettings:
        return ClientSettings(helo="mail.example.org", tls=TLSPolicy(ca_file=self.ca_file))

    async def test_enforced(self) -> None:
        handover = await self.send(self.serve(make_identity([NAME], authority())))
        self.assertEqual(handover.status, Status.ACCEPTED, handover.attempt)
        self.assertEqual(handover.attempt.security, "mta-sts enforce, policy 7")
        self.assertIn(" verified", handover.attempt.tls)

    async def test_enforced_against_bad_servers(self) -> None:
        for identity in (
            make_identity([NAME]),
            make_identity(["example.net"], authority()),
            make_identity([NAME], authority(), days=-1),
            None,
        ):
            handover = await self.send(self.serve(identity))
            self.assertEqual(handover.status, Status.TEMPORARY)
            self.assertEqual(handover.attempt.enhanced, "4.7.5")
        self.assertEqual(self.got, [])

    async def test_enforced_against_another_exchanger(self) -> None:
        self.fetcher.answer = POLICY.replace(b"mx.example.net", b"*.example.com")
        handover = await self.send(self.serve(make_identity([NAME], authority())))
        self.assertEqual(handover.status, Status.TEMPORARY)
        self.assertIn("none of the servers of the MTA-STS policy", handover.attempt.text)

    async def test_testing(self) -> None:
        self.fetcher.answer = TESTING
        for identity, problem in (
            (make_identity([NAME], authority()), ""),
            (make_identity([NAME]), "; The server's certificate is not trusted"),
            (make_identity(["example.net"], authority()), "; The server's certificate is for none"),
        ):
            handover = await self.send(self.serve(identity))
            self.assertEqual(handover.status, Status.ACCEPTED)
            start = f"opportunistic; mta-sts testing, policy 7{problem}"
            self.assertEqual(handover.attempt.security[: len(start)], start)
        self.assertEqual((await self.send(self.serve(None))).status, Status.ACCEPTED)

    async def test_testing_without_certificates_to_trust(self) -> None:
        """That is our fault: nothing is known of the server's, and no report tells of it."""
        self.fetcher.answer = TESTING
        told: list[TLSSession] = []
        self.patch(self, "results", lambda: told.append)
        for path in (self.mktemp(), __file__):
            self.ca_file = path
            handover = await self.send(self.serve(make_identity([NAME])))
            self.assertEqual(handover.status, Status.ACCEPTED, handover.attempt)
            start = (
                "opportunistic; mta-sts testing, policy 7; Cannot read the certificates to trust"
            )
            self.assertEqual(handover.attempt.security[: len(start)], start)
        self.assertEqual(told, [])

    async def test_dane_comes_first(self) -> None:
        self.resolver.secure = {"example.net", NAME}
        identity = make_identity([NAME])
        number = self.serve(identity)
        self.publish(number, identity.association(3, 1, 1))
        handover = await self.send(number)
        self.assertEqual(handover.status, Status.ACCEPTED)
        self.assertEqual(self.fetcher.asked, [])

    async def test_requiretls_is_content_with_a_policy(self) -> None:
        number = self.serve(make_identity([NAME], authority()))
        handover = await self.send(number, require_tls=True)
        self.assertEqual(handover.attempt.enhanced, "5.7.30")
        self.fetcher.answer = TESTING.replace(b"mx.example.net", b"*.example.com")
        handover = await self.send(number, require_tls=True)
        self.assertEqual(handover.attempt.enhanced, "5.7.10")
