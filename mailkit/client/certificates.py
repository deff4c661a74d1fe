"""Whether a server's certificate is one that the policy wants."""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailkit.client.errors import TLSFailed
from mailkit.client.security import TLSInfo, TLSMode, TLSPolicy


def judge(version: str, cipher: str, certificate: bytes | None, policy: TLSPolicy) -> TLSInfo:
    """The facts of a finished handshake, which has verified the name where that was asked for.

    :param certificate: the server's, DER.
    :raises TLSFailed: it is none of those that are pinned.
    """
    digest = hashlib.sha256(certificate).digest() if certificate else b""
    verified = policy.mode is TLSMode.VERIFIED
    if policy.mode is TLSMode.PINNED:
        if not certificate or policy.pins.isdisjoint((digest, key_digest(certificate))):
            raise TLSFailed("The server's certificate is none of those that are pinned")
        verified = True
    return TLSInfo(version, cipher, verified, digest.hex())


def key_digest(certificate: bytes) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo of a certificate (DER)."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(octets).digest()
