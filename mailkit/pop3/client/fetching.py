"""Messages as they come: the octets of one, or many messages one behind the other."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import IO

from mailkit._typing import override
from mailkit.client.content import CONTENT_MEMORY, SHARED_CONTENT_MEMORY, Content
from mailkit.pop3.client.commands import make_command, message_number
from mailkit.pop3.client.connection import Connection, Flight, judge
from mailkit.pop3.client.errors import Refused
from mailkit.pop3.client.reader import Sink
from mailkit.pop3.client.values import Retrieved
from mailkit.spool import Spool, SpoolMemory

#: Octets that wait for somebody who takes his time; then the server has to wait.
MAX_WAITING_OCTETS = 256 * 1024
#: Octets that are given out at a time.
_PIECE = 64 * 1024


class ContentSink(Sink):
    """Keeps a message for whoever has asked for it, if he still wants it.

    :param came: told of all that is kept.
    """

    def __init__(
        self, memory: SpoolMemory, directory: str | None, came: Callable[[int], object]
    ) -> None:
        self._spool: Spool | None = Spool(directory, CONTENT_MEMORY, memory=memory)
        self._came = came

    @override
    def write(self, data: bytes) -> None:
        if self._spool is not None:
            self._spool.write(data)
            self._came(len(data))

    def take(self) -> Content:
        """The message, all of which has come."""
        assert self._spool is not None
        spool, self._spool = self._spool, None
        return Content(spool)

    def abandon(self) -> int:
        """Nobody wants it.

        :returns: octets that were kept.
        """
        spool, self._spool = self._spool, None
        if spool is None:
            return 0
        spool.close()
        return spool.size


class Contents:
    """Asks for messages that are kept: in memory while they are small and few."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._memory = SpoolMemory(SHARED_CONTENT_MEMORY)
        # Octets of messages that were asked for ahead, and that nobody has taken.
        self._waiting = 0

    def _came(self, octets: int) -> None:
        self._waiting += octets
        if self._waiting >= SHARED_CONTENT_MEMORY:
            self._connection.hold()

    async def one(self, verb: str, *arguments: int) -> Content:
        """The content that answers a command.

        :raises Refused: there is none.
        """
        flight, sink = await self._begin(verb, *arguments)
        try:
            await self._connection.finish(flight)
            return sink.take()
        except BaseException:
            sink.abandon()
            raise

    async def _begin(
        self, verb: str, *arguments: int, streaming: bool = False
    ) -> tuple[Flight, ContentSink]:
        command = make_command(verb, *arguments)
        came = self._came if streaming else _ignore
        sink = ContentSink(self._memory, self._connection.settings.directory, came)
        command.sink = sink
        try:
            return await self._connection.begin(command, streaming=streaming), sink
        except BaseException:
            sink.abandon()
            raise

    async def many(self, numbers: Iterable[int]) -> AsyncIterator[Retrieved]:
        """Messages in this order; the commands for those behind are under way meanwhile."""
        connection = self._connection
        most = connection.settings.max_pipelined
        wanted = iter(numbers)
        waiting: deque[tuple[int, Flight, ContentSink]] = deque()
        announced = connection.facts.announced or {}
        ahead = most if "PIPELINING" in announced else 1
        more = True
        try:
            while True:
                while more and len(waiting) < ahead:
                    number = next(wanted, None)
                    if number is None:
                        more = False
                        break
                    flight, sink = await self._begin("RETR", number, streaming=True)
                    waiting.append((number, flight, sink))
                if not waiting:
                    return
                number, flight, sink = waiting[0]
                while not flight.ended:
                    connection.release()
                    await connection.next_event(flight)
                waiting.popleft()
                retrieved = _retrieved(number, flight, sink)
                if retrieved.content is not None:
                    self._waiting -= retrieved.content.size
                yield retrieved
        finally:
            for _, flight, sink in waiting:
                self._waiting -= sink.abandon()
                flight.streaming = False
            connection.release()


def _ignore(octets: int) -> None:
    pass


def _retrieved(number: int, flight: Flight, sink: ContentSink) -> Retrieved:
    try:
        judge(flight)
    except Refused as error:
        sink.abandon()
        return Retrieved(number, None, error)
    return Retrieved(number, sink.take())


class MessageStream(Sink):
    """The octets of one message, as they come."""

    def __init__(self, connection: Connection, number: int) -> None:
        self._connection = connection
        self._number = message_number(number)
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        # Where the server cannot be held back, for others wait for what follows.
        self._overflow: IO[bytes] | None = None
        self._read_position = 0
        self._abandoned = False
        self._flight: Flight | None = None

    @override
    def write(self, data: bytes) -> None:
        if self._abandoned:
            return
        if self._overflow is not None:
            self._overflow.write(data)
        else:
            self._pieces.append(data)
            self._waiting += len(data)
            if self._waiting >= MAX_WAITING_OCTETS and not self._connection.hold():
                self._overflow = tempfile.TemporaryFile(dir=self._connection.settings.directory)
        if self._flight is not None:
            self._flight.waiter.fire()

    def _next_piece(self) -> bytes:
        """What has come and was not given out; nothing when all of it was."""
        if self._pieces:
            piece = self._pieces.popleft()
            self._waiting -= len(piece)
            return piece
        if self._overflow is None:
            return b""
        self._overflow.seek(self._read_position)
        piece = self._overflow.read(_PIECE)
        self._read_position += len(piece)
        if piece:
            self._overflow.seek(0, 2)
        else:
            self._close_overflow()
        return piece

    def _close_overflow(self) -> None:
        if self._overflow is not None:
            self._overflow.close()
            self._overflow = None
            self._read_position = 0

    async def read(self) -> AsyncIterator[bytes]:
        """
        :raises Refused: there is no such message.
        """
        connection = self._connection
        command = make_command("RETR", self._number)
        command.sink = self
        flight = self._flight = await connection.begin(command, streaming=True)
        try:
            while True:
                while piece := self._next_piece():
                    yield piece
                connection.release()
                if flight.ended:
                    break
                await connection.next_event(flight)
            judge(flight)
        finally:
            # What still comes is read and thrown away.
            self._abandoned = True
            self._pieces.clear()
            self._close_overflow()
            flight.streaming = False
            connection.release()
