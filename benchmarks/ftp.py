#!/usr/bin/env python3
"""Files by FTP over loopback: mailkit beside pyftpdlib, which sends by sendfile.

Each round asks all servers in turn for the same work. STOR ends when mailkit has the file on disk;
pyftpdlib flushes nothing, and is shown with a flush by the client, too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ftplib import FTP
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mailbench import process

HOST, USER, PASSWORD = "127.0.0.1", "ann@example.org", "secret"
#: Files of the workload ``small``, and octets of each.
SMALL, SMALL_SIZE = 200, 10_000
_BLOCK = 1 << 20


class Server:
    """One of them, with a home for Ann in which files lie."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.durable = name == "mailkit"
        with socket.socket() as found:
            found.bind((HOST, 0))
            self.port: int = found.getsockname()[1]
        self.home = directory / "home" / USER
        self.home.mkdir(parents=True)
        self._process = subprocess.Popen(
            self._mailkit(directory) if name == "mailkit" else self._pyftpdlib(),
            cwd=directory,
            stdout=(directory / "log").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _mailkit(self, directory: Path) -> list[str]:
        store = f"sqlite:{directory}/store"
        python = [sys.executable, "-m"]
        subprocess.run(
            [
                *(*python, "mailkit.tap.command", "--store", store),
                *("account", "add", USER, "--password-stdin"),
            ],
            input=PASSWORD.encode() + b"\n",
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return [
            *(*python, "twisted", "mailkit-ftp", "--store", store),
            *("--files", str(directory / "home"), "--listen", f"tcp:{self.port}:interface={HOST}"),
        ]

    def _pyftpdlib(self) -> list[str]:
        script = Path(__file__).resolve().parent / "servers" / "pyftpdlib_files.py"
        return [sys.executable, str(script), str(self.port), str(self.home), USER, PASSWORD]

    def connect(self) -> FTP:
        give_up = time.monotonic() + 30
        while True:
            client = FTP(timeout=60)
            try:
                client.connect(HOST, self.port)
            except OSError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.1)
            else:
                client.login(USER, PASSWORD)
                client.voidcmd("TYPE I")
                return client

    def cpu(self) -> float:
        """Seconds that it has used."""
        return process.cpu([self._process.pid])

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


def retrieve(client: FTP, name: str) -> int:
    """Octets of a file, which are thrown away."""
    buffer = memoryview(bytearray(_BLOCK))
    total = 0
    with client.transfercmd(f"RETR {name}") as data:
        while count := data.recv_into(buffer):
            total += count
    client.voidresp()
    return total


def store(client: FTP, name: str, size: int) -> int:
    block = bytes(_BLOCK)
    with client.transfercmd(f"STOR {name}") as data:
        for start in range(0, size, _BLOCK):
            data.sendall(block[: size - start])
    client.voidresp()
    return size


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def workloads(size: int) -> Iterator[tuple[str, bool, Callable[[Server, FTP], int]]]:
    """Name, whether a flush follows where the server has not flushed, and the work."""
    yield "RETR", False, lambda server, client: retrieve(client, "large")
    yield "STOR", False, lambda server, client: store(client, "new", size)
    yield "STOR, flushed", True, lambda server, client: store(client, "new", size)

    def small(server: Server, client: FTP) -> int:
        return sum(retrieve(client, f"small{number}") for number in range(SMALL))

    yield f"RETR of {SMALL} small files", False, small


@contextmanager
def serving(names: list[str], size: int, directory: str | None) -> Iterator[list[Server]]:
    place = Path(tempfile.mkdtemp(prefix="ftpbench-", dir=directory))
    servers = []
    try:
        for name in names:
            (place / name).mkdir()
            servers.append(Server(name, place / name))
        for server in servers:
            with open(server.home / "large", "wb") as file:
                for _ in range(size // _BLOCK):
                    file.write(os.urandom(_BLOCK))
            for number in range(SMALL):
                (server.home / f"small{number}").write_bytes(os.urandom(SMALL_SIZE))
        yield servers
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=256, help="of the large file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default="mailkit,pyftpdlib")
    parser.add_argument("--directory", help="the disk that is measured")
    arguments = parser.parse_args()
    size = arguments.megabytes << 20
    with serving(arguments.peers.split(","), size, arguments.directory) as servers:
        clients = [server.connect() for server in servers]
        for name, flushed, work in workloads(size):
            found: dict[str, list[tuple[float, float]]] = {each.name: [] for each in servers}
            for _ in range(arguments.rounds):
                for server, client in zip(servers, clients, strict=True):
                    (server.home / "new").unlink(missing_ok=True)
                    cpu, began = server.cpu(), time.perf_counter()
                    octets = work(server, client)
                    if flushed and not server.durable:
                        _flush(server.home / "new")
                    wall = time.perf_counter() - began
                    found[server.name].append(
                        (octets / wall / 1e6, (server.cpu() - cpu) / octets * 1e9)
                    )
            for peer, figures in found.items():
                rate, cpu = (median(column) for column in zip(*figures, strict=True))
                print(f"{name:24} {peer:10} {rate:6.0f} MB/s, {cpu:5.2f} s of CPU a GB", flush=True)


if __name__ == "__main__":
    main()
