"""Milters as hooks of an SMTP server: what they are told, and what comes of their answers."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import NoSuchRecipient
from mailkit.milter.connection import Milter, MilterSettings
from mailkit.milter.hook import MilterHook
from mailkit.milter.packets import Action, Step, packet
from mailkit.model import Path
from tests.milter.fakes import ACCEPT, FakeMilter, MilterServer, modifications
from tests.smtp.fakes import strip_trace
from tests.smtp.hooked import encrypt

UNAVAILABLE = "451 4.7.1 Service unavailable - try again later"


class CommandTests(SynchronousTestCase):
    """What a milter is told."""

    def test_a_whole_message(self) -> None:
        milter = FakeMilter()
        server = MilterServer(milter).greet()
        content = b"Subject:  two\r\n\tlines\r\nX:y\r\n\r\n..body\r\n"
        self.assertEqual(server.deliver(content)[:3], "250")
        server.say("QUIT")
        server.lose()
        self.assertEqual(
            milter.seen[1:],
            [
                (b"C", b"[192.0.2.7]\x004\x9c\x40192.0.2.7\x00"),
                (b"H", b"client.example\0"),
                (b"M", b"<ann@example.net>\0"),
                (b"R", b"<bob@example.org>\0"),
                (b"T", b""),
                (b"L", b"Subject\0 two\n\tlines\0"),
                (b"L", b"X\0y\0"),
                (b"N", b""),
                (b"B", b".body\r\n"),
                (b"E", b""),
                (b"Q", b""),
            ],
        )

    def test_blanks_before_a_value(self) -> None:
        milter = FakeMilter(steps=Step.LEADING_SPACE)
        MilterServer(milter).greet().deliver(b"A:  b\r\nC:d\r\n\r\nx\r\n")
        self.assertEqual(
            [data for code, data in milter.seen if code == b"L"], [b"A\0  b\0", b"C\0d\0"]
        )

    def test_parameters_and_null_sender(self) -> None:
        milter = FakeMilter()
        server = MilterServer(milter).greet()
        server.say("MAIL FROM:<> SIZE=10 BODY=8BITMIME SMTPUTF8", "RCPT TO:<b\xfcb@example.org>")
        self.assertIn((b"M", b"<>\0SIZE=10\0BODY=8BITMIME\0SMTPUTF8\0"), milter.seen)
        self.assertIn((b"R", "<büb@example.org>\0".encode()), milter.seen)

    def test_macros(self) -> None:
        milter = FakeMilter()
        server = MilterServer(milter, client={"passwords": {"ann": "x"}, "tls": True}).greet()
        server.say("AUTH PLAIN AGFubgB4")
        server.deliver()
        identity = (server.users["ann"].received[0][0].transaction_id).encode()
        macros = milter.macros
        self.assertEqual(macros[b"C"][b"j"], b"mx.example.org")
        # rspamd signs its Authentication-Results with it.
        self.assertEqual(macros[b"C"][b"{daemon_name}"], b"mx.example.org")
        self.assertEqual(macros[b"C"][b"{client_addr}"], b"192.0.2.7")
        self.assertEqual(macros[b"C"][b"_"], b"unknown [192.0.2.7]")
        self.assertEqual(macros[b"M"][b"i"], identity)
        self.assertEqual(macros[b"M"][b"{auth_authen}"], b"ann@example.org")
        self.assertEqual(macros[b"M"][b"{auth_type}"], b"PLAIN")
        self.assertEqual(macros[b"M"][b"{mail_addr}"], b"ann@example.net")
        self.assertEqual(macros[b"R"][b"{rcpt_addr}"], b"bob@example.org")
        for stage in (b"T", b"N", b"E"):
            self.assertEqual(macros[stage], {b"i": identity})

    def test_no_login_no_macros_of_one(self) -> None:
        milter = FakeMilter()
        MilterServer(milter).greet().deliver()
        self.assertEqual([name for name in milter.macros[b"M"] if b"auth" in name], [])

    def test_macros_of_tls(self) -> None:
        milter = FakeMilter()
        server = MilterServer(milter, client={"tls_context": object()}).greet()
        self.assertNotIn(b"H", milter.macros)
        issuer = encrypt(server, "ann")
        server.deliver()
        found = {
            b"{tls_version}": b"TLSv1.3",
            b"{cipher}": b"TLS_AES_256_GCM_SHA384",
            b"{cipher_bits}": b"256",
            b"{cert_subject}": b"ann",
            b"{cert_issuer}": issuer.encode(),
        }
        self.assertEqual(milter.macros[b"H"], found)
        self.assertLessEqual(found.items(), milter.macros[b"M"].items())

    def test_macros_that_it_asks_for(self) -> None:
        wanted = b"\0\0\0\0{client_port} {nonsense}\0" + b"\0\0\0\x05j\0"
        milter = FakeMilter(wanted=wanted)
        MilterServer(milter).greet().deliver()
        self.assertEqual(milter.macros[b"C"], {b"{client_port}": b"40000"})
        self.assertEqual(milter.macros[b"E"], {b"j": b"mx.example.org"})

    def test_steps_that_it_does_not_want(self) -> None:
        for steps, code in (
            (Step.NO_CONNECT, b"C"),
            (Step.NO_HELO, b"H"),
            (Step.NO_MAIL, b"M"),
            (Step.NO_RCPT, b"R"),
            (Step.NO_DATA, b"T"),
            (Step.NO_HEADERS, b"L"),
            (Step.NO_END_OF_HEADERS, b"N"),
            (Step.NO_BODY, b"B"),
        ):
            milter = FakeMilter(steps=steps)
            self.assertEqual(MilterServer(milter).greet().deliver()[:3], "250")
            self.assertEqual(milter.codes, b"OCHMRTLNBE".replace(code, b""))

    def test_steps_that_it_does_not_answer(self) -> None:
        for steps, code in (
            (Step.SILENT_CONNECT, b"C"),
            (Step.SILENT_HELO, b"H"),
            (Step.SILENT_MAIL, b"M"),
            (Step.SILENT_RCPT, b"R"),
            (Step.SILENT_DATA, b"T"),
            (Step.SILENT_HEADERS, b"L"),
            (Step.SILENT_END_OF_HEADERS, b"N"),
            (Step.SILENT_BODY, b"B"),
        ):
            milter = FakeMilter(steps=steps)
            milter.silent = code
            self.assertEqual(MilterServer(milter).greet().deliver()[:3], "250")
            self.assertEqual(milter.codes, b"OCHMRTLNBE")

    def test_an_old_milter_gets_no_data(self) -> None:
        milter = FakeMilter(version=2)
        MilterServer(milter).greet().deliver()
        self.assertEqual(milter.codes, b"OCHMRLNBE")

    def test_a_large_body_comes_in_pieces(self) -> None:
        milter = FakeMilter()
        server = MilterServer(milter).greet()
        body = b"x" * 998 + b"\r\n"
        server.begin()
        server.send(b"A: b\r\n\r\n" + body * 300 + b".\r\n")
        for _ in range(5):
            server.clock.advance(0)
        pieces = [data for code, data in milter.seen if code == b"B"]
        self.assertEqual([len(piece) for piece in pieces], [65535] * 4 + [37860])
        self.assertEqual(b"".join(pieces), body * 300)

    def test_skip_ends_the_body(self) -> None:
        milter = FakeMilter()
        milter.answers[b"B"] = packet(b"s")
        server = MilterServer(milter).begin()
        server.send(b"A: b\r\n\r\n" + b"x" * 200_000 + b"\r\n.\r\n")
        self.assertEqual(milter.codes, b"OCHMRTLNBE")

    def test_a_transaction_that_is_given_up_is_aborted(self) -> None:
        milter = FakeMilter()
        server = MilterServer(milter).greet()
        server.say("MAIL FROM:<a@b.example>", "RCPT TO:<bob@example.org>", "RSET")
        server.deliver()
        self.assertEqual(milter.codes, b"OCHMRAMRTLNBE")
        server.deliver()
        self.assertEqual(milter.codes, b"OCHMRAMRTLNBEMRTLNBE")

    def test_a_new_hello_ends_a_transaction(self) -> None:
        milter = FakeMilter()
        server = MilterServer(milter).greet()
        server.say("MAIL FROM:<a@b.example>", "EHLO other.example")
        self.assertEqual(milter.codes, b"OCHMAH")
        milter.answers[b"H"] = ACCEPT
        server.say("MAIL FROM:<a@b.example>", "EHLO third.example")
        self.assertEqual(server.deliver()[:3], "250")
        self.assertEqual(milter.codes, b"OCHMAHMAH")

    def test_progress_is_waited_for(self) -> None:
        milter = FakeMilter()
        milter.silent = b"E"
        server = MilterServer(milter).greet()
        self.assertEqual(server.deliver(), "")
        for _ in range(3):
            server.clock.advance(200)
            milter.say(packet(b"p"))
        milter.say(ACCEPT)
        self.assertEqual(server.answer()[:3], b"250")


class AnswerTests(SynchronousTestCase):
    """What a milter answers, in each step."""

    def answered(self, code: bytes, answer: bytes) -> tuple[MilterServer, FakeMilter]:
        milter = FakeMilter()
        milter.answers[code] = answer
        return MilterServer(milter), milter

    def test_refusals_in_each_step(self) -> None:
        refusals = (
            (packet(b"r"), "550 5.7.1 Command rejected"),
            (packet(b"t"), UNAVAILABLE),
            (packet(b"y", b"554 5.6.9 no such thing\0"), "554 5.6.9 no such thing"),
            (packet(b"y", b"450 wait\0"), "450 4.7.1 wait"),
        )
        for answer, expected in refusals:
            for code in b"MRTLNBE":
                server, milter = self.answered(bytes((code,)), answer)
                self.assertEqual(server.greet().deliver(), expected, chr(code))
                self.assertEqual(server.delivery.received, [])
                # The next message is another one.
                milter.answers = {}
                self.assertEqual(server.greet().deliver()[:3], "250")

    def test_refusals_of_the_client(self) -> None:
        server, _ = self.answered(b"C", packet(b"r"))
        self.assertEqual(server.answer()[:4], b"554 ")
        server, _ = self.answered(b"C", packet(b"t"))
        self.assertEqual(server.answer()[:4], b"421 ")
        server, _ = self.answered(b"H", packet(b"r"))
        self.assertEqual(server.say("EHLO x")[0][:3], "550")

    def test_one_recipient_alone(self) -> None:
        server, milter = self.answered(b"R", packet(b"r"))
        server.greet()
        self.assertEqual(
            [r[:3] for r in server.say("MAIL FROM:<a@b.example>", "RCPT TO:<bob@example.org>")],
            ["250", "550"],
        )
        milter.answers = {}
        self.assertEqual(server.say("RCPT TO:<eve@example.org>")[0][:3], "250")

    def test_accept_ends_the_questions(self) -> None:
        for code, told, second in (
            (b"C", b"OC", b""),
            (b"H", b"OCH", b""),
            (b"M", b"OCHM", b"AM"),
            (b"R", b"OCHMR", b"AMR"),
            (b"N", b"OCHMRTLN", b"AMRTLN"),
            (b"B", b"OCHMRTLNB", b"AMRTLNB"),
            (b"E", b"OCHMRTLNBE", b"MRTLNBE"),
        ):
            server, milter = self.answered(code, ACCEPT)
            self.assertEqual(server.greet().deliver()[:3], "250")
            self.assertEqual(milter.codes, told)
            self.assertEqual(server.deliver()[:3], "250")
            self.assertEqual(milter.codes, told + second)

    def test_discard(self) -> None:
        for code in b"MRTLNBE":
            server, _ = self.answered(bytes((code,)), packet(b"d"))
            self.assertEqual(server.greet().deliver()[:3], "250", chr(code))
            self.assertEqual(server.delivery.received, [])

    def test_shutdown(self) -> None:
        server, _ = self.answered(b"M", packet(b"4"))
        self.assertEqual(server.greet().deliver()[:3], "421")
        self.assertTrue(server.closed)

    def test_quarantine(self) -> None:
        server, _ = self.answered(b"E", modifications(b"qlooks bad\0"))
        self.assertEqual(server.greet().deliver()[:3], "250")
        self.assertEqual(server.delivery.received[0][0].quarantine, "looks bad")


class ChangeTests(SynchronousTestCase):
    """Changes that a milter makes at the end of a message."""

    def changed(
        self, *changes: bytes, content: bytes = b"A: 1\r\nB: 2\r\nA: 3\r\n\r\nx\r\n"
    ) -> bytes:
        milter = FakeMilter()
        milter.answers[b"E"] = modifications(*changes)
        self.server = MilterServer(milter).greet()
        self.assertEqual(self.server.deliver(content)[:3], "250", changes)
        message = self.server.delivery.contents[0]
        while message.startswith(b"X-Mailkit-Hooks"):
            message = strip_trace(b"Received: " + message.partition(b":")[2])
        return message

    def test_header_fields(self) -> None:
        for change, expected in (
            (b"hC\x004\0", b"A: 1\r\nB: 2\r\nA: 3\r\nC: 4\r\n"),
            (b"hC\0 4\n\t5\0", b"A: 1\r\nB: 2\r\nA: 3\r\nC: 4\r\n\t5\r\n"),
            (b"hC\x004\n5\r\n 6\0", b"A: 1\r\nB: 2\r\nA: 3\r\nC: 4\r\n\t5\r\n 6\r\n"),
            (b"i\0\0\0\0C\x004\0", b"C: 4\r\nA: 1\r\nB: 2\r\nA: 3\r\n"),
            (b"i\0\0\0\x01C\x004\0", b"C: 4\r\nA: 1\r\nB: 2\r\nA: 3\r\n"),
            (b"i\0\0\0\x02C\x004\0", b"A: 1\r\nC: 4\r\nB: 2\r\nA: 3\r\n"),
            (b"i\0\0\0\x63C\x004\0", b"A: 1\r\nB: 2\r\nA: 3\r\nC: 4\r\n"),
            (b"m\0\0\0\x02a\x004\0", b"A: 1\r\nB: 2\r\na: 4\r\n"),
            (b"m\0\0\0\x01A\0\0", b"B: 2\r\nA: 3\r\n"),
            (b"m\0\0\0\0A\0\0", b"B: 2\r\nA: 3\r\n"),
            (b"m\0\0\0\x05A\0\0", b"A: 1\r\nB: 2\r\nA: 3\r\n"),
            (b"m\0\0\0\x01D\x004\0", b"A: 1\r\nB: 2\r\nA: 3\r\nD: 4\r\n"),
        ):
            self.assertEqual(self.changed(change), expected + b"\r\nx\r\n", change)

    def test_changes_come_one_after_the_other(self) -> None:
        message = self.changed(b"m\0\0\0\x01A\0\0", b"m\0\0\0\x01A\x009\0", b"hA\x0010\0")
        self.assertEqual(message, b"B: 2\r\nA: 9\r\nA: 10\r\n\r\nx\r\n")

    def test_places_count_the_received_field_of_the_server(self) -> None:
        # As with Sendmail and Postfix: 0 is above it, so that it is the second then.
        message = self.changed(b"i\0\0\0\0C\x001\0", b"i\0\0\0\x01C\x002\0", b"i\0\0\0\x03C\x003\0")
        expected = b"C: 1\r\nC: 2\r\nC: 3\r\nA: 1\r\nB: 2\r\nA: 3\r\n\r\nx\r\n"
        self.assertEqual(message, expected)

    def test_the_body(self) -> None:
        message = self.changed(b"bnew\r\n", b"b.body\r\n")
        self.assertTrue(message.endswith(b"A: 3\r\n\r\nnew\r\n.body\r\n"), message)

    def test_line_ends_of_the_body(self) -> None:
        # Sendmail and Postfix send them as CRLF, whatever the milter has.
        message = self.changed(b"bnew\n.\nbo\r", b"b\ndy\r\n")
        self.assertTrue(message.endswith(b"A: 3\r\n\r\nnew\r\n.\r\nbo\r\ndy\r\n"), message)

    def test_the_envelope(self) -> None:
        self.changed(
            *(b"e<x@y.example>\0", b"+<eve@example.org>\0", b"-<bob@example.org>\0"),
            b"2<zoe@example.org>\0NOTIFY=NEVER\0",
        )
        envelope = self.server.delivery.received[0][0]
        self.assertEqual(envelope.reverse_path, Path("x", "y.example"))
        found = [(str(r.path), dict(r.parameters)) for r in envelope.recipients]
        expected = [("eve@example.org", {}), ("zoe@example.org", {"NOTIFY": "NEVER"})]
        self.assertEqual(found, expected)

    def test_the_delivery_still_decides_about_recipients(self) -> None:
        milter = FakeMilter()
        milter.answers[b"E"] = modifications(b"+<gone@example.org>\0")
        server = MilterServer(milter).greet()
        server.delivery.unknown["gone"] = NoSuchRecipient()
        self.assertEqual(server.deliver()[:3], "250")
        envelope = server.delivery.received[0][0]
        self.assertEqual([str(r.path) for r in envelope.recipients], ["bob@example.org"])

    def test_changes_that_make_no_sense(self) -> None:
        for change in (
            b"h\0x\0",
            b"hA B\0x\0",
            b"hA:\0x\0",
            b"+<>\0",
            b"+a b@example.org\0",
            b"e<a\x01@b>\0",
            b"e<\xff@b>\0",
            b"-@\0",
        ):
            milter = FakeMilter()
            milter.answers[b"E"] = modifications(b"hGood\0yes\0", change)
            server = MilterServer(milter).greet()
            self.assertEqual(server.deliver(), UNAVAILABLE, change)
            self.assertEqual(server.delivery.received, [])

    def test_changes_that_were_not_negotiated(self) -> None:
        milter = FakeMilter(actions=Action.ADD_HEADERS)
        milter.answers[b"E"] = modifications(b"m\0\0\0\x01A\0\0")
        self.assertEqual(MilterServer(milter).greet().deliver(), UNAVAILABLE)

    def test_limits(self) -> None:
        settings = MilterSettings(max_modifications=2, max_body=10)
        for changes, good in (
            ([b"hA\0b\0"] * 2, True),
            ([b"hA\0b\0"] * 3, False),
            ([b"b12345"] * 2, True),
            ([b"b12345"] * 3, False),
        ):
            milter = FakeMilter()
            milter.answers[b"E"] = modifications(*changes)
            server = MilterServer(milter, settings=settings).greet()
            self.assertEqual(server.deliver()[:3], "250" if good else "451", changes)


class SeveralTests(SynchronousTestCase):
    """Milters in order."""

    def test_each_sees_what_the_former_has_changed(self) -> None:
        first, second = FakeMilter(), FakeMilter()
        first.answers[b"E"] = modifications(
            b"hNew\x001\0", b"m\0\0\0\x01Subject\0other\0", b"bnew body\r\n"
        )
        second.answers[b"E"] = modifications(b"hSigned\0yes\0")
        server = MilterServer(first, second).greet()
        self.assertEqual(server.deliver()[:3], "250")
        seen = [each for each in second.seen if each[0] in b"LB"]
        self.assertEqual(
            seen, [(b"L", b"Subject\0other\0"), (b"L", b"New\x001\0"), (b"B", b"new body\r\n")]
        )
        self.assertTrue(
            server.delivery.contents[0].endswith(
                b"Subject: other\r\nNew: 1\r\nSigned: yes\r\n\r\nnew body\r\n"
            )
        )

    def test_the_log_tells_which_of_several_refuses(self) -> None:
        milters = FakeMilter(), FakeMilter()
        milters[1].answers[b"E"] = packet(b"r")
        with capturedLogs() as events:
            MilterServer(*milters).greet().deliver()
        found = [formatEvent(event) for event in events if "milter m2" in formatEvent(event)]
        expected = "milter m2 refuses what comes from 192.0.2.7: 550 Command rejected"
        self.assertEqual(found, [expected])

    def test_the_first_refusal_counts(self) -> None:
        first, second = FakeMilter(), FakeMilter()
        first.answers[b"M"] = packet(b"r")
        server = MilterServer(first, second).greet()
        self.assertEqual(server.deliver()[:3], "550")
        self.assertEqual(second.codes, b"OCH")

    def test_a_later_refusal_gives_up_a_new_body(self) -> None:
        first, second = FakeMilter(), FakeMilter()
        first.answers[b"E"] = modifications(b"bnew\r\n")
        second.answers[b"E"] = packet(b"r")
        self.assertEqual(MilterServer(first, second).greet().deliver()[:3], "550")

    def test_a_hook_needs_one(self) -> None:
        self.assertRaises(ValueError, MilterHook)
        settings = MilterSettings(failure="x")  # type: ignore[arg-type]
        self.assertRaises(ValueError, Milter, FakeMilter(), settings=settings)


class FailureTests(SynchronousTestCase):
    """A milter that cannot be asked."""

    def test_one_that_is_not_there(self) -> None:
        for failure, expected in (("tempfail", "451"), ("reject", "550"), ("accept", "250")):
            milter = FakeMilter()
            milter.refusing = True
            settings = MilterSettings(failure=failure)  # type: ignore[arg-type]
            server = MilterServer(milter, settings=settings)
            self.assertEqual(server.greet().deliver()[:3], expected)

    def test_one_that_is_back(self) -> None:
        milter = FakeMilter()
        milter.refusing = True
        with capturedLogs() as events:
            server = MilterServer(milter).greet()
        self.assertIn("milter m1: no connection", formatEvent(events[-1]) or "")
        self.assertEqual(server.deliver(), UNAVAILABLE)
        milter.refusing = False
        self.assertEqual(server.deliver()[:3], "250")
        self.assertEqual(milter.codes, b"OCHMRTLNBE")

    def test_silence_in_each_step(self) -> None:
        for code, seconds in (
            (b"M", 30),
            (b"R", 30),
            (b"L", 300),
            (b"N", 300),
            (b"B", 300),
            (b"E", 300),
        ):
            milter = FakeMilter()
            milter.silent = code
            server = MilterServer(milter).greet()
            self.assertEqual(server.deliver(), "")
            server.clock.advance(seconds - 1)
            self.assertEqual(server.answer(), b"", code)
            server.clock.advance(1)
            self.assertEqual(server.answer().decode().rstrip(), UNAVAILABLE, code)
            self.assertTrue(milter.transports[0].gone)

    def test_silence_before_the_first_message(self) -> None:
        for code in b"OCH":
            milter = FakeMilter()
            milter.silent = bytes((code,))
            server = MilterServer(milter)
            if code == b"H"[0]:
                server.send(b"EHLO x\r\n")
            server.clock.advance(30)
            milter.silent = b""
            self.assertEqual(server.greet().deliver()[:3], "250", chr(code))

    def test_a_connection_that_never_stands(self) -> None:
        milter = FakeMilter()
        milter.connecting = Deferred()
        server = MilterServer(milter)
        self.assertEqual(server.answer(), b"")
        server.clock.advance(30)
        self.assertEqual(server.answer()[:3], b"220")

    def test_it_hangs_up_in_each_step(self) -> None:
        for code in b"MRTLNBE":
            milter = FakeMilter()
            server = MilterServer(milter).greet()
            milter.answers[bytes((code,))] = lambda milter: milter.drop() or b""  # type: ignore[func-returns-value]
            self.assertEqual(server.deliver(), UNAVAILABLE, chr(code))
            # It stays so until the next MAIL, which tries again.
            if code == b"R"[0]:
                self.assertEqual(server.say("RCPT TO:<eve@example.org>")[0], UNAVAILABLE)
                server.say("RSET")
            milter.answers = {}
            self.assertEqual(server.deliver()[:3], "250", chr(code))

    def test_what_it_must_not_say(self) -> None:
        for answer in (
            b"\0\0\0\0",
            b"\xff\xff\xff\xff",
            packet(b"?"),
            packet(b"h", b"A\0b\0"),
            packet(b"O"),
            packet(b"f"),
            packet(b"y", b"hello\0"),
        ):
            milter = FakeMilter()
            milter.answers[b"M"] = answer
            self.assertEqual(MilterServer(milter).greet().deliver(), UNAVAILABLE, answer)
            self.assertTrue(milter.transports[0].gone)

    def test_options_that_cannot_be(self) -> None:
        for answer in (packet(b"c"), packet(b"O"), FakeMilter(version=9).options):
            milter = FakeMilter()
            milter.options = answer
            self.assertEqual(MilterServer(milter).greet().deliver(), UNAVAILABLE)

    def test_what_nobody_has_asked_for(self) -> None:
        milter = FakeMilter()
        server = MilterServer(milter).greet()
        milter.say(packet(b"r") * 300)
        self.assertEqual(milter.transports[0].producerState, "paused")
        self.assertEqual(server.deliver()[:3], "250")
        self.assertEqual(len(milter.transports), 2)

    def test_answers_in_pieces(self) -> None:
        milter = FakeMilter()
        milter.silent = b"E"
        server = MilterServer(milter).greet()
        self.assertEqual(server.deliver(), "")
        for octet in modifications(b"hA\0b\0"):
            milter.say(bytes((octet,)))
        self.assertEqual(server.answer()[:3], b"250")
        self.assertIn(b"\r\nA: b\r\n", server.delivery.contents[0])

    def test_a_client_that_goes_away(self) -> None:
        for code in b"CHMRE":
            milter = FakeMilter()
            milter.silent = bytes((code,))
            server = MilterServer(milter)
            server.send(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n")
            server.send(b"x\r\n.\r\n")
            server.lose()
            self.assertTrue(milter.transports[0].gone, chr(code))
            self.assertEqual(server.clock.getDelayedCalls(), [])

    def test_one_that_does_not_read(self) -> None:
        milter = FakeMilter(steps=Step.SILENT_BODY)
        milter.silent = b"B"
        server = MilterServer(milter).greet().begin()
        milter.connection.pauseProducing()
        server.send(b"A: b\r\n\r\n" + b"x" * 300_000 + b"\r\n.\r\n")
        self.assertEqual(milter.codes.count(b"B"), 1)
        milter.connection.resumeProducing()
        server.clock.advance(0)
        server.clock.advance(0)
        self.assertEqual(server.answer()[:3], b"250")
