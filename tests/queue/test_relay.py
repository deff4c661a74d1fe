"""Mail leaves for real servers on loopback, found by DNS."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from mailkit.delivery.callback import CallableDelivery, delivery_portal
from mailkit.errors import MailError, NoSuchRecipient, TemporaryFailure
from mailkit.model import Ability, Envelope
from mailkit.queue import relay
from mailkit.queue.hosts import ExchangerFinder
from mailkit.queue.pacing import PaceSettings
from mailkit.queue.relay import RelayTransport
from mailkit.queue.transport import Result
from mailkit.smtp.client import ClientSettings, Status, Timeouts
from mailkit.smtp.protocol import SMTPFactory
from mailkit.spool import Spool
from mailkit.testing.queue import queue_envelope

from ..dns.fakes import FakeResolver
from ..support import free_ports
from .support import SAMPLE

reactor: Any = _reactor
HOST = "127.0.0.1"


class RelayTests(TestCase):
    def setUp(self) -> None:
        self.got: list[tuple[Envelope, bytes]] = []
        self.refusals: dict[str, MailError] = {}
        factory = SMTPFactory(self.portal(self._take))
        self.port = reactor.listenTCP(0, factory, interface=HOST)
        self.addCleanup(self.port.stopListening)
        self.number = self.port.getHost().port
        self.resolver = FakeResolver(
            exchangers={"example.net": [(1, "mx.example.net")]},
            addresses={"mx.example.net": [HOST]},
        )
        self.factory = factory

    @staticmethod
    def portal(handler: Any) -> Any:
        return delivery_portal(CallableDelivery(handler, domains=["example.net"]))

    async def _take(self, envelope: Envelope, message: Spool) -> None:
        for recipient in envelope.recipients:
            refusal = self.refusals.get(recipient.path.local_part)
            if refusal is not None:
                raise refusal
        assert message.data is not None
        self.got.append((envelope, message.data))

    def transport(
        self, number: int | None = None, pace: PaceSettings | None = None, **timeouts: float
    ) -> RelayTransport:
        settings = ClientSettings(helo="mail.example.org", timeouts=Timeouts(**timeouts))
        finder = ExchangerFinder(self.resolver, port=number or self.number)
        transport = RelayTransport(finder, settings, reactor, pace=pace)
        self.addCleanup(lambda: Deferred.fromCoroutine(transport.close()))
        return transport

    async def send(self, transport: RelayTransport, *addresses: str, **fields: Any) -> Result:
        envelope = queue_envelope(*addresses, **fields)
        return await transport.send("example.net", envelope, io.BytesIO(SAMPLE))

    async def test_delivered(self) -> None:
        result = await self.send(self.transport(), "eve@example.net", "joe@example.net")
        ((envelope, message),) = self.got
        self.assertEqual(envelope.helo, "mail.example.org")
        self.assertTrue(message.endswith(SAMPLE))
        self.assertEqual([each.status for each in result.recipients], [Status.ACCEPTED] * 2)
        attempt = result.recipients[0].attempt
        self.assertEqual((attempt.host, attempt.code), ("mx.example.net", 250))
        self.assertEqual(attempt.address, f"{HOST}:{self.number}")
        self.assertEqual(attempt.security, "opportunistic")

    async def test_whether_the_server_watches_the_time(self) -> None:
        (plain,) = (await self.send(self.transport(), "eve@example.net")).recipients
        self.assertFalse(plain.keeps_time)
        delivery = CallableDelivery(
            self._take, domains=["example.net"], abilities=[Ability.DELIVERBY]
        )
        self.factory.portal = delivery_portal(delivery)
        (timed,) = (await self.send(self.transport(), "eve@example.net")).recipients
        self.assertTrue(timed.keeps_time)

    async def test_connection_is_used_again(self) -> None:
        transport = self.transport()
        for _ in range(3):
            await self.send(transport, "eve@example.net")
        self.assertEqual(len(self.got), 3)
        self.assertEqual(len({envelope.connection.peer_port for envelope, _ in self.got}), 1)

    async def test_messages_behind_each_other(self) -> None:
        transport = self.transport(pace=PaceSettings(max_connections=1))
        self.refusals = {"joe": NoSuchRecipient()}
        names = ["eve", "joe", "ann", "bob"] * 3
        sending = [
            Deferred.fromCoroutine(self.send(transport, f"{name}@example.net")) for name in names
        ]
        found = [result.recipients[0].attempt.code for result in await gatherResults(sending)]
        self.assertEqual(found, [250, 550, 250, 250] * 3)
        self.assertEqual(len(self.got), 9)
        self.assertEqual(len({envelope.connection.peer_port for envelope, _ in self.got}), 1)
        self.assertEqual(len(transport._lockstep), 0)

    async def test_called_off_while_it_waits(self) -> None:
        """Nothing is sent, and what is behind it follows over the same connection."""
        self.patch(relay, "ORDERS_TIME", 0.0)
        transport = self.transport(pace=PaceSettings(max_connections=1))
        asked: list[str] = []

        def send(name: str, wanted: bool) -> Deferred[Result]:
            async def still() -> bool:
                asked.append(name)
                return wanted

            envelope = queue_envelope(f"{name}@example.net")
            sending = transport.send("example.net", envelope, io.BytesIO(SAMPLE), still)
            return Deferred.fromCoroutine(sending)

        names = {"eve": True, "joe": False, "ann": True, "bob": False, "sue": False, "kim": True}
        results = await gatherResults([send(*each) for each in names.items()])
        self.assertEqual([len(result.recipients) for result in results], [1, 0, 1, 0, 0, 1])
        self.assertEqual(asked, list(names))
        got = [envelope.recipients[0].path.local_part for envelope, _ in self.got]
        self.assertEqual(got, ["eve", "ann", "kim"])
        self.assertEqual(len({envelope.connection.peer_port for envelope, _ in self.got}), 1)
        # Whoever comes later finds a place.
        self.assertEqual((await send("tom", True)).recipients[0].status, Status.ACCEPTED)

    async def test_called_off_makes_no_room_for_more(self) -> None:
        """Nothing is known of a destination to which nothing was sent."""
        self.patch(relay, "ORDERS_TIME", 0.0)
        transport = self.transport()

        async def still() -> bool:
            return False

        envelope = queue_envelope("eve@example.net")
        for _ in range(3):
            result = await transport.send("example.net", envelope, io.BytesIO(SAMPLE), still)
            self.assertEqual(result.recipients, [])
        (pace,) = transport._paces._paces.values()
        self.assertEqual((pace.window, pace.under_way), (4, 0))

    async def test_refusals(self) -> None:
        self.refusals = {"eve": NoSuchRecipient(), "joe": TemporaryFailure()}
        transport = self.transport()
        for name, status, code in (("eve", Status.PERMANENT, 550), ("joe", Status.TEMPORARY, 451)):
            result = await self.send(transport, f"{name}@example.net")
            self.assertFalse(result.unreachable)
            self.assertEqual(result.recipients[0].status, status)
            self.assertEqual(result.recipients[0].attempt.code, code)

    async def test_next_host_where_one_is_dead(self) -> None:
        (number,) = free_ports(1)
        transport = self.transport()

        class Finder(ExchangerFinder):
            async def find(self, domain: str) -> Sequence[Any]:
                (host,) = await super().find(domain)
                return [host._replace(name="dead.example.net", port=number), host]

        transport._finder = Finder(self.resolver, port=self.number)
        result = await self.send(transport, "eve@example.net")
        self.assertEqual(result.recipients[0].attempt.host, "mx.example.net")
        self.assertEqual(result.recipients[0].status, Status.ACCEPTED)

    async def test_unreachable(self) -> None:
        transport = self.transport(*free_ports(1))
        result = await self.send(transport, "eve@example.net")
        self.assertTrue(result.unreachable)
        (handover,) = result.recipients
        self.assertEqual(handover.status, Status.TEMPORARY)
        self.assertEqual(handover.attempt.enhanced, "4.4.1")
        self.assertEqual(handover.attempt.host, "mx.example.net")

    async def test_judgements_of_dns(self) -> None:
        self.resolver = FakeResolver(exchangers={"null.example": [(0, "")]})
        transport = self.transport()
        for domain, enhanced in (("null.example", "5.1.10"), ("nothing.example", "5.1.2")):
            envelope = queue_envelope(f"eve@{domain}")
            result = await transport.send(domain, envelope, io.BytesIO(SAMPLE))
            (handover,) = result.recipients
            self.assertEqual(handover.status, Status.PERMANENT)
            self.assertEqual(handover.attempt.enhanced, enhanced)

    async def test_require_tls_without_tls(self) -> None:
        # RFC 8689 section 4.2.1: never without verified TLS.
        result = await self.send(self.transport(), "eve@example.net", require_tls=True)
        self.assertEqual(self.got, [])
        self.assertNotEqual(result.recipients[0].status, Status.ACCEPTED)

    async def test_server_that_hangs(self) -> None:
        self.refusals = {}
        silent = Deferred[None]()

        async def hang(envelope: Envelope, message: Spool) -> None:
            await silent

        self.factory.portal = self.portal(hang)
        result = await self.send(self.transport(data_termination=0.05), "eve@example.net")
        silent.callback(None)
        self.assertEqual(result.recipients[0].status, Status.TEMPORARY)
