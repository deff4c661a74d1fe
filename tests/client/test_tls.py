"""Certificates that clients under Twisted take for a server's name."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from mailkit._typing import override
from mailkit.client.chains import check_chain
from mailkit.client.errors import TLSFailed
from mailkit.client.security import TLSPolicy
from mailkit.client.tls import connection_creator
from mailkit.imap import client as imap
from mailkit.pop3 import client as pop3
from mailkit.smtp import client as smtp
from tests.certificates import Identity, authority, make_identity

reactor: Any = _reactor
HOST = "127.0.0.1"
NAME = "mail.example.org"
ODD_NAMES = ("192.168.1.1", "1234", "", "*.lan", "*", "*.*.example.org", "mail.*.org", "*..org")
ODD_URIS = (
    "https://mail.example.org:443/",
    "urn:uuid:1",
    "https://[::1]/",
    "https:mail.example.org",
)


@implementer(IHandshakeListener)
class Client(Protocol):
    def __init__(self) -> None:
        self.shaken: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def handshakeCompleted(self) -> None:  # noqa: N802
        self.shaken.callback(None)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)
        if not self.shaken.called:
            self.shaken.errback(reason)


class NameTests(TestCase):
    async def shake_hands(self, identity: Identity, name: str = NAME) -> None:
        """Connect to a server that has that certificate, and is meant to have that name."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(authority().pem)
        factory: Any = Factory.forProtocol(Protocol)
        factory.noisy = False
        port = reactor.listenSSL(0, factory, identity.options(), interface=HOST)
        self.addCleanup(port.stopListening)
        creator = connection_creator(TLSPolicy.verified(name, ca_file=path), None)
        endpoint = wrapClientTLS(creator, TCP4ClientEndpoint(reactor, HOST, port.getHost().port))
        client_factory: Any = Factory.forProtocol(Client)
        client_factory.noisy = False
        client: Any = await endpoint.connect(client_factory)
        try:
            await client.shaken
        finally:
            client.transport.abortConnection()
            await client.lost

    async def test_its_name(self) -> None:
        await self.shake_hands(make_identity([NAME], authority()))
        await self.shake_hands(make_identity([NAME], authority()), f"{NAME.upper()}.")
        await self.shake_hands(make_identity(["*.example.org"], authority()))

    async def test_names_beyond_host_names(self) -> None:
        for name, wire in (("b\xfccher.example", "xn--bcher-kva.example"), ("a_b.example",) * 2):
            await self.shake_hands(make_identity([wire], authority()), name)

    async def test_its_address(self) -> None:
        address = x509.IPAddress(ip_address(HOST))
        await self.shake_hands(make_identity([NAME], authority(), others=[address]), HOST)

    async def check_refused(self, error: type[Exception], identity: Identity, name: str) -> None:
        try:
            await self.shake_hands(identity, name)
        except error:
            return
        self.fail(f"it was taken for {name}")

    async def test_other_names(self) -> None:
        identity = make_identity(["other.example.org"], authority())
        await self.check_refused(VerificationError, identity, NAME)
        # An address is no name of DNS, and whoever has it there is nobody.
        identity = make_identity([HOST, NAME], authority())
        await self.check_refused(CertificateError, identity, HOST)
        await self.shake_hands(identity, NAME)
        other = x509.IPAddress(ip_address("127.0.0.2"))
        identity = make_identity([HOST], authority(), others=[other])
        await self.check_refused(VerificationError, identity, HOST)

    async def test_odd_names_beside_it(self) -> None:
        """RFC 9525 section 6.3: one that is its own is enough."""
        odd: list[x509.GeneralName] = [x509.DNSName(name) for name in ODD_NAMES]
        odd += [x509.UniformResourceIdentifier(uri) for uri in ODD_URIS]
        identity = make_identity([NAME], authority(), others=[*odd, x509.DNSName(NAME)])
        await self.shake_hands(identity)
        # They are nobody's themselves.
        identity = make_identity([NAME], authority(), others=odd)
        for name in (NAME, "host.lan", "org", HOST, "192.168.1.1"):
            await self.check_refused(CertificateError, identity, name)

    async def test_wildcards_for_names_of_idna(self) -> None:
        """RFC 9525 section 6.3: a wildcard is a whole label, and so it is for any."""
        identity = make_identity(["*.example.org"], authority())
        await self.shake_hands(identity, "b\xfccher.example.org")
        for name in ("xn--bcher-kva.mail.example.org", "xn--bcher-kva.example.com"):
            await self.check_refused(VerificationError, identity, name)
        identity = make_identity(["xn--*.example.org"], authority())
        await self.check_refused(VerificationError, identity, "xn--bcher-kva.example.org")

    async def test_no_name_of_a_server(self) -> None:
        """Whoever has any certificate of an authority would be everybody otherwise."""
        person = make_identity([NAME], authority(), others=[x509.RFC822Name(f"ann@{NAME}")])
        await self.check_refused(CertificateError, person, NAME)

    async def test_an_authority_that_is_not_trusted(self) -> None:
        await self.check_refused(SSL.Error, make_identity([NAME]), NAME)


class PolicyTests(SynchronousTestCase):
    def test_what_is_no_policy(self) -> None:
        policy: Any = None
        for protocol in (smtp, imap, pop3):
            with self.assertRaisesRegex(TypeError, "tls is a TLSPolicy, such as .*: None"):
                protocol.ClientSettings(tls=policy)


class ChainTests(SynchronousTestCase):
    """What is said of chains where a handshake must not fail."""

    def test_ways_to_write_a_name(self) -> None:
        store = crypto.X509Store()
        store.add_cert(crypto.X509.from_cryptography(authority().certificate))
        chain = [make_identity(["xn--bcher-kva.example"], authority()).certificate]
        for name in ("xn--bcher-kva.example", "b\xfccher.example", "B\xdcCHER.example."):
            check_chain(chain, store, [name])
        with self.assertRaisesRegex(TLSFailed, "is for none of"):
            check_chain(chain, store, ["bucher.example", "", "."])
