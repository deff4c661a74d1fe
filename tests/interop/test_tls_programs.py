"""openssl and sslscan look at the TLS of every port."""

from __future__ import annotations

import ftplib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SkipTest

from mailkit._typing import override
from tests.certificates import Identity, authority, make_identity
from tests.interop.support import ANN, WholeServerTestCase
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

    def run_program(self, *arguments: str, input: bytes = b"") -> str:
        if shutil.which(arguments[0]) is None:
            raise SkipTest(f"{arguments[0]} is not installed")
        done = subprocess.run(
            arguments,
            input=input,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        return (done.stdout + done.stderr).decode("utf-8", "replace")

    def connect(self, service: str, *arguments: str, input: bytes = b"") -> str:
        """What ``openssl s_client`` says."""
        way = STARTTLS[service]
        return self.run_program(
            *("openssl", "s_client", "-connect", f"{HOST}:{self.ports[service]}"),
            *("-CAfile", f"{self.directory}/ca.pem", *arguments),
            *(("-starttls", way) if way else ()),
            input=input,
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
            self.assertEqual(text.count("not vulnerable to heartbleed"), 2, text)
            self.assertNotIn("is vulnerable", text)
            groups = re.findall(r"^TLSv1\.\d +\d+ bits +(\S+)", text, re.MULTILINE)
            self.assertIn("x25519", groups)
            # Fields are finite in 1.3 alone, where they are the client's choice.
            allowed = {"secp256r1", "secp384r1", "secp521r1", "x25519", "x448"}
            self.assertLessEqual(set(groups), allowed | {"ffdhe2048", "ffdhe3072"}, text)

    def test_what_no_port_does(self) -> None:
        self.start()
        for service in STARTTLS:
            certified = ("-cert", self.ann[0], "-key", self.ann[1])
            for refused in (
                ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
                ("-tls1_2", "-cipher", "ALL:!ECDHE:@SECLEVEL=0"),
                ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"),
                ("-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-groups", "secp224r1"),
            ):
                text = self.connect(service, *refused, *certified)
                self.assertIn("SSL alert number", text, (service, refused))
                self.assertIn("Cipher is (NONE)", text, (service, refused))
            text = self.connect(service, "-tls1_2", *certified, input=b"R\n")
            self.assertIn("Compression: NONE", text, service)
            self.assertRegex(text, r"Session-ID: *\n", service)
            self.assertNotIn("TLS session ticket", text, service)
            # The client begins anew: it is told not to.
            self.assertRegex(text, "RENEGOTIATING[^$]*no renegotiation", service)

    def test_no_session_is_resumed(self) -> None:
        self.start()
        kept = str(self.directory / "session")
        for service in STARTTLS:
            certified = ("-cert", self.ann[0], "-key", self.ann[1])
            # Of TLS 1.2 there is nothing to keep: see above.
            said = b"QUIT\r\n1 LOGOUT\r\n"
            self.connect(service, "-tls1_3", "-ign_eof", *certified, "-sess_out", kept, input=said)
            text = self.connect(service, "-tls1_3", *certified, "-sess_in", kept)
            self.assertIn("Verification: OK", text, service)
            self.assertRegex(text, r"New, TLSv1\.3, Cipher is [A-Z]", service)
            self.assertNotIn("Reused", text, service)

    def test_data_connections(self) -> None:
        self.start()
        self.trusted = ssl.create_default_context(cafile=f"{self.directory}/ca.pem")
        self.trusted.check_hostname = False
        for service in ("ftp", "ftps"):
            client = FTPClient(timeout=PATIENCE, context=self.trusted)
            client.implicit = service == "ftps"
            client.connect(HOST, self.ports[service])
            client.login(ANN, f"{ANN} secret")
            client.prot_p()
            for refused in (
                ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
                ("-tls1_2", "-cipher", "ALL:!ECDHE:@SECLEVEL=0"),
            ):
                text = self.list_files(client, *refused)
                self.assertIn("SSL alert number", text, (service, refused))
                with self.assertRaises(ftplib.error_temp):
                    client.voidresp()
            text = self.list_files(client, "-tls1_2", "-ign_eof")
            self.assertIn("Verification: OK", text)
            self.assertIn("Compression: NONE", text, service)
            self.assertRegex(text, r"Session-ID: *\n", service)
            self.assertNotIn("TLS session ticket", text, service)
            self.assertEqual(client.voidresp()[:3], "226")
            client.quit()

    def list_files(self, client: ftplib.FTP, *arguments: str) -> str:
        """What ``openssl s_client`` says of the data connection of a listing."""
        host, port = client.makepasv()
        self.assertEqual(client.sendcmd("LIST")[:3], "150")
        program = ("openssl", "s_client", "-connect", f"{host}:{port}")
        return self.run_program(*program, "-CAfile", f"{self.directory}/ca.pem", *arguments)


class FTPClient(ftplib.FTP_TLS):
    """With TLS from the beginning, too, which its class does not know."""

    implicit = False

    @override
    def connect(self, host: str = "", port: int = 0, *_: Any, **__: Any) -> str:
        if not self.implicit:
            return super().connect(host, port)
        plain = socket.create_connection((host, port), PATIENCE)
        self.sock = self.context.wrap_socket(plain, server_hostname=host)
        self.host, self.af, self.file = host, plain.family, self.sock.makefile("r")
        self.welcome = self.getresp()
        return self.welcome
