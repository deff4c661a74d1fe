"""The loop that all protocols share, under TLS, over loopback."""

from __future__ import annotations

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from mailkit.connection import CHUNK
from tests.line_protocol import LineConnection, LineFactory
from tests.support import PATIENCE, until

reactor: Any = global_reactor


def make_context() -> CertificateOptions:
    """A server's TLS settings with a certificate of its own making."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    settings: dict[str, Any] = {"privateKey": key, "certificate": certificate}
    return CertificateOptions(**settings)


class Client(Protocol):
    """Collects what it gets."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.reason: Failure | None = None
        self.waiting: Deferred[None] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._tell()

    def connectionLost(self, reason: Any = None) -> None:
        self.reason = reason
        self._tell()

    def _tell(self) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def read_until(self, end: bytes) -> bytes:
        """What came, up to and with ``end``; all of it if the connection goes before."""
        while end not in self.received and self.reason is None:
            self.waiting = Deferred()
            await self.waiting.addTimeout(PATIENCE, reactor)
        length = self.received.find(end) + len(end) if end in self.received else len(self.received)
        data = bytes(self.received[:length])
        del self.received[:length]
        return data

    async def closed(self) -> bytes:
        """The rest, when the server has closed."""
        while self.reason is None:
            self.waiting = Deferred()
            await self.waiting.addTimeout(PATIENCE, reactor)
        return bytes(self.received)


class TLSTestCase(TestCase):
    context = make_context()
    #: Makes the port.
    listener: Any = reactor

    def setUp(self) -> None:
        self.factory = LineFactory(tls_context=self.context)
        # Real time: these tests run in the real reactor.
        self.factory.clock = reactor

    async def connect(self, factory: Factory) -> Client:
        """Listen with the factory on loopback, and connect to it."""
        port = self.listener.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        client: Client = await endpoint.connect(Factory.forProtocol(Client))
        self.addCleanup(lambda: Deferred.fromCoroutine(self.end(client)))
        return client

    async def end(self, client: Client) -> None:
        if client.reason is None:
            client.transport.abortConnection()
        await client.closed()
        await until(lambda: not self.factory.connections)

    async def connect_tls(self) -> Client:
        """A connection after STARTTLS."""
        client = await self.connect(self.factory)
        await client.read_until(b"hello\n")
        client.transport.write(b"TLS\n")
        await client.read_until(b"go ahead\n")
        client.transport.startTLS(CertificateOptions(verify=False))
        # The handshake is over when this is answered.
        client.transport.write(b"ECHO ready\n")
        await client.read_until(b"ready\n")
        return client

    @property
    def connection(self) -> LineConnection:
        (connection,) = self.factory.connections
        assert isinstance(connection, LineConnection)
        return connection


class StartTLSTests(TLSTestCase):
    async def test_commands_before_and_after(self) -> None:
        client = await self.connect(self.factory)
        await client.read_until(b"hello\n")
        self.assertTrue(self.connection.can_start_tls)
        self.assertFalse(self.connection.encrypted)
        client.transport.write(b"ECHO 1\nTLS\n")
        self.assertEqual(await client.read_until(b"go ahead\n"), b"1\ngo ahead\n")
        client.transport.startTLS(CertificateOptions(verify=False))
        client.transport.write(b"ECHO 2\n")
        self.assertEqual(await client.read_until(b"2\n"), b"2\n")
        self.assertTrue(self.connection.encrypted)
        self.assertTrue(self.connection.info().tls)
        self.assertFalse(self.connection.can_start_tls)
        self.assertTrue(self.connection.may_send_plaintext_passwords())

    async def test_injected_commands_are_not_run(self) -> None:
        client = await self.connect(self.factory)
        await client.read_until(b"hello\n")
        client.transport.write(b"TLS\nECHO injected\nECHO too")
        self.assertEqual(await client.read_until(b"go ahead\n"), b"go ahead\n")
        client.transport.startTLS(CertificateOptions(verify=False))
        client.transport.write(b"ECHO 1\n")
        self.assertEqual(await client.read_until(b"1\n"), b"1\n")

    async def test_no_handshake(self) -> None:
        client = await self.connect(self.factory)
        await client.read_until(b"hello\n")
        client.transport.write(b"TLS\n")
        await client.read_until(b"go ahead\n")
        client.transport.write(b"ECHO in the clear\n")
        self.assertNotIn(b"clear", await client.closed())


class LargeReplyTests(TLSTestCase):
    async def test_everything_arrives_before_the_end(self) -> None:
        client = await self.connect_tls()
        client.transport.write(b"BIG 30\nQUIT\n")
        data = await client.closed()
        self.assertEqual(len(data), 30 * CHUNK + len(b"done\nbye\n"))
        self.assertTrue(data.endswith(b"done\nbye\n"))
        assert client.reason is not None
        # A clean end: the server has said good-bye under TLS too.
        client.reason.trap(ConnectionDone)

    async def test_client_that_reads_slowly(self) -> None:
        client = await self.connect_tls()
        client.transport.pauseProducing()
        client.transport.write(b"BIG 300\nQUIT\n")
        await until(lambda: self.connection._output_paused)
        client.transport.resumeProducing()
        self.assertEqual(len(await client.closed()), 300 * CHUNK + len(b"done\nbye\n"))

    async def test_pipelined_commands_of_a_client_that_does_not_read(self) -> None:
        self.factory.input_limit = 10_000
        client = await self.connect_tls()
        client.transport.pauseProducing()
        line = b"ECHO " + b"x" * 900 + b"\n"
        for _ in range(20):
            client.transport.write(line * 1000)
        await until(lambda: self.connection._input_paused)
        self.assertLess(len(self.connection.buffer), 200_000)
        client.transport.write(b"QUIT\n")
        client.transport.resumeProducing()
        data = await client.closed()
        self.assertEqual(len(data), 20_000 * (len(line) - 5) + len(b"bye\n"))

    async def test_client_goes_in_the_middle(self) -> None:
        client = await self.connect_tls()
        client.transport.write(b"BIG 300\n")
        await client.read_until(b"x")
        client.transport.abortConnection()
        await client.closed()
        await self.end(client)
        self.assertEqual(self.factory.events, ["closed"])


class ImplicitTLSTests(TLSTestCase):
    async def test_encrypted_from_the_beginning(self) -> None:
        client = await self.connect(TLSMemoryBIOFactory(self.context, False, self.factory))
        client.transport.startTLS(CertificateOptions(verify=False))
        self.assertEqual(await client.read_until(b"hello\n"), b"hello\n")
        self.assertTrue(self.connection.encrypted)
        self.assertFalse(self.connection.can_start_tls)
        self.assertEqual(self.connection.info().peer, "127.0.0.1")
        client.transport.write(b"ECHO 1\nQUIT\n")
        self.assertEqual(await client.closed(), b"1\nbye\n")
        assert client.reason is not None
        client.reason.trap(ConnectionDone)

    async def test_client_that_speaks_no_tls(self) -> None:
        client = await self.connect(TLSMemoryBIOFactory(self.context, False, self.factory))
        client.transport.write(b"ECHO in the clear\n")
        self.assertNotIn(b"clear", await client.closed())


class PlainTests(TLSTestCase):
    async def test_half_close(self) -> None:
        client = await self.connect(self.factory)
        client.transport.write(b"BIG 3\nECHO 1\n")
        client.transport.loseWriteConnection()
        data = await client.closed()
        self.assertEqual(len(data), 3 * CHUNK + len(b"hello\ndone\n1\n"))
        self.assertTrue(data.endswith(b"done\n1\n"))
