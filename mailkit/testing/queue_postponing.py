"""Contract tests of queues that put down in one step that a domain cannot be reached."""

from __future__ import annotations

from typing import Any
from unittest import SkipTest

from mailkit.interfaces import (
    IPostponingQueue,
)
from mailkit.model import (
    DeliverBy,
)
from mailkit.queue.values import (
    Attempt,
    Postponement,
    RecipientState,
)
from mailkit.testing.queue_base import HOUR, QueueBase


class PostponingTests(QueueBase):
    """Tests of :class:`~mailkit.interfaces.IPostponingQueue`, where a queue is one."""

    def postponement(self, **fields: Any) -> Postponement:
        attempt = Attempt(self.now, 1.0, "mx.example.net", text="no route")
        return Postponement(
            attempt, self.now, self.now + 60, [300, 600], 50 * HOUR, self.now - HOUR
        )._replace(**fields)

    async def open_postponing_queue(self) -> Any:
        queue = await self.open_queue()
        if not IPostponingQueue.providedBy(queue):
            raise SkipTest("it knows no such step")
        return queue

    async def test_postpone(self) -> None:
        queue = await self.open_postponing_queue()
        id = await self.add(queue, "eve@example.net", "joe@example.net", "sue@example.com")
        soon = await self.add(queue, "eve@example.net", number=2, later=30)
        other = self.postponement(delays=[30])
        self.assertEqual(await queue.postpone(domain="example.net", postponement=other, limit=1), 1)
        postponed = self.postponement()
        # One was tried before, and is due soon. What is scheduled does not count as tried.
        count = await queue.postpone(domain="example.net", postponement=postponed, limit=10)
        self.assertEqual(count, 2)
        message = await queue.get_message(id=id)
        told = [(each.state, each.attempts, each.next_time) for each in message.recipients]
        deferred = RecipientState.DEFERRED
        self.assertEqual(
            told,
            [
                (deferred, 2, self.now + 600),
                (deferred, 1, self.now + 300),
                (RecipientState.QUEUED, 0, self.now),
            ],
        )
        self.assertEqual(await self.states(queue, soon), [RecipientState.SCHEDULED])
        attempts = [attempt for _, attempt in await queue.get_attempts(id=id)]
        self.assertEqual(attempts, [postponed.attempt] * 3)
        self.assertEqual(await queue.find_due(now=self.now, limit=10), ["example.com"])
        self.assertEqual(await queue.list_tried(limit=10), ["example.net"])
        self.assertEqual(await queue.list_tried(limit=0), [])
        later = self.now + 300
        self.assertEqual(
            sorted(await queue.find_due(now=later, limit=10)), ["example.com", "example.net"]
        )

    async def test_what_is_not_postponed(self) -> None:
        queue = await self.open_postponing_queue()
        await self.add(queue, "eve@example.net")
        by = DeliverBy(self.now + 99, "N")
        await self.add(queue, "joe@example.net", number=2, deliver_by=by)

        async def postpone(**fields: Any) -> int:
            postponement = self.postponement(**fields)
            count: int = await queue.postpone(
                domain="example.net", postponement=postponement, limit=10
            )
            return count

        far = 200 * HOUR
        # It has expired; has waited for as long as it may; is late, and nobody was told.
        self.assertEqual(
            await postpone(now=self.now + far, due=self.now + far, lifetime=2 * far), 0
        )
        # Negative, for the store's clock has gone on since.
        self.assertEqual(await postpone(lifetime=-HOUR), 0)
        self.assertEqual(await postpone(unwarned=self.now + HOUR), 0)
        self.assertEqual(await postpone(delays=[far]), 1)
        self.assertEqual(await self.due(queue, "example.net"), ["joe@example.net"])
        # At the latest when it expires.
        self.assertEqual(
            await self.due(queue, "example.net", later=50 * HOUR + 10),
            ["joe@example.net", "eve@example.net"],
        )
