"""Threads for libraries that wait."""

from __future__ import annotations

import threading
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.trial.unittest import TestCase

from mailkit._typing import override
from mailkit.auth.workers import ConnectedWorkers, UnusableAnswer, Workers
from mailkit.errors import TemporaryFailure
from tests.support import PATIENCE, until

reactor: Any = _reactor


class WorkersTests(TestCase):
    def make(self, **settings: Any) -> Workers:
        workers = Workers("mailkit-test", **{"timeout": PATIENCE, **settings})
        self.addCleanup(workers.close)
        return workers

    def begin(self, workers: Workers, work: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(workers.run(work))

    async def test_results_and_exceptions(self) -> None:
        workers = self.make()
        caller = threading.current_thread()
        self.assertIsNot(await workers.run(threading.current_thread), caller)
        with self.assertRaises(ZeroDivisionError):
            await workers.run(lambda: 1 // 0)

    async def test_so_many_at_the_same_time(self) -> None:
        workers = self.make(threads=3)
        together = threading.Barrier(3)
        # Ends only if three run at once.
        numbers = [self.begin(workers, lambda: together.wait(PATIENCE)) for _ in range(6)]
        self.assertEqual(len(await gatherResults(numbers)), 6)

    async def test_too_many_are_told_to_come_back(self) -> None:
        workers = self.make(threads=1, max_pending=2)
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        begun = threading.Event()
        first = self.begin(workers, lambda: begun.set() or go_on.wait(PATIENCE))
        begun.wait(PATIENCE)
        waiting = [self.begin(workers, lambda: 1), self.begin(workers, lambda: 2)]
        with self.assertRaises(TemporaryFailure):
            await workers.run(lambda: 3)
        go_on.set()
        self.assertTrue(await first)
        self.assertEqual(await gatherResults(waiting), [1, 2])

    async def test_one_that_never_comes_back_is_given_up(self) -> None:
        workers = self.make(threads=1, timeout=0.05)
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        with self.assertRaises(TemporaryFailure):
            await workers.run(lambda: go_on.wait(PATIENCE))
        # Its thread is lost, so the next one has no turn.
        with self.assertRaises(TemporaryFailure):
            await workers.run(lambda: 1)
        self.assertEqual(len(cast(Any, workers)._waiting), 0)
        go_on.set()

    async def test_who_gives_up_makes_room(self) -> None:
        workers = self.make(threads=1)
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        first = self.begin(workers, lambda: go_on.wait(PATIENCE))
        second = self.begin(workers, lambda: 2)
        second.cancel()
        await self.assertFailure(second, CancelledError)
        go_on.set()
        self.assertTrue(await first)

    async def test_close_ends_the_threads_and_refuses_what_waits(self) -> None:
        workers = self.make(threads=1)
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        threads: list[threading.Thread] = []
        first = self.begin(
            workers, lambda: threads.append(threading.current_thread()) or go_on.wait(PATIENCE)
        )
        await until(lambda: bool(threads))
        second = self.begin(workers, lambda: 2)
        workers.close()
        await self.assertFailure(second, TemporaryFailure)
        go_on.set()
        self.assertTrue(await first)
        threads[0].join(PATIENCE)
        self.assertFalse(threads[0].is_alive())
        self.assertTrue(threads[0].daemon)
        # And begins anew.
        self.assertEqual(await workers.run(lambda: 4), 4)


class Numbered(ConnectedWorkers[int]):
    """Connections are numbers, in their order."""

    def __init__(self) -> None:
        super().__init__("mailkit-test", threads=1)
        self.made: list[int] = []
        self.ended: list[int] = []

    @override
    def connect(self) -> int:
        self.made.append(len(self.made) + 1)
        return self.made[-1]

    @override
    def disconnect(self, connection: int) -> None:
        self.ended.append(connection)
        raise OSError("it was broken already")


class ConnectedWorkersTests(TestCase):
    def setUp(self) -> None:
        self.workers = Numbered()
        self.addCleanup(self.workers.close)
        # What each of the next calls fails with.
        self.failures: list[Exception] = []

    async def ask(self) -> int:
        def work(connection: int) -> int:
            if self.failures:
                raise self.failures.pop(0)
            return connection

        return await self.workers.run(lambda: self.workers.use(work))

    async def test_a_connection_is_kept(self) -> None:
        self.assertEqual([await self.ask(), await self.ask()], [1, 1])
        self.assertEqual(self.workers.ended, [])

    async def test_a_kept_one_that_broke_is_made_anew_once(self) -> None:
        await self.ask()
        self.failures = [OSError()]
        self.assertEqual(await self.ask(), 2)
        self.assertEqual(self.workers.ended, [1])

    async def test_the_second_one_is_dropped_too_when_it_fails(self) -> None:
        await self.ask()
        self.failures = [OSError("first"), OSError("second")]
        with self.assertRaisesRegex(OSError, "second"):
            await self.ask()
        self.assertEqual(self.workers.ended, [1, 2])
        # So that nobody is asked by a broken one.
        self.assertEqual(await self.ask(), 3)

    async def test_a_new_one_that_fails_is_not_tried_again(self) -> None:
        self.failures = [OSError()]
        with self.assertRaises(OSError):
            await self.ask()
        self.assertEqual((self.workers.made, self.workers.ended), ([1], [1]))

    async def test_an_answer_that_cannot_be_used_says_nothing_against_it(self) -> None:
        await self.ask()
        self.failures = [UnusableAnswer()]
        with self.assertRaises(UnusableAnswer):
            await self.ask()
        self.assertEqual(await self.ask(), 1)

    async def test_the_last_is_ended_with_its_thread(self) -> None:
        await self.ask()
        thread = await self.workers.run(threading.current_thread)
        self.workers.close()
        thread.join(PATIENCE)
        self.assertEqual(self.workers.ended, [1])
