"""Waiting for changes of the selected mailbox: IDLE (RFC 2177), else NOOP now and then."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TypeAlias

from mailkit.client.channel import Waiter
from mailkit.client.errors import ClientError, ProtocolError, TimedOut
from mailkit.imap.client.commands import Command
from mailkit.imap.client.connection import Connection, Flight
from mailkit.imap.client.responses import Typed
from mailkit.imap.client.values import (
    Exists,
    Expunge,
    ExtendedSearch,
    Listing,
    MailboxFlags,
    MailboxStatus,
    Message,
    MetadataChanged,
    Recent,
    Status,
    Vanished,
)
from mailkit.model import Flags

#: Something that a server tells of its own accord.
Change: TypeAlias = (
    Exists
    | Expunge
    | ExtendedSearch
    | Listing
    | MailboxFlags
    | MailboxStatus
    | Message
    | MetadataChanged
    | Recent
    | Status
    | Vanished
)

#: Changes that wait for somebody who takes his time; then the server has to wait.
MAX_WAITING = 1000
#: The same while a command waits for its answer behind them: then the connection is ended.
MAX_UNHELD = 100_000
#: Octets of changes that wait, by the same rules.
MAX_WAITING_OCTETS = 1024 * 1024
MAX_UNHELD_OCTETS = 64 * 1024 * 1024

#: What the flags of a message count for while they wait, besides their names.
FLAGS_OCTETS = 500


class Idling:
    """Changes as the server tells them::

        async with session.idle() as changes:
            async for change in changes:
                if isinstance(change, Exists):
                    break

    Nothing else can be sent on the connection meanwhile.
    """

    def __init__(self, connection: Connection, idle: bool) -> None:
        self._connection = connection
        self._idle = idle
        timeouts = connection.settings.timeouts
        # Seconds of silence after which we say something.
        self._interval = timeouts.idle if idle else timeouts.poll
        self._changes: deque[Change] = deque()
        self._octets = 0
        self._flight: Flight | None = None
        self._waiter: Waiter = connection.channel.waiter()
        self._interrupted = False
        self._renew_at = 0.0

    async def __aenter__(self) -> Idling:
        self._connection.check()
        self._connection.listeners.append(self._hear)
        try:
            await self._begin()
        except BaseException:
            self._connection.listeners.remove(self._hear)
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._connection.listeners.remove(self._hear)
        if not self._connection.closed:
            await self._end()

    def __aiter__(self) -> Idling:
        return self

    async def __anext__(self) -> Change:
        """
        :raises ClientError: the connection has ended.
        """
        while True:
            change = await self.next(None)
            if change is not None:
                return change

    async def next(self, timeout: float | None) -> Change | None:
        """The next change; None when there is none within so many seconds, or after
        :meth:`interrupt`.

        :raises ClientError: the connection has ended.
        """
        seconds = self._connection.channel.seconds
        give_up = None if timeout is None else seconds() + timeout
        while not self._changes:
            if self._interrupted:
                self._interrupted = False
                return None
            self._octets = 0
            self._connection.release()
            self._connection.check()
            if self._flight is not None and self._flight.status is not None:
                # The server has ended it of its own accord.
                await self._end()
                await self._begin()
            left = self._renew_at - seconds()
            if left <= 0:
                await self._renew()
                continue
            if give_up is not None:
                left = min(left, give_up - seconds())
                if left <= 0:
                    return None
            try:
                await self._waiter.wait(left)
            except TimedOut:
                continue
            self._waiter = self._connection.channel.waiter()
        return self._changes.popleft()

    def interrupt(self) -> None:
        """Let whoever waits for the next change wait no longer."""
        self._interrupted = True
        self._waiter.fire()

    def _hear(self, response: Typed) -> None:
        if self._connection.answers:
            if isinstance(response, Message) and response.flags is not None:
                self._hear_flags(response, response.flags)
        elif isinstance(response, Change):
            self._keep(response, self._connection.size)
            if len(self._changes) >= MAX_WAITING or self._octets >= MAX_WAITING_OCTETS:
                self._connection.hold()
            if len(self._changes) >= MAX_UNHELD or self._octets >= MAX_UNHELD_OCTETS:
                self._changes.clear()
                error = ProtocolError("The server tells more changes than anybody takes")
                self._connection.fail(error)
        self._waiter.fire()

    def _hear_flags(self, answer: Message, flags: Flags) -> None:
        """Those that come with an answer may be news, which the server does not tell again.

        They take half of the room at most, so that an answer never has the server wait, or ends the
        connection; beyond that only whoever has asked is told.
        """
        octets = FLAGS_OCTETS + sum(map(len, flags))
        if self._is_half_full(octets):
            return
        told = Message(answer.number, answer.uid, flags, answer.recent, modseq=answer.modseq)
        told.items = answer.items & {"UID", "FLAGS", "MODSEQ"}
        self._keep(told, octets)

    def _keep(self, change: Change, octets: int) -> None:
        """:param octets: what it takes of the room that there is."""
        self._changes.append(change)
        self._octets += octets

    def _is_half_full(self, octets: int) -> bool:
        """Whether a change of so many octets would take more than half of what may wait."""
        return (
            2 * len(self._changes) >= MAX_WAITING
            or 2 * (self._octets + octets) >= MAX_WAITING_OCTETS
        )

    async def _begin(self) -> None:
        connection = self._connection
        self._renew_at = connection.channel.seconds() + self._interval
        if not self._idle:
            return

        def done(status: Status) -> None:
            self._waiter.fire()

        flight = await connection.begin(Command("IDLE", alone=True, done=done), streaming=True)
        try:
            await self._wait_for_consent(flight)
        except BaseException:
            if flight.status is None and not connection.closed:
                # Cancelled: until the server is told of the end, no other command has its turn.
                with suppress(ClientError):
                    await self._wait_for_consent(flight)
                    await self._end()
            raise

    async def _wait_for_consent(self, flight: Flight) -> None:
        while not flight.continuations and flight.status is None:
            await self._connection.next_event(flight)
        if flight.status is not None:
            await self._connection.finish(flight)
        else:
            flight.continuations.popleft()
            self._flight = flight

    async def _end(self) -> None:
        flight, self._flight = self._flight, None
        if flight is None:
            return
        flight.streaming = False
        if flight.status is None:
            await self._connection.send(b"DONE\r\n")
        await self._connection.finish(flight)

    async def _renew(self) -> None:
        await self._end()
        if not self._idle:
            await self._connection.run(Command("NOOP"))
        await self._begin()
