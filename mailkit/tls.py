"""TLS of servers: certificates by name, replaced while connections come in, and those of clients.

::

    tls = ServerTLS([("certificate.pem", "key.pem"), ("other.pem", "other-key.pem")])
    factory = IMAPFactory(portal, tls_context=tls)
    TLSReloader([tls]).setServiceParent(application)

RFC 9325: ciphers and versions are those that Mozilla calls intermediate, without the exchange of
keys in finite fields. There is no compression and no renegotiation, and no session is resumed: one
that was would outlive a certificate that has been replaced, and an authority that is trusted no
more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from mailkit._typing import override
from mailkit.certificates import UNREADABLE

#: For TLS 1.2. All of version 1.3 are good.
CIPHERS = ":".join(
    [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ]
)
#: Octets of a PEM file; more is no certificate.
MAX_PEM = 1024 * 1024
#: Seconds between two looks at whether certificates have changed.
RELOAD_SECONDS = 60.0

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

#: What tells that a file is another one than before.
_Stamp = tuple[int, int, int]


class CertificateError(ValueError):
    """A file with a certificate or a key is no good; the text names it and says why."""


class CertificateFiles(NamedTuple):
    """Paths of two PEM files, which may be one and the same."""

    #: The server's certificate, then those that complete the chain.
    certificate: str
    key: str


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """Makes the server's side of TLS connections; a factory's ``tls_context``.

    A client that names a host (SNI, RFC 6066 section 3) gets the first certificate for that name,
    or for its domain's ``*``; any other client gets the first of all. What names a certificate has
    is read from its subjectAltName, or its common name where there is none.

    :param certificates: pairs of paths of PEM files.
    :param client_ca: path of a PEM file of authorities: clients are asked for a certificate of
        theirs. One of another's ends the handshake.
    :param require_client_certificate: clients without a certificate are refused.
    :raises CertificateError: a file cannot be read, holds something else, or two don't fit.
    """

    def __init__(
        self,
        certificates: Iterable[tuple[str, str]],
        *,
        client_ca: str | None = None,
        require_client_certificate: bool = False,
    ) -> None:
        self._files = tuple(CertificateFiles(*pair) for pair in certificates)
        if not self._files:
            raise ValueError("TLS needs a certificate")
        if require_client_certificate and client_ca is None:
            raise ValueError("client certificates need the authorities that have signed them")
        self._client_ca = client_ca
        self._required = require_client_certificate
        self._stamps = self._look()
        self._contexts = self._load()

    @property
    def names(self) -> tuple[str, ...]:
        """What clients may name to get a certificate of their own."""
        return tuple(self._contexts.by_name)

    @property
    def asks_for_certificates(self) -> bool:
        """Clients are asked for a certificate."""
        return self._client_ca is not None

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A connection with the certificates as they stand now."""
        connection = SSL.Connection(self._contexts.default, None)
        connection.set_accept_state()
        return connection

    def reload(self) -> bool:
        """Read the files again if one has changed. Blocks; may be called in any thread.

        Connections that are there go on as they are. What is no good is not read again until it
        changes, and that which was there before stays.

        :returns: whether new certificates are used from now on.
        :raises CertificateError: a file is no good.
        """
        stamps = self._look()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        self._contexts = self._load()
        return True

    def _look(self) -> dict[str, _Stamp | None]:
        paths = {path for files in self._files for path in files}
        if self._client_ca is not None:
            paths.add(self._client_ca)
        return {path: _stamp(path) for path in paths}

    def _load(self) -> _Contexts:
        authorities: list[x509.Certificate] = []
        if self._client_ca is not None:
            authorities = _read_certificates(self._client_ca)
        contexts = []
        by_name: dict[str, SSL.Context] = {}
        for files in self._files:
            chain = _read_certificates(files.certificate)
            context = _make_context(files, chain, authorities, self._required)
            contexts.append(context)
            for name in certificate_names(chain[0]):
                by_name.setdefault(name, context)
        loaded = _Contexts(contexts[0], by_name)
        if len(contexts) > 1:
            contexts[0].set_tlsext_servername_callback(loaded.choose)
        return loaded


class _Contexts(NamedTuple):
    """What has been made of the files at one time."""

    default: SSL.Context
    by_name: Mapping[str, SSL.Context]

    def choose(self, connection: SSL.Connection) -> None:
        """The client has told, or not told, the name that it wants to talk to."""
        try:
            name = (connection.get_servername() or b"").decode("ascii").lower().rstrip(".")
        except UnicodeDecodeError:
            return
        # lenient: RFC 6066 section 3 lets a server end the handshake over a name that it does not
        # know; relays that verify nothing may send any.
        context = self.by_name.get(name) or self.by_name.get("*." + name.partition(".")[2])
        if context is not None:
            connection.set_context(context)


class TLSReloader(Service):
    """Has certificates read again when their files change, without blocking the reactor.

    :param contexts: those to look after.
    :param reactor: gives time and threads; the global one when None.
    :param interval: seconds between two looks.
    """

    log = Logger()

    def __init__(
        self,
        contexts: Sequence[ServerTLS],
        reactor: Any = None,
        interval: float = RELOAD_SECONDS,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._contexts = contexts
        self._reactor = reactor
        self._interval = interval
        self._looks = LoopingCall(self.reload)
        self._looks.clock = cast(IReactorTime, reactor)
        self._ended: Deferred[Any] = succeed(None)

    @override
    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        if self._contexts and not self._looks.running:
            self._ended = self._looks.start(self._interval, now=False)

    @override
    def stopService(self) -> Deferred[Any]:
        """Fires when a look that is under way has ended too."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looks.running:
            self._looks.stop()
        return self._ended

    def reload(self) -> Deferred[None]:
        """Look now. The Deferred never fails: what is wrong with a file goes to the log."""
        return Deferred.fromCoroutine(self._reload())

    async def _reload(self) -> None:
        pool = self._reactor.getThreadPool()
        for tls in self._contexts:
            try:
                changed = await deferToThreadPool(self._reactor, pool, tls.reload)
            except CertificateError as error:
                self.log.error(
                    "the certificates in use stay, because of new ones: {reason}", reason=str(error)
                )
            except Exception:
                self.log.failure("the certificates in use stay, as new ones could not be read")
            else:
                if changed:
                    names = ", ".join(tls.names) or "no name"
                    self.log.info("new certificates are in use, for {names}", names=names)


def certificate_names(certificate: x509.Certificate) -> list[str]:
    """Host names that a certificate is for, in lower case; ``*.`` may stand before one."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        # RFC 6125 section 6.4.4
        common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return [str(name.value).lower() for name in common_names]
    except UNREADABLE:
        # An extension that cannot be read: the certificate is still good for clients without SNI.
        return []
    return [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]


def _make_context(
    files: CertificateFiles,
    chain: list[x509.Certificate],
    authorities: list[x509.Certificate],
    required: bool,
) -> SSL.Context:
    # Any: the stubs are of an older pyOpenSSL, which took other certificates.
    library: Any = SSL
    context: Any = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(
        SSL.OP_NO_COMPRESSION
        | library.OP_NO_RENEGOTIATION
        | SSL.OP_NO_TICKET
        | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(CIPHERS.encode("ascii"))
    key = _load_key(files.key)
    try:
        context.use_certificate(chain[0])
        for certificate in chain[1:]:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(key)
        context.check_privatekey()
    except (SSL.Error, TypeError):
        # TypeError: a key of a kind that TLS does not use.
        raise CertificateError(
            f"the key in {files.key} is not the one of the certificate in {files.certificate}"
        ) from None
    if authorities:
        _ask_for_certificates(context, authorities, required)
    return cast(SSL.Context, context)


def _ask_for_certificates(
    context: Any, authorities: list[x509.Certificate], required: bool
) -> None:
    store = context.get_cert_store()
    # An authority in between that is named here is trusted as it is.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    for authority in authorities:
        store.add_cert(crypto.X509.from_cryptography(authority))
        context.add_client_ca(authority)
    context.set_session_id(b"mailkit")
    context.set_verify(
        SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else SSL.VERIFY_NONE)
    )


def _read_certificates(path: str) -> list[x509.Certificate]:
    pems = _CERTIFICATE.findall(_read(path))
    if not pems:
        raise CertificateError(f"{path} holds no certificate in PEM format")
    try:
        return [x509.load_pem_x509_certificate(pem) for pem in pems]
    except ValueError:
        raise CertificateError(f"{path} holds a certificate that is damaged") from None


def _load_key(path: str) -> Any:
    data = _read(path)
    try:
        return load_pem_private_key(data, None)
    except TypeError:
        raise CertificateError(f"the key in {path} is protected by a passphrase") from None
    except ValueError:
        raise CertificateError(f"{path} holds no private key in PEM format") from None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_PEM)
    except OSError as error:
        raise CertificateError(f"cannot read {path}: {error.strerror}") from None


def _stamp(path: str) -> _Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
