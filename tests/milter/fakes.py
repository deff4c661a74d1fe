"""A milter that says what the tests want, without a network, and a server that asks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from mailkit.milter import packets
from mailkit.milter.connection import Milter, MilterConnection, MilterSettings
from mailkit.milter.hook import MilterHook
from mailkit.milter.packets import packet
from tests.smtp.fakes import Server

CONTINUE = packet(b"c")
ACCEPT = packet(b"a")

Answer = bytes | Callable[["FakeMilter"], bytes] | None


class Transport(StringTransport):
    """Hands what is written to the milter, and what it says back."""

    def __init__(self, milter: FakeMilter, protocol: Any) -> None:
        super().__init__(lenient=True)
        self.milter = milter
        self.protocol = protocol
        self.gone = False

    def write(self, data: bytes) -> None:
        super().write(data)
        self.milter.heard(self, data)

    def loseConnection(self) -> None:
        self.abortConnection()

    def abortConnection(self) -> None:  # noqa: N802
        if not self.gone:
            self.gone = True
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802
        self.producer = producer


@implementer(IStreamClientEndpoint)
class FakeMilter:
    """Answers by command; what has no answer is answered with continue.

    :ivar seen: the commands that it got, macros apart.
    """

    def __init__(
        self, *, version: int = 6, actions: int = 0x1FF, steps: int = 0, wanted: bytes = b""
    ) -> None:
        self.options: Answer = packet(
            b"O",
            packets._OPTIONS.pack(version, actions, steps) + wanted,
        )
        self.silent: bytes = b""
        self.answers: dict[bytes, Answer] = {}
        self.seen: list[tuple[bytes, bytes]] = []
        self.macros: dict[bytes, dict[bytes, bytes]] = {}
        self.transports: list[Transport] = []
        self.refusing = False
        self.connecting: Deferred[Any] | None = None

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.refusing:
            return fail(ConnectionRefusedError())
        if self.connecting is not None:
            return self.connecting
        protocol = factory.buildProtocol(None)
        transport = Transport(self, protocol)
        self.transports.append(transport)
        transport.decoder = packets.Decoder()  # type: ignore[attr-defined]
        protocol.makeConnection(transport)
        return succeed(protocol)

    def heard(self, transport: Transport, data: bytes) -> None:
        for code, content in transport.decoder.feed(data):  # type: ignore[attr-defined]
            if code == b"D":
                parts = content[1:].split(b"\0")[:-1]
                self.macros[content[:1]] = dict(zip(parts[::2], parts[1::2], strict=True))
                continue
            self.seen.append((code, content))
            if code in b"AQK":
                continue
            default = self.options if code == b"O" else CONTINUE
            answer = self.answers.get(code, default)
            if code in self.silent:
                continue
            if callable(answer):
                answer = answer(self)
            if answer is not None and not transport.gone:
                transport.protocol.dataReceived(answer)

    def say(self, octets: bytes) -> None:
        """Say something of its own accord."""
        self.transports[-1].protocol.dataReceived(octets)

    def drop(self) -> None:
        """Close the connection."""
        self.transports[-1].abortConnection()

    @property
    def codes(self) -> bytes:
        """The codes of all commands so far."""
        return b"".join(code for code, _ in self.seen)

    @property
    def connection(self) -> MilterConnection:
        return cast(MilterConnection, self.transports[-1].protocol)


class MilterServer(Server):
    """An SMTP server with milters, whose time is that of the server."""

    def __init__(
        self,
        *milters: FakeMilter,
        settings: MilterSettings | None = None,
        client: dict[str, Any] | None = None,
    ) -> None:
        self.hook = hook = MilterHook(
            *(
                Milter(cast(Any, each), f"m{n}", settings or MilterSettings(), cast(Any, self))
                for n, each in enumerate(milters, 1)
            )
        )
        super().__init__(hooks=[hook], **(client or {}))

    # The milters' clock, before there is one.

    def seconds(self) -> float:
        return self.clock.seconds()

    def callLater(self, *arguments: Any) -> Any:
        return self.clock.callLater(*arguments)

    def deliver(self, content: bytes = b"Subject: hi\r\n\r\nbody\r\n") -> str:
        """Send a message; the answer to its end, or the one that refused it."""
        for line in ("MAIL FROM:<ann@example.net>", "RCPT TO:<bob@example.org>", "DATA"):
            answer = self.say(line)
            if not answer or answer[0][0] not in "23":
                return "\n".join(answer)
        return self.send(content + b".\r\n").decode().rstrip()

    @property
    def message(self) -> bytes:
        """The last message, without trace fields of ours."""
        content = self.delivery.contents[-1]
        if content.startswith(b"X-Mailkit"):
            content = content[content.index(b"\r\n", 1) + 2 :]
        return content


def modifications(*changes: bytes, end: bytes = CONTINUE) -> bytes:
    """The answers to the end of a message."""
    return b"".join(packet(change[:1], change[1:]) for change in changes) + end


def codes(commands: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join(code for code, _ in commands)
