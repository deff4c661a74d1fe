"""Which process works on a queue."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit.interfaces import IProcessLocks
from mailkit.tap.queue_turn import TURN_INTERVAL, QueueTurn


@implementer(IProcessLocks)
class Names:
    """Names of which another process has some."""

    def __init__(self, *taken: str) -> None:
        self.taken = set(taken)

    def try_lock(self, name: str) -> Callable[[], None] | None:
        if name in self.taken:
            return None
        self.taken.add(name)
        return lambda: self.taken.discard(name)


class QueueTurnTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.begun: list[float] = []

    def turn(self, store: object) -> QueueTurn:
        turn = QueueTurn(store, lambda: self.begun.append(self.clock.seconds()), self.clock)
        turn.start()
        return turn

    def test_at_once_when_nobody_else_does(self) -> None:
        names = Names()
        turn = self.turn(names)
        self.assertEqual((self.begun, names.taken), ([0.0], {"queue"}))
        turn.end()
        self.assertEqual(names.taken, set())

    def test_at_once_with_a_store_of_one_process(self) -> None:
        self.turn(object()).end()
        self.assertEqual(self.begun, [0.0])

    def test_when_the_other_process_has_ended(self) -> None:
        names = Names("queue")
        self.turn(names)
        self.clock.pump([TURN_INTERVAL] * 5)
        self.assertEqual(self.begun, [])
        names.taken.clear()
        self.clock.pump([TURN_INTERVAL] * 5)
        self.assertEqual(self.begun, [6 * TURN_INTERVAL])

    def test_never_once_the_service_stops(self) -> None:
        names = Names("queue")
        turn = self.turn(names)
        turn.cancel()
        turn.end()
        names.taken.clear()
        self.clock.pump([TURN_INTERVAL] * 5)
        self.assertEqual((self.begun, self.clock.getDelayedCalls()), ([], []))
