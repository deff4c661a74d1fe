"""User bases with the real programs beside them: log in, and get mail, as a user of each."""

from __future__ import annotations

import imaplib
import shutil
import smtplib
import subprocess

from tests.interop.support import ServerTestCase, message
from tests.support import HOST, PATIENCE, free_ports

JOE = "joe@example.test"


class UserBaseServerCase(ServerTestCase):
    """``twistd mailkit`` with a base that knows Joe, whom the store does not know yet."""

    def serve_base(self, *auth: str) -> None:
        ports = free_ports(2)
        self.smtp_port, self.imap_port = ports
        options = [word for each in auth for word in ("--auth", each)]
        self.server = self.serve(
            "mailkit",
            *("--smtp", f"tcp:{self.smtp_port}:interface={HOST}"),
            *("--imap", f"tcp:{self.imap_port}:interface={HOST}"),
            *options,
            ports=ports,
        )

    def log_in(self, user: str, password: str) -> str:
        """``OK``, or the response code and text of the refusal."""
        with imaplib.IMAP4(HOST, self.imap_port, timeout=PATIENCE) as client:
            try:
                client.login(user, password)
            except imaplib.IMAP4.error as error:
                return str(error)
            return "OK"

    def send_to(self, address: str) -> int:
        with smtplib.SMTP(HOST, self.smtp_port, timeout=PATIENCE) as client:
            client.ehlo()
            client.mail("me@example.net")
            code = client.rcpt(address)[0]
            if code == 250:
                client.data(message("hello"))
            return code

    def check_joe(self, password: str = "right") -> None:
        """Joe gets mail and then reads it; others are refused, and their passwords stay unsaid."""
        self.assertEqual(self.send_to(JOE), 250)
        self.assertEqual(self.send_to("nobody@example.test"), 550)
        with imaplib.IMAP4(HOST, self.imap_port, timeout=PATIENCE) as client:
            client.login(JOE, password)
            self.assertEqual(client.select()[1], [b"1"])
        wrong = self.log_in(JOE, "w-r-o-n-g")
        self.assertIn("AUTHENTICATIONFAILED", wrong)
        self.assertEqual(self.log_in("nobody@example.test", "w-r-o-n-g"), wrong)
        self.stop(self.server)
        for secret in (password, "w-r-o-n-g"):
            self.assertNotIn(secret, self.server.log)


class PasswdFileServerTests(UserBaseServerCase):
    def test_a_file_that_dovecot_made(self) -> None:
        if shutil.which("doveadm") is None:
            self.skipTest("dovecot-core is not installed")
        done = subprocess.run(
            ["doveadm", "pw", "-s", "ARGON2ID", "-p", "s3cr3t"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        users = self.directory / "users"
        users.write_text(f"joe:{done.stdout.strip()}:1000:1000::/home/joe::\n")
        self.serve_base(f"example.test=passwd-file:{users}")
        self.check_joe("s3cr3t")

    def test_a_file_that_is_gone_is_no_wrong_password(self) -> None:
        users = self.directory / "users"
        self.serve_base(f"passwd-file:{users}")
        self.assertIn("UNAVAILABLE", self.log_in(JOE, "x"))
        self.assertEqual(self.send_to(JOE), 451)
        self.stop(self.server)
