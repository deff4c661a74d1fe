"""A process's way to change a store that another process has open: it asks that one, the owner.

Reading needs nobody: index and segments are read where they are. What the owner has answered is
durable. When the owner ends, or answers nothing for long, whatever it has not answered is refused as a
temporary failure, for nobody knows whether it was done; unless the owner has said goodbye: then it
was not. The guest that is the first to get the store's lock then becomes the owner in its place,
and the others turn to it. So no process is more than the others, and any of them may be stopped or
started at any time.
"""

from __future__ import annotations

import itertools
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailkit._typing import override
from mailkit.clocks import steady_seconds
from mailkit.errors import MailError, StoreUnavailable
from mailkit.store.sqlite.channel import Channel
from mailkit.store.sqlite.codec import Codec, fingerprint
from mailkit.store.sqlite.door import SocketPath, is_ours
from mailkit.store.sqlite.frames import Kind, Link
from mailkit.store.sqlite.transaction import Touched
from mailkit.store.sqlite.writer import MAX_HELD_OCTETS, Operation

T = TypeVar("T")

#: Changes that wait for an owner.
MAX_WAITING = 10_000
#: Seconds that they wait.
PATIENCE = 10.0
#: Seconds in which an owner that has been asked for changes answers one of them.
ANSWER_TIMEOUT = 60.0
#: Seconds between two looks for an owner; the first ones come sooner.
RETRY_INTERVAL = 0.25
#: The same after one that did not want us.
REFUSED_INTERVAL = 2.0
_FIRST_RETRY = 0.01


class Host(Protocol):
    """What a guest needs of its own process."""

    directory: str
    reactor: Any
    codec: Codec
    channel: Channel

    @property
    def data_version(self) -> int:
        """Changes with each transaction of another process."""

    def announce(self, touched: set[Touched]) -> None:
        """Tell those who watch."""

    def owner_changed(self) -> None:
        """Forget what may not hold with another owner, and tell all who watch to look again."""

    def take_over(self) -> bool:
        """Become the owner, if nobody is: then the guest is not used any more."""


class _Request(NamedTuple):
    kind: Kind
    operation: Operation[Any] | None
    answer: Deferred[Any]


def connect(directory: str) -> socket.socket | None:
    """The socket of a store's owner; None where nobody listens."""
    path = SocketPath(directory)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.connect(path.name)
        if is_ours(connection):
            return connection
    except OSError:
        # None, or one that ended without removing it, or too many who want in.
        pass
    finally:
        path.close()
    connection.close()
    return None


class Guest:
    """Has changes made by the owner. Has the shape of a writer, for the reactor's thread.

    :param connection: to the owner.
    :param reluctance: seconds for which it is left to others to become the owner in place of one
        that has ended without a goodbye.
    """

    log = Logger()

    def __init__(self, host: Host, connection: socket.socket, reluctance: float = 0.0) -> None:
        self._host = host
        self._reluctance = reluctance
        self._seconds = steady_seconds(host.reactor)
        # When we may become the owner, if there is none; by :attr:`_seconds`.
        self._willing_from = 0.0
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Request] = {}
        self._waiting: deque[_Request] = deque()
        self._link: _OwnerLink | None = None
        self._timer: Any = None
        self._give_up: Any = None
        # Ends an owner's silence.
        self._silence: Any = None
        self._delay = _FIRST_RETRY
        # Why the owner does not want us.
        self._refusal: MailError | None = None
        # There has been none for long.
        self._tired = False
        self._stopped: Deferred[None] | None = None
        self._turn_to(connection)

    # What a writer does.

    @property
    def commits(self) -> int:
        """Another number after each transaction, and none that a writer of this process gives."""
        # Asked now, for what we are told comes a moment later.
        return -1 - self._host.data_version

    @property
    def renames(self) -> int:
        """The same: nobody tells which of them have changed names."""
        return self.commits

    @property
    def is_welcome(self) -> bool:
        """There is an owner, which takes requests."""
        return self._link is not None and self._link.welcome

    def submit(self, operation: Operation[T]) -> Deferred[T]:
        """Do an operation; the answer comes when it is durable."""
        return self._ask(Kind.CHANGE, operation)

    def submit_lazy(self, operation: Operation[T]) -> Deferred[T]:
        """Do an operation soon; losing it in a crash must be harmless."""
        return self._ask(Kind.LAZY_CHANGE, operation)

    def is_linked(self, link: _OwnerLink) -> bool:
        """Whether this is still the connection to the owner."""
        return self._link is link

    def compact(self) -> Deferred[None]:
        """Give back all space that can be given back."""
        return self._ask(Kind.COMPACT, None)

    def send_message(self, topic: str, text: str) -> None:
        """Have a message passed on; it is lost while there is no owner."""
        if self._link is not None:
            self._link.send(Kind.MESSAGE, 0, [topic, text])

    def stop(self) -> Deferred[None]:
        """Wait for what was asked for, then leave."""
        self._stopped = Deferred()
        self._cancel_timer()
        if self._link is None:
            self._refuse_all(StoreUnavailable("The mail store is closed"))
            self._finish()
        else:
            self._give_up = self._host.reactor.callLater(PATIENCE, self._break_off)
            self._leave_when_done()
        return self._stopped

    # Asking.

    def _ask(self, kind: Kind, operation: Operation[Any] | None) -> Deferred[Any]:
        request = _Request(kind, operation, Deferred())
        if self._link is not None and self._link.welcome:
            self._send(request)
        elif self._refusal is not None or self._tired or len(self._waiting) >= MAX_WAITING:
            _refuse(request, self._refusal or StoreUnavailable())
        else:
            self._waiting.append(request)
        return request.answer

    def _send(self, request: _Request) -> None:
        assert self._link is not None
        number = next(self._numbers)
        try:
            self._link.send_soon(request.kind, number, request.operation)
        except MailError as error:
            _refuse(request, error)
        except Exception:
            # A bug, which must not be taken for the caller's.
            _fail(request)
        else:
            self._asked[number] = request
            if self._silence is None:
                self._silence = self._host.reactor.callLater(ANSWER_TIMEOUT, self._give_owner_up)

    def _done(self, number: int) -> Deferred[Any]:
        """The owner has answered a request."""
        request = self._asked.pop(number)
        if self._silence is not None:
            if self._asked:
                self._silence.reset(ANSWER_TIMEOUT)
            else:
                self._end_silence()
        return request.answer

    def _end_silence(self) -> None:
        timer, self._silence = self._silence, None
        if timer is not None and timer.active():
            timer.cancel()

    def _give_owner_up(self) -> None:
        """It is there, but does nothing: whoever waits is told to try again later."""
        self._silence = None
        # To give space back may take long.
        if any(request.kind is not Kind.COMPACT for request in self._asked.values()):
            self.log.error(
                "the process that has the mail store open has not answered for {seconds} seconds",
                seconds=ANSWER_TIMEOUT,
            )
            self._break_off()

    def _break_off(self) -> None:
        """Leave an owner that may not read any more."""
        link = self._link
        if link is not None:
            cast(ITCPTransport, link.transport).abortConnection()
            self.lost(link)

    def received(self, kind: Kind, number: int, value: Any) -> None:
        """The owner has sent something."""
        if kind is Kind.WELCOME:
            self._be_welcome()
        elif kind is Kind.ANSWER:
            self._done(number).callback(value)
            self._leave_when_done()
        elif kind is Kind.REFUSAL and not number:
            if self._refusal is None:
                self.log.error("{error}", error=value)
            self._refusal = value
            assert self._link is not None
            self._link.end()
        elif kind is Kind.REFUSAL:
            self._done(number).errback(value)
            self._leave_when_done()
        elif kind is Kind.TOUCHED:
            self._host.announce(value)
        elif kind is Kind.MESSAGE:
            self._host.channel.receive(*value)

    # The owner.

    def _turn_to(self, connection: socket.socket) -> None:
        """Turn to an owner."""
        link = _OwnerLink(self._host.codec, self, self._host.reactor)
        factory = Factory.forProtocol(lambda: link)
        factory.noisy = False
        reactor = self._host.reactor
        reactor.adoptStreamConnection(connection.fileno(), socket.AF_UNIX, factory)
        # The reactor has a descriptor of its own.
        connection.close()
        self._link = link
        self._delay = _FIRST_RETRY
        if self._give_up is None:
            self._give_up = reactor.callLater(PATIENCE, self._tire)
        # One that is about to end may never read it: so nothing else is sent before it has.
        link.send(Kind.HELLO, 0, [fingerprint()])

    def _be_welcome(self) -> None:
        """An owner takes requests."""
        link = self._link
        assert link is not None
        link.welcome = True
        self._refusal = None
        self._tired = False
        if self._stopped is None:
            self._cancel_timer()
        # Of what happened before we were not told.
        self._host.owner_changed()
        while self._waiting and self._link is link:
            self._send(self._waiting.popleft())

    def lost(self, link: _OwnerLink) -> None:
        """The owner has gone."""
        if self._link is not link:
            return
        self._link = None
        self._willing_from = 0.0
        if not link.said_goodbye:
            self._willing_from = self._seconds() + self._reluctance
        self._end_silence()
        asked, self._asked = self._asked, {}
        if link.said_goodbye and self._stopped is None:
            self._waiting.extendleft(reversed(asked.values()))
        else:
            error = self._refusal or StoreUnavailable()
            for request in asked.values():
                _refuse(request, error)
        if self._stopped is not None:
            self._refuse_all(StoreUnavailable("The mail store is closed"))
            self._finish()
            return
        if self._refusal is not None:
            self._refuse_all(self._refusal)
        if self._give_up is None:
            self._give_up = self._host.reactor.callLater(PATIENCE, self._tire)
        delay = 0.0 if self._refusal is None else REFUSED_INTERVAL
        self._timer = self._host.reactor.callLater(delay, self._look)

    def _look(self) -> None:
        """Look for an owner, or become it."""
        self._timer = None
        is_willing = self._seconds() >= self._willing_from
        if is_willing and self._host.take_over():
            self._cancel_timer()
            return
        connection = connect(self._host.directory)
        if connection is not None:
            self._turn_to(connection)
            return
        self._timer = self._host.reactor.callLater(self._delay, self._look)
        self._delay = min(self._delay * 2, RETRY_INTERVAL)

    def _tire(self) -> None:
        self._give_up = None
        self._tired = True
        self._refuse_all(StoreUnavailable())

    def take_waiting(self, submit: Callable[[bool, Operation[Any]], Deferred[Any]]) -> None:
        """Give what waits for an owner to the writer of this process.

        :param submit: gets whether the operation is a lazy one, and the operation.
        """
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            if request.operation is None:
                _refuse(request, StoreUnavailable())
            else:
                lazy = request.kind is Kind.LAZY_CHANGE
                submit(lazy, request.operation).chainDeferred(request.answer)

    # The end.

    def _leave_when_done(self) -> None:
        if self._stopped is not None and not (self._asked or self._waiting):
            self._leave()

    def _leave(self) -> None:
        if self._link is not None:
            cast(ITCPTransport, self._link.transport).loseConnection()

    def _finish(self) -> None:
        self._cancel_timer()
        if self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)

    def _refuse_all(self, error: MailError) -> None:
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            _refuse(request, error)

    def _cancel_timer(self) -> None:
        for timer in (self._timer, self._give_up):
            if timer is not None and timer.active():
                timer.cancel()
        self._timer = self._give_up = None


class _OwnerLink(Link):
    """The connection to an owner."""

    def __init__(self, codec: Codec, guest: Guest, reactor: Any) -> None:
        super().__init__(codec)
        self._guest = guest
        self._reactor = reactor
        # Of this turn of the reactor.
        self._frames: list[bytes] = []
        self._frames_octets = 0
        #: It takes requests.
        self.welcome = False
        self.said_goodbye = False

    @override
    def received(self, kind: Kind, number: int, value: object, octets: int) -> None:
        if kind is Kind.GOODBYE:
            # It waits for us to go: to write to one that has closed would end in an error, and with
            # it what it has sent before.
            self.said_goodbye = True
            self.end()
        else:
            self._guest.received(kind, number, value)

    def send_soon(self, kind: Kind, number: int, value: object) -> None:
        """Send a frame with the others of this turn of the reactor.

        The owner does what comes together in one transaction, and has to wake up once.

        :raises LimitExceeded: it would be too long.
        :raises TypeError: the value cannot be sent.
        """
        frame = self.make_frame(kind, number, value)
        self._frames.append(frame)
        self._frames_octets += len(frame)
        if self._frames_octets >= MAX_HELD_OCTETS:
            self._flush()
        elif len(self._frames) == 1:
            self._reactor.callLater(0, self._flush)

    @override
    def send_frame(self, frame: bytes) -> None:
        self._flush()
        super().send_frame(frame)

    def _flush(self) -> None:
        frames, self._frames = self._frames, []
        self._frames_octets = 0
        # What one that has gone has not got, it has not done.
        if frames and self._guest.is_linked(self):
            super().send_frame(b"".join(frames))

    def end(self) -> None:
        """Leave this owner."""
        cast(ITCPTransport, self.transport).loseConnection()
        self._guest.lost(self)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._guest.lost(self)


def _refuse(request: _Request, error: MailError) -> None:
    """Answer as the writer does when disk or index failed."""
    operation = request.operation
    if operation is None:
        request.answer.errback(error)
        return
    operation.discard()
    try:
        answer = operation.failed(error)
    except MailError as failed:
        request.answer.errback(failed)
    else:
        request.answer.callback(answer)


def _fail(request: _Request) -> None:
    if request.operation is not None:
        request.operation.discard()
    request.answer.errback(Failure())
