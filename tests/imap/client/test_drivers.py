"""Both drivers over loopback, against our own server: TLS by policy, literals, IDLE, cancelling."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from mailkit.imap.client import (
    AuthFailed,
    ClientError,
    ClientSettings,
    ConnectFailed,
    Credentials,
    Exists,
    Session,
    TimedOut,
    Timeouts,
    TLSFailed,
    TLSPolicy,
    asyncio_connect,
    connect,
)
from mailkit.model import FlagOp
from mailkit.tap.tls import self_signed, server_context
from tests.imap.client.support import CREDENTIALS
from tests.imap.support import Server
from tests.support import PATIENCE, environment

reactor: Any = global_reactor
_T = TypeVar("_T")

LARGE = b"Subject: large\r\n\r\n" + bytes(range(33, 127)) * 40_000 + b"\r\n"


class DriverTests:
    """What both drivers must do."""

    open: Callable[..., Awaitable[Session]]

    async def run_client(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Run a coroutine of the client's where its loop runs."""
        raise NotImplementedError

    def setUp(self) -> None:
        case = cast(Any, self)
        directory = case.mktemp()
        subprocess.run(["mkdir", "-p", directory], check=True)
        self.certificate, key = self_signed(directory)
        self.context = server_context(self.certificate, key)
        self.server = Server(tls_context=self.context)
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
                await session.logout()

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

    async def test_a_large_message_both_ways(self) -> None:
        case = cast(Any, self)
        for policy in (TLSPolicy.none(), TLSPolicy.required()):

            async def work(session: Session) -> tuple[bytes, bytes]:
                result = await session.append("INBOX", io.BytesIO(LARGE))
                assert result is not None
                (uid,) = result.uids
                await session.select("INBOX")
                (message,) = await session.fetch(uid, "BODY.PEEK[]")
                content = message.content()
                assert content is not None
                streamed = b"".join([piece async for piece in session.stream(uid)])
                return content.octets(), streamed

            found = await self.with_session(self.serve(), self.settings(policy), work)
            case.assertEqual(found, (LARGE, LARGE))

    async def test_policies(self) -> None:
        case = cast(Any, self)
        verified = TLSPolicy.verified(ca_file=self.certificate)
        implicit = TLSPolicy.verified(ca_file=self.certificate, implicit=True)

        async def facts(session: Session) -> Any:
            return session.facts

        for policy, checked in (
            (TLSPolicy.opportunistic(), False),
            (TLSPolicy.required(), False),
            (TLSPolicy.required(implicit=True), False),
            (verified, True),
            (implicit, True),
        ):
            address = self.serve(tls=policy.implicit)
            found = await self.with_session(address, self.settings(policy), facts)
            case.assertEqual((found.tls.verified, found.account), (checked, "ann@example.org"))
            pinned = TLSPolicy.pinned(found.tls.fingerprint, implicit=policy.implicit)
            again = await self.with_session(address, self.settings(pinned), facts)
            case.assertTrue(again.tls.verified)
        for policy in (TLSPolicy.verified(), TLSPolicy.pinned("00" * 32)):
            await self.failure(TLSFailed, self.serve(), self.settings(policy))

    async def test_a_wrong_password(self) -> None:
        settings = self.settings(credentials=Credentials("ann@example.org", "wrong"))
        await self.failure(AuthFailed, self.serve(), settings)

    async def test_several_at_once_and_idle(self) -> None:
        case = cast(Any, self)
        self.server.add(*[b"%d" % number for number in range(50)])

        async def work(session: Session) -> tuple[int, Any]:
            await session.select("INBOX")
            async with session.idle() as changes:
                reactor.callFromThread(self.server.add, b"new")
                change = await changes.next(PATIENCE)
            count = 0
            async for message in session.fetch("1:*", "BODY.PEEK[]"):
                assert message.uid is not None
                if message.uid % 10 == 0:
                    await session.store(message.uid, FlagOp.ADD, ["\\Seen"])
                count += 1
            return count, change

        found = await self.with_session(self.serve(), self.settings(), work)
        case.assertEqual(found, (51, Exists(51)))

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
        session = await connect(self.serve(), self.settings())
        await session.select("INBOX")

        async def wait() -> None:
            async with session.idle() as changes:
                await changes.next(None)

        running = Deferred.fromCoroutine(wait())
        done: Deferred[None] = Deferred()
        reactor.callLater(0.05, done.callback, None)
        await done
        running.cancel()
        try:
            await running
        except CancelledError:
            pass
        await session.noop()
        await session.logout()


class AsyncioTests(DriverTests, TestCase):
    """Under asyncio, in a thread: the server has the reactor."""

    open = asyncio_connect

    async def run_client(self, work: Callable[[], Awaitable[_T]]) -> _T:
        return cast(_T, await deferToThread(lambda: asyncio.run(cast(Any, work()))))

    async def test_cancelling(self) -> None:
        async def work(session: Session) -> None:
            await session.select("INBOX")

            async def wait() -> None:
                async with session.idle() as changes:
                    await changes.next(None)

            running = asyncio.ensure_future(wait())
            await asyncio.sleep(0.05)
            running.cancel()
            try:
                await running
            except asyncio.CancelledError:
                pass
            await session.noop()

        await self.with_session(self.serve(), self.settings(), work)

    def test_twisted_is_not_loaded(self) -> None:
        program = (
            "import sys; from mailkit.imap.client import asyncio_connect, ClientSettings;"
            "print(*({'twisted', 'zope', 'OpenSSL'} & {n.partition('.')[0] for n in sys.modules}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment()
        )
        self.assertEqual((done.stdout.strip(), done.stderr), ("", ""))
