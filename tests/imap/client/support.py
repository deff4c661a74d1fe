"""A client and a server with nothing but memory and a clock between them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.protocol import TwistedChannel
from mailkit.client.security import TLSPolicy
from mailkit.imap.client import ClientSettings, Credentials, Session
from tests.imap.support import PASSWORD, USER, Server

_E = TypeVar("_E", bound=Exception)
_T = TypeVar("_T")

CREDENTIALS = Credentials(USER, PASSWORD.decode())
SETTINGS = ClientSettings(tls=TLSPolicy.none(), credentials=CREDENTIALS)
GREETING = b"* OK [CAPABILITY IMAP4rev1 LITERAL+] hello\r\n"


class ClientTransport(StringTransport):
    """What the client writes to."""

    def __init__(self) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "127.0.0.1", 143))
        self.aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def abortConnection(self) -> None:  # noqa: N802
        self.aborted = True


class Wire:
    """A session, and a server's end that some function plays: octets in, octets out."""

    def __init__(
        self,
        answer: Callable[[bytes], bytes],
        clock: Clock | None = None,
        settings: ClientSettings = SETTINGS,
        piece: int | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.answer = answer
        self.piece = piece
        self.channel = TwistedChannel(self.clock)
        self.transport = ClientTransport()
        self.channel.makeConnection(self.transport)
        self.session = Session(self.channel, settings)
        self.pending = b""
        self.lost = False

    def move(self) -> bool:
        """Carry octets once, both ways; whether anything has moved."""
        out = self.carry_out()
        return self.carry_in(self.piece) or out

    def carry_out(self) -> bool:
        """Let the server read what the client has said, and keep what it answers."""
        self.clock.advance(0)
        if self.lost:
            return False
        if self.transport.aborted or self.transport.disconnecting:
            self.lose()
            return True
        written = self.transport.value()
        self.transport.clear()
        answer = self.answer(written)
        self.pending += answer
        return bool(written or answer)

    def carry_in(self, size: int | None = None) -> bool:
        """Let the client read so many octets, or all; whether there were any."""
        if self.lost or not self.pending or self.transport.producerState == "paused":
            return False
        size = size or len(self.pending)
        data, self.pending = self.pending[:size], self.pending[size:]
        self.channel.dataReceived(data)
        return True

    def lose(self) -> None:
        """The connection ends."""
        if not self.lost:
            self.lost = True
            self.channel.connectionLost(Failure(ConnectionDone()))

    def flush(self) -> None:
        """Until nothing moves any more."""
        for _ in range(1_000_000):
            if not self.move():
                return
        raise AssertionError("it never ends")

    def begin(self, awaitable: Awaitable[_T]) -> list[Any]:
        """Begin something; gives where its result, or failure, will be."""
        results: list[Any] = []
        Deferred.fromCoroutine(_wait(awaitable)).addBoth(results.append)
        return results

    def start(self, awaitable: Awaitable[_T]) -> list[Any]:
        """Begin something, and carry what there is to be carried."""
        results = self.begin(awaitable)
        self.flush()
        return results

    def run(self, awaitable: Awaitable[_T]) -> _T:
        """Do something to its end."""
        results = self.start(awaitable)
        if not results:
            raise AssertionError("it waits")
        if isinstance(results[0], Failure):
            results[0].raiseException()
        result: _T = results[0]
        return result


async def _wait(awaitable: Awaitable[_T]) -> _T:
    return await awaitable


class Client(Wire):
    """A session with one of our servers."""

    def __init__(
        self, server: Server, settings: ClientSettings = SETTINGS, piece: int | None = None
    ) -> None:
        self.end = server.connect()
        # The greeting was read by the tests' own client.
        self._greeting = b"* OK ready\r\n"
        super().__init__(self._serve, server.clock, settings, piece)

    def _serve(self, data: bytes) -> bytes:
        greeting, self._greeting = self._greeting, b""
        if data:
            self.end.protocol.dataReceived(data)
            self.clock.advance(0)
        octets = greeting + self.end.take()
        self.end.transport.resume()
        if self.end.closed and not octets:
            self.lose()
        return octets


def login(server: Server, settings: ClientSettings = SETTINGS, **more: Any) -> Client:
    """A client that has logged in."""
    client = Client(server, settings, **more)
    client.run(client.session.open())
    return client


class ClientTestCase(SynchronousTestCase):
    """Tests of one client, which they make."""

    client: Wire

    def run_it(self, awaitable: Awaitable[_T]) -> _T:
        """Do something to its end."""
        return self.client.run(awaitable)

    def fails(self, kind: type[_E], awaitable: Awaitable[object]) -> _E:
        """The error that something ends with."""
        (failure,) = self.client.start(awaitable)
        failure.trap(kind)
        error: _E = failure.value
        return error


class Script:
    """A server of the tests' making: says what it is told when it hears what it expects.

    :param lines: pairs of what the client says, its tag left out, and the answer, in which ``TAG``
        stands for the tag. What comes before the first pair is the greeting.
    """

    def __init__(self, *lines: tuple[bytes, bytes], greeting: bytes = GREETING) -> None:
        self._lines = list(lines)
        self._greeting = greeting
        self._input = b""
        self._tag = b""
        self.heard: list[bytes] = []

    def __call__(self, data: bytes) -> bytes:
        out, self._greeting = self._greeting, b""
        self._input += data
        while b"\r\n" in self._input:
            line, _, self._input = self._input.partition(b"\r\n")
            tag, _, rest = line.partition(b" ")
            if rest:
                self._tag = tag
            self.heard.append(rest or tag)
            if not self._lines:
                continue
            expected, answer = self._lines[0]
            if expected not in (rest, tag, b"*"):
                raise AssertionError(f"{rest!r} came, and not {expected!r}")
            self._lines.pop(0)
            out += answer.replace(b"TAG", self._tag)
        return out

    @property
    def finished(self) -> bool:
        return not self._lines
