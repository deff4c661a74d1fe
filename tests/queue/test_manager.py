"""The manager sends what is due, tries again, gives up, and tells the sender."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from itertools import pairwise
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from mailkit.errors import NoSuchRecipient, OverQuota, StoreUnavailable
from mailkit.model import DeliverBy, Path, Recipient
from mailkit.queue import manager
from mailkit.queue.manager import Outgoing, QueueManager, QueueSettings
from mailkit.queue.outcomes import Event
from mailkit.queue.schedule import DAY, HOUR, MINUTE, Schedule
from mailkit.queue.transport import Handover, Transport
from mailkit.queue.values import Order, RecipientState
from mailkit.smtp.client import Status
from mailkit.spool import Spool
from mailkit.testing.queue import queue_envelope

from .support import (
    SAMPLE,
    START,
    QueueTestCase,
    ScriptedTransport,
    reply,
    status_fields,
)


class TroubleTests(QueueTestCase):
    """The queue itself fails."""

    async def test_it_is_asked_again_after_a_while_and_not_at_once(self) -> None:
        asked: list[float] = []
        list_due = self.queue.list_due

        async def fail(**_: Any) -> Any:
            asked.append(self.clock.seconds())
            # However often it is asked, this test ends.
            raise StoreUnavailable if len(asked) < 50 else CancelledError

        self.patch(self.queue, "list_due", fail)
        id = await self.submit("eve@example.net")
        self.assertEqual(asked, [START])
        self.pass_time(manager.TROUBLE_INTERVAL, step=1.0)
        self.assertEqual(len(asked), 2)
        self.patch(self.queue, "list_due", list_due)
        self.pass_time(manager.TROUBLE_INTERVAL + manager.LOOK_INTERVAL, step=1.0)
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])


class SendingTests(QueueTestCase):
    async def test_what_is_submitted_is_sent_at_once(self) -> None:
        id = await self.submit("eve@example.net", "joe@example.net", "sue@example.com")
        self.assertEqual(
            sorted(
                (domain, [str(each.path) for each in envelope.recipients], content)
                for domain, envelope, content in self.transport.sent
            ),
            [
                ("example.com", ["sue@example.com"], SAMPLE),
                ("example.net", ["eve@example.net", "joe@example.net"], SAMPLE),
            ],
        )
        self.assertEqual(set(await self.states(id)), {RecipientState.DELIVERED})
        self.assertEqual(await self.waiting(), [])

    async def test_what_was_queued_before_is_sent(self) -> None:
        await self.manager.stop()
        await self.submit("eve@example.net")
        self.assertEqual(self.transport.sent, [])
        self.manager = self.make_manager()
        self.manager.start()
        self.assertEqual(self.transport.recipients(), ["eve@example.net"])

    async def test_outcomes_by_recipient(self) -> None:
        codes = {"eve": 250, "joe": 451, "sue": 550}
        self.transport.answer = lambda recipient: reply(codes.get(recipient.path.local_part, 250))
        id = await self.submit("eve@example.net", "joe@example.net", "sue@example.net")
        self.assertEqual(
            await self.states(id),
            [RecipientState.DELIVERED, RecipientState.DEFERRED, RecipientState.FAILED],
        )
        attempts = await self.queue.get_attempts(id=id)
        self.assertEqual(sorted(attempt.code for _, attempt in attempts), [250, 451, 550])
        self.pass_time(5 * MINUTE)
        self.assertEqual(self.transport.recipients().count("joe@example.net"), 2)
        self.assertEqual(self.transport.recipients().count("sue@example.net"), 1)

    async def test_retries(self) -> None:
        times: list[float] = []

        def answer(recipient: Recipient) -> Handover:
            if recipient.path.domain == "example.net":
                times.append(self.clock.seconds() - START)
                return reply(451)
            return reply()

        self.transport.answer = answer
        id = await self.submit("eve@example.net")
        self.pass_time(6 * DAY, step=300.0)
        # RFC 5321 section 4.5.4.1: twice within the first hour, and given up after 4 or 5 days.
        self.assertEqual(times[:6], [0, 300, 900, 1800, 3600, 7200])
        self.assertEqual(times[-1], 5 * DAY)
        self.assertEqual(await self.states(id), [RecipientState.EXPIRED])
        self.assertEqual(await self.waiting(), [])
        delayed, failed = self.reports()
        self.assertEqual(delayed["Subject"], "Your message is delayed")
        self.assertEqual(status_fields(failed)[1]["Status"], "5.4.7")

    async def test_hold_until(self) -> None:
        await self.submit("eve@example.net", hold_until=START + 3600)
        self.pass_time(3590, step=10.0)
        self.assertEqual(self.transport.sent, [])
        self.pass_time(20, step=10.0)
        self.assertEqual(self.transport.recipients(), ["eve@example.net"])

    async def test_undo(self) -> None:
        await self.manager.stop()
        self.manager = self.make_manager(schedule=Schedule(undo=30))
        self.manager.start()
        taken_back = await self.submit("eve@example.net")
        await self.submit("joe@example.net")
        await self.queue.order(order=Order.CANCEL, id=taken_back, now=START)
        self.pass_time(31, step=1.0)
        self.assertEqual(self.transport.recipients(), ["joe@example.net"])

    async def test_those_who_watch_hear_of_a_success(self) -> None:
        calls: list[int] = []
        end = self.manager.outcomes.watch(lambda: calls.append(1))
        await self.submit("eve@example.net")
        self.assertEqual(calls, [1])
        end()
        await self.submit("joe@example.net")
        self.assertEqual(calls, [1])

    async def test_what_was_sent_is_forgotten(self) -> None:
        await self.manager.stop()
        self.manager = self.make_manager(settings=QueueSettings(history=HOUR))
        self.manager.start()
        await self.submit("eve@example.net")
        self.pass_time(HOUR - MINUTE)
        self.assertEqual(len(await self.queue.list_messages(finished=True)), 1)
        self.pass_time(10 * MINUTE)
        self.assertEqual(await self.queue.list_messages(finished=True), [])

    async def test_deliver_by_or_return(self) -> None:
        self.transport.answer = lambda recipient: reply(
            451 if recipient.path.domain == "example.net" else 250
        )
        id = await self.submit("eve@example.net", deliver_by=DeliverBy(START + 600, "R"))
        self.pass_time(700)
        self.assertEqual(await self.states(id), [RecipientState.EXPIRED])
        (report,) = self.reports()
        self.assertEqual(status_fields(report)[1]["Action"], "failed")

    async def test_deliver_by_or_notify(self) -> None:
        self.transport.answer = lambda recipient: reply(
            451 if recipient.path.domain == "example.net" else 250
        )
        id = await self.submit("eve@example.net", deliver_by=DeliverBy(START + 600, "N"))
        self.pass_time(1200)
        self.assertEqual(await self.states(id), [RecipientState.DEFERRED])
        (report,) = self.reports()
        self.assertEqual(status_fields(report)[1]["Action"], "delayed")

    async def test_orders_take_effect_at_once(self) -> None:
        self.transport.answer = lambda recipient: reply(451)
        id = await self.submit("eve@example.net")
        self.transport.answer = lambda recipient: reply()
        await self.queue.order(order=Order.RETRY, id=id, now=START)
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])

    async def test_a_transport_that_raises(self) -> None:
        def answer(recipient: Recipient) -> Handover:
            raise RuntimeError("oops")

        self.transport.answer = answer
        id = await self.submit("eve@example.net")
        self.assertEqual(await self.states(id), [RecipientState.DEFERRED])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def test_events(self) -> None:
        events: list[Event] = []
        end = self.manager.outcomes.listen(events.append)
        self.transport.answer = lambda recipient: reply(550)
        id = await self.submit("eve@example.net", account=None)
        (event,) = events
        self.assertEqual((event.id, event.state), (id, RecipientState.FAILED))
        self.assertEqual((str(event.recipient.path), event.attempt.code), ("eve@example.net", 550))
        end()
        end()
        await self.submit("eve@example.net", account=None)
        self.assertEqual(len(events), 1)

    async def test_a_listener_that_fails_disturbs_nobody(self) -> None:
        def fail(event: Event) -> None:
            raise RuntimeError("oops")

        self.manager.outcomes.listen(fail)
        id = await self.submit("eve@example.net")
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def test_stop_breaks_off_what_hangs(self) -> None:
        self.transport.gate = Deferred()
        id = await self.submit("eve@example.net")
        stopping = Deferred.fromCoroutine(self.manager.stop(grace=5.0))
        self.assertNoResult(stopping)
        self.clock.advance(5)
        self.successResultOf(stopping)
        self.assertEqual(await self.states(id), [RecipientState.QUEUED])


class UnreachableTests(QueueTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.transport.unreachable = True
        self.transport.answer = lambda recipient: reply(421, "no route")._replace(
            status=Status.TEMPORARY
        )

    async def test_others_for_the_domain_are_not_tried(self) -> None:
        await self.manager.stop()
        ids = [await self.submit(f"{number}@example.net") for number in range(5)]
        self.manager = self.make_manager()
        self.manager.start()
        self.assertEqual(len(self.transport.sent), 1)
        for id in ids:
            self.assertEqual(await self.states(id), [RecipientState.DEFERRED])
            self.assertEqual(len(await self.queue.get_attempts(id=id)), 1)

    async def test_new_messages_wait(self) -> None:
        await self.submit("eve@example.net")
        self.pass_time(60)
        id = await self.submit("joe@example.net")
        self.pass_time(1)
        self.assertEqual(self.transport.recipients(), ["eve@example.net"])
        self.assertEqual(await self.states(id), [RecipientState.DEFERRED])
        self.transport.unreachable = False
        self.transport.answer = lambda recipient: reply()
        self.pass_time(300)
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])

    async def test_new_messages_for_domains_that_are_left_alone_wait_together(self) -> None:
        domains = [f"dead{number}.example" for number in range(5)]
        for domain in domains:
            await self.submit(f"eve@{domain}")
        self.pass_time(60)
        calls: Counter[str] = Counter()
        for name in ("find_due", "list_due", "record"):
            self.patch(self.queue, name, self.counted(calls, name))
        ids = [await self.submit(f"{number}@{domains[number % 5]}") for number in range(500)]
        self.assertEqual(calls, {})
        self.pass_time(10, step=0.1)
        states = [state for id in ids for state in await self.states(id)]
        self.assertEqual(set(states), {RecipientState.DEFERRED})
        self.assertEqual((calls["list_due"], calls["record"]), (5, 1))
        self.assertEqual(len(self.transport.sent), 5)

    def counted(self, calls: Counter[str], name: str) -> Any:
        method = getattr(self.queue, name)

        def call(**arguments: Any) -> Any:
            calls[name] += 1
            return method(**arguments)

        return call

    async def test_more_than_goes_in_one_step_is_put_off(self) -> None:
        await self.submit("eve@example.net")
        self.patch(manager, "BATCH", 10)
        ids = [await self.submit(f"{number}@example.net") for number in range(35)]
        self.pass_time(2, step=0.1)
        states = [state for id in ids for state in await self.states(id)]
        self.assertEqual(set(states), {RecipientState.DEFERRED})
        self.assertEqual(len(self.transport.sent), 1)

    async def test_all_for_a_domain_share_a_try(self) -> None:
        await self.manager.stop()
        ids = [await self.submit(f"{number}@example.net") for number in range(5)]
        self.manager = await self.make_again(schedule=Schedule(jitter=0.1))
        self.pass_time(50 * MINUTE)
        # At once, and after some 5, 10 and 15 minutes.
        self.assertEqual(len(self.transport.sent), 4)
        for id in ids:
            self.assertEqual(len(await self.queue.get_attempts(id=id)), 4)

    async def test_those_who_share_a_try_expire(self) -> None:
        ids = [await self.submit(f"{number}@example.net") for number in range(3)]
        self.pass_time(5 * DAY + HOUR, step=300.0)
        for id in ids:
            self.assertEqual(await self.states(id), [RecipientState.EXPIRED])
        queued = await self.queue.list_messages(finished=True)
        subjects = [message.envelope.reverse_path.is_null for message in queued]
        # Each sender is told of the delay, and of the end.
        self.assertEqual(subjects.count(True), 6)

    async def test_listeners_hear_of_each(self) -> None:
        events: list[Event] = []
        calls: list[int] = []
        end = self.manager.outcomes.watch(lambda: calls.append(len(events)))
        await self.submit("eve@example.net")
        self.assertEqual(calls, [0])
        end()
        self.manager.outcomes.listen(events.append)
        await self.submit("eve@example.com", "joe@example.com")
        self.assertEqual(len(events), 2)
        self.assertEqual(len(calls), 1)

    async def test_a_refusal_of_the_domain_is_one_for_all(self) -> None:
        self.transport.answer = lambda recipient: reply(556, "no mail here")
        await self.manager.stop()
        ids = [await self.submit(f"{number}@example.net") for number in range(3)]
        self.manager = self.make_manager()
        self.manager.start()
        for id in ids:
            self.assertEqual(await self.states(id), [RecipientState.FAILED])
        self.assertEqual(len([each for each in self.transport.sent if each[0] == "example.net"]), 1)

    async def make_again(self, **settings: Any) -> QueueManager:
        await self.manager.stop()
        manager = self.make_manager(**settings)
        manager.start()
        self.addCleanup(manager.stop)
        return manager

    async def test_few_tries_a_second(self) -> None:
        settings = QueueSettings(retry_rate=2)
        self.manager = await self.make_again(settings=settings, schedule=Schedule(jitter=0))
        for number in range(20):
            await self.submit(f"eve@dead{number}.example")
        self.assertEqual(len(self.transport.sent), 20)
        self.pass_time(299)
        counts = []
        for _ in range(10):
            self.pass_time(1, step=0.5)
            counts.append(len(self.transport.sent) - 20)
        self.assertEqual(counts[-1], 20)
        self.assertLessEqual(max(b - a for a, b in pairwise(counts)), 2)

    async def test_what_recovers_lets_others_begin(self) -> None:
        self.manager = await self.make_again(settings=QueueSettings(retry_rate=2))
        for number in range(20):
            await self.submit(f"eve@dead{number}.example")
        self.transport.unreachable = False
        self.transport.answer = lambda recipient: reply()
        self.pass_time(301, step=1)
        self.assertEqual(len(self.transport.sent), 40)

    async def test_whose_try_is_over_leaves_the_place_to_another(self) -> None:
        # Two places for those that failed the last time.
        settings = QueueSettings(max_domains=3, reserved=1)
        self.manager = await self.make_again(settings=settings)
        for number in range(5):
            await self.submit(f"eve@dead{number}.example")
        self.pass_time(8 * MINUTE)
        self.assertEqual(len(self.transport.sent), 10)

    async def test_few_tries_a_second_after_a_start(self) -> None:
        for number in range(20):
            await self.submit(f"eve@dead{number}.example")
        await self.manager.stop()
        self.clock.advance(400)
        self.manager = await self.make_again(settings=QueueSettings(retry_rate=2))
        self.assertEqual(len(self.transport.sent), 22)

    async def test_others_behind_those_that_failed(self) -> None:
        self.patch(manager, "LOOK", 5)
        alive = ScriptedTransport(lambda recipient: reply(451, "busy"))

        async def find(domain: str) -> Transport:
            return alive if domain == "alive.example" else self.transport

        self.patch(self, "find", find)
        self.manager = await self.make_again(settings=QueueSettings(retry_rate=0.1))
        for number in range(20):
            await self.submit(f"eve@dead{number}.example")
        await self.submit("joe@alive.example")
        self.pass_time(360, step=1)
        self.assertEqual(len(alive.sent), 2)
        self.assertLess(len(self.transport.sent), 30)

    async def test_dead_domains_leave_room_for_others(self) -> None:
        await self.manager.stop()
        self.manager = self.make_manager(settings=QueueSettings(max_domains=4, reserved=2))
        self.manager.start()
        for number in range(10):
            await self.submit(f"eve@dead{number}.example")
        self.transport.gate = Deferred()
        self.pass_time(330)
        # Two of the dead ones hang now.
        self.assertEqual(len(self.transport.sent), 12)
        self.transport.unreachable = False
        await self.submit("joe@alive.example")
        self.assertEqual(self.transport.recipients()[-1], "joe@alive.example")
        self.transport.gate.callback(None)
        self.transport.gate = None


class FindingTests(QueueTestCase):
    async def test_messages_are_found_by_message_id(self) -> None:
        self.transport.answer = lambda recipient: reply(550, "no")
        id = await self.submit("eve@example.net")
        # The report quotes it, and has one of its own.
        (found,) = await self.queue.find_messages(message_id="<1@example.org>")
        self.assertEqual(found.id, id)
        self.assertEqual(
            len(await self.queue.find_messages(message_id="<token@mail.example.org>")), 1
        )

    async def test_a_key_is_queued_once(self) -> None:
        outgoing = Outgoing(queue_envelope("eve@example.net", account="a"), key="1")
        ids = [
            (await self.manager.submit(Spool.from_bytes(SAMPLE), [outgoing])).ids for _ in range(2)
        ]
        self.assertEqual(ids[0], ids[1])
        self.assertEqual(self.transport.recipients(), ["eve@example.net"])

    async def test_strange_message_ids(self) -> None:
        for value in (b"<" + b"a" * 2000 + b"@b>", b"none", b"<\xff@b>", b""):
            await self.submit_envelope(
                queue_envelope("eve@example.net"), b"Message-ID: " + value + b"\r\n\r\n"
            )
        self.assertEqual(len(await self.queue.find_messages(message_id="<\ufffd@b>")), 1)


class ReportTests(QueueTestCase):
    def refuse(self, code: int = 550, text: str = "no such user", enhanced: str = "5.1.1") -> None:
        self.transport.answer = lambda recipient: (
            reply() if recipient.path.domain == "example.org" else reply(code, text, enhanced)
        )

    async def test_failure_is_reported(self) -> None:
        self.refuse()
        await self.submit("eve@example.net", envid="QQ1")
        (report,) = self.reports()
        envelope = self.transport.sent[-1][1]
        self.assertTrue(envelope.reverse_path.is_null)
        self.assertEqual(report.keys()[0], "From")
        self.assertEqual(report.get_content_type(), "multipart/report")
        message, recipient = status_fields(report)
        self.assertEqual(message["Original-Envelope-Id"], "QQ1")
        self.assertEqual(message["Reporting-MTA"], "dns; mail.example.org")
        self.assertEqual(recipient["Final-Recipient"], "rfc822; eve@example.net")
        self.assertEqual(recipient["Action"], "failed")
        self.assertEqual(recipient["Status"], "5.1.1")
        self.assertEqual(recipient["Diagnostic-Code"], "smtp; 550 5.1.1 no such user")
        self.assertEqual(recipient["Remote-MTA"], "dns; mx.example.net")
        text = next(report.iter_parts()).get_content()
        self.assertIn("eve@example.net", text)
        self.assertIn("no such user", text)

    async def test_failures_of_our_own_have_their_codes(self) -> None:
        envelope = queue_envelope("eve@example.org", "bob@example.org", account="ann@example.org")
        failures = zip(envelope.recipients, (OverQuota(), NoSuchRecipient()), strict=True)
        await self.manager.report_failures(envelope, list(failures), BytesIO(SAMPLE))
        (report,) = self.reports()
        _, eve, bob = status_fields(report)
        self.assertEqual((eve["Status"], bob["Status"]), ("5.2.2", "5.1.1"))
        # No other server has said anything.
        self.assertNotIn("Diagnostic-Code", eve)

    async def test_no_report_of_a_report(self) -> None:
        self.transport.answer = lambda recipient: reply(550)
        await self.submit("eve@example.net")
        self.assertEqual(self.transport.recipients(), ["eve@example.net", "ann@example.org"])
        self.assertEqual(await self.waiting(), [])

    async def test_no_report_to_strangers(self) -> None:
        self.refuse()
        await self.submit("eve@example.net", account=None)
        self.assertEqual(self.reports(), [])

    async def test_notify(self) -> None:
        self.refuse()
        for notify, count in (
            (frozenset({"NEVER"}), 0),
            (frozenset({"SUCCESS"}), 0),
            (frozenset({"FAILURE"}), 1),
            (None, 1),
        ):
            self.transport.sent = []
            envelope = queue_envelope(account="ann@example.org")
            envelope.recipients = [Recipient(Path("eve", "example.net"), notify=notify)]
            await self.submit_envelope(envelope)
            self.assertEqual(len(self.reports()), count, notify)

    async def test_success(self) -> None:
        for handover, action in (
            (reply(), ["relayed"]),
            (reply(arrived=True), ["delivered"]),
            (reply(reports=True), []),
        ):
            self.transport.sent = []
            self.transport.answer = lambda recipient, handover=handover: handover
            envelope = queue_envelope(account="ann@example.org")
            notify = frozenset({"SUCCESS"})
            envelope.recipients = [Recipient(Path("eve", "example.net"), notify=notify)]
            await self.submit_envelope(envelope)
            actions = [status_fields(report)[1]["Action"] for report in self.reports()]
            self.assertEqual(actions, action)

    async def test_delay_is_told_once(self) -> None:
        self.transport.answer = lambda recipient: (
            reply() if recipient.path.domain == "example.org" else reply(451, "busy", "4.3.2")
        )
        await self.submit("eve@example.net")
        self.pass_time(3 * HOUR)
        self.assertEqual(self.reports(), [])
        self.pass_time(20 * HOUR, step=300.0)
        (report,) = self.reports()
        (_, recipient) = status_fields(report)
        self.assertEqual((recipient["Action"], recipient["Status"]), ("delayed", "4.3.2"))
        self.assertIn("Will-Retry-Until", recipient)


class DefectTests(QueueTestCase):
    async def test_what_fails_in_no_known_way_is_not_tried_at_once(self) -> None:
        count = 0

        async def find(domain: str) -> Transport:
            nonlocal count
            count += 1
            raise KeyError(domain)

        await self.manager.stop()
        self.patch(self, "find", find)
        self.manager = self.make_manager()
        self.manager.start()
        id = await self.submit("eve@example.net")
        self.pass_time(65, step=1.0)
        self.assertEqual(count, 3)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 3)
        self.assertEqual(await self.states(id), [RecipientState.QUEUED])


class AttemptingTests(QueueTestCase):
    """What takes long is seen to be under way."""

    def hang(self) -> Deferred[None]:
        gate = self.transport.gate = Deferred()
        return gate

    async def test_a_long_attempt_shows(self) -> None:
        gate = self.hang()
        id = await self.submit("eve@example.net", "joe@example.net")
        self.clock.advance(4)
        self.assertEqual(await self.states(id), [RecipientState.QUEUED] * 2)
        self.clock.advance(2)
        self.assertEqual(await self.states(id), [RecipientState.ATTEMPTING] * 2)
        # It is due, and yet is not begun a second time.
        self.pass_time(60)
        self.assertEqual(len(self.transport.sent), 1)
        gate.callback(None)
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED] * 2)

    async def test_what_was_under_way_when_another_process_died(self) -> None:
        first = self.hang()
        id = await self.submit("eve@example.net")
        self.clock.advance(6)
        self.assertEqual(await self.states(id), [RecipientState.ATTEMPTING])
        second = self.hang()
        other = self.make_manager()
        other.start()
        self.addCleanup(other.stop)
        self.assertEqual(await self.states(id), [RecipientState.QUEUED])
        for gate in (first, second):
            gate.callback(None)
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])

    async def test_one_that_ends_soon_writes_nothing_more(self) -> None:
        states: list[RecipientState] = []
        record = self.queue.record

        async def spied(**arguments: Any) -> None:
            states.extend(update.state for update in arguments["updates"])
            await record(**arguments)

        self.patch(self.queue, "record", spied)
        await self.submit("eve@example.net")
        self.pass_time(60)
        self.assertEqual(states, [RecipientState.DELIVERED])

    async def test_held_meanwhile(self) -> None:
        self.transport.answer = lambda recipient: reply(451)
        gate = self.hang()
        id = await self.submit("eve@example.net")
        self.clock.advance(6)
        await self.queue.order(order=Order.HOLD, id=id, now=int(self.clock.seconds()))
        gate.callback(None)
        self.assertEqual(await self.states(id), [RecipientState.HELD])
        self.pass_time(HOUR)
        self.assertEqual(len(self.transport.sent), 1)

    async def test_broken_off(self) -> None:
        self.hang()
        id = await self.submit("eve@example.net")
        self.clock.advance(6)
        stopping = Deferred.fromCoroutine(self.manager.stop())
        self.clock.advance(6)
        self.successResultOf(stopping)
        self.assertEqual(await self.states(id), [RecipientState.QUEUED])
