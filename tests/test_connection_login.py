"""Logging in over the loop that all protocols share, and when that is safe."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred

from tests.line_protocol import ConnectionTestCase, LineFactory, Transport


class LoginTests(ConnectionTestCase):
    def test_right_password(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"LOGIN ann secret\n")
        self.assertEqual(transport.read(), b"welcome ann\n")
        self.lose(connection)
        self.assertEqual(self.factory.events, ["lines login ann", "closed", "logout ann"])

    def test_second_login_ends_the_first(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"LOGIN ann secret\nLOGIN bob hidden\n")
        self.assertEqual(transport.read(), b"welcome ann\nwelcome bob\n")
        self.assertEqual(self.factory.events[-1], "logout ann")

    def test_wrong_password_is_answered_ever_later(self) -> None:
        connection, transport = self.talk()
        for number, delay in enumerate((1, 2, 4, 8, 8)):
            connection.dataReceived(b"LOGIN ann guess%d\n" % number)
            self.clock.advance(delay - 0.5)
            self.assertEqual(transport.read(), b"")
            self.clock.advance(0.5)
            self.assertEqual(transport.read(), b"wrong\n")
        self.assertTrue(transport.disconnecting)

    def test_unknown_user_looks_like_a_wrong_password(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"LOGIN nobody guess\n")
        self.clock.advance(1)
        self.assertEqual(transport.read(), b"wrong\n")

    def test_identity_of_somebody_else(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"LOGIN ann secret bob\n")
        self.clock.advance(1)
        self.assertEqual(transport.read(), b"not for them\n")
        connection.dataReceived(b"LOGIN ann secret ann\n")
        self.assertEqual(transport.read(), b"welcome ann\n")

    def test_nobody_can_log_in_without_a_portal(self) -> None:
        self.factory.portal = None
        connection, transport = self.talk()
        connection.dataReceived(b"LOGIN ann secret\n")
        self.clock.advance(1)
        self.assertEqual(transport.read(), b"wrong\n")

    def test_connection_lost_during_the_delay(self) -> None:
        connection, _ = self.talk()
        connection.dataReceived(b"LOGIN ann guess\n")
        self.lose(connection)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_connection_lost_during_login(self) -> None:
        self.factory.realm.gate = Deferred()
        connection, _ = self.talk()
        connection.dataReceived(b"LOGIN ann secret\n")
        self.lose(connection)
        self.assertEqual(self.factory.events, ["lines login ann", "closed"])


class PlaintextTests(ConnectionTestCase):
    def test_where_passwords_may_be_sent_without_tls(self) -> None:
        for host, allowed in (
            ("127.0.0.1", True),
            ("::1", True),
            ("::ffff:127.0.0.1", True),
            ("192.0.2.1", False),
        ):
            connection, _ = self.connect(Transport(host))
            self.assertEqual(connection.may_send_plaintext_passwords(), allowed, host)

    def test_unless_the_operator_says_so(self) -> None:
        self.factory = LineFactory(allow_plaintext_passwords=True)
        connection, _ = self.connect()
        self.assertTrue(connection.may_send_plaintext_passwords())

    def test_unix_socket(self) -> None:
        transport = Transport()
        transport.peerAddr = transport.hostAddr = UNIXAddress(None)
        connection, _ = self.connect(transport)
        self.assertTrue(connection.may_send_plaintext_passwords())
        self.assertEqual((connection.info().peer, connection.info().peer_port), ("", 0))

    def test_info(self) -> None:
        connection, _ = self.connect()
        info = connection.info()
        self.assertEqual((info.protocol, info.peer, info.peer_port), ("lines", "192.0.2.1", 54321))
        self.assertFalse(info.tls)

    def test_address_that_a_proxy_tells_in_its_first_octets(self) -> None:
        transport = Transport("127.0.0.1")
        connection, _ = self.connect(transport)
        self.assertTrue(connection.may_send_plaintext_passwords())
        self.assertEqual(connection.info().peer, "127.0.0.1")
        transport.peerAddr = IPv4Address("TCP", "192.0.2.7", 1234)
        connection.dataReceived(b"ECHO 1\n")
        self.assertEqual(connection.info().peer, "192.0.2.7")
        self.assertFalse(connection.may_send_plaintext_passwords())


class StartTLSTests(ConnectionTestCase):
    def test_what_came_before_is_dropped(self) -> None:
        self.factory = LineFactory(tls_context="context")
        connection, transport = self.talk()
        self.assertTrue(connection.can_start_tls)
        connection.dataReceived(b"TLS\nECHO injected\n")
        self.assertEqual((transport.read(), transport.tls), (b"go ahead\n", "context"))
        connection.dataReceived(b"ECHO 1\n")
        self.assertEqual(transport.read(), b"1\n")

    def test_unfinished_line_is_dropped_too(self) -> None:
        self.factory = LineFactory(tls_context="context")
        connection, transport = self.talk()
        connection.dataReceived(b"TLS\nECHO injec")
        transport.read()
        connection.dataReceived(b"ECHO 1\n")
        self.assertEqual(transport.read(), b"1\n")

    def test_not_offered_without_a_context(self) -> None:
        connection, _ = self.talk()
        self.assertFalse(connection.can_start_tls)
