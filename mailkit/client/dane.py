"""Whether a server's certificate is one that TLSA records want (RFC 6698, RFC 7671, RFC 7672).

The cryptography is OpenSSL's: a chain to a trust anchor that a record names is verified by it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from OpenSSL import crypto

from mailkit.client.chains import check_chain
from mailkit.client.errors import TLSFailed
from mailkit.dns.records import TLSA

#: Certificate usages (RFC 7218 section 2.1) that SMTP knows.
DANE_TA = 2
DANE_EE = 3
#: Selectors: the whole certificate, or its SubjectPublicKeyInfo.
CERT = 0
SPKI = 1
#: Matching types: what was selected, or a digest of it.
FULL = 0
_DIGESTS = {1: hashlib.sha256, 2: hashlib.sha512}
#: TLSA records of one host that are looked at, and certificates that a server may present.
MAX_RECORDS = 32
MAX_CHAIN = 20


def usable_associations(records: Iterable[TLSA]) -> frozenset[TLSA]:
    """Those of a host's records by which its certificate can be judged."""
    usable = [record for record in list(records)[:MAX_RECORDS] if _is_usable(record)]
    best: dict[tuple[int, int], int] = {}
    for record in usable:
        key = record.usage, record.selector
        best[key] = max(best.get(key, FULL), record.matching_type)
    # RFC 7671 section 9: of several digests only the strongest counts, with whatever is no digest.
    return frozenset(
        record
        for record in usable
        if record.matching_type in (FULL, best[record.usage, record.selector])
    )


def _is_usable(record: TLSA) -> bool:
    # RFC 7672 section 3.1.3: PKIX-TA and PKIX-EE are of no use for SMTP.
    if record.usage not in (DANE_TA, DANE_EE) or record.selector not in (CERT, SPKI):
        return False
    digest = _DIGESTS.get(record.matching_type)
    if digest is not None:
        return len(record.data) == digest().digest_size
    if record.matching_type != FULL:
        return False
    try:
        if record.selector == CERT:
            x509.load_der_x509_certificate(record.data)
        else:
            load_der_public_key(record.data)
    except Exception:
        # Whatever the library makes of octets that somebody else has chosen.
        return False
    return True


def check_associations(
    chain: Sequence[x509.Certificate], associations: Iterable[TLSA], names: Sequence[str]
) -> None:
    """See whether a server is the one that the records are about.

    :param chain: what it has presented, its own certificate first.
    :param names: of which its certificate must have one, where a record names a trust anchor.
    :raises TLSFailed: it is not.
    """
    if not chain:
        raise TLSFailed("The server has no certificate")
    chain = chain[:MAX_CHAIN]
    anchors: list[TLSA] = []
    for record in associations:
        if record.usage == DANE_TA:
            anchors.append(record)
        # RFC 7671 section 5.1: neither the names nor the dates of the certificate matter.
        elif _matches(record, chain[0]):
            return
    failure = TLSFailed(
        "The server's certificate is none that its TLSA records want",
        result_type="certificate-not-trusted" if anchors else "validation-failure",
    )
    for record in anchors:
        for anchor in _anchors(record, chain):
            try:
                check_chain(chain, _store_of(anchor), names)
            except TLSFailed as error:
                failure = error
            else:
                return
    raise failure


def _matches(record: TLSA, certificate: x509.Certificate) -> bool:
    if record.selector == CERT:
        selected = certificate.public_bytes(Encoding.DER)
    else:
        key = certificate.public_key()
        selected = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = _DIGESTS.get(record.matching_type)
    return hmac.compare_digest(digest(selected).digest() if digest else selected, record.data)


def _anchors(record: TLSA, chain: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Certificates of the trust anchor that a record names."""
    leaf, *others = chain
    candidates = [*others, leaf] if leaf.issuer == leaf.subject else others
    found = [certificate for certificate in candidates if _matches(record, certificate)]
    if not found and (record.selector, record.matching_type) == (CERT, FULL):
        # RFC 7671 section 5.2.1: a record that has it whole serves without the server's help.
        found.append(x509.load_der_x509_certificate(record.data))
    return found


def _store_of(anchor: x509.Certificate) -> crypto.X509Store:
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(anchor))
    # RFC 7671 section 5.2: the anchor need not be signed by itself.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    return store
