"""What ends close behind each other is put down in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import StoreUnavailable
from mailkit.queue import recording
from mailkit.queue.recording import GATHERING_TIME, Recorder
from mailkit.queue.values import NewMessage, RecipientState, Report, Update
from mailkit.spool import Spool
from mailkit.testing.queue import queue_envelope


class SlowQueue:
    """Takes its time for each step."""

    def __init__(self) -> None:
        self.steps: list[tuple[list[int], Deferred[None]]] = []
        self.reports: list[Report] = []

    async def record(self, updates: Sequence[Update], reports: Sequence[Report]) -> None:
        done: Deferred[None] = Deferred()
        self.reports += reports
        self.steps.append(([update.id for update in updates], done))
        await done


class RecorderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.queue = SlowQueue()
        queue: Any = self.queue
        self.clock = Clock()
        self.recorder = Recorder(queue, self.clock)

    def record(self, *numbers: int) -> Deferred[None]:
        updates = [Update(number, RecipientState.DELIVERED) for number in numbers]
        return Deferred.fromCoroutine(self.recorder.record(updates))

    def steps(self) -> list[list[int]]:
        return [numbers for numbers, _ in self.queue.steps]

    def test_what_comes_meanwhile_goes_together(self) -> None:
        calls = [self.record(1), self.record(2, 3), self.record(4)]
        self.assertEqual(self.steps(), [[1]])
        self.queue.steps[0][1].callback(None)
        self.assertEqual(self.steps(), [[1], [2, 3, 4]])
        self.assertEqual([call.called for call in calls], [True, False, False])
        self.queue.steps[1][1].callback(None)
        self.assertTrue(all(call.called for call in calls))
        self.record(5)
        self.assertEqual(self.steps()[2:], [[5]])

    def test_failure_is_told_to_those_whom_it_concerns(self) -> None:
        first, second, third = self.record(1), self.record(2), self.record(3)
        self.queue.steps[0][1].callback(None)
        self.successResultOf(first)
        self.queue.steps[1][1].errback(StoreUnavailable())
        self.failureResultOf(second, StoreUnavailable)
        self.failureResultOf(third, StoreUnavailable)
        fourth = self.record(4)
        self.queue.steps[2][1].callback(None)
        self.successResultOf(fourth)

    def test_who_is_cancelled_does_not_stop_the_others(self) -> None:
        self.record(1)
        gone, other = self.record(2), self.record(3)
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.queue.steps[0][1].callback(None)
        self.queue.steps[1][1].callback(None)
        self.successResultOf(other)

    def test_reports_of_who_is_cancelled_are_whole(self) -> None:
        message = NewMessage(queue_envelope("ann@example.org"), 0, 1)
        self.record(1)
        spools = [Spool.from_bytes(b"Subject: report\r\n\r\n") for _ in range(2)]
        for failure, spool in zip((None, StoreUnavailable()), spools, strict=True):
            report = Report(message, spool)
            call = Deferred.fromCoroutine(self.recorder.record([], [report]))
            call.cancel()
            self.failureResultOf(call, CancelledError)
            self.queue.steps[-1][1].callback(None)
            self.assertEqual(self.queue.reports.pop().content, spool)
            self.assertTrue(spool.pieces)
            ended = self.queue.steps[-1][1]
            if failure is None:
                ended.callback(None)
            else:
                ended.errback(failure)
            self.assertFalse(spool.pieces)
            self.record(1)

    def test_a_step_is_not_too_large(self) -> None:
        self.patch(recording, "MAX_UPDATES", 3)
        self.record(1)
        for numbers in ((2, 3), (4,), (5, 6, 7, 8), (9,)):
            self.record(*numbers)
        for number in range(4):
            self.queue.steps[number][1].callback(None)
        self.assertEqual(self.steps(), [[1], [2, 3, 4], [5, 6, 7, 8], [9]])

    def let_a_step_take(self, seconds: float) -> None:
        self.record(0)
        self.clock.advance(seconds)
        self.queue.steps.pop()[1].callback(None)

    def test_outcomes_wait_for_those_of_attempts_under_way(self) -> None:
        self.let_a_step_take(0.004)
        self.recorder.expected = 1
        self.record(1)
        self.clock.advance(0.003)
        self.record(2)
        self.assertEqual(self.steps(), [])
        self.clock.advance(0.001)
        self.assertEqual(self.steps(), [[1, 2]])
        self.record(3)
        self.queue.steps[0][1].callback(None)
        self.assertEqual(self.steps(), [[1, 2], [3]])

    def test_they_wait_no_longer_where_a_step_takes_long(self) -> None:
        self.let_a_step_take(5)
        self.recorder.expected = 1
        self.record(1)
        self.assertEqual(self.steps(), [])
        self.clock.advance(GATHERING_TIME)
        self.assertEqual(self.steps(), [[1]])

    def test_a_clock_that_is_set_back_meanwhile_does_not_keep_them(self) -> None:
        self.let_a_step_take(0.004)
        self.recorder.expected = 1
        self.record(1)
        self.clock.rightNow -= 3600
        self.record(2)
        self.assertEqual(self.steps(), [[1, 2]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_last_one_ends_the_wait(self) -> None:
        self.recorder.expected = 1
        self.record(1)
        self.recorder.expected = 0
        self.record(2)
        self.assertEqual(self.steps(), [[1, 2]])
        self.assertEqual(self.clock.getDelayedCalls(), [])
