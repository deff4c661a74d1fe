"""Limits of connections that hold for all processes of a store."""

from __future__ import annotations

import errno
from collections.abc import Callable

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import StoreUnavailable
from mailkit.imap.protocol import IMAPFactory
from mailkit.seats import Seats
from mailkit.store.sqlite.names import LockedNames


class SeatsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.seats = Seats()

    def test_no_more_than_the_limit(self) -> None:
        taken = [self.seats.take("ann", 3) for _ in range(4)]
        self.assertEqual(taken, [True, True, True, False])
        self.assertTrue(self.seats.take("bob", 3))
        self.assertEqual(self.seats.counts, {"ann": 3, "bob": 1})

    def test_a_seat_that_was_given_back_is_free(self) -> None:
        for _ in range(3):
            self.seats.take("ann", 3)
        self.seats.give_back("ann")
        self.assertTrue(self.seats.take("ann", 3))
        self.assertFalse(self.seats.take("ann", 3))
        for _ in range(3):
            self.seats.give_back("ann")
        self.assertEqual(self.seats.counts, {})

    def test_a_limit_of_none_at_all(self) -> None:
        self.assertFalse(self.seats.take("ann", 0))
        self.assertEqual(self.seats.counts, {})

    def test_where_names_cannot_be_had_those_here_are_counted(self) -> None:
        for error in (OSError(errno.ENOLCK, "no locks"), StoreUnavailable("closed")):
            seats = Seats()

            def fail(name: str, error: Exception = error) -> None:
                raise error

            seats.share("imap account", fail)
            taken = [seats.take("ann", 2) for _ in range(3)]
            self.assertEqual(taken, [True, True, False])
            seats.give_back("ann")
            self.assertEqual(seats.counts, {"ann": 1})


class SharedSeatsTests(SynchronousTestCase):
    """As in processes that have one store open."""

    def setUp(self) -> None:
        directory = self.mktemp()
        self.names = [LockedNames(directory) for _ in range(2)]
        for each in self.names:
            self.addCleanup(each.close)

    def make_seats(self, kind: str = "imap account") -> list[Seats]:
        made = [Seats() for _ in self.names]
        for seats, names in zip(made, self.names, strict=True):
            seats.share(kind, names.try_lock)
        return made

    def test_the_limit_is_that_of_all_together(self) -> None:
        one, other = self.make_seats()
        taken = [seats.take("ann", 5) for _ in range(3) for seats in (one, other)]
        self.assertEqual(taken, [True] * 5 + [False])
        self.assertEqual((one.counts, other.counts), ({"ann": 3}, {"ann": 2}))
        self.assertFalse(one.take("ann", 5))
        other.give_back("ann")
        self.assertTrue(one.take("ann", 5))
        self.assertFalse(other.take("ann", 5))

    def test_what_was_taken_before_others_came_counts_too(self) -> None:
        one, other = Seats(), Seats()
        for _ in range(3):
            one.take("ann", 4)
        one.give_back("ann")
        for seats, names in zip((one, other), self.names, strict=True):
            seats.share("imap account", names.try_lock)
        self.assertEqual([other.take("ann", 4) for _ in range(3)], [True, True, False])
        one.give_back("ann")
        self.assertTrue(other.take("ann", 4))
        self.assertEqual((one.counts, other.counts), ({"ann": 1}, {"ann": 3}))

    def test_one_after_the_other_asks_for_the_same_seat(self) -> None:
        (one, _), other = self.make_seats(), Seats()
        asked: list[str] = []

        def try_lock(name: str) -> Callable[[], None] | None:
            asked.append(name)
            return self.names[1].try_lock(name)

        other.share("imap account", try_lock)
        for seats in [one, other] * 5:
            seats.take("ann", 20)
        asked.clear()
        for _ in range(3):
            other.give_back("ann")
            self.assertTrue(other.take("ann", 20))
        self.assertEqual(asked, [asked[0]] * 3)
        # Unless that is above the limit by now.
        other.give_back("ann")
        self.assertFalse(other.take("ann", 9))
        self.assertEqual(other.counts, {"ann": 4})

    def test_what_else_is_counted_is_counted_apart(self) -> None:
        one, _ = self.make_seats()
        _, other = self.make_seats("ftp account")
        self.assertTrue(one.take("ann", 1))
        self.assertTrue(other.take("ann", 1))

    def test_what_a_process_had_that_ends_is_free(self) -> None:
        one, other = self.make_seats()
        for _ in range(2):
            one.take("ann", 2)
        self.assertFalse(other.take("ann", 2))
        self.names[0].close()
        self.assertEqual([other.take("ann", 2) for _ in range(2)], [True, True])
        # It may still say that its connections have gone.
        one.give_back("ann")
        self.assertFalse(other.take("ann", 2))

    def test_connections_from_one_address(self) -> None:
        clock = Clock()
        factories = [IMAPFactory(clock=clock, max_connections_per_address=2) for _ in self.names]
        for factory, names in zip(factories, self.names, strict=True):
            factory.share_limits("imap", names.try_lock)
        near, far = "127.0.0.1", "192.0.2.7"
        for host, expected in ((near, [b"* OK"] * 4), (far, [b"* OK"] * 2 + [b"* BYE"] * 2)):
            greetings = []
            for factory in factories * 2:
                transport = StringTransport(peerAddress=IPv4Address("TCP", host, 50000))
                factory.buildProtocol(None).makeConnection(transport)
                greetings.append(b" ".join(transport.value().split(b" ")[:2]))
            self.assertEqual(greetings, expected, host)
        for connection in list(factories[0].connections):
            connection.connectionLost()
        self.assertEqual(factories[0].addresses.counts, {})
        self.assertTrue(factories[1].addresses.take(far, 2))
        self.assertFalse(factories[1].addresses.take(far, 2))
