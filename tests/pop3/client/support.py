"""A POP3 client, and a server's end that a script or our own server plays; no network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from mailkit.client.protocol import TwistedChannel
from mailkit.client.security import TLSPolicy
from mailkit.pop3.client import ClientSettings, Credentials, Session
from tests.pop3.fakes import Server

_T = TypeVar("_T")

CREDENTIALS = Credentials("ann", "secret")
SETTINGS = ClientSettings(tls=TLSPolicy.none(), credentials=CREDENTIALS)
NOBODY = ClientSettings(tls=TLSPolicy.none())
CAPA = b"+OK\r\nUSER\r\nUIDL\r\nPIPELINING\r\n.\r\n"
#: How a script that logs in by USER begins.
LOGIN = ((b"CAPA", CAPA), (b"USER ann", b"+OK\r\n"), (b"PASS secret", b"+OK in\r\n"))


class ClientTransport(StringTransport):
    """What the client writes to."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__(peerAddress=cast(Any, IPv4Address("TCP", host, 110)))
        self.aborted = False
        self.tls: list[Any] = []

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def abortConnection(self) -> None:  # noqa: N802
        self.aborted = True

    def startTLS(self, creator: Any) -> None:  # noqa: N802
        self.tls.append(creator)


class Wire:
    """A session, and a server's end that a function plays: octets in, octets out.

    :param piece: octets that the client gets at a time.
    """

    def __init__(
        self,
        answer: Callable[[bytes], bytes],
        settings: ClientSettings = SETTINGS,
        piece: int | None = None,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.clock = clock or Clock()
        self.answer = answer
        self.piece = piece
        self.channel = TwistedChannel(cast(Any, self.clock))
        self.transport = ClientTransport(host)
        self.channel.makeConnection(self.transport)
        self.session = Session(self.channel, settings)
        self.pending = b""
        self.lost = False

    def flush(self) -> None:
        """Carry octets both ways until nothing moves any more."""
        for _ in range(1_000_000):
            self.clock.advance(0)
            if self.lost:
                return
            if self.transport.aborted or self.transport.disconnecting:
                self.lose()
                return
            written = self.transport.value()
            self.transport.clear()
            answer = self.answer(written)
            self.pending += answer
            paused = self.transport.producerState == "paused"
            if self.pending and not paused:
                size = self.piece or len(self.pending)
                data, self.pending = self.pending[:size], self.pending[size:]
                self.channel.dataReceived(data)
            elif not written and not answer:
                return
        raise AssertionError("it never ends")

    def lose(self) -> None:
        """The connection ends."""
        if not self.lost:
            self.lost = True
            self.channel.connectionLost(Failure(ConnectionDone()))

    def start(self, awaitable: Awaitable[_T]) -> list[Any]:
        """Begin something, and carry what there is to be carried; gives where its result will be."""
        results: list[Any] = []
        Deferred.fromCoroutine(_wait(awaitable)).addBoth(results.append)
        self.flush()
        return results

    def run(self, awaitable: Awaitable[_T]) -> _T:
        """Do something to its end."""
        return self.result(self.start(awaitable))

    def result(self, results: list[Any]) -> Any:
        """What has come of something, raised if it is a failure."""
        if not results:
            raise AssertionError("it waits")
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]


async def _wait(awaitable: Awaitable[_T]) -> _T:
    return await awaitable


class Script:
    """A server of the tests' making: says what it is told when it hears what it expects.

    :param lines: what the client says, and the answer.
    """

    def __init__(
        self, *lines: tuple[bytes, bytes], greeting: bytes = b"+OK POP3 ready\r\n"
    ) -> None:
        self._lines = list(lines)
        self._greeting = greeting
        self._input = b""
        self.heard: list[bytes] = []

    def __call__(self, data: bytes) -> bytes:
        out, self._greeting = self._greeting, b""
        self._input += data
        while b"\r\n" in self._input:
            line, _, self._input = self._input.partition(b"\r\n")
            self.heard.append(line)
            expected, answer = self._lines.pop(0) if self._lines else (line, b"")
            if expected != line:
                raise AssertionError(f"{line!r} came, and not {expected!r}")
            out += answer
        return out

    @property
    def finished(self) -> bool:
        return not self._lines


def scripted(*lines: tuple[bytes, bytes], **more: Any) -> Wire:
    """A client that has logged in to a script."""
    wire = Wire(Script(*LOGIN, *lines), **more)
    wire.run(wire.session.open())
    return wire


def served(server: Server, settings: ClientSettings = SETTINGS, **more: Any) -> Wire:
    """A client that has logged in to one of our servers."""
    end = server.connect()

    def serve(data: bytes) -> bytes:
        if data:
            end.send(data)
        octets = end.read()
        if end.closed and not (octets or wire.pending):
            wire.lose()
        return octets

    wire = Wire(serve, settings, clock=server.clock, **more)
    wire.run(wire.session.open())
    return wire
