"""Reports of other servers: the standards' examples, what others write, and anything else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime import (
    Action,
    DeliveryReport,
    FeedbackReport,
    ReportedAddress,
    ReportedRecipient,
    parse_date,
    parse_report,
)
from mailkit.mime.reports import MAX_BLOCKS, MAX_REPORTED

from . import corpus
from .test_properties import PIECES, steady

# RFC 3464 Appendix E, "Multi-Recipient DSN".
MULTI = b"""\
From: Mail Delivery Subsystem <MAILER-DAEMON@CS.UTK.EDU>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
       boundary="JAA13167.773673707/CS.UTK.EDU"

--JAA13167.773673707/CS.UTK.EDU
content-type: text/plain; charset=us-ascii

       ----- The following addresses had delivery problems -----
<arathib@vnet.ibm.com> (unrecoverable error)

--JAA13167.773673707/CS.UTK.EDU
content-type: message/delivery-status

Reporting-MTA: dns; cs.utk.edu

Original-Recipient: rfc822;arathib@vnet.ibm.com
Final-Recipient: rfc822;arathib@vnet.ibm.com
Action: failed
Status: 5.0.0 (permanent failure)
Diagnostic-Code: smtp;  550 'arathib@vnet.IBM.COM' is not a
 registered gateway user
Remote-MTA: dns; vnet.ibm.com

Original-Recipient: rfc822;johnh@hpnjld.njd.hp.com
Final-Recipient: rfc822;johnh@hpnjld.njd.hp.com
Action: delayed
Status: 4.0.0 (hpnjld.njd.jp.com: host name lookup failure)

Original-Recipient: rfc822;wsnell@sdcc13.ucsd.edu
Final-Recipient: rfc822;wsnell@sdcc13.ucsd.edu
Action: failed
Status: 5.0.0
Diagnostic-Code: smtp; 550 user unknown
Remote-MTA: dns; sdcc13.ucsd.edu

--JAA13167.773673707/CS.UTK.EDU
content-type: message/rfc822

Subject: [original message goes here]
Message-ID: <1@cs.utk.edu>

--JAA13167.773673707/CS.UTK.EDU--
"""

# RFC 3464 Appendix E, "DSN from gateway to foreign system", "Simple DSN".
FOREIGN = b"""\
content-type: multipart/report;
    report-type=delivery-status;
    boundary="84229080704991.122306.SYS30"

--84229080704991.122306.SYS30
content-type: text/plain

Invalid address - nair_s

--84229080704991.122306.SYS30
content-type: message/delivery-status

Reporting-MTA: mailbus; SYS30

Final-Recipient: unknown; nair_s
Status: 5.0.0 (unknown permanent failure)
Action: failed

--84229080704991.122306.SYS30--
"""

# RFC 5965 Appendix B.2.
FEEDBACK = b"""\
From: <abusedesk@example.com>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report;
     boundary="part1_13d.2e68ed54_boundary"

--part1_13d.2e68ed54_boundary
Content-Type: text/plain; charset="US-ASCII"
Content-Transfer-Encoding: 7bit

This is an email abuse report for an email message received from IP
192.0.2.1 on Thu, 8 Mar 2005 14:00:00 EDT.

--part1_13d.2e68ed54_boundary
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <somespammer@example.net>
Original-Rcpt-To: <user@example.com>
Arrival-Date: Thu, 8 Mar 2005 14:00:00 EDT
Reporting-MTA: dns; mail.example.com
Source-IP: 192.0.2.1
Authentication-Results: mail.example.com;
               spf=fail smtp.mail=somespammer@example.com
Reported-Domain: example.net
Reported-Uri: http://example.net/earn_money.html
Reported-Uri: mailto:user@example.com
Removal-Recipient: user@example.com

--part1_13d.2e68ed54_boundary
Content-Type: message/rfc822
Content-Disposition: inline

From: <somespammer@example.net>
Subject: Earn money
Message-ID: <8787KJKJ3K4J3K4J3K4J3.mail@example.net>

Spam Spam Spam
--part1_13d.2e68ed54_boundary--
"""

# https://cr.yp.to/proto/qsbmf.txt
QMAIL = b"""\
Return-Path: <>
From: MAILER-DAEMON@heaven.af.mil
Subject: failure notice

Hi. This is the qmail-send program at heaven.af.mil.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<god@heaven.af.mil>:
Sorry, no mailbox here by that name. (#5.1.1)

<joe@heaven.af.mil>:
It is full.

--- Below this line is a copy of the message.

Message-ID: <2@example.org>
Subject: prayer

Hello.
"""


def wire(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


class DeliveryTests(SynchronousTestCase):
    def read(self, text: bytes) -> DeliveryReport:
        report = parse_report(wire(text))
        assert isinstance(report, DeliveryReport)
        # Stored mail may have bare line feeds.
        bare = parse_report(text)
        assert isinstance(bare, DeliveryReport)
        self.assertEqual(bare._replace(header=None), report._replace(header=None))
        return report

    def test_recipients(self) -> None:
        report = self.read(MULTI)
        self.assertEqual(report.reporting_mta, "cs.utk.edu")
        self.assertEqual(report.message_id, "<1@cs.utk.edu>")
        self.assertTrue(report.standard)
        arathib = ReportedAddress("rfc822", "arathib@vnet.ibm.com")
        johnh = ReportedAddress("rfc822", "johnh@hpnjld.njd.hp.com")
        wsnell = ReportedAddress("rfc822", "wsnell@sdcc13.ucsd.edu")
        self.assertEqual(
            report.recipients,
            [
                ReportedRecipient(
                    arathib,
                    Action.FAILED,
                    arathib,
                    "5.0.0",
                    "550 'arathib@vnet.IBM.COM' is not a registered gateway user",
                    "smtp",
                    "vnet.ibm.com",
                ),
                ReportedRecipient(johnh, Action.DELAYED, johnh, "4.0.0"),
                ReportedRecipient(
                    wsnell,
                    Action.FAILED,
                    wsnell,
                    "5.0.0",
                    "550 user unknown",
                    "smtp",
                    "sdcc13.ucsd.edu",
                ),
            ],
        )

    def test_foreign_address_and_no_message(self) -> None:
        report = self.read(FOREIGN)
        self.assertEqual(report.recipients[0].final, ReportedAddress("unknown", "nair_s"))
        self.assertEqual((report.message_id, report.header), (None, None))

    def test_envelope_id_and_dates(self) -> None:
        text = FOREIGN.replace(
            b"Reporting-MTA: mailbus; SYS30\n",
            b"Original-Envelope-Id: QQ+314159\nReporting-MTA: mailbus; SYS30\n"
            b"Arrival-Date: Fri, 8 Jul 1994 09:21:47 -0400\n",
        ).replace(
            b"Action: failed\n",
            b"Action: Delayed (4 hours)\nLast-Attempt-Date: Fri, 8 Jul 1994 10:21:47 -0400\n"
            b"Will-Retry-Until: Sat, 9 Jul 1994 10:21:47 -0400\n",
        )
        report = self.read(text)
        self.assertEqual(report.envelope_id, "QQ+314159")
        arrival = parse_date(b"Fri, 8 Jul 1994 09:21:47 -0400")
        assert arrival is not None
        self.assertEqual(report.arrival, int(arrival.timestamp()))
        (recipient,) = report.recipients
        self.assertIs(recipient.action, Action.DELAYED)
        self.assertEqual(recipient.last_attempt, int(arrival.timestamp()) + 3600)
        self.assertEqual(recipient.will_retry_until, int(arrival.timestamp()) + 25 * 3600)

    def test_international_address(self) -> None:
        # RFC 6533 section 3: as it is, or with \x{...} for what is not ASCII.
        for octets in (
            "utf-8; jürgen@exämple.org".encode(),
            b"utf-8; j\\x{FC}rgen@ex\\x{E4}mple.org",
        ):
            report = self.read(
                FOREIGN.replace(b"unknown; nair_s", octets).replace(
                    b"message/delivery-status", b"message/global-delivery-status"
                )
            )
            self.assertEqual(
                report.recipients[0].final, ReportedAddress("utf-8", "jürgen@exämple.org")
            )

    def test_header_alone(self) -> None:
        headers = b"content-type: text/rfc822-headers\n\nMessage-ID: <3@example.org>\n"
        report = self.read(MULTI.replace(b"content-type: message/rfc822\n", headers))
        self.assertEqual(report.message_id, "<3@example.org>")

    def test_lenient(self) -> None:
        # Without a type, in angle brackets, without an action.
        text = FOREIGN.replace(b"unknown; nair_s", b"<joe@example.org>")
        report = self.read(text.replace(b"Action: failed\n", b""))
        (recipient,) = report.recipients
        self.assertEqual(recipient.final, ReportedAddress("rfc822", "joe@example.org"))
        self.assertIs(recipient.action, Action.FAILED)

    def test_no_more_recipients_than_the_limit(self) -> None:
        block = b"\nFinal-Recipient: rfc822; a@example.org\nAction: failed\nStatus: 5.1.1\n"
        text = FOREIGN.replace(
            b"SYS30\n\nFinal", b"SYS30\n" + block * 2 * MAX_REPORTED + b"\nFinal"
        )
        self.assertEqual(len(self.read(text).recipients), MAX_REPORTED)

    def test_no_more_groups_of_fields_than_the_limit(self) -> None:
        def report(count: int) -> object:
            empty = b"X-Nothing: x\n\n" * count
            mark = b"Original-Recipient: "
            return parse_report(MULTI.replace(mark, empty + mark, 1).replace(b"\n", b"\r\n"))

        self.assertIsInstance(report(MAX_BLOCKS - 10), DeliveryReport)
        self.assertIsNone(report(MAX_BLOCKS))

    def test_many_at_signs(self) -> None:
        # Quadratic work would take hours.
        start, end = QMAIL.index(b"<god@"), QMAIL.index(b">:")
        text = QMAIL[:start] + b"<god" + b"@" * 900_000 + QMAIL[end + 1 :]
        self.assertEqual(len(self.read(QMAIL).recipients), 2)
        self.assertEqual(len(self.read(text).recipients), 1)

    def test_qmail(self) -> None:
        report = self.read(QMAIL)
        self.assertFalse(report.standard)
        self.assertEqual(report.message_id, "<2@example.org>")
        self.assertEqual(
            [(each.final.address, each.status, each.diagnostic) for each in report.recipients],
            [
                (
                    "god@heaven.af.mil",
                    "5.1.1",
                    "Sorry, no mailbox here by that name. (#5.1.1)",
                ),
                ("joe@heaven.af.mil", "", "It is full."),
            ],
        )

    def test_exim(self) -> None:
        text = (
            b"X-Failed-Recipients: joe@example.org,\n  ann@example.org\n\nThis message was created"
            b" automatically by mail delivery software.\n\n"
            b"------ This is a copy of the message, including all the headers. ------\n\n"
            b"Message-ID: <4@example.org>\n\nHello\n"
        )
        report = self.read(text)
        self.assertEqual(
            [each.final.address for each in report.recipients],
            ["joe@example.org", "ann@example.org"],
        )
        self.assertEqual(report.message_id, "<4@example.org>")

    def test_no_reports(self) -> None:
        for text in (
            b"",
            b"Subject: Hi\n\nHi. This is the qmail fan club.\n\n<a@b>: is a smiley\n",
            b"X-Failed-Recipients: nobody\n\n",
            MULTI.replace(b"message/delivery-status", b"text/plain"),
            # Somebody sends a report on.
            b"Content-Type: message/rfc822\n\n" + MULTI,
        ):
            self.assertIsNone(parse_report(wire(text)), text)


class FeedbackTests(SynchronousTestCase):
    def test_example(self) -> None:
        report = parse_report(wire(FEEDBACK))
        assert isinstance(report, FeedbackReport)
        self.assertIsNotNone(report.header)
        self.assertEqual(
            report._replace(header=None),
            FeedbackReport(
                "abuse",
                "SomeGenerator/1.0",
                ["user@example.com"],
                "somespammer@example.net",
                None,
                "192.0.2.1",
                ["example.net"],
                # EDT is four hours behind.
                1110304800,
                1,
                "<8787KJKJ3K4J3K4J3K4J3.mail@example.net>",
            ),
        )

    def test_incidents(self) -> None:
        for octets, expected in ((b"17", 17), (b"x", 1), (b"9" * 5000, 1), (b"-3", 1)):
            text = FEEDBACK.replace(b"Version: 1\n", b"Version: 1\nIncidents: %b\n" % octets)
            report = parse_report(wire(text))
            assert isinstance(report, FeedbackReport)
            self.assertEqual(report.incidents, expected)

    def test_without_type(self) -> None:
        self.assertIsNone(parse_report(FEEDBACK.replace(b"Feedback-Type: abuse\n", b"")))


FIELDS = [
    b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n",
    b"Content-Type: message/delivery-status\r\n\r\n",
    b"Content-Type: message/global-delivery-status\r\n\r\n",
    b"Content-Type: message/feedback-report\r\n\r\n",
    b"Content-Type: text/rfc822-headers\r\n\r\n",
    b"Reporting-MTA: ",
    b"Final-Recipient: ",
    b"Original-Recipient: ",
    b"Action: ",
    b"failed\r\n",
    b"Status: 5.1.1\r\n",
    b"Arrival-Date: ",
    b"Incidents: ",
    b"Feedback-Type: ",
    b"X-Failed-Recipients: a@b\r\n",
    b"utf-8; \\x{110000}\\x{D800}\\x{20AC}",
    b"Hi. This is the\r\n\r\n<a@b>:\r\n",
]


class AnyOctetsTests(SynchronousTestCase):
    @steady
    @given(st.lists(st.sampled_from(FIELDS + PIECES), max_size=40).map(b"".join))
    def test_never_fails(self, octets: bytes) -> None:
        report = parse_report(octets)
        if isinstance(report, DeliveryReport):
            self.assertTrue(report.recipients)
        # A start that leads into the depth of the reader.
        start = FIELDS[0] + FIELDS[1] + b"Final-Recipient: x\r\n"
        parse_report(start + octets)

    def test_cut_anywhere(self) -> None:
        for text in (MULTI, FOREIGN, FEEDBACK, QMAIL):
            octets = wire(text)
            for end in range(0, len(octets), 3):
                parse_report(octets[:end])


class CorpusTests(SynchronousTestCase):
    if corpus.MISSING:
        skip = corpus.MISSING

    def test_reports_are_found(self) -> None:
        found = {
            name.rpartition("/")[2]: [
                (each.action.value, each.status) for each in report.recipients
            ]
            for name, octets in corpus.messages()
            if isinstance(report := parse_report(octets), DeliveryReport)
        }
        five = [("failed", "5.1.1")] * 5
        self.assertEqual(
            found,
            {
                "raw_email_with_mimepart_without_content_type.eml": [("delayed", "4.5.0")],
                "multi_address_bounce1.eml": five,
                "multi_address_bounce2.eml": five,
                # The first part for programs is prose.
                "multipart_report_multiple_status.eml": [("failed", "5.3.0")],
                "report_422.eml": [("delayed", "4.2.2")],
                "report_530.eml": [("failed", "5.3.0")],
            },
        )
