"""What clients must not do, and what twisted.mail gets wrong (one test each)."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.smtp.extension import ExtendedFactory
from tests.smtp.fakes import Server

REPLY = r"^[2345]\d\d[ -]"


class JunkTests(SynchronousTestCase):
    def check(self, answer: bytes) -> None:
        for line in answer.split(b"\r\n")[:-1]:
            self.assertRegex(line.decode("ascii"), REPLY)
        self.assertTrue(not answer or answer.endswith(b"\r\n"))

    def test_octets_without_sense(self) -> None:
        for junk in (
            b"\xff\r\n",
            b"\0\r\n",
            b"MAIL\0FROM:<a@b>\r\n",
            b"MAIL FROM:<a\0@b>\r\n",
            b"\r\r\n",
            b"NOOP\rNOOP\r\n",
            b" NOOP\r\n",
            b"\tNOOP\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\n",
        ):
            server = Server().greet()
            answer = server.send(junk)
            self.assertIn(answer[:3], (b"500", b"501"), junk)
            self.assertEqual(answer.count(b"\r\n"), 1, junk)
            self.assertEqual(server.send(b"NOOP\r\n"), b"250 2.0.0 OK\r\n", junk)

    def test_random_octets(self) -> None:
        for seed in range(30):
            server = Server()
            server.factory.max_errors = 10**6
            octets = random.Random(seed).randbytes(20_000)
            server.protocol.dataReceived(octets)
            for _ in range(5):
                server.clock.advance(0)
            self.check(server.answer())
            self.assertEqual(server.send(b"\r\nNOOP\r\n")[-14:], b"250 2.0.0 OK\r\n", seed)

    @settings(max_examples=200)
    @given(
        st.lists(
            st.sampled_from(
                [
                    b"EHLO a\r\n",
                    b"MAIL FROM:<a@b>",
                    b"RCPT TO:<c@d>\r\n",
                    b"DATA\r\n",
                    b".\r\n",
                    b"\r\n",
                    b"\n",
                    b"\0",
                    b"\xff",
                    b"RSET\r\n",
                    b"AUTH LOGIN\r\n",
                    b"STARTTLS\r\n",
                    b"*\r\n",
                    b"x" * 3000,
                ]
            ),
            max_size=25,
        )
    )
    def test_any_mixture(self, pieces: list[bytes]) -> None:
        server = Server(passwords={"ann": "x"}, peer="127.0.0.1", tls_context=object())
        server.factory.max_errors = 10**6
        for piece in pieces:
            server.protocol.dataReceived(piece)
        self.check(server.answer())
        self.assertFalse(server.closed)
        server.lose()

    def test_a_hundred_megabytes_without_a_line_end(self) -> None:
        server = Server()
        chunk = b"x" * 65536
        for _ in range(1600):
            server.protocol.dataReceived(chunk)
            self.assertLessEqual(len(server.protocol.buffer), 2 * len(chunk))
        self.assertEqual(
            server.send(b"\r\nNOOP\r\n"), b"500 5.5.2 Line too long\r\n250 2.0.0 OK\r\n"
        )

    def test_a_hundred_megabytes_without_a_line_end_in_a_message(self) -> None:
        server = Server(max_size=1_000_000).begin()
        chunk = b"x" * 65536
        for _ in range(1600):
            server.protocol.dataReceived(chunk)
            self.assertEqual(len(server.protocol.buffer), 0)
        spool = server.delivery.spools[0]
        self.assertTrue(spool.closed)
        self.assertIsNone(spool.path)
        answer = server.send(b"\r\n.\r\nNOOP\r\n")
        self.assertEqual([line[:9] for line in answer.splitlines()], [b"552 5.3.4", b"250 2.0.0"])

    def test_thousands_of_pipelined_commands(self) -> None:
        server = Server()
        server.factory.max_idle_commands = 10**6
        server.protocol.dataReceived(b"NOOP\r\n" * 20_000)
        for _ in range(200):
            server.clock.advance(0)
        self.assertEqual(server.answer().count(b"250 2.0.0 OK\r\n"), 20_000)

    def test_others_have_their_turn_meanwhile(self) -> None:
        server = Server()
        server.factory.max_idle_commands = 10**6
        server.protocol.dataReceived(b"NOOP\r\n" * 20_000)
        self.assertLess(server.answer().count(b"250 2.0.0 OK\r\n"), 1000)


class TwistedMailFaultTests(SynchronousTestCase):
    """Section 9 of the design: right here."""

    def test_a_body_line_over_16384_octets_stays_body(self) -> None:
        server = Server().begin()
        line = b"x" * 16_385 + b"\r\n"
        self.assertEqual(server.send(line + b"RSET\r\nMAIL FROM:<eve@example.net>\r\n"), b"")
        self.assertEqual(server.send(b".\r\n").count(b"\r\n"), 1)
        self.assertEqual(
            server.delivery.contents, [line + b"RSET\r\nMAIL FROM:<eve@example.net>\r\n"]
        )

    def test_replies_leave_in_order_when_a_hook_is_slow(self) -> None:
        server = Server().greet()
        server.delivery.slow.add("check_sender")
        server.send(b"MAIL FROM:<a@b>\r\nNOOP\r\nVRFY x\r\n")
        self.assertEqual(server.answer(), b"")
        server.delivery.go_on()
        codes = [line[:3] for line in server.answer().splitlines()]
        self.assertEqual(codes, [b"250", b"250", b"252"])
        self.assertTrue(server.answer().startswith(b"250 2.1.0 "))

    def test_octet_255_is_answered(self) -> None:
        self.assertEqual(Server().send(b"\xff\r\n")[:9], b"500 5.5.2")

    def test_size_of_mail_counts(self) -> None:
        server = Server(max_size=100).greet()
        self.assertEqual(server.say("MAIL FROM:<a@b> SIZE=101")[0][:9], "552 5.3.4")

    def test_unknown_parameters_of_mail_are_refused(self) -> None:
        self.assertEqual(Server().greet().say("MAIL FROM:<a@b> FOO=BAR")[0][:9], "555 5.5.4")

    def test_pipelining_is_announced(self) -> None:
        self.assertIn("250-PIPELINING", Server().say("EHLO a"))

    def test_verbs_are_not_attributes(self) -> None:
        for verb in ("connectionLost", "state", "__init__", "run_command", "UNKNOWN", "MAIL_FROM"):
            self.assertEqual(Server().say(verb)[0][:9], "500 5.5.2", verb)

    def test_the_authorization_identity_is_not_thrown_away(self) -> None:
        server = Server(passwords={"ann": "secret"}, tls=True).greet()
        server.send(b"AUTH PLAIN Ym9iAGFubgBzZWNyZXQ=\r\n")
        server.clock.advance(1)
        self.assertEqual(server.answer()[:9], b"535 5.7.8")

    def test_an_extension_needs_no_private_names(self) -> None:
        server = Server(factory_class=ExtendedFactory)
        self.assertIn("250 XCOLOR RED GREEN", server.say("EHLO a"))
        self.assertEqual(server.say("XCOLOR blue"), ["250 2.0.0 blue"])
        reply = server.say("MAIL FROM:<a@b> XCOLOR=RED")
        self.assertEqual(reply, ["250 2.1.0 Sender is red"])


class InputTests(SynchronousTestCase):
    def test_input_is_paused_while_a_command_waits(self) -> None:
        server = Server().greet()
        server.realm.slow = Deferred()
        server.send(b"MAIL FROM:<a@b>\r\n")
        server.send(b"NOOP\r\n" * 60_000)
        self.assertEqual(server.transport.producerState, "paused")
        server.factory.max_idle_commands = 10**6
        server.realm.slow.callback(None)
        for _ in range(400):
            server.clock.advance(0)
        self.assertEqual(server.transport.producerState, "producing")
        self.assertEqual(server.answer().count(b"250 2.0.0 OK\r\n"), 60_000)

    def test_the_fake_transport_pretends_well(self) -> None:
        server = Server(tls=True)
        self.assertTrue(ISSLTransport.providedBy(server.transport))
        self.assertTrue(server.protocol.encrypted)
        self.assertFalse(Server().protocol.encrypted)
