"""LMTP (RFC 2033): its own hello, and a reply for each recipient."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import (
    MailError,
    MessageRefused,
    NoSuchRecipient,
    OverQuota,
    RelayDenied,
    StoreUnavailable,
    TemporaryFailure,
)
from mailkit.model import Recipient
from mailkit.smtp.extensions.settings import ExtensionSettings
from mailkit.smtp.lmtp import LMTPFactory
from tests.smtp.fakes import Server


class LMTPServer(Server):
    factory_class = LMTPFactory

    def greet(self) -> LMTPServer:
        assert self.say("LHLO queue.example")[0].startswith("250-")
        return self

    def end(self, content: bytes = b"Subject: hi\r\n") -> list[str]:
        """The replies to the end of a message."""
        return self.send(content + b".\r\n").decode().splitlines()


class HelloTests(SynchronousTestCase):
    """RFC 2033 section 4.1 and 5."""

    def test_greeting_and_lhlo(self) -> None:
        server = LMTPServer()
        self.assertEqual(server.answer(), b"220 mx.example.org LMTP ready\r\n")
        lines = [line[4:] for line in server.say("LHLO queue.example")]
        self.assertEqual(lines[0], "mx.example.org greets queue.example")
        for extension in ("PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SIZE 52428800"):
            self.assertIn(extension, lines)
        self.assertEqual(server.say("lhlo queue.example")[0][:3], "250")

    def test_helo_and_ehlo_are_smtp(self) -> None:
        server = LMTPServer()
        for verb in ("HELO", "EHLO"):
            (reply,) = server.say(f"{verb} queue.example")
            self.assertEqual(reply, "500 5.5.1 This is LMTP, begin with LHLO")
        self.assertEqual(server.say("MAIL FROM:<>")[0], "503 5.5.1 Send LHLO first")

    def test_lhlo_is_not_smtp(self) -> None:
        server = Server()
        self.assertEqual(server.say("LHLO x")[0], "500 5.5.1 This is SMTP, begin with EHLO")
        self.assertEqual(server.say("MAIL FROM:<>")[0], "503 5.5.1 Send EHLO first")

    def test_help_names_lhlo_alone(self) -> None:
        verbs = LMTPServer().say("HELP")[1].removeprefix("214-2.0.0 ").split()
        self.assertIn("LHLO", verbs)
        self.assertEqual({"HELO", "EHLO"} & set(verbs), set())

    def test_nobody_logs_in(self) -> None:
        server = LMTPServer(peer="127.0.0.1", passwords={"ann": "x"})
        self.assertFalse(any("AUTH" in line for line in server.say("LHLO x")))
        self.assertEqual(server.say("AUTH PLAIN AGFubgB4")[0][:9], "502 5.5.1")

    def test_what_a_server_must_have(self) -> None:
        for name in ("PIPELINING", "ENHANCEDSTATUSCODES"):
            extensions = ExtensionSettings(without=[name])
            error = self.assertRaises(ValueError, LMTPServer, extensions=extensions)
            self.assertIn(name, str(error))
        server = LMTPServer(extensions=ExtensionSettings(without=["SMTPUTF8"]))
        self.assertFalse(any("SMTPUTF8" in line for line in server.say("LHLO x")))


class RecipientTests(SynchronousTestCase):
    """RFC 2033 section 4.2."""

    def test_a_reply_for_each_in_their_order(self) -> None:
        errors: list[tuple[str, MailError | None, str]] = [
            ("ann", None, "250 2.0.0 <ann@example.org> OK, stored as "),
            ("full", OverQuota(), "552 5.2.2 <full@example.org>: The mailbox is full"),
            ("gone", NoSuchRecipient(), "550 5.1.1 <gone@example.org>: No such user here"),
            ("away", RelayDenied(), "550 5.7.1 <away@example.org>: This server does not relay"),
            ("later", TemporaryFailure(), "451 4.3.0 <later@example.org>: Temporary failure"),
            ("store", StoreUnavailable(), "451 4.3.0 <store@example.org>: The mail store"),
            ("odd", MessageRefused("not here"), "554 5.6.0 <odd@example.org>: not here"),
            ("bob", None, "250 2.0.0 <bob@example.org> OK, stored as "),
        ]
        server = LMTPServer()
        server.delivery.failing = {name: error for name, error, _ in errors if error}
        server.begin(*(f"{name}@example.org" for name, _, _ in errors))
        lines = server.end()
        self.assertEqual(len(lines), len(errors))
        for line, (_, _, expected) in zip(lines, errors, strict=True):
            self.assertTrue(line.startswith(expected), line)
        self.assertIn(b"with LMTP id", server.delivery.received[0][1])

    def test_the_same_recipient_twice_gets_two(self) -> None:
        server = LMTPServer().begin("bob@example.org", "eve@example.org", "bob@example.org")
        names = [line.split("<")[1].split("@")[0] for line in server.end()]
        self.assertEqual(names, ["bob", "eve", "bob"])

    def test_refused_recipients_get_none(self) -> None:
        server = LMTPServer().greet()
        server.delivery.unknown["gone"] = NoSuchRecipient()
        replies = server.say(
            "MAIL FROM:<a@b.example>", "RCPT TO:<gone@example.org>", "RCPT TO:<bob@example.org>"
        )
        self.assertEqual([reply[:3] for reply in replies], ["250", "550", "250"])
        server.say("DATA")
        self.assertEqual(len(server.end()), 1)

    def test_data_without_a_recipient(self) -> None:
        server = LMTPServer().greet()
        server.delivery.unknown["gone"] = NoSuchRecipient()
        replies = server.say("MAIL FROM:<a@b.example>", "RCPT TO:<gone@example.org>", "DATA")
        self.assertEqual(replies[-1], "503 5.5.1 No valid recipients")

    def test_what_fails_for_all_is_told_for_each(self) -> None:
        def fail(**trouble: Exception) -> LMTPServer:
            server = LMTPServer(max_size=1000)
            server.delivery.trouble.update(trouble)
            server.begin("bob@example.org", "eve@example.org")
            return server

        for server, content, expected in (
            (fail(), b"x" * 2000 + b"\r\n", "552 5.3.4 "),
            (fail(), b"bare\nline\r\n", "550 5.5.2 "),
            (fail(deliver=StoreUnavailable()), b"", "451 4.3.0 "),
            (fail(deliver=RuntimeError("bug")), b"", "451 4.3.0 Something went wrong"),
        ):
            lines = server.end(content)
            self.assertEqual([line.startswith(expected) for line in lines], [True, True], lines)
            self.assertEqual(server.say("NOOP"), ["250 2.0.0 OK"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_failure_for_all_is_logged_once(self) -> None:
        server = LMTPServer()
        server.delivery.trouble["deliver"] = StoreUnavailable()
        server.begin("bob@example.org", "eve@example.org")
        with capturedLogs() as events:
            server.end()
        lines = [line for event in events if "not taken" in (line := formatEvent(event) or "")]
        self.assertEqual(len(lines), 1, lines)

    def test_edits_of_the_envelope_change_no_count(self) -> None:
        # As hooks may do: one recipient more, another one less.
        server = LMTPServer().begin("bob@example.org", "eve@example.org")
        envelope: Any = server.protocol.session.envelope
        added = Recipient(envelope.recipients[0].path._replace(local_part="added"))
        envelope.recipients[:] = [added, envelope.recipients[1]]
        server.delivery.failing["eve"] = OverQuota()
        codes = [(line[:3], line.split("<")[1].split("@")[0]) for line in server.end()]
        self.assertEqual(codes, [("250", "bob"), ("552", "eve")])

    def test_counts_start_again_with_each_transaction(self) -> None:
        server = LMTPServer().begin("bob@example.org", "eve@example.org")
        server.say("x", ".")
        server.say("MAIL FROM:<>", "RCPT TO:<bob@example.org>", "RSET")
        server.begin("bob@example.org")
        self.assertEqual(len(server.end()), 1)

    def test_pipelined_and_slow(self) -> None:
        server = LMTPServer().greet()
        server.delivery.slow.add("deliver")
        answer = server.send(
            b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<eve@example.org>\r\nDATA\r\n"
        )
        self.assertEqual(answer.count(b"\r\n"), 4)
        self.assertEqual(server.send(b"x\r\n.\r\nMAIL FROM:<>\r\nDATA\r\n"), b"")
        server.delivery.go_on()
        codes = [line[:3] for line in server.answer().decode().splitlines()]
        self.assertEqual(codes, ["250", "250", "250", "503"])

    def test_every_split_gives_the_same_dialogue(self) -> None:
        octets = (
            b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<full@example.org>\r\n"
            b"DATA\r\n.\r\n.\r\nQUIT\r\n"
        )

        def talk(at: int) -> list[str]:
            server = LMTPServer()
            server.delivery.failing["full"] = OverQuota()
            answer = server.send(octets[:at]) + server.send(octets[at:])
            return [line[:9] for line in answer.decode().splitlines()]

        whole = talk(len(octets))
        self.assertEqual(whole[-4:], ["250 2.0.0", "552 5.2.2", "500 5.5.2", "221 2.0.0"])
        for at in range(len(octets)):
            self.assertEqual(talk(at), whole, at)


class ChunkTests(SynchronousTestCase):
    """RFC 2033 section 4.3."""

    def test_the_last_chunk_gets_a_reply_for_each(self) -> None:
        server = LMTPServer().greet()
        server.delivery.failing["full"] = OverQuota()
        server.say("MAIL FROM:<>", "RCPT TO:<bob@example.org>", "RCPT TO:<full@example.org>")
        lines = server.send(b"BDAT 4\r\nx\r\nyBDAT 2 LAST\r\n\r\n").decode().splitlines()
        self.assertEqual([line[:9] for line in lines], ["250 2.0.0", "250 2.0.0", "552 5.2.2"])
        self.assertEqual(server.delivery.contents, [b"x\r\ny\r\n"])

    def test_what_is_wrong_is_told_for_each(self) -> None:
        server = LMTPServer(max_size=5).greet()
        server.say("MAIL FROM:<>", "RCPT TO:<bob@example.org>", "RCPT TO:<eve@example.org>")
        lines = server.send(b"BDAT 6\r\n1234\r\nBDAT 0 LAST\r\n").decode().splitlines()
        self.assertEqual([line[:9] for line in lines], ["552 5.3.4"] * 3)

    def test_without_a_recipient_the_last_chunk_gets_none(self) -> None:
        server = LMTPServer().greet()
        server.delivery.unknown["gone"] = NoSuchRecipient()
        answer = server.send(
            b"MAIL FROM:<>\r\nRCPT TO:<gone@example.org>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"
        )
        codes = [line[:3] for line in answer.decode().splitlines()]
        self.assertEqual(codes, ["250", "550", "250"])
        # Other chunks are commands like any other.
        self.assertEqual(server.send(b"BDAT 1\r\nx")[:9], b"503 5.5.1")
        # And the transaction is over.
        self.assertEqual(server.say("MAIL FROM:<>")[0][:3], "250")

    def test_sent_ahead_of_the_refusal_of_its_sender(self) -> None:
        server = LMTPServer().greet()
        answer = server.send(
            b"MAIL FROM:<> X=1\r\nRCPT TO:<bob@example.org>\r\nBDAT 3 LAST\r\nx\r\nNOOP\r\n"
        )
        codes = [line[:3] for line in answer.decode().splitlines()]
        self.assertEqual(codes, ["555", "503", "250"])


class UNIXTests(SynchronousTestCase):
    def test_a_peer_without_an_address(self) -> None:
        server = LMTPServer(peer="", max_connections_per_address=1)
        for _ in range(3):
            # Beside those that are there: they count for no address.
            server.connect()
        server.begin()
        server.end()
        envelope, message = server.delivery.received[0]
        self.assertEqual((envelope.connection.peer, envelope.connection.protocol), ("", "lmtp"))
        self.assertTrue(message.startswith(b"Received: from queue.example\r\n\tby mx.example.org"))
