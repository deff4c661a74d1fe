"""What both sides of TLS make of a certificate."""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

#: What a certificate may raise that cannot be read as a whole, when its names are asked for.
UNREADABLE = (
    ValueError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def end_point(certificate: bytes) -> bytes | None:
    """Channel binding data of the type ``tls-server-end-point`` (RFC 5929 section 4.1).

    :param certificate: the server's, DER.
    :returns: None where none is defined.
    """
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (UnsupportedAlgorithm, *UNREADABLE):
        return None
    if algorithm is None:
        # Ed25519 and its like.
        return None
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name
    return hashlib.new(name, certificate).digest()


def common_names(certificate: bytes) -> tuple[str, str]:
    """The common names of a certificate's subject and issuer; empty where there is none.

    :param certificate: DER.
    """
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        subject, issuer = (_common_name(name) for name in (parsed.subject, parsed.issuer))
    except UNREADABLE:
        return "", ""
    return subject, issuer


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""
