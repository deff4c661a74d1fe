"""What TLS knows of the two ends of a connection: channel bindings and certificates."""

from __future__ import annotations

from typing import Any, NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.interfaces import ISSLTransport

from mailkit.certificates import common_names, end_point

# RFC 9266 section 2.
_EXPORTER_LABEL = b"EXPORTER-Channel-Binding"
_EXPORTER_LENGTH = 32


def ends_tls(transport: Any) -> bool:
    """TLS ends in this transport, and not in a proxy before it."""
    return bool(ISSLTransport.providedBy(transport)) and hasattr(transport, "getHandle")


def channel_binding(transport: Any, kind: str, *, server: bool = True) -> bytes | None:
    """Channel binding data; None where there is none of that type.

    :param kind: ``tls-exporter``, ``tls-server-end-point`` or ``tls-unique``.
    :param server: whose side this is.
    """
    if not ends_tls(transport):
        return None
    connection = transport.getHandle()
    version = connection.get_protocol_version_name()
    if kind == "tls-server-end-point":
        found = connection.get_certificate() if server else connection.get_peer_certificate()
        return None if found is None else end_point(_der(found))
    if kind == "tls-exporter" and version == "TLSv1.3":
        # RFC 9266 section 4: below 1.3 it would need the extended master secret, and a check for it.
        return bytes(connection.export_keying_material(_EXPORTER_LABEL, _EXPORTER_LENGTH, b""))
    if kind == "tls-unique" and version == "TLSv1.2":
        # RFC 5929 section 3.1: the first Finished message of the handshake is the client's, or the
        # server's where a session was resumed.
        ours = server is _is_resumed(connection)
        return (connection.get_finished() if ours else connection.get_peer_finished()) or None
    return None


def _is_resumed(connection: SSL.Connection) -> bool:
    # pyOpenSSL has no name of its own for it.
    library: Any = SSL
    return bool(library._lib.SSL_session_reused(connection._ssl))


def peer_certificate(transport: Any) -> bytes | None:
    """The certificate of the other side as DER; None without one."""
    if not ends_tls(transport):
        return None
    certificate = transport.getPeerCertificate()
    return None if certificate is None else _der(certificate)


def awaits_certificate(transport: Any) -> bool:
    """The other side is asked for a certificate, and the handshake has not come to it yet."""
    if not ends_tls(transport):
        return False
    connection = transport.getHandle()
    asks = connection.get_verify_mode() & SSL.VERIFY_PEER
    return bool(asks) and not connection.get_peer_finished()


def _der(certificate: Any) -> bytes:
    octets: bytes = certificate.to_cryptography().public_bytes(Encoding.DER)
    return octets


def tls_of(transport: Any) -> tuple[str, str]:
    """Version and cipher, such as ``TLSv1.3`` and ``TLS_AES_256_GCM_SHA384``; empty without TLS."""
    if not ends_tls(transport):
        return "", ""
    connection = transport.getHandle()
    return connection.get_protocol_version_name(), connection.get_cipher_name() or ""


class TLSFacts(NamedTuple):
    """What there is to tell of TLS and of the other side's certificate; nothing without them."""

    #: ``TLSv1.3``.
    version: str = ""
    cipher: str = ""
    #: Of the cipher's key; 0 when unknown.
    bits: int = 0
    #: Common names.
    subject: str = ""
    issuer: str = ""


def tls_facts(transport: Any) -> TLSFacts:
    """All that there is to tell."""
    if not ends_tls(transport):
        return TLSFacts()
    certificate = peer_certificate(transport)
    names = ("", "") if certificate is None else common_names(certificate)
    return TLSFacts(*tls_of(transport), transport.getHandle().get_cipher_bits() or 0, *names)
