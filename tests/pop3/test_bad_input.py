"""Junk, wrong states, overlong lines: a clear reply, a limit, and the session stays in step."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from tests.pop3.fakes import FakeWritableMailbox, Server


class BadInputTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(FakeWritableMailbox(b"A: b\r\n"))
        self.client = self.server.connect()
        self.client.read()

    def ask(self, line: bytes) -> bytes:
        return self.client.ask(line)

    def test_what_is_no_command(self) -> None:
        for line in (
            b"",
            b" ",
            b"\0",
            b"ST\0AT",
            b"\xff\xf4\xff\xfd\x06",
            b"GET / HTTP/1.1",
            b"EHLO x",
        ):
            self.assertIn(
                self.ask(line),
                (
                    b"-ERR That is not a POP3 command\r\n",
                    b"-ERR That command is not known here\r\n",
                ),
            )

    def test_apop_is_not_offered(self) -> None:
        reply = self.ask(b"APOP ann c4c9334bac560ecc979e58001b3e22fb")
        self.assertEqual(reply, b"-ERR APOP is not available here\r\n")

    def test_wrong_state(self) -> None:
        lines = (b"STAT", b"LIST", b"RETR 1", b"DELE 1", b"NOOP", b"RSET", b"TOP 1 1", b"UIDL")
        for line in lines:
            self.assertEqual(self.ask(line), b"-ERR Log in first\r\n")

    def test_quit_before_login(self) -> None:
        self.assertEqual(self.ask(b"QUIT"), b"+OK Goodbye\r\n")
        self.assertTrue(self.client.closed)

    def test_names_of_methods_are_no_commands(self) -> None:
        for line in (b"send", b"user_ann", b"__init__", b"pass_ x", b"list_", b"quit_"):
            self.assertTrue(self.ask(line).startswith(b"-ERR That"))

    def test_a_line_feed_alone_ends_a_line(self) -> None:
        self.client.send(b"USER ann\nPASS secret\nSTAT\n")
        self.assertTrue(self.client.read().endswith(b"+OK 1 6\r\n"))

    def test_a_carriage_return_alone_does_not(self) -> None:
        self.client.send(b"CAPA\rQUIT\r")
        self.assertEqual(self.client.read(), b"")
        self.assertEqual(self.ask(b""), b"-ERR That is not a POP3 command\r\n")

    def test_the_longest_line(self) -> None:
        self.client.send(b"USER " + b"a" * 505 + b"\r\n")
        self.assertEqual(self.client.read(), b"+OK Now send PASS\r\n")
        self.client.send(b"USER " + b"a" * 506 + b"\r\n")
        self.assertEqual(self.client.read(), b"-ERR That line is too long\r\n")

    def test_an_endless_line_costs_no_memory(self) -> None:
        for _ in range(1000):
            self.client.send(b"x" * 10_000)
            self.assertLessEqual(len(self.client.connection.buffer), 10_000)
        self.assertEqual(self.client.read(), b"")
        self.client.send(b"\r\nUSER ann\r\n")
        self.assertEqual(self.client.read(), b"-ERR That line is too long\r\n+OK Now send PASS\r\n")

    def test_too_many_errors_in_a_row_close_the_connection(self) -> None:
        self.client.send(b"EHLO x\r\n" * 18 + b"\0\r\n" + b"CAPA\r\n" + b"EHLO x\r\n" * 19)
        self.assertFalse(self.client.closed)
        self.client.read()
        self.assertEqual(
            self.ask(b"EHLO x"),
            b"-ERR That command is not known here; too many errors, goodbye\r\n",
        )
        self.assertTrue(self.client.closed)
        self.client.send(b"CAPA\r\n")
        self.assertEqual(self.client.read(), b"")

    def test_random_octets(self) -> None:
        noise = random.Random(1939)
        for _ in range(200):
            client = self.server.connect()
            client.send(noise.randbytes(noise.randrange(1, 3000)))
            for line in client.read().splitlines():
                self.assertTrue(line.startswith((b"+OK POP3", b"-ERR That ")))
            client.lose()

    def test_input_behind_a_slow_command_is_bounded(self) -> None:
        mailbox = FakeWritableMailbox(b"A: b\r\n")
        client = Server(mailbox).login()
        mailbox.slow.add("open_message")
        client.send(b"RETR 1\r\n")
        client.send(b"NOOP\r\n" * 50_000)
        self.assertEqual(client.transport.producerState, "paused")
        mailbox.slow.clear()
        mailbox.go_on()
        client.connection.factory.clock.pump([0.0] * 300)  # type: ignore[attr-defined]
        self.assertEqual(client.transport.producerState, "producing")
        self.assertEqual(client.read().count(b"+OK\r\n"), 50_000)

    def test_a_client_that_never_reads_is_dropped(self) -> None:
        client = self.server.login()
        client.connection.pauseProducing()
        client.send(b"RETR 1\r\n")
        self.server.clock.advance(601)
        self.assertTrue(client.transport.disconnected)

    def test_silence_before_login(self) -> None:
        self.server.clock.advance(600)
        self.assertTrue(self.client.closed)
        self.assertEqual(self.client.read(), b"")
