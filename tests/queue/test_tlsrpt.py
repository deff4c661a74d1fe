"""TLS reports: where domains want them, writing and reading them."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timezone
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.queue.tlsrpt import (
    MAX_REPORT,
    AppliedPolicy,
    BadReport,
    FailureDetail,
    PolicyResult,
    TLSReport,
    parse_places,
    read_report,
    write_message,
    write_report,
)

from .support import parse

#: RFC 8460 appendix B.
EXAMPLE: dict[str, Any] = {
    "organization-name": "Company-X",
    "date-range": {
        "start-datetime": "2016-04-01T00:00:00Z",
        "end-datetime": "2016-04-01T23:59:59Z",
    },
    "contact-info": "sts-reporting@company-x.example",
    "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
    "policies": [
        {
            "policy": {
                "policy-type": "sts",
                "policy-string": [
                    "version: STSv1",
                    "mode: testing",
                    "mx: *.mail.company-y.example",
                    "max_age: 86400",
                ],
                "policy-domain": "company-y.example",
                "mx-host": "*.mail.company-y.example",
            },
            "summary": {
                "total-successful-session-count": 5326,
                "total-failure-session-count": 303,
            },
            "failure-details": [
                {
                    "result-type": "certificate-expired",
                    "sending-mta-ip": "2001:db8:abcd:0012::1",
                    "receiving-mx-hostname": "mx1.mail.company-y.example",
                    "failed-session-count": 100,
                },
                {
                    "result-type": "starttls-not-supported",
                    "sending-mta-ip": "2001:db8:abcd:0013::1",
                    "receiving-mx-hostname": "mx2.mail.company-y.example",
                    "receiving-ip": "203.0.113.56",
                    "failed-session-count": 200,
                    "additional-information": "https://reports.company-x.example/",
                },
                {
                    "result-type": "validation-failure",
                    "sending-mta-ip": "198.51.100.62",
                    "receiving-ip": "203.0.113.58",
                    "receiving-mx-hostname": "mx-backup.mail.company-y.example",
                    "failed-session-count": 3,
                    "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED",
                },
            ],
        }
    ],
}
REPORT = TLSReport(
    "mail.example.org",
    "tls@example.org",
    "1@example.org",
    datetime(2026, 11, 20, tzinfo=timezone.utc),
    datetime(2026, 11, 20, 23, 59, 59, tzinfo=timezone.utc),
    [
        PolicyResult(AppliedPolicy("no-policy-found", "example.net"), 2, 0, []),
        PolicyResult(
            AppliedPolicy("tlsa", "mx.example.net", ("3 1 1 00ff",)),
            5,
            1,
            [FailureDetail("validation-failure", 1, "mx.example.net", "192.0.2.1")],
        ),
    ],
)


class PlaceTests(SynchronousTestCase):
    def test_places(self) -> None:
        mail, post = "mailto:reports@example.com", "https://reporting.example.com/v1/tlsrpt"
        for texts, places in (
            ([f"v=TLSRPTv1;rua={mail}"], [mail]),
            ([f"v=TLSRPTv1; rua={post} , {mail}; x=y;", "other"], [post, mail]),
            ([], []),
            ([f"v=TLSRPTv1;rua={mail}", f"v=TLSRPTv1;rua={post}"], []),
            ([f"v=TLSRPTv2;rua={mail}"], []),
            (["v=TLSRPTv1;rua=http://example.com/"], []),
            (["v=TLSRPTv1;rua=mailto:a@example.com?bcc=everybody"], []),
            (["v=TLSRPTv1;rua=mailto:a@b@c"], []),
            (["v=TLSRPTv1;rua=" + ",".join([mail] * 100)], [mail] * 4),
        ):
            self.assertEqual(parse_places(texts), places, texts)


class ReportTests(SynchronousTestCase):
    def test_example_of_the_standard(self) -> None:
        report = read_report(json.dumps(EXAMPLE).encode())
        self.assertEqual(report.start, datetime(2016, 4, 1, tzinfo=timezone.utc))
        (result,) = report.policies
        self.assertEqual((result.successes, result.failures), (5326, 303))
        self.assertEqual(result.policy.mx, ("*.mail.company-y.example",))
        self.assertEqual([each.sessions for each in result.details], [100, 200, 3])
        self.assertEqual(result.details[2].reason, "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED")

    def test_round_trip(self) -> None:
        self.assertEqual(read_report(write_report(REPORT)), REPORT)

    def test_message(self) -> None:
        octets = write_message(REPORT, "example.net", ["a@example.net"], 1_700_000_000, "token")
        self.assertEqual(read_report(octets), REPORT)
        message = parse(octets)
        self.assertEqual(message["TLS-Report-Domain"], "example.net")
        self.assertEqual(message["TLS-Report-Submitter"], "example.org")
        subject = "Report Domain: example.net Submitter: example.org Report-ID: <1@example.org>"
        self.assertEqual(message["Subject"], subject)
        self.assertEqual(message["TLS-Required"], "No")
        self.assertEqual(message.get_content_type(), "multipart/report")
        self.assertEqual(message.get_param("report-type"), "tlsrpt")
        attached = list(message.iter_parts())[1]
        self.assertEqual(attached.get_content_type(), "application/tlsrpt+gzip")
        name = "example.org!example.net!1795132800!1795219199.json.gz"
        self.assertEqual(attached.get_filename(), name)
        content: Any = attached.get_payload(decode=True)
        self.assertEqual(gzip.decompress(content), gzip.decompress(write_report(REPORT)))

    def test_nonsense(self) -> None:
        for octets in (
            b"",
            b"{",
            b"[]",
            b"{}",
            b'{"policies": 1}',
            b"Subject: x\r\n\r\n{}",
            b"\x1f\x8bx",
            gzip.compress(b"{}")[:-4],
            gzip.compress(b" " * (MAX_REPORT + 1)),
            b'{"a":' * 100_000,
            json.dumps({**EXAMPLE, "policies": {}}).encode(),
            json.dumps({**EXAMPLE, "policies": [{}] * 1001}).encode(),
            json.dumps({**EXAMPLE, "date-range": {"start-datetime": "x"}}).encode(),
            json.dumps(EXAMPLE).replace("5326", "-1").encode(),
            json.dumps(EXAMPLE).replace("5326", "1e9").encode(),
            json.dumps(EXAMPLE).replace("5326", "NaN").encode(),
        ):
            self.assertRaises(BadReport, read_report, octets)

    def test_times_elsewhere(self) -> None:
        # RFC 3339: what is shown as UTC must be that.
        span = {
            "start-datetime": "2026-11-20T01:30:00+01:30",
            "end-datetime": "2026-11-20T20:59:59-03:00",
        }
        report = read_report(json.dumps({**EXAMPLE, "date-range": span}).encode())
        self.assertEqual(f"{report.start:%d %H:%M} {report.end:%d %H:%M}", "20 00:00 20 23:59")
        span["start-datetime"] = "0001-01-01T00:00:00+23:59"
        broken = json.dumps({**EXAMPLE, "date-range": span}).encode()
        self.assertRaises(BadReport, read_report, broken)

    def test_texts_are_safe_to_print(self) -> None:
        report = read_report(json.dumps({**EXAMPLE, "report-id": "a\x1b[2Jb\n"}).encode())
        self.assertEqual(report.id, "a?[2Jb?")
