"""Other people's clients log in to our servers: gsasl, msmtp, mbsync, mutt."""

from __future__ import annotations

import os
import poplib
import re
import shutil
import smtplib
import subprocess
from pathlib import Path

import pytest

from tests.interop import mutt
from tests.interop.support import ANN, WholeServerTestCase
from tests.support import HOST, PATIENCE, ServerProcess, administer

pytestmark = pytest.mark.interop

PASSWORD = "s\u00e9cret"
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-1")


class SASLCase(WholeServerTestCase):
    """A server of every protocol, with keys for Ann."""

    def setUp(self) -> None:
        super().setUp()
        mechanisms = [word for name in SCRAM for word in ("--mechanism", name)]
        self.mailkit("scram", "on", *mechanisms)
        self.mailkit(
            *("account", "passwd", ANN, "--password-stdin", "--scheme", "plain"),
            input=PASSWORD + "\n",
        )
        self.server = self.start()
        self.certificate = self.directory / "tls" / "certificate.pem"

    def mailkit(self, *arguments: str, input: str = "") -> None:
        administer(self.store, *arguments, input=input)

    def program(self, *command: str, input: bytes = b"") -> str:
        """Run a program; all that it says."""
        done = subprocess.run(
            command,
            input=input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            env={**os.environ, "HOME": str(self.directory), "LC_ALL": "C.UTF-8"},
        )
        return done.stdout.decode("utf-8", "replace")

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path


class GsaslTests(SASLCase):
    """GNU SASL, the only one here that binds to the TLS connection."""

    if shutil.which("gsasl") is None:
        skip = "gsasl is not installed"

    def log_in(self, protocol: str, mechanism: str, *options: str, password: str = PASSWORD) -> str:
        port = self.ports["imap" if protocol == "imap" else "submission"]
        return self.program(
            *("gsasl", f"--{protocol}", "--connect", f"{HOST}:{port}", "--starttls"),
            *("--x509-ca-file", str(self.certificate), "--mechanism", mechanism),
            *("--authentication-id", ANN, "--password", password, *options),
        )

    def check(self, protocol: str, mechanism: str, *options: str) -> None:
        said = self.log_in(protocol, mechanism, *options)
        self.assertIn("Client authentication finished (server trusted)", said)

    def test_with_and_without_channel_binding(self) -> None:
        for protocol in ("imap", "smtp"):
            self.check(protocol, "SCRAM-SHA-256", "--no-cb")
            self.check(protocol, "SCRAM-SHA-1", "--no-cb")
            # tls-exporter
            self.check(protocol, "SCRAM-SHA-256-PLUS")
            # tls-unique
            self.check(protocol, "SCRAM-SHA-1-PLUS", "--priority", "NORMAL:-VERS-TLS1.3")
            self.assertIn("authentication finished", self.log_in(protocol, "PLAIN"))
            self.assertIn("authentication finished", self.log_in(protocol, "LOGIN"))
        said = self.log_in("imap", "SCRAM-SHA-256-PLUS", password="wrong")
        self.assertIn("NO [AUTHENTICATIONFAILED] User name or password is not right", said)


class MsmtpTests(SASLCase):
    """msmtp, by GNU SASL's library."""

    if shutil.which("msmtp") is None:
        skip = "msmtp is not installed"

    def send(self, mechanism: str, password: str = PASSWORD) -> str:
        path = self.write(
            "msmtprc",
            f"account default\nhost {HOST}\nport {self.ports['submission']}\ntls on\n"
            f"tls_trust_file {self.certificate}\nauth {mechanism.lower()}\nuser {ANN}\n"
            f'password "{password}"\nfrom {ANN}\n',
        )
        text = f"From: {ANN}\nTo: {ANN}\nSubject: {mechanism}\n\nHello\n".encode()
        return self.program("msmtp", "--debug", "--file", str(path), ANN, input=text)

    def test_scram(self) -> None:
        for mechanism in SCRAM:
            said = self.send(mechanism)
            self.assertIn(f"--> AUTH {mechanism}", said)
            self.assertIn("<-- 235 2.7.0", said)
            self.assertIn("<-- 250 2.0.0", said.rpartition("--> DATA")[2])
        self.assertIn("<-- 535 5.7.8", self.send("SCRAM-SHA-256", "wrong"))


class MbsyncTests(SASLCase):
    """mbsync, by Cyrus's library."""

    if shutil.which("mbsync") is None:
        skip = "mbsync is not installed"
    elif not list(Path("/usr/lib").glob("*/sasl2/libscram.so")):
        skip = "libsasl2-modules is not installed"

    def test_scram(self) -> None:
        (self.directory / "mail").mkdir()
        path = self.write(
            "mbsyncrc",
            f"IMAPAccount a\nHost localhost\nPort {self.ports['imap']}\nUser {ANN}\n"
            f'Pass "{PASSWORD}"\nSSLType STARTTLS\nCertificateFile {self.certificate}\n'
            f"AuthMechs SCRAM-SHA-256\n\nIMAPStore far\nAccount a\n\nMaildirStore near\n"
            f"Path {self.directory}/mail/\nInbox {self.directory}/mail/INBOX\n\nChannel c\n"
            "Far :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSyncState *\n",
        )
        said = self.program("mbsync", "-D", "-c", str(path), "c")
        self.assertIn("Authenticating with SASL mechanism SCRAM-SHA-256", said)
        self.assertTrue((self.directory / "mail" / "INBOX" / "cur").is_dir(), said)


class SharedSecretCase(SASLCase):
    """A server that offers CRAM-MD5 and APOP."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.directory / "fetched"

    def start(self) -> ServerProcess:
        with open(self.config, "a") as file:
            file.write('\nmechanisms = ["CRAM-MD5", "PLAIN"]\n')
        return super().start()


class SharedSecretTests(SharedSecretCase):
    """CRAM-MD5 and APOP, by fetchmail, curl, mpop, msmtp, gsasl and poplib."""

    def clients(self) -> dict[str, list[str]]:
        """Commands by what they log in with; all over POP3 without TLS, from this machine."""
        port = self.ports["pop3"]
        fetchmail = (
            f"poll {HOST} service {port} protocol %s auth %s timeout 20\n"
            f"user '{ANN}' password '{PASSWORD}' sslproto '' no rewrite keep\n"
            f"mda \"cat > '{self.path}'\"\n"
        )
        mpop = (
            f"account default\nhost {HOST}\nport {port}\ntls off\nkeep on\nauth %s\nuser {ANN}\n"
            f'password "{PASSWORD}"\ndelivery mbox {self.path}\nuidls_file {self.directory}/uidls\n'
        )
        commands = {}
        for name, protocol, auth in (("APOP", "APOP", "any"), ("CRAM-MD5", "POP3", "cram-md5")):
            path = self.write(f"fetchmail-{name}", fetchmail % (protocol, auth))
            commands[f"fetchmail {name}"] = ["fetchmail", "-vv", "-f", str(path)]
            path = self.write(f"mpop-{name}", mpop % name.lower())
            commands[f"mpop {name}"] = ["mpop", "--debug", "--file", str(path)]
        for name, option in (("APOP", "AUTH=+APOP"), ("CRAM-MD5", "AUTH=CRAM-MD5")):
            commands[f"curl {name}"] = [
                *("curl", "--silent", "--verbose", "--user", f"{ANN}:{PASSWORD}"),
                *("--login-options", option, f"pop3://{HOST}:{port}/"),
            ]
        for protocol, service in (("imap", "imap"), ("smtp", "submission")):
            commands[f"gsasl CRAM-MD5 {protocol}"] = [
                *("gsasl", f"--{protocol}", "--connect", f"{HOST}:{self.ports[service]}"),
                *("--no-starttls", "--mechanism", "CRAM-MD5"),
                *("--authentication-id", ANN, "--password", PASSWORD),
            ]
        return commands

    def test_clients(self) -> None:
        # That of poplib, and of programs that are there.
        used = {"APOP"}
        for name, command in self.clients().items():
            if shutil.which(command[0]) is None:
                continue
            said = self.program(*command)
            word = name.split()[1]
            used.add(word)
            self.assertTrue(f"APOP {ANN} " in said or f"AUTH {word}" in said or
                            f"AUTHENTICATE {word}" in said, f"{name}\n{said}")  # fmt: skip
            logged_in = ("+OK Logged in", "AUTHENTICATE completed", "235 2.7.0")
            self.assertTrue(any(text in said for text in logged_in), f"{name}\n{said}")
        client = poplib.POP3(HOST, self.ports["pop3"], timeout=PATIENCE)
        client.apop(ANN, PASSWORD)
        client.quit()
        # Then all is written.
        self.stop(self.server)
        mechanisms = re.findall(r"login succeeded: .* mechanism=(\S+)", self.server.log)
        self.assertLessEqual(used, set(mechanisms))


class MuttTests(SASLCase):
    skip = mutt.MISSING

    def test_scram(self) -> None:
        # Its settings are in ASCII, whatever the locale.
        self.mailkit(
            *("account", "passwd", ANN, "--password-stdin", "--scheme", "plain"),
            input="secret\n",
        )
        for mechanism in SCRAM:
            mutt.open_inbox(
                self.directory,
                f"imap://{HOST}:{self.ports['imap']}",
                *(f'imap_user="{ANN}"', 'imap_pass="secret"', f'imap_authenticators="{mechanism}"'),
            )
        self.stop(self.server)
        for mechanism in SCRAM:
            self.assertIn(
                f"protocol=imap mechanism={mechanism} tls=- cipher=- reason=- account={ANN}",
                self.server.log,
            )
        self.assertNotIn("login failed", self.server.log)


class MuttMaildropTests(SharedSecretCase):
    skip = mutt.MISSING

    def test_a_message_by_apop(self) -> None:
        # Its settings are in ASCII, whatever the locale.
        self.mailkit(
            *("account", "passwd", ANN, "--password-stdin", "--scheme", "plain"),
            input="secret\n",
        )
        with smtplib.SMTP(HOST, self.ports["smtp"], timeout=PATIENCE) as client:
            client.sendmail("x@example.net", ANN, b"Subject: for mutt\r\n\r\n.dots\r\n")
        mutt.copy_message(
            self.directory,
            f"pop://{HOST}:{self.ports['pop3']}",
            self.path,
            *(f'pop_user="{ANN}"', 'pop_pass="secret"', 'pop_authenticators="apop"'),
        )
        self.stop(self.server)
        self.assertIn(f"protocol=pop3 mechanism=APOP tls=- cipher=- reason=- account={ANN}",
                      self.server.log)  # fmt: skip
        self.assertIn("Subject: for mutt\n", self.path.read_text())
        self.assertIn("\n\n.dots\n", self.path.read_text())
