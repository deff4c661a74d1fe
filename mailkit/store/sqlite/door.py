"""Where other processes of a store ask its owner for changes: a UNIX socket in its directory.

Only processes of the same user get in, or root's. Each request is an operation for the writer like
the owner's own; its answer is sent when it is durable. After each transaction all guests are told
what it has touched, behind the answers of those who made it.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorUNIX
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailkit._typing import override
from mailkit.errors import MailError, StoreUnavailable
from mailkit.store.sqlite.channel import Channel
from mailkit.store.sqlite.codec import Codec, as_mail_error, fingerprint
from mailkit.store.sqlite.frames import Kind, Link
from mailkit.store.sqlite.transaction import Touched
from mailkit.store.sqlite.writer import Operation, Writer

#: Name of the socket in the store's directory.
SOCKET_NAME = "socket"
#: Requests of one guest that are under way, and their octets, above which it has to wait.
MAX_REQUESTS = 4096
MAX_REQUEST_OCTETS = 64 * 1024 * 1024
#: Octets of the path of a socket, which must end with NUL (sockaddr_un of Linux, less elsewhere).
_MAX_PATH = 100
_CREDENTIALS = struct.Struct("3i")


class SocketPath:
    """A short name of the socket in a directory, however long the directory's is."""

    def __init__(self, directory: str) -> None:
        self.name = os.path.join(directory, SOCKET_NAME)
        self._descriptor = -1
        if len(os.fsencode(self.name)) > _MAX_PATH:
            self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            self.name = f"/proc/self/fd/{self._descriptor}/{SOCKET_NAME}"

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_ours(connection: socket.socket) -> bool:
    """Whether the process at the other end may do whatever we may."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        # The directory and the socket are for nobody else.
        return True
    octets = connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(octets)
    return user in (0, os.geteuid())


class Door:
    """Lets guests in until it is closed.

    :param directory: of the store.
    :param compact: gives back all space that can be given back.
    :param entered: is called when a guest has come.
    :param left: is called when a guest has gone.
    """

    def __init__(
        self,
        directory: str,
        codec: Codec,
        writer: Writer,
        channel: Channel,
        compact: Callable[[], Awaitable[None]],
        entered: Callable[[], None],
        left: Callable[[], None],
    ) -> None:
        self.codec = codec
        self.writer = writer
        self.channel = channel
        self.compact = compact
        self._entered = entered
        self._left = left
        self._path = SocketPath(directory)
        self._port: Any = None
        self._visitors: list[Visitor] = []
        self._empty: Deferred[None] | None = None

    def open(self, reactor: IReactorUNIX) -> None:
        """Begin to listen; whoever opens it has the store's lock.

        :raises StoreUnavailable: the socket cannot be made.
        """
        with suppress(FileNotFoundError):
            os.unlink(self._path.name)
        factory: Any = Factory.forProtocol(lambda: Visitor(self))
        factory.noisy = False
        try:
            self._port = reactor.listenUNIX(self._path.name, factory, backlog=128, mode=0o600)
        except Exception as error:
            self._path.close()
            raise StoreUnavailable(f"Cannot make {self._path.name}: {error}") from error

    def stop(self) -> None:
        """Let nobody in any more, and take no more requests."""
        if self._port is not None:
            port, self._port = self._port, None
            port.stopListening()
        for visitor in list(self._visitors):
            visitor.stop()

    async def close(self, reactor: Any, patience: float) -> None:
        """Say goodbye, once the writer has answered all that it was given.

        :param patience: seconds until guests are cut off that do not read.
        """
        if self._visitors:
            self._empty = Deferred()
            for visitor in list(self._visitors):
                visitor.say_goodbye()
            timer = reactor.callLater(patience, self._cut_off)
            await self._empty
            if timer.active():
                timer.cancel()
        self._path.close()

    def _cut_off(self) -> None:
        for visitor in list(self._visitors):
            visitor.abort()

    @property
    def has_visitors(self) -> bool:
        return bool(self._visitors)

    def tell(self, touched: set[Touched]) -> None:
        """A transaction has touched this; its answers may go, too."""
        if not self._visitors:
            return
        told = b""
        for visitor in self._visitors:
            if touched and visitor.notes(touched):
                told = told or visitor.make_frame(Kind.TOUCHED, 0, touched)
                visitor.send_replies(told)
            else:
                visitor.send_replies()

    def forward(self, topic: str, text: str, source: Visitor | None = None) -> None:
        """Give a message to all guests but the one that it comes from."""
        for visitor in self._visitors:
            if visitor is not source:
                visitor.pass_on(topic, text)

    def entered(self, visitor: Visitor) -> None:
        self._visitors.append(visitor)
        self._entered()

    def left(self, visitor: Visitor) -> None:
        """A guest has gone, and nothing of it is under way."""
        if visitor in self._visitors:
            self._visitors.remove(visitor)
        if not self._visitors and self._empty is not None and not self._empty.called:
            self._empty.callback(None)
        self._left()


class _Waiting:
    """A visitor waits for the end of an operation."""

    __slots__ = ("_number", "_octets", "_visitor")

    def __init__(self, visitor: Visitor, number: int, octets: int) -> None:
        self._visitor = visitor
        self._number = number
        self._octets = octets

    def callback(self, answer: object) -> None:
        self._visitor.answer(answer, self._number, self._octets)

    def errback(self, error: Any) -> None:
        self._visitor.refuse(error, self._number, self._octets)


@implementer(IPushProducer)
class Visitor(Link):
    """One guest, as its owner sees it."""

    def __init__(self, door: Door) -> None:
        super().__init__(door.codec)
        self._door = door
        self._welcome = False
        self._stopped = False
        self._lost = False
        self._requests = 0
        self._octets = 0
        # The guest does not read: what it is told is put together.
        self._clogged = False
        self._untold: set[Touched] = set()
        # Frames that go when a transaction has answered all.
        self._replies: list[bytes] = []

    @property
    def _transport(self) -> Any:
        return self.transport

    @override
    def connectionMade(self) -> None:
        self._door.entered(self)
        if not is_ours(self._transport.socket):
            self.log.warn("a process of another user was refused at the store's socket")
            self._transport.abortConnection()
            return
        self._transport.registerProducer(self, True)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self._leave()

    def _leave(self) -> None:
        if self._lost and not self._requests:
            self._door.left(self)

    @override
    def received(self, kind: Kind, number: int, value: Any, octets: int) -> None:
        if self._stopped or self._lost:
            # Not begun: the guest asks again elsewhere.
            return
        if kind is Kind.HELLO:
            self._greet(value)
        elif not self._welcome:
            self._break_off("no greeting")
        elif kind in (Kind.CHANGE, Kind.LAZY_CHANGE) and isinstance(value, Operation):
            self._count(octets)
            waiting = _Waiting(self, number, octets)
            self._door.writer.submit_for(value, waiting, kind is Kind.LAZY_CHANGE)
        elif kind is Kind.COMPACT:
            self._count(0)
            Deferred.fromCoroutine(self._compact(_Waiting(self, number, 0)))
        elif kind is Kind.MESSAGE and isinstance(value, list):
            topic, text = value
            self._door.channel.receive(topic, text)
            self._door.forward(topic, text, self)
        else:
            self._break_off(f"an unexpected {kind.name}")

    def _greet(self, value: Any) -> None:
        if value != [fingerprint()]:
            refusal = StoreUnavailable(
                f"The mail store is open in process {os.getpid()}, which is of another version;"
                " stop it first"
            )
            # It leaves by itself.
            self.send(Kind.REFUSAL, 0, refusal)
            self._stopped = True
            return
        # What waits to be written is known in this process alone.
        self._count(0)
        self._door.writer.settle().addBoth(self._let_in)

    def _let_in(self, _: object) -> None:
        if not self._lost and not self._stopped:
            self._welcome = True
            self.send(Kind.WELCOME, 0)
        self._done(0)

    # Requests under way.

    def _count(self, octets: int) -> None:
        self._requests += 1
        self._octets += octets
        if self._too_many():
            self._pause(True)

    def _too_many(self) -> bool:
        return self._requests >= MAX_REQUESTS or self._octets >= MAX_REQUEST_OCTETS

    def _done(self, octets: int) -> None:
        full = self._too_many()
        self._requests -= 1
        self._octets -= octets
        if full and not self._too_many() and not self._stopped and not self._lost:
            self._pause(False)
        self._leave()

    def _pause(self, pause: bool) -> None:
        if pause:
            self._transport.pauseProducing()
        else:
            self._transport.resumeProducing()

    async def _compact(self, waiting: _Waiting) -> None:
        try:
            await self._door.compact()
        except Exception as error:
            waiting.errback(error)
        else:
            waiting.callback(None)
        self.send_replies()

    def answer(self, value: object, number: int, octets: int) -> None:
        """It is done; goes with the others of its transaction."""
        self._reply(Kind.ANSWER, number, value)
        self._done(octets)

    def refuse(self, error: BaseException, number: int, octets: int) -> None:
        """It has failed; goes with the others of its transaction."""
        if not isinstance(error, MailError):
            self.log.failure("a change for another process failed", Failure(error))
        self._reply(Kind.REFUSAL, number, as_mail_error(error))
        self._done(octets)

    def _reply(self, kind: Kind, number: int, value: object) -> None:
        if self._lost:
            return
        try:
            frame = self.make_frame(kind, number, value)
        except Exception:
            # It is done, and that is all that can be told; others wait for their answers.
            self.log.failure("the answer to another process cannot be sent")
            frame = self.make_frame(Kind.REFUSAL, number, as_mail_error(ValueError()))
        self._replies.append(frame)

    def send_replies(self, told: bytes = b"") -> None:
        """Send the answers of a transaction.

        :param told: a frame to go with them.
        """
        replies, self._replies = self._replies, []
        if told:
            replies.append(told)
        if replies and not self._lost:
            self.send_frame(b"".join(replies))

    # What is told.

    def notes(self, touched: set[Touched]) -> bool:
        """Whether the guest is to be told now what a transaction has touched."""
        if self._clogged:
            self._untold |= touched
            return False
        return self._welcome and not self._lost

    def pass_on(self, topic: str, text: str) -> None:
        if self._welcome and not self._clogged and not self._lost:
            self.send(Kind.MESSAGE, 0, [topic, text])

    def pauseProducing(self) -> None:
        self._clogged = True

    def resumeProducing(self) -> None:
        self._clogged = False
        untold, self._untold = self._untold, set()
        if untold and self.notes(untold):
            self.send(Kind.TOUCHED, 0, untold)

    def stopProducing(self) -> None:
        self._clogged = True

    # The end.

    def stop(self) -> None:
        """Take no more requests."""
        self._stopped = True

    def say_goodbye(self) -> None:
        """Let the guest end the connection."""
        if not self._lost:
            # What it still asks for must be read, or it could not read our last word.
            self._pause(False)
            self.send(Kind.GOODBYE, 0)

    def abort(self) -> None:
        self._transport.abortConnection()
