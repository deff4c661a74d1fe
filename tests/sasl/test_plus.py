"""SCRAM with channel binding under real TLS, in memory."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test import iosim
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.portal import make_portal
from mailkit.auth.scram import keys_of
from mailkit.certificates import end_point
from mailkit.channels import channel_binding, peer_certificate
from mailkit.imap.protocol import IMAPFactory
from mailkit.pop3.protocol import POP3Factory
from mailkit.store.memory import MemoryStore
from mailkit.wire.sasl import SASLError
from mailkit.wire.sasl_client import Credentials, ScramClient, choose_mechanism
from mailkit.wire.scram import BINDINGS
from tests.certificates import make_identity
from tests.imap.support import now

ANN = "ann@example.org"
START = datetime(2026, 1, 1)
KINDS = {"TLSv1.3": ("tls-exporter", "tls-server-end-point")}
KINDS["TLSv1.2"] = ("tls-unique", "tls-server-end-point")


class Collector(Protocol):
    """A client."""

    received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class Line:
    """A connection under TLS to a server that knows Ann."""

    def __init__(
        self, server: Any, version: TLSVersion = TLSVersion.TLSv1_3, identity: Any = None
    ) -> None:
        options = (identity or make_identity(["mail.example.org"])).options()
        # TLS collects small writes until the next turn.
        self.clock = Clock()
        outer = TLSMemoryBIOFactory(options, False, server, self.clock)
        client = Factory.forProtocol(Collector)  # type: ignore[arg-type]
        context = CertificateOptions(verify=False, lowerMaximumSecurityTo=version)
        inner = TLSMemoryBIOFactory(context, True, client, self.clock)
        tls_server, tls_client = outer.buildProtocol(None), inner.buildProtocol(None)
        self.pump = iosim.connect(
            tls_server,
            iosim.makeFakeServer(tls_server),
            tls_client,
            iosim.makeFakeClient(tls_client),
        )
        self.flush()
        self.server: Any = tls_server.wrappedProtocol  # type: ignore[union-attr]
        self.client: Any = tls_client.wrappedProtocol  # type: ignore[union-attr]

    def flush(self) -> None:
        for _ in range(10):
            self.clock.advance(0)
            self.pump.flush()

    def binding(self, kind: str) -> bytes | None:
        return channel_binding(self.client.transport, kind, server=False)

    def say(self, line: bytes) -> bytes:
        self.client.received = b""
        self.client.transport.write(line + b"\r\n")
        self.flush()
        return bytes(self.client.received)


class PlusTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        now(self.store.add_account(name=ANN))
        keys = keys_of("secret", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
        now(self.store.set_password(account=ANN, password_hash="hash", scram_keys=keys))

    def line(self, **settings: Any) -> Line:
        return Line(IMAPFactory(make_portal(self.store), clock=cast(Any, Clock())), **settings)

    def exchange(
        self, line: Line, client: ScramClient, change: Callable[[bytes], bytes] = bytes
    ) -> bytes:
        """Log in by IMAP; the last line that the server says.

        :param change: what somebody in between makes of the client's messages.
        """
        message = change(client.initial_response())
        said = line.say(b"a AUTHENTICATE %b %b" % (client.name.encode(), base64.b64encode(message)))
        while said.startswith(b"+ "):
            message = change(client.respond(base64.b64decode(said[2:])))
            said = line.say(base64.b64encode(message))
        if said.startswith(b"a OK"):
            client.finish()
        return said

    def client(self, line: Line, binding: Any, name: str = "SCRAM-SHA-256-PLUS") -> ScramClient:
        client = ScramClient(name, Credentials(ANN, "secret"))
        client.bind(binding, [name])
        return client


class BindingTests(PlusTestCase):
    def test_both_sides_find_the_same(self) -> None:
        for version in (TLSVersion.TLSv1_2, TLSVersion.TLSv1_3):
            line = self.line(version=version)
            name = line.client.transport.getHandle().get_protocol_version_name()
            found = {}
            for kind in BINDINGS:
                ours, theirs = line.binding(kind), channel_binding(line.server.transport, kind)
                self.assertEqual(ours, theirs)
                if ours:
                    found[kind] = ours
            self.assertEqual(sorted(found), sorted(KINDS[name]))
            self.assertIsNone(line.binding("tls-unknown"))

    def test_lengths_and_differences(self) -> None:
        identity = make_identity(["mail.example.org"])
        one, other = self.line(identity=identity), self.line(identity=identity)
        self.assertEqual(len(one.binding("tls-exporter") or b""), 32)
        self.assertNotEqual(one.binding("tls-exporter"), other.binding("tls-exporter"))
        # RFC 5929 section 4.1
        self.assertEqual(one.binding("tls-server-end-point"), end_point(identity.der))
        self.assertEqual(len(end_point(identity.der) or b""), 32)
        self.assertEqual(peer_certificate(one.client.transport), identity.der)
        self.assertIsNone(peer_certificate(one.server.transport))

    def test_the_hash_is_that_of_the_signature(self) -> None:
        """RFC 5929 section 4.1: undefined where the signature has none of its own."""
        rsa_key = rsa.generate_private_key(65537, 2048)
        pss = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
        signed = (
            (rsa_key, hashes.SHA384(), pss, "sha384"),
            (rsa_key, hashes.SHA512(), None, "sha512"),
            (ed25519.Ed25519PrivateKey.generate(), None, None, ""),
        )
        name = x509.Name([])
        for key, algorithm, rsa_padding, expected in signed:
            builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
            builder = builder.not_valid_before(START).not_valid_after(START + timedelta(1))
            certificate = builder.sign(key, algorithm, rsa_padding=rsa_padding)
            der = certificate.public_bytes(Encoding.DER)
            wanted = hashlib.new(expected, der).digest() if expected else None
            self.assertEqual(end_point(der), wanted, expected)

    def test_what_is_no_certificate(self) -> None:
        self.assertIsNone(end_point(b"\0"))


class LoginTests(PlusTestCase):
    def test_each_type(self) -> None:
        for version in (TLSVersion.TLSv1_2, TLSVersion.TLSv1_3):
            for kind in BINDINGS:
                line = self.line(version=version)
                binding = line.binding(kind)
                if binding is None:
                    continue
                for name in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS"):
                    line = self.line(version=version)
                    client = self.client(line, {kind: line.binding(kind)}.get, name)
                    self.assertTrue(self.exchange(line, client).startswith(b"a OK "), kind)

    def test_the_client_chooses_it(self) -> None:
        line = self.line()
        said = line.say(b"c CAPABILITY").decode()
        offered = [word[5:] for word in said.split() if word.startswith("AUTH=")]
        self.assertEqual(offered[:3], ["SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512"])
        client = choose_mechanism(
            offered, Credentials(ANN, "secret"), True, channel_binding=line.binding
        )
        assert isinstance(client, ScramClient)
        self.assertEqual(client.name, "SCRAM-SHA-512-PLUS")
        self.assertTrue(client.initial_response().startswith(b"p=tls-exporter,,"))
        self.assertTrue(self.exchange(line, client).startswith(b"a OK "))

    def test_pop3(self) -> None:
        line = Line(POP3Factory(make_portal(self.store), clock=cast(Any, Clock())))
        self.assertIn(
            b"SASL SCRAM-SHA-512-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-512", line.say(b"CAPA")
        )

    def test_another_connection(self) -> None:
        """Somebody in between passes the messages on."""
        for kind in KINDS["TLSv1.3"]:
            line, other = self.line(), self.line()
            client = self.client(line, {kind: other.binding(kind)}.get)
            said = self.exchange(line, client)
            self.assertTrue(said.startswith(b"a NO [AUTHENTICATIONFAILED] The channel binding"))

    def test_type_that_the_connection_has_not(self) -> None:
        for kind in ("tls-unique", "tls-unknown"):
            line = self.line()
            client = self.client(line, lambda _: b"x" * 12)
            client._flag = b"p=" + kind.encode()
            said = self.exchange(line, client)
            self.assertTrue(said.startswith(b"a NO [AUTHENTICATIONFAILED] This connection has no"))

    def test_plus_without_a_binding(self) -> None:
        for flag in (b"n", b"y"):
            line = self.line()
            client = self.client(line, line.binding)
            client._flag = flag
            said = self.exchange(line, client)
            self.assertIn(b"SCRAM-SHA-256-PLUS wants channel binding", said)

    def test_plus_is_taken_out_of_the_list(self) -> None:
        """RFC 5802 section 6: the client believes that the server cannot do it, and says so."""
        line = self.line()
        client = choose_mechanism(
            ["SCRAM-SHA-256"], Credentials(ANN, "secret"), True, channel_binding=line.binding
        )
        assert isinstance(client, ScramClient)
        self.assertTrue(client.initial_response().startswith(b"y,,"))
        self.assertIn(b"somebody hides that from you", self.exchange(line, client))
        # Nor can the word be taken back on the way: the proof covers it.
        line = self.line()
        client = self.client(line, line.binding, "SCRAM-SHA-256")
        client._flag = b"y"

        def change(message: bytes) -> bytes:
            return message.replace(b"y,,", b"n,,", 1)

        said = self.exchange(line, client, change)
        self.assertTrue(said.startswith(b"a NO [AUTHENTICATIONFAILED] The channel binding"))

    def test_client_that_binds_nothing(self) -> None:
        line = self.line()
        client = ScramClient("SCRAM-SHA-256", Credentials(ANN, "secret"))
        self.assertTrue(self.exchange(line, client).startswith(b"a OK "))

    def test_not_without_tls(self) -> None:
        factory: Any = IMAPFactory(make_portal(self.store), clock=cast(Any, Clock()))
        self.assertFalse(any(m.is_available(_context()) for m in factory.mechanisms[:3]))
        plus = ScramClient("SCRAM-SHA-256-PLUS", Credentials(ANN, "secret"))
        plus.bind(lambda _: None, ["SCRAM-SHA-256-PLUS"])
        self.assertFalse(plus.usable)
        self.assertRaises(SASLError, plus.initial_response)


def _context() -> Any:
    from mailkit.wire.sasl import SASLContext

    return SASLContext(tls=True)
