"""Domains that cannot be reached: few tries, and none of their mail holds up others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred

from mailkit.model import Recipient
from mailkit.queue import dispatch, manager
from mailkit.queue.manager import QueueManager, QueueSettings
from mailkit.queue.outcomes import Event
from mailkit.queue.schedule import DAY, HOUR, MINUTE, Schedule
from mailkit.queue.transport import Handover, Transport
from mailkit.queue.values import Order, RecipientState
from mailkit.smtp.client import Status

from .support import (
    QueueTestCase,
    ScriptedTransport,
    reply,
)


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
        # For the same reason.
        [[_, attempt]] = await self.queue.get_attempts(id=id)
        self.assertEqual(attempt.text, "no route")
        self.transport.unreachable = False
        self.transport.answer = lambda recipient: reply()
        self.pass_time(300)
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])

    async def test_new_messages_that_wait_are_tried_if_somebody_wants_it(self) -> None:
        await self.submit("eve@example.net")
        self.pass_time(60)
        ids = [await self.submit(f"{name}@example.net") for name in ("joe", "zoe")]
        self.pass_time(1)
        self.transport.unreachable = False
        self.transport.answer = lambda recipient: reply()
        now = int(self.clock.seconds())
        await self.queue.order(order=Order.RETRY, id=ids[0], now=now)
        self.pass_time(10)
        self.assertEqual(await self.states(ids[0]), [RecipientState.DELIVERED])
        self.assertEqual(await self.states(ids[1]), [RecipientState.DEFERRED])
        # Now that it is known to be reached, nothing new waits any more.
        id = await self.submit("ann@example.net")
        self.pass_time(1)
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])

    async def test_listeners_hear_of_new_messages_that_wait(self) -> None:
        await self.submit("eve@example.net")
        events: list[Event] = []
        self.manager.outcomes.listen(events.append)
        id = await self.submit("joe@example.net")
        self.pass_time(1)
        self.assertEqual(
            [(each.id, each.state) for each in events], [(id, RecipientState.DEFERRED)]
        )

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
        for module in (dispatch, manager):
            self.patch(module, "BATCH", 10)
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

    async def test_a_failure_of_our_own_says_nothing_of_the_domain(self) -> None:
        ids = [await self.submit(f"{number}@example.net") for number in range(5)]
        self.pass_time(HOUR)
        self.transport.sent.clear()
        answer = self.transport.answer

        def fail_first(recipient: Recipient) -> Handover:
            if len(self.transport.sent) == 1:
                self.transport.gate = Deferred()
                raise ValueError("a defect")
            return answer(recipient)

        self.transport.answer = fail_first
        await self.manager.flush()
        self.pass_time(10, step=1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        under_way = len(self.transport.sent)
        assert self.transport.gate is not None
        self.transport.gate.callback(None)
        self.pass_time(1)
        # One of the others still tells for all of them.
        self.assertEqual((under_way, len(self.transport.sent)), (2, 2))
        for id in ids:
            self.assertEqual(await self.states(id), [RecipientState.DEFERRED])

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

    async def test_an_order_to_try_again_lets_them_begin_no_faster(self) -> None:
        self.manager = await self.make_again(settings=QueueSettings(retry_rate=2))
        for number in range(20):
            await self.submit(f"eve@dead{number}.example")
        self.assertEqual(await self.manager.flush(), 20)
        self.pass_time(1, step=0.5)
        self.assertLessEqual(len(self.transport.sent), 20 + 4)
        self.pass_time(15, step=0.5)
        self.assertEqual(len(self.transport.sent), 40)

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

    async def test_how_often_it_looks_behind_those_that_failed(self) -> None:
        """Many are looked through: not more than once in a while, also where the clock is set back."""
        self.patch(manager, "LOOK", 5)
        self.manager = await self.make_again(settings=QueueSettings(retry_rate=0.1))
        for number in range(20):
            await self.submit(f"eve@dead{number}.example")
        self.pass_time(400, step=5)
        times: list[float] = []
        find_due = self.queue.find_due

        async def find(now: int, limit: int, exclude: Collection[str] = ()) -> Sequence[str]:
            if limit == manager.LOOK_FAR:
                times.append(self.clock.seconds())
            return await find_due(now=now, limit=limit, exclude=exclude)

        self.patch(self.queue, "find_due", find)
        self.pass_time(20, step=0.5)
        waits = [after - before for before, after in pairwise(times)]
        self.assertGreaterEqual(len(waits), 2)
        self.assertGreater(min(waits), manager.LOOK_INTERVAL - 1)
        # Not by so much that what waits is taken to be of a clock that was ahead.
        del times[:]
        self.clock.rightNow -= 50
        await self.submit("joe@dead0.example")
        self.pass_time(10, step=0.5)
        self.assertTrue(times)

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
