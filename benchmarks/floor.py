#!/usr/bin/env python3
"""What is the most that any server could take over SMTP on this machine, beside the load generator.

Servers that answer the dialogue and keep nothing, one of Twisted's and smtp-sink in C, beside servers
that keep what they take, and the disk alone. What each message costs both sides in CPU tells how many
there can be in a second, if all processors were at work all the time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mailbench.corpus import Corpus
from mailbench.packaged import Postfix
from mailbench.peers import Mailkit, MailkitWorkers, Peer, user
from mailbench.process import Meter
from mailbench.sessions import connect, drive, smtp

HOST = "127.0.0.1"
SESSIONS = 20
RECEIVERS = range(10, 20)
PEERS: dict[str, type[Peer]] = {each.name: each for each in (Mailkit, MailkitWorkers, Postfix)}
#: Octets of a message, messages a session, and which part of the number that was asked for.
WORK = ((4096, 1, 1), (4096, 10, 1), (1 << 20, 10, 10))


class Server(NamedTuple):
    """Something that takes messages."""

    name: str
    port: int
    pids: Sequence[int]
    #: Tells how many messages readers see; None where nothing is kept.
    seen: Callable[[], int] | None = None


@contextmanager
def empty_server(name: str, *command: str) -> Iterator[Server]:
    """A server that keeps nothing."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        port: int = found.getsockname()[1]
    process = subprocess.Popen(
        [word.format(port=port) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        give_up = time.monotonic() + 60
        while True:
            try:
                with connect(port, timeout=5) as connection:
                    connection.recv(1)
                break
            except OSError:
                if time.monotonic() > give_up or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield Server(name, port, [process.pid])
    finally:
        process.terminate()
        process.wait()


@contextmanager
def mail_server(name: str, directory: Path) -> Iterator[Server]:
    """One that keeps what it takes."""
    peer = PEERS[name](sys.executable)
    if missing := peer.missing():
        raise SystemExit(f"{name} needs {missing}")
    try:
        peer.start(directory / name)
        yield Server(name, peer.ports["smtp"], peer.pids, peer.counter(RECEIVERS))
    finally:
        peer.stop()


def measure(server: Server, size: int, each: int, total: int, corpus: Corpus) -> str:
    """Send so many messages, and wait until readers see them."""
    contents = [corpus.fixed(size, number) for number in range(SESSIONS)]
    mails = [
        ([user(RECEIVERS[number % len(RECEIVERS)])], contents[number % SESSIONS])
        for number in range(total)
    ]
    groups = [mails[start : start + each] for start in range(0, total, each)]
    drive([(server.port, smtp(group)) for group in groups[:SESSIONS]], SESSIONS)
    wanted = 0
    if server.seen is not None:
        _wait_until_quiet(server.seen)
        wanted = server.seen() + total
    with Meter(server.pids) as meter:
        drive([(server.port, smtp(group)) for group in groups], SESSIONS)
        while server.seen is not None and server.seen() < wanted:
            time.sleep(0.01)
    client, own = (1e6 * cores * meter.wall / total for cores in (meter.client, meter.server))
    most = 1e6 * (os.cpu_count() or 1) / (client + own)
    return (
        f"| {size} | {each} | {server.name} | {total / meter.wall:.0f} | {own:.0f} | {client:.0f} |"
        f" {most:.0f} |"
    )


def _wait_until_quiet(seen: Callable[[], int]) -> None:
    """What came to warm up must not be counted."""
    before = -1
    while before != (now := seen()):
        before = now
        time.sleep(0.5)


def measure_disk(directory: Path, size: int, together: int, count: int) -> str:
    """So many messages appended to one file, some of them at a time flushed together."""
    octets = os.urandom(size)
    with (directory / "log").open("wb", buffering=0) as file:
        began = time.monotonic()
        for number in range(count):
            file.write(octets)
            if number % together == together - 1:
                os.fdatasync(file.fileno())
        seconds = time.monotonic() - began
    return f"| {size} | {together} | {count / seconds:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2000, help="of 4 KiB; a tenth of 1 MiB")
    parser.add_argument("--peers", default="mailkit,postfix", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--directory", help="on the disk that is to be measured")
    arguments = parser.parse_args()
    corpus = Corpus()
    dialogue = str(Path(__file__).resolve().parent / "servers" / "twisted_dialogue.py")
    kinds = [lambda: empty_server("Twisted, nothing kept", sys.executable, dialogue, "{port}")]
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        place = Path(name)
        place.chmod(0o755)
        if shutil.which("smtp-sink"):
            nobody = ["-u", "nobody"] if os.getuid() == 0 else []
            sink = ["smtp-sink", *nobody, HOST + ":{port}", "1024"]
            kinds.append(lambda: empty_server("smtp-sink", *sink))
        for peer in filter(None, arguments.peers.split(",")):
            kinds.append(lambda peer=peer: mail_server(peer, place))
        print("| octets | messages a session | server | a second | CPU, µs | client's CPU | most |")
        print("|---|---|---|---:|---:|---:|---:|")
        lines: dict[int, list[str]] = {}
        for kind in kinds:
            with kind() as server:
                for number, (size, each, part) in enumerate(WORK):
                    line = measure(server, size, each, arguments.messages // part, corpus)
                    lines.setdefault(number, []).append(line)
        for group in lines.values():
            print("\n".join(group))
        print("\n| octets | messages a flush | a second |\n|---|---|---:|")
        for size, together, count in (
            *((4096, 1, 1000), (4096, 20, 4000)),
            *((1 << 20, 1, 100), (1 << 20, 10, 200)),
        ):
            print(measure_disk(place, size, together, count), flush=True)


if __name__ == "__main__":
    main()
