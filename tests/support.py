"""What several test packages need: a real server in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from twisted.internet.task import deferLater

from mailkit.tap.command import main

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
#: Seconds until anything must have happened that will, on a busy machine: who waits so long fails.
PATIENCE = 180.0


def environment() -> dict[str, str]:
    """The environment of a child that imports this checkout, wherever it runs."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def free_ports(count: int) -> list[int]:
    """Ports on loopback that are the caller's: to listen on, or for nobody to answer at.

    They stay bound by sockets that do not listen. The kernel gives such a port to nobody who asks
    for any, nor to an outgoing connection; yet whoever names it and sets ``SO_REUSEADDR``, as
    servers do, can listen on it.
    """
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind((HOST, 0))
    _reserved.extend(sockets)
    return [each.getsockname()[1] for each in sockets]


#: The newest: more than a test or a class of tests has.
_reserved: deque[socket.socket] = deque(maxlen=100)


async def until(condition: Callable[[], bool]) -> None:
    """Wait, while the reactor works, until something is true.

    :raises AssertionError: it is not after long patience.
    """
    from twisted.internet import reactor

    clock: Any = reactor
    give_up = clock.seconds() + PATIENCE
    while not condition():
        if clock.seconds() > give_up:
            raise AssertionError("it did not happen in time")
        await deferLater(clock, 0.002)


def mailkit_command(*arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
    """Run the ``mailkit`` command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "mailkit", *arguments],
        input=input,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(),
    )


def administer(store: str, *arguments: str, input: str = "") -> str:
    """What the ``mailkit`` command says, run in this process: a second faster than a program.

    :raises AssertionError: it failed.
    """
    done = CliRunner().invoke(main, ["--store", store, *arguments], input=input)
    if done.exit_code:
        raise AssertionError(f"mailkit {' '.join(arguments)}: {done.output}")
    return done.output


class ServerProcess:
    """``twistd -n COMMAND ARGUMENTS...`` as a child; a context manager that stops it.

    :param directory: where it runs; its output goes to ``server.log`` there.
    :param ports: the ports that it listens on once it is ready.
    """

    #: What runs the program.
    launcher: Sequence[str] = ()
    #: What it inherits.
    descriptors: Sequence[int] = ()

    def __init__(self, directory: str | Path, ports: list[int], *arguments: str) -> None:
        self.directory = Path(directory)
        self.ports = ports
        self.arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that it has written."""
        return (self.directory / "server.log").read_text("utf-8", "replace")

    def start(self) -> ServerProcess:
        """Start it and wait until it listens.

        :raises AssertionError: it ended, or did not listen in time.
        """
        with open(self.directory / "server.log", "ab") as output:
            self.process = subprocess.Popen(
                [
                    *self.launcher,
                    sys.executable,
                    *("-c", _TWISTD, "-n", "--pidfile="),
                    *self.arguments,
                ],
                pass_fds=self.descriptors,
                cwd=self.directory,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        give_up = time.monotonic() + PATIENCE
        for port in self.ports:
            while not listens(port):
                if self.process.poll() is not None or time.monotonic() > give_up:
                    self.kill()
                    raise AssertionError(f"the server did not start:\n{self.log}")
                time.sleep(0.02)
        return self

    def wait_for_log(self, text: str, times: int = 1) -> None:
        """Wait until it has written some text so often.

        :raises AssertionError: it did not in time.
        """
        give_up = time.monotonic() + PATIENCE
        while self.log.count(text) < times:
            if time.monotonic() > give_up:
                raise AssertionError(f"{text!r} is not there:\n{self.log}")
            time.sleep(0.02)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it without asking."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)

    def __enter__(self) -> ServerProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


#: As the script ``twistd`` has it, which need not be on the path.
_TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"


def listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True
