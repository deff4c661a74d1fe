"""TLS under Twisted: connections that do what a policy says, and what came of it."""

from __future__ import annotations

import weakref
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from mailkit.client.certificates import judge
from mailkit.client.chains import check_chain, check_name
from mailkit.client.dane import MAX_CHAIN, check_associations
from mailkit.client.errors import TLSFailed, TrustUnreadable
from mailkit.client.security import TLSInfo, TLSMode, TLSPolicy, is_host_name
from mailkit.wire.domains import canonical_domain


@implementer(IOpenSSLClientConnectionCreator)
class _AnyCertificate:
    """Takes every certificate, and tells the server the name that is wanted."""

    def __init__(self, hostname: str | None) -> None:
        self._hostname = hostname
        self._context = CertificateOptions(verify=False).getContext()

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N803
        connection = SSL.Connection(self._context, None)
        if self._hostname and is_host_name(self._hostname):
            # RFC 6066 section 3: no address literals.
            connection.set_tlsext_host_name(self._hostname.encode("ascii"))
        return connection


@implementer(IOpenSSLClientConnectionCreator)
class _VerifiedCertificate:
    """Takes a certificate that comes from somebody who is trusted, and is for a name.

    Twisted's own, of ``optionsForClientTLS``, takes one for any name that has no name at all, as
    those of users have, for example.

    :param name: in ASCII; of a host, or an address.
    """

    def __init__(self, name: str, trust: Any) -> None:
        self._name = name
        self._context = CertificateOptions(trustRoot=trust).getContext()

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N803
        connection = SSL.Connection(self._context, None)
        if is_host_name(self._name):
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        # The protocol has the connection.
        find_protocol = weakref.ref(tlsProtocol)

        def verify(_: object, certificate: Any, error: int, depth: int, good: int) -> bool:
            if depth or not good:
                return bool(good)
            try:
                check_name(certificate.to_cryptography(), self._name)
            except Exception:
                # Whatever it is: this is called by OpenSSL, which would not hear of it.
                if (protocol := find_protocol()) is not None:
                    protocol.failVerification(Failure())
                return False
            return True

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return connection


@implementer(IOpenSSLClientConnectionCreator)
class KeepingCreator:
    """Makes connections as another creator does, and keeps the last one.

    Twisted lets go of it before it tells that a handshake has failed.
    """

    def __init__(self, creator: IOpenSSLClientConnectionCreator) -> None:
        self._creator: Any = creator
        self.connection: SSL.Connection | None = None

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N803
        connection: SSL.Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        self.connection = connection
        return connection


def why_refused(
    connection: SSL.Connection, policy: TLSPolicy, hostname: str | None
) -> TLSFailed | None:
    """What is wrong with the certificate that a failed handshake has shown; None if nothing is known.

    :param hostname: as for :func:`connection_creator`.
    """
    # "certificate verify failed" is all that the error itself tells.
    chain = [each.to_cryptography() for each in connection.get_peer_cert_chain() or ()]
    try:
        if chain:
            store: Any = _trusting_context(policy.ca_file).get_cert_store()
            check_chain(chain[:MAX_CHAIN], store, [policy.hostname or hostname or ""])
    except TLSFailed as error:
        return error
    return None


def connection_creator(policy: TLSPolicy, hostname: str | None) -> IOpenSSLClientConnectionCreator:
    """
    :param hostname: the name that is connected to, if it has one.
    :raises ValueError: the policy wants a name and there is none.
    :raises TrustUnreadable: the file of trusted certificates cannot be read.
    """
    name = policy.hostname or hostname
    if policy.mode is not TLSMode.VERIFIED:
        return _AnyCertificate(name)
    if not name:
        raise ValueError("a verified policy needs the name of the server")
    return _VerifiedCertificate(canonical_domain(name), _trust(policy.ca_file))


def _trust(path: str | None) -> Any:
    if path is None:
        return platformTrust()
    pems = [certificate.public_bytes(Encoding.PEM) for certificate in _read(path)]
    certificates = [Certificate.loadPEM(pem) for pem in pems]
    return trustRootFromCertificates(certificates)


def _read(path: str) -> list[x509.Certificate]:
    """The certificates to trust.

    :raises TrustUnreadable:
    """
    try:
        with open(path, "rb") as file:
            return x509.load_pem_x509_certificates(file.read())
    except (OSError, ValueError) as error:
        text = f"Cannot read the certificates to trust: {error}"
        raise TrustUnreadable(text, command="TLS") from error


def openssl_info(connection: SSL.Connection, policy: TLSPolicy) -> TLSInfo:
    """What a finished handshake has come to.

    :raises TLSFailed: no certificate that the policy wants.
    """
    certificate = connection.get_peer_certificate()
    der = None
    if certificate is not None:
        der = certificate.to_cryptography().public_bytes(Encoding.DER)
    if policy.mode is TLSMode.DANE:
        chain = [each.to_cryptography() for each in connection.get_peer_cert_chain() or ()]
        names = [name for name in (policy.hostname, *policy.names) if name]
        check_associations(chain, policy.associations, names)
    cipher = connection.get_cipher_name() or ""
    info = judge(connection.get_protocol_version_name(), cipher, der, policy)
    if policy.mode is TLSMode.DANE:
        return info._replace(verified=True)
    return _observe(connection, policy, info) if policy.observe else info


def _observe(connection: SSL.Connection, policy: TLSPolicy, info: TLSInfo) -> TLSInfo:
    """What is wrong with the certificate, as far as the name and the trusted authorities go."""
    chain = [each.to_cryptography() for each in connection.get_peer_cert_chain() or ()]
    try:
        # The store lives as long as its context, which is kept.
        store: Any = _trusting_context(policy.ca_file).get_cert_store()
        if not chain:
            raise TLSFailed("The server has no certificate")
        check_chain(chain[:MAX_CHAIN], store, [policy.hostname or ""])
    except TrustUnreadable as error:
        return info._replace(problem=error.text)
    except TLSFailed as error:
        return info._replace(problem=error.text, result_type=error.result_type)
    return info


@lru_cache(maxsize=8)
def _trusting_context(path: str | None) -> SSL.Context:
    """A context whose store holds the certificates to trust.

    :raises TrustUnreadable: they cannot be read.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    if path is None:
        context.set_default_verify_paths()
    else:
        store: Any = context.get_cert_store()
        for certificate in _read(path):
            store.add_cert(X509.from_cryptography(certificate))
    return context
