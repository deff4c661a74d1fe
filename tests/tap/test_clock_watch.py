"""Timers of a process whose clock is set back, while nothing else happens."""

from __future__ import annotations

import threading
import time
from typing import Any

from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap import clock_watch
from mailkit.tap.clock_watch import MOVED_A_TURN, ClockWatch

from ..support import PATIENCE

HOUR = 3600.0


class ClockWatchTests(SynchronousTestCase):
    def test_timers_set_before_come_at_their_time(self) -> None:
        clock = Clock()
        clock.advance(10 * HOUR)
        came: list[str] = []
        watch = ClockWatch(clock)
        clock.callLater(30, came.append, "before")
        clock.callLater(HOUR - 10, came.append, "long before")
        before = clock.seconds()
        clock.rightNow -= HOUR
        clock.callLater(40, came.append, "since")
        watch.hurry(HOUR, before)
        for seconds, what in ((29, []), (1, ["before"]), (10, ["before", "since"])):
            clock.advance(seconds)
            self.assertEqual(came, what)
        clock.advance(HOUR - 51)
        self.assertEqual(len(came), 2)
        clock.advance(1)
        self.assertEqual(came[2:], ["long before"])

    def test_timers_that_were_due_before_it_was_noticed(self) -> None:
        clock = Clock()
        clock.advance(10 * HOUR)
        came: list[str] = []
        before = clock.seconds()
        clock.callLater(0.2, came.append, "due before the step")
        clock.callLater(1, came.append, "due behind it")
        # The reactor was busy for some seconds, and heard of the step behind them.
        clock.rightNow += 0.5 - HOUR + 20
        watch = ClockWatch(clock)
        watch.hurry(HOUR, before)
        clock.advance(0)
        self.assertEqual(came, ["due before the step", "due behind it"])

    def test_many_timers_are_moved_in_several_turns(self) -> None:
        clock = Clock()
        clock.advance(10 * HOUR)
        came: list[int] = []
        before = clock.seconds()
        calls = [clock.callLater(30 + number, came.append, number) for number in range(100)]
        clock.rightNow -= HOUR
        watch = ClockWatch(clock)
        watch.hurry(HOUR, before)
        moved = [call for call in calls if call.getTime() < before]
        # The first ones first, and not all at once.
        self.assertEqual(moved, calls[:MOVED_A_TURN])
        # What happens meanwhile to others is not undone.
        calls[-1].cancel()
        calls[-2].reset(40)
        clock.pump([0] * 100)
        clock.advance(30 + 99)
        self.assertEqual(sorted(came), list(range(99)))

    def test_no_turns_after_the_end(self) -> None:
        clock = Clock()
        clock.advance(10 * HOUR)
        before = clock.seconds()
        calls = [clock.callLater(30, int) for _ in range(2 * MOVED_A_TURN)]
        clock.rightNow -= HOUR
        watch = ClockWatch(clock)
        watch.hurry(HOUR, before)
        watch.stop()
        self.assertEqual(len(clock.getDelayedCalls()), len(calls))

    def test_it_is_noticed_where_nothing_happens(self) -> None:
        """A reactor of its own, which would wait for an hour."""
        self.patch(clock_watch, "LOOK_INTERVAL", 0.01)
        reactor: Any = SelectReactor()
        behind = 0.0
        reactor.seconds = lambda: time.time() - behind
        watch = ClockWatch(reactor)
        came: list[str] = []

        def set_back() -> None:
            nonlocal behind
            behind = HOUR

        def end(why: str) -> None:
            came.append(why)
            reactor.stop()

        too_late = threading.Timer(PATIENCE, reactor.callFromThread, (end, "too late"))
        too_late.start()
        reactor.callWhenRunning(watch.start)
        reactor.callWhenRunning(set_back)
        reactor.callLater(0.1, end, "in time")
        reactor.run(installSignalHandlers=False)
        too_late.cancel()
        watch.stop()
        self.assertEqual(came, ["in time"])
