#!/usr/bin/env python3
"""How long one client keeps the reactor to itself, with a mailbox of 100,000 messages.

While the server works on a command it serves others between two pieces of that work. Prints the
longest such piece for each command: the processor time of the reactor's thread between two polls,
which does not depend on what else the machine does, but for its caches; all that the thread has
spent on the command; and the longest garbage collection, part of one of those pieces.

    python benchmarks/turns.py [--messages 100000] [--repetitions 3]
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mailbench.corpus import FIRST_ARRIVAL, Corpus, Mail
from mailbench.imap import IMAP
from mailbench.peers import PASSWORD, user
from mailbench.sessions import connect

_SERVERS = Path(__file__).resolve().parent / "servers"
#: Octets of each message.
SIZE = 1024
#: Done in this order, each after the other; those that change something with what undoes it.
COMMANDS: Sequence[bytes] = (
    b"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)",
    b"FETCH 1:* (ENVELOPE)",
    b"FETCH 1:* (BODYSTRUCTURE)",
    b"FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM SUBJECT DATE)])",
    b"FETCH 1:* (BODY.PEEK[])",
    b"SEARCH UNSEEN",
    b"SEARCH FROM nobody@",
    b"SEARCH BODY nowhere",
    b"SORT (DATE) UTF-8 ALL",
    b"SORT (SUBJECT) UTF-8 ALL",
    b"SORT (FROM REVERSE SIZE) UTF-8 ALL",
    b"THREAD REFERENCES UTF-8 ALL",
    b"THREAD ORDEREDSUBJECT UTF-8 ALL",
    b"THREAD REFS UTF-8 ALL",
    rb"STORE 1:* +FLAGS (\Seen)",
    rb"STORE 1:* +FLAGS.SILENT (\Flagged)",
    # From here on every fiftieth message is missing.
    b'UID SEARCH RETURN (SAVE) SUBJECT "bench 7"',
    rb"UID STORE $ +FLAGS.SILENT (\Deleted)",
    b"EXPUNGE",
    rb"STORE 1:* -FLAGS.SILENT (\Seen)",
    b"SEARCH UNSEEN",
    b"SORT (DATE) UTF-8 ALL",
    b"THREAD REFERENCES UTF-8 ALL",
    b"COPY 1:* Copies",
    b"MOVE 1:* Copies",
    b"SELECT Copies",
    # And now every other one.
    b"UID SEARCH RETURN (SAVE) OR OR OR SUBJECT 1 SUBJECT 3 SUBJECT 5 SUBJECT 9",
    rb"UID STORE $ +FLAGS.SILENT (\Deleted)",
    b"EXPUNGE",
    rb"STORE 1:* +FLAGS.SILENT (\Deleted)",
    b"EXPUNGE",
)
#: What cannot be done twice.
_ONCE = (b"COPY", b"MOVE", b"SELECT", b"EXPUNGE", b"UID STORE")


class Server:
    """mailkit with the embedded store, in a process that measures its turns."""

    def __init__(self, directory: Path) -> None:
        store = f"sqlite:{directory / 'store'}"
        accounts = [user(0).decode(), user(1).decode()]
        subprocess.run(
            [sys.executable, str(_SERVERS / "mailkit_accounts.py"), store, PASSWORD, *accounts],
            check=True,
        )
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            self.port, self._teller = one.getsockname()[1], other.getsockname()[1]
        command = [sys.executable, str(_SERVERS / "mailkit_turns.py"), str(self._teller), "-n"]
        command += [f"--pidfile={directory / 'pid'}", f"--logfile={directory / 'log'}", "mailkit"]
        command += ["--store", store, "--imap", f"tcp:{self.port}:interface=127.0.0.1"]
        self._process = subprocess.Popen(command, cwd=directory)
        for _ in range(600):
            try:
                connect(self.port).close()
            except OSError:
                time.sleep(0.05)
            else:
                break

    def turns(self) -> list[float]:
        """What was measured since the last call; see ``mailkit_turns.py``."""
        with connect(self._teller) as connection, connection.makefile("rb") as file:
            return list(map(float, file.readline().split()))

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


def measure(server: Server, messages: int, repetitions: int) -> None:
    session = IMAP(server.port, user(0), PASSWORD.encode())
    corpus = Corpus()
    kinds = [corpus.fixed(SIZE, number) for number in range(50)]
    session.append([Mail(kinds[n % len(kinds)], FIRST_ARRIVAL + n) for n in range(messages)])
    session.command(b"CREATE Copies")
    session.command(b"SELECT INBOX")
    print(f"| {messages:,} messages, ms: first, then | longest turn | all | garbage collection |")
    print("|---|---:|---:|---:|", flush=True)
    for command in COMMANDS:
        columns: tuple[list[str], ...] = [], [], []
        for _ in range(1 if command.startswith(_ONCE) else repetitions):
            server.turns()
            session.command(command)
            for column, value in zip(columns, server.turns(), strict=True):
                column.append(f"{value:,.0f}" if value >= 100 else f"{value:.1f}")
        cells = (command.decode(), *map(", ".join, columns))
        print(f"| {' | '.join(cells)} |", flush=True)
    session.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--directory", default=tempfile.gettempdir(), help="where mail is kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        os.chmod(directory, 0o700)
        server = Server(Path(directory))
        try:
            measure(server, arguments.messages, arguments.repetitions)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
