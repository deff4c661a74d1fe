"""Reports, as the standard library reads them."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime import Action, DeliveryReport, ReportedAddress, parse_report
from mailkit.model import DeliverBy, Envelope, OriginalRecipient, Path, Recipient
from mailkit.queue.reports import (
    MAX_RECIPIENTS,
    MAX_RETURNED,
    MailReport,
    Notice,
    Reporter,
    status_code,
)
from mailkit.queue.values import Attempt, QueuedMessage, QueuedRecipient, RecipientState
from mailkit.testing.queue import queue_envelope

from .support import SAMPLE, START, parse, status_fields


class ReportCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reporter = Reporter("mail.example.org", lambda: START, token=lambda: "token")

    def notice(
        self, recipient: Recipient | None = None, action: Action = Action.FAILED, **fields: Any
    ) -> Notice:
        recipient = recipient or Recipient(Path("eve", "example.net"))
        queued = QueuedRecipient(1, recipient, RecipientState.FAILED, START)
        attempt = Attempt(START, 1.0, "mx.example.net", code=550, enhanced="5.1.1", text="no")
        return Notice(queued, action, attempt._replace(**fields))

    def write(self, *notices: Notice, content: bytes = SAMPLE, **fields: Any) -> list[MailReport]:
        envelope: Envelope = replace(queue_envelope(account="ann@example.org"), **fields)
        message = QueuedMessage("1", envelope, len(content), START, START + 60, [])
        return self.reporter.write(message, notices, io.BytesIO(content))

    def one(self, *notices: Notice, content: bytes = SAMPLE, **fields: Any) -> Any:
        (report,) = self.write(*notices, content=content, **fields)
        return parse(report.octets)


class ReporterTests(ReportCase):
    def test_parts(self) -> None:
        report = self.one(self.notice())
        self.assertEqual(report["Auto-Submitted"], "auto-replied")
        self.assertEqual(report.get_content_type(), "multipart/report")
        self.assertEqual(report["Content-Type"].params["report-type"], "delivery-status")
        text, status, original = report.iter_parts()
        self.assertIn("no", text.get_content())
        self.assertEqual(status.get_content_type(), "message/delivery-status")
        self.assertEqual(original.get_content_type(), "message/rfc822")
        self.assertEqual(original.get_content()["Subject"], "Lunch")
        self.assertEqual(report.defects, [])

    def test_header_alone(self) -> None:
        for fields, content, action in (
            ({"ret": "HDRS"}, SAMPLE, Action.FAILED),
            ({"ret": "FULL"}, SAMPLE, Action.DELAYED),
            ({}, SAMPLE + b"x" * MAX_RETURNED, Action.FAILED),
        ):
            report = self.one(self.notice(action=action), content=content, **fields)
            part = list(report.iter_parts())[2]
            self.assertEqual(part.get_content_type(), "text/rfc822-headers")
            self.assertIn("Subject: Lunch", part.get_content())
            self.assertNotIn("At noon", part.get_content())

    def test_message_is_returned_octet_for_octet(self) -> None:
        content = b"Subject: x\r\n\r\n\xff\x80\r\n.\r\n"
        (report,) = self.write(self.notice(), content=content)
        self.assertIn(
            b"Content-Transfer-Encoding: 8bit\r\n\r\n" + content + b"\r\n--", report.octets
        )
        self.assertEqual(report.envelope.body, "8BITMIME")

    def test_original_recipient(self) -> None:
        recipient = Recipient(
            Path("eve", "example.net"), orcpt=OriginalRecipient("rfc822", "team@example.org")
        )
        _, fields = status_fields(self.one(self.notice(recipient)))
        self.assertEqual(fields["Original-Recipient"], "rfc822; team@example.org")

    def test_remote_server(self) -> None:
        # RFC 3464 section 2.1.2: an address stands in brackets. What is no server is not told.
        for host, expected in (
            ("mx.example.net", "dns; mx.example.net"),
            ("192.0.2.1", "dns; [192.0.2.1]"),
            ("2001:db8::1", "dns; [IPv6:2001:db8::1]"),
            ("lmtp:unix:/run/lmtp", None),
            ("http:https://in.example/secret", None),
        ):
            report = self.one(self.notice(host=host))
            self.assertEqual(status_fields(report)[1].get("Remote-MTA"), expected)
            self.assertNotIn("/", next(report.iter_parts()).get_content())

    def test_utf8(self) -> None:
        (report,) = self.write(self.notice(Recipient(Path("jörg", "example.net"))))
        self.assertTrue(report.envelope.smtputf8)
        for octets in (
            b"Content-Type: message/global-delivery-status\r\n",
            "Final-Recipient: utf-8; jörg@example.net\r\n".encode(),
            b"Content-Type: message/global\r\n",
        ):
            self.assertIn(octets, report.octets)

    def test_original_recipient_in_seven_bits(self) -> None:
        # RFC 6533 section 3, item 3: a message/delivery-status has the form for 7 bits.
        recipient = Recipient(
            Path("eve", "example.net"), orcpt=OriginalRecipient("utf-8", "jörg+x@example.net")
        )
        (report,) = self.write(self.notice(recipient))
        self.assertIn(
            b"Original-Recipient: utf-8; j\\x{F6}rg\\x{2B}x@example.net\r\n", report.octets
        )
        self.assertTrue(report.octets.isascii())
        read = parse_report(report.octets)
        assert isinstance(read, DeliveryReport)
        self.assertEqual(
            read.recipients[0].original, ReportedAddress("utf-8", "jörg+x@example.net")
        )
        (report,) = self.write(self.notice(recipient), smtputf8=True)
        self.assertIn("Original-Recipient: utf-8; jörg+x@example.net\r\n".encode(), report.octets)

    def test_binary_message(self) -> None:
        # Whole, it could not be sent to a server without BINARYMIME.
        for content in (b"Subject: x\r\n\r\na\0\r\n", b"Subject: x\ny\r\n\r\n", b"A: \r\r\n\r\n"):
            report = self.one(self.notice(), content=content)
            part = list(report.iter_parts())[2]
            self.assertEqual(part.get_content_type(), "text/rfc822-headers")
        self.assertEqual(part["Content-Transfer-Encoding"], "binary")

    def test_what_a_server_says_breaks_nothing(self) -> None:
        hostile = "no\r\nAction: delivered\r\n\r\n--=_token--\r\n" + "x" * 5000 + "\u2028é"
        report = self.one(self.notice(text=hostile, enhanced="what"))
        _, fields = status_fields(report)
        self.assertEqual(fields["Action"], "failed")
        self.assertEqual(fields["Status"], "5.0.0")
        self.assertEqual(len(list(report.iter_parts())), 3)
        for sender, text in (("ann", hostile), ("änn", "é" * 2000)):
            path = Path(sender, "example.org")
            (written,) = self.write(self.notice(text=text), reverse_path=path)
            for line in written.octets.split(b"\r\n"):
                self.assertLessEqual(len(line), 998)

    def test_actions_are_reported_apart(self) -> None:
        notices = [self.notice(action=action) for action in Action]
        self.assertEqual(len(self.write(*notices)), len(Action))

    def test_many_recipients(self) -> None:
        notices = [self.notice()] * (MAX_RECIPIENTS + 1)
        first, second = self.write(*notices)
        self.assertEqual(len(status_fields(parse(first.octets))), MAX_RECIPIENTS + 1)
        self.assertEqual(len(status_fields(parse(second.octets))), 2)

    def test_status_fits_the_action(self) -> None:
        for action, enhanced, status in (
            (Action.FAILED, "4.2.2", "5.2.2"),
            (Action.DELAYED, "4.2.2", "4.2.2"),
            (Action.RELAYED, "", "2.0.0"),
            (Action.DELIVERED, "2.1.5", "2.1.5"),
        ):
            self.assertEqual(status_code(self.notice(action=action, enhanced=enhanced)), status)
        self.assertEqual(status_code(self.notice()._replace(expired=True)), "5.4.7")

    def test_message_that_is_gone(self) -> None:
        message = QueuedMessage("1", queue_envelope(), 0, START, START, [])
        (report,) = self.reporter.write(message, [self.notice()], None)
        self.assertEqual(len(list(parse(report.octets).iter_parts())), 3)

    def test_it_goes_as_the_message_would(self) -> None:
        # RFC 6710 section 4.6
        (report,) = self.write(self.notice(), priority=4)
        self.assertEqual(report.envelope.priority, 4)

    def test_late(self) -> None:
        late = self.notice(action=Action.DELAYED, enhanced="4.3.2")._replace(expired=True)
        report = self.one(late, deliver_by=DeliverBy(START, "N"))
        head, recipient = status_fields(report)
        self.assertEqual(recipient["Status"], "4.4.7")
        self.assertIn("Deliver-By-Date", head)
        text = next(report.iter_parts()).get_content()
        self.assertNotIn("all the time", text)
        self.assertNotIn("Deliver-By-Date", status_fields(self.one(late))[0])


class ReadBackTests(ReportCase):
    def test_our_own_reader_understands_it(self) -> None:
        recipient = Recipient(
            Path("eve", "example.net"), orcpt=OriginalRecipient("rfc822", "e@example.com")
        )
        (written,) = self.write(self.notice(recipient), envid="QQ314159")
        report = parse_report(written.octets)
        assert isinstance(report, DeliveryReport)
        self.assertEqual(report.envelope_id, "QQ314159")
        self.assertEqual(report.reporting_mta, "mail.example.org")
        self.assertEqual((report.arrival, report.message_id), (START, "<1@example.org>"))
        (read,) = report.recipients
        self.assertEqual(read.final, ReportedAddress("rfc822", "eve@example.net"))
        self.assertEqual(read.original, ReportedAddress("rfc822", "e@example.com"))
        self.assertEqual((read.action, read.status), (Action.FAILED, "5.1.1"))
        self.assertEqual(
            (read.diagnostic_type, read.diagnostic, read.remote_mta, read.last_attempt),
            ("smtp", "550 5.1.1 no", "mx.example.net", START),
        )

    def test_in_utf_8(self) -> None:
        (written,) = self.write(self.notice(Recipient(Path("jös", "exämple.net"))))
        report = parse_report(written.octets)
        assert isinstance(report, DeliveryReport)
        self.assertEqual(report.recipients[0].final, ReportedAddress("utf-8", "jös@exämple.net"))


class LanguageTests(ReportCase):
    def language(self, header: bytes) -> str:
        report = self.one(self.notice(), content=header + b"Subject: Lunch\r\n\r\nhi\r\n")
        return str(next(report.iter_parts())["Content-Language"])

    def test_what_the_message_asks_for(self) -> None:
        for header, tag in (
            (b"", "en"),
            (b"Accept-Language: de-AT\r\n", "de"),
            (b"Accept-Language: fr, en;q=0.2, ru ; q=0.8 (gladly)\r\n", "ru"),
            (b"Accept-Language: de;q=0, fr\r\nContent-Language: ru, de\r\n", "ru"),
            (b"Content-Language: (German) DE\r\n", "de"),
            (b"Accept-Language: *\r\n", "en"),
            (b"Accept-Language: \xff;;q=9,,-" + b" " * 60_000 + b"de\r\n", "en"),
        ):
            self.assertEqual(self.language(header), tag, header[:80])

    def test_setting(self) -> None:
        self.reporter = Reporter(
            "mail.example.org", lambda: START, token=lambda: "token", language="de"
        )
        self.assertEqual(self.language(b""), "de")
        self.assertEqual(self.language(b"Accept-Language: en\r\n"), "en")

    def test_of_an_account(self) -> None:
        languages = {"ann@example.org": "de"}
        self.reporter = Reporter(
            "mail.example.org", lambda: START, token=lambda: "token", language_of=languages.get
        )
        # What a message asks for comes before it, what it is written in after it.
        self.assertEqual(self.language(b""), "de")
        self.assertEqual(self.language(b"Accept-Language: ru\r\n"), "ru")
        self.assertEqual(self.language(b"Content-Language: ru\r\n"), "de")
        languages.clear()
        self.assertEqual(self.language(b"Content-Language: ru\r\n"), "ru")
        self.assertEqual(self.language(b""), "en")

    def test_every_text(self) -> None:
        for tag, sample in (("de", "nicht"), ("ru", "\u043d\u0435")):
            content = b"Accept-Language: %b\r\nSubject: =?utf-8?Q?J=C3=B6?=\r\n\r\n" % tag.encode()
            for action in Action:
                report = self.one(
                    self.notice(action=action)._replace(expired=True), content=content
                )
                # ASCII on the wire, whatever the language.
                (raw,) = self.write(self.notice(action=action), content=content)
                self.assertTrue(raw.octets.isascii())
                self.assertNotIn("Your message", report["Subject"])
                text = next(report.iter_parts()).get_content()
                self.assertNotIn("essage was", text)
                self.assertIn("J\u00f6", text)
                if action is Action.FAILED:
                    self.assertIn(sample, text)
                    # The other server's words, as they are.
                    self.assertIn("550 5.1.1 no", text)
                    self.assertNotIn("{", text)
