"""The manager sends what is due, tries again, gives up, and tells the sender."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred

from mailkit.errors import NoSuchRecipient, OverQuota, StoreCorrupt, StoreFull, StoreUnavailable
from mailkit.model import MAX_TIME, MIN_TIME, DeliverBy, Path, Recipient
from mailkit.queue.dispatch import TROUBLE_INTERVAL
from mailkit.queue.manager import LOOK_INTERVAL, Outgoing, QueueSettings
from mailkit.queue.outcomes import Event
from mailkit.queue.schedule import DAY, HOUR, MINUTE, Schedule
from mailkit.queue.transport import Handover, Result, Transport
from mailkit.queue.values import Order, RecipientState
from mailkit.spool import Spool
from mailkit.testing.queue import queue_envelope

from .support import (
    SAMPLE,
    START,
    QueueTestCase,
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
        self.pass_time(TROUBLE_INTERVAL, step=1.0)
        self.assertEqual(len(asked), 2)
        self.patch(self.queue, "list_due", list_due)
        self.pass_time(TROUBLE_INTERVAL + LOOK_INTERVAL, step=1.0)
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])

    async def test_what_was_sent_is_not_sent_again_while_that_cannot_be_put_down(self) -> None:
        record = self.queue.record

        async def fail(**_: Any) -> None:
            raise StoreFull

        self.patch(self.queue, "record", fail)
        ids = [await self.submit("eve@example.net") for _ in range(3)]
        self.pass_time(DAY, step=60.0)
        # One connection's worth; the others wait behind it.
        self.assertEqual(len(self.transport.sent), 1)
        self.assertEqual(await self.states(ids[0]), [RecipientState.QUEUED])
        self.patch(self.queue, "record", record)
        self.pass_time(TROUBLE_INTERVAL)
        for id in ids:
            self.assertEqual(await self.states(id), [RecipientState.DELIVERED])
        self.assertEqual(len(self.transport.sent), 3)

    async def test_nor_because_another_message_cannot_be_read(self) -> None:
        async def fail(**_: Any) -> None:
            raise StoreFull

        async def open_message(id: str) -> Any:
            if id == ids[1]:
                raise StoreUnavailable("EIO")
            return await read(id=id)

        read = self.queue.open_message
        self.patch(self.queue, "record", fail)
        self.patch(self.queue, "open_message", open_message)
        self.transport.max_parallel = 2
        held = START + 60
        ids = [await self.submit(f"{name}@example.net", hold_until=held) for name in ("ann", "bob")]
        self.pass_time(3600, step=5.0)
        self.assertEqual(self.transport.recipients(), ["ann@example.net"])

    async def test_what_is_damaged_keeps_nobody_waiting_and_is_given_up(self) -> None:
        async def open_message(id: str) -> Any:
            if id == damaged:
                raise StoreCorrupt
            return await read(id=id)

        read = self.queue.open_message
        self.transport.max_parallel = 1
        self.patch(self.queue, "open_message", open_message)
        held = START + 60
        damaged, other = [
            await self.submit(f"{name}@example.net", hold_until=held) for name in ("ann", "bob")
        ]
        self.pass_time(65, step=5.0)
        self.assertEqual(await self.states(other), [RecipientState.DELIVERED])
        self.assertEqual(await self.states(damaged), [RecipientState.DEFERRED])
        self.pass_time(6 * DAY, step=300.0)
        self.assertEqual(await self.states(damaged), [RecipientState.EXPIRED])
        self.assertEqual(
            [each["Subject"] for each in self.reports()],
            ["Your message is delayed", "Your message could not be delivered"],
        )

    async def test_it_is_put_down_at_the_end_where_that_is_possible_again(self) -> None:
        record = self.queue.record

        async def fail(**_: Any) -> None:
            raise StoreFull

        self.patch(self.queue, "record", fail)
        id = await self.submit("eve@example.net")
        self.patch(self.queue, "record", record)
        await self.manager.stop()
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

    async def test_times_that_are_none(self) -> None:
        numbers = (math.inf, math.nan, 1e300, 10**30, -(10**30))
        for value in (*numbers, MIN_TIME - 1, MAX_TIME + 1, MAX_TIME + 0.5, "1700000000"):
            held = queue_envelope("eve@example.net", hold_until=value)
            limited = queue_envelope("eve@example.net", deliver_by=DeliverBy(cast(int, value), "R"))
            for envelope in (held, limited):
                with self.assertRaises(ValueError, msg=repr(value)):
                    await self.submit_envelope(envelope)
        self.assertEqual(await self.waiting(), [])
        # RFC 4865 section 3: a date may be long past.
        await self.submit("eve@example.net", hold_until=MIN_TIME)
        self.assertEqual(self.transport.recipients(), ["eve@example.net"])
        await self.submit("joe@example.net", hold_until=MAX_TIME)
        ((recipient,),) = [each.recipients for each in await self.waiting()]
        self.assertEqual(recipient.next_time, MAX_TIME)

    async def test_fractions_of_times_are_rounded_up(self) -> None:
        by = DeliverBy(cast(int, START + 199.25), "R")
        await self.submit("eve@example.net", hold_until=START + 99.25, deliver_by=by)
        (found,) = await self.waiting()
        times = found.envelope.hold_until, found.envelope.deliver_by, found.expires
        self.assertEqual(repr(times), repr((START + 100, DeliverBy(START + 200, "R"), START + 200)))

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

    async def test_what_ends_beside_others_waits_for_them_a_moment(self) -> None:
        gate = self.transport.gate = Deferred()
        slow = await self.submit("eve@example.net")
        self.transport.gate = None
        soon = await self.submit("joe@example.com")
        self.assertEqual(await self.states(soon), [RecipientState.QUEUED])
        # No step has taken any time.
        self.clock.advance(0)
        self.assertEqual(await self.states(soon), [RecipientState.DELIVERED])
        gate.callback(None)
        self.assertEqual(await self.states(slow), [RecipientState.DELIVERED])
        alone = await self.submit("joe@example.com")
        self.assertEqual(await self.states(alone), [RecipientState.DELIVERED])

    async def test_who_was_not_tried_is_tried_next(self) -> None:
        send = self.transport.send

        async def send_first(*arguments: Any) -> Result:
            result = await send(*arguments)
            return Result(result.recipients[:1])

        self.patch(self.transport, "send", send_first)
        id = await self.submit("eve@example.net", "joe@example.net")
        tried = [len(envelope.recipients) for _, envelope, _ in self.transport.sent]
        self.assertEqual(tried, [2, 1])
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED] * 2)

    async def test_stop_puts_down_what_has_ended(self) -> None:
        self.transport.gate = Deferred()
        await self.submit("eve@example.net")
        self.transport.gate = None
        ended = await self.submit("joe@example.com")
        stopping = Deferred.fromCoroutine(self.manager.stop(grace=0.0))
        self.clock.advance(0)
        self.successResultOf(stopping)
        self.assertEqual(await self.states(ended), [RecipientState.DELIVERED])

    async def test_stop_leaves_reports_whole_that_wait_for_others(self) -> None:
        record = self.queue.record

        async def record_slowly(**values: Any) -> None:
            await record(**values)
            self.clock.advance(0.005)

        self.patch(self.queue, "record", record_slowly)
        await self.submit("zoe@example.net")
        self.transport.answer = lambda recipient: reply(550)
        self.transport.gate = Deferred()
        await self.submit("eve@example.net")
        self.transport.gate = None
        ended = await self.submit("joe@example.com")
        stopping = Deferred.fromCoroutine(self.manager.stop(grace=0.0))
        self.clock.advance(0)
        self.successResultOf(stopping)
        self.assertEqual(await self.states(ended), [RecipientState.FAILED])
        _, report = await self.waiting()
        with await self.queue.open_message(id=report.id) as file:
            content = file.read()
        self.assertEqual(len(content), report.size)
        self.assertIn(b"joe@example.com", content)


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

    async def test_what_is_held_on_purpose_is_not_delayed(self) -> None:
        self.transport.answer = lambda recipient: (
            reply() if recipient.path.domain == "example.org" else reply(451, "busy", "4.3.2")
        )
        await self.submit("eve@example.net", hold_until=START + 86_400)
        self.pass_time(27 * HOUR, step=300.0)
        self.assertGreater(len(self.transport.sent), 3)
        self.assertEqual(self.reports(), [])
        self.pass_time(3 * HOUR, step=300.0)
        self.assertEqual(len(self.reports()), 1)


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
