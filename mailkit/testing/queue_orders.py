"""Contract tests of orders that somebody gives for what is queued."""

from __future__ import annotations

from mailkit.errors import NoSuchMessage
from mailkit.interfaces import IQueue
from mailkit.queue.values import Attempt, Order, RecipientState, Update
from mailkit.testing.base import sample_message
from mailkit.testing.queue_base import HOUR, QueueBase


class OrderTests(QueueBase):
    """Tests of :meth:`mailkit.interfaces.IQueue.order`."""

    async def test_held_while_it_is_handed_over(self) -> None:
        queue = await self.open_queue()
        id = await self.add(queue, "eve@example.net", "joe@example.net")
        eve, joe = (await queue.get_message(id=id)).recipients
        await queue.order(order=Order.HOLD, id=id, now=self.now)
        await queue.record(
            updates=[
                Update(eve.id, RecipientState.ATTEMPTING),
                Update(eve.id, RecipientState.DEFERRED, self.now, Attempt(self.now, 9.0, code=451)),
                Update(joe.id, RecipientState.DELIVERED, attempt=Attempt(self.now, 9.0, code=250)),
            ]
        )
        self.assertEqual(
            await self.states(queue, id), [RecipientState.HELD, RecipientState.DELIVERED]
        )
        self.assertEqual(await self.due(queue, "example.net", later=9 * HOUR), [])
        self.assertEqual((await queue.get_message(id=id)).recipients[0].attempts, 1)
        self.assertEqual(len(await queue.get_attempts(id=id)), 2)
        await queue.order(order=Order.RELEASE, id=id, now=self.now)
        self.assertEqual(await self.due(queue, "example.net"), ["eve@example.net"])

    async def test_held_while_an_attempt_is_broken_off(self) -> None:
        queue = await self.open_queue()
        id = await self.add(queue, "eve@example.net")
        (eve,) = (await queue.get_message(id=id)).recipients
        await queue.record(updates=[Update(eve.id, RecipientState.ATTEMPTING)])
        await queue.order(order=Order.HOLD, id=id, now=self.now)
        await queue.record(updates=[Update(eve.id, eve.state)])
        self.assertEqual(await self.states(queue, id), [RecipientState.HELD])
        self.assertEqual(await self.due(queue, "example.net", later=9 * HOUR), [])
        self.assertEqual(await self.order(queue, Order.RELEASE, id), [RecipientState.QUEUED])

    async def test_called_off_while_it_is_handed_over(self) -> None:
        queue = await self.open_queue()
        id = await self.add(queue, "eve@example.net", "joe@example.net")
        eve, joe = (await queue.get_message(id=id)).recipients
        await queue.order(order=Order.CANCEL, id=id, now=self.now)
        await queue.record(
            updates=[
                Update(eve.id, RecipientState.DEFERRED, self.now, Attempt(self.now, 9.0, code=451)),
                Update(joe.id, RecipientState.DELIVERED, attempt=Attempt(self.now, 9.0, code=250)),
            ]
        )
        self.assertEqual(
            await self.states(queue, id), [RecipientState.CANCELLED, RecipientState.DELIVERED]
        )
        self.assertEqual(await queue.list_messages(), [])

    async def test_orders(self) -> None:
        queue = await self.open_queue()
        id = await self.add(queue, "eve@example.net", later=HOUR)
        self.assertEqual(await self.order(queue, Order.HOLD, id), [RecipientState.HELD])
        self.assertIsNone(await queue.get_next_time())
        self.assertEqual(await self.content(queue, id), sample_message(1))
        self.assertEqual(await queue.order(order=Order.RETRY, id=id, now=self.now), 0)
        self.assertEqual(await self.order(queue, Order.RELEASE, id), [RecipientState.QUEUED])
        self.assertEqual(await self.due(queue, "example.net"), ["eve@example.net"])
        self.assertEqual(await self.order(queue, Order.CANCEL, id), [RecipientState.CANCELLED])
        self.assertIsNone(await queue.get_next_time())
        with self.assertRaises(NoSuchMessage):
            await queue.open_message(id=id)
        self.assertEqual(await queue.order(order=Order.RETRY, id=id, now=self.now), 0)

    async def order(self, queue: IQueue, order: Order, id: str) -> list[RecipientState]:
        self.assertEqual(await queue.order(order=order, id=id, now=self.now), 1)
        return await self.states(queue, id)

    async def test_what_a_clock_has_put_off_that_was_ahead(self) -> None:
        queue = await self.open_queue()
        ids = [await self.add(queue, f"{name}@example.net") for name in ("eve", "joe", "zoe")]
        for id, began in zip(ids, (self.now + HOUR, self.now + 30, self.now - HOUR), strict=True):
            (recipient,) = (await queue.get_message(id=id)).recipients
            for time in (self.now - 2 * HOUR, began):
                attempt = Attempt(time, 1.0, code=450)
                update = Update(recipient.id, RecipientState.DEFERRED, self.now + 2 * HOUR, attempt)
                await queue.record(updates=[update])
        self.assertEqual(await queue.flush(now=self.now, domain="example.com", ahead=True), 0)
        self.assertEqual(await queue.flush(now=self.now, ahead=True), 1)
        self.assertEqual(await self.due(queue, "example.net"), ["eve@example.net"])
        self.assertEqual(await queue.flush(now=self.now, ahead=True), 0)
        self.assertEqual(await queue.flush(now=self.now), 2)

    async def test_what_was_queued_by_a_clock_that_was_ahead(self) -> None:
        queue = await self.open_queue()
        await self.add(queue, "eve@example.net", later=HOUR)
        id = await self.add(queue, "joe@example.net", later=HOUR)
        (joe,) = (await queue.get_message(id=id)).recipients
        update = Update(joe.id, RecipientState.QUEUED, self.now + HOUR)
        await queue.record(updates=[update])
        self.assertEqual(await queue.flush(now=self.now), 0)
        self.assertEqual(await queue.flush(now=self.now + HOUR - 60, ahead=True), 0)
        self.assertEqual(await queue.flush(now=self.now, ahead=True), 1)
        self.assertEqual(await self.states(queue, id), [RecipientState.QUEUED])
        self.assertEqual(await self.due(queue, "example.net"), ["joe@example.net"])
        self.assertEqual(await queue.flush(now=self.now, ahead=True), 0)

    async def test_what_may_be_taken_back_and_a_clock_that_was_ahead(self) -> None:
        queue = await self.open_queue()
        ids = [
            await self.add(queue, "eve@example.net", later=50),
            await self.add(queue, "joe@example.net", later=HOUR),
            await self.add(queue, "zoe@example.net", later=HOUR, hold_until=self.now + HOUR),
        ]
        # The store has its own clock, which may be a little later.
        self.assertEqual(await queue.flush(now=self.now - 50, ahead=True), 0)
        self.assertEqual(await queue.flush(now=self.now - 24 * HOUR, ahead=True), 2)
        for id, least, most in ((ids[0], 1, 50), (ids[1], 60, 60)):
            (recipient,) = (await queue.get_message(id=id)).recipients
            self.assertEqual(recipient.state, RecipientState.QUEUED)
            self.assertIn(recipient.next_time - self.now + 24 * HOUR, range(least, most + 1))
        self.assertEqual(await self.states(queue, ids[2]), [RecipientState.SCHEDULED])
        self.assertEqual(await queue.flush(now=self.now - 24 * HOUR, ahead=True), 0)

    async def test_what_a_clock_has_sent_too_early_waits_for_its_time(self) -> None:
        queue = await self.open_queue()
        until = self.now + HOUR
        for ahead in (False, True):
            id = await self.add(queue, "eve@example.net", later=HOUR, hold_until=until)
            (eve,) = (await queue.get_message(id=id)).recipients
            attempt = Attempt(until + HOUR, 1.0, code=450)
            update = Update(eve.id, RecipientState.DEFERRED, until + 2 * HOUR, attempt)
            await queue.record(updates=[update])
            self.assertEqual(await queue.flush(now=self.now, ahead=ahead), 1)
            self.assertEqual(await self.states(queue, id), [RecipientState.SCHEDULED])
            self.assertEqual(await self.due(queue, "example.net", later=HOUR - 1), [])
            self.assertEqual(await self.due(queue, "example.net", later=HOUR), ["eve@example.net"])
            self.assertEqual(await queue.flush(now=self.now, ahead=ahead), 0)
            await queue.order(order=Order.CANCEL, id=id, now=self.now)

    async def test_no_order_sends_what_is_to_be_held(self) -> None:
        queue = await self.open_queue()
        until = self.now + HOUR
        id = await self.add(queue, "eve@example.net", later=HOUR, hold_until=until)
        self.assertEqual(await queue.order(order=Order.RETRY, id=id, now=self.now), 0)
        self.assertEqual(await self.order(queue, Order.HOLD, id), [RecipientState.HELD])
        self.assertEqual(await self.order(queue, Order.RELEASE, id), [RecipientState.SCHEDULED])
        self.assertEqual(await queue.get_next_time(), until)
        self.assertEqual(await self.due(queue, "example.net"), [])
        self.assertEqual(await self.due(queue, "example.net", later=HOUR), ["eve@example.net"])

    async def test_retry_now(self) -> None:
        queue = await self.open_queue()
        id = await self.add(queue, "eve@example.net")
        (eve,) = (await queue.get_message(id=id)).recipients
        attempt = Attempt(self.now, 1.0, code=450)
        update = Update(eve.id, RecipientState.DEFERRED, self.now + HOUR, attempt)
        await queue.record(updates=[update])
        self.assertEqual(await self.order(queue, Order.RETRY, id), [RecipientState.DEFERRED])
        self.assertEqual(await self.due(queue, "example.net"), ["eve@example.net"])
