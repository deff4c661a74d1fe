"""Messages that are worth something only until a time (RFC 2852)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

from mailkit.model import DeliverBy, Path, Recipient
from mailkit.queue.schedule import HOUR, MINUTE
from mailkit.queue.transport import Handover
from mailkit.queue.values import RecipientState
from mailkit.smtp.client import Status
from mailkit.testing.queue import queue_envelope

from .support import START, QueueTestCase, reply, status_fields

NEVER = frozenset({"NEVER"})


class _DeadlineCase(QueueTestCase):
    def answer(self, handover: Handover) -> None:
        """Let it become of all but the reports."""
        self.transport.answer = lambda recipient: (
            reply() if recipient.path.domain == "example.org" else handover
        )

    async def submit_one(self, deliver_by: DeliverBy, **fields: Any) -> str:
        self.transport.sent = []
        envelope = queue_envelope(account="ann@example.org", deliver_by=deliver_by)
        envelope.recipients = [Recipient(Path("eve", "example.net"), **fields)]
        return await self.submit_envelope(envelope)

    def told(self) -> list[tuple[str, str]]:
        fields = [status_fields(report)[1] for report in self.reports()]
        return [(each["Action"], each["Status"]) for each in fields]


class PassedOnTests(_DeadlineCase):
    async def test_to_a_server_that_does_not_watch_the_time(self) -> None:
        # RFC 2852 section 4.1.4.2
        by = DeliverBy(START + 600, "N")
        self.answer(reply(reports=True))
        for notify in (None, frozenset({"FAILURE"}), frozenset({"SUCCESS"})):
            await self.submit_one(by, notify=notify)
            self.assertEqual(self.told(), [("relayed", "2.0.0")], notify)
        await self.submit_one(by, notify=NEVER)
        self.assertEqual(self.told(), [])

    async def test_to_a_server_that_does(self) -> None:
        self.answer(reply(keeps_time=True))
        await self.submit_one(DeliverBy(START + 600, "N"))
        self.assertEqual(self.told(), [])

    async def test_when_the_time_is_over_already(self) -> None:
        self.answer(reply())
        await self.submit_one(DeliverBy(START - 1, "N"))
        self.assertEqual(self.told(), [])

    async def test_trace(self) -> None:
        # RFC 2852 section 4.1.4: whatever NOTIFY says but NEVER.
        self.answer(reply(keeps_time=True, reports=True))
        for mode in "NR":
            await self.submit_one(DeliverBy(START + 600, mode, True))
            self.assertEqual(self.told(), [("relayed", "2.0.0")], mode)
        await self.submit_one(DeliverBy(START + 600, "R", True), notify=NEVER)
        self.assertEqual(self.told(), [])

    async def test_no_news_of_what_has_arrived(self) -> None:
        self.answer(reply(arrived=True))
        await self.submit_one(DeliverBy(START + 600, "N", True))
        self.assertEqual(self.told(), [])

    async def test_strangers_are_told_nothing(self) -> None:
        self.answer(reply())
        await self.submit("eve@example.net", account=None, deliver_by=DeliverBy(START + 600, "N"))
        self.assertEqual(self.told(), [])


class OverTests(_DeadlineCase):
    async def test_a_delay_is_told_when_the_time_is_over(self) -> None:
        # RFC 2852 section 4.1.3; it would be tried again much later.
        self.answer(reply(451, "busy", "4.3.2"))
        await self.submit_one(DeliverBy(START + 240, "N"))
        self.pass_time(4 * MINUTE - 10, step=10.0)
        self.assertEqual(self.told(), [])
        self.pass_time(20, step=10.0)
        self.assertEqual(self.told(), [("delayed", "4.4.7")])
        (report,) = self.reports()
        by = parsedate_to_datetime(status_fields(report)[0]["Deliver-By-Date"])
        self.assertEqual(by.timestamp(), START + 4 * MINUTE)

    async def test_a_delay_is_told_once_and_not_before(self) -> None:
        self.answer(reply(451, "busy", "4.3.2"))
        await self.submit_one(DeliverBy(START + 72_000, "N"))
        self.pass_time(19 * HOUR, step=300.0)
        self.assertEqual(self.told(), [])
        self.pass_time(10 * HOUR, step=300.0)
        self.assertEqual(self.told(), [("delayed", "4.4.7")])

    async def test_messages_for_a_domain_that_cannot_be_reached(self) -> None:
        # They wait for the domain, but not past their deadline.
        self.transport.unreachable = True
        down = reply(421, "no route")._replace(status=Status.TEMPORARY)
        self.transport.answer = lambda recipient: down
        await self.submit("joe@example.net")
        self.pass_time(10)
        for mode, state in (("N", RecipientState.DEFERRED), ("R", RecipientState.EXPIRED)):
            deadline = int(self.clock.seconds()) + 30
            id = await self.submit_one(DeliverBy(deadline, mode))
            self.assertEqual(self.transport.sent, [], mode)
            self.pass_time(40, step=10.0)
            self.assertEqual(await self.states(id), [state], mode)
            reports = [each for each in await self.waiting() if each.envelope.reverse_path.is_null]
            self.assertEqual(len(reports), "NR".index(mode) + 1, mode)
