"""Certificates from files: what is loaded, and what is said of files that are no good."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap.errors import SettingError
from mailkit.tap.tls import parse_tls, self_signed, server_context


class ParseTests(SynchronousTestCase):
    """``CERT,KEY``."""

    def test_two_paths(self) -> None:
        self.assertEqual(parse_tls("a.pem, b.pem"), ("a.pem", "b.pem"))

    def test_one_path_holds_both(self) -> None:
        self.assertEqual(parse_tls("a.pem"), ("a.pem", "a.pem"))

    def test_anything_else_is_an_error(self) -> None:
        for text in ("", ",", "a,", ",b", "a,b,c"):
            self.assertIn("CERT,KEY", str(self.assertRaises(SettingError, parse_tls, text)))


class SelfSignedTests(SynchronousTestCase):
    """The certificate of ``make run``."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def test_is_made_once(self) -> None:
        paths = self_signed(self.directory)
        first = [Path(path).read_bytes() for path in paths]
        self.assertEqual(self_signed(self.directory), paths)
        self.assertEqual([Path(path).read_bytes() for path in paths], first)

    def test_the_key_is_for_its_owner_alone(self) -> None:
        _, key = self_signed(self.directory)
        self.assertEqual(stat.S_IMODE(os.stat(key).st_mode), 0o600)

    def test_a_damaged_one_is_replaced(self) -> None:
        certificate, key = self_signed(self.directory)
        Path(certificate).write_bytes(b"rubbish")
        self_signed(self.directory)
        server_context(certificate, key)


class ErrorTests(SynchronousTestCase):
    """Each error names the file and what is wrong with it."""

    def setUp(self) -> None:
        self.certificate, self.key = self_signed(self.mktemp())

    def check(self, certificate: str, key: str, *wanted: str) -> None:
        text = str(self.assertRaises(SettingError, server_context, certificate, key))
        for part in wanted:
            self.assertIn(part, text)
        self.assertNotIn("\n", text)

    def rubbish(self, content: str = "rubbish") -> str:
        path = self.mktemp()
        Path(path).write_text(content)
        return path

    def test_missing_file(self) -> None:
        self.check("no.pem", self.key, "cannot read no.pem", "No such file")
        self.check(self.certificate, "no.pem", "cannot read no.pem")

    def test_directory(self) -> None:
        self.check(os.curdir, self.key, "cannot read .")

    def test_no_certificate_inside(self) -> None:
        path = self.rubbish()
        self.check(path, self.key, path, "no certificate")
        self.check(self.key, self.key, self.key, "no certificate")

    def test_damaged_certificate(self) -> None:
        path = self.rubbish("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        self.check(path, self.key, path, "damaged")

    def test_no_key_inside(self) -> None:
        path = self.rubbish()
        self.check(self.certificate, path, path, "no private key")

    def test_key_of_another_certificate(self) -> None:
        _, other = self_signed(self.mktemp())
        self.check(self.certificate, other, other, "not the one of the certificate")

    def test_key_with_passphrase(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import (
            BestAvailableEncryption,
            Encoding,
            PrivateFormat,
        )

        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        path = self.rubbish(pem.decode())
        self.check(self.certificate, path, path, "passphrase")
