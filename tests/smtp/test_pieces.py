"""State, replies, trace and content, each without a connection."""

from __future__ import annotations

import inspect

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit import errors
from mailkit.errors import MailError
from mailkit.model import ConnectionInfo, Envelope, Outcome, Path, Recipient
from mailkit.smtp import replies
from mailkit.smtp.content import ContentReader
from mailkit.smtp.handlers import COMMANDS, OTHER_VERBS
from mailkit.smtp.state import (
    ANY,
    AUTHENTICATING,
    CONNECTED,
    CONTENT,
    GREETED,
    RECIPIENTS,
    SENDER,
    Session,
)
from mailkit.smtp.trace import address_literal, protocol_keyword, received_field
from mailkit.spool import Spool
from tests.smtp.fakes import CountedSpool

CLIENT = ConnectionInfo("smtp", "192.0.2.7")


def make_envelope(*recipients: str, **settings: object) -> Envelope:
    envelope = Envelope(CLIENT, "client.example", Path("ann", "example.net"), transaction_id="t1")
    for name, value in settings.items():
        setattr(envelope, name, value)
    envelope.recipients = [Recipient(Path(name, "example.org")) for name in recipients]
    return envelope


class StateTests(SynchronousTestCase):
    def test_a_transaction(self) -> None:
        session = Session()
        self.assertEqual(session.phase, CONNECTED)
        session.greet("client.example", True)
        self.assertEqual(session.phase, GREETED)
        envelope = make_envelope()
        session.begin(envelope)
        self.assertEqual(session.phase, SENDER)
        session.add(Recipient(Path("bob", "example.org")))
        self.assertEqual((session.phase, len(envelope.recipients)), (RECIPIENTS, 1))
        self.assertIs(session.end(), envelope)
        self.assertEqual((session.phase, session.envelope), (GREETED, None))

    def test_end_and_greet_at_any_time(self) -> None:
        session = Session()
        self.assertIsNone(session.end())
        self.assertEqual(session.phase, CONNECTED)
        session.greet("a", True)
        session.begin(make_envelope())
        session.greet("b", False)
        self.assertEqual((session.phase, session.envelope, session.helo), (GREETED, None, "b"))
        self.assertFalse(session.esmtp)

    def test_forgetting_keeps_the_counters(self) -> None:
        session = Session()
        session.greet("a", True)
        session.account = "ann"
        session.errors = session.messages = 3
        session.forget()
        self.assertEqual((session.phase, session.helo, session.account), (CONNECTED, "", None))
        self.assertEqual((session.errors, session.messages), (3, 3))

    def test_what_is_legal_when(self) -> None:
        legal = {
            CONNECTED: set(COMMANDS) - {b"MAIL", b"RCPT", b"DATA", b"AUTH"},
            GREETED: set(COMMANDS) - {b"RCPT", b"DATA"},
            SENDER: set(COMMANDS) - {b"MAIL", b"DATA", b"AUTH"},
            RECIPIENTS: set(COMMANDS) - {b"MAIL", b"AUTH"},
            CONTENT: set(),
            AUTHENTICATING: set(),
        }
        for phase, verbs in legal.items():
            found = {verb for verb, command in COMMANDS.items() if command.phases & phase}
            self.assertEqual(found, verbs, phase)
        self.assertTrue(all(command.phases == ANY for command in OTHER_VERBS.values()))

    def test_replies_out_of_order(self) -> None:
        session = Session()
        for verb in (b"MAIL", b"RCPT", b"DATA", b"AUTH"):
            self.assertEqual(session.out_of_order(verb)[:2], (503, "5.5.1"))
            self.assertIn("EHLO", session.out_of_order(verb).text)
        session.greet("a", True)
        self.assertIn("MAIL", session.out_of_order(b"RCPT").text)
        session.begin(make_envelope())
        self.assertIn("open", session.out_of_order(b"MAIL").text)
        self.assertEqual(session.out_of_order(b"DATA")[:2], (554, "5.5.1"))


class ErrorReplyTests(SynchronousTestCase):
    def test_every_error_has_codes_that_agree(self) -> None:
        classes = [
            value
            for value in vars(errors).values()
            if inspect.isclass(value) and issubclass(value, MailError)
        ]
        self.assertGreater(len(classes), 20)
        self.assertEqual(set(classes), set(replies.CODES))
        for class_ in classes:
            reply = replies.for_error(class_("why"))
            self.assertEqual(reply.enhanced[0], str(reply.code)[0], class_)
            self.assertEqual(reply.text, "why")
            if class_.temporary:
                self.assertLess(reply.code, 500, class_)

    def test_classes_of_others(self) -> None:
        class Mine(errors.NoSuchRecipient):
            pass

        class Late(MailError):
            temporary = True

        class Never(MailError):
            pass

        self.assertEqual(replies.for_error(Mine())[:2], (550, "5.1.1"))
        self.assertEqual(replies.for_error(Late())[:2], (451, "4.3.0"))
        self.assertEqual(replies.for_error(Never())[:2], (554, "5.0.0"))


class OutcomeTests(SynchronousTestCase):
    def after(self, **outcomes: MailError | None) -> replies.Reply:
        envelope = make_envelope(*outcomes)
        found = [Outcome(r, outcomes[r.path.local_part]) for r in envelope.recipients]
        return replies.after_content(found, "t1")

    def test_all_is_well(self) -> None:
        self.assertEqual(self.after(bob=None, eve=None), (250, "2.0.0", "OK, stored as t1"))

    def test_one_recipient_that_failed(self) -> None:
        reply = self.after(bob=errors.OverQuota())
        self.assertEqual(reply, (552, "5.2.2", "The mailbox is full"))

    def test_some_that_failed_are_not_acknowledged(self) -> None:
        reply = self.after(bob=None, eve=errors.OverQuota(), joe=None)
        self.assertEqual(reply[:2], (552, "5.2.2"))
        self.assertIn("<eve@example.org>: The mailbox is full (2 of 3", reply.text)

    def test_a_temporary_failure_counts_more(self) -> None:
        for outcomes in (
            {"bob": errors.OverQuota(), "eve": errors.StoreUnavailable()},
            {"eve": errors.StoreUnavailable(), "bob": errors.OverQuota()},
        ):
            reply = self.after(**outcomes)
            self.assertEqual(reply[:2], (451, "4.3.0"))
            self.assertTrue(reply.text.startswith("<eve@example.org>: "))
            self.assertNotIn("have it", reply.text)


class TraceTests(SynchronousTestCase):
    DATE = "Fri, 21 Nov 1997 09:55:06 -0600"

    def field(self, envelope: Envelope) -> bytes:
        return received_field(envelope, "mx.example.org", "ESMTP", self.DATE)

    def test_one_recipient_is_named(self) -> None:
        self.assertEqual(
            self.field(make_envelope("bob")),
            b"Received: from client.example ([192.0.2.7])\r\n"
            b"\tby mx.example.org with ESMTP id t1\r\n"
            b"\tfor <bob@example.org>;\r\n"
            b"\tFri, 21 Nov 1997 09:55:06 -0600\r\n",
        )

    def test_several_are_not(self) -> None:
        # RFC 5321 section 7.2
        field = self.field(make_envelope("bob", "eve"))
        self.assertNotIn(b"for", field)
        self.assertIn(b"id t1;\r\n\tFri", field)

    def test_peers(self) -> None:
        for peer, expected in (
            ("2001:db8::1", b"client.example ([IPv6:2001:db8::1])\r\n"),
            ("fe80::1%eth0", b"client.example ([IPv6:fe80::1])\r\n"),
            ("", b"client.example\r\n"),
        ):
            field = self.field(make_envelope(connection=ConnectionInfo("smtp", peer)))
            self.assertTrue(field.startswith(b"Received: from " + expected), field)
        self.assertEqual(address_literal("192.0.2.1"), "[192.0.2.1]")

    def test_utf8_recipient(self) -> None:
        envelope = make_envelope()
        envelope.recipients = [Recipient(Path("jürgen", "bücher.example"))]
        self.assertIn("for <jürgen@bücher.example>;".encode(), self.field(envelope))

    def test_protocol_keywords(self) -> None:
        # RFC 3848, and RFC 6531 section 4.3.
        for tls, account, utf8, expected in (
            (False, None, False, "ESMTP"),
            (True, None, False, "ESMTPS"),
            (False, "ann", False, "ESMTPA"),
            (True, "ann", False, "ESMTPSA"),
            (False, None, True, "UTF8SMTP"),
            (True, None, True, "UTF8SMTPS"),
            (False, "ann", True, "UTF8SMTPA"),
            (True, "ann", True, "UTF8SMTPSA"),
        ):
            envelope = make_envelope(
                connection=ConnectionInfo("smtp", tls=tls),
                account=account,
                parameters={"SMTPUTF8": None} if utf8 else {},
            )
            self.assertEqual(protocol_keyword(envelope, esmtp=True), expected)
            self.assertEqual(protocol_keyword(envelope, esmtp=False), "SMTP")


class ContentTests(SynchronousTestCase):
    def read(
        self, *pieces: bytes, max_size: int = 1000, max_received: int = 3, normalise: bool = False
    ) -> tuple[bytes | None, str, bytes]:
        """Content (None when refused), enhanced code of the refusal, what follows."""
        spool = CountedSpool()
        reader = ContentReader(spool, max_size, max_received, normalise)
        rest = b""
        for piece in pieces:
            self.assertFalse(reader.finished)
            rest = reader.feed(piece)
        self.assertTrue(reader.finished)
        if reader.refusal is None:
            return spool.data, "", rest
        self.assertTrue(spool.closed)
        return None, reader.refusal.enhanced, rest

    def test_content_and_what_follows(self) -> None:
        self.assertEqual(self.read(b"a\r\n..\r\n.\r\nNOOP\r\n"), (b"a\r\n.\r\n", "", b"NOOP\r\n"))
        self.assertEqual(self.read(b".\r\n"), (b"", "", b""))
        self.assertEqual(self.read(b"\0\xff\x80\r\n.\r\n"), (b"\0\xff\x80\r\n", "", b""))

    def test_every_split(self) -> None:
        whole = b"Received: a\r\nS: b\r\n\r\n..c\r\n.\r\r\n\r\n.\r\nrest"
        for normalise, expected in ((False, None), (True, b"Received: a\r\nS: b\r\n\r\n.c\r\n")):
            for cut in range(len(whole) - 7):
                content, code, rest = self.read(whole[:cut], whole[cut:], normalise=normalise)
                self.assertEqual(rest, b"rest", cut)
                if expected is None:
                    self.assertEqual((content, code), (None, "5.6.11"), cut)
                else:
                    assert content is not None
                    self.assertTrue(content.startswith(expected), (cut, content))
                    self.assertNotIn(b"\r\r", content)

    def test_a_bare_line_end_never_ends_the_message(self) -> None:
        for end in (b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\n\r.\n"):
            smuggled = b"a" + end + b"MAIL FROM:<eve@example.net>\r\n.\r\n"
            content, code, rest = self.read(smuggled)
            self.assertEqual((content, code, rest), (None, "5.6.11", b""), end)
            content, code, rest = self.read(smuggled, normalise=True)
            assert content is not None
            self.assertIn(b"MAIL FROM", content)
            self.assertNotIn(b"\n", content.replace(b"\r\n", b""))
            self.assertEqual(rest, b"")

    def test_size_is_exact_and_the_rest_is_swallowed(self) -> None:
        self.assertEqual(self.read(b"a" * 998 + b"\r\n.\r\n")[1], "")
        self.assertEqual(self.read(b"a" * 999 + b"\r\n.\r\nQUIT"), (None, "5.3.4", b"QUIT"))
        self.assertEqual(self.read(b"a" * 5000, b"b" * 5000, b"\r\n.\r\n")[1], "5.3.4")

    def test_dots_that_are_taken_off_do_not_count(self) -> None:
        self.assertEqual(self.read(b"..\r\n" * 333 + b".\r\n", max_size=999)[1], "")

    def test_received_fields(self) -> None:
        field = b"rEceived: by a\r\n"
        self.assertEqual(self.read(field * 3 + b"\r\n.\r\n")[1], "")
        self.assertEqual(self.read(field * 4 + b"\r\n.\r\n")[1], "5.4.6")
        # In the body they are text.
        self.assertEqual(self.read(field * 3 + b"\r\n" + field + b".\r\n")[1], "")
        self.assertEqual(self.read(b"\r\n" + field * 4 + b".\r\n")[1], "")
        self.assertEqual(self.read(b"X-Received: a\r\n" * 9 + b"\r\n.\r\n")[1], "")

    def test_received_fields_at_every_split(self) -> None:
        whole = b"Received: a\r\n" * 4 + b"\r\n.\r\n"
        for cut in range(len(whole) - 1):
            self.assertEqual(self.read(whole[:cut], whole[cut:])[1], "5.4.6", cut)
            good = self.read(whole[:cut], whole[cut:], max_received=4)
            self.assertEqual(good[1], "", cut)

    def test_a_full_disk(self) -> None:
        spool = CountedSpool()
        reader = ContentReader(spool, 1000, 3)
        spool.trouble = OSError(28, "No space left on device")
        reader.feed(b"some text\r\n")
        spool.trouble = None
        self.assertEqual(reader.feed(b"more\r\n.\r\nQUIT"), b"QUIT")
        assert reader.refusal is not None
        self.assertEqual(reader.refusal[:2], (452, "4.3.1"))
        self.assertTrue(spool.closed)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    @given(
        st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n.\r\n"]), max_size=30)
    )
    def test_any_split_gives_the_same(self, pieces: list[bytes]) -> None:
        whole = b"".join(pieces)
        first = ContentReader(Spool(), 1000, 3, normalise=True)
        rest = first.feed(whole)
        second = ContentReader(Spool(), 1000, 3, normalise=True)
        rests = b""
        for octet in whole:
            if second.finished:
                rests += bytes((octet,))
            else:
                rests += second.feed(bytes((octet,)))
        self.assertEqual(first.finished, second.finished)
        self.assertEqual(rest, rests)
        self.assertEqual(first.spool.data, second.spool.data)
        content = first.spool.data or b""
        self.assertNotIn(b"\n", content.replace(b"\r\n", b""))
        self.assertNotIn(b"\r", content.replace(b"\r\n", b""))
