"""What is measured. Each workload gets a freshly started server with empty mailboxes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from .corpus import FIRST_ARRIVAL, Corpus, Mail
from .imap import IMAP
from .latency import fetch_beside_others
from .peers import PASSWORD, Peer, user
from .process import Memory, Meter, memory
from .report import Samples
from .sessions import Failure, Retrieved, drive, imap_append, imap_login, pop3, pop3_status, smtp
from .slow import receive_slowly

#: Parallel sessions of the deliveries and logins.
SESSIONS = 20
#: Account with the 10,000 messages, accounts that get deliveries, that log in, that IDLE.
BIG = 0
RECEIVERS = range(10, 20)
LOGINS = range(20, 40)
IDLERS = range(10, 60)
POP3_READERS = range(1, 6)

_PASSWORD = PASSWORD.encode()
_Item = TypeVar("_Item")


@dataclass
class Bench:
    """What a workload is given.

    :param scale: shrinks every count.
    :param repetitions: of each measurement, after one warm-up.
    :param line_interval: seconds between two lines of a slow sender.
    """

    peer: Peer
    corpus: Corpus
    scale: float
    repetitions: int
    line_interval: float = 0.0
    samples: Samples = field(default_factory=Samples)
    notes: list[str] = field(default_factory=list)

    def count(self, full: int) -> int:
        """A count, scaled; a multiple of the number of sessions."""
        return max(SESSIONS, int(full * self.scale) // SESSIONS * SESSIONS)

    def rounds(self, items: Sequence[_Item]) -> list[tuple[bool, Sequence[_Item]]]:
        """A tenth of the items to warm up, then all of them for each repetition."""
        warm_up = items[: max(2 * SESSIONS, len(items) // 10)]
        return [(False, warm_up), *[(True, items)] * self.repetitions]

    def rate(self, label: str, unit: str, count: int, meter: Meter) -> None:
        """A figure of so many sessions or messages a second, and the CPU that each took.

        Wall time depends on what else the machine does; CPU does so much less.
        """
        self.samples.add(label, f"{unit}/s", count / meter.wall, meter)
        each = meter.server * meter.wall / count
        self.samples.add(
            f"{label}: server's CPU", f"µs a {unit[:-1]}", each * 1e6, low_is_better=True
        )

    def note(self, text: str) -> None:
        """Say what the reader of the figures must know."""
        self.notes.append(text)


# Deliveries.


def deliver_smtp(bench: Bench) -> None:
    """Mail accepted and made durable, over SMTP."""
    _deliver(bench, "smtp")


def deliver_lmtp(bench: Bench) -> None:
    """The same over LMTP."""
    _deliver(bench, "lmtp")


def _deliver(bench: Bench, kind: str) -> None:
    seen = bench.peer.counter(RECEIVERS)
    for label, size, total, recipients, each in (
        ("4 KiB, 1 message a session", 4096, 2000, 1, 1),
        ("4 KiB, 10 messages a session", 4096, 2000, 1, 10),
        ("4 KiB, 10 recipients, 10 messages a session", 4096, 400, 10, 10),
        ("1 MiB, 10 messages a session", 1 << 20, 200, 1, 10),
    ):
        contents = [bench.corpus.fixed(size, number) for number in range(20)]
        mails = [
            (
                [user(RECEIVERS[(n + k) % len(RECEIVERS)]) for k in range(recipients)],
                contents[n % 20],
            )
            for n in range(bench.count(total))
        ]
        for counts, batch in bench.rounds(mails):
            before = seen()
            groups = [batch[start : start + each] for start in range(0, len(batch), each)]
            port = bench.peer.ports[kind]
            with Meter(bench.peer.pids) as meter:
                drive([(port, smtp(group, kind == "lmtp")) for group in groups], SESSIONS)
            accepted = time.perf_counter()
            _await_count(seen, before + len(batch) * recipients)
            if counts:
                bench.rate(label, "messages", len(batch), meter)
                seconds = meter.wall + time.perf_counter() - accepted
                bench.samples.add(f"{label}: until seen", "messages/s", len(batch) / seconds)


def _await_count(seen: Callable[[], int], wanted: int) -> None:
    """What was accepted must be there for readers; a queue may take a while.

    :raises Failure: mail is missing.
    """
    deadline = time.monotonic() + 120
    while (got := seen()) != wanted:
        if time.monotonic() > deadline:
            raise Failure(f"{wanted - got} accepted messages are missing after 120 s")
        time.sleep(0.1)


# Logins.


def log_in(bench: Bench) -> None:
    """IMAP sessions that log in and out, at once and one by one, and that look at an INBOX."""
    users = [user(LOGINS[n % len(LOGINS)]) for n in range(bench.count(1000))]
    port = bench.peer.ports["imap"]
    for label, commands, parallel in (
        ("LOGIN, LOGOUT", (), SESSIONS),
        ("LOGIN, LOGOUT, one by one", (), 1),
        ("LOGIN, SELECT, LOGOUT", (b"SELECT INBOX",), SESSIONS),
    ):
        for counts, batch in bench.rounds(users):
            with Meter(bench.peer.pids) as meter:
                drive([(port, imap_login(name, _PASSWORD, commands)) for name in batch], parallel)
            if counts:
                bench.rate(label, "sessions", len(batch), meter)


# Reading by IMAP.

_FETCHES = (
    ("UID FLAGS INTERNALDATE RFC822.SIZE", b"UID FLAGS INTERNALDATE RFC822.SIZE"),
    ("ENVELOPE", b"ENVELOPE"),
    ("BODYSTRUCTURE", b"BODYSTRUCTURE"),
    ("four header fields", b"BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)]"),
)
#: Seconds of one pass above which it is not repeated.
_LONG = 20.0


def fetch(bench: Bench) -> None:
    """One session that reads a mailbox of 10,000 messages, after a restart and once more."""
    peer, total = bench.peer, bench.count(10_000)
    peer.seed(BIG, bench.corpus.many(total))
    if not peer.memory_only:
        peer.restart()
    connection = IMAP(peer.ports["imap"], user(BIG), _PASSWORD)
    with Meter(peer.pids) as meter:
        connection.command(b"SELECT INBOX")
    bench.samples.add("SELECT, first", "ms", meter.wall * 1e3, low_is_better=True)
    for label, items in _FETCHES:
        _fetch(bench, connection, label, b"FETCH 1:* (%s)" % items, total)
    bodies = bench.count(2000)
    _fetch(bench, connection, "whole messages", b"FETCH 1:%d (BODY.PEEK[])" % bodies, bodies)
    connection.close()


def _fetch(bench: Bench, connection: IMAP, label: str, command: bytes, wanted: int) -> None:
    for repetition in range(1 + bench.repetitions):
        with Meter(bench.peer.pids) as meter:
            reply = connection.command(command)
        got = len(re.findall(rb"(?m)^\* \d+ FETCH", reply))
        if got != wanted:
            bench.note(f"{label}: {got} FETCH responses, {wanted} expected")
        when = "warm" if repetition else "first"
        bench.samples.add(f"{label}, {when}", "messages/s", wanted / meter.wall, meter)
        if meter.wall > _LONG:
            bench.note(f"{label}: {meter.wall:.0f} s a pass, not repeated")
            return


# Searching, sorting, threading.

#: Label, command, and the capability without which there is none.
_SEARCHES = (
    ("SEARCH UNSEEN", b"SEARCH UNSEEN", b"IMAP4REV1"),
    ("SEARCH FROM", b"SEARCH FROM sender7.test", b"IMAP4REV1"),
    ("SEARCH SUBJECT", b'SEARCH SUBJECT "meeting review"', b"IMAP4REV1"),
    ("SEARCH BODY, found nowhere", b"SEARCH BODY xylophone", b"IMAP4REV1"),
    ("SEARCH TEXT, found nowhere", b"SEARCH TEXT xylophone", b"IMAP4REV1"),
    ("SEARCH BODY, found often", b"SEARCH BODY deadline", b"IMAP4REV1"),
    ("SORT DATE", b"SORT (DATE) UTF-8 ALL", b"SORT"),
    ("SORT SUBJECT", b"SORT (SUBJECT) UTF-8 ALL", b"SORT"),
    ("THREAD REFERENCES", b"THREAD REFERENCES UTF-8 ALL", b"THREAD=REFERENCES"),
    ("THREAD ORDEREDSUBJECT", b"THREAD ORDEREDSUBJECT UTF-8 ALL", b"THREAD=ORDEREDSUBJECT"),
)


def search(bench: Bench) -> None:
    """One session that searches, sorts and threads 10,000 messages, after a restart and again."""
    peer = bench.peer
    peer.seed(BIG, bench.corpus.many(bench.count(10_000)))
    if not peer.memory_only:
        peer.restart()
    connection = IMAP(peer.ports["imap"], user(BIG), _PASSWORD)
    connection.command(b"SELECT INBOX")
    for label, command, capability in _SEARCHES:
        if capability not in connection.capabilities:
            bench.note(f"{label}: there is no {capability.decode()}")
            continue
        for repetition in range(1 + bench.repetitions):
            with Meter(peer.pids) as meter:
                connection.command(command)
            when = "warm" if repetition else "first"
            bench.samples.add(f"{label}, {when}", "ms", meter.wall * 1e3, meter, low_is_better=True)
            if meter.wall > _LONG:
                bench.note(f"{label}: {meter.wall:.0f} s a pass, not repeated")
                break
    connection.close()


# Idle connections.


def idle(bench: Bench) -> None:
    """A thousand clients that wait for mail.

    The first fifth takes up memory that start and filling have left free; what each of the others
    adds is the figure.
    """
    peer, total = bench.peer, bench.count(1000)
    for number in IDLERS:
        peer.seed(number, [Mail(bench.corpus.fixed(1024, number), FIRST_ARRIVAL)])
    connections: list[IMAP] = []
    try:
        _open_idle(peer, connections, total // 5)
        before = _settled(peer)
        with Meter(peer.pids) as meter:
            _open_idle(peer, connections, total)
        after = _settled(peer)
    finally:
        for connection in connections:
            connection.socket.close()
    samples, added = bench.samples, total - total // 5
    pss, rss = after.pss_kib - before.pss_kib, after.rss_kib - before.rss_kib
    samples.add("memory a connection (PSS)", "KiB", pss / added, low_is_better=True)
    samples.add("memory a connection (RSS)", "KiB", rss / added, low_is_better=True)
    samples.add("whole server (PSS)", "MiB", after.pss_kib / 1024, low_is_better=True)
    samples.add("LOGIN, SELECT, IDLE, one by one", "connections/s", added / meter.wall, meter)


def _open_idle(peer: Peer, connections: list[IMAP], total: int) -> None:
    while len(connections) < total:
        name = user(IDLERS[len(connections) % len(IDLERS)])
        connections.append(IMAP(peer.ports["imap"], name, _PASSWORD))
        connections[-1].command(b"SELECT INBOX")
        connections[-1].idle()


def _settled(peer: Peer) -> Memory:
    time.sleep(5)
    return memory(peer.pids)


# APPEND.


def append(bench: Bench) -> None:
    """Messages of 4 KiB stored by IMAP, one or a hundred in a command; LITERAL+."""
    port = bench.peer.ports["imap"]
    capabilities = IMAP(port, user(RECEIVERS[0]), _PASSWORD).capabilities
    contents = [bench.corpus.fixed(4096, number) for number in range(20)]
    for label, total, connections, mailboxes, at_once in (
        ("1 connection", 2000, 1, 1, 1),
        ("20 connections, 20 mailboxes", 4000, SESSIONS, SESSIONS, 1),
        ("20 connections, one mailbox", 4000, SESSIONS, 1, 1),
        ("100 a command, 1 connection", 10_000, 1, 1, 100),
    ):
        if at_once > 1 and b"MULTIAPPEND" not in capabilities:
            bench.note(f"{label}: no MULTIAPPEND")
            continue
        mails = [contents[number % 20] for number in range(bench.count(total))]
        for counts, batch in bench.rounds(mails):
            groups = [batch[start : start + at_once] for start in range(0, len(batch), at_once)]
            jobs = [
                (port, imap_append(user(LOGINS[n % mailboxes]), _PASSWORD, groups[n::connections]))
                for n in range(connections)
            ]
            with Meter(bench.peer.pids) as meter:
                drive(jobs, connections)
            if counts:
                bench.rate(label, "messages", len(batch), meter)


# POP3.


def read_pop3(bench: Bench) -> None:
    """Five clients that read and delete 200 messages each; then clients that only look."""
    peer, port = bench.peer, bench.peer.ports["pop3"]
    mails = bench.corpus.many(bench.count(200))
    for label, window in (("one by one", 1), ("20 in flight", 20)):
        for _ in range(bench.repetitions):
            for number in POP3_READERS:
                peer.seed(number, mails)
            got = Retrieved()
            with Meter(peer.pids) as meter:
                sessions = [pop3(user(n), _PASSWORD, window, got) for n in POP3_READERS]
                drive([(port, session) for session in sessions], len(sessions))
            if got.messages != len(mails) * len(POP3_READERS):
                bench.note(f"{label}: {got.messages} messages read")
            add = bench.samples.add
            add(f"RETR, {label}", "messages/s", got.messages / got.seconds, meter)
            add(f"RETR, {label}", "MB/s", got.octets / got.seconds / 1e6)
            bench.rate(f"whole session, {label}", "sessions", len(POP3_READERS), meter)
    for number in POP3_READERS:
        peer.seed(number, mails)
    looks = [user(POP3_READERS[n % len(POP3_READERS)]) for n in range(bench.count(500))]
    for counts, batch in bench.rounds(looks):
        with Meter(peer.pids) as meter:
            jobs = [(port, pop3_status(name, _PASSWORD)) for name in batch]
            drive(jobs, len(POP3_READERS))
        if counts:
            bench.rate("login, STAT, QUIT", "sessions", len(batch), meter)


#: Name to the port that it needs and the function.
WORKLOADS: Mapping[str, tuple[str, Callable[[Bench], None]]] = {
    "smtp": ("smtp", deliver_smtp),
    "lmtp": ("lmtp", deliver_lmtp),
    "login": ("imap", log_in),
    "fetch": ("imap", fetch),
    "search": ("imap", search),
    "append": ("imap", append),
    "idle": ("imap", idle),
    "pop3": ("pop3", read_pop3),
    "slow": ("smtp", receive_slowly),
    "latency": ("imap", fetch_beside_others),
}
#: Those that run unless others are named. Most servers keep messages in memory, so the machine must
#: be large for `slow`; `latency` fills a mailbox with 100,000 of them.
DEFAULT_WORKLOADS = [name for name in WORKLOADS if name not in ("slow", "latency")]
