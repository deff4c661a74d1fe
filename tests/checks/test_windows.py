"""Rates, and counting over a time just past."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.checks.windows import Rate, SlidingWindows, parse_rate


class RateTests(SynchronousTestCase):
    def test_rates(self) -> None:
        for text, rate in (
            ("300/minute", (300, 60)),
            ("100/10m", (100, 600)),
            ("5/s", (5, 1)),
            (" 5 / 2 Hours ", (5, 7200)),
            ("1000/day", (1000, 86_400)),
        ):
            self.assertEqual(parse_rate(text), rate)
        self.assertIsNone(parse_rate(""))

    def test_what_is_none(self) -> None:
        for text in ("300", "0/minute", "5/0s", "5/fortnight", "-1/s", "x/s", "5/s/s", "1.5/s"):
            self.assertRaises(ValueError, parse_rate, text)


class WindowTests(SynchronousTestCase):
    RATE = Rate(10, 60)

    def setUp(self) -> None:
        self.windows = SlidingWindows(3)
        self.now = 6000.0

    def take(self, key: str = "a") -> float:
        """Do it if there is room; seconds to wait otherwise."""
        wait = self.windows.wait(key, self.RATE, self.now)
        if not wait:
            self.windows.add(key, self.RATE, self.now)
        return wait

    def test_a_burst_up_to_the_limit(self) -> None:
        self.assertEqual([self.take() for _ in range(10)], [0.0] * 10)
        self.assertGreater(self.take(), 0)
        self.assertEqual(self.take("b"), 0)

    def test_room_comes_back_bit_by_bit(self) -> None:
        for _ in range(10):
            self.take()
        # Half of the window before is over.
        self.now += 90
        self.assertEqual([bool(self.take()) for _ in range(6)], [False] * 5 + [True])
        self.now += 120
        self.assertEqual([self.take() for _ in range(10)], [0.0] * 10)

    @given(st.lists(st.floats(0, 40), max_size=60))
    def test_there_is_room_when_the_wait_is_over(self, pauses: list[float]) -> None:
        windows, now = SlidingWindows(10), 1000.0
        for pause in pauses:
            now += pause
            wait = windows.wait("k", self.RATE, now)
            if wait:
                self.assertLessEqual(wait, 2 * self.RATE.seconds)
                now += wait + 0.001
                self.assertEqual(windows.wait("k", self.RATE, now), 0)
            windows.add("k", self.RATE, now)

    @given(st.lists(st.floats(0, 40), max_size=60))
    def test_no_window_has_twice_the_limit(self, pauses: list[float]) -> None:
        windows, now = SlidingWindows(10), 1000.0
        times: list[float] = []
        for pause in pauses:
            now += pause
            if not windows.wait("k", self.RATE, now):
                windows.add("k", self.RATE, now)
                times.append(now)
            recent = sum(1 for at in times if at > now - self.RATE.seconds)
            self.assertLess(recent, 2 * self.RATE.limit)

    def test_keys_are_limited(self) -> None:
        for _ in range(10):
            self.take("a")
        for key in "bcd":
            self.take("a")
            self.take(key)
        self.assertEqual(len(self.windows), 3)
        self.assertEqual(self.take("a"), 0)
