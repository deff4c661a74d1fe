"""A service that sends obeys what domains publish, and counts what came of it."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as _reactor
from twisted.names import dns
from twisted.trial.unittest import TestCase

from mailkit.delivery.callback import CallableDelivery, delivery_portal
from mailkit.model import Envelope
from mailkit.queue.tls_results import TLSResults
from mailkit.queue.values import RecipientState
from mailkit.smtp.client import make_envelope
from mailkit.smtp.protocol import SMTPFactory
from mailkit.spool import Spool
from mailkit.store.sqlite import SQLiteStore
from mailkit.tap.relay import Relay
from mailkit.tap.sending import SendingService

from ..certificates import make_identity
from ..dns.fakes import FakeResolver
from ..dns.zones import TLSARecord, Zone, serve_zone

reactor: Any = _reactor
HOST = "127.0.0.1"
MESSAGE = b"From: ann@example.org\r\nTo: eve@example.net\r\nSubject: Lunch\r\n\r\nAt noon?\r\n"


class ServiceTests(TestCase):
    def setUp(self) -> None:
        self.got: list[Envelope] = []
        portal = delivery_portal(CallableDelivery(self.take, domains=["example.net"]))
        self.identity = make_identity(["mx.example.net"])
        factory = SMTPFactory(portal, tls_context=self.identity.options())
        port = reactor.listenTCP(0, factory, interface=HOST)
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        self.records: dict[bytes, list[Any]] = {
            b"example.net": [dns.Record_MX(1, b"mx.example.net")],
            b"mx.example.net": [dns.Record_A(HOST)],
            b"_smtp._tls.example.net": [dns.Record_TXT(b"v=TLSRPTv1; rua=mailto:tls@example.net")],
        }

    async def take(self, envelope: Envelope, message: Spool) -> None:
        self.got.append(envelope)

    async def send(self, **settings: Any) -> Any:
        """Send one message; the event, and what is kept after the service has ended."""
        host, port = serve_zone(self, Zone(b"example.net", self.records), validated=True)
        table = {"port": self.port, "nameservers": [f"{host}:{port}"], **settings}
        directory = self.mktemp()
        relay = Relay("mx", None, table)
        service = SendingService(f"sqlite:{directory}", relay, hostname="mail.example.org")
        service.startService()
        events = service.events()
        await service.submit(make_envelope("ann@example.org", ["eve@example.net"]), MESSAGE)
        # It was queued before.
        await events.__anext__()
        event = await events.__anext__()
        await service.stopService()
        store = SQLiteStore(directory)
        self.addCleanup(store.close)
        return event, TLSResults(FakeResolver(), store, reactor)

    async def test_counted(self) -> None:
        # A policy that is announced, and cannot be fetched.
        text = dns.Record_TXT(b"v=STSv1; id=1;")
        self.records[b"_mta-sts.example.net"] = [text]
        self.records[b"mta-sts.example.net"] = [dns.Record_A(HOST)]
        event, results = await self.send(tls_reports="tls@example.org", undo=0)
        self.assertIs(event.state, RecipientState.DELIVERED)
        self.assertEqual(event.attempt.security, "opportunistic")
        found = {
            each.policy.type: (each.successes, [detail.result_type for detail in each.details])
            for each in await results.get(results.today, "example.net")
        }
        wanted = {"no-policy-found": (1, []), "sts": (0, ["sts-policy-fetch-error"])}
        self.assertEqual(found, wanted)

    async def test_dane(self) -> None:
        base = f"_{self.port}._tcp.mx.example.net".encode()
        self.records[base] = [TLSARecord.of(self.identity.association(3, 1, 1))]
        event, results = await self.send(undo=0)
        self.assertTrue(event.attempt.security.startswith("dane: 1 TLSA"), event)
        # Nobody asked for reports.
        self.assertEqual(await results.list_domains(results.today), [])

    async def test_switched_off(self) -> None:
        base = f"_{self.port}._tcp.mx.example.net".encode()
        self.records[base] = [TLSARecord.of(make_identity(["x.example"]).association(3, 1, 1))]
        event, _ = await self.send(undo=0, dane=False, mta_sts=False)
        self.assertIs(event.state, RecipientState.DELIVERED)
        event, _ = await self.send(undo=0, validating=False)
        self.assertIs(event.state, RecipientState.DELIVERED)
        event, _ = await self.send(undo=0)
        self.assertIs(event.state, RecipientState.DEFERRED)
