"""Certificates for the tests of TLS: authorities, and servers of theirs."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet.ssl import CertificateOptions

from mailkit.dns.records import TLSA


@dataclass(frozen=True)
class Identity:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def association(self, usage: int, selector: int, matching_type: int) -> TLSA:
        """The TLSA record for this certificate."""
        data = self.der
        if selector:
            key = self.certificate.public_key()
            data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if matching_type:
            digest = hashes.Hash([hashes.SHA256(), hashes.SHA512()][matching_type - 1])
            digest.update(data)
            data = digest.finalize()
        return TLSA(usage, selector, matching_type, data)

    def options(self, chain: Sequence[Identity] = ()) -> Any:
        """What a server needs."""
        return CertificateOptions(
            privateKey=self.key,
            certificate=self.certificate,
            extraCertChain=[each.certificate for each in chain],
        )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def make_identity(
    names: Sequence[str] = (),
    issuer: Identity | None = None,
    *,
    days: int = 30,
    usage: Any = ExtendedKeyUsageOID.SERVER_AUTH,
    others: Sequence[x509.GeneralName] = (),
) -> Identity:
    """A server's certificate; an authority's without names. Signed by itself without an issuer.

    :param others: more alternative names.
    :param days: for which it is good from now on; less than 0 for one that has expired.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, names[0] if names else f"Authority {id(key)}")]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        # Without these, Python 3.13 takes no chain.
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                (issuer.key if issuer else key).public_key()
            ),
            critical=False,
        )
        .add_extension(_usage(authority=not names), critical=True)
    )
    if names:
        hosts = [] if others else [x509.DNSName(name) for name in names]
        alternatives = x509.SubjectAlternativeName([*hosts, *others])
        builder = builder.add_extension(alternatives, critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    return Identity(certificate, key)


def make_client(*emails: str, name: str = "client", issuer: Identity | None = None) -> Identity:
    """A client's certificate, by :func:`authority` unless told; emails in UTF-8 where they are not ASCII."""
    others: list[x509.GeneralName] = []
    for email in emails:
        if email.isascii():
            others.append(x509.RFC822Name(email))
        else:
            octets = email.encode()
            mailbox = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9")
            others.append(x509.OtherName(mailbox, bytes([0x0C, len(octets)]) + octets))
    usage = ExtendedKeyUsageOID.CLIENT_AUTH
    return make_identity([name], issuer or authority(), usage=usage, others=others)


@lru_cache(maxsize=1)
def authority() -> Identity:
    """One that tests share."""
    return make_identity()
