"""``mailkit tls-report``: what an administrator sees of a report."""

from __future__ import annotations

import json

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mailkit.queue.tlsrpt import write_message
from mailkit.tap.command import main

from ..queue.test_tlsrpt import EXAMPLE, REPORT


class TLSReportCommandTests(SynchronousTestCase):
    def run_command(self, octets: bytes) -> Result:
        return CliRunner().invoke(main, ["tls-report", "-"], input=octets)

    def test_printed(self) -> None:
        result = self.run_command(json.dumps(EXAMPLE).encode())
        self.assertEqual(result.exit_code, 0, result.output)
        lines = result.output.splitlines()
        self.assertEqual(lines[0], "Company-X, report 5065427c-23d3-47ca-b6e0-946ea0e8c4be")
        self.assertIn("company-y.example (sts): 5326 good, 303 failed", lines)
        line = "  100 x certificate-expired at mx1.mail.company-y.example"
        self.assertIn(f"{line} from 2001:db8:abcd:0012::1", lines)

    def test_message(self) -> None:
        octets = write_message(REPORT, "example.net", ["a@example.net"], 1_700_000_000, "token")
        result = self.run_command(octets)
        self.assertIn("mx.example.net (tlsa): 5 good, 1 failed\n    3 1 1 00ff\n", result.output)

    def test_nonsense(self) -> None:
        result = self.run_command(b"Subject: hello\r\n\r\nhello\r\n")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("is no TLS report: it is neither JSON", result.output)
