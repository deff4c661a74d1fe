"""Whose a client's certificate is."""

from __future__ import annotations

import datetime
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.certificates import MAX_NAMES, CertificateChecker, CertificateNames
from mailkit.client.chains import _has_name
from mailkit.sasl.external import CertificateLogin
from mailkit.store.memory import MemoryStore
from mailkit.tls import certificate_names as host_names
from tests.certificates import Identity, authority, make_client, make_identity

ANN, BOB, JOERG = "ann@example.org", "bob@example.org", "jörg@example.org"


class CertificateCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        for name in (ANN, BOB, JOERG):
            adding = self.store.add_account(name=name, password_hash=None)
            self.successResultOf(Deferred.fromCoroutine(adding))  # type: ignore[arg-type]

    def find(
        self, client: Identity, username: str = "", names: CertificateNames | None = None
    ) -> str | None:
        login = CertificateLogin(username, client.der)
        checker = CertificateChecker(self.store, names)
        found = self.successResultOf(Deferred.fromCoroutine(checker.find_account(login)))
        decided = checker.requestAvatarId(login)
        if found is None:
            self.failureResultOf(decided, UnauthorizedLogin)
        else:
            self.assertEqual(self.successResultOf(decided), found)
        return found


# An extension that nobody knows, in whose place another one is put.
_UNKNOWN, _ALTERNATIVES = b"\x55\x1d\x63", b"\x55\x1d\x11"
_TWICE = x509.SubjectAlternativeName([x509.RFC822Name(ANN)]).public_bytes()
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])


class UnreadableTests(CertificateCase):
    """Certificates with which cryptography cannot go on; OpenSSL can, and has verified them."""

    def unreadable(self, octets: bytes) -> bytes:
        names = x509.SubjectAlternativeName([x509.RFC822Name(ANN)])
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), octets)
        key = ec.generate_private_key(ec.SECP256R1())
        moment = datetime.datetime(2026, 1, 1)
        builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME)
        builder = builder.public_key(key.public_key()).serial_number(1)
        builder = builder.not_valid_before(moment).not_valid_after(moment)
        if octets == _TWICE:
            builder = builder.add_extension(names, False)
        made = builder.add_extension(unknown, False).sign(key, hashes.SHA256())
        return made.public_bytes(Encoding.DER).replace(_UNKNOWN, _ALTERNATIVES)

    def test_they_are_nobodys(self) -> None:
        x400_address = b"\x30\x02\xa3\x00"
        for octets in (_TWICE, x400_address):
            der = self.unreadable(octets)
            login = CertificateLogin("", der)
            finding = CertificateChecker(self.store).find_account(login)
            self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(finding)))
            certificate = x509.load_der_x509_certificate(der)
            self.assertEqual(host_names(certificate), [])
            self.assertFalse(_has_name(certificate, "mx.example.org"))


class EmailTests(CertificateCase):
    def test_addresses(self) -> None:
        self.assertEqual(self.find(make_client(ANN)), ANN)
        self.assertEqual(self.find(make_client("Ann@EXAMPLE.org")), ANN)
        # RFC 9598
        self.assertEqual(self.find(make_client(JOERG)), JOERG)

    def test_the_first_account_of_several(self) -> None:
        self.assertEqual(self.find(make_client("eve@example.net", BOB, ANN)), BOB)

    def test_the_account_that_is_asked_for(self) -> None:
        client = make_client(ANN, BOB)
        self.assertEqual(self.find(client, BOB), BOB)
        self.assertEqual(self.find(client, "BOB@example.org"), BOB)
        for name in (JOERG, "nobody@example.org", "x" * 5000, "\0"):
            self.assertIsNone(self.find(client, name))

    def test_nobodys(self) -> None:
        for client in (
            make_client("nobody@example.org"),
            make_client(name=ANN),
            make_identity(["example.org"], authority(), usage=ExtendedKeyUsageOID.CLIENT_AUTH),
            authority(),
        ):
            self.assertIsNone(self.find(client))

    def test_unless_the_operator_wants_none(self) -> None:
        self.assertIsNone(self.find(make_client(ANN), names=CertificateNames(emails=False)))

    def test_names_of_other_kinds_that_cannot_be_read(self) -> None:
        mailbox = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9")
        for der in (b"\x16\x03ann", b"\x0c\x01\xff", b"\x05\x00"):
            client = make_identity(["x"], authority(), others=[x509.OtherName(mailbox, der)])
            self.assertIsNone(self.find(client))

    def test_a_long_name(self) -> None:
        name = "ä" * 30 + "@" + "x" * 60 + "." + "y" * 60 + ".example"
        adding = self.store.add_account(name=name, password_hash=None)
        self.successResultOf(Deferred.fromCoroutine(adding))  # type: ignore[arg-type]
        octets = name.encode()
        der = b"\x0c\x81" + bytes([len(octets)]) + octets
        mailbox = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9")
        client = make_identity(["x"], authority(), others=[x509.OtherName(mailbox, der)])
        self.assertEqual(self.find(client), name)

    def test_no_more_names_than_some_are_looked_at(self) -> None:
        strangers = [f"x{number}@example.net" for number in range(MAX_NAMES)]
        self.assertIsNone(self.find(make_client(*strangers, ANN)))
        self.assertEqual(self.find(make_client(*strangers[1:], ANN)), ANN)

    def test_rubbish(self) -> None:
        checker = CertificateChecker(self.store)
        for der in (b"", b"rubbish"):
            finding = checker.find_account(CertificateLogin("", der))
            self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(finding)))


class OtherNamesTests(CertificateCase):
    def test_common_name(self) -> None:
        client = make_client(name=ANN)
        self.assertEqual(self.find(client, names=CertificateNames(common_name=True)), ANN)

    def test_fingerprints(self) -> None:
        client = make_client(ANN)
        digits = hashlib.sha256(client.der).hexdigest().upper()
        for fingerprint in (digits, ":".join(digits[n : n + 2] for n in range(0, 64, 2))):
            names = CertificateNames(fingerprints={fingerprint: BOB})
            self.assertEqual(self.find(client, names=names), BOB)
            # It is nobody else's.
            self.assertIsNone(self.find(client, ANN, names))
            self.assertEqual(self.find(make_client(ANN), names=names), ANN)
