"""``[queue.etrn]``: clients ask for the mail of domains."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.delivery.queueing import QueueingDelivery
from mailkit.errors import PermissionDenied
from mailkit.model import Ability, ConnectionInfo
from mailkit.queue.manager import Outgoing, QueueManager
from mailkit.queue.reports import Reporter
from mailkit.queue.values import RecipientState
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from mailkit.tap.errors import SettingError
from mailkit.tap.etrn import make_starter
from mailkit.tap.outbound import Outbound
from mailkit.tap.relay import Relay
from mailkit.tap.routes import Deliveries
from mailkit.tap.services import MailService
from mailkit.testing.queue import queue_envelope

from ..queue.support import ScriptedTransport, reply

ANN = "ann@example.org"


class SettingTests(SynchronousTestCase):
    def test_bad_tables(self) -> None:
        for table in (
            [],
            {"a b": [ANN]},
            {"example.net": 1},
            {"example.net": [1]},
            {"example.net": ["x"]},
            {"example.net": ["@@"]},
        ):
            self.assertRaises(SettingError, make_starter, table)

    def test_who_has_not_logged_in_may_ask_where_the_setting_is_made(self) -> None:
        for table, code in (({}, False), ({"etrn": {"example.net": "192.0.2.1"}}, True)):
            service = MailService("memory:", relay=Relay("mx", None, table))
            service.add_smtp("tcp:0:interface=127.0.0.1")
            factory: Any = service._factories["smtp"]
            self.assertEqual(factory.extensions.etrn.allows(None), code)

    def test_deliveries_get_it(self) -> None:
        outbound = Outbound(Relay("mx", None, {"etrn": {"example.net": ANN}}), "a.example", Clock())
        store = MemoryStore()
        deliveries = Deliveries()
        deliveries.open(store)
        outbound.open(store, deliveries)
        self.addCleanup(lambda: self.successResultOf(_closed(outbound)))
        self.assertIn(Ability.START_QUEUE, deliveries.make(ANN, ConnectionInfo("smtp")).abilities)


def _closed(outbound: Outbound) -> Any:
    return Deferred.fromCoroutine(outbound.close())


class StartTests(TestCase):
    async def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.store = MemoryStore(clock=self.clock)
        self.transport = ScriptedTransport(lambda _: reply(450))
        reporter = Reporter("mail.example.org", self.clock.seconds)
        self.manager = QueueManager(self.store.queue, self.find, reporter, clock=self.clock)
        self.manager.start()
        self.addCleanup(self.manager.stop)
        self.ids = []
        for domain in ("example.net", "a.example.net", "example.com"):
            queued = await self.manager.submit(
                Spool.from_bytes(b"Subject: x\r\n\r\n"),
                [Outgoing(queue_envelope(f"eve@{domain}"))],
            )
            self.ids += queued.ids
        self.transport.answer = lambda _: reply(250)

    async def find(self, domain: str) -> ScriptedTransport:
        return self.transport

    def delivery(self, account: str | None, address: str, table: Any) -> QueueingDelivery:
        starter = make_starter(table) if table is not None else None
        return QueueingDelivery(
            self.store, self.store, account, queue=self.manager, starter=starter, address=address
        )

    async def start(self, node: str, account: str | None = None, address: str = "") -> int | None:
        table = {"example.net": [ANN, "192.0.2.0/24"]}
        found = await self.delivery(account, address, table).start_queue(node, account)
        self.clock.advance(5)
        return found

    async def states(self) -> list[str]:
        return [
            (await self.store.queue.get_message(id=id)).recipients[0].state.value for id in self.ids
        ]

    async def test_account_starts_its_domain(self) -> None:
        self.assertEqual(await self.start("Example.NET", ANN), 1)
        self.assertEqual(await self.states(), ["delivered", "deferred", "deferred"])
        self.assertEqual(await self.start("example.net", ANN), 0)

    async def test_what_is_being_handed_over_still_waits(self) -> None:
        """RFC 1985 section 5.1: the client may take 251 for the end, and go."""
        gate: Deferred[None] = Deferred()
        self.transport.gate = gate
        self.assertEqual(await self.start("example.net", ANN), 1)
        self.assertIsNone(await self.start("example.net", ANN))
        gate.callback(None)
        self.assertEqual(await self.start("example.net", ANN), 0)

    async def test_address_starts_subdomains(self) -> None:
        self.assertEqual(await self.start("@example.net", address="192.0.2.9"), 2)
        self.assertEqual(await self.states(), ["delivered", "delivered", "deferred"])

    async def test_mail_of_a_subdomain_still_waits(self) -> None:
        """RFC 1985 section 5.2: it was asked for with its domain."""
        self.assertEqual(await self.start("example.net", ANN), 1)
        gate: Deferred[None] = Deferred()
        self.transport.gate = gate
        self.assertEqual(await self.start("@example.net", address="192.0.2.9"), 1)
        self.assertIsNone(await self.start("@example.net", address="192.0.2.9"))
        self.assertIsNone(await self.start("@a.example.net", address="192.0.2.9"))
        gate.callback(None)
        self.assertEqual(await self.start("@example.net", address="192.0.2.9"), 0)

    async def test_nobody_else(self) -> None:
        for node, account, address in (
            ("example.net", None, "198.51.100.1"),
            ("example.net", "bob@example.org", ""),
            ("example.com", ANN, ""),
            ("net", ANN, ""),
            ("#all", ANN, ""),
        ):
            with self.assertRaises(PermissionDenied):
                await self.start(node, account, address)
        self.assertEqual(await self.states(), [RecipientState.DEFERRED.value] * 3)

    async def test_without_the_setting(self) -> None:
        delivery = self.delivery(ANN, "", None)
        self.assertNotIn(Ability.START_QUEUE, delivery.abilities)
        with self.assertRaises(PermissionDenied):
            await delivery.start_queue("example.net", ANN)

    async def test_a_dead_domain_is_tried_again(self) -> None:
        self.transport.answer = lambda _: reply(450)
        self.transport.unreachable = True
        self.assertEqual(await self.start("example.net", ANN), 1)
        self.transport.answer = lambda _: reply(250)
        self.transport.unreachable = False
        self.assertEqual(await self.start("example.net", ANN), 1)
        self.assertEqual((await self.states())[0], "delivered")
