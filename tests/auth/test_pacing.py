"""When refusals of bases that verify passwords themselves are told."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.pacing import LONGEST, REMEMBERED, STEP, Refusals
from mailkit.coroutines import run


class RefusalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.refusals = Refusals(self.clock)

    def tell(self, taken: float, own: bool) -> float:
        """How long a refusal takes that took so long until it was known.

        :param own: the base has refused.
        """
        begun = self.clock.seconds()
        self.clock.advance(taken)
        if own:
            self.refusals.note(begun)
        waiting = run(self.refusals.hold_back(begun))
        while not waiting.called:
            self.clock.advance(0.01)
        self.successResultOf(waiting)
        return round(self.clock.seconds() - begun, 1)

    def test_at_multiples_of_a_time(self) -> None:
        for taken, told in ((0.0, 0.5), (0.2, 0.5), (0.49, 0.5), (0.7, 1.0)):
            self.assertEqual(self.tell(taken, own=False), told)

    def test_not_before_those_of_the_base(self) -> None:
        """PAM takes about two seconds, not always the same."""
        for taken in (1.6, 2.2, 1.9):
            self.tell(taken, own=True)
        for taken, own in ((0.1, False), (1.6, True), (0.1, True)):
            self.assertEqual(self.tell(taken, own), 2.5)

    def test_what_was_slow_for_a_time_is_forgotten(self) -> None:
        self.tell(60, own=True)
        self.assertEqual(self.tell(0.1, own=False), LONGEST)
        self.clock.advance(REMEMBERED - 2 * LONGEST)
        self.assertEqual(self.tell(0.1, own=False), LONGEST)
        self.clock.advance(2 * LONGEST)
        self.assertEqual(self.tell(0.1, own=False), STEP)

    def test_names_refused_at_once_push_nothing_out(self) -> None:
        """As PAM is never asked about some."""
        self.tell(2.0, own=True)
        for _ in range(100):
            self.tell(0.0, own=True)
        self.assertEqual(self.tell(0.1, own=False), 2.5)
