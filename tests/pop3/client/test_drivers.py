"""Both drivers over loopback, against our own server: TLS by policy, streams, cancelling."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from mailkit.pop3.client import (
    ClientError,
    ClientSettings,
    ConnectFailed,
    Session,
    TimedOut,
    Timeouts,
    TLSFailed,
    TLSPolicy,
    asyncio_connect,
    connect,
)
from mailkit.tap.tls import self_signed, server_context
from tests.pop3.client.support import CREDENTIALS
from tests.pop3.fakes import FakeWritableMailbox, Server
from tests.support import environment

reactor: Any = global_reactor
_T = TypeVar("_T")

LARGE = b"Subject: large\r\n\r\n" + b".%b\r\n" % bytes(range(33, 127)) * 20_000
SMALL = b"Subject: small\r\n\r\n"


class DriverTests:
    """What both drivers must do."""

    open: Callable[..., Awaitable[Session]]

    async def run_client(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Run a coroutine of the client's where its loop runs."""
        raise NotImplementedError

    def setUp(self) -> None:
        directory = cast(Any, self).mktemp()
        os.makedirs(directory)
        self.certificate, key = self_signed(directory)
        self.context = server_context(self.certificate, key)
        self.mailbox = FakeWritableMailbox(*[LARGE, SMALL] * 3)
        self.server = Server(self.mailbox, tls_context=self.context)
        self.server.factory.clock = reactor
        self.server.factory.deadlines._clock = reactor

    def serve(self, *, tls: bool = False) -> str:
        factory: Any = self.server.factory
        if tls:
            factory = TLSMemoryBIOFactory(self.context, False, factory)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        cast(Any, self).addCleanup(port.stopListening)
        return f"127.0.0.1:{port.getHost().port}"

    def settings(self, policy: TLSPolicy | None = None, **more: Any) -> ClientSettings:
        more.setdefault("credentials", CREDENTIALS)
        return ClientSettings(tls=policy or TLSPolicy.none(), **more)

    async def with_session(
        self, address: str, settings: ClientSettings, work: Callable[[Session], Awaitable[_T]]
    ) -> _T:
        async def run() -> _T:
            session = await type(self).open(address, settings)
            try:
                return await work(session)
            finally:
                await session.quit()

        return await self.run_client(run)

    async def failure(self, kind: type[_T], address: str, settings: ClientSettings) -> _T:
        async def nothing(session: Session) -> None:
            pass

        try:
            await self.with_session(address, settings, nothing)
        except ClientError as error:
            cast(Any, self).assertIsInstance(error, kind)
            return cast(_T, error)
        raise AssertionError("it did not fail")

    # The tests.

    async def test_messages(self) -> None:
        case = cast(Any, self)
        for policy in (TLSPolicy.none(), TLSPolicy.required()):

            async def work(session: Session) -> None:
                sizes = await session.list()
                fetched = [each.content async for each in session.fetch(sizes)]
                octets = [each.octets() if each else b"" for each in fetched]
                case.assertEqual(octets, [LARGE, SMALL] * 3)
                case.assertEqual([len(each) for each in octets], list(sizes.values()))
                streamed = b"".join([piece async for piece in session.stream(3)])
                case.assertEqual(streamed, LARGE)

            await self.with_session(self.serve(), self.settings(policy), work)

    async def test_deleting(self) -> None:
        async def work(session: Session) -> None:
            async for message in session.fetch(await session.list()):
                await session.dele(message.number)
            farewell = await session.quit()
            assert farewell.removed

        await self.with_session(self.serve(), self.settings(), work)
        cast(Any, self).assertEqual(self.mailbox.messages, {})

    async def test_policies(self) -> None:
        case = cast(Any, self)
        verified = TLSPolicy.verified(ca_file=self.certificate)
        implicit = TLSPolicy.verified(ca_file=self.certificate, implicit=True)

        async def facts(session: Session) -> Any:
            return session.facts

        for policy, checked in (
            (TLSPolicy.opportunistic(), False),
            (TLSPolicy.required(implicit=True), False),
            (verified, True),
            (implicit, True),
        ):
            address = self.serve(tls=policy.implicit)
            found = await self.with_session(address, self.settings(policy), facts)
            case.assertEqual((found.tls.verified, found.account), (checked, "ann"))
            pinned = TLSPolicy.pinned(found.tls.fingerprint, implicit=policy.implicit)
            again = await self.with_session(address, self.settings(pinned), facts)
            case.assertTrue(again.tls.verified)
        for policy in (TLSPolicy.verified(), TLSPolicy.pinned("00" * 32)):
            await self.failure(TLSFailed, self.serve(), self.settings(policy))

    async def test_nobody_listens(self) -> None:
        missing = f"unix:{cast(Any, self).mktemp()}/nothing"
        await self.failure(ConnectFailed, missing, self.settings())

    async def test_silence(self) -> None:
        from twisted.internet.protocol import Factory, Protocol

        factory = Factory.forProtocol(Protocol)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        cast(Any, self).addCleanup(port.stopListening)
        settings = self.settings(timeouts=Timeouts(greeting=0.05))
        error = await self.failure(TimedOut, f"127.0.0.1:{port.getHost().port}", settings)
        cast(Any, self).assertEqual(error.command, "greeting")


class TwistedTests(DriverTests, TestCase):
    """Under Twisted."""

    open = connect

    async def run_client(self, work: Callable[[], Awaitable[_T]]) -> _T:
        return await work()

    async def test_cancelling(self) -> None:
        self.mailbox.slow.add("open_message")
        session = await connect(self.serve(), self.settings())
        running = Deferred.fromCoroutine(session.retr(1))
        other = Deferred.fromCoroutine(session.retr(2))
        while not self.mailbox.waiting:
            done: Deferred[None] = Deferred()
            reactor.callLater(0.01, done.callback, None)
            await done
        running.cancel()
        self.mailbox.slow.clear()
        self.mailbox.go_on()
        self.failureResultOf(running, CancelledError)
        self.assertEqual((await other).octets(), SMALL)
        await session.quit()


class AsyncioTests(DriverTests, TestCase):
    """Under asyncio, in a thread: the server has the reactor."""

    open = asyncio_connect

    async def run_client(self, work: Callable[[], Awaitable[_T]]) -> _T:
        return cast(_T, await deferToThread(lambda: asyncio.run(cast(Any, work()))))

    async def test_cancelling(self) -> None:
        async def work(session: Session) -> bytes:
            running = asyncio.ensure_future(session.retr(1))
            await asyncio.sleep(0)
            running.cancel()
            try:
                await running
            except asyncio.CancelledError:
                pass
            return (await session.retr(2)).octets()

        self.assertEqual(await self.with_session(self.serve(), self.settings(), work), SMALL)

    def test_twisted_is_not_loaded(self) -> None:
        program = (
            "import sys; from mailkit.pop3.client import asyncio_connect, ClientSettings;"
            "print(*({'twisted', 'zope', 'OpenSSL'} & {n.partition('.')[0] for n in sys.modules}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment()
        )
        self.assertEqual((done.stdout.strip(), done.stderr), ("", ""))
