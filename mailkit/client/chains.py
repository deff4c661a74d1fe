"""Whether a chain of certificates is good for a server, told in the words of TLS reports.

Where a handshake must not fail for a certificate; the cryptography is OpenSSL's all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import (
    DNS_ID,
    DNSPattern,
    IPAddress_ID,
    IPAddressPattern,
    verify_service_identity,
)

from mailkit.certificates import UNREADABLE
from mailkit.client.errors import TLSFailed
from mailkit.client.security import is_host_name
from mailkit.wire.domains import canonical_domain


def check_chain(
    chain: Sequence[x509.Certificate], store: crypto.X509Store, names: Sequence[str]
) -> None:
    """See whether a certificate comes from somebody who is trusted, and is for a name.

    :param chain: what the server has presented, its own certificate first.
    :param store: who is trusted.
    :raises TLSFailed: it does not, or is for none of the names.
    """
    leaf = chain[0]
    context = crypto.X509StoreContext(
        store,
        crypto.X509.from_cryptography(leaf),
        [crypto.X509.from_cryptography(each) for each in chain[1:]],
    )
    try:
        context.verify_certificate()
    except crypto.X509StoreContextError as error:
        raise _not_valid(error) from error
    if not _is_for_servers(leaf):
        raise TLSFailed("The server's certificate is not for TLS servers")
    if not any(_has_name(leaf, name) for name in names):
        raise TLSFailed(
            f"The server's certificate is for none of {', '.join(names)}",
            result_type="certificate-host-mismatch",
        )


def _not_valid(error: crypto.X509StoreContextError) -> TLSFailed:
    """What OpenSSL says of a chain, as TLS reports tell it (RFC 8460 section 4.3)."""
    if "expired" not in str(error):
        return TLSFailed(
            f"The server's certificate is not trusted: {error}",
            result_type="certificate-not-trusted",
        )
    end = error.certificate.to_cryptography().not_valid_after_utc
    return TLSFailed(
        f"The server's certificate, or that of one of its issuers, has expired on {end:%Y-%m-%d}",
        result_type="certificate-expired",
    )


def _is_for_servers(certificate: x509.Certificate) -> bool:
    """Whether its extended key usage allows a TLS server (RFC 5280 section 4.2.1.12)."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except UNREADABLE:
        return False
    wanted = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return any(usage in wanted for usage in usages)


def _has_name(certificate: x509.Certificate, name: str) -> bool:
    try:
        check_name(certificate, canonical_domain(name))
    except (VerificationError, CertificateError, *UNREADABLE):
        return False
    return True


def check_name(certificate: x509.Certificate, name: str) -> None:
    """See whether a certificate is for a name (RFC 9525).

    :param name: of a host, or an address, in ASCII.
    :raises VerificationError: it is for others.
    :raises CertificateError: it is for none.
    :raises ValueError: that is no name.
    """
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        raise CertificateError("The certificate has no alternative names") from None
    if is_host_name(name):
        _check_host(_host_patterns(extension.value), name)
    else:
        addresses = extension.value.get_values_for_type(x509.IPAddress)
        patterns = [
            IPAddressPattern(each)
            for each in addresses
            if isinstance(each, (IPv4Address, IPv6Address))
        ]
        verify_service_identity(patterns, [IPAddress_ID(name)], [])


def _host_patterns(names: x509.SubjectAlternativeName) -> list[DNSPattern]:
    """Those that can be a host's: RFC 9525 section 6.3 looks for one that is right, whatever stands
    beside it."""
    patterns = []
    for name in names.get_values_for_type(x509.DNSName):
        try:
            patterns.append(DNSPattern.from_bytes(name.encode("utf-8")))
        except CertificateError:
            continue
    return patterns


def _check_host(patterns: list[DNSPattern], name: str) -> None:
    wanted = DNS_ID(name)
    label, _, domain = name.lower().partition(".")
    # RFC 9525 section 6.3: a wildcard is a whole label, and none is within an A-label. service_identity
    # takes none for an A-label.
    if label.startswith("xn--") and DNSPattern(f"*.{domain}".encode("ascii")) in patterns:
        return
    verify_service_identity(patterns, [wanted], [])
