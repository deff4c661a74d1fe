"""Both drivers over loopback, against our own server: TLS by policy, streams, cancelling."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred

from mailkit.pop3 import client
from mailkit.pop3.client import Session, TLSPolicy, asyncio_connect, connect
from tests.client.drivers import DriverTests, UnderAsyncio, UnderTwisted
from tests.pop3.client.support import CREDENTIALS
from tests.pop3.fakes import FakeWritableMailbox, Server
from tests.support import until

LARGE = b"Subject: large\r\n\r\n" + b".%b\r\n" % bytes(range(33, 127)) * 20_000
SMALL = b"Subject: small\r\n\r\n"


class POP3DriverTests(DriverTests):
    """What both drivers must do."""

    client = client
    credentials = CREDENTIALS
    account = "ann"

    def make_server(self, context: Any) -> Server:
        self.mailbox = FakeWritableMailbox(*[LARGE, SMALL] * 3)
        return Server(self.mailbox, tls_context=context)

    async def end(self, session: Session) -> None:
        await session.quit()

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


class TwistedTests(POP3DriverTests, UnderTwisted):
    open = connect

    async def test_cancelling(self) -> None:
        self.mailbox.slow.add("open_message")
        session = await connect(self.serve(), self.settings())
        running = Deferred.fromCoroutine(session.retr(1))
        other = Deferred.fromCoroutine(session.retr(2))
        await until(lambda: bool(self.mailbox.waiting))
        running.cancel()
        self.mailbox.slow.clear()
        self.mailbox.go_on()
        self.failureResultOf(running, CancelledError)
        self.assertEqual((await other).octets(), SMALL)
        await session.quit()


class AsyncioTests(POP3DriverTests, UnderAsyncio):
    open = asyncio_connect

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
        self.check_loads_no_twisted(
            "from mailkit.pop3.client import asyncio_connect, ClientSettings"
        )
