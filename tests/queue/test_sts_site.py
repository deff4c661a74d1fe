"""Our own MTA-STS policy, as others fetch it."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.https import HTTPSClient
from mailkit.queue.sts import STSMode, STSPolicy, parse_policy, parse_record
from mailkit.queue.sts_fetch import HTTPSFetcher
from mailkit.queue.sts_site import PolicyResource, PolicySite, dns_records, policy_id

from ..certificates import authority, make_identity
from ..dns.fakes import FakeResolver
from ..https import serve_https

reactor: Any = _reactor
POLICY = STSPolicy(STSMode.ENFORCE, ("mx.example.org", "*.example.net"), 86_400)
GET = b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"


class SiteTests(SynchronousTestCase):
    def ask(self, octets: bytes, *domains: str) -> bytes:
        site = PolicySite(POLICY, domains)
        site.timeOut = None
        protocol: Any = site.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(octets)
        protocol.connectionLost(Failure(ConnectionDone()))
        return transport.value()

    def code(self, path: str, host: str, *domains: str) -> int:
        answer = self.ask(GET % (path.encode(), host.encode()), *domains)
        found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
        assert found is not None, answer
        return int(found[1])

    def test_policy(self) -> None:
        answer = self.ask(GET % (b"/.well-known/mta-sts.txt", b"mta-sts.example.org"))
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Type: text/plain", head)
        self.assertEqual(parse_policy(body), POLICY)

    def test_for_whom(self) -> None:
        path = "/.well-known/mta-sts.txt"
        for host, domains, code in (
            ("mta-sts.example.org", ["example.org"], 200),
            ("MTA-STS.Example.ORG:443", ["example.org"], 200),
            ("mta-sts.example.com", ["example.org"], 404),
            ("example.org", ["example.org"], 404),
            ("example.org", [], 404),
            ("mta-sts.example.com", [], 200),
        ):
            self.assertEqual(self.code(path, host, *domains), code, host)
        for path in ("/", "/.well-known/", "/.well-known/mta-sts.txt/x", "/x"):
            self.assertEqual(self.code(path, "mta-sts.example.org"), 404, path)

    def test_whole_address_as_the_target(self) -> None:
        """RFC 9112 section 3.2.2: it is taken, and the field Host does not count."""
        path = "/.well-known/mta-sts.txt"
        for target, host, code in (
            (f"https://mta-sts.example.org{path}", "mta-sts.example.org", 200),
            (f"HTTP://MTA-STS.example.org:443{path}?x=1", "other.example", 200),
            (f"https://mta-sts.example.com{path}", "mta-sts.example.org", 404),
            (f"https://mta-sts.example.org{path}x", "mta-sts.example.org", 404),
            (f"https://ann@mta-sts.example.org{path}", "mta-sts.example.org", 404),
            (f"https://[::1{path}", "mta-sts.example.org", 404),
            (f"ftp://mta-sts.example.org{path}", "mta-sts.example.org", 404),
            ("https://mta-sts.example.org", "mta-sts.example.org", 404),
            (f"//mta-sts.example.org{path}", "mta-sts.example.org", 404),
        ):
            self.assertEqual(self.code(target, host, "example.org"), code, target)

    def test_head_is_get_without_the_content(self) -> None:
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        for path in b"/.well-known/mta-sts.txt", b"/x":
            asking = GET % (path, b"mta-sts.example.org")
            whole = self.ask(asking)
            head, _, rest = self.ask(b"HEAD" + asking[3:]).partition(b"\r\n\r\n")
            without_date = [
                re.sub(rb"Date: .*", b"", each) for each in (head, whole.partition(b"\r\n\r\n")[0])
            ]
            self.assertEqual(without_date[0], without_date[1])
            self.assertEqual(rest, b"")
        # Twisted would warn of a content that it throws away.
        self.assertNotIn("HEAD", " ".join(str(formatEvent(event)) for event in events))

    def test_nothing_that_is_sent_is_kept(self) -> None:
        head = b"POST /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.org\r\n"
        answer = self.ask(head + b"Content-Length: 5\r\n\r\nhello")
        self.assertTrue(answer.startswith(b"HTTP/1.1 405 "), answer)

    def test_a_policy_that_others_could_not_read(self) -> None:
        for policy in (POLICY._replace(mx=()), POLICY._replace(mx=("a b",))):
            self.assertRaises(ValueError, PolicyResource, policy)

    def test_records(self) -> None:
        name, text = dns_records(POLICY, "example.org", "www.example.org")
        self.assertEqual(name, "mta-sts.example.org.  CNAME  www.example.org.")
        found = re.fullmatch(r'_mta-sts\.example\.org\.  TXT  "(.*)"', text)
        assert found is not None
        self.assertEqual(parse_record([found[1]]), policy_id(POLICY))
        self.assertNotEqual(policy_id(POLICY), policy_id(POLICY._replace(max_age=1)))


class FetchTests(TestCase):
    async def test_fetched_by_our_own_client(self) -> None:
        ca_file = self.mktemp()
        with open(ca_file, "wb") as file:
            file.write(authority().pem)
        identity = make_identity(["mta-sts.example.org"], authority())
        site = PolicySite(POLICY, ["example.org"])
        number = serve_https(self, site, identity)
        resolver = FakeResolver(addresses={"mta-sts.example.org": ["127.0.0.1"]})
        client = HTTPSClient(resolver, reactor, ca_file=ca_file, port=number)
        octets = await HTTPSFetcher(client).fetch("example.org")
        self.assertEqual(parse_policy(octets), POLICY)
