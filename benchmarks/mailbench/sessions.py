"""Many client sessions at once: generators over one epoll loop, as cheap as Python allows.

A session yields ``(octets to send, function that tells whether the reply is complete)`` and is sent
the reply.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field

#: Seconds without an octet from the server after which a run is given up.
SILENCE = 180

Complete = Callable[[bytes | bytearray], bool]
Session = Generator[tuple[bytes, Complete], bytes, None]

_FINAL_REPLY = re.compile(rb"^\d\d\d(?: [^\n]*)?\r?$", re.MULTILINE)


class Failure(Exception):
    """The server did not do what the workload needs."""


def connect(port: int, timeout: float = 60) -> socket.socket:
    """A connection to the server under test, which is on loopback."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


# When a reply is complete.


def line(reply: bytes | bytearray) -> bool:
    """A line."""
    return reply[-2:] == b"\r\n"


def lines(count: int) -> Complete:
    """So many lines."""
    return lambda reply: reply.count(b"\r\n") >= count


def replies(count: int = 1) -> Complete:
    """So many SMTP replies, each of one or more lines."""
    if count > 1:
        return lambda reply: reply[-1:] == b"\n" and len(_FINAL_REPLY.findall(reply)) >= count

    def complete(reply: bytes | bytearray) -> bool:
        last = reply.rfind(b"\n", 0, -1) + 1
        return reply[-1:] == b"\n" and reply[last + 3 : last + 4] in (b" ", b"\r")

    return complete


def tagged(tag: bytes) -> Complete:
    """An IMAP response that ends with the tagged line."""
    tag += b" "

    def complete(reply: bytes | bytearray) -> bool:
        if reply[-2:] != b"\r\n":
            return False
        last = reply.rfind(b"\r\n", 0, -2)
        return reply.startswith(tag, last + 2 if last >= 0 else 0)

    return complete


def dotted(count: int = 1) -> Complete:
    """So many multi-line POP3 replies, or an error."""

    def complete(reply: bytes | bytearray) -> bool:
        if reply[:4] == b"-ERR":
            return line(reply)
        return reply[-5:] == b"\r\n.\r\n" and (count == 1 or reply.count(b"\r\n.\r\n") >= count)

    return complete


# Running sessions.


@dataclass
class _Live:
    socket: socket.socket
    session: Session
    complete: Complete = line
    received: bytearray = field(default_factory=bytearray)
    unsent: memoryview | None = None


class _Driver:
    def __init__(self, jobs: Iterable[tuple[int, Session]]) -> None:
        self._jobs = iter(jobs)
        self._poll = select.epoll()
        self._live: dict[int, _Live] = {}

    def run(self, parallel: int) -> None:
        for _ in range(parallel):
            self._start()
        try:
            while self._live:
                self._turn()
        finally:
            for live in self._live.values():
                live.socket.close()
            self._poll.close()

    def _turn(self) -> None:
        events = self._poll.poll(SILENCE)
        if not events:
            raise Failure(f"nothing from the server for {SILENCE} s, {len(self._live)} sessions")
        for handle, event in events:
            live = self._live[handle]
            if event & select.EPOLLOUT and live.unsent is not None:
                rest, live.unsent = live.unsent, None
                self._poll.modify(handle, select.EPOLLIN)
                self._send(live, rest)
            if event & ~select.EPOLLOUT:
                self._receive(live)

    def _start(self) -> None:
        for port, session in self._jobs:
            live = _Live(connect(port), session)
            live.socket.setblocking(False)
            self._live[live.socket.fileno()] = live
            self._poll.register(live.socket, select.EPOLLIN)
            data, live.complete = next(session)
            if data:
                self._send(live, memoryview(data))
            return

    def _receive(self, live: _Live) -> None:
        try:
            data = live.socket.recv(1 << 18)
        except BlockingIOError:
            return
        if not data:
            raise Failure(f"closed by the server after {bytes(live.received[-200:])!r}")
        live.received += data
        if not live.complete(live.received):
            return
        reply = bytes(live.received)
        live.received.clear()
        try:
            data, live.complete = live.session.send(reply)
        except StopIteration:
            self._poll.unregister(live.socket)
            del self._live[live.socket.fileno()]
            live.socket.close()
            self._start()
        else:
            self._send(live, memoryview(data))

    def _send(self, live: _Live, data: memoryview) -> None:
        try:
            sent = live.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            live.unsent = data[sent:]
            self._poll.modify(live.socket, select.EPOLLIN | select.EPOLLOUT)


def drive(jobs: Iterable[tuple[int, Session]], parallel: int) -> None:
    """Run ``(port, session)`` jobs, ``parallel`` of them at a time.

    :raises Failure: the server closed, went silent or refused.
    """
    _Driver(jobs).run(parallel)


# The sessions.


def expect(reply: bytes, start: bytes) -> None:
    """:raises Failure: the reply begins otherwise."""
    if not reply.startswith(start):
        raise Failure(reply[:300].decode("latin1"))


def smtp(mails: Sequence[tuple[Sequence[bytes], bytes]], lmtp: bool = False) -> Session:
    """Send mails, each a list of recipients and a content; pipelines when the server offers it."""
    expect((yield b"", replies()), b"220")
    offered = yield (b"LHLO" if lmtp else b"EHLO") + b" bench.test\r\n", replies()
    for recipients, content in mails:
        commands = [b"MAIL FROM:<s@sender.test>\r\n"]
        commands += [b"RCPT TO:<%s>\r\n" % recipient for recipient in recipients]
        if b"PIPELINING" in offered:
            commands.append(b"DATA\r\n")
            reply = yield b"".join(commands), replies(len(commands))
            if b"\n354" not in reply:
                raise Failure(reply.decode("latin1"))
        else:
            for command in commands:
                expect((yield command, replies()), b"250")
            expect((yield b"DATA\r\n", replies()), b"354")
        expect((yield content + b".\r\n", replies(len(recipients) if lmtp else 1)), b"250")
    yield b"QUIT\r\n", replies()


def imap_login(user: bytes, password: bytes, commands: Sequence[bytes] = ()) -> Session:
    """LOGIN, the commands, LOGOUT."""
    yield b"", line
    for command in (b"LOGIN %s %s" % (user, password), *commands):
        reply = yield b"a " + command + b"\r\n", tagged(b"a")
        if b"a OK" not in reply:
            raise Failure(reply[-200:].decode("latin1"))
    yield b"b LOGOUT\r\n", tagged(b"b")


def imap_append(user: bytes, password: bytes, batches: Sequence[Sequence[bytes]]) -> Session:
    """LOGIN, an APPEND a batch (MULTIAPPEND where there are several), LOGOUT."""
    yield b"", line
    yield b"a LOGIN %s %s\r\n" % (user, password), tagged(b"a")
    for contents in batches:
        literals = [b" {%d+}\r\n%s" % (len(content), content) for content in contents]
        reply = yield b"a APPEND INBOX" + b"".join(literals) + b"\r\n", tagged(b"a")
        if b"a OK" not in reply:
            raise Failure(reply[-200:].decode("latin1"))
    yield b"b LOGOUT\r\n", tagged(b"b")


@dataclass
class Retrieved:
    """What POP3 sessions read, all together."""

    octets: int = 0
    messages: int = 0
    start: float = 0.0
    end: float = 0.0

    @property
    def seconds(self) -> float:
        """Length of the phase in which messages were read."""
        return self.end - self.start


def pop3(user: bytes, password: bytes, window: int, retrieved: Retrieved) -> Session:
    """STAT, UIDL, RETR and DELE of all, QUIT; ``window`` commands in flight (1: lockstep)."""
    yield b"", line
    yield b"USER %s\r\n" % user, line
    expect((yield b"PASS %s\r\n" % password, line), b"+OK")
    count = int((yield b"STAT\r\n", line).split()[1])
    expect((yield b"UIDL\r\n", dotted()), b"+OK")
    retrieved.start = retrieved.start or time.perf_counter()
    for first in range(1, count + 1, window):
        group = range(first, min(count, first + window - 1) + 1)
        reply = yield b"".join(b"RETR %d\r\n" % n for n in group), dotted(len(group))
        expect(reply, b"+OK")
        retrieved.octets += len(reply)
        retrieved.messages += len(group)
    retrieved.end = time.perf_counter()
    for first in range(1, count + 1, window):
        group = range(first, min(count, first + window - 1) + 1)
        expect((yield b"".join(b"DELE %d\r\n" % n for n in group), lines(len(group))), b"+OK")
    yield b"QUIT\r\n", line


def pop3_status(user: bytes, password: bytes) -> Session:
    """Log in and look: what a client does every few minutes."""
    expect((yield b"", line), b"+OK")
    for command in (b"USER " + user, b"PASS " + password, b"STAT", b"QUIT"):
        expect((yield command + b"\r\n", line), b"+OK")
