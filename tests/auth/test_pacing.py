"""When refusals of bases that verify passwords themselves are told."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.pacing import LONGEST, REMEMBERED, STEP, Hold, Refusals
from mailkit.coroutines import run


class RefusalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.refusals = Refusals(self.clock)

    def tell(self, taken: float, own: bool) -> float:
        """How long a refusal takes that took so long until it was known.

        :param own: the base has refused.
        """
        question = self.refusals.ask()
        self.clock.advance(taken)
        if own:
            self.refusals.note(question)
        hold = self.refusals.hold(question)

        async def held() -> None:
            await hold()

        waiting = run(held())
        while not waiting.called:
            self.clock.advance(0.01)
        self.successResultOf(waiting)
        return round(self.clock.seconds() - question.asked, 1)

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
        # Nobody has been refused since, so this may well be how slow it is.
        self.assertEqual(self.tell(0.1, own=False), LONGEST)
        self.assertEqual(self.tell(0.1, own=True), LONGEST)
        self.assertEqual(self.tell(0.1, own=False), STEP)

    def test_before_a_slow_base_has_refused_anybody(self) -> None:
        """A wrong code behind a right password is told when a wrong password would be."""
        for own in (False, True):
            self.refusals = Refusals(self.clock, slow=True)
            self.assertEqual(self.tell(2.1, own), LONGEST)
        for own, taken in ((True, 2.1), (False, 0.1)):
            self.assertEqual(self.tell(taken, own), 2.5)

    def test_several_add_up(self) -> None:
        """Of two bases asked in a row, neither tells how long it has taken."""
        totals = []
        for taken in (0.1, 2.1):
            first, second = Refusals(self.clock), Refusals(self.clock)
            for refusals in (first, second):
                question = refusals.ask()
                self.clock.advance(2.1)
                refusals.note(question)
            began = self.clock.seconds()
            holds = []
            for refusals, seconds in ((first, taken), (second, 2.1)):
                question = refusals.ask()
                self.clock.advance(seconds)
                holds.append(refusals.hold(question))

            async def held(holds: list[Hold]) -> None:
                for hold in holds:
                    await hold()

            waiting = run(held(holds))
            while not waiting.called:
                self.clock.advance(0.01)
            totals.append(round(self.clock.seconds() - began, 1))
        self.assertEqual(totals, [5.0, 5.0])

    def test_names_refused_at_once_push_nothing_out(self) -> None:
        """As PAM is never asked about some."""
        self.tell(2.0, own=True)
        for _ in range(100):
            self.tell(0.0, own=True)
        self.assertEqual(self.tell(0.1, own=False), 2.5)
