"""Coroutines that may have nothing to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from types import coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailkit.coroutines import Shared, Task, gather, gather_all, run


class RunTests(SynchronousTestCase):
    def test_nothing_to_wait_for(self) -> None:
        async def answer() -> int:
            return await succeed(41) + 1

        self.assertEqual(self.successResultOf(run(answer())), 42)

    def test_failure_at_once(self) -> None:
        async def fail() -> None:
            raise ValueError

        self.failureResultOf(run(fail()), ValueError)

    def test_waiting(self) -> None:
        waiting: list[Deferred[int]] = [Deferred(), Deferred()]

        async def add() -> int:
            return await waiting[0] + await waiting[1]

        result = run(add())
        waiting[0].callback(1)
        self.assertNoResult(result)
        waiting[1].callback(2)
        self.assertEqual(self.successResultOf(result), 3)

    def test_failure_after_waiting(self) -> None:
        waiting: Deferred[None] = Deferred()

        async def wait() -> str:
            try:
                await waiting
            except ValueError:
                return "caught"
            return "not told"

        result = run(wait())
        waiting.errback(ValueError())
        self.assertEqual(self.successResultOf(result), "caught")

    def test_cancelled(self) -> None:
        waiting: Deferred[None] = Deferred()
        ended: list[str] = []

        async def wait() -> None:
            try:
                await waiting
            finally:
                ended.append("cleaned up")

        result = run(wait())
        result.cancel()
        self.assertEqual(ended, ["cleaned up"])
        self.failureResultOf(result, CancelledError)


_name: ContextVar[str] = ContextVar("_name", default="nobody")


class GatherTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.waiting: list[Deferred[None]] = [Deferred(), Deferred(), Deferred()]
        self.ended: list[str] = []

    async def wait(self, number: int) -> None:
        try:
            await self.waiting[number]
        except BaseException as error:
            self.ended.append(f"{number} {type(error).__name__}")
            raise
        self.ended.append(str(number))

    def test_until_all_have_ended(self) -> None:
        result = run(gather(map(self.wait, range(3))))
        for number in (1, 0, 2):
            self.assertNoResult(result)
            self.waiting[number].callback(None)
        self.successResultOf(result)
        self.assertEqual(self.ended, ["1", "0", "2"])

    def test_nothing_to_wait_for(self) -> None:
        for each in self.waiting:
            each.callback(None)
        self.successResultOf(run(gather(map(self.wait, range(3)))))
        self.assertEqual(self.ended, ["0", "1", "2"])
        self.successResultOf(run(gather([])))

    def test_a_failure_ends_the_others(self) -> None:
        result = run(gather(map(self.wait, range(3))))
        self.waiting[1].errback(ValueError())
        self.failureResultOf(result, ValueError)
        self.assertEqual(self.ended, ["1 ValueError", "0 CancelledError", "2 CancelledError"])

    def test_a_failure_at_once(self) -> None:
        self.waiting[1].errback(ValueError())
        self.failureResultOf(run(gather(map(self.wait, range(3)))), ValueError)
        # The third one has not begun.
        self.assertEqual(self.ended, ["1 ValueError", "0 CancelledError"])

    def test_whoever_waits_gives_up(self) -> None:
        result = run(gather(map(self.wait, range(3))))
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual(self.ended, [f"{number} CancelledError" for number in range(3)])

    def test_all_have_ended_before_a_failure_is_raised(self) -> None:
        result = run(gather_all(map(self.wait, range(3))))
        self.waiting[1].errback(ValueError())
        self.assertNoResult(result)
        self.waiting[0].callback(None)
        self.waiting[2].errback(KeyError())
        self.failureResultOf(result, ValueError)
        self.assertEqual(self.ended, ["1 ValueError", "0", "2 KeyError"])

    def test_whoever_waits_for_all_gives_up(self) -> None:
        result = run(gather_all(map(self.wait, range(3))))
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual(self.ended, [f"{number} CancelledError" for number in range(3)])


class TaskTests(SynchronousTestCase):
    def begin(self, rest: Coroutine[Any, Any, Any]) -> Task[Any]:
        self.outcomes: list[Any] = []
        awaited = rest.send(None)
        task = Task(rest, self.outcomes.append)
        task.wait_for(awaited)
        return task

    def test_result(self) -> None:
        waiting: list[Deferred[int]] = [Deferred(), Deferred()]

        async def add() -> int:
            return await waiting[0] + await waiting[1]

        self.begin(add())
        waiting[0].callback(1)
        self.assertEqual(self.outcomes, [])
        waiting[1].callback(2)
        self.assertEqual(self.outcomes, [3])

    def test_failures(self) -> None:
        waiting: list[Deferred[None]] = [Deferred(), Deferred()]

        async def fail() -> None:
            try:
                await waiting[0]
            except ValueError:
                await waiting[1]

        self.begin(fail())
        waiting[0].errback(ValueError())
        waiting[1].errback(KeyError())
        (failure,) = self.outcomes
        assert isinstance(failure, Failure)
        failure.trap(KeyError)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_what_is_there_already(self) -> None:
        waiting: Deferred[int] = Deferred()

        async def add() -> int:
            return await waiting + await succeed(1)

        rest = add()
        awaited = rest.send(None)
        waiting.callback(2)
        outcomes: list[Any] = []
        Task(rest, outcomes.append).wait_for(awaited)
        self.assertEqual(outcomes, [3])

    def test_cancelled(self) -> None:
        waiting: list[Deferred[None]] = [Deferred(), Deferred()]

        async def wait() -> str:
            try:
                await waiting[0]
            except CancelledError:
                # What is cleaned up has its time.
                await waiting[1]
            return "cleaned up"

        task = self.begin(wait())
        task.cancel()
        self.assertEqual(self.outcomes, [])
        waiting[1].callback(None)
        self.assertEqual(self.outcomes, ["cleaned up"])
        task.cancel()

    def test_cancelled_while_it_works(self) -> None:
        first: Deferred[None] = Deferred()
        tasks: list[Task[Any]] = []

        async def wait() -> str:
            await first
            tasks[0].cancel()
            try:
                await Deferred()
            except CancelledError:
                return "cancelled"
            return "not told"

        tasks.append(self.begin(wait()))
        first.callback(None)
        self.assertEqual(self.outcomes, ["cancelled"])

    def test_it_keeps_its_context(self) -> None:
        first: Deferred[None] = Deferred()

        async def wait() -> str:
            _name.set("ann")
            await first
            return _name.get()

        token = _name.set("nobody")
        self.begin(wait())
        _name.reset(token)
        first.callback(None)
        self.assertEqual(self.outcomes, ["ann"])
        self.assertEqual(_name.get(), "nobody")

    def test_what_is_no_deferred_comes_back(self) -> None:
        first: Deferred[None] = Deferred()

        @coroutine
        def give(value: object) -> Any:
            return (yield value)

        async def wait() -> list[object]:
            begun = await give(1)
            await first
            return [begun, await give(2)]

        self.begin(wait())
        first.callback(None)
        self.assertEqual(self.outcomes, [[1, 2]])


class AsyncioTests(SynchronousTestCase):
    def test_code_of_asyncio_is_told_what_to_do(self) -> None:
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        gate: Deferred[None] = Deferred()

        async def wait(before: Deferred[None]) -> str:
            await before
            try:
                await loop.create_future()
            except RuntimeError as error:
                return str(error)
            raise AssertionError

        for before in (succeed(None), gate):
            outcomes: list[str | Failure] = []
            waiting = wait(before)
            Task(waiting, outcomes.append).wait_for(waiting.send(None))
            running = run(wait(before))
            if before is gate:
                gate.callback(None)
            self.assertEqual(outcomes, [self.successResultOf(running)])
            self.assertIn("Deferred.fromFuture", str(outcomes[0]))


class SharedTests(SynchronousTestCase):
    """One coroutine, many who wait for it."""

    def share(self) -> Shared[int]:
        self.gate: Deferred[int] = Deferred()
        self.runs = 0

        async def work() -> int:
            self.runs += 1
            return await self.gate

        return Shared(work())

    def test_all_get_the_result_before_and_after_it_is_there(self) -> None:
        shared = self.share()
        waiting = [Deferred.fromCoroutine(shared.result()) for _ in range(2)]
        self.assertFalse(shared.done)
        self.gate.callback(5)
        self.assertTrue(shared.done)
        waiting.append(Deferred.fromCoroutine(shared.result()))
        self.assertEqual([self.successResultOf(each) for each in waiting], [5, 5, 5])
        self.assertEqual(self.runs, 1)

    def test_all_get_the_exception(self) -> None:
        shared = self.share()
        waiting = [Deferred.fromCoroutine(shared.result())]
        self.gate.errback(ValueError())
        waiting += [Deferred.fromCoroutine(shared.result()) for _ in range(2)]
        for each in waiting:
            self.failureResultOf(each, ValueError)

    def test_giving_up_ends_nothing(self) -> None:
        shared = self.share()
        first, second = (Deferred.fromCoroutine(shared.result()) for _ in range(2))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.gate.callback(5)
        self.assertEqual(self.successResultOf(second), 5)
