"""A server of the tests' making, reached without a network or an event loop."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from mailkit.client.channel import Channel, Waiter
from mailkit.client.errors import ClientError, ConnectionLost, TimedOut, TLSFailed
from mailkit.client.security import TLSInfo, TLSPolicy
from mailkit.smtp.client.session import Session
from mailkit.smtp.client.settings import ClientSettings

_T = TypeVar("_T")

EVERYTHING = (
    "PIPELINING",
    "SIZE 1000000",
    "8BITMIME",
    "SMTPUTF8",
    "DSN",
    "CHUNKING",
    "BINARYMIME",
    "ENHANCEDSTATUSCODES",
)
MESSAGE = b"From: ann@example.net\r\nSubject: Hello\r\n\r\n.How are you?\r\n"

#: Ends the connection instead of a reply; ``END`` behind a reply, once it is sent.
LOST = "LOST"
#: Says nothing, for ever.
SILENCE = "SILENCE"


class Server:
    """Answers as told, and remembers what it got.

    :param keywords: what EHLO announces.
    :param answers: replies by the beginning of the command, each without its CRLF; the first that
        fits counts. A list is used up, its last entry stays.
    """

    def __init__(
        self,
        *keywords: str,
        answers: Mapping[str, str | list[str]] | None = None,
        greeting: str = "220 mx.example.org ESMTP",
        lmtp: bool = False,
    ) -> None:
        self.keywords = list(keywords)
        self.answers = {
            key: [value] if isinstance(value, str) else list(value)
            for key, value in (answers or {}).items()
        }
        self.lmtp = lmtp
        self.commands: list[str] = []
        #: What came in one write, as a number of commands.
        self.groups: list[list[str]] = []
        self.messages: list[bytes] = []
        self.chunks: list[bytes] = []
        self.output = b""
        self.closed = False
        self.tls = False
        self._input = b""
        self._content: bytes | None = None
        self._chunk: int | None = None
        self._last = False
        self._accepted = 0
        self._say(greeting)

    def take(self, data: bytes) -> None:
        """Octets from the client, in one write."""
        self._input += data
        count = len(self.commands)
        while not self.closed and self._step():
            pass
        if self.commands[count:]:
            self.groups.append(self.commands[count:])

    def _step(self) -> bool:
        if self._chunk is not None:
            if len(self._input) < self._chunk:
                return False
            self.chunks.append(self._input[: self._chunk])
            self._input = self._input[self._chunk :]
            self._chunk = None
            if self._last:
                self.messages.append(b"".join(self.chunks))
                self._end_of_data()
            else:
                self._say(self._find("BDAT", "250 chunk"))
            return True
        if self._content is not None:
            end = self._input.find(b"\r\n.\r\n") if self._input[:3] != b".\r\n" else -2
            if end == -1:
                if "CONTENT" in self.answers:
                    self._say(self.answers["CONTENT"][0])
                    self._content = None
                return False
            self.messages.append(self._input[: end + 2].replace(b"\r\n..", b"\r\n."))
            self._input = self._input[end + 5 :]
            self._content = None
            self._end_of_data()
            return True
        line, found, rest = self._input.partition(b"\r\n")
        if not found:
            return False
        self._input = rest
        self._command(line.decode())
        return True

    def _command(self, line: str) -> None:
        self.commands.append(line)
        verb = line.split(" ", 1)[0].upper()
        if verb == "BDAT":
            self._chunk = int(line.split()[1])
            self._last = line.endswith(" LAST")
            return
        reply = self._find(line, self._default(verb))
        if verb in ("MAIL", "RSET"):
            self._accepted = 0
            self.chunks = []
        if verb == "RCPT" and reply.startswith("2"):
            self._accepted += 1
        if verb == "DATA" and reply.startswith("354"):
            self._content = b""
        self._say(reply)

    def _default(self, verb: str) -> str:
        if verb in ("EHLO", "LHLO"):
            lines = ["mx.example.org", *self.keywords]
            return "\r\n".join(f"250-{line}" for line in lines[:-1]) + (
                f"\r\n250 {lines[-1]}" if lines[1:] else f"250 {lines[0]}"
            )
        if verb == "DATA":
            return "354 go on" if self._accepted else "554 5.5.1 nobody"
        return {"STARTTLS": "220 go on", "QUIT": "221 2.0.0 bye"}.get(verb, f"250 2.0.0 {verb} ok")

    def _end_of_data(self) -> None:
        for number in range(self._accepted if self.lmtp else 1):
            self._say(self._find("END" if not self.lmtp else f"END{number}", "250 2.6.0 stored"))

    def _find(self, line: str, default: str) -> str:
        for key, replies in self.answers.items():
            if line.startswith(key):
                return replies.pop(0) if len(replies) > 1 else replies[0]
        return default

    def _say(self, reply: str) -> None:
        if reply == LOST:
            self.closed = True
        elif reply != SILENCE:
            closing = reply.endswith("END")
            self.output += reply.removesuffix("END").encode() + b"\r\n"
            self.closed = closing


class FakeWaiter(Waiter):
    """For whoever never has to wait."""

    def __init__(self) -> None:
        self._fired = False

    @property
    def fired(self) -> bool:
        return self._fired

    def fire(self) -> None:
        self._fired = True

    async def wait(self, timeout: float | None = None) -> None:
        if not self._fired:
            raise TimedOut


class FakeChannel(Channel):
    """Carries octets to a :class:`Server` and back, at once, in pieces of some size."""

    peer = "192.0.2.1:25"

    def __init__(self, server: Server, piece: int = 1_000_000) -> None:
        self.server = server
        self.piece = piece
        self.time = 1000.0
        self.aborted = False
        self.turns = 0
        self.tls_trouble = ""
        self.verified = False
        self.on_write: Callable[[bytes], None] = lambda data: None

    @property
    def lost(self) -> bool:
        return self.server.closed

    async def write(self, data: bytes, timeout: float) -> None:
        self.on_write(data)
        if self.server.closed:
            raise ConnectionLost
        self.server.take(data)

    async def read(self, timeout: float) -> bytes:
        if not self.server.output:
            if self.server.closed:
                raise ConnectionLost
            self.time += timeout
            raise TimedOut
        data = self.server.output[: self.piece]
        self.server.output = self.server.output[self.piece :]
        return data

    def received(self) -> bytes:
        data, self.server.output = self.server.output, b""
        return data

    async def start_tls(self, policy: TLSPolicy, timeout: float) -> TLSInfo:
        if self.tls_trouble:
            raise TLSFailed(self.tls_trouble, command="TLS")
        self.server.tls = True
        self.server.keywords = [each for each in self.server.keywords if each != "STARTTLS"]
        return TLSInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", self.verified)

    def waiter(self) -> Waiter:
        return FakeWaiter()

    async def turn(self) -> None:
        self.turns += 1

    def seconds(self) -> float:
        return self.time

    def now(self) -> float:
        return 1_700_000_000.0

    async def close(self) -> None:
        self.server.closed = True

    def abort(self) -> None:
        self.aborted = True


def run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run what never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: _T = stop.value
        return value
    coroutine.close()
    raise AssertionError("it waits")


def make_session(
    server: Server,
    settings: ClientSettings | None = None,
    *,
    piece: int = 1_000_000,
    verified: bool = False,
) -> tuple[Session, FakeChannel]:
    """A session that is not open yet, and its channel."""
    channel = FakeChannel(server, piece)
    channel.verified = verified
    settings = settings or ClientSettings(helo="client.example", lmtp=server.lmtp)
    return Session(channel, settings), channel


def open_session(
    server: Server, settings: ClientSettings | None = None, *, piece: int = 1_000_000
) -> Session:
    """An open session; the server has forgotten how it was opened."""
    session, _ = make_session(server, settings, piece=piece)
    run(session.open())
    server.commands.clear()
    server.groups.clear()
    return session


def failure_of(coroutine: Coroutine[Any, Any, Any]) -> ClientError:
    """How a coroutine fails."""
    try:
        run(coroutine)
    except ClientError as error:
        return error
    raise AssertionError("it did not fail")


def strip_size(command: str) -> str:
    """A MAIL command without its SIZE."""
    return re.sub(r" SIZE=\d+", "", command)
