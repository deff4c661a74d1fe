"""A queue takes so much, and no more."""

from __future__ import annotations

from typing import Any

from mailkit.delivery.queueing import QueueingDelivery
from mailkit.errors import LimitExceeded, StoreFull
from mailkit.queue.limits import QueueLimits
from mailkit.queue.manager import QueueManager
from mailkit.queue.values import Order
from mailkit.smtp.replies import for_error
from mailkit.spool import Spool
from mailkit.testing.queue import queue_envelope

from .support import SAMPLE, QueueTestCase, reply

ANN, BOB = "ann@example.org", "bob@example.org"


class LimitTests(QueueTestCase):
    def limited(self, **limits: Any) -> QueueManager:
        self.transport.answer = lambda recipient: reply(450)
        self.manager._guard = self.make_manager(limits=QueueLimits(**limits))._guard
        return self.manager

    async def test_messages(self) -> None:
        self.limited(max_messages=2)
        first = await self.submit("1@example.net")
        await self.submit("2@example.net")
        with self.assertRaises(StoreFull):
            await self.submit("3@example.net")
        # There is room again at once, when something has left.
        await self.queue.order(order=Order.CANCEL, id=first, now=int(self.clock.seconds()))
        await self.submit("4@example.net")
        with self.assertRaises(StoreFull):
            await self.submit("5@example.net")

    async def test_octets(self) -> None:
        self.limited(max_octets=2 * len(SAMPLE))
        await self.submit("1@example.net")
        await self.submit("2@example.net")
        with self.assertRaises(StoreFull):
            await self.submit("3@example.net")

    async def test_one_account_does_not_use_all(self) -> None:
        self.limited(max_messages_per_account=2)
        for number in range(2):
            await self.submit(f"{number}@example.net", account=ANN)
        with self.assertRaises(LimitExceeded):
            await self.submit("3@example.net", account=ANN)
        await self.submit("4@example.net", account=BOB)
        await self.submit("5@example.net", account=None)

    async def test_one_destination_does_not_use_all(self) -> None:
        self.limited(max_recipients_per_domain=3)
        await self.submit("1@example.net", "2@example.net", "3@example.com")
        with self.assertRaises(LimitExceeded):
            await self.submit("4@example.NET", "5@example.net")
        await self.submit("6@example.net")
        await self.submit("7@example.com")

    async def test_no_limits(self) -> None:
        self.limited(
            max_messages=0, max_octets=0, max_messages_per_account=0, max_recipients_per_domain=0
        )
        for number in range(5):
            await self.submit(f"{number}@example.net")

    async def test_reports_are_written_all_the_same(self) -> None:
        self.limited(max_messages=1)
        await self.submit("1@example.net")
        self.transport.answer = lambda recipient: reply(550)
        self.pass_time(400)
        self.assertEqual(len(self.reports()), 1)

    async def test_clients_are_told_to_come_back(self) -> None:
        self.limited(max_messages_per_account=1)
        await self.store.add_account(name=ANN)
        delivery = QueueingDelivery(self.store, self.store, ANN, queue=self.manager)
        for expected in (None, 452):
            envelope = queue_envelope("eve@example.net", account=ANN)
            (outcome,) = await delivery.deliver(envelope=envelope, message=Spool.from_bytes(SAMPLE))
            code = None if outcome.error is None else for_error(outcome.error).code
            self.assertEqual(code, expected)

    async def test_told_before_the_message_comes(self) -> None:
        self.limited(max_messages_per_account=2, max_octets=3 * len(SAMPLE))
        await self.store.add_account(name=ANN)
        delivery = QueueingDelivery(self.store, self.store, ANN, queue=self.manager)
        envelope = queue_envelope("eve@example.net", account=ANN)
        (recipient,) = envelope.recipients
        # To be asked is not to be queued.
        for _ in range(3):
            await delivery.check_recipient(envelope=envelope, recipient=recipient)
        envelope.declared_size = 3 * len(SAMPLE) + 1
        with self.assertRaises(StoreFull):
            await delivery.check_recipient(envelope=envelope, recipient=recipient)
        envelope.declared_size = None
        for number in range(2):
            await self.submit(f"{number}@example.net", account=ANN)
        with self.assertRaises(LimitExceeded):
            await delivery.check_recipient(envelope=envelope, recipient=recipient)
        # Who has mailboxes here needs no place in the queue.
        await delivery.check_recipient(
            envelope=envelope, recipient=queue_envelope(ANN).recipients[0]
        )

    async def test_too_many_recipients_of_one_message(self) -> None:
        """Those who fit are taken; the client sends the message to the others later."""
        self.limited(max_recipients_per_domain=3)
        await self.store.add_account(name=ANN)
        delivery = QueueingDelivery(self.store, self.store, ANN, queue=self.manager)
        names = [f"{number}@example.net" for number in range(5)]
        envelope = queue_envelope(account=ANN)
        for address in ("0@example.com", *names, "1@example.com"):
            (recipient,) = queue_envelope(address).recipients
            try:
                await delivery.check_recipient(envelope=envelope, recipient=recipient)
            except LimitExceeded as error:
                self.assertIn(address, names[3:])
                self.assertIn("Not more than 3 recipients in example.net", error.text)
            else:
                envelope.recipients.append(recipient)
        taken = [str(each.path) for each in envelope.recipients]
        self.assertEqual(taken, ["0@example.com", *names[:3], "1@example.com"])
        outcomes = await delivery.deliver(envelope=envelope, message=Spool.from_bytes(SAMPLE))
        self.assertEqual([outcome.error for outcome in outcomes], [None] * 5)

    def test_bad_limits(self) -> None:
        for name in ("max_messages", "max_octets", "max_recipients_per_domain"):
            with self.assertRaises(ValueError):
                QueueLimits(**{name: -1})
