"""When the next attempt is due."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.queue.schedule import DAY, HOUR, INTERVALS, MINUTE, Schedule


class ScheduleTests(SynchronousTestCase):
    def test_first_retries_come_within_half_an_hour(self) -> None:
        # RFC 5321 section 4.5.4.1: twice within the first hour, then every two or three hours.
        schedule = Schedule(jitter=0)
        self.assertEqual(schedule.delay(1) + schedule.delay(2) + schedule.delay(3), 30 * MINUTE)
        self.assertEqual(schedule.delay(len(INTERVALS)), 4 * HOUR)
        self.assertEqual(schedule.delay(1000), 4 * HOUR)

    def test_jitter(self) -> None:
        schedule = Schedule(jitter=0.5)
        self.assertEqual(schedule.delay(1, lambda: 0.0), 2.5 * MINUTE)
        self.assertEqual(schedule.delay(1, lambda: 0.5), 5 * MINUTE)

    def test_last_attempt_is_at_the_end(self) -> None:
        schedule = Schedule(jitter=0)
        self.assertEqual(schedule.next_time(1000, 1, 1100), 1100)
        self.assertEqual(schedule.next_time(1000, 1, 999), 1300)
        self.assertEqual(schedule.next_time(1000, 1, int(5 * DAY)), 1300)

    def test_settings_that_make_no_sense(self) -> None:
        for settings in (
            {"intervals": ()},
            {"intervals": (0,)},
            {"jitter": 1.0},
            {"lifetime": 0},
            {"undo": -1},
        ):
            with self.assertRaises(ValueError):
                Schedule(**settings)  # type: ignore[arg-type]
