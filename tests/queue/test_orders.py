"""Orders that are given while messages are being sent."""

from __future__ import annotations

from typing import Any, BinaryIO

from twisted.internet.defer import Deferred

from mailkit.errors import StoreUnavailable
from mailkit.model import Envelope
from mailkit.queue.orders import is_wanted, still_waiting
from mailkit.queue.outcomes import Event
from mailkit.queue.transport import Result
from mailkit.queue.values import Order, RecipientState, Update

from .support import START, QueueTestCase, ScriptedTransport, reply


class OrderTests(QueueTestCase):
    """Orders for what was taken from the queue in one go with what is under way."""

    async def begin(self, *addresses: str) -> tuple[list[str], Deferred[None]]:
        self.transport.max_parallel = 1
        gate = self.transport.gate = Deferred()
        ids = [await self.submit(each, hold_until=START + 60) for each in addresses]
        self.pass_time(65, step=5.0)
        self.assertEqual(len(self.transport.sent), 1)
        return ids, gate

    async def order(self, order: Order, id: str) -> None:
        await self.queue.order(order=order, id=id, now=int(self.clock.seconds()))

    async def test_what_is_behind_it_is_held_and_called_off(self) -> None:
        names = [f"{name}@example.net" for name in ("ann", "bob", "eve", "joe", "kim")]
        (_, bob, eve, joe, _), gate = await self.begin(*names)
        self.pass_time(2, step=1.0)
        await self.order(Order.HOLD, bob)
        await self.order(Order.CANCEL, eve)
        await self.order(Order.HOLD, joe)
        await self.order(Order.RELEASE, joe)
        gate.callback(None)
        self.pass_time(60)
        self.assertEqual(self.transport.recipients(), [names[0], names[3], names[4]])
        self.assertEqual(await self.states(bob), [RecipientState.HELD])
        self.assertEqual(await self.states(eve), [RecipientState.CANCELLED])
        # Nor does the sender hear of any.
        self.assertEqual(self.reports(), [])

    async def test_called_off_where_the_transport_lets_it_wait(self) -> None:
        sent: list[str] = []

        class Waiting(ScriptedTransport):
            async def send(
                self, domain: str, envelope: Envelope, content: BinaryIO, still: Any = None
            ) -> Result:
                assert self.gate is not None
                await self.gate
                if not await still():
                    return Result([])
                sent.extend(str(each.path) for each in envelope.recipients)
                return Result([reply() for _ in envelope.recipients])

        self.transport = Waiting(lambda recipient: reply())
        gate = self.transport.gate = Deferred()
        names = [f"{name}@example.net" for name in ("ann", "bob", "eve")]
        ann, bob, eve = [await self.submit(each) for each in names]
        await self.order(Order.HOLD, ann)
        await self.order(Order.CANCEL, bob)
        gate.callback(None)
        self.assertEqual(sent, ["eve@example.net"])
        states = [(await self.states(id))[0].value for id in (ann, bob, eve)]
        self.assertEqual(states, ["held", "cancelled", "delivered"])
        await self.order(Order.RELEASE, ann)
        self.pass_time(60)
        self.assertEqual(sent, ["eve@example.net", "ann@example.net"])

    async def test_what_is_called_off_says_nothing_of_its_domain(self) -> None:
        """It was not spoken to: it still counts as one that could not be reached."""
        queue = self.queue

        class CallingOff(ScriptedTransport):
            async def send(
                self, domain: str, envelope: Envelope, content: BinaryIO, still: Any = None
            ) -> Result:
                self.sent.append((domain, envelope, b""))
                await queue.order(order=Order.CANCEL, id=id, now=START)
                return Result([])

        self.transport.answer = lambda recipient: reply(451)
        self.transport.unreachable = True
        id = await self.submit("eve@example.net")
        self.transport = CallingOff(lambda recipient: reply())
        self.pass_time(600)
        self.assertEqual(len(self.transport.sent), 1)
        self.assertEqual(await self.states(id), [RecipientState.CANCELLED])
        self.assertTrue(self.manager._unreachable.failed_last("example.net"))

    async def test_some_of_its_recipients(self) -> None:
        id = await self.submit("bob@example.net", "eve@example.net", hold_until=START + 60)
        message = await self.queue.get_message(id=id)
        self.assertIs(await still_waiting(self.queue, message), message)
        bob, eve = message.recipients
        await self.queue.record(updates=[Update(bob.id, RecipientState.DELIVERED)])
        left = await still_waiting(self.queue, message)
        assert left is not None
        self.assertEqual(left.recipients, [eve])
        self.assertEqual(left.envelope.recipients, [eve.recipient])
        await self.order(Order.CANCEL, id)
        self.assertIs(await still_waiting(self.queue, message), None)
        self.assertIs(await still_waiting(self.queue, message._replace(id="99")), None)

    async def test_a_queue_in_trouble_calls_nothing_off(self) -> None:
        """Otherwise what was sent before to others of the same message would go unrecorded."""
        message = await self.queue.get_message(id=await self.submit("eve@example.net"))

        async def fail(id: str) -> Any:
            raise StoreUnavailable

        self.patch(self.queue, "get_message", fail)
        self.assertTrue(await is_wanted(self.queue, message))

    async def test_what_is_called_off_while_it_fails(self) -> None:
        heard: list[Event] = []
        self.manager.outcomes.listen(heard.append)
        self.transport.answer = lambda recipient: reply(550)
        (ann,), gate = await self.begin("ann@example.net")
        await self.order(Order.CANCEL, ann)
        gate.callback(None)
        self.assertEqual(await self.states(ann), [RecipientState.CANCELLED])
        self.assertEqual((self.reports(), heard), ([], []))

    async def test_what_is_called_off_too_late_is_delivered(self) -> None:
        (ann,), gate = await self.begin("ann@example.net")
        await self.order(Order.CANCEL, ann)
        gate.callback(None)
        self.assertEqual(await self.states(ann), [RecipientState.DELIVERED])
