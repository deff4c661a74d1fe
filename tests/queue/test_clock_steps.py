"""What waits does not wait for longer because somebody sets the clock back."""

from __future__ import annotations

from typing import Any

from mailkit.errors import StoreUnavailable
from mailkit.expiring import CLOCK_SLACK
from mailkit.queue.clock_steps import ClockSteps
from mailkit.queue.dispatch import TROUBLE_INTERVAL
from mailkit.queue.schedule import DAY
from mailkit.queue.values import RecipientState

from .support import QueueTestCase, reply


class ClockTests(QueueTestCase):
    async def defer(self) -> str:
        self.transport.answer = lambda recipient: reply(451, "later")
        id = await self.submit("eve@example.net")
        self.assertEqual(await self.states(id), [RecipientState.DEFERRED])
        self.transport.answer = lambda recipient: reply()
        return id

    async def test_before_the_next_start(self) -> None:
        id = await self.defer()
        await self.manager.stop()
        self.clock.rightNow -= DAY
        self.manager = self.make_manager()
        self.manager.start()
        self.pass_time(1)
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])

    async def test_under_way(self) -> None:
        id = await self.defer()
        self.transport.unreachable = True
        self.transport.answer = lambda recipient: reply(421, "away")
        await self.submit("joe@example.com")
        self.transport.unreachable = False
        self.transport.answer = lambda recipient: reply()
        self.clock.rightNow -= DAY
        await self.submit("zoe@example.org")
        self.pass_time(2, step=0.1)
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])
        self.assertEqual(len(self.transport.sent), 5)

    async def test_that_is_made_up_for_where_the_queue_fails(self) -> None:
        id = await self.defer()
        flush = self.queue.flush

        async def fail(**_: Any) -> int:
            self.patch(self.queue, "flush", flush)
            raise StoreUnavailable

        self.patch(self.queue, "flush", fail)
        self.clock.rightNow -= DAY
        await self.submit("zoe@example.org")
        self.pass_time(2 * TROUBLE_INTERVAL, step=1.0)
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])

    async def test_new_mail(self) -> None:
        await self.manager.stop()
        id = await self.submit("eve@example.net")
        self.clock.rightNow -= DAY
        self.manager = self.make_manager()
        self.manager.start()
        self.pass_time(1)
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])

    async def test_what_was_sent_is_forgotten_all_the_same(self) -> None:
        asked: list[int] = []
        forget = self.queue.forget

        async def note(before: int) -> int:
            asked.append(before)
            return await forget(before=before)

        self.patch(self.queue, "forget", note)
        self.clock.rightNow -= DAY
        await self.submit("zoe@example.org")
        self.pass_time(1)
        self.assertEqual(len(asked), 1)

    async def test_what_waits_for_its_time_goes_on_waiting(self) -> None:
        id = await self.defer()
        self.clock.rightNow -= 50
        await self.manager.stop()
        self.manager = self.make_manager()
        self.manager.start()
        self.pass_time(200)
        self.assertEqual(await self.states(id), [RecipientState.DEFERRED])

    def test_only_steps_back(self) -> None:
        steps = ClockSteps(self.clock.seconds, lambda: 0.0)
        for step, back in (
            (DAY, 0.0),
            (-CLOCK_SLACK, 0.0),
            (-CLOCK_SLACK - 1, CLOCK_SLACK + 1.0),
            (0, 0.0),
        ):
            self.clock.rightNow += step
            self.assertEqual(steps.seconds_back(), back)
