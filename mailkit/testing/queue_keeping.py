"""Contract tests of what a queue keeps: every recipient, and the octets as long as one waits."""

from __future__ import annotations

from typing import Any

from mailkit.errors import NoSuchMessage
from mailkit.interfaces import IQueue
from mailkit.queue.values import Attempt, NewMessage, RecipientState, Report, Update
from mailkit.testing.base import sample_message, spooled
from mailkit.testing.queue_base import HOUR, QueueBase, queue_envelope


class KeepingTests(QueueBase):
    """Part of ``QueueContract``."""

    async def test_octets_are_kept_until_the_last_recipient(self) -> None:
        queue = await self.open_queue()
        id = await self.add(queue, "eve@example.net", "joe@example.net", "kim@example.com")
        eve, joe, kim = (await queue.get_message(id=id)).recipients
        await queue.record(
            updates=[
                Update(eve.id, RecipientState.DELIVERED),
                Update(joe.id, RecipientState.DEFERRED, self.now + HOUR),
                Update(kim.id, RecipientState.FAILED),
            ]
        )
        self.assertEqual(await self.content(queue, id), sample_message(1))
        await queue.record(updates=[Update(joe.id, RecipientState.EXPIRED)])
        with self.assertRaises(NoSuchMessage):
            await queue.open_message(id=id)

    async def test_a_report_goes_with_what_it_reports(self) -> None:
        queue = await self.open_queue()
        id = await self.add(queue, "eve@example.net", "joe@example.net")
        eve, joe = (await queue.get_message(id=id)).recipients
        content = spooled(sample_message(7))
        self.addCleanup(content.close)
        new = NewMessage(queue_envelope("ann@example.com"), self.now, self.now + HOUR)
        await queue.record(
            updates=[
                Update(eve.id, RecipientState.FAILED),
                Update(joe.id, RecipientState.DEFERRED, self.now + HOUR),
            ],
            reports=[Report(new, content)],
        )
        self.assertEqual(
            await self.states(queue, id),
            [RecipientState.FAILED, RecipientState.DEFERRED],
            "or the sender would be told again and again",
        )
        self.assertEqual(await self.due(queue, "example.com"), ["ann@example.com"])

    async def test_who_is_due_is_in_the_envelope_alone(self) -> None:
        queue = await self.open_queue()
        await self.add(queue, "eve@example.net", "kim@example.com", "joe@example.net")
        (message,) = await queue.list_due(domain="example.net", now=self.now, limit=10)
        self.assertEqual(
            message.envelope.recipients, [each.recipient for each in message.recipients]
        )

    async def test_international_domains_are_found_in_one_form(self) -> None:
        queue = await self.open_queue()
        await self.add(queue, "eve@b\u00fccher.example", "joe@B\u00dcCHER.example")
        await self.add(queue, "kim@xn--bcher-kva.example")
        domain = "xn--bcher-kva.example"
        self.assertEqual(list(await queue.find_due(now=self.now, limit=10)), [domain])
        self.assertEqual(len(await self.due(queue, domain)), 3)

    async def test_ids_are_never_used_again(self) -> None:
        queue = await self.open_queue()
        seen = []
        for _ in range(2):
            id = await self.add(queue, "eve@example.net")
            (eve,) = (await queue.get_message(id=id)).recipients
            seen += [id, eve.id]
            await queue.record(updates=[Update(eve.id, RecipientState.DELIVERED)])
            self.assertEqual(await queue.forget(before=self.now + HOUR), 1)
        self.assertEqual(len(set(seen)), 4, "events and logs would tell of another message")

    async def _restart(self, queue: IQueue) -> IQueue:
        await self.store.close()
        self.store = await self.reopen_queueing_store(self.store)
        self.close_later(self.store.close)
        again: IQueue = self.store.queue
        return again

    async def test_the_queue_is_kept(self) -> None:
        queue = await self.open_queue()
        addresses = [f"{name}@example.net" for name in ("new", "later", "done")]
        envelope = queue_envelope(*addresses, envid="QQ314159", require_tls=True)
        new = NewMessage(
            envelope, self.now, self.now + HOUR, message_id="<1@example.org>", key="outbox 1"
        )
        content = spooled(sample_message(1))
        self.addCleanup(content.close)
        (id,) = (await queue.enqueue(message=content, new=[new])).ids
        _, later, done = (await queue.get_message(id=id)).recipients
        attempt = Attempt(self.now, 1.0, "mx.example.net", code=451)
        await queue.record(
            updates=[
                Update(later.id, RecipientState.DEFERRED, self.now + HOUR, attempt, warned=True),
                Update(done.id, RecipientState.DELIVERED, attempt=attempt),
            ]
        )
        before: Any = (await queue.get_message(id=id), await queue.get_attempts(id=id))
        again = await self._restart(queue)
        self.assertEqual((await again.get_message(id=id), await again.get_attempts(id=id)), before)
        self.assertEqual(await self.content(again, id), sample_message(1))
        self.assertEqual(await self.due(again, "example.net"), addresses[:1])
        self.assertEqual(await self.due(again, "example.net", later=HOUR), addresses[:2])
        self.assertEqual((await again.enqueue(message=content, new=[new])).ids, [id])
        self.assertNotEqual(await self.add(again, "eve@example.net"), id)
