"""What both sides of TLS make of a certificate."""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm


def end_point(certificate: bytes) -> bytes | None:
    """Channel binding data of the type ``tls-server-end-point`` (RFC 5929 section 4.1).

    :param certificate: the server's, DER.
    :returns: None where none is defined.
    """
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (UnsupportedAlgorithm, ValueError):
        return None
    if algorithm is None:
        # Ed25519 and its like.
        return None
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name
    return hashlib.new(name, certificate).digest()
