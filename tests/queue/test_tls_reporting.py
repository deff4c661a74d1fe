"""Connections are counted, and reported each day."""

from __future__ import annotations

from typing import Any

from cryptography.x509 import RFC822Name
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.dns.records import RecordType
from mailkit.errors import DNSFailure, StoreUnavailable
from mailkit.https import HTTPSFailed, Response
from mailkit.model import Envelope
from mailkit.queue.hosts import Host
from mailkit.queue.tls_reporting import LOOK_INTERVAL, TLSReporting
from mailkit.queue.tls_results import DAY, FLUSH_INTERVAL, MAX_FAILURES, TLSResults, TLSSession
from mailkit.queue.tlsrpt import AppliedPolicy, PolicyResult, TLSReport, read_report
from mailkit.smtp.client import ClientSettings, Status, TLSMode, TLSPolicy
from mailkit.store.memory import MemoryStore

from ..certificates import authority, make_identity
from ..dns.fakes import FakeResolver
from .support import SAMPLE
from .test_relay_tls import NAME, SecureWorldCase

reactor: Any = _reactor
#: The start of a day.
START = 19_676 * DAY
HOST = Host(NAME, "192.0.2.1", 25, domains=("example.net",))
NOTHING = AppliedPolicy("no-policy-found", "example.net")
GOOD = TLSSession("example.net", HOST, NOTHING)
BAD = GOOD._replace(result_type="certificate-expired", reason="expired", helo="mx")


class ScriptedClient:
    def __init__(self) -> None:
        self.code = 200
        self.posted: list[tuple[str, bytes]] = []

    async def request(self, method: str, url: str, headers: Any, body: bytes) -> Response:
        assert headers == {"Content-Type": "application/tlsrpt+gzip"}
        if not self.code:
            raise HTTPSFailed
        self.posted.append((url, body))
        return Response(self.code, [], b"", False)


class ReportingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START + 10)
        self.resolver = FakeResolver(
            texts={"_smtp._tls.example.net": ["v=TLSRPTv1; rua=mailto:tls@example.net"]}
        )
        self.store = MemoryStore(clock=self.clock)
        self.mail: list[tuple[Envelope, bytes]] = []
        self.trouble: Exception | None = None
        self.client = ScriptedClient()
        self.results, self.reporting = self.make()

    def make(self) -> tuple[TLSResults, TLSReporting]:
        async def submit(envelope: Envelope, octets: bytes) -> None:
            if self.trouble is not None:
                raise self.trouble
            self.mail.append((envelope, octets))

        results = TLSResults(self.resolver, self.store, self.clock)
        client: Any = self.client
        reporting = TLSReporting(
            results, "tls@example.org", submit, client, self.clock, delay=60, token=lambda: "t"
        )
        return results, reporting

    def restart(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.reporting.stop()))
        self.results, self.reporting = self.make()

    def places(self, *uris: str) -> None:
        key = ("_smtp._tls.example.net", RecordType.TXT)
        self.resolver.records[key] = [f"v=TLSRPTv1; rua={','.join(uris)}"]

    def counted(self) -> list[PolicyResult]:
        getting = Deferred.fromCoroutine(self.results.get(19_676, "example.net"))
        return self.successResultOf(getting)

    def pass_days(self, days: float = 1) -> None:
        self.clock.pump([900.0] * round(days * 96))

    def reports(self) -> list[TLSReport]:
        return [read_report(octets) for _, octets in self.mail]


class CountingTests(ReportingCase):
    def test_counts(self) -> None:
        for session in (GOOD, GOOD, BAD, BAD, BAD._replace(reason="other")):
            self.results.note(session)
        (result,) = self.counted()
        self.assertEqual((result.policy, result.successes, result.failures), (NOTHING, 2, 3))
        first, second = result.details
        self.assertEqual(first[:5], ("certificate-expired", 2, NAME, "192.0.2.1", "mx"))
        self.assertEqual((second.sessions, second.reason), (1, "other"))

    def test_by_policy(self) -> None:
        other = AppliedPolicy("sts", "example.net", ("version: STSv1",), ("*.example.net",))
        self.results.note(GOOD)
        self.results.note(GOOD._replace(applied=other))
        self.assertEqual([each.policy for each in self.counted()], [NOTHING, other])

    def test_nobody_wants_to_know(self) -> None:
        self.resolver.records.clear()
        self.results.note(GOOD)
        self.assertEqual(self.counted(), [])

    def test_a_restart_forgets_nothing(self) -> None:
        self.results.note(GOOD)
        self.results.note(BAD)
        counted = self.counted()
        self.restart()
        self.assertEqual(self.counted(), counted)
        self.results.note(GOOD)
        self.assertEqual(self.counted()[0].successes, 2)

    def test_kept_each_minute(self) -> None:
        self.results.note(GOOD)
        self.clock.advance(FLUSH_INTERVAL)
        # As after a crash.
        self.results = self.make()[0]
        self.assertEqual(len(self.counted()), 1)

    def test_different_failures_have_a_limit(self) -> None:
        for number in range(MAX_FAILURES + 10):
            self.results.note(BAD._replace(reason=str(number)))
        (result,) = self.counted()
        self.assertEqual(result.failures, MAX_FAILURES + 10)
        self.assertEqual(len(result.details), MAX_FAILURES + 1)
        self.assertEqual(result.details[-1][:3], ("certificate-expired", 10, ""))

    def test_different_policies_have_a_limit(self) -> None:
        for number in range(100):
            self.results.note(GOOD._replace(applied=AppliedPolicy("tlsa", str(number))))
        self.assertEqual(len(self.counted()), 20)


class ReportTests(ReportingCase):
    def test_sent_when_the_day_is_over(self) -> None:
        self.reporting.start()
        self.results.note(GOOD)
        self.results.note(BAD)
        counted = self.counted()
        self.pass_days(0.9)
        self.assertEqual(self.mail, [])
        self.pass_days(0.2)
        (report,) = self.reports()
        self.assertEqual(report.policies, counted)
        self.assertEqual((report.start.timestamp(), report.contact), (START, "tls@example.org"))
        ((envelope, octets),) = self.mail
        self.assertEqual([str(each.path) for each in envelope.recipients], ["tls@example.net"])
        self.assertEqual(str(envelope.reverse_path), "tls@example.org")
        self.assertIn(b"TLS-Report-Domain: example.net\r\n", octets)
        # Once.
        self.pass_days()
        self.assertEqual(len(self.mail), 1)
        self.assertEqual(self.counted(), [])

    def test_sent_after_a_restart(self) -> None:
        self.results.note(GOOD)
        self.restart()
        self.clock.advance(DAY + 60)
        self.reporting.start()
        self.clock.advance(0)
        self.assertEqual(len(self.mail), 1)

    def test_posted(self) -> None:
        self.places("https://a.example/x", "mailto:tls@example.net", "https://b.example/")
        self.results.note(GOOD)
        self.reporting.start()
        self.pass_days(1.1)
        self.assertEqual(len(self.mail), 1)
        urls = ["https://a.example/x", "https://b.example/"]
        self.assertEqual([url for url, _ in self.client.posted], urls)
        self.assertEqual(read_report(self.client.posted[0][1]), self.reports()[0])

    def test_tried_again(self) -> None:
        self.places("https://a.example/x")
        self.results.note(GOOD)
        self.clock.advance(DAY + 60)
        self.client.code = 0
        self.reporting.start()
        self.clock.advance(0)
        self.client.code = 500
        self.clock.advance(LOOK_INTERVAL)
        self.client.code = 201
        self.clock.advance(LOOK_INTERVAL)
        self.clock.advance(LOOK_INTERVAL)
        self.assertEqual(len(self.client.posted), 2)

    def test_dns_fails(self) -> None:
        self.results.note(GOOD)
        self.clock.advance(DAY + 60)
        self.resolver.trouble["_smtp._tls.example.net"] = DNSFailure()
        self.reporting.start()
        self.clock.advance(0)
        # Not counted, for nobody knows for whom.
        self.results.note(GOOD)
        self.resolver.trouble.clear()
        self.clock.advance(LOOK_INTERVAL)
        (report,) = self.reports()
        self.assertEqual(report.policies[0].successes, 1)

    def test_given_up_in_the_end(self) -> None:
        self.trouble = StoreUnavailable()
        self.results.note(GOOD)
        self.reporting.start()
        self.pass_days(4)
        self.trouble = None
        self.pass_days()
        self.assertEqual(self.mail, [])

    def test_a_domain_that_wants_none_any_more(self) -> None:
        self.results.note(GOOD)
        self.resolver.records.clear()
        self.reporting.start()
        self.pass_days(1.1)
        self.assertEqual((self.mail, self.counted()), ([], []))


class SessionTests(SecureWorldCase):
    """What the relay makes of real connections."""

    def setUp(self) -> None:
        super().setUp()
        self.sessions: list[TLSSession] = []
        self.ca_file = self.mktemp()
        with open(self.ca_file, "wb") as file:
            file.write(authority().pem)
        self.tls = TLSPolicy(ca_file=self.ca_file)

    def settings(self) -> ClientSettings:
        return ClientSettings(helo="mail.example.org", tls=self.tls)

    def results(self) -> Any:
        return self.sessions.append

    def told(self) -> tuple[str, str]:
        (session,) = self.sessions
        self.sessions.clear()
        self.assertEqual((session.domain, session.host.name), ("example.net", NAME))
        return session.applied.type, session.result_type

    async def test_opportunistic(self) -> None:
        await self.send(self.serve(make_identity([NAME])))
        self.assertEqual(self.told(), ("no-policy-found", ""))
        await self.send(self.serve(None))
        self.assertEqual(self.told(), ("no-policy-found", "starttls-not-supported"))

    async def test_dane(self) -> None:
        identity = make_identity([NAME])
        number = self.serve(identity)
        self.publish(number, identity.association(3, 1, 1))
        await self.send(number)
        self.assertEqual(self.told(), ("tlsa", ""))
        number = self.serve(make_identity([NAME]))
        self.publish(number, identity.association(3, 1, 1))
        await self.send(number)
        self.assertEqual(self.told(), ("tlsa", "validation-failure"))
        number = self.serve(None)
        self.publish(number, identity.association(3, 1, 1))
        await self.send(number)
        self.assertEqual(self.told(), ("tlsa", "starttls-not-supported"))

    async def test_verified(self) -> None:
        self.tls = TLSPolicy(TLSMode.VERIFIED, ca_file=self.ca_file)
        for identity, result_type in (
            (make_identity([NAME], authority()), ""),
            (make_identity([NAME]), "certificate-not-trusted"),
            (make_identity(["a.example"], authority()), "certificate-host-mismatch"),
            (
                make_identity(["x"], authority(), others=[RFC822Name("ann@example.org")]),
                "certificate-host-mismatch",
            ),
            (make_identity([NAME], authority(), days=-1), "certificate-expired"),
        ):
            await self.send(self.serve(identity))
            self.assertEqual(self.told(), ("no-policy-found", result_type))

    async def test_what_the_matter_is_with_a_certificate(self) -> None:
        self.tls = TLSPolicy(TLSMode.VERIFIED, ca_file=self.ca_file)
        for identity, text in (
            (make_identity([NAME], authority(), days=-1), "has expired on 20"),
            (make_identity(["a.example"], authority()), f"for none of {NAME}"),
            (make_identity([NAME]), "is not trusted: "),
        ):
            handover = await self.send(self.serve(identity))
            self.assertEqual(handover.status, Status.TEMPORARY)
            self.assertIn(text, handover.attempt.text)

    async def test_reports_are_not_reported(self) -> None:
        handover = await self.send(self.serve(None), b"TLS-Required: No\r\n" + SAMPLE)
        self.assertEqual(handover.status, Status.ACCEPTED)
        self.assertEqual(self.sessions, [])

    async def test_without_tls_by_setting(self) -> None:
        self.tls = TLSPolicy.none()
        await self.send(self.serve(None))
        self.assertEqual(self.sessions, [])
