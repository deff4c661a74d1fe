"""Who is next, among addresses that all want to log in."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth import turns
from mailkit.auth.turns import Turns, locate


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.turns: Turns[str] = Turns(1000)

    def put(self, *things: str) -> None:
        """Things called ``client-number``."""
        for thing in things:
            self.assertIsNone(self.turns.put(thing.partition("-")[0], thing))

    def rest(self) -> list[str]:
        found = []
        while (thing := self.turns.take()) is not None:
            found.append(thing)
        self.assertEqual(len(self.turns), 0)
        return found

    def test_one_address_in_order(self) -> None:
        self.put("a-1", "a-2", "a-3")
        self.assertEqual(self.rest(), ["a-1", "a-2", "a-3"])

    def test_addresses_take_turns(self) -> None:
        self.put("a-1", "a-2", "a-3", "a-4", "b-1", "b-2")
        self.assertEqual(self.rest(), ["a-1", "b-1", "a-2", "b-2", "a-3", "a-4"])

    def test_networks_take_turns_however_many_addresses_they_have(self) -> None:
        self.put(*(f"192.0.2.{number}-1" for number in range(100)), "192.0.2.7-2")
        self.put("198.51.100.1-1", "198.51.100.1-2")
        order = ["192.0.2.0-1", "198.51.100.1-1", "192.0.2.1-1", "198.51.100.1-2", "192.0.2.2-1"]
        self.assertEqual([self.turns.take() for _ in order], order)
        self.assertEqual(self.rest()[-1], "192.0.2.7-2")

    def test_the_last_login_decides(self) -> None:
        self.turns.note("bad", False)
        self.turns.note("good", True)
        self.put("bad-1", "new-1", "good-1", "good-2", "good-3", "new-2", "bad-2")
        # The fourth turn goes to those that come last.
        order = ["good-1", "good-2", "good-3", "bad-1", "new-1", "new-2", "bad-2"]
        self.assertEqual(self.rest(), order)

    def test_a_right_login_mends_a_wrong_one(self) -> None:
        self.turns.note("a", False)
        self.turns.note("a", True)
        self.put("new-1", "a-1")
        self.assertEqual(self.rest(), ["a-1", "new-1"])

    def test_nobody_waits_for_ever(self) -> None:
        self.turns.note("bad", False)
        self.put("bad-1")
        for number in range(turns.LAST_FIRST):
            self.put(f"new{number}-1")
        self.assertIn("bad-1", [self.turns.take() for _ in range(turns.LAST_FIRST)])

    def test_no_room(self) -> None:
        self.turns.note("bad", False)
        self.turns.limit = 4
        self.put("bad-1", "new-1", "new-2", "bad-2")
        # Those that failed go first, their latest before their earlier ones.
        self.assertEqual(self.turns.put("new", "new-3"), "bad-2")
        self.assertEqual(self.turns.put("other", "other-1"), "bad-1")
        # Then of those for whom most waits, and the last when all have the same.
        self.assertEqual(self.turns.put("third", "third-1"), "new-3")
        self.assertEqual(self.turns.put("fourth", "fourth-1"), "new-2")
        self.assertEqual(self.turns.put("fifth", "fifth-1"), "fifth-1")
        self.assertEqual(self.turns.put("bad", "bad-3"), "bad-3")
        self.assertEqual(self.rest(), ["new-1", "other-1", "third-1", "fourth-1"])

    def test_removing(self) -> None:
        self.put("a-1", "a-2", "b-1")
        self.turns.note("a", False)
        self.assertTrue(self.turns.remove("a", "a-2"))
        self.assertFalse(self.turns.remove("a", "a-2"))
        self.assertFalse(self.turns.remove("c", "a-1"))
        self.assertTrue(self.turns.remove("b", "b-1"))
        self.assertEqual(self.rest(), ["a-1"])

    def test_memory_is_bounded(self) -> None:
        self.patch(turns, "MAX_ADDRESSES", 10)
        for number in range(50):
            self.turns.note(f"client{number}", False)
        self.put("client49-1", "client0-1")
        self.assertEqual(self.turns.take(), "client0-1")

    def test_networks_and_addresses(self) -> None:
        for client, network, address in (
            ("192.0.2.1", "192.0.0.0/16", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.0.0/16", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8::/32", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/32", "fe80::/64"),
            ("", "", ""),
            ("no:address", "no:address", "no:address"),
        ):
            self.assertEqual(locate(client), (network, address))
