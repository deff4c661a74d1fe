"""A mapping that forgets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.expiring import CLOCK_SLACK, ExpiringMap


class ExpiringMapTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.map: ExpiringMap[str, int] = ExpiringMap(3, lambda: self.now)

    def test_values_expire(self) -> None:
        self.map.set("a", 1, 10)
        self.now = 9.9
        self.assertEqual(self.map.get("a"), 1)
        self.now = 10
        self.assertIsNone(self.map.get("a"))
        self.assertEqual(len(self.map), 0)

    def test_a_clock_that_is_set_back_keeps_nothing_for_longer(self) -> None:
        self.now = 10_000
        self.map.set("a", 1, 10)
        self.map.set("b", 2, 10)
        self.now = 10_000 - CLOCK_SLACK
        self.assertEqual(self.map.get("a"), 1)
        self.now -= 1
        self.assertIsNone(self.map.get("a"))
        self.assertIsNone(self.map.pop("b"))

    def test_drop(self) -> None:
        self.map.set("a", 1, 10)
        self.map.set("b", 2, 10)
        self.map.drop(lambda key: key == "a")
        self.assertEqual((self.map.get("a"), self.map.get("b")), (None, 2))

    def test_a_new_value_has_its_own_time(self) -> None:
        self.map.set("a", 1, 10)
        self.now = 5
        self.map.set("a", 2, 10)
        self.now = 14
        self.assertEqual(self.map.get("a"), 2)
        self.map.set("a", 3, 0)
        self.assertIsNone(self.map.get("a"))

    def test_those_not_used_for_longest_go_first(self) -> None:
        for number, key in enumerate("abc"):
            self.map.set(key, number, 10)
        self.map.get("a")
        self.map.set("d", 3, 10)
        self.assertEqual([self.map.get(key) for key in "abcd"], [0, None, 2, 3])
        self.assertEqual(len(self.map), 3)
