"""How much a destination gets."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.errors import ConnectFailed
from mailkit.queue import pacing
from mailkit.queue.pacing import Pace, Paces, PaceSettings
from mailkit.smtp.client import Session


class PaceTests(SynchronousTestCase):
    def make(self, most: int = 20, rate: float = 0.0) -> Pace:
        self.clock = Clock()
        return Pace(PaceSettings(most, rate), self.clock)

    def enter(self, pace: Pace) -> Deferred[int]:
        return Deferred.fromCoroutine(pace.enter())

    def test_begins_small_and_grows(self) -> None:
        pace = self.make()
        first = [self.enter(pace) for _ in range(5)]
        self.assertEqual([each.called for each in first], [True] * 4 + [False])
        # One success makes room for itself and for one more.
        pace.leave(self.successResultOf(first[0]))
        self.assertTrue(first[4].called)
        self.assertTrue(self.enter(pace).called)
        self.assertFalse(self.enter(pace).called)
        for _ in range(100):
            pace.leave(0)
            self.enter(pace)
        self.assertEqual(pace.window, 20)

    def test_trouble_halves_once(self) -> None:
        pace = self.make()
        pace.window = 16.0
        tickets = [self.successResultOf(self.enter(pace)) for _ in range(16)]
        for ticket in tickets:
            pace.leave(ticket, trouble=True)
        self.assertEqual(pace.window, 8)
        # Again, for one that began after it; never below 1.
        for expected in (4, 2, 1, 1):
            pace.leave(self.successResultOf(self.enter(pace)), trouble=True)
            self.assertEqual(pace.window, expected)
        # And then it grows slowly.
        for _ in range(3):
            pace.leave(self.successResultOf(self.enter(pace)))
        self.assertTrue(2 < pace.window < 3, pace.window)

    def test_who_did_not_speak_to_it_changes_nothing(self) -> None:
        pace = self.make()
        for _ in range(3):
            pace.leave(self.successResultOf(self.enter(pace)), trouble=None)
        self.assertEqual((pace.window, pace.under_way), (4, 0))

    def test_no_more_than_is_allowed(self) -> None:
        pace = self.make(most=2)
        entered = [self.enter(pace) for _ in range(4)]
        self.assertEqual(sum(each.called for each in entered), 2)
        pace.leave(0)
        pace.leave(0)
        self.assertEqual(sum(each.called for each in entered), 4)
        self.assertEqual(pace.under_way, 2)

    def test_rate(self) -> None:
        pace = self.make(rate=30)
        entered = [self.enter(pace) for _ in range(3)]
        self.assertEqual(sum(each.called for each in entered), 1)
        for seconds, count in ((1.9, 1), (0.1, 2), (1.9, 2), (0.1, 3)):
            self.clock.advance(seconds)
            self.assertEqual(sum(each.called for each in entered), count)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_gives_up_waiting_keeps_no_place(self) -> None:
        pace = self.make(most=1)
        self.enter(pace)
        waiting = self.enter(pace)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        pace.leave(0)
        self.assertTrue(pace.idle)

    def follow(self, pace: Pace, link: object) -> Deferred[tuple[int, Session | None]]:
        return Deferred.fromCoroutine(pace.enter_or_follow(link))

    def test_a_place_that_is_passed_on(self) -> None:
        pace, link, session = self.make(most=1), object(), cast(Session, object())
        first = self.follow(pace, link)
        self.assertFalse(pace.pass_on(link, session))
        second, third = self.follow(pace, link), self.follow(pace, link)
        self.assertTrue(pace.pass_on(link, session))
        self.assertIs(self.successResultOf(second)[1], session)
        # The first one's end makes no room: its place is the second one's.
        pace.leave(self.successResultOf(first)[0], passed_on=True)
        self.assertNoResult(third)
        self.assertEqual(pace.under_way, 1)
        pace.leave(0)
        self.assertIs(self.successResultOf(third)[1], None)
        pace.leave(0)
        self.assertTrue(pace.idle)

    def test_places_are_not_passed_on_before_others_turns(self) -> None:
        pace, link, session = self.make(most=1), object(), cast(Session, object())
        self.follow(pace, link)
        other = self.follow(pace, object())
        self.follow(pace, link)
        self.assertFalse(pace.pass_on(link, session))
        pace.leave(0)
        self.assertTrue(other.called)

    def test_places_are_not_passed_on_where_there_are_too_many(self) -> None:
        pace, link, session = self.make(most=2), object(), cast(Session, object())
        for _ in range(3):
            self.follow(pace, link)
        pace.leave(0, trouble=True)
        # One may be under way now, and there is one; then two are one too many.
        self.assertTrue(pace.pass_on(link, session))
        pace.under_way += 1
        self.follow(pace, link)
        self.assertFalse(pace.pass_on(link, session))

    def test_places_are_passed_on_in_time(self) -> None:
        pace, link, session = self.make(most=1, rate=60), object(), cast(Session, object())
        self.follow(pace, link)
        waiting = [self.follow(pace, link) for _ in range(2)]
        self.assertFalse(pace.pass_on(link, session))
        self.clock.advance(1)
        self.assertTrue(pace.pass_on(link, session))
        self.assertFalse(pace.pass_on(link, session))
        self.assertEqual([each.called for each in waiting], [True, False])
        pace.close()

    def test_bad_settings(self) -> None:
        for values in ({"max_connections": 0}, {"rate": -1.0}, {"dead_time": -1.0}):
            with self.assertRaises(ValueError):
                PaceSettings(**values)  # type: ignore[arg-type]


class PacesTests(SynchronousTestCase):
    def test_dead_hosts_are_remembered_for_a_while(self) -> None:
        clock = Clock()
        paces = Paces(PaceSettings(dead_time=60), clock)
        error = ConnectFailed("refused")
        paces.note_dead("192.0.2.1:25", error)
        clock.advance(59)
        for _ in range(2):
            found = paces.why_dead("192.0.2.1:25")
            assert found is not None
            self.assertEqual((type(found), found.text), (ConnectFailed, "refused"))
            # A traceback would keep what was to be sent.
            self.assertIsNone(found.__traceback__)
            with self.assertRaises(ConnectFailed):
                raise found
        self.assertIsNone(paces.why_dead("192.0.2.2:25"))
        clock.advance(1)
        self.assertIsNone(paces.why_dead("192.0.2.1:25"))

    def test_one_pace_for_one_set_of_hosts(self) -> None:
        paces = Paces(PaceSettings(), Clock())
        self.assertIs(paces.find(("a", "b")), paces.find(("a", "b")))
        self.assertIsNot(paces.find(("a", "b")), paces.find(("a",)))

    def test_memory_is_bounded(self) -> None:
        self.patch(pacing, "MAX_DESTINATIONS", 10)
        paces = Paces(PaceSettings(), Clock())
        busy = paces.find(("busy",))
        Deferred.fromCoroutine(busy.enter())
        for number in range(100):
            paces.find((str(number),))
        self.assertLessEqual(len(paces._paces), 11)
        self.assertIs(paces.find(("busy",)), busy)
