"""Events of the queue as an asynchronous iterator."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator

from twisted.internet.defer import Deferred

from mailkit.queue.events import (
    BATCH,
    LOOK_INTERVAL,
    EventReader,
    end_reader,
    forget_passing_readers,
)
from mailkit.queue.outcomes import Event
from mailkit.queue.schedule import DAY
from mailkit.queue.values import Order

from .support import START, QueueTestCase, reply


class EventTests(QueueTestCase):
    def read(self, name: str | None = None) -> AsyncIterator[Event]:
        return EventReader(self.queue, self.manager.outcomes, self.clock, name).read()

    def next(self, events: AsyncIterator[Event]) -> Deferred[str]:
        """The next event, as a text."""

        async def take() -> str:
            event = await events.__anext__()
            return f"{event.recipient.path.local_part} {event.state.value}"

        return Deferred.fromCoroutine(take())

    def take(self, events: AsyncIterator[Event], count: int) -> list[str]:
        """Some events that are there already."""
        return [self.successResultOf(self.next(events)) for _ in range(count)]

    async def test_all_that_happens(self) -> None:
        events = self.read()
        codes = {"eve": 250, "joe": 451, "sue": 550}
        self.transport.answer = lambda recipient: reply(codes[recipient.path.local_part])
        for name in codes:
            await self.submit(f"{name}@example.net", account=None)
        held = await self.submit("kim@example.net", hold_until=START + 864_000, account=None)
        for order in (Order.HOLD, Order.CANCEL):
            await self.queue.order(order=order, id=held, now=START)
        self.assertEqual(
            self.take(events, 9),
            [
                "eve queued",
                "eve delivered",
                "joe queued",
                "joe deferred",
                "sue queued",
                "sue failed",
                "kim scheduled",
                "kim held",
                "kim cancelled",
            ],
        )
        self.pass_time(6 * DAY, step=300.0)
        texts = [self.successResultOf(self.next(events)) for _ in range(2)]
        self.assertEqual(texts, ["joe deferred"] * 2)
        while texts[-1] == "joe deferred":
            texts.append(self.successResultOf(self.next(events)))
        self.assertEqual(texts[-1], "joe expired")
        self.assertNoResult(self.next(events))

    async def test_what_an_event_has(self) -> None:
        events = self.read()
        id = await self.submit("eve@example.net", envid="QQ1")
        queued, delivered = [
            self.successResultOf(Deferred.fromCoroutine(events.__anext__())) for _ in range(2)
        ]
        self.assertEqual((queued.id, queued.envelope.envid, queued.attempt), (id, "QQ1", None))
        self.assertEqual(delivered.attempt.code, 250)

    async def test_it_waits(self) -> None:
        events = self.read()
        waiting = self.next(events)
        self.assertNoResult(waiting)
        id = await self.submit("eve@example.net", hold_until=START + 86_400)
        self.assertEqual(self.successResultOf(waiting), "eve scheduled")
        waiting = self.next(events)
        # As a command in another process does it: nobody is told.
        self.patch(self.queue, "_tell", lambda message: None)
        await self.queue.order(order=Order.CANCEL, id=id, now=START)
        self.assertNoResult(waiting)
        self.clock.advance(LOOK_INTERVAL)
        self.assertEqual(self.successResultOf(waiting), "eve cancelled")

    async def test_many(self) -> None:
        events = self.read()
        for _ in range(BATCH):
            await self.submit("eve@example.net")
        self.assertEqual(self.take(events, 2 * BATCH).count("eve delivered"), BATCH)
        self.assertNoResult(self.next(events))

    async def test_a_name_is_remembered(self) -> None:
        events = self.read("app")
        await self.submit("eve@example.net")
        self.assertEqual(self.take(events, 2), ["eve queued", "eve delivered"])
        await events.aclose()  # type: ignore[attr-defined]
        await self.submit("joe@example.net")
        # The program may have ended before it was done with the last one.
        again = self.read("app")
        self.assertEqual(self.take(again, 3), ["eve delivered", "joe queued", "joe delivered"])
        await again.aclose()  # type: ignore[attr-defined]
        await end_reader(self.queue, "app")
        self.assertEqual(await self.queue.list_listeners(), [])

    async def test_without_a_name_nothing_is_left(self) -> None:
        events = self.read()
        await self.submit("eve@example.net")
        self.take(events, 1)
        self.assertEqual(len(await self.queue.list_listeners()), 1)
        del events
        gc.collect()
        self.assertEqual(await self.queue.list_listeners(), [])

    async def test_those_that_ended_badly_are_forgotten(self) -> None:
        await self.queue.change_listeners(add=["passing:1", "program:app", "https://a.example"])
        await forget_passing_readers(self.queue)
        self.assertEqual(
            sorted(await self.queue.list_listeners()), ["https://a.example", "program:app"]
        )

    async def test_what_is_forgotten_is_passed_over(self) -> None:
        events = self.read("app")
        waiting = self.next(events)
        self.successResultOf(Deferred.fromCoroutine(self.submit("eve@example.net")))
        self.successResultOf(waiting)
        real = self.queue.get_message

        async def forgotten(id: str) -> object:
            self.patch(self.queue, "get_message", real)
            return await real(id="999")

        self.patch(self.queue, "get_message", forgotten)
        await self.submit("joe@example.net")
        self.assertEqual(self.take(events, 2), ["joe queued", "joe delivered"])

    def test_a_queue_that_keeps_none(self) -> None:
        self.assertRaises(TypeError, EventReader, object(), self.manager.outcomes, self.clock)


class WebhookNeighbourTests(QueueTestCase):
    async def test_webhooks_leave_readers_alone(self) -> None:
        from mailkit.queue.webhooks import Webhook, WebhookSender

        await self.queue.change_listeners(add=["program:app", "https://old.example"])
        hook = Webhook("https://app.example.org/", [b"0123456789abcdef"])
        sender = WebhookSender(self.queue, [hook], self.clock)
        sender.start()
        self.addCleanup(sender.stop)
        self.assertEqual(
            sorted(await self.queue.list_listeners()), ["https://app.example.org/", "program:app"]
        )
