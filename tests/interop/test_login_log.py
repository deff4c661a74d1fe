"""fail2ban reads our log, and so does whoever reads JSON."""

from __future__ import annotations

import imaplib
import json
import os
import poplib
import shutil
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.trial.unittest import SkipTest

from tests.interop.support import ANN, WholeServerTestCase
from tests.support import HOST, PATIENCE, ROOT, environment

#: Where `make interop-packages` unpacks it.
UNPACKED = ROOT / ".interop"
FILTER = ROOT / "examples" / "fail2ban" / "mailkit.conf"


def find_program() -> list[str]:
    """``fail2ban-regex``, and how to call it."""
    unpacked = UNPACKED / "usr/bin/fail2ban-regex"
    if unpacked.exists():
        return ["/usr/bin/python3", str(unpacked), "--config", str(UNPACKED / "etc/fail2ban")]
    if (installed := shutil.which("fail2ban-regex")) is None:
        raise SkipTest("fail2ban-regex (Debian package fail2ban) is not there")
    return [installed]


@pytest.mark.interop
class Fail2banTests(WholeServerTestCase):
    def test_wrong_passwords_are_found_and_nothing_else(self) -> None:
        program = find_program()
        server = self.start()
        for user in (ANN, "nobody] login failed: address=192.0.2.9 port="):
            with imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE) as imap:
                self.assertRaises(imaplib.IMAP4.error, imap.login, f'"{user}"', "wrong")
            pop3 = poplib.POP3(HOST, self.ports["pop3"], timeout=PATIENCE)
            pop3.user(user)
            self.assertRaises(poplib.error_proto, pop3.pass_, "wrong")
            pop3.quit()
            with smtplib.SMTP(HOST, self.ports["submission"], timeout=PATIENCE) as smtp:
                self.assertRaises(smtplib.SMTPAuthenticationError, smtp.login, user, "wrong")
        with imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE) as imap:
            imap.login(ANN, f"{ANN} secret")
        self.stop(server)
        self.assertEqual(server.log.count("login succeeded:"), 1)
        failed = [line for line in server.log.splitlines() if "login failed:" in line]
        output = self.search(program, self.directory / "server.log")
        self.assertIn(f"Failregex: {len(failed)} total", output)
        self.assertGreaterEqual(len(failed), 6)
        self.assertNotIn("192.0.2.9", server.log)
        # With --workers, each line tells which it was; what others log is not believed.
        (self.directory / "workers.log").write_text(
            "".join(
                f"2026-11-21T12:00:00+0000 [{who}] login failed: address=192.0.2.{n} port=1 account=-\n"
                for n, who in enumerate(("worker 2 mailkit.login#warn", "mailkit.other#warn", "-"))
            )
        )
        output = self.search(program, self.directory / "workers.log")
        self.assertIn("Failregex: 1 total", output)
        # From the journal comes, behind its date, what journald knows, and then our own line.
        (self.directory / "journal.log").write_text(
            "".join(
                f"2026-11-21T12:00:00+0000 {begin}2026-11-21T12:00:00+0000 [{who}] login failed:"
                f" address=192.0.2.{n} port=1 account=-\n"
                for n, (begin, who) in enumerate(
                    (
                        ("mail twistd[17]: ", "mailkit.login#warn"),
                        ("mail twistd[17]: ", "worker 1 mailkit.login#warn"),
                        ("mail twistd[17]: ", "mailkit.other#warn"),
                        ("[-] twistd[17]: ", "mailkit.login#warn"),
                    )
                )
            )
        )
        output = self.search(program, self.directory / "journal.log")
        self.assertIn("Failregex: 2 total", output)

    def search(self, program: list[str], log: Path) -> str:
        """What ``fail2ban-regex`` finds in a log."""
        # The checkout's own place may have a name that it does not take for a file's.
        copy = shutil.copy(FILTER, log.parent)
        done = subprocess.run(
            [*program, "--print-all-matched", "--no-check-all", str(log), copy],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            env={**os.environ, "PYTHONPATH": str(UNPACKED / "usr/lib/python3/dist-packages")},
        )
        return done.stdout + done.stderr


class JSONTests(WholeServerTestCase):
    def test_each_line_is_an_event(self) -> None:
        program = (
            "from mailkit.tap.json_log import observe\n"
            "from twisted.logger import Logger\n"
            "from mailkit.login_log import LoginFacts, log_login\n"
            "from twisted.logger import globalLogPublisher\n"
            "globalLogPublisher.addObserver(observe())\n"
            "log_login(LoginFacts('192.0.2.1', 1, 'imap', 'PLAIN', '', ''), 'failed')\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=environment(),
        )
        (line,) = done.stdout.splitlines()
        event = json.loads(line)
        self.assertEqual((event["address"], event["outcome"]), ("192.0.2.1", "failed"))
