"""Memory of a server that receives: a thousand slow senders, and one large message."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

from .peers import Peer, user
from .process import Meter, memory, memory_of, tree
from .sessions import Failure, connect, replies

if TYPE_CHECKING:
    from .workloads import Bench

#: Senders at the same time, and octets of all their messages together.
SENDERS = 1000
STREAM = 10 << 30
#: Octets of the large message.
LARGE = 100 << 20
#: Accounts that get the mail.
_RECEIVERS = range(10, 20)
_LINE = b"x" * 998 + b"\r\n"
_HEADER = b"Subject: slow\r\n\r\n"


def receive_slowly(bench: Bench) -> None:
    """What the server holds while many messages come in, each a line at a time."""
    _receive_large(bench)
    peer = bench.peer
    before = memory(peer.pids).rss_kib
    senders = [_begin(peer, number) for number in range(SENDERS)]
    opened = memory(peer.pids).rss_kib
    rounds = max(1, int(STREAM * bench.scale) // SENDERS // len(_LINE))
    peak = opened
    with Meter(peer.pids) as meter:
        for number in range(rounds):
            _send_round(senders, bench.line_interval)
            if number % max(1, rounds // 50) == 0:
                peak = max(peak, memory(peer.pids).rss_kib)
        peak = max(peak, memory(peer.pids).rss_kib)
        with Peak(peer) as ending:
            for sender in senders:
                sender.sendall(b".\r\n")
            for sender in senders:
                _expect(sender, b"250")
    for sender in senders:
        sender.close()
    octets = rounds * len(_LINE) * SENDERS
    add = bench.samples.add
    add(f"{SENDERS} slow senders, whole server", "MiB", peak / 1024, low_is_better=True)
    added = (peak - opened) / SENDERS
    add("what their messages add, each", "KiB", added, low_is_better=True)
    add("what connections add, each", "KiB", (opened - before) / SENDERS, low_is_better=True)
    add("slow senders", "MB/s", octets / meter.wall / 1e6, meter)
    add("their ends at once, added", "MiB", ending.added_kib / 1024, low_is_better=True)


def _send_round(senders: list[socket.socket], seconds: float) -> None:
    """A line from each sender, spread evenly over so many seconds."""
    began = time.monotonic()
    for number, sender in enumerate(senders):
        sender.sendall(_LINE)
        early = began + seconds * (number + 1) / len(senders) - time.monotonic()
        # The clock of the system is coarser than a thousandth of a second.
        if early > 0.01:
            time.sleep(early)


def _receive_large(bench: Bench) -> None:
    peer = bench.peer
    size = max(1 << 20, int(LARGE * min(1.0, bench.scale * 10)))
    for counts in (False, *[True] * bench.repetitions):
        sender = _begin(peer, 0)
        with Peak(peer, mapped=True) as peak, Meter(peer.pids) as meter:
            block = _LINE * 64
            for _ in range(size // len(block)):
                sender.sendall(block)
            _say(sender, b".\r\n", b"250")
        sender.close()
        if counts:
            add = bench.samples.add
            label = f"one message of {size >> 20} MiB"
            add(f"{label}, added", "MiB", peak.added_kib / 1024, low_is_better=True)
            add(label, "MB/s", size / meter.wall / 1e6, meter)


class Peak:
    """The most that a server holds during a ``with`` block, looked at every few milliseconds.

    :param mapped: count the pages of files that it maps to read them, too, which are the system's to
        take back.
    """

    def __init__(self, peer: Peer, mapped: bool = False) -> None:
        # Those that begin meanwhile are not seen.
        self._processes = tree(peer.pids)
        self._mapped = mapped
        self._before = self._now()
        self._most = self._before
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            self._most = max(self._most, self._now())

    def _now(self) -> int:
        found = memory_of(self._processes)
        return found.rss_kib if self._mapped else found.own_kib

    @property
    def added_kib(self) -> int:
        """More than before."""
        return self._most - self._before

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def _begin(peer: Peer, number: int) -> socket.socket:
    """A sender whose message is under way."""
    sender = connect(peer.ports["smtp"], timeout=180)
    _expect(sender, b"220")
    _say(sender, b"EHLO bench.example\r\n", b"250")
    _say(sender, b"MAIL FROM:<sender@bench.example>\r\n", b"250")
    recipient = user(_RECEIVERS[number % len(_RECEIVERS)])
    _say(sender, b"RCPT TO:<%b>\r\n" % recipient, b"250")
    _say(sender, b"DATA\r\n", b"354")
    sender.sendall(_HEADER)
    return sender


def _say(sender: socket.socket, octets: bytes, code: bytes) -> None:
    sender.sendall(octets)
    _expect(sender, code)


def _expect(sender: socket.socket, code: bytes) -> None:
    """:raises Failure: the reply is another."""
    reply = b""
    complete = replies()
    give_up = time.monotonic() + 180
    while not complete(reply):
        if not (more := sender.recv(65536)) or time.monotonic() > give_up:
            raise Failure("no reply")
        reply += more
    if not reply.startswith(code):
        raise Failure(reply.decode("ascii", "replace"))
