"""Programs of others log in with a certificate, and no password."""

from __future__ import annotations

import ftplib
import imaplib
import poplib
import smtplib
import ssl

import pytest
from twisted.trial.unittest import SkipTest

from tests.certificates import authority, make_client
from tests.interop import mutt
from tests.interop.support import ANN, BOB, WholeServerTestCase, message
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

    def check_log(self) -> None:
        """Nobody has logged in but by a certificate."""
        self.stop(self.server)
        self.assertNotIn("mechanism=PLAIN", self.server.log)
        self.assertIn("mechanism=EXTERNAL tls=TLSv1.3", self.server.log)
        self.assertIn(f"reason=- account={ANN}\n", self.server.log)

    def context(self) -> ssl.SSLContext:
        self.trusted.load_cert_chain(self.client)
        self.trusted.check_hostname = False
        return self.trusted

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
        self.check_log()

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
        self.check_log()

    def test_mutt(self) -> None:
        if mutt.MISSING:
            raise SkipTest(mutt.MISSING)
        mutt.open_inbox(
            self.directory,
            f"imaps://{HOST}:{self.ports['imaps']}",
            *(f'imap_user="{ANN}"', 'imap_authenticators="external"'),
            f'ssl_client_cert="{self.client}"',
            f'certificate_file="{self.directory}/tls/certificate.pem"',
        )
        self.check_log()
