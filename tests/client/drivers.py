"""What both drivers of a client whose sessions last must do: over loopback, with our own server.

Twisted's driver and the server share a reactor; asyncio's runs in a thread.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any, TypeVar, cast

from twisted.internet import reactor as global_reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from mailkit.client.errors import ClientError, ConnectFailed, TimedOut, TLSFailed
from mailkit.client.security import TLSPolicy
from mailkit.deadlines import Deadlines
from mailkit.tap.tls import self_signed, server_context
from tests.support import environment

reactor: Any = global_reactor
_T = TypeVar("_T")


class UnderTwisted(TestCase):
    """Where the reactor is, the client is."""

    async def run_client(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Run a coroutine of the client's where its loop runs."""
        return await work()


class UnderAsyncio(TestCase):
    """The server has the reactor, the client a thread."""

    async def run_client(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Run a coroutine of the client's where its loop runs."""
        return cast(_T, await deferToThread(lambda: asyncio.run(cast(Any, work()))))

    def check_loads_no_twisted(self, statement: str) -> None:
        """What an import statement brings comes without Twisted and what it needs."""
        # Not "zope": old releases of zope.interface put that name there when Python starts.
        program = (
            f"import sys; {statement};"
            "print(*({'twisted', 'zope.interface', 'OpenSSL'} & sys.modules.keys()))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment()
        )
        self.assertEqual((done.stdout.strip(), done.stderr), ("", ""))


class DriverTests:
    """The tests.

    :cvar client: the package of the client.
    :cvar open: the driver's way to open a session.
    :cvar credentials: good ones.
    :cvar account: whose they are, as the client tells it.
    """

    client: ModuleType
    open: Callable[..., Awaitable[Any]]
    credentials: Any
    account: str
    server: Any
    run_client: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]

    def make_server(self, context: Any) -> Any:
        """A server, with this for its TLS."""
        raise NotImplementedError

    async def end(self, session: Any) -> None:
        """Say good-bye."""
        raise NotImplementedError

    def setUp(self) -> None:
        directory = cast(Any, self).mktemp()
        os.makedirs(directory)
        self.certificate, key = self_signed(directory)
        self.context = server_context(self.certificate, key)
        self.server = self.make_server(self.context)
        self.server.factory.clock = reactor
        self.server.factory.deadlines = Deadlines(reactor)

    def serve(self, *, tls: bool = False) -> str:
        factory = self.server.factory
        return self.listen(TLSMemoryBIOFactory(self.context, False, factory) if tls else factory)

    def listen(self, factory: Any) -> str:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        cast(Any, self).addCleanup(port.stopListening)
        return f"127.0.0.1:{port.getHost().port}"

    def settings(self, policy: TLSPolicy | None = None, **more: Any) -> Any:
        more.setdefault("credentials", self.credentials)
        return self.client.ClientSettings(tls=policy or TLSPolicy.none(), **more)

    async def with_session(
        self, address: str, settings: Any, work: Callable[[Any], Awaitable[_T]]
    ) -> _T:
        async def run() -> _T:
            session = await type(self).open(address, settings)
            try:
                return await work(session)
            finally:
                await self.end(session)

        return cast(_T, await self.run_client(run))

    async def failure(self, kind: type[_T], address: str, settings: Any) -> _T:
        async def nothing(session: Any) -> None:
            pass

        try:
            await self.with_session(address, settings, nothing)
        except ClientError as error:
            cast(Any, self).assertIsInstance(error, kind)
            return cast(_T, error)
        raise AssertionError("it did not fail")

    async def test_policies(self) -> None:
        case = cast(Any, self)
        verified = TLSPolicy.verified(ca_file=self.certificate)
        implicit = TLSPolicy.verified(ca_file=self.certificate, implicit=True)

        async def facts(session: Any) -> Any:
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
            case.assertEqual((found.tls.verified, found.account), (checked, self.account))
            pinned = TLSPolicy.pinned(found.tls.fingerprint, implicit=policy.implicit)
            again = await self.with_session(address, self.settings(pinned), facts)
            case.assertTrue(again.tls.verified)
        for policy in (TLSPolicy.verified(), TLSPolicy.pinned("00" * 32)):
            await self.failure(TLSFailed, self.serve(), self.settings(policy))

    async def test_nobody_listens(self) -> None:
        missing = f"unix:{cast(Any, self).mktemp()}/nothing"
        await self.failure(ConnectFailed, missing, self.settings())

    async def test_silence(self) -> None:
        address = self.listen(Factory.forProtocol(Protocol))
        settings = self.settings(timeouts=self.client.Timeouts(greeting=0.05))
        error = await self.failure(TimedOut, address, settings)
        cast(Any, self).assertEqual(error.command, "greeting")
