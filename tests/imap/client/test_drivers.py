"""Both drivers over loopback, against our own server: TLS by policy, literals, IDLE, cancelling."""

from __future__ import annotations

import asyncio
import io
from typing import Any, cast

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred

from mailkit.imap import client
from mailkit.imap.client import (
    AuthFailed,
    Credentials,
    Exists,
    Session,
    TLSPolicy,
    asyncio_connect,
    connect,
)
from mailkit.imap.contexts import MAX_CONTEXTS
from mailkit.model import FlagOp
from tests.client.drivers import DriverTests, UnderAsyncio, UnderTwisted
from tests.imap.client.support import CREDENTIALS
from tests.imap.support import Server
from tests.support import PATIENCE, until

reactor: Any = global_reactor

LARGE = b"Subject: large\r\n\r\n" + bytes(range(33, 127)) * 40_000 + b"\r\n"


class IMAPDriverTests(DriverTests):
    """What both drivers must do."""

    client = client
    credentials = CREDENTIALS
    account = "ann@example.org"

    def make_server(self, context: Any) -> Server:
        return Server(tls_context=context)

    async def end(self, session: Session) -> None:
        await session.logout()

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


class TwistedTests(IMAPDriverTests, UnderTwisted):
    open = connect

    async def test_cancelling(self) -> None:
        session = await connect(self.serve(), self.settings())
        await session.select("INBOX")
        idling: list[bool] = []

        async def wait() -> None:
            async with session.idle() as changes:
                idling.append(True)
                await changes.next(None)

        # Before the server has agreed, and after.
        for ready in (True, False):
            running = Deferred.fromCoroutine(wait())
            await until(lambda ready=ready: ready or bool(idling))
            running.cancel()
            try:
                await running
            except CancelledError:
                pass
            await session.noop()
        await session.logout()


class AsyncioTests(IMAPDriverTests, UnderAsyncio):
    open = asyncio_connect

    async def test_cancelling(self) -> None:
        async def work(session: Session) -> None:
            await session.select("INBOX")

            idling = asyncio.Event()

            async def wait() -> None:
                async with session.idle() as changes:
                    idling.set()
                    await changes.next(None)

            # Before the server has agreed, and after.
            for ready in (asyncio.sleep(0), idling.wait()):
                running = asyncio.ensure_future(wait())
                await ready
                running.cancel()
                try:
                    await running
                except asyncio.CancelledError:
                    pass
                await session.noop()

        await self.with_session(self.serve(), self.settings(), work)

    async def test_a_search_that_is_not_followed_after_all(self) -> None:
        """The server is told, and has room for others."""

        async def work(session: Session) -> Any:
            await session.select("INBOX")
            for _ in range(MAX_CONTEXTS):
                running = asyncio.ensure_future(session.follow().__aenter__())
                await asyncio.sleep(0)
                running.cancel()
                await asyncio.wait([running])
                await session.noop()
            async with session.follow() as found:
                return found.uids

        found = await self.with_session(self.serve(), self.settings(), work)
        self.assertEqual(found, [])

    async def test_cancelled_when_nobody_is_logged_in_any_more(self) -> None:
        async def work(session: Session) -> Any:
            running = asyncio.ensure_future(session.unauthenticate(CREDENTIALS))
            while session.facts.account is not None:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
            # The server has agreed, and the call does not know yet.
            running.cancel()
            await asyncio.wait([running])
            return running.cancelled(), session.closed

        found = await self.with_session(self.serve(), self.settings(), work)
        self.assertEqual(found, (True, True))

    def test_twisted_is_not_loaded(self) -> None:
        self.check_loads_no_twisted(
            "from mailkit.imap.client import asyncio_connect, ClientSettings"
        )
