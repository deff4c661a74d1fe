"""What a FETCH of a very large mailbox costs others: their wait, and the server's memory."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from .corpus import FIRST_ARRIVAL, Mail
from .imap import IMAP
from .peers import PASSWORD, user
from .process import Meter
from .sessions import tagged
from .slow import Peak

if TYPE_CHECKING:
    from .workloads import Bench

#: Messages that are fetched, and octets of each.
MESSAGES = 100_000
SIZE = 1024
#: Seconds between the other session's commands.
_PAUSE = 0.002
#: Account with the messages, and the one of the other session.
_BIG, _OTHER = 0, 1
_ITEMS = (
    ("UID FLAGS INTERNALDATE SIZE", b"(UID FLAGS INTERNALDATE RFC822.SIZE)"),
    ("ENVELOPE", b"(ENVELOPE)"),
    ("BODYSTRUCTURE", b"(BODYSTRUCTURE)"),
    ("header fields", b"(BODY.PEEK[HEADER.FIELDS (FROM SUBJECT DATE)])"),
    ("BODY[]", b"(BODY.PEEK[])"),
)


def fetch_beside_others(bench: Bench) -> None:
    """One session fetches everything; another one measures how long NOOP takes meanwhile."""
    peer, port = bench.peer, bench.peer.ports["imap"]
    count = bench.count(MESSAGES)
    kinds = [bench.corpus.fixed(SIZE, number) for number in range(50)]
    reader = IMAP(port, user(_BIG), PASSWORD.encode())
    reader.append([Mail(kinds[n % len(kinds)], FIRST_ARRIVAL + n) for n in range(count)])
    reader.command(b"SELECT INBOX")
    for name, items in _ITEMS:
        for is_warm in (False, *[True] * bench.repetitions):
            other = _Other(port)
            with Peak(peer) as peak, Meter(peer.pids) as meter, other:
                _fetch(reader, items)
            label = f"{name}, {'warm' if is_warm else 'first'}"
            add = bench.samples.add
            add(f"{label}: memory added", "MiB", peak.added_kib / 1024, low_is_better=True)
            waits = sorted(other.waits)
            add(f"{label}: longest wait of others", "ms", waits[-1] * 1e3, low_is_better=True)
            last = waits[min(len(waits) - 1, len(waits) * 99 // 100)]
            add(f"{label}: 99 % wait less than", "ms", last * 1e3, low_is_better=True)
            add(label, "messages/s", count / meter.wall, meter)
    reader.close()


def _fetch(reader: IMAP, items: bytes) -> None:
    """FETCH, whose response is thrown away as it comes."""
    reader.socket.sendall(b"big FETCH 1:* %b\r\n" % items)
    complete, tail, gulp = tagged(b"big"), b"", memoryview(bytearray(1 << 18))
    while not complete(tail):
        received = reader.socket.recv_into(gulp)
        if not received:
            raise ConnectionError("closed while it answered")
        tail = (tail + bytes(gulp[max(0, received - 4096) : received]))[-4096:]


class _Other:
    """A session that says NOOP again and again during a ``with`` block."""

    def __init__(self, port: int) -> None:
        self._session = IMAP(port, user(_OTHER), PASSWORD.encode())
        self._session.command(b"SELECT INBOX")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        #: Seconds from each command to its response.
        self.waits: list[float] = []

    def _run(self) -> None:
        while not self._ended.wait(_PAUSE):
            begin = time.perf_counter()
            self._session.command(b"NOOP")
            self.waits.append(time.perf_counter() - begin)

    def __enter__(self) -> _Other:
        self._session.command(b"NOOP")
        self.waits.append(0.0)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._session.close()
