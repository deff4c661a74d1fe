"""Coroutines that may have nothing to wait for."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailkit.coroutines import Shared, run


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
