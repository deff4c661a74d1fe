"""Ways out by domain and by sender, each with its own times."""

from __future__ import annotations

import io
from typing import Any

from mailkit._typing import override
from mailkit.model import Path
from mailkit.queue.manager import QueueManager
from mailkit.queue.routing import Condition, OutboundRoute, OutboundRoutes
from mailkit.queue.schedule import Schedule
from mailkit.queue.transport import Transport
from mailkit.queue.values import RecipientState
from mailkit.testing.queue import queue_envelope

from .support import QueueTestCase, ScriptedTransport, reply

ANN = "ann@example.org"
HOUR = 3600


class RoutingTestCase(QueueTestCase):
    """A manager with ways that a test names."""

    @override
    def setUp(self) -> None:
        self.ways: dict[str, ScriptedTransport] = {}
        self.routes = OutboundRoutes(self.conditions(), self.way("default"))
        super().setUp()

    def conditions(self) -> list[tuple[Condition, OutboundRoute]]:
        return []

    def way(self, name: str, **times: Any) -> OutboundRoute:
        self.ways[name] = ScriptedTransport(lambda recipient: reply())
        return OutboundRoute(self.ways[name], Schedule(jitter=0, **times))

    @override
    async def find(self, domain: str) -> Transport:
        return self.routes.transport(domain)

    @override
    def make_manager(self, **settings: Any) -> QueueManager:
        return super().make_manager(find_schedule=self.routes.schedule, **settings)

    def taken(self) -> dict[str, list[str]]:
        """Who has got mail by which way."""
        return {name: way.recipients() for name, way in self.ways.items() if way.sent}


class DomainTests(RoutingTestCase):
    @override
    def conditions(self) -> list[tuple[Condition, OutboundRoute]]:
        return [
            (Condition(["mail.example.net"]), self.way("exact")),
            (Condition([".example.net"]), self.way("below")),
            (Condition(["example.net"]), self.way("domain")),
            (Condition([".example.net"]), self.way("never")),
        ]

    async def test_the_first_that_fits(self) -> None:
        await self.submit(
            "a@mail.example.net", "b@MAIL2.example.net", "c@example.net", "d@notexample.net"
        )
        self.assertEqual(
            self.taken(),
            {
                "exact": ["a@mail.example.net"],
                "below": ["b@MAIL2.example.net"],
                "domain": ["c@example.net"],
                "default": ["d@notexample.net"],
            },
        )


class SenderTests(RoutingTestCase):
    @override
    def conditions(self) -> list[tuple[Condition, OutboundRoute]]:
        return [
            (Condition(["example.net"], ["news@example.org"]), self.way("address")),
            (Condition(["example.net"], ["example.com", ".example.com"]), self.way("domain")),
            (Condition(accounts=[ANN]), self.way("account")),
        ]

    async def test_senders_and_accounts(self) -> None:
        for number, (path, account, way) in enumerate(
            (
                ("news@example.org", None, "address"),
                ("NEWS@example.org", None, "address"),
                ("ann@example.com", None, "domain"),
                ("ann@a.example.com", None, "domain"),
                ("ann@example.org", ANN, "account"),
                ("ann@example.org", "bob@example.org", "default"),
                ("", None, "default"),
            )
        ):
            for other in self.ways.values():
                other.sent.clear()
            envelope = queue_envelope(f"{number}@example.net", account=account)
            envelope.reverse_path = Path(*path.rsplit("@", 1)) if path else Path("", "")
            await self.submit_envelope(envelope)
            self.assertEqual(list(self.taken()), [way], path)

    async def test_a_way_that_is_barred_does_not_bar_the_others(self) -> None:
        barred = self.ways["account"]
        barred.unreachable = True
        barred.answer = lambda recipient: reply(450)
        first = await self.submit("1@example.net", account=ANN)
        second = await self.submit("2@example.net", account=None)
        self.assertEqual(await self.states(first), [RecipientState.DEFERRED])
        self.assertEqual(await self.states(second), [RecipientState.DELIVERED])
        result = await self.routes.transport("example.net").send(
            "example.net", queue_envelope("1@example.net", account=ANN), io.BytesIO()
        )
        self.assertFalse(result.unreachable)


class ScheduleTests(RoutingTestCase):
    @override
    def conditions(self) -> list[tuple[Condition, OutboundRoute]]:
        fast = self.way("fast", intervals=(60.0,), lifetime=600.0, warn_after=0.0)
        slow = self.way("slow", lifetime=10 * 86_400.0)
        return [(Condition(["fast.example"]), fast), (Condition(["slow.example"]), slow)]

    async def test_intervals_and_lifetime_by_route(self) -> None:
        for way in self.ways.values():
            way.answer = lambda recipient: (
                reply(450) if recipient.path.domain != "example.org" else reply()
            )
        id = await self.submit("a@fast.example", "b@example.net", "c@slow.example")
        self.pass_time(601, step=1)
        # One at the start, and one in each minute; then it is too late.
        self.assertEqual(len(self.ways["fast"].sent), 11)
        states = await self.states(id)
        self.assertEqual(states[0], RecipientState.EXPIRED)
        self.assertEqual(states[1:], [RecipientState.DEFERRED] * 2)
        self.assertEqual(len(self.ways["default"].sent), 2 + 1)
        self.pass_time(5 * 86_400 + 4 * HOUR, step=600)
        states = await self.states(id)
        self.assertEqual(states[1:], [RecipientState.EXPIRED, RecipientState.DEFERRED])
