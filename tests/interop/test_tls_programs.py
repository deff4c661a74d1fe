"""openssl and sslscan look at the TLS of every port."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SkipTest

from tests.certificates import Identity, authority, make_identity
from tests.interop.support import WholeServerTestCase
from tests.support import HOST, PATIENCE

#: What openssl and sslscan call the way to TLS on each port; none where it comes first.
STARTTLS = {
    "smtp": "smtp",
    "submission": "smtp",
    "submissions": "",
    "lmtp": "lmtp",
    "pop3": "pop3",
    "pop3s": "",
    "imap": "imap",
    "imaps": "",
    "ftp": "ftp",
    "ftps": "",
}


@pytest.mark.interop
class TLSProgramTests(WholeServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("ca", authority())
        first = self.make("mx.example.org")
        second = self.make("*.example.net")
        ann = make_identity(["ann"], authority(), usage=ExtendedKeyUsageOID.CLIENT_AUTH)
        self.ann = self.write("ann", ann)
        lines = [line for line in self.config.read_text().splitlines() if "tls =" not in line]
        lines += [
            f'client-ca = "{self.directory}/ca.pem"',
            'require-client-certificate = ["pop3s"]',
            *(f'[[tls]]\ncertificate = "{c}"\nkey = "{k}"' for c, k in (first, second)),
        ]
        self.config.write_text("\n".join(lines))

    def make(self, name: str) -> tuple[str, str]:
        identity = make_identity([name], authority())
        return self.write(name.replace("*", "any"), identity)

    def write(self, name: str, identity: Identity) -> tuple[str, str]:
        paths = self.directory / f"{name}.pem", self.directory / f"{name}-key.pem"
        for path, octets in zip(paths, (identity.pem, identity.key_pem), strict=True):
            # As a whole, as certbot's links change.
            path.with_suffix(".new").write_bytes(octets)
            os.replace(path.with_suffix(".new"), path)
        return str(paths[0]), str(paths[1])

    def run_program(self, *arguments: str) -> str:
        if shutil.which(arguments[0]) is None:
            raise SkipTest(f"{arguments[0]} is not installed")
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        return (done.stdout + done.stderr).decode("utf-8", "replace")

    def connect(self, service: str, *arguments: str) -> str:
        """What ``openssl s_client`` says."""
        way = STARTTLS[service]
        return self.run_program(
            *("openssl", "s_client", "-connect", f"{HOST}:{self.ports[service]}"),
            *("-CAfile", f"{self.directory}/ca.pem", *arguments),
            *(("-starttls", way) if way else ()),
        )

    def subject(self, service: str, name: str) -> str:
        """Whose certificate a client gets that asks for a name."""
        certified = ("-cert", self.ann[0], "-key", self.ann[1])
        text = self.connect(service, "-servername", name, "-tls1_2", *certified)
        self.assertIn("Verification: OK", text)
        found = re.search(r"subject=CN ?= ?(\S+)", text)
        return found[1] if found else text

    def test_names_and_clients_certificates(self) -> None:
        self.start()
        for service in STARTTLS:
            self.assertEqual(self.subject(service, "imap.example.net"), "*.example.net", service)
            self.assertEqual(self.subject(service, "imap.example.com"), "mx.example.org", service)
        stranger = self.write("stranger", make_identity(["eve"], make_identity()))
        for service, refused in (("imap", False), ("imaps", False), ("pop3s", True)):
            text = self.connect(service, "-tls1_2")
            self.assertIn("Acceptable client certificate CA names", text, service)
            self.assertEqual("handshake failure" in text, refused, text)
            text = self.connect(service, "-tls1_2", "-cert", stranger[0], "-key", stranger[1])
            self.assertIn("alert unknown ca", text, service)

    def test_a_new_certificate_at_sighup(self) -> None:
        server = self.start()
        assert server.process is not None
        self.assertEqual(self.subject("imaps", "x"), "mx.example.org")
        Path(self.directory, "mx.example.org-key.pem").write_text("rubbish")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("holds no private key")
        self.assertEqual(self.subject("imaps", "x"), "mx.example.org")
        self.write("mx.example.org", make_identity(["new.example.org"], authority()))
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("new certificates are in use, for new.example.org, *.example.net")
        for service in STARTTLS:
            self.assertEqual(self.subject(service, "x"), "new.example.org", service)
        self.stop(server)

    def test_sslscan(self) -> None:
        self.start()
        for service, way in STARTTLS.items():
            if way == "lmtp":
                # sslscan does not speak it.
                continue
            how = [f"--starttls-{way}"] if way else []
            if service == "pop3s":
                how += ["--certs=" + self.ann[0], "--pk=" + self.ann[1]]
            # It would wait three seconds for an answer, which is too little on a busy machine.
            how += ["--no-colour", "--timeout=60"]
            text = self.run_program("sslscan", *how, f"{HOST}:{self.ports[service]}")
            for wanted in (
                *("SSLv2     disabled", "SSLv3     disabled", "TLSv1.0   disabled"),
                *("TLSv1.1   disabled", "TLSv1.2   enabled", "TLSv1.3   enabled"),
                *("supports TLS Fallback SCSV", "Session renegotiation not supported"),
            ):
                self.assertIn(wanted, text, service)
            ciphers = re.findall(r"^(?:Preferred|Accepted).*", text, re.MULTILINE)
            self.assertEqual(len(ciphers), 6, text)
            for cipher in ciphers:
                self.assertRegex(cipher, "TLSv1.3  |ECDHE-ECDSA-.*(GCM|POLY1305)")
            self.assertNotIn("is vulnerable", text)
