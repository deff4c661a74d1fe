"""Submission: who may send, and what is done to the header."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import classImplementsOnly

from mailkit.errors import SenderRefused, StoreUnavailable
from mailkit.interfaces import IMessageDelivery
from mailkit.model import Ability
from mailkit.smtp.submission import SubmissionFactory, SubmissionReader
from mailkit.spool import Spool
from tests.smtp.fakes import FakeDelivery, Server, strip_trace

# "\0ann\0secret"
LOGIN = "AUTH PLAIN AGFubgBzZWNyZXQ="
ADDRESS = "ann@example.org"


class Submission(Server):
    factory_class = SubmissionFactory

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("tls", True)
        super().__init__(passwords={"ann": "secret"}, **settings)
        self.users["ann"].owned = {ADDRESS, "info@example.org"}

    def log_in(self) -> Submission:
        self.greet()
        assert self.say(LOGIN)[0].startswith("235 ")
        return self

    def submit(self, *pieces: bytes, sender: str = ADDRESS) -> str:
        """The reply after the content."""
        self.log_in()
        parameters = "" if sender.isascii() else " SMTPUTF8"
        codes = self.say(f"MAIL FROM:<{sender}>{parameters}", "RCPT TO:<bob@example.org>", "DATA")
        assert [code[:3] for code in codes] == ["250", "250", "354"], codes
        for piece in pieces:
            answer = self.send(piece)
        return answer.decode()

    @property
    def message(self) -> bytes:
        """The message that was delivered, without the trace field."""
        return strip_trace(self.users["ann"].received[-1][1])


def submitted(*pieces: bytes, **settings: Any) -> bytes:
    """A message after submission."""
    sender = settings.pop("sender", ADDRESS)
    server = Submission(**settings)
    answer = server.submit(*pieces, sender=sender)
    assert answer.startswith("250 2.0.0 "), answer
    return server.message


COMPLETE = (
    b"Date: Fri, 21 Nov 1997 09:55:06 -0600\r\nFrom: Ann <ann@example.org>\r\n"
    b"Message-ID: <1@client.example>\r\n"
)


class RightsTests(SynchronousTestCase):
    def test_login_comes_first(self) -> None:
        server = Submission().greet()
        self.assertEqual(
            server.say(f"MAIL FROM:<{ADDRESS}>"), ["530 5.7.0 Authentication required"]
        )
        self.assertEqual(server.say("RCPT TO:<bob@example.org>")[0][:9], "503 5.5.1")
        self.assertEqual(server.delivery.calls, [])
        # RFC 4954 section 6: these need no login.
        for line in ("NOOP", "RSET", "EHLO a", "HELO a"):
            self.assertEqual(server.say(line)[0][:3], "250", line)

    def test_tls_comes_before_login(self) -> None:
        server = Submission(tls=False, tls_context=object()).greet()
        answer = server.say(f"MAIL FROM:<{ADDRESS}>")[0]
        self.assertEqual(answer, "530 5.7.0 Must issue a STARTTLS command first")
        self.assertEqual(server.say(LOGIN)[0][:10], "538 5.7.11")
        server.say("STARTTLS", "EHLO a")
        self.assertEqual(server.say(LOGIN)[0][:3], "235")

    def test_loopback_needs_no_tls(self) -> None:
        server = Submission(tls=False, peer="127.0.0.1").log_in()
        self.assertEqual(server.say(f"MAIL FROM:<{ADDRESS}>")[0][:3], "250")

    def test_the_delivery_judges_the_reverse_path(self) -> None:
        server = Submission().log_in()
        server.users["ann"].trouble["check_sender"] = SenderRefused()
        self.assertEqual(server.say("MAIL FROM:<eve@example.org>")[0][:9], "550 5.7.1")

    def test_trace(self) -> None:
        server = Submission()
        server.submit(COMPLETE + b"\r\n.\r\n")
        envelope, message = server.users["ann"].received[0]
        self.assertIn(b"with ESMTPSA id", message)
        self.assertEqual((envelope.connection.protocol, envelope.account), ("submission", ADDRESS))


class AuthorTests(SynchronousTestCase):
    def answer(self, *fields: bytes, sender: str = ADDRESS, **settings: Any) -> str:
        content = b"".join(field + b"\r\n" for field in fields)
        return Submission(**settings).submit(content + b"\r\n.\r\n", sender=sender)[:9]

    def test_ones_own_addresses(self) -> None:
        for field in (
            b"From: ann@example.org",
            b"from: Ann <ann@example.org>",
            b"From : ann@example.org",
            b"From: \r\n =?utf-8?q?=C3=84nn?=\r\n <ann@example.org>",
            b'From: "Lee, Ann" (boss) <info@example.org>, ann@example.org',
            b"From: us: ann@example.org, info@example.org;",
        ):
            self.assertEqual(self.answer(field), "250 2.0.0", field)

    def test_those_of_others(self) -> None:
        for fields in (
            [b"From: eve@example.org"],
            [b"From: Ann <eve@example.org>"],
            [b"From: ann@example.org, eve@example.org"],
            [b"From: ann@example.org", b"From: eve@example.org"],
            [b"From: us: eve@example.org;"],
            [b"From: ann@example.org", b"Sender: eve@example.org"],
            [b"From: ann@example.org <eve@example.org>"],
            [b"FROM:eve@example.org"],
            [b"From:\r\n\teve@example.org"],
        ):
            self.assertEqual(self.answer(*fields), "550 5.7.1", fields)

    def test_the_text_names_the_address(self) -> None:
        answer = Submission().submit(b"From: eve@example.org\r\n\r\n.\r\n")
        self.assertIn("The From address eve@example.org does not belong to your account", answer)

    def test_fields_without_a_useful_address(self) -> None:
        for field in (
            b"From:",
            b"From: nobody:;",
            b"From: Ann",
            b"From: <@example.org>",
            b"From: ann@",
            b"From: ann@\xff.example",
        ):
            self.assertEqual(self.answer(field), "554 5.6.0", field)
        many = b"From: " + b", ".join([b"ann@example.org"] * 101)
        self.assertEqual(self.answer(many), "554 5.6.0")

    def test_sender_alone_is_no_author(self) -> None:
        self.assertEqual(self.answer(b"Sender: ann@example.org", sender=""), "554 5.6.0")

    def test_body_text_is_not_judged(self) -> None:
        content = COMPLETE + b"\r\nFrom: eve@example.org\r\n.\r\n"
        self.assertEqual(Submission().submit(content)[:3], "250")

    def test_the_check_can_be_turned_off(self) -> None:
        self.assertEqual(self.answer(b"From: eve@example.org", check_from=False), "250 2.0.0")

    def test_a_delivery_without_a_policy_is_not_asked(self) -> None:
        class Plain(FakeDelivery):
            pass

        classImplementsOnly(Plain, IMessageDelivery)
        server = Submission()
        server.realm.users["ann"] = Plain()
        self.assertEqual(server.submit(b"From: eve@example.org\r\n\r\n.\r\n")[:3], "250")

    def test_a_slow_policy(self) -> None:
        server = Submission()
        server.users["ann"].slow.add("owns_address")
        self.assertEqual(server.submit(COMPLETE + b"\r\n.\r\nNOOP\r\n"), "")
        server.users["ann"].go_on()
        codes = [line[:3] for line in server.answer().splitlines()]
        self.assertEqual(codes, [b"250", b"250"])

    def test_a_policy_that_fails(self) -> None:
        server = Submission()
        server.users["ann"].trouble["owns_address"] = StoreUnavailable()
        self.assertEqual(server.submit(COMPLETE + b"\r\n.\r\n")[:9], "451 4.3.0")
        self.assertEqual(server.users["ann"].received, [])
        self.assertTrue(server.users["ann"].spools[0].closed)


class CompletionTests(SynchronousTestCase):
    def test_a_complete_header_stays_as_it_is(self) -> None:
        content = b"X-First: 1\r\n" + COMPLETE + b"Subject: hi\r\n there\r\n\r\nbody\r\n"
        self.assertEqual(submitted(content + b".\r\n"), content)

    def test_what_is_missing_is_added(self) -> None:
        message = submitted(b"Subject: hi\r\n\r\nbody\r\n.\r\n").decode()
        self.assertRegex(
            message,
            r"^Subject: hi\r\nDate: \w{3}, \d\d \w{3} 1970 [\d:]{8} [+-]\d{4}\r\n"
            r"Message-ID: <[0-9a-f]+@mx\.example\.org>\r\nFrom: ann@example\.org\r\n\r\nbody\r\n$",
        )

    def test_field_names_have_no_case(self) -> None:
        content = COMPLETE.upper() + b"\r\n"
        self.assertEqual(submitted(content + b".\r\n", check_from=False), content)

    def test_a_message_id_that_is_none_is_replaced(self) -> None:
        message = submitted(b"Message-ID: 12\r\n\r\n.\r\n")
        self.assertNotIn(b"12", message.partition(b"Date")[0])
        self.assertEqual(message.count(b"Message-ID: <"), 1)

    def test_the_envelope_tells_whether_the_date_is_ours(self) -> None:
        for content, added in ((COMPLETE, False), (b"Subject: x\r\n", True)):
            for check_from in (True, False):
                server = Submission(check_from=check_from)
                server.submit(content + b"\r\n.\r\n")
                self.assertIs(server.users["ann"].received[0][0].date_added, added)

    def test_bcc_and_return_path_are_removed(self) -> None:
        message = submitted(
            b"Return-Path: <x@y>\r\nBcc: secret@example.org,\r\n\tother@example.org\r\n"
            b"bcc : more@example.org\r\nResent-Bcc: x@example.org\r\nTo: bob@example.org\r\n"
            + COMPLETE
            + b"\r\nBcc: text\r\n.\r\n"
        )
        self.assertEqual(message, b"To: bob@example.org\r\n" + COMPLETE + b"\r\nBcc: text\r\n")

    def test_the_line_of_an_mbox_file_is_no_header(self) -> None:
        for line in (
            b"From ann@example.org Fri Nov 21 09:55:06 1997",
            b">From - Fri, 9:55 am",
            b"From - Fri Nov 21 09:55:06 1997",
            b"From ann@example.org Fri Nov  1 09:55:06 +0100 1997",
            b"From ann Fri Nov 21 09:55 CST 1997 remote from example",
            # As Mailman's archives have it.
            b"From ann at example.org  Fri Nov 21 09:55:06 1997",
            b'From "ann x"@example.org Fri Nov 21 09:55:06 1997 \t',
            b"From ann@example.org\tFri, 21 Nov 1997 09:55:06 +0000 (UTC)",
            b"From Ann Example Fri Nov 21 09:55:06 GMT+01:00 1997",
            b"From ann@example.org 1997-11-21 09:55:06",
            b"From " + b"a" * 988 + b" 9:55",
        ):
            message = submitted(
                line + b"\r\nX: y\r\nBcc: secret@example.org\r\n" + COMPLETE + b"\r\nx\r\n.\r\n"
            )
            self.assertEqual(message, b"X: y\r\n" + COMPLETE + b"\r\nx\r\n", line)

    def test_text_that_begins_with_from(self) -> None:
        for text in (
            b"From here on\r\nwe go\r\n",
            b"From 9:55 to 10:00 at\r\nhome\r\n",
            b"From Berlin to Rome at 10:30 we go.\r\nNote: bring food\r\nbye\r\n",
            b"From Berlin Mon 10:30 we go.\r\nTo: see\r\nbye\r\n",
            b"From Berlin Mon, 10:30\r\nNote: bring food\r\n",
            b"From Berlin to Rome at 10:30 we go.\r\nNote: ask ann@example.org\r\n\r\nbye\r\n",
            b"From Berlin to Rome at 10:30 we go.\r\nDate: Monday\r\nTo: see you\r\n\r\nbye\r\n",
            b"From " + b"a" * 989 + b" 9:55\r\nTo: ann@example.org\r\n",
        ):
            self.assertEqual(submitted(text + b".\r\n").partition(b"\r\n\r\n")[2], text)

    def test_no_first_line_is_dear(self) -> None:
        # Quadratic work would take minutes.
        size = 256 * 1024
        for beginning, piece in (
            (b"From a ", b"1:11"),
            (b"From a Mon", b" "),
            (b"From a Mon", b" 1"),
            (b"From a Mon 1:11", b" AM"),
            (b"From ", b"a"),
            (b"From ", b'"'),
        ):
            text = beginning + piece * (size // len(piece)) + b"\r\nx y\r\n"
            message = submitted(text + b"\r\n.\r\n")
            self.assertTrue(message.endswith(b"\r\n\r\n" + text + b"\r\n"))

    def test_the_line_of_an_mbox_file_counts_for_the_limit(self) -> None:
        line = b"From ann@example.org Fri Nov 21 09:55:06 1997\r\n"
        filler = b"X: " + b"x" * (960 - len(COMPLETE)) + b"\r\n"
        rest = b"Bcc: secret@example.org\r\n\r\n.\r\n"
        answer = Submission(max_header=1000).submit(line + COMPLETE + filler, rest)
        self.assertEqual(answer[:9], "552 5.3.4")

    def by_chunk(self, content: bytes, body: str = "8BITMIME") -> bytes:
        """What becomes of a message that comes by BDAT."""
        server = Submission(abilities=[Ability.BINARYMIME])
        server.log_in().say(f"MAIL FROM:<{ADDRESS}> BODY={body}", "RCPT TO:<bob@example.org>")
        self.assertEqual(server.send(b"BDAT %d LAST\r\n" % len(content) + content)[:4], b"250 ")
        return server.message

    def test_a_last_field_without_a_line_end(self) -> None:
        for line_end, body in ((b"", "8BITMIME"), (b"", "BINARYMIME"), (b"\r", "BINARYMIME")):
            message = self.by_chunk(COMPLETE + b"Bcc: secret@example.org" + line_end, body)
            self.assertEqual(message, COMPLETE + b"\r\n")

    def test_a_body_without_a_line_end(self) -> None:
        for content in (b"hello", b"hello\r", b"\r"):
            for header in (b"", COMPLETE):
                message = self.by_chunk(header + content, "BINARYMIME")
                self.assertEqual(message.partition(b"\r\n\r\n")[2], content)

    def test_no_header_at_all(self) -> None:
        for text in (b"Hello there\r\nbye\r\n", b"Hello there\r\n\r\nbye\r\n", b"\r\nHello\r\n"):
            message = submitted(text + b".\r\n")
            header, _, body = message.partition(b"\r\n\r\n")
            self.assertEqual(body, text.removeprefix(b"\r\n"), text)
            self.assertEqual(header.count(b"\r\n"), 2)

    def test_no_body_at_all(self) -> None:
        self.assertEqual(submitted(COMPLETE + b".\r\n"), COMPLETE + b"\r\n")

    def test_nothing_at_all(self) -> None:
        message = submitted(b".\r\n")
        self.assertTrue(message.startswith(b"Date: "))
        self.assertTrue(message.endswith(b"\r\n\r\n"))

    def test_a_line_that_is_no_field_ends_the_header(self) -> None:
        message = submitted(COMPLETE + b"not a field\r\nFrom: eve@example.org\r\n.\r\n")
        self.assertEqual(message, COMPLETE + b"\r\nnot a field\r\nFrom: eve@example.org\r\n")

    def test_the_null_sender_names_no_author(self) -> None:
        server = Submission()
        self.assertEqual(server.submit(b"Subject: x\r\n\r\n.\r\n", sender="")[:9], "554 5.6.0")
        message = submitted(b"From: ann@example.org\r\n\r\n.\r\n", sender="")
        self.assertEqual(message.count(b"From"), 1)

    def test_utf8_sender(self) -> None:
        server = Submission()
        server.users["ann"].owned = {"änn@example.org"}
        server.submit(b"\r\n.\r\n", sender="änn@example.org")
        self.assertIn("\r\nFrom: änn@example.org\r\n", server.message.decode())

    def test_line_ends_are_normalised(self) -> None:
        message = submitted(COMPLETE.replace(b"\r\n", b"\n") + b"\nline\nline\r\n.\r\n")
        self.assertEqual(message, COMPLETE + b"\r\nline\r\nline\r\n")

    def test_every_split_gives_the_same(self) -> None:
        whole = b"Bcc: x@y\r\n" + COMPLETE + b"Subject: a\r\n b\r\n\r\nbody\r\n\r\n.\r\n"
        expected = submitted(whole)
        for cut in range(1, len(whole)):
            self.assertEqual(submitted(whole[:cut], whole[cut:]), expected, cut)

    @given(st.lists(st.sampled_from([b"a", b":", b"\r\n", b" ", b"From: x", b"\0"]), max_size=30))
    def test_any_split_of_anything_gives_the_same(self, pieces: list[bytes]) -> None:
        octets = b"".join(pieces) + b"\r\n.\r\n"

        def read(*parts: bytes) -> tuple[bytes | None, list[bytes]]:
            reader = SubmissionReader(
                Spool(),
                1000,
                3,
                normalise=True,
                max_header=500,
                additions={b"date": b"Date: x\r\n"},
            )
            for part in parts:
                reader.feed(part)
            self.assertTrue(reader.finished)
            return reader.spool.data, reader.authors

        self.assertEqual(read(*(octets[i : i + 1] for i in range(len(octets)))), read(octets))


class HeaderLimitTests(SynchronousTestCase):
    def test_exact(self) -> None:
        header = COMPLETE + b"X: " + b"x" * (1000 - len(COMPLETE) - 5) + b"\r\n"
        self.assertEqual(len(header), 1000)
        server = Submission(max_header=1000)
        self.assertEqual(server.submit(header + b"\r\nbody\r\n.\r\n")[:3], "250")
        answer = Submission(max_header=999).submit(header + b"\r\nbody\r\n.\r\n")
        self.assertEqual(answer, "552 5.3.4 The message header is larger than 999 octets\r\n")

    def test_a_limit_above_that_of_other_services(self) -> None:
        header = COMPLETE + b"".join(b"X%d: %b\r\n" % (i, b"x" * 900) for i in range(1500))
        server = Submission(max_header=2_000_000)
        self.assertEqual(server.submit(header + b"\r\nbody\r\n.\r\n")[:3], "250")

    def test_it_is_not_collected_beyond_the_limit(self) -> None:
        server = Submission(max_header=10_000).log_in()
        server.say(f"MAIL FROM:<{ADDRESS}>", "RCPT TO:<bob@example.org>", "DATA")
        for _ in range(1000):
            server.send(b"X: " + b"x" * 1000 + b"\r\n")
        self.assertTrue(server.users["ann"].spools[0].closed)
        codes = [line[:9] for line in server.send(b"\r\n.\r\nNOOP\r\n").splitlines()]
        self.assertEqual(codes, [b"552 5.3.4", b"250 2.0.0"])

    def test_one_endless_line(self) -> None:
        server = Submission(max_header=10_000)
        self.assertEqual(server.submit(b"Subject: ", *[b"x" * 5000] * 9, b"\r\n.\r\n")[:3], "552")

    def test_a_long_text_without_header_and_empty_lines(self) -> None:
        text = b"just a line of text\r\n" * 5000
        message = submitted(text[:50_000], text[50_000:] + b".\r\n", max_header=10_000)
        self.assertTrue(message.endswith(b"\r\n\r\n" + text))

    def test_one_octet_at_a_time_is_cheap(self) -> None:
        # Quadratic work would take minutes.
        server = Submission().log_in()
        server.say(f"MAIL FROM:<{ADDRESS}>", "RCPT TO:<bob@example.org>", "DATA")
        for _ in range(100):
            for octet in (b"X", b":", b"x" * 500, b"\r", b"\n"):
                server.protocol.dataReceived(octet)
        for _ in range(20_000):
            server.protocol.dataReceived(b"x")
        self.assertEqual(server.send(b"\r\n.\r\n")[:3], b"250")
