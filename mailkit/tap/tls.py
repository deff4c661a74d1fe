"""Certificates as settings name them, and a self-signed one for trying out."""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path

from mailkit.tap.errors import SettingError
from mailkit.tls import CertificateError, CertificateFiles, ServerTLS

#: Days that a self-signed certificate is good for, and how many before its end it is replaced.
SELF_SIGNED_DAYS = 365
RENEW_DAYS = 30

#: What a key may be used for (RFC 5280 section 4.2.1.3), as ``cryptography`` names it.
KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def parse_tls(setting: str) -> CertificateFiles:
    """Paths of certificate and key from ``CERT,KEY``; one path names a file that holds both.

    :raises SettingError: it is neither.
    """
    paths = [path.strip() for path in setting.split(",")]
    if len(paths) == 1:
        paths *= 2
    if len(paths) != 2 or not all(paths):
        raise SettingError(f"{setting!r} is not CERT,KEY: two PEM files with a comma between them")
    return CertificateFiles(paths[0], paths[1])


def server_context(certificate_path: str, key_path: str) -> ServerTLS:
    """TLS for a server with one certificate.

    :raises SettingError: a file cannot be read, holds something else, or the two don't fit.
    """
    try:
        return ServerTLS([(certificate_path, key_path)])
    except CertificateError as error:
        raise SettingError(str(error)) from error


def self_signed(directory: str | Path, names: tuple[str, ...] = ()) -> tuple[str, str]:
    """Paths of a self-signed certificate and its key in ``directory``, made when needed.

    It names localhost, the loopback addresses and ``names``. Kept between runs, so that a mail
    program which was told to trust it needs to be told once.
    """
    folder = Path(directory)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    if not _still_good(certificate, key):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate_pem, key_pem = _make_self_signed(names)
        _write_private(key, key_pem)
        _write_private(certificate, certificate_pem)
    return str(certificate), str(key)


def _still_good(certificate: Path, key: Path) -> bool:
    from cryptography import x509

    try:
        server_context(str(certificate), str(key))
        expiry = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (SettingError, ValueError):
        return False
    left = expiry - datetime.datetime.now(datetime.timezone.utc)
    return left > datetime.timedelta(days=RENEW_DAYS)


def _make_self_signed(names: tuple[str, ...]) -> tuple[bytes, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    usage = dict.fromkeys(KEY_USAGES, False) | {"digital_signature": True, "key_cert_sign": True}
    alternatives: list[x509.GeneralName] = [
        x509.DNSName(dns) for dns in dict.fromkeys(("localhost", *names)) if dns.isascii()
    ]
    alternatives += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ("127.0.0.1", "::1")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour of grace for clocks that differ.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        # What RFC 5280 wants of a certificate that signs itself; Python 3.13 checks it.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _write_private(path: Path, data: bytes) -> None:
    """Put data under that name, readable by the owner alone, all or nothing."""
    temporary = path.with_suffix(".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    os.replace(temporary, path)
