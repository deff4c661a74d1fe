"""Each kind of work, given up or cut off at every step: the connection stays in step, or it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.client import ClientError, EventGroup, Session, synchronise
from mailkit.model import FlagOp
from tests.imap.client.support import SETTINGS, Client
from tests.imap.client.test_pipelining import Manual
from tests.imap.support import Server

MESSAGE = b"Subject: %d\r\n\r\n" + b"x" * 300
#: Octets that the client reads at a time.
PIECE = 150

Work = Callable[[Session], Awaitable[Any]]


async def take(items: AsyncIterator[Any]) -> None:
    async for _ in items:
        pass


async def fetch(session: Session) -> None:
    await session.fetch("1:*", ["FLAGS", "BODY.PEEK[]"])


async def fetch_slowly(session: Session) -> None:
    await take(session.fetch("1:*", ["FLAGS", "BODY.PEEK[]"]).__aiter__())


async def stream(session: Session) -> None:
    await take(session.stream(1))


async def append(session: Session) -> None:
    await session.append("INBOX", MESSAGE % 7, MESSAGE % 8)


async def change(session: Session) -> None:
    await session.store("1:*", FlagOp.ADD, ["\\Seen"])
    await session.copy(1, "INBOX")


async def idle(session: Session) -> None:
    async with session.idle() as changes:
        await changes.next(None)


async def notify(session: Session) -> None:
    async with session.notify([EventGroup("selected-delayed")]) as changes:
        await changes.next(None)


async def bring_up_to_date(session: Session) -> None:
    await synchronise(session, "INBOX")


async def log_in(session: Session) -> None:
    """It is open; this asks for more."""
    await session.refresh_capabilities()
    await session.compress()
    await session.list()


EACH = (fetch, fetch_slowly, stream, append, change, idle, notify, bring_up_to_date, log_in)


class GivenUpTests(SynchronousTestCase):
    def begin(self, work: Work, steps: int) -> tuple[Client, Deferred[Any], list[Any], bool]:
        """Work that has gone so many steps; and whether the last one moved anything."""
        server = Server()
        server.add(*[MESSAGE % number for number in range(3)])
        client = Client(server, replace(SETTINGS, max_pipelined=10), piece=PIECE)
        client.run(client.session.open())
        client.run(client.session.select("INBOX"))
        results: list[Any] = []
        deferred = Deferred.fromCoroutine(as_coroutine(work(client.session)))
        deferred.addBoth(results.append)
        moved = True
        for _ in range(steps):
            moved = client.move()
        return client, deferred, results, moved

    def at_each_step(self, check: Callable[[Client, Deferred[Any], list[Any]], None]) -> None:
        """Check after each number of steps, until more make no difference."""
        for work in EACH:
            for steps in range(200):
                client, deferred, results, moved = self.begin(work, steps)
                check(client, deferred, results)
                if not moved:
                    break
            else:
                raise AssertionError("it never ends")

    def test_a_cancelled_logout(self) -> None:
        """Nobody else closes the connection."""
        for work in (Session.logout, lambda session: session.__aexit__(None)):
            wire = Manual()
            deferred = Deferred.fromCoroutine(as_coroutine(work(wire.session)))
            wire.flush()
            self.assertEqual(wire.take(), [b"m1 LOGOUT"])
            deferred.cancel()
            self.failureResultOf(deferred, CancelledError)
            self.assertTrue(wire.session.closed)
            self.assertTrue(wire.transport.aborted)

    def test_cancelled(self) -> None:
        """What comes afterwards gets its own answers, or is told that there is no connection."""

        def check(client: Client, deferred: Deferred[Any], results: list[Any]) -> None:
            deferred.cancel()
            client.flush()
            if isinstance(results[0], Failure):
                results[0].trap(CancelledError)
            session = client.session
            found = client.start(session.status("INBOX", ["UIDVALIDITY"]))
            self.assertEqual(len(found), 1, "it waits for ever")
            if session.closed:
                found[0].trap(ClientError)
                self.assertTrue(client.transport.aborted or client.lost)
                return
            self.assertEqual(found[0].name, "INBOX")
            if session.selected is None:
                client.run(session.select("INBOX"))
            messages = client.run(as_coroutine(session.fetch([2], ["BODY.PEEK[]"])))
            self.assertEqual([each.content().octets() for each in messages], [MESSAGE % 1])

        self.at_each_step(check)

    def test_cut_off(self) -> None:
        """All that wait are told."""

        def check(client: Client, deferred: Deferred[Any], results: list[Any]) -> None:
            beside = client.begin(client.session.status("INBOX"))
            behind = client.begin(client.session.list())
            client.lose()
            client.flush()
            for found in (results, beside, behind):
                self.assertEqual(len(found), 1, "it waits for ever")
                if isinstance(found[0], Failure):
                    found[0].trap(ClientError)
            self.assertTrue(client.session.closed)

        self.at_each_step(check)


async def as_coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
