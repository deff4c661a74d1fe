"""What clients, networks and users may do in a time."""

from __future__ import annotations

from typing import Any

from mailkit.checks.rates import Rates
from mailkit.hooks import MailSession
from tests.checks.support import CheckCase, make_envelope, make_recipient, make_session

ANN = "ann@example.org"


class RatesCase(CheckCase):
    def make(self, **settings: Any) -> Rates:
        self.check = Rates(clock=self.reactor, **settings)
        return self.check

    def connect(self, peer: str = "198.51.100.7", **fields: Any) -> MailSession | None:
        """A client that was let in, or None."""
        session = make_session(peer, **fields)
        answer = self.ask(self.check.connect, session)
        if answer is None:
            return session
        self.assert_refused(answer, 421, "4.7.0", "Too many")
        self.assertTrue(answer.close)
        self.leave(session)
        return None

    def leave(self, session: MailSession) -> None:
        self.ask(self.check.disconnect, session)

    def log_in(self, session: MailSession, account: str = ANN) -> Any:
        session.account = account
        return self.ask(self.check.auth, session)

    def send(self, session: MailSession) -> Any:
        return self.ask(self.check.mail, session, make_envelope(session))

    def add_recipient(self, session: MailSession) -> Any:
        return self.ask(self.check.rcpt, session, make_envelope(session), make_recipient())

    def client(self, peer: str = "198.51.100.7", **fields: Any) -> MailSession:
        session = self.connect(peer, **fields)
        assert session is not None
        return session


class ConnectionTests(RatesCase):
    def test_connections_of_an_address(self) -> None:
        self.make(address_connections="3/minute")
        for _ in range(3):
            self.leave(self.client())
        self.assertIsNone(self.connect())
        self.client("198.51.100.8")
        self.clock.advance(120)
        self.client()

    def test_connections_of_a_network(self) -> None:
        self.make(network_connections="3/minute")
        for number in range(3):
            self.client(f"198.51.100.{number}")
        self.assertIsNone(self.connect("198.51.100.77"))
        self.client("198.51.101.1")
        for number in range(3):
            self.client(f"2001:db8::{number}")
        self.assertIsNone(self.connect("2001:db8::ffff"))

    def test_connections_at_the_same_time(self) -> None:
        self.make(address_simultaneous=2, network_simultaneous=3)
        first, _ = self.client(), self.client()
        self.assertIsNone(self.connect())
        self.client("198.51.100.8")
        self.assertIsNone(self.connect("198.51.100.9"))
        self.leave(first)
        # Told twice, it counts once.
        self.leave(first)
        self.client()
        self.assertIsNone(self.connect("198.51.100.9"))

    def test_nothing_is_left_behind(self) -> None:
        self.make()
        sessions = [self.client() for _ in range(5)]
        for session in sessions:
            self.log_in(session)
        for session in sessions:
            self.leave(session)
        self.assertEqual(len(self.check._simultaneous), 0)

    def test_who_has_no_limits(self) -> None:
        self.make(address_connections="1/day", exempt=["203.0.113.0/24"])
        for peer in ("127.0.0.1", "::1", "", "203.0.113.5"):
            for _ in range(3):
                self.client(peer)
        for _ in range(3):
            self.client(protocol="lmtp")


class TransactionTests(RatesCase):
    def test_messages(self) -> None:
        self.make(address_messages="2/minute")
        session = self.client()
        self.assertIsNone(self.send(session))
        self.assertIsNone(self.send(self.client()))
        answer = self.send(session)
        self.assert_refused(answer, 450, "4.7.1", "Too many messages, try again in")
        self.assertFalse(answer.close)

    def test_recipients(self) -> None:
        self.make(address_recipients="2/minute")
        session = self.client()
        for _ in range(2):
            self.assertIsNone(self.add_recipient(session))
        self.assert_refused(self.add_recipient(session), 452, "4.7.1", "Too many recipients")

    def test_users_count_for_their_account(self) -> None:
        self.make(address_messages="1/hour", account_messages="3/hour")
        for protocol, peer in (("submission", "198.51.100.7"), ("smtp", "127.0.0.1")):
            for _ in range(3 if peer == "198.51.100.7" else 0):
                session = self.client(peer, protocol=protocol)
                self.assertIsNone(self.log_in(session))
                self.assertIsNone(self.send(session))
            session = self.client(peer, protocol=protocol)
            self.log_in(session)
            self.assert_refused(self.send(session), 450, "4.7.1")
        other = self.client()
        self.log_in(other, "bob@example.org")
        self.assertIsNone(self.send(other))
        # The address has still its own message.
        self.assertIsNone(self.send(self.client()))

    def test_connections_of_an_account(self) -> None:
        self.make(account_simultaneous=1)
        first = self.client()
        self.assertIsNone(self.log_in(first))
        self.assertIsNone(self.log_in(first))
        second = self.client("203.0.113.1")
        self.assert_refused(self.log_in(second), 421, "4.7.0", "from your account")

    def test_a_login_that_starttls_has_ended(self) -> None:
        self.make(address_messages="1/hour", account_messages="1/hour")
        session = self.client()
        self.log_in(session)
        self.assertIsNone(self.send(session))
        session.account = None
        self.assertIsNone(self.send(session))
        self.assert_refused(self.send(session), 450, "4.7.1")

    def test_no_limits_at_all(self) -> None:
        none = dict.fromkeys(("address_messages", "network_messages"), "")
        self.make(**none, address_simultaneous=0, network_simultaneous=0)
        session = self.client()
        for _ in range(500):
            self.send(session)
        self.assertIsNone(self.send(session))

    def test_a_rate_that_is_none(self) -> None:
        self.assertRaises(ValueError, self.make, address_messages="many")


class ErrorTests(RatesCase):
    def test_errors_end_the_connection_and_keep_the_next_out(self) -> None:
        self.make(address_errors="5/10m", tarpit_after=100)
        session = self.client()
        session.errors = 4
        self.assertIsNone(self.send(session))
        session.errors = 5
        answer = self.send(session)
        self.assert_refused(answer, 421, "4.7.0", "Too many errors")
        self.assertTrue(answer.close)
        self.assertIsNone(self.connect())
        self.client("198.51.100.8")
        self.clock.advance(1200)
        self.client()

    def test_errors_at_the_end_of_a_connection_count(self) -> None:
        self.make(address_errors="5/10m")
        session = self.client()
        session.errors = 5
        self.leave(session)
        self.assertIsNone(self.connect())

    def test_errors_before_a_login_are_those_of_the_address(self) -> None:
        self.make(address_errors="5/10m", account_errors="1/10m", tarpit_after=100)
        session = self.client()
        session.errors = 5
        self.log_in(session)
        self.assertIsNone(self.send(session))
        self.assertIsNone(self.connect())

    def test_replies_come_slower_with_each_error(self) -> None:
        self.make(tarpit_after=2, tarpit_delay=1.5, tarpit_max=4.0)
        session = self.client()
        for errors, delay in ((2, 0.0), (3, 1.5), (4, 3.0), (50, 4.0)):
            session.errors = errors
            waiting = self.begin(self.check.mail, session, make_envelope(session))
            if delay:
                self.assertNoResult(waiting)
                self.clock.advance(delay - 0.1)
                self.assertNoResult(waiting)
                self.clock.advance(0.1)
            self.assertIsNone(self.successResultOf(waiting))
        waiting = self.begin(self.check.ehlo, session)
        self.assertNoResult(waiting)
        self.clock.advance(4)
        self.successResultOf(waiting)
