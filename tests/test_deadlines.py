"""One timer for many."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.deadlines import Deadlines


class Member:
    def __init__(self, reached: Callable[[], None]) -> None:
        self.deadline_reached = reached


class DeadlinesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock)
        self.reached: list[str] = []

    def add(self, name: str, when: float) -> tuple[Member, int]:
        member = Member(lambda: self.reached.append(f"{name} {self.clock.seconds():g}"))
        return member, self.deadlines.add(member, when)

    def test_each_at_its_time(self) -> None:
        for name, when in (("late", 30), ("early", 10), ("middle", 20), ("as early", 10)):
            self.add(name, when)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([1] * 40)
        self.assertEqual(self.reached, ["early 10", "as early 10", "middle 20", "late 30"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_never_too_early_and_less_than_a_second_late(self) -> None:
        self.add("fraction", 10.25)
        self.clock.pump([0.25] * 60)
        self.assertEqual(self.reached, ["fraction 11"])

    def test_removed(self) -> None:
        first, second = self.add("first", 10)
        other, _ = self.add("other", 10)
        self.deadlines.remove(first, second)
        self.deadlines.remove(first, second)
        self.clock.advance(10)
        self.assertEqual(self.reached, ["other 10"])
        # Too late, but no error.
        self.deadlines.remove(other, second)

    def test_timer_goes_on_after_all_were_removed(self) -> None:
        self.deadlines.remove(*self.add("first", 10))
        self.add("second", 20)
        self.clock.pump([5] * 5)
        self.assertEqual(self.reached, ["second 20"])

    def test_added_again_when_reached(self) -> None:
        def again() -> None:
            self.reached.append(f"{self.clock.seconds():g}")
            self.deadlines.add(member, self.clock.seconds() + 7)

        member = Member(again)
        self.deadlines.add(member, 7)
        self.clock.pump([1] * 22)
        self.assertEqual(self.reached, ["7", "14", "21"])

    def test_late_timer_reaches_everybody(self) -> None:
        self.add("second", 20)
        self.add("first", 10)
        self.add("third", 1000)
        self.clock.advance(500)
        self.assertEqual(self.reached, ["first 500", "second 500"])
        self.clock.advance(500)
        self.assertEqual(self.reached[2:], ["third 1000"])

    def test_one_that_fails_does_not_stop_the_others(self) -> None:
        self.deadlines.add(Member(lambda: 1 // 0 and None), 10)
        self.add("next", 10)
        self.add("later", 11)
        self.clock.pump([10, 1])
        self.assertEqual(self.reached, ["next 10", "later 11"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stopped_timer(self) -> None:
        self.deadlines.remove(*self.add("first", 10))
        self.deadlines.stop_timer()
        self.deadlines.stop_timer()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.add("second", 20)
        self.clock.advance(20)
        self.assertEqual(self.reached, ["second 20"])
