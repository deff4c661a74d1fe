"""Servers that send junk, too much, too slowly, or nothing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.security import TLSPolicy
from mailkit.pop3.client import (
    ClientError,
    ClientSettings,
    ConnectionLost,
    ProtocolError,
    ResponseLimits,
    ServiceRefused,
    TimedOut,
)
from mailkit.pop3.client.settings import TIMEOUTS
from tests.pop3.client.support import CAPA, LOGIN, SETTINGS, Script, Wire, scripted

SMALL = ClientSettings(
    TLSPolicy.none(), SETTINGS.credentials, limits=ResponseLimits(200, 10, 1000, 5000)
)


class JunkTests(SynchronousTestCase):
    def failure(self, wire: Wire, awaitable: object, kind: type[ClientError]) -> str:
        results = wire.start(awaitable)  # type: ignore[arg-type]
        wire.lose()
        with self.assertRaises(kind) as caught:
            wire.result(results)
        self.assertTrue(wire.session.closed)
        return caught.exception.text

    def test_a_server_of_another_protocol(self) -> None:
        for greeting in (b"220 ESMTP\r\n", b"* OK IMAP\r\n", b"\r\n", b"+OKAY\r\n", b"\0\xff\r\n"):
            wire = Wire(Script(greeting=greeting))
            text = self.failure(wire, wire.session.open(), ProtocolError)
            self.assertIn("response is none", text)

    def test_answers_that_are_none(self) -> None:
        for command, answer in (
            ("stat", b"+OK\r\n"),
            ("stat", b"+OK two 5\r\n"),
            ("stat", b"+OK 1\r\n"),
            ("stat", b"+OK -1 5\r\n"),
            ("list", b"+OK\r\n1\r\n.\r\n"),
            ("list", b"+OK\r\n0 5\r\n.\r\n"),
            ("list", b"+OK\r\n1 x\r\n.\r\n"),
            ("list", b"+OK\r\n99999999999 5\r\n.\r\n"),
            ("list", b"+OK\r\n\r\n.\r\n"),
            ("uidl", b"+OK\r\n1 \r\n.\r\n"),
            ("noop", b"+ \r\n"),
            ("noop", b"+OK\r\n+OK\r\n"),
        ):
            wire = scripted((command.upper().encode(), answer))
            results = wire.start(getattr(wire.session, command)())
            if command != "noop" or answer == b"+ \r\n":
                with self.assertRaises(ProtocolError, msg=answer):
                    wire.result(results)
            self.assertTrue(wire.session.closed, answer)

    def test_an_answer_for_another_message(self) -> None:
        wire = scripted((b"LIST 1", b"+OK 2 5\r\n"))
        self.assertIn("message 2", self.failure(wire, wire.session.size(1), ProtocolError))

    def test_what_is_too_long(self) -> None:
        lines = b"".join(b"%d 1\r\n" % number for number in range(1, 12))
        for command, answer in (
            ("stat", b"+OK 1 " + b"1" * 300),
            ("stat", b"+OK 1 2 " + b"x" * 300 + b"\r\n"),
            ("list", b"+OK\r\n" + lines),
            ("uidl", b"+OK\r\n" + b"".join(b"%d %b\r\n" % (n, b"u" * 150) for n in range(1, 9))),
            ("list", b"+OK\r\n1 " + b"1" * 300),
        ):
            for piece in (None, 1, 50):
                wire = scripted((command.upper().encode(), answer), settings=SMALL, piece=piece)
                text = self.failure(wire, getattr(wire.session, command)(), ProtocolError)
                self.assertRegex(text, "too long|more than 200 octets")

    def test_a_message_that_is_too_large(self) -> None:
        wire = scripted((b"RETR 1", b"+OK\r\n" + b"x" * 5001), settings=SMALL)
        self.assertIn("too large", self.failure(wire, wire.session.retr(1), ProtocolError))

    def test_responses_without_end_that_nobody_wants(self) -> None:
        wire = scripted()
        wire.pending += b"+OK\r\n" * 3
        wire.flush()
        self.assertIn(
            "more than it was asked", self.failure(wire, wire.session.noop(), ProtocolError)
        )

    def test_a_message_that_breaks_off(self) -> None:
        wire = scripted((b"RETR 1", b"+OK\r\nSubject: x\r\n"))
        self.failure(wire, wire.session.retr(1), ConnectionLost)

    def test_texts_are_cleaned(self) -> None:
        wire = Wire(Script(greeting=b"-ERR \x1b[31mred\x07 \xff\r\n"))
        text = self.failure(wire, wire.session.open(), ServiceRefused)
        self.assertEqual(text, "?[31mred? \ufffd")

    def test_every_octet_in_place_of_an_answer(self) -> None:
        for octet in range(256):
            wire = scripted((b"STAT", bytes((octet,)) + b"\r\n.\r\n"))
            results = wire.start(wire.session.stat())
            wire.lose()
            with self.assertRaises((ProtocolError, ConnectionLost)):
                wire.result(results)


class SilenceTests(SynchronousTestCase):
    def silence(self, wire: Wire, results: list[object], seconds: float) -> TimedOut:
        wire.clock.advance(seconds - 1)
        wire.flush()
        self.assertEqual(results, [])
        wire.clock.advance(2)
        wire.flush()
        with self.assertRaises(TimedOut) as caught:
            wire.result(results)
        self.assertTrue(wire.transport.aborted)
        return caught.exception

    def test_no_greeting(self) -> None:
        wire = Wire(Script(greeting=b""))
        results = wire.start(wire.session.open())
        error = self.silence(wire, results, TIMEOUTS.greeting)
        self.assertEqual(error.command, "greeting")

    def test_no_answer_to_the_login(self) -> None:
        wire = Wire(Script((b"CAPA", CAPA), (b"USER ann", b"+OK\r\n"), (b"PASS secret", b"")))
        results = wire.start(wire.session.open())
        self.assertEqual(self.silence(wire, results, TIMEOUTS.login).command, "PASS")

    def test_no_answer_to_a_command(self) -> None:
        wire = scripted((b"NOOP", b""))
        results = wire.start(wire.session.noop())
        self.assertEqual(self.silence(wire, results, TIMEOUTS.silence).command, "NOOP")

    def test_an_answer_that_drips(self) -> None:
        wire = scripted((b"RETR 1", b"+OK\r\n"))
        results = wire.start(wire.session.retr(1))
        for _ in range(int(TIMEOUTS.response // 200) - 1):
            wire.clock.advance(200)
            wire.pending += b"x"
            wire.flush()
            self.assertEqual(results, [])
        wire.clock.advance(200)
        wire.pending += b"x"
        wire.flush()
        with self.assertRaises(TimedOut):
            wire.result(results)

    def test_no_answer_to_quit(self) -> None:
        wire = scripted((b"DELE 1", b"+OK\r\n"), (b"QUIT", b""))
        wire.run(wire.session.dele(1))
        results = wire.start(wire.session.quit())
        wire.clock.advance(TIMEOUTS.quit + 1)
        wire.flush()
        self.assertEqual(results[0].removed, None)

    def test_all_that_wait_are_told(self) -> None:
        wire = scripted((b"NOOP", b""), (b"STAT", b""))
        results = [wire.start(wire.session.noop()), wire.start(wire.session.stat())]
        wire.lose()
        for each in results:
            self.assertRaises(ConnectionLost, wire.result, each)
        self.assertRaises(ConnectionLost, wire.run, wire.session.list())

    def test_a_login_that_ends_half_way(self) -> None:
        wire = Wire(Script(*LOGIN[:2]))
        results = wire.start(wire.session.open())
        wire.lose()
        with self.assertRaises(ConnectionLost) as caught:
            wire.result(results)
        self.assertEqual(caught.exception.command, "PASS")
