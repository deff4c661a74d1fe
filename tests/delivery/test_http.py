"""Delivery by HTTP, to a server on loopback."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import time
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface.verify import verifyObject

from mailkit import posting
from mailkit.client.errors import TLSFailed
from mailkit.delivery import http
from mailkit.delivery.http import HTTPDelivery, split_recipients
from mailkit.errors import (
    MailError,
    MessageRefused,
    MessageTooLarge,
    NoSuchRecipient,
    RelayDenied,
    TemporaryFailure,
)
from mailkit.interfaces import IMessageDelivery
from mailkit.model import Envelope, Path, Recipient
from mailkit.posting import Poster, PostFailed
from mailkit.spool import Spool
from mailkit.testing import DeliveryContract
from tests.certificates import Identity, authority, make_identity
from tests.delivery.fakes import make_envelope
from tests.support import free_ports, until

reactor: Any = global_reactor
ANN, BOB = "ann@example.org", "bob@example.org"
SECRET = b"between us"
CONTENT = b"Received: x\r\n\r\nhi \xff\x00\r\n"


class Application(Resource):
    """Takes messages, and answers as it is told."""

    isLeaf = True  # noqa: N815

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[dict[bytes, bytes], bytes]] = []
        self.status = 200
        self.answer = b"thanks"
        self.silent = False
        self.retry_after: bytes | None = None
        self.active = self.most = 0
        self.gate: Deferred[None] | None = None

    def render_POST(self, request: Any) -> Any:  # noqa: N802
        headers = {
            name.lower(): values[0] for name, values in request.requestHeaders.getAllRawHeaders()
        }
        self.requests.append((headers, request.content.read()))
        if self.silent:
            return NOT_DONE_YET
        request.setResponseCode(self.status)
        if self.retry_after is not None:
            request.setHeader(b"Retry-After", self.retry_after)
        if self.gate is not None:
            self.active += 1
            self.most = max(self.most, self.active)
            self.gate.addCallback(self.finish, request)
            return NOT_DONE_YET
        return self.answer

    def finish(self, _: None, request: Any) -> None:
        self.active -= 1
        request.finish()

    @property
    def envelopes(self) -> list[Any]:
        return [json.loads(headers[b"mailkit-envelope"]) for headers, _ in self.requests]


class HTTPTestCase(TestCase):
    def setUp(self) -> None:
        self.application = Application()
        port = reactor.listenTCP(0, Site(self.application), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}/mail?x=1"

    async def deliver(
        self,
        *addresses: str,
        delivery: HTTPDelivery | None = None,
        content: bytes = CONTENT,
    ) -> list[MailError | None]:
        """Errors by recipient."""
        envelope = make_envelope(*(addresses or (ANN,)))
        spool = Spool(memory_limit=1000)
        spool.write(content)
        delivery = delivery or HTTPDelivery(self.url, SECRET)
        outcomes = await delivery.deliver(envelope=envelope, message=spool)
        spool.close()
        self.assertEqual([outcome.recipient for outcome in outcomes], envelope.recipients)
        return [outcome.error for outcome in outcomes]


class RequestTests(HTTPTestCase):
    def test_interface(self) -> None:
        verifyObject(IMessageDelivery, HTTPDelivery(self.url))

    async def test_message_and_envelope(self) -> None:
        envelope = make_envelope(ANN, "jürgen@example.org", sender=Path("a b", "example.net"))
        envelope.account = "me@example.net"
        envelope.quarantine = "looks\r\nbad"
        await HTTPDelivery(self.url, SECRET).deliver(
            envelope=envelope, message=Spool.from_bytes(CONTENT)
        )
        ((headers, body),) = self.application.requests
        self.assertEqual(body, CONTENT)
        self.assertEqual(headers[b"content-type"], b"message/rfc822")
        self.assertEqual(headers[b"content-length"], b"%d" % len(CONTENT))
        self.assertEqual(
            self.application.envelopes,
            [
                {
                    "id": "t1",
                    "sender": '"a b"@example.net',
                    "recipients": [ANN, "jürgen@example.org"],
                    "client": "",
                    "helo": "client.example",
                    "tls": False,
                    "account": "me@example.net",
                    "quarantine": "looks\r\nbad",
                }
            ],
        )

    async def test_signature(self) -> None:
        # In memory and in a file.
        for size in (1, 300_000):
            await self.deliver(content=CONTENT * size)
            headers, body = self.application.requests.pop()
            signed = (
                headers[b"mailkit-timestamp"] + b"." + headers[b"mailkit-envelope"] + b"." + body
            )
            wanted = hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
            self.assertEqual(headers[b"mailkit-signature"].decode(), f"sha256={wanted}")
            self.assertLess(abs(int(headers[b"mailkit-timestamp"]) - reactor.seconds()), 60)

    async def test_without_a_secret(self) -> None:
        await self.deliver(delivery=HTTPDelivery(self.url))
        self.assertNotIn(b"mailkit-signature", self.application.requests[0][0])

    async def test_many_recipients_become_several_requests(self) -> None:
        addresses = [f"{'x' * 50}{number}@example.org" for number in range(200)]
        self.assertEqual(await self.deliver(*addresses), [None] * 200)
        parts = [envelope["recipients"] for envelope in self.application.envelopes]
        self.assertEqual([address for part in parts for address in part], addresses)
        self.assertGreater(len(parts), 2)
        for headers, body in self.application.requests:
            self.assertLess(len(headers[b"mailkit-envelope"]), 5000)
            self.assertEqual(body, CONTENT)

    def test_an_address_that_is_longer_than_a_request(self) -> None:
        recipient = Recipient(Path("ü" * 2000, "example.org"))
        self.assertEqual(list(split_recipients([recipient] * 2)), [[recipient]] * 2)

    async def test_who_exists(self) -> None:
        def is_ann(path: Path) -> bool:
            return path.local_part == "ann"

        async def is_ann_too(path: Path) -> bool:
            return is_ann(path)

        for accepts in (is_ann, is_ann_too):
            delivery = HTTPDelivery(self.url, accepts=accepts)
            envelope = make_envelope(ANN, BOB)
            ann, bob = envelope.recipients
            await delivery.check_recipient(envelope=envelope, recipient=ann)
            with self.assertRaises(NoSuchRecipient):
                await delivery.check_recipient(envelope=envelope, recipient=bob)
        await HTTPDelivery(self.url).check_recipient(envelope=envelope, recipient=bob)

    def test_what_is_no_url(self) -> None:
        for url in (
            "",
            "example.org",
            "ftp://example.org/",
            "http://",
            "http://a:b@example.org/",
            "http://example.org/#x",
            "http://example.org/a b",
            "http://example.org:99999/",
            "http://exämple.org/",
            "http://example.org/\r\nX: y",
        ):
            self.assertRaises(ValueError, HTTPDelivery, url)
        self.assertRaises(ValueError, HTTPDelivery, "http://example.org/", b"")


class AnswerTests(HTTPTestCase):
    """What the program's answer means."""

    async def test_statuses(self) -> None:
        for status, error in (
            (200, None),
            (204, None),
            (202, None),
            (400, MessageRefused),
            (404, MessageRefused),
            (413, MessageTooLarge),
            (408, TemporaryFailure),
            (429, TemporaryFailure),
            (500, TemporaryFailure),
            (503, TemporaryFailure),
            # Nobody is led anywhere else.
            (301, TemporaryFailure),
            (307, TemporaryFailure),
        ):
            self.application.status = status
            (found,) = await self.deliver()
            self.assertEqual(found and type(found), error, status)
        self.application.status = 403
        (found,) = await self.deliver()
        assert found is not None
        self.assertIn("status 403", found.text)

    async def test_a_long_answer_is_not_read(self) -> None:
        self.application.answer = b"x" * 10_000_000
        self.assertEqual(await self.deliver(), [None])

    async def test_a_header_without_end(self) -> None:
        class Endless(Protocol):
            def dataReceived(self, data: bytes) -> None:
                transport: Any = self.transport
                transport.write(b"HTTP/1.1 200 OK\r\n" + (b"X: " + b"x" * 10_000 + b"\r\n") * 27)

        port = reactor.listenTCP(0, Factory.forProtocol(Endless), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        poster = Poster(f"http://127.0.0.1:{port.getHost().port}/")
        with self.assertRaisesRegex(PostFailed, "sends more than 262144 octets"):
            await poster.post({}, io.BytesIO(b"x"))

    async def test_a_refusal_before_the_message_was_read(self) -> None:
        # As a web server's limit on the size of requests does it.
        class Refusing(Protocol):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.write(
                    b"HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                self.transport.loseConnection()

        port = reactor.listenTCP(0, Factory.forProtocol(Refusing), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        delivery = HTTPDelivery(f"http://127.0.0.1:{port.getHost().port}/")
        (error,) = await self.deliver(content=b"x" * 10_000_000, delivery=delivery)
        self.assertIsInstance(error, (MessageTooLarge, TemporaryFailure))

    async def test_how_long_to_wait(self) -> None:
        for text, seconds in (
            (None, 0.0),
            (b"120", 120.0),
            (b"-1", 0.0),
            (b"1" * 5000, 0.0),
            (b"soon", 0.0),
            (b"\xff", 0.0),
            (b"Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
            (b"Wed, 99 Oct 9999 07:28:00 GMT", 0.0),
        ):
            self.application.retry_after, self.application.status = text, 429
            answer = await Poster(self.url).post({}, io.BytesIO(b"x"))
            self.assertEqual(answer, (429, seconds), text)
        self.application.retry_after = b"Fri, 31 Dec 9999 23:59:59 GMT"
        self.assertGreater((await Poster(self.url).post({}, io.BytesIO(b"x"))).wait, 1e10)

    async def test_a_date_that_names_no_zone(self) -> None:
        # RFC 9110 section 5.6.7: all three forms are in UTC, wherever we are.
        before = os.environ.get("TZ")
        os.environ["TZ"] = "XXX5"
        time.tzset()
        try:
            # The first second of 2100.
            for text in (
                b"Fri, 01 Jan 2100 00:00:00 GMT",
                b"Fri Jan  1 00:00:00 2100",
                b"Fri, 01 Jan 2100 00:00:00 -0000",
            ):
                self.assertEqual(posting._read_wait(text, 4_102_444_800.0 - 600), 600.0, text)
        finally:
            del os.environ["TZ"]
            if before is not None:
                os.environ["TZ"] = before
            time.tzset()

    async def test_nobody_listens(self) -> None:
        (number,) = free_ports(1)
        (error,) = await self.deliver(delivery=HTTPDelivery(f"http://127.0.0.1:{number}/"))
        self.assertIs(type(error), TemporaryFailure)

    async def test_silence(self) -> None:
        self.application.silent = True
        (error,) = await self.deliver(delivery=HTTPDelivery(self.url, timeout=0.2))
        self.assertIs(type(error), TemporaryFailure)
        # Also when the request has got there.
        with self.assertRaises(PostFailed) as caught:
            await Poster(self.url, timeout=0.2).post({}, io.BytesIO(b"x"))
        self.assertEqual(str(caught.exception), "no answer in 0.2 seconds")

    async def test_nobody_waits_any_more(self) -> None:
        # It is no failure of the other side, which the log would tell of.
        self.application.silent = True
        content = io.BytesIO(b"x")
        waiting = Deferred.fromCoroutine(Poster(self.url).post({}, content))
        await until(lambda: bool(self.application.requests))
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        self.assertTrue(content.closed)

    async def test_few_at_a_time(self) -> None:
        self.patch(http, "MAX_REQUESTS", 2)
        self.patch(http, "MAX_WAITING", 3)
        gate = self.application.gate = Deferred()
        delivery = HTTPDelivery(self.url)
        waiting = [Deferred.fromCoroutine(self.deliver(delivery=delivery)) for _ in range(5)]
        with self.assertRaises(TemporaryFailure):
            await self.deliver(delivery=delivery)
        gate.callback(None)
        self.assertEqual(await gatherResults(waiting), [[None]] * 5)
        self.assertLessEqual(self.application.most, 2)

    def test_the_clock_is_the_reactors(self) -> None:
        class NoAnswer:
            def request(self, *arguments: Any) -> Deferred[Any]:
                return Deferred()

        clock = Clock()
        delivery = HTTPDelivery(self.url, reactor=clock, agent=NoAnswer(), timeout=10)  # type: ignore[arg-type]
        done = Deferred.fromCoroutine(self.deliver(delivery=delivery))
        clock.advance(9.9)
        self.assertNoResult(done)
        clock.advance(0.1)
        (error,) = self.successResultOf(done)
        self.assertIs(type(error), TemporaryFailure)


class TLSTests(HTTPTestCase):
    def serve(self, identity: Identity) -> None:
        """From now on the application has this certificate."""
        port = reactor.listenSSL(
            0, Site(self.application), identity.options(), interface="127.0.0.1"
        )
        self.addCleanup(port.stopListening)
        self.url = f"https://localhost:{port.getHost().port}/"

    def trusting(self, url: str) -> HTTPDelivery:
        trusted = self.mktemp()
        with open(trusted, "wb") as file:
            file.write(authority().pem)
        return HTTPDelivery(url, ca_file=trusted)

    async def assert_refused(self, delivery: HTTPDelivery) -> None:
        (error,) = await self.deliver(delivery=delivery)
        self.assertIs(type(error), TemporaryFailure)
        self.assertEqual(self.application.requests, [])

    async def test_a_certificate_that_is_trusted(self) -> None:
        self.serve(make_identity(["localhost"], authority()))
        self.assertEqual(await self.deliver(delivery=self.trusting(self.url)), [None])

    async def test_one_for_another_name(self) -> None:
        self.serve(make_identity(["localhost"], authority()))
        await self.assert_refused(self.trusting(self.url.replace("localhost", "127.0.0.2")))

    async def test_one_without_a_name_of_a_host(self) -> None:
        mailbox = x509.RFC822Name("ann@example.org")
        self.serve(make_identity(["localhost"], authority(), others=[mailbox]))
        await self.assert_refused(self.trusting(self.url))

    async def test_one_that_is_not_trusted(self) -> None:
        self.serve(make_identity(["localhost"], authority()))
        await self.assert_refused(HTTPDelivery(self.url))

    def test_nothing_to_trust(self) -> None:
        with self.assertRaisesRegex(TLSFailed, "Cannot read the certificates to trust: .*No such"):
            HTTPDelivery("https://localhost/", ca_file=self.mktemp())


class HTTPContractTests(DeliveryContract, TestCase):
    """It is a delivery like any other."""

    async def make_delivery(self, accounts: Sequence[str]) -> IMessageDelivery:
        self.application = Application()
        port = reactor.listenTCP(0, Site(self.application), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}/"
        return OneDomain(url, accepts=lambda path: str(path).lower() in accounts)

    async def delivered(self, account: str) -> Sequence[bytes]:
        return [
            body
            for envelope, (_, body) in zip(
                self.application.envelopes, self.application.requests, strict=True
            )
            if account in [address.lower() for address in envelope["recipients"]]
        ]


class OneDomain(HTTPDelivery):
    """As a route has it: other domains are refused before."""

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        if recipient.path.domain.lower() != "example.org":
            raise RelayDenied
        await super().check_recipient(envelope, recipient)
