"""MAIL, RCPT, DATA and what follows, with backends fast and slow, well and ill."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import classImplementsOnly

from mailkit.errors import (
    LimitExceeded,
    MessageRefused,
    NoSuchRecipient,
    OverQuota,
    RelayDenied,
    SenderRefused,
    StoreUnavailable,
)
from mailkit.interfaces import IMessageDelivery
from mailkit.model import Path
from tests.smtp.fakes import FakeDelivery, Server


class EnvelopeTests(SynchronousTestCase):
    def test_a_message(self) -> None:
        server = Server().begin("bob@example.org", "eve@example.org")
        answer = server.send(b"Subject: hi\r\n\r\n..dot\r\nbye\r\n.\r\n").decode()
        envelope, _ = server.delivery.received[0]
        self.assertEqual(answer, f"250 2.0.0 OK, stored as {envelope.transaction_id}\r\n")
        self.assertEqual(server.delivery.contents, [b"Subject: hi\r\n\r\n.dot\r\nbye\r\n"])
        self.assertEqual(envelope.reverse_path, Path("ann", "example.net"))
        self.assertEqual(
            [str(r.path) for r in envelope.recipients], ["bob@example.org", "eve@example.org"]
        )
        self.assertEqual((envelope.helo, envelope.account), ("client.example", None))
        self.assertEqual(envelope.connection.peer, "192.0.2.7")
        self.assertEqual(envelope.connection.protocol, "smtp")
        self.assertTrue(server.delivery.spools[0].closed)

    def test_replies(self) -> None:
        self.assertEqual(
            Server().greet().say("MAIL FROM:<a@b>", "RCPT TO:<bob@example.org>", "DATA"),
            [
                "250 2.1.0 Sender OK",
                "250 2.1.5 Recipient OK",
                "354 Send the message, end it with <CRLF>.<CRLF>",
            ],
        )

    def test_received_field(self) -> None:
        server = Server().begin()
        server.send(b"Subject: hi\r\n.\r\n")
        envelope, message = server.delivery.received[0]
        self.assertRegex(
            message.decode(),
            r"^Received: from client\.example \(\[192\.0\.2\.7\]\)\r\n"
            rf"\tby mx\.example\.org with ESMTP id {envelope.transaction_id}\r\n"
            r"\tfor <bob@example\.org>;\r\n"
            r"\t\w\w\w, \d\d Jan 1970 \d\d:\d\d:40 [+-]\d{4}\r\nSubject: hi\r\n$",
        )

    def test_helo_means_plain_smtp(self) -> None:
        server = Server()
        server.say("HELO old.example", "MAIL FROM:<a@b>", "RCPT TO:<bob@example.org>", "DATA", ".")
        self.assertIn(b"with SMTP id", server.delivery.received[0][1])

    def test_no_two_messages_have_one_id(self) -> None:
        server = Server()
        for _ in range(3):
            server.begin().send(b".\r\n")
        self.assertEqual(len({e.transaction_id for e, _ in server.delivery.received}), 3)

    def test_null_sender_postmaster_and_quotes(self) -> None:
        server = Server().greet()
        replies = server.say("MAIL FROM:<>", "RCPT TO:<Postmaster>", 'RCPT TO:<"a b"@example.org>')
        self.assertEqual([reply[:3] for reply in replies], ["250"] * 3)
        server.say("DATA", ".")
        envelope, _ = server.delivery.received[0]
        self.assertTrue(envelope.reverse_path.is_null)
        self.assertEqual(
            [r.path for r in envelope.recipients],
            [Path("Postmaster", ""), Path("a b", "example.org")],
        )

    def test_order_of_commands(self) -> None:
        server = Server().greet()
        for line, code in (
            ("RCPT TO:<bob@example.org>", "503 5.5.1"),
            ("DATA", "503 5.5.1"),
            ("MAIL FROM:<a@b>", "250 2.1.0"),
            ("MAIL FROM:<a@b>", "503 5.5.1"),
            ("DATA", "554 5.5.1"),
            ("RCPT TO:<bob@example.org>", "250 2.1.5"),
            ("AUTH PLAIN", "503 5.5.1"),
            ("NOOP", "250 2.0.0"),
            ("VRFY bob", "252 2.0.0"),
            ("RSET", "250 2.0.0"),
            ("DATA", "503 5.5.1"),
            ("MAIL FROM:<a@b>", "250 2.1.0"),
        ):
            self.assertEqual(server.say(line)[0][:9], code, line)

    def test_after_a_message_all_is_forgotten(self) -> None:
        server = Server().begin()
        server.send(b".\r\n")
        self.assertEqual(server.say("DATA")[0][:3], "503")
        self.assertEqual(server.say("MAIL FROM:<a@b>")[0][:3], "250")

    def test_bad_addresses_change_nothing(self) -> None:
        server = Server().greet()
        self.assertEqual(server.say("MAIL FROM:ann@example.net")[0][:9], "501 5.1.7")
        self.assertEqual(server.say("MAIL FROM:<a@b>")[0][:3], "250")
        self.assertEqual(server.say("RCPT TO:<bob>")[0][:9], "501 5.1.3")
        self.assertEqual(server.say("RCPT TO:<>")[0][:9], "501 5.1.3")
        self.assertEqual(server.say("DATA")[0][:9], "554 5.5.1")

    def test_number_of_recipients(self) -> None:
        server = Server(max_recipients=100).greet()
        server.say("MAIL FROM:<a@b>")
        for number in range(100):
            self.assertEqual(server.say(f"RCPT TO:<r{number}@example.org>")[0][:3], "250")
        self.assertEqual(server.say("RCPT TO:<more@example.org>")[0][:9], "452 4.5.3")
        server.say("DATA", ".")
        self.assertEqual(len(server.delivery.received[0][0].recipients), 100)

    def test_login_happens_once(self) -> None:
        server = Server()
        for _ in range(3):
            server.begin().send(b".\r\n")
        self.assertEqual([name for name, _ in server.realm.logins], [()])
        self.assertEqual(server.realm.logins[0][1].peer, "192.0.2.7")
        server.lose()
        self.assertEqual(server.realm.logouts, [()])

    def test_a_portal_without_a_delivery_for_everybody(self) -> None:
        for settings in ({"anonymous": False}, {"portal": False}):
            server = Server(**settings).greet()
            self.assertEqual(server.say("MAIL FROM:<a@b>")[0][:9], "530 5.7.0")


class ParameterTests(SynchronousTestCase):
    def mail(self, text: str, **settings: int) -> str:
        self.server = Server(**settings).greet()
        return self.server.say(f"MAIL FROM:<a@b> {text}")[0][:9]

    def test_known(self) -> None:
        for text in (
            "SIZE=100",
            "BODY=7BIT",
            "body=8bitmime SIZE=0",
            "SMTPUTF8",
            "AUTH=<>",
            "AUTH=ann@example.org",
            "AUTH=e+3Dmc2@example.com",
        ):
            self.assertEqual(self.mail(text), "250 2.1.0", text)

    def test_bad_values(self) -> None:
        for text in (
            "SIZE",
            "SIZE=x",
            "SIZE=1 SIZE=2",
            "BODY=BINARYMIME",
            "BODY",
            "SMTPUTF8=1",
            "AUTH",
            "AUTH=ann",
            "AUTH=a+3@b",
        ):
            self.assertEqual(self.mail(text), "501 5.5.4", text)
            self.assertEqual(self.server.say("RCPT TO:<bob@example.org>")[0][:3], "503")

    def test_unknown(self) -> None:
        self.assertEqual(self.mail("RET=HDRS"), "555 5.5.4")
        server = Server().greet()
        server.say("MAIL FROM:<a@b>")
        self.assertEqual(server.say("RCPT TO:<bob@example.org> NOTIFY=NEVER")[0][:9], "555 5.5.4")

    def test_declared_size(self) -> None:
        self.assertEqual(self.mail("SIZE=1000", max_size=1000), "250 2.1.0")
        self.assertEqual(self.mail("SIZE=1001", max_size=1000), "552 5.3.4")

    def test_they_reach_the_delivery(self) -> None:
        self.mail("SIZE=10 BODY=8bitmime SMTPUTF8 AUTH=boss@example.org")
        envelope = self.server.protocol.session.envelope
        assert envelope is not None
        given = {"SIZE": "10", "BODY": "8bitmime", "SMTPUTF8": None, "AUTH": "boss@example.org"}
        self.assertEqual(envelope.parameters, given)
        self.assertEqual((envelope.declared_size, envelope.body), (10, "8BITMIME"))
        # RFC 4954 section 5: an identity that is not trusted becomes <>.
        self.assertEqual((envelope.smtputf8, envelope.submitter), (True, "<>"))

    def test_smtputf8(self) -> None:
        server = Server().greet()
        # RFC 6531 section 3.5
        self.assertEqual(server.say("MAIL FROM:<jürgen@example.net>")[0][:9], "550 5.6.7")
        self.assertEqual(server.say("MAIL FROM:<a@b>")[0][:3], "250")
        self.assertEqual(server.say("RCPT TO:<jürgen@example.org>")[0][:9], "553 5.6.7")
        self.assertEqual(server.say("RCPT TO:<j@bücher.example>")[0][:9], "553 5.6.7")
        server.say("RSET")
        replies = server.say(
            "MAIL FROM:<jürgen@bücher.example> SMTPUTF8", "RCPT TO:<жук@example.org>", "DATA", "."
        )
        self.assertEqual([reply[:3] for reply in replies], ["250", "250", "354", "250"])
        envelope, message = server.delivery.received[0]
        self.assertEqual(envelope.reverse_path, Path("jürgen", "bücher.example"))
        self.assertIn("with UTF8SMTP id", message.decode())
        # The message may go on to a server without SMTPUTF8 (RFC 6531 section 3.7.3).
        self.assertTrue(message.isascii())


class RefusalTests(SynchronousTestCase):
    def test_sender(self) -> None:
        server = Server().greet()
        server.delivery.trouble["check_sender"] = SenderRefused("Not you")
        self.assertEqual(server.say("MAIL FROM:<a@b>"), ["550 5.7.1 Not you"])
        # RFC 2920: what was sent ahead gets replies of its own, never a 354.
        codes = [line[:3] for line in server.say("RCPT TO:<bob@example.org>", "DATA")]
        self.assertEqual(codes, ["503", "503"])

    def test_recipients(self) -> None:
        server = Server().greet()
        server.delivery.unknown = {
            "nobody": NoSuchRecipient(),
            "far": RelayDenied(),
            "full": OverQuota(),
            "many": LimitExceeded(),
        }
        replies = server.say(
            "MAIL FROM:<a@b>",
            "RCPT TO:<nobody@example.org>",
            "RCPT TO:<far@example.com>",
            "RCPT TO:<full@example.org>",
            "RCPT TO:<many@example.org>",
            "DATA",
            "RCPT TO:<bob@example.org>",
            "DATA",
            ".",
        )
        codes = [reply[:9].strip() for reply in replies]
        self.assertEqual(
            codes[:5], ["250 2.1.0", "550 5.1.1", "550 5.7.1", "552 5.2.2", "452 4.5.3"]
        )
        self.assertEqual(codes[5:], ["554 5.5.1", "250 2.1.5", "354 Send", "250 2.0.0"])
        (envelope, _), *others = server.delivery.received
        self.assertEqual([str(r.path) for r in envelope.recipients], ["bob@example.org"])
        self.assertEqual(others, [])

    def test_message(self) -> None:
        server = Server().begin()
        server.delivery.trouble["deliver"] = MessageRefused("Looks like spam")
        self.assertEqual(server.send(b"x\r\n.\r\n"), b"554 5.6.0 Looks like spam\r\n")
        self.assertTrue(server.delivery.spools[0].closed)
        del server.delivery.trouble["deliver"]
        self.assertEqual(server.begin().send(b".\r\n")[:3], b"250")

    def test_what_was_not_taken_is_logged(self) -> None:
        for content in (b"x\r\n.\r\n", b"bare\nline end\r\n.\r\n"):
            server = Server().begin()
            server.delivery.trouble["deliver"] = MessageRefused("Looks like spam")
            with capturedLogs() as events:
                answer = server.send(content).decode().strip()
            (text,) = [formatEvent(event) for event in events]
            self.assertIn("from <ann@example.net> at 192.0.2.7 not taken: 55", text)
            self.assertIn(answer[10:].strip(), text)

    def test_what_was_taken_is_not_logged_as_refused(self) -> None:
        server = Server().begin()
        with capturedLogs() as events:
            self.assertEqual(server.send(b"x\r\n.\r\n")[:3], b"250")
        self.assertEqual([text for e in events if "not taken" in (text := formatEvent(e))], [])

    def test_one_of_two_recipients(self) -> None:
        server = Server().begin("bob@example.org", "eve@example.org")
        server.delivery.failing["eve"] = StoreUnavailable()
        answer = server.send(b"x\r\n.\r\n")
        self.assertEqual(answer[:9], b"451 4.3.0")
        self.assertIn(b"<eve@example.org>: ", answer)

    def test_a_delivery_that_forgets_a_recipient_is_not_believed(self) -> None:
        server = Server().begin()
        server.delivery.forgetful = True
        self.assertEqual(server.send(b"x\r\n.\r\n")[:9], b"451 4.3.0")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_bug_that_loses_the_place_ends_the_connection(self) -> None:
        server = Server().begin()
        server.delivery.spools[0].trouble = cast(Any, KeyError("secret detail"))
        self.assertEqual(
            server.send(b"x\r\n"),
            b"421 4.3.0 mx.example.org Something went wrong here, closing connection\r\n",
        )
        self.assertTrue(server.closed)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_bugs_get_a_generic_reply(self) -> None:
        for method, step in (("check_sender", 0), ("check_recipient", 1), ("deliver", 3)):
            for slow in (False, True):
                server = Server().greet()
                server.delivery.trouble[method] = KeyError("secret detail")
                if slow:
                    server.delivery.slow.add(method)
                lines = ["MAIL FROM:<a@b>", "RCPT TO:<bob@example.org>", "DATA", "."]
                for line in lines[: step + 1]:
                    server.say(line)
                server.delivery.go_on()
                self.assertEqual(
                    server.answer(),
                    b"451 4.3.0 Something went wrong here, please try again later\r\n",
                    (method, slow),
                )
                self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
                # The session goes on, in the state from before the command.
                server.delivery.trouble.clear()
                server.delivery.slow.clear()
                self.assertEqual(server.say(lines[step % 3])[0][:2], "25", (method, slow))

    def test_the_portal_fails(self) -> None:
        server = Server(anonymous=True).greet()
        server.realm.anonymous = None  # type: ignore[assignment]
        server.portal.realm = None  # type: ignore[assignment]
        self.assertEqual(server.say("MAIL FROM:<a@b>")[0][:9], "451 4.3.0")
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_no_room_for_a_spool(self) -> None:
        server = Server().greet()
        server.say("MAIL FROM:<a@b>", "RCPT TO:<bob@example.org>")
        server.delivery.trouble["new_spool"] = OSError(28, "No space left on device")
        self.assertEqual(server.say("DATA")[0][:9], "452 4.3.1")
        server.delivery.trouble.clear()
        self.assertEqual(server.say("DATA")[0][:3], "354")


class ContentTests(SynchronousTestCase):
    def test_too_large_is_swallowed_and_refused_at_the_end(self) -> None:
        server = Server(max_size=1000).begin()
        for _ in range(100):
            self.assertEqual(server.send(b"QUIT\r\nRSET\r\n" * 100), b"")
            self.assertEqual(len(server.protocol.buffer), 0)
        answer = server.send(b".\r\nNOOP\r\n")
        self.assertEqual([line[:9] for line in answer.splitlines()], [b"552 5.3.4", b"250 2.0.0"])
        self.assertEqual(server.delivery.received, [])
        self.assertTrue(server.delivery.spools[0].closed)

    def test_larger_than_declared_is_accepted(self) -> None:
        # RFC 1870 section 6.3
        server = Server().greet()
        server.say("MAIL FROM:<a@b> SIZE=1", "RCPT TO:<bob@example.org>", "DATA")
        self.assertEqual(server.send(b"more than one octet\r\n.\r\n")[:3], b"250")

    def test_bare_line_ends_are_refused_with_a_text_that_helps(self) -> None:
        server = Server().begin()
        answer = server.send(b"a\nb\r\n.\r\nNOOP\r\n")
        self.assertEqual(
            [line[:10] for line in answer.splitlines()], [b"550 5.5.2 ", b"250 2.0.0 "]
        )
        self.assertIn(b"line ends must be CRLF", answer)
        self.assertEqual(server.delivery.received, [])

    def test_bare_line_ends_are_normalised_on_demand(self) -> None:
        server = Server(bare_line_ends="normalise").begin()
        server.send(b"a\nb\rc\r\n.\r\n")
        self.assertEqual(server.delivery.contents, [b"a\r\nb\r\nc\r\n"])

    def test_smuggled_commands_stay_content(self) -> None:
        for end in (b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n"):
            for settings in ("refuse", "normalise"):
                server = Server(bare_line_ends=settings).begin()
                self.assertEqual(server.send(b"a" + end + b"MAIL FROM:<eve@b>\r\nDATA\r\n"), b"")
                self.assertEqual(server.send(b".\r\n").count(b"\r\n"), 1)

    def test_large_header(self) -> None:
        field = b"X: " + b"x" * 95 + b"\r\n"
        for count, body, code in (
            (10, b"y" * 5000, b"250 2.0.0"),
            (11, b"", b"552 5.3.4"),
            (11, b"QUIT\r\n" * 100, b"552 5.3.4"),
        ):
            for size in (1, 7, 100_000):
                server = Server(max_header=1002).begin()
                octets = field * count + b"\r\n" + body + b"\r\n.\r\nNOOP\r\n"
                server.transport.clear()
                for start in range(0, len(octets), size):
                    server.protocol.dataReceived(octets[start : start + size])
                lines = server.answer().splitlines()
                self.assertEqual([line[:9] for line in lines], [code, b"250 2.0.0"], count)

    def test_mail_loop(self) -> None:
        server = Server(max_received=5).begin()
        answer = server.send(b"Received: x\r\n" * 6 + b"\r\n.\r\n")
        self.assertEqual(answer[:9], b"554 5.4.6")
        self.assertEqual(server.delivery.received, [])
        # RFC 5321 section 6.3: never fewer than 100.
        server = Server().begin()
        self.assertEqual(server.send(b"Received: x\r\n" * 100 + b"\r\n.\r\n")[:3], b"250")

    def test_every_octet_passes(self) -> None:
        line = bytes(set(range(256)) - set(b"\r\n")) + b"\r\n"
        server = Server().begin()
        server.send(line + b".\r\n")
        self.assertEqual(server.delivery.contents, [line])

    def test_long_lines_pass_unchanged(self) -> None:
        for length in (998, 10_000, 16_384, 70_000, 1_000_000):
            server = Server().begin()
            content = b"x" * length + b"\r\nRSET\r\n"
            octets = content + b".\r\n"
            for start in range(0, len(octets), 65536):
                answer = server.send(octets[start : start + 65536])
            self.assertEqual(answer.count(b"250 2.0.0"), 1, length)
            self.assertEqual(server.delivery.contents, [content])

    def test_large_content_is_not_in_memory(self) -> None:
        server = Server().begin()
        server.send(b"\r\n")
        for _ in range(64):
            server.send(b"x" * 65534 + b"\r\n")
        spool = server.delivery.spools[0]
        self.assertIsNotNone(spool.path)
        self.assertEqual(len(server.protocol.buffer), 0)
        server.send(b".\r\n")
        self.assertEqual(len(server.delivery.contents[0]), 4 * 1024 * 1024 + 2)

    def test_a_full_disk(self) -> None:
        server = Server().begin()
        server.delivery.spools[0].trouble = OSError(28, "No space left on device")
        self.assertEqual(server.send(b"a\r\n.\r\n")[:9], b"452 4.3.1")
        self.assertEqual(server.delivery.received, [])

    def test_a_smaller_part_of_a_message_in_memory(self) -> None:
        server = Server()
        server.factory.message_memory = 1000
        server.begin()
        server.send(b"x" * 900 + b"\r\n")
        spool = server.delivery.spools[0]
        self.assertIsNone(spool.path)
        server.send(b"x" * 900 + b"\r\n")
        self.assertIsNotNone(spool.path)
        server.lose()

    def test_a_delivery_without_a_spool_of_its_own(self) -> None:
        class Plain(FakeDelivery):
            pass

        classImplementsOnly(Plain, IMessageDelivery)
        server = Server()
        server.realm.anonymous = Plain()
        server.begin().send(b"a\r\n.\r\n")
        self.assertEqual(server.realm.anonymous.contents, [b"a\r\n"])


class PipeliningTests(SynchronousTestCase):
    DIALOGUE = (
        b"EHLO client.example\r\nMAIL FROM:<a@b> SIZE=100\r\nRCPT TO:<bob@example.org>\r\n"
        b"RCPT TO:<nobody@example.org>\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.a\r\n\r\n.\r\n"
        b"FOO\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n.\r\nNOOP\r\nQUIT\r\n"
    )

    def run_dialogue(self, *pieces: bytes) -> tuple[bytes, list[bytes]]:
        server = Server()
        server.factory._id_prefix = "t"
        server.delivery.unknown["nobody"] = NoSuchRecipient()
        for piece in pieces:
            server.protocol.dataReceived(piece)
        self.assertTrue(server.closed)
        return server.answer(), server.delivery.contents

    def test_every_split_gives_the_same_dialogue(self) -> None:
        whole = self.DIALOGUE
        expected = self.run_dialogue(whole)
        codes = [
            line[:4] for line in expected[0].decode().splitlines() if not line.startswith("250-")
        ]
        self.assertEqual(
            " ".join(code.strip() for code in codes),
            "220 250 250 250 550 354 250 500 250 250 250 354 250 250 221",
        )
        self.assertEqual(expected[1], [b"Subject: x\r\n\r\n.\r\na\r\n\r\n", b""])
        for cut in range(1, len(whole)):
            self.assertEqual(self.run_dialogue(whole[:cut], whole[cut:]), expected, cut)
        self.assertEqual(
            self.run_dialogue(*(whole[i : i + 1] for i in range(len(whole)))), expected
        )

    def test_replies_to_pipelined_commands_leave_in_one_write(self) -> None:
        server = Server().greet()
        server.transport.writes.clear()
        server.send(b"MAIL FROM:<a@b>\r\n" + b"RCPT TO:<bob@example.org>\r\n" * 20 + b"DATA\r\n")
        self.assertEqual(len(server.transport.writes), 1)
        self.assertEqual(server.transport.writes[0].count(b"\r\n"), 22)

    def test_data_is_refused_when_nobody_was_accepted(self) -> None:
        server = Server().greet()
        server.delivery.unknown["nobody"] = NoSuchRecipient()
        answer = server.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<nobody@example.org>\r\nDATA\r\n")
        self.assertEqual([line[:3] for line in answer.splitlines()], [b"250", b"550", b"554"])

    def test_slow_hooks_keep_the_order(self) -> None:
        for method in ("check_sender", "check_recipient", "deliver"):
            server = Server().greet()
            server.delivery.slow.add(method)
            server.delivery.unknown["nobody"] = NoSuchRecipient()
            server.send(
                b"MAIL FROM:<a@b>\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<nobody@example.org>\r\n"
                b"DATA\r\nx\r\n.\r\nNOOP\r\nFOO\r\nQUIT\r\n"
            )
            self.assertFalse(server.closed)
            while server.delivery.waiting:
                server.delivery.go_on()
            codes = [line[:3] for line in server.answer().decode().splitlines()]
            self.assertEqual(" ".join(codes), "250 250 550 354 250 250 500 221", method)
            self.assertEqual(server.delivery.contents, [b"x\r\n"])

    def test_replies_before_a_slow_hook_are_not_held_back(self) -> None:
        server = Server().greet()
        server.delivery.slow.add("check_recipient")
        answer = server.send(b"NOOP\r\nMAIL FROM:<a@b>\r\nRCPT TO:<bob@example.org>\r\n")
        self.assertEqual(answer.count(b"\r\n"), 2)

    def test_the_octets_behind_the_final_dot_are_the_next_command(self) -> None:
        server = Server().begin()
        answer = server.send(b"x\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n")
        codes = [line[:3] for line in answer.splitlines()]
        self.assertEqual(codes, [b"250", b"250", b"250", b"354"])


class LossTests(SynchronousTestCase):
    def test_in_the_middle_of_a_message(self) -> None:
        server = Server().begin()
        server.send(b"Subject: half\r\n\r\nno end")
        server.lose()
        self.assertEqual(server.delivery.received, [])
        self.assertTrue(server.delivery.spools[0].closed)
        self.assertEqual(server.realm.logouts, [()])

    def test_half_closed_in_the_middle_of_a_message(self) -> None:
        server = Server().begin()
        server.send(b"no end")
        server.protocol.readConnectionLost()
        self.assertTrue(server.closed)
        server.lose()
        self.assertEqual(server.delivery.received, [])

    def test_a_half_closed_client_gets_its_answers(self) -> None:
        server = Server().begin()
        server.delivery.slow.add("deliver")
        server.send(b"x\r\n.\r\nQUIT\r\n")
        server.protocol.readConnectionLost()
        server.delivery.go_on()
        codes = [line[:3] for line in server.answer().splitlines()]
        self.assertEqual(codes, [b"250", b"221"])

    def test_a_delivery_that_has_begun_is_finished(self) -> None:
        server = Server().begin()
        server.delivery.slow.add("deliver")
        server.send(b"x\r\n.\r\n")
        server.lose()
        self.assertFalse(server.delivery.spools[0].closed)
        self.assertEqual(server.realm.logouts, [])
        server.delivery.go_on()
        self.assertEqual(server.delivery.contents, [b"x\r\n"])
        self.assertTrue(server.delivery.spools[0].closed)
        self.assertEqual(server.realm.logouts, [()])

    def test_a_delivery_that_fails_when_the_client_has_gone(self) -> None:
        server = Server().begin()
        server.delivery.slow.add("deliver")
        server.delivery.trouble["deliver"] = KeyError("bug")
        server.send(b"x\r\n.\r\n")
        server.lose()
        server.delivery.go_on()
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertTrue(server.delivery.spools[0].closed)

    def test_during_a_slow_hook(self) -> None:
        for method in ("check_sender", "check_recipient"):
            server = Server().greet()
            server.delivery.slow.add(method)
            server.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n")
            server.lose()
            self.assertEqual(server.delivery.calls[-1], method)
            self.assertEqual(server.realm.logouts, [()])
            server.delivery.waiting.clear()

    def test_during_the_login(self) -> None:
        server = Server().greet()
        server.realm.slow = Deferred()
        server.send(b"MAIL FROM:<a@b>\r\n")
        server.lose()
        self.assertEqual(server.realm.logins, [])
