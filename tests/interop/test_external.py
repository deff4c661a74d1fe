"""Programs of others log in with a certificate, and no password."""

from __future__ import annotations

import ftplib
import imaplib
import poplib
import shutil
import smtplib
import ssl
import subprocess

import pytest
from twisted.trial.unittest import SkipTest

from tests.certificates import authority, make_client
from tests.interop.support import ANN, BOB, WholeServerTestCase, message
from tests.interop.test_imap_clients import run_in_terminal
from tests.support import HOST, PATIENCE


@pytest.mark.interop
class CertificateTests(WholeServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.add_account(BOB)
        ann = make_client(ANN)
        self.client = str(self.directory / "ann.pem")
        (self.directory / "ann.pem").write_bytes(ann.pem + ann.key_pem)
        (self.directory / "ca.pem").write_bytes(authority().pem)
        lines = self.config.read_text()
        self.config.write_text(f'client-ca = "{self.directory}/ca.pem"\n{lines}\n')
        self.server = self.start()

        self.addCleanup(self.check_log)

    def check_log(self) -> None:
        self.stop(self.server)
        self.assertNotIn("mechanism=PLAIN", self.server.log)
        self.assertIn("mechanism=EXTERNAL tls=TLSv1.3", self.server.log)
        self.assertIn(f"reason=- account={ANN}\n", self.server.log)

    def context(self) -> ssl.SSLContext:
        self.trusted.load_cert_chain(self.client)
        self.trusted.check_hostname = False
        return self.trusted

    def run_program(self, *arguments: str, input: str = "", code: int = 0) -> str:
        if shutil.which(arguments[0]) is None:
            raise SkipTest(f"{arguments[0]} is not installed")
        done = subprocess.run(
            arguments,
            input=input,
            capture_output=True,
            timeout=PATIENCE,
            text=True,
            cwd=self.directory,
            env={"HOME": str(self.directory), "PATH": "/usr/bin:/bin"},
            check=False,
        )
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout

    def test_the_standard_library(self) -> None:
        context = self.context()
        with imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE) as imap:
            self.assertNotIn("AUTH=EXTERNAL", imap.capabilities)
            imap.starttls(context)
            self.assertIn("AUTH=EXTERNAL", imap.capabilities)
            imap.authenticate("EXTERNAL", lambda challenge: b"")
        with imaplib.IMAP4_SSL(HOST, self.ports["imaps"], ssl_context=context) as imap:
            identity = (lambda challenge: BOB.encode(),)
            self.assertRaises(imaplib.IMAP4.error, imap.authenticate, "EXTERNAL", *identity)
        with smtplib.SMTP(HOST, self.ports["submission"], timeout=PATIENCE) as smtp:
            smtp.starttls(context=context)
            smtp.ehlo()
            self.assertEqual(smtp.docmd("AUTH", "EXTERNAL =")[0], 235)
        pop3 = poplib.POP3_SSL(HOST, self.ports["pop3s"], context=context)
        self.assertTrue(pop3._shortcmd("AUTH EXTERNAL =").startswith(b"+OK"))  # type: ignore[attr-defined]
        pop3.quit()
        # FTP asks for no password.
        ftp = ftplib.FTP_TLS(context=context, timeout=PATIENCE)
        ftp.connect(HOST, self.ports["ftp"])
        ftp.auth()
        self.assertEqual(ftp.sendcmd(f"USER {BOB}")[:3], "331")
        self.assertEqual(ftp.sendcmd(f"USER {ANN}")[:3], "232")
        ftp.prot_p()
        ftp.nlst()
        ftp.quit()

    def test_curl_and_msmtp(self) -> None:
        options = ("curl", "-sS", "--insecure", "--cert", self.client, "--user", f"{ANN}:")
        external = ("--login-options", "AUTH=EXTERNAL")
        for service in ("imaps", "pop3s"):
            url = f"{service}://{HOST}:{self.ports[service]}/"
            self.run_program(*options, *external, url)
        self.run_program(*options, "--ssl-reqd", f"ftp://{HOST}:{self.ports['ftp']}/")
        self.run_program(
            *("msmtp", "--host", HOST, "--port", str(self.ports["submissions"])),
            *("--tls=on", "--tls-starttls=off", "--tls-certcheck=off", "--auth=external"),
            *("--tls-cert-file", self.client, "--tls-key-file", self.client),
            *("--user", ANN, "--from", ANN, BOB),
            input=message("by certificate").decode("latin-1"),
        )

    def test_mutt(self) -> None:
        if shutil.which("mutt") is None:
            raise SkipTest("mutt is not installed")
        server = f"imaps://{HOST}:{self.ports['imaps']}"
        settings = self.directory / "muttrc"
        settings.write_text(
            f'set imap_user="{ANN}"\nset imap_authenticators="external"\n'
            f'set ssl_client_cert="{self.client}"\nset folder="{server}/"\n'
            f'set spoolfile="{server}/INBOX"\nset ssl_verify_host=no\n'
            f'set certificate_file="{self.directory}/tls/certificate.pem"\n'
            "set wait_key=no\nset sleep_time=0\nset quit=yes\n"
            'push "<quit>"\n'
        )
        run_in_terminal(["mutt", "-n", "-F", str(settings)], str(self.directory))
