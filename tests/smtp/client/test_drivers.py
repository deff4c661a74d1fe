"""Both drivers over loopback, against our own server: TLS by policy, UNIX sockets, cancelling."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import io
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SkipTest, TestCase

from mailkit.auth.portal import make_portal
from mailkit.client.aio import within
from mailkit.smtp.client import (
    AuthFailed,
    ClientError,
    ClientSettings,
    ConnectFailed,
    Credentials,
    SendResult,
    Session,
    TimedOut,
    Timeouts,
    TLSFailed,
    TLSMode,
    TLSPolicy,
    asyncio_connect,
    asyncio_sendmail,
    connect,
    make_envelope,
    sendmail,
)
from mailkit.smtp.lmtp import LMTPFactory
from mailkit.store.memory import MemoryStore
from mailkit.tap.tls import self_signed, server_context
from mailkit.wire.sasl_client import CLIENT_MECHANISMS
from mailkit.wire.scram import derive_keys
from tests.certificates import make_identity
from tests.client.drivers import UnderAsyncio, UnderTwisted
from tests.smtp.client.fakes import MESSAGE
from tests.smtp.fakes import FakeDelivery, Server, strip_trace
from tests.support import PATIENCE, until

reactor: Any = global_reactor
_T = TypeVar("_T")

SENDER, RECIPIENT = "ann@example.net", "bob@example.org"


class Quiet(Protocol):
    """Says one thing and then nothing, whatever it hears."""

    greeting = b""
    #: Answers by the beginning of what is heard.
    answers: dict[bytes, bytes] = {}

    def connectionMade(self) -> None:
        cast(Any, self.factory).connections.append(self)
        cast(Any, self.transport).write(self.greeting)

    def dataReceived(self, data: bytes) -> None:
        for beginning, answer in self.answers.items():
            if data.startswith(beginning):
                cast(Any, self.transport).write(answer)


class DriverTests:
    """What both drivers must do."""

    mail: Callable[..., Awaitable[SendResult]]
    open: Callable[..., Awaitable[Session]]

    run_client: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]

    async def cancelled(
        self, work: Callable[[], Awaitable[Any]], ready: Callable[[], object]
    ) -> None:
        """Run a coroutine and cancel it once something is true."""
        raise NotImplementedError

    async def setUp(self) -> None:
        case = cast(Any, self)
        # Not below the test's own directory: the path of a UNIX socket is short.
        self.directory = tempfile.mkdtemp(prefix="mailkit-")
        case.addCleanup(subprocess.run, ["rm", "-rf", self.directory], check=True)
        self.certificate, key = self_signed(self.directory)
        self.context = server_context(self.certificate, key)
        self.server = self.make_server(tls_context=self.context)

    def make_server(self, **settings: Any) -> Server:
        server = Server(**settings)
        server.factory.clock = reactor
        return server

    def serve(self, factory: Any, *, tls: bool = False) -> str:
        if tls:
            factory = TLSMemoryBIOFactory(self.context, False, factory)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        cast(Any, self).addCleanup(port.stopListening)
        return f"127.0.0.1:{port.getHost().port}"

    def fake(self, greeting: bytes, **answers: bytes) -> tuple[str, Any]:
        """A server that is none."""
        factory: Any = Factory()
        factory.protocol = type(
            "Fake",
            (Quiet,),
            {"greeting": greeting, "answers": {k.encode(): v for k, v in answers.items()}},
        )
        factory.noisy = False
        factory.connections = []
        return self.serve(factory), factory

    def settings(self, policy: TLSPolicy | None = None, **more: Any) -> ClientSettings:
        return ClientSettings(helo="client.example", tls=policy or TLSPolicy.none(), **more)

    async def send(
        self, address: str, settings: ClientSettings, message: Any = MESSAGE
    ) -> SendResult:
        return await self.run_client(
            lambda: type(self).mail(address, SENDER, RECIPIENT, message, settings)
        )

    async def failure(self, kind: type[_T], awaitable: Awaitable[Any]) -> _T:
        try:
            await awaitable
        except ClientError as error:
            cast(Any, self).assertIsInstance(error, kind)
            return cast(_T, error)
        raise AssertionError("it did not fail")

    def check_arrived(self, count: int = 1) -> None:
        case = cast(Any, self)
        case.assertEqual(self.server.delivery.contents, [MESSAGE] * count)

    # The tests.

    async def test_in_clear(self) -> None:
        case = cast(Any, self)
        address = self.serve(self.server.factory)
        result = await self.send(address, self.settings())
        case.assertEqual((result.facts.peer, result.facts.tls), (address, None))
        self.check_arrived()

    async def test_a_large_message(self) -> None:
        message = b"Subject: large\r\n\r\n" + (b".dots\r\n" + b"x" * 91 + b"\r\n") * 60_000
        address = self.serve(self.server.factory)
        for chunking in (True, False):
            settings = self.settings(TLSPolicy.required(), chunking=chunking)
            await self.send(address, settings, io.BytesIO(message))
        contents = [strip_trace(each) for _, each in self.server.delivery.received]
        cast(Any, self).assertEqual(contents, [message, message])

    async def test_policies(self) -> None:
        case = cast(Any, self)
        pem = Path(self.certificate).read_bytes()
        parsed = x509.load_pem_x509_certificate(pem)
        digest = hashlib.sha256(parsed.public_bytes(Encoding.DER)).hexdigest()
        key = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        count = 0
        for policy, verified in (
            (TLSPolicy.opportunistic(), False),
            (TLSPolicy.required(), False),
            (TLSPolicy.verified(ca_file=self.certificate), True),
            (TLSPolicy.verified("localhost", ca_file=self.certificate), True),
            (TLSPolicy.pinned(digest), True),
            (TLSPolicy.pinned("00" * 32, hashlib.sha256(key).digest()), True),
        ):
            for implicit in (False, True):
                address = self.serve(self.server.factory, tls=implicit)
                settings = self.settings(replace(policy, implicit=implicit))
                result = await self.send(address, settings)
                tls = result.facts.tls
                assert tls is not None
                case.assertEqual((tls.verified, tls.fingerprint), (verified, digest))
                case.assertTrue(tls.version.startswith("TLSv1.") and tls.cipher)
                count += 1
        self.check_arrived(count)
        case.assertTrue(all(e.connection.tls for e, _ in self.server.delivery.received))

    async def test_policies_that_are_not_met(self) -> None:
        case = cast(Any, self)
        for policy in (
            TLSPolicy.verified(),
            TLSPolicy.verified("other.example", ca_file=self.certificate),
            TLSPolicy.verified(ca_file=f"{self.directory}/nothing.pem"),
            TLSPolicy.pinned("00" * 32),
        ):
            for implicit in (False, True):
                address = self.serve(self.server.factory, tls=implicit)
                settings = self.settings(replace(policy, implicit=implicit))
                error = await self.failure(TLSFailed, self.send(address, settings))
                case.assertEqual((error.command, error.temporary), ("TLS", True))
                case.assertNotIn("[(", error.text)
        self.check_arrived(0)

    async def test_a_server_without_tls(self) -> None:
        address = self.serve(self.make_server().factory)
        await self.failure(TLSFailed, self.send(address, self.settings(TLSPolicy.required())))
        settings = self.settings(TLSPolicy.required(implicit=True))
        error = await self.failure(TLSFailed, self.send(address, settings))
        cast(Any, self).assertIn("is this a port for STARTTLS?", error.text)

    async def test_a_server_that_goes_on_without_tls(self) -> None:
        answers = {"EHLO": b"250-x\r\n250 STARTTLS\r\n", "STARTTLS": b"220 go\r\n"}
        # Behind the first octet of the handshake.
        address, _ = self.fake(b"220 x\r\n", **answers, **{"\x16": b"454 not just now, sorry\r\n"})
        settings = self.settings(TLSPolicy.required())
        error = await self.failure(TLSFailed, self.send(address, settings))
        cast(Any, self).assertIn("(the server answered without TLS)", error.text)

    async def test_opportunistic_falls_back(self) -> None:
        # A handshake that fails costs the connection; the next one is in clear.
        case = cast(Any, self)
        ehlo = b"250-mx.example.org\r\n250 STARTTLS\r\n"
        answers = {"EHLO": ehlo, "STARTTLS": b"220 go\r\n", "\x16": b"no TLS here\r\n"}
        address, factory = self.fake(b"220 mx.example.org\r\n", **answers)
        session = await self.run_client(
            lambda: self.first_part(address, self.settings(TLSPolicy.opportunistic()))
        )
        case.assertEqual(len(factory.connections), 2)
        case.assertIsNone(session.facts.tls)
        case.assertIn("handshake", session.facts.tls_failure)

    async def first_part(self, address: str, settings: ClientSettings) -> Session:
        session = await type(self).open(address, settings)
        session.abort()
        return session

    async def test_a_handshake_without_an_end(self) -> None:
        ehlo = b"250-mx.example.org\r\n250 STARTTLS\r\n"
        answers = {"EHLO": ehlo, "STARTTLS": b"220 go\r\n"}
        address, _ = self.fake(b"220 mx.example.org\r\n", **answers)
        settings = self.settings(TLSPolicy.required(), timeouts=Timeouts(tls=0.1))
        await self.failure(TLSFailed, self.send(address, settings))

    async def test_a_login_under_tls(self) -> None:
        case = cast(Any, self)
        self.server = self.make_server(tls_context=self.context, passwords={"ann": "secret"})
        address = self.serve(self.server.factory)
        policy = TLSPolicy.verified(ca_file=self.certificate)
        for implicit in (False, True):
            address = self.serve(self.server.factory, tls=implicit)
            settings = self.settings(
                replace(policy, implicit=implicit), credentials=Credentials("ann", "secret")
            )
            result = await self.send(address, settings)
            case.assertEqual(result.facts.account, "ann")
        wrong = replace(settings, credentials=Credentials("ann", "wrong"))
        error = await self.failure(AuthFailed, self.send(address, wrong))
        case.assertEqual((error.code, error.enhanced), (535, "5.7.8"))

    async def test_a_proof_that_is_bound_to_the_connection(self) -> None:
        """Each driver finds what the server finds (RFC 5802 section 6)."""
        store = MemoryStore()
        await store.add_account(name="ann@example.org")
        keys = [derive_keys("SCRAM-SHA-256", "secret")]
        await store.set_password(account="ann@example.org", password_hash="hash", scram_keys=keys)
        portal: Any = make_portal(store, deliveries=cast(Any, lambda *_: FakeDelivery()))
        plus = "SCRAM-SHA-256-PLUS"
        settings = self.settings(
            TLSPolicy.required(),
            credentials=Credentials("ann", "secret"),
            mechanisms={plus: CLIENT_MECHANISMS[plus]},
        )
        identity = make_identity(["localhost"])
        for version in (TLSVersion.TLSv1_2, TLSVersion.TLSv1_3):
            server = self.make_server(
                tls_context=CertificateOptions(
                    privateKey=cast(Any, identity.key),
                    certificate=cast(Any, identity.certificate),
                    lowerMaximumSecurityTo=version,
                )
            )
            server.factory.portal = portal
            result = await self.send(self.serve(server.factory), settings)
            cast(Any, self).assertEqual(result.facts.account, "ann")

    async def test_a_unix_socket(self) -> None:
        case = cast(Any, self)
        server = self.make_server(factory_class=LMTPFactory)
        path = f"{self.directory}/lmtp"
        port = reactor.listenUNIX(path, server.factory)
        case.addCleanup(port.stopListening)
        result = await self.send(f"unix:{path}", self.settings(lmtp=True))
        case.assertEqual((result.facts.peer, result.facts.protocol), (f"unix:{path}", "LMTP"))
        case.assertEqual(server.delivery.contents, [MESSAGE])

    async def test_nobody_listens(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{unused.getsockname()[1]}"
            error = await self.failure(ConnectFailed, self.send(address, self.settings()))
        cast(Any, self).assertIn(address, error.text)
        missing = f"unix:{self.directory}/nothing"
        await self.failure(ConnectFailed, self.send(missing, self.settings()))

    async def test_silence(self) -> None:
        address, _ = self.fake(b"")
        settings = self.settings(timeouts=Timeouts(greeting=0.05))
        error = await self.failure(TimedOut, self.send(address, settings))
        cast(Any, self).assertEqual(error.command, "greeting")

    async def test_a_server_that_takes_nothing(self) -> None:
        # It says what it thinks of the message and reads no more of it.
        case = cast(Any, self)
        answers = {"EHLO": b"250-mx\r\n250 PIPELINING\r\n", "MAIL": b"250 a\r\n250 b\r\n354 c\r\n"}
        address, factory = self.fake(b"220 mx\r\n", **answers)
        timeouts = Timeouts(data_block=0.3)
        settings = self.settings(timeouts=timeouts, chunking=False)

        def stop_reading(data: bytes) -> None:
            protocol = factory.connections[-1]
            Quiet.dataReceived(protocol, data)
            if data.startswith(b"MAIL"):
                protocol.transport.pauseProducing()

        factory.protocol.dataReceived = lambda self, data: stop_reading(data)
        error = await self.failure(
            ClientError, self.send(address, settings, io.BytesIO(b"x" * 50_000_000))
        )
        case.assertIn("in time", error.text)
        for each in factory.connections:
            each.transport.abortConnection()

    async def test_cancelling(self) -> None:
        for greeting, policy in (
            (b"220 mx\r\n", TLSPolicy.none()),
            (b"", TLSPolicy.required(implicit=True)),
        ):
            address, factory = self.fake(greeting)
            settings = self.settings(policy)
            work = functools.partial(type(self).open, address, settings)
            await self.cancelled(work, factory.connections.__len__)
            await self.gone(factory)

    async def gone(self, factory: Any) -> None:
        """The connection ends."""
        done: Deferred[None] = Deferred()
        for each in factory.connections:
            each.connectionLost = lambda reason: done.callback(None)
            if each.transport.disconnected:
                return
        await done.addTimeout(PATIENCE, reactor)

    async def test_several_messages(self) -> None:
        case = cast(Any, self)
        address = self.serve(self.server.factory)

        async def work() -> int:
            settings = self.settings(TLSPolicy.required())
            session = await type(self).open(address, settings)
            for _ in range(3):
                result = await session.send(make_envelope(SENDER, RECIPIENT), MESSAGE)
                assert result.accepted and await session.check()
            await session.quit()
            return session.facts.transactions

        case.assertEqual(await self.run_client(work), 3)
        self.check_arrived(3)


class TwistedTests(DriverTests, UnderTwisted):
    """Under Twisted."""

    mail = sendmail
    open = connect

    async def cancelled(
        self, work: Callable[[], Awaitable[Any]], ready: Callable[[], object]
    ) -> None:
        running = Deferred.fromCoroutine(cast(Any, work()))
        await until(lambda: bool(ready()))
        running.cancel()
        try:
            await running
        except CancelledError:
            return
        self.fail("it was not cancelled")


class AsyncioTests(DriverTests, UnderAsyncio):
    """Under asyncio, in a thread: the server has the reactor."""

    mail = asyncio_sendmail
    open = asyncio_connect

    async def cancelled(
        self, work: Callable[[], Awaitable[Any]], ready: Callable[[], object]
    ) -> None:
        async def wait() -> bool:
            running = asyncio.ensure_future(work())
            # What it waits for happens in another thread.
            while not ready():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            running.cancel()
            try:
                await running
            except asyncio.CancelledError:
                return True
            return False

        self.assertTrue(await self.run_client(wait))

    def test_a_cancellation_is_not_lost(self) -> None:
        if sys.version_info < (3, 11):
            raise SkipTest("asyncio.wait_for() of Python 3.10 loses it")

        async def race() -> bool:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting = asyncio.ensure_future(within(done, 10.0))
            await asyncio.sleep(0)
            done.set_result(None)
            waiting.cancel()
            try:
                await waiting
            except asyncio.CancelledError:
                return True
            return False

        self.assertTrue(asyncio.run(race()))

    def test_twisted_is_not_loaded(self) -> None:
        self.check_loads_no_twisted(
            "from mailkit.smtp.client import asyncio_sendmail, ClientSettings"
        )


class PolicyTests(TestCase):
    """Policies that make no sense."""

    def test_values(self) -> None:
        self.assertRaises(ValueError, TLSPolicy, TLSMode.PINNED)
        self.assertRaises(ValueError, TLSPolicy, TLSMode.NONE, True)
        self.assertRaises(ValueError, TLSPolicy.pinned, "00")
        self.assertRaises(ValueError, TLSPolicy.pinned, "xx" * 32)
        colons = ":".join(["AB"] * 32)
        self.assertEqual(TLSPolicy.pinned(colons).pins, frozenset([b"\xab" * 32]))

    def test_the_first_version_is_new_enough(self) -> None:
        from mailkit.client import aio

        class OldSSL:
            """As Debian's Python has it: contexts begin with what the system allows."""

            def __getattr__(self, name: str) -> Any:
                return getattr(ssl, name)

            def SSLContext(self, *arguments: Any) -> ssl.SSLContext:  # noqa: N802
                return self.lower(ssl.SSLContext(*arguments))

            def create_default_context(self, cafile: str | None) -> ssl.SSLContext:
                return self.lower(ssl.create_default_context(cafile=cafile))

            def lower(self, context: ssl.SSLContext) -> ssl.SSLContext:
                context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
                return context

        self.patch(aio, "ssl", OldSSL())
        for policy in (TLSPolicy.required(), TLSPolicy.verified()):
            first = aio.ssl_context(policy).minimum_version
            self.assertGreaterEqual(first, ssl.TLSVersion.TLSv1_2)
