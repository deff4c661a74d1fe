"""Mail leaves by TLS as DANE wants it, for servers on loopback whose certificates are good or bad."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mailkit.client.dane import check_associations
from mailkit.client.errors import TLSFailed
from mailkit.delivery.callback import CallableDelivery, delivery_portal
from mailkit.dns.records import TLSA, RecordType
from mailkit.errors import DNSFailure
from mailkit.model import Ability, Envelope
from mailkit.queue.hosts import ExchangerFinder, HostFinder
from mailkit.queue.relay import RelayTransport
from mailkit.queue.security import DestinationSecurity
from mailkit.queue.transport import Handover
from mailkit.smtp.client import ClientSettings, Status, TLSMode, TLSPolicy
from mailkit.smtp.protocol import SMTPFactory
from mailkit.spool import Spool
from mailkit.testing.queue import queue_envelope

from ..certificates import Identity, authority, make_identity
from ..dns.fakes import FakeResolver
from .support import SAMPLE

reactor: Any = _reactor
HOST = "127.0.0.1"
NAME = "mx.example.net"


class CountingFactory(SMTPFactory):
    """Counts connections."""

    connected = 0

    def buildProtocol(self, addr: Any) -> Any:
        self.connected += 1
        return super().buildProtocol(addr)


class SecureWorldCase(TestCase):
    """A signed zone with one exchanger, which a test gives a certificate."""

    def setUp(self) -> None:
        self.got: list[Envelope] = []
        self.resolver = FakeResolver(
            exchangers={"example.net": [(1, NAME)]}, addresses={NAME: [HOST]}
        )
        self.resolver.secure = {"example.net", NAME}

    async def take(self, envelope: Envelope, message: Spool) -> None:
        self.got.append(envelope)

    def serve(
        self,
        identity: Identity | None,
        chain: Sequence[Identity] = (),
        abilities: Sequence[Ability] = (),
    ) -> int:
        """A server; its port."""
        delivery = CallableDelivery(self.take, domains=["example.net"], abilities=abilities)
        context = identity.options(chain) if identity else None
        factory = CountingFactory(delivery_portal(delivery), tls_context=context)
        port = reactor.listenTCP(0, factory, interface=HOST)
        self.factory = factory
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def publish(self, number: int, *records: TLSA) -> None:
        """Put TLSA records into the zone."""
        name = f"_{number}._tcp.{NAME}"
        self.resolver.secure.add(name)
        for record in records:
            self.resolver.add(name, RecordType.TLSA, record)

    def security(self) -> DestinationSecurity:
        return DestinationSecurity(self.resolver)

    def results(self) -> Any:
        return None

    def settings(self) -> ClientSettings:
        return ClientSettings(helo="mail.example.org")

    async def send(self, number: int, content: bytes = SAMPLE, **fields: Any) -> Handover:
        """What becomes of a message."""
        transport = self.transport(ExchangerFinder(self.resolver, port=number))
        return await self.send_by(transport, content, **fields)

    def transport(self, finder: HostFinder) -> RelayTransport:
        transport = RelayTransport(
            finder, self.settings(), reactor, self.security(), self.results()
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(transport.close()))
        return transport

    async def send_by(
        self, transport: RelayTransport, content: bytes = SAMPLE, **fields: Any
    ) -> Handover:
        envelope = queue_envelope("eve@example.net", **fields)
        result = await transport.send("example.net", envelope, io.BytesIO(content))
        (handover,) = result.recipients
        self.unreachable = result.unreachable
        return handover


class DANETests(SecureWorldCase):
    async def try_records(
        self, identity: Identity, chain: Sequence[Identity], *records: TLSA
    ) -> Handover:
        number = self.serve(identity, chain)
        self.publish(number, *records)
        return await self.send(number)

    def assert_delivered(self, handover: Handover) -> None:
        self.assertEqual(handover.status, Status.ACCEPTED, handover.attempt)
        self.assertIn(" verified", handover.attempt.tls)
        self.assertTrue(handover.attempt.security.startswith("dane: 1 TLSA at _"))

    def assert_deferred(self, handover: Handover, text: str) -> None:
        self.assertEqual(self.got, [])
        self.assertEqual(handover.status, Status.TEMPORARY)
        self.assertEqual(handover.attempt.enhanced, "4.7.5")
        self.assertIn(text, handover.attempt.text)
        # Others for the domain may want less.
        self.assertFalse(self.unreachable)

    async def test_end_entity(self) -> None:
        # RFC 7672 section 3.1.1: neither names nor dates count.
        identity = make_identity(["other.example"], days=-1)
        for selector in (0, 1):
            for matching_type in (0, 1, 2):
                record = identity.association(3, selector, matching_type)
                self.assert_delivered(await self.try_records(identity, [], record))
        self.assertEqual(len(self.got), 6)

    async def test_another_certificate(self) -> None:
        other = make_identity([NAME])
        handover = await self.try_records(make_identity([NAME]), [], other.association(3, 1, 1))
        self.assert_deferred(handover, "none that its TLSA records want")

    async def test_trust_anchor(self) -> None:
        for name in (NAME, "example.net", "*.example.net"):
            identity = make_identity([name], authority())
            for matching_type in (0, 1):
                record = authority().association(2, 0, matching_type)
                self.assert_delivered(await self.try_records(identity, [authority()], record))

    async def test_trust_anchor_in_the_middle(self) -> None:
        middle = make_identity(issuer=authority())
        identity = make_identity([NAME], middle)
        record = middle.association(2, 1, 2)
        self.assert_delivered(await self.try_records(identity, [middle], record))

    async def test_trust_anchor_that_only_dns_has(self) -> None:
        identity = make_identity([NAME], authority())
        self.assert_delivered(
            await self.try_records(identity, [], authority().association(2, 0, 0))
        )

    async def test_trust_anchor_and_another_name(self) -> None:
        identity = make_identity(["mx.example.com"], authority())
        record = authority().association(2, 0, 1)
        self.assert_deferred(
            await self.try_records(identity, [authority()], record),
            "is for none of mx.example.net, example.net",
        )

    async def test_trust_anchor_of_somebody_else(self) -> None:
        # The server shows the anchor, but it has not signed its certificate.
        identity = make_identity([NAME], make_identity())
        record = authority().association(2, 0, 1)
        self.assert_deferred(
            await self.try_records(identity, [authority()], record),
            "is not trusted: ",
        )

    async def test_no_tls_offered(self) -> None:
        number = self.serve(None)
        self.publish(number, authority().association(3, 1, 1))
        self.assert_deferred(await self.send(number), "offers no STARTTLS")

    async def test_useless_records(self) -> None:
        number = self.serve(make_identity(["whatever.example"]))
        self.publish(number, authority().association(1, 1, 1))
        handover = await self.send(number)
        self.assertEqual(handover.status, Status.ACCEPTED)
        self.assertIn("not verified", handover.attempt.tls)
        number = self.serve(None)
        self.publish(number, authority().association(1, 1, 1))
        self.assertEqual((await self.send(number)).status, Status.TEMPORARY)

    async def test_dns_fails(self) -> None:
        number = self.serve(authority())
        self.resolver.trouble[f"_{number}._tcp.{NAME}"] = DNSFailure("SERVFAIL")
        handover = await self.send(number)
        self.assertEqual(self.got, [])
        self.assertEqual(handover.status, Status.TEMPORARY)
        self.assertEqual((handover.attempt.enhanced, handover.attempt.command), ("4.4.3", "DNS"))

    async def test_requiretls(self) -> None:
        identity = make_identity([NAME])
        number = self.serve(identity)
        handover = await self.send(number, require_tls=True)
        # The certificate is nobody's whom we trust.
        self.assertEqual(handover.status, Status.PERMANENT)
        self.assertEqual(handover.attempt.enhanced, "5.7.10")
        self.publish(number, identity.association(3, 1, 1))
        handover = await self.send(number, require_tls=True)
        # The way was secure enough; the server itself does not know REQUIRETLS.
        self.assertEqual(handover.attempt.enhanced, "5.7.30")
        self.assertIn("; REQUIRETLS", handover.attempt.security)
        self.assertIn(" verified", handover.attempt.tls)
        self.assertFalse(self.unreachable)
        # Without DNSSEC there is no point in trying again.
        self.resolver.secure.clear()
        handover = await self.send(number, require_tls=True)
        self.assertEqual(handover.status, Status.PERMANENT)
        self.assertEqual(handover.attempt.enhanced, "5.7.10")

    async def test_requiretls_without_tls(self) -> None:
        # RFC 8689 section 4.2.1: reported at once, not tried for days.
        identity = make_identity([NAME], authority())
        number = self.serve(identity, abilities=[Ability.REQUIRETLS])
        self.publish(number, make_identity([NAME]).association(3, 1, 1))
        handover = await self.send(number, require_tls=True)
        self.assertEqual(handover.status, Status.PERMANENT)
        self.assertEqual(handover.attempt.enhanced, "5.7.10")
        self.assertIn("REQUIRETLS: ", handover.attempt.text)
        self.assertEqual((handover.attempt.host, self.got), (NAME, []))
        # Mail that does not ask for it waits.
        self.assertEqual((await self.send(number)).status, Status.TEMPORARY)

    async def test_requiretls_with_a_host_that_is_away(self) -> None:
        # That one may have it tomorrow.
        number = self.serve(None)
        self.publish(number, authority().association(3, 1, 1))
        finder = ExchangerFinder(self.resolver, port=number)
        away = reactor.listenTCP(0, CountingFactory(None), interface=HOST)
        dead = away.getHost().port
        await away.stopListening()

        class Both(ExchangerFinder):
            async def find(self, domain: str) -> Sequence[Any]:
                (host,) = await finder.find(domain)
                return [host._replace(port=dead), host]

        self.publish(dead, authority().association(3, 1, 1))
        handover = await self.send_by(self.transport(Both(self.resolver)), require_tls=True)
        self.assertEqual(handover.status, Status.TEMPORARY)

    async def test_requiretls_at_another_host(self) -> None:
        # RFC 8689 section 4.2.1: each is asked.
        identity = make_identity([NAME])
        with_it = self.serve(identity, abilities=[Ability.REQUIRETLS])
        without = self.serve(identity)
        for number in (with_it, without):
            self.publish(number, identity.association(3, 1, 1))
        finder = ExchangerFinder(self.resolver, port=without)

        class Both(ExchangerFinder):
            async def find(self, domain: str) -> Sequence[Any]:
                (host,) = await finder.find(domain)
                return [host, host._replace(port=with_it)]

        transport = self.transport(Both(self.resolver))
        handover = await self.send_by(transport, require_tls=True)
        self.assertEqual(handover.status, Status.ACCEPTED, handover.attempt)
        self.assertTrue(self.got[0].require_tls)

    async def test_tls_that_fails_is_not_tried_for_each_message(self) -> None:
        number = self.serve(None)
        self.publish(number, authority().association(3, 1, 1))
        transport = self.transport(ExchangerFinder(self.resolver, port=number))
        for _ in range(5):
            self.assert_deferred(await self.send_by(transport), "offers no STARTTLS")
        self.assertEqual(self.factory.connected, 1)
        # It counts for no message that wants less.
        handover = await self.send_by(transport, b"TLS-Required: No\r\n" + SAMPLE)
        self.assertEqual(handover.status, Status.ACCEPTED)

    async def test_tls_required_no(self) -> None:
        number = self.serve(None)
        self.publish(number, authority().association(3, 1, 1))
        handover = await self.send(number, b"TLS-Required: No\r\n" + SAMPLE)
        self.assertEqual(handover.status, Status.ACCEPTED)
        self.assertEqual(handover.attempt.security, "opportunistic: TLS-Required: No")


class AssociationTests(TestCase):
    """The judgement alone."""

    def refuse(self, result_type: str, *arguments: Any) -> None:
        with self.assertRaises(TLSFailed) as caught:
            check_associations(*arguments)
        self.assertEqual(caught.exception.result_type, result_type)

    def test_result_types(self) -> None:
        anchor = [authority().association(2, 0, 1)]
        names = [NAME]

        def chain(make: Callable[[], Identity]) -> list[Any]:
            return [make().certificate, authority().certificate]

        self.refuse("validation-failure", [], anchor, names)
        expired = chain(lambda: make_identity([NAME], authority(), days=-1))
        self.refuse("certificate-expired", expired, anchor, names)
        other = chain(lambda: make_identity(["example.com"], authority()))
        self.refuse("certificate-host-mismatch", other, anchor, names)
        strange = chain(lambda: make_identity([NAME]))
        self.refuse("certificate-not-trusted", strange, anchor, names)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        client = chain(lambda: make_identity([NAME], authority(), usage=usage))
        self.refuse("validation-failure", client, anchor, names)

    def test_anchor_that_is_the_server_itself(self) -> None:
        identity = make_identity([NAME])
        check_associations([identity.certificate], [identity.association(2, 0, 1)], [NAME])
        signed = make_identity([NAME], authority())
        records = [signed.association(2, 0, 1)]
        self.refuse("certificate-not-trusted", [signed.certificate], records, [NAME])

    def test_policy_needs_what_it_is_about(self) -> None:
        with self.assertRaises(ValueError):
            TLSPolicy(TLSMode.DANE)
