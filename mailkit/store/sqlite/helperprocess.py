"""The store's helper, as the process sees it that it helps."""

from __future__ import annotations

import fcntl
import marshal
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import mailkit
from mailkit.store.sqlite.bodies import BodyPlace
from mailkit.store.sqlite.helper import LENGTH, TIME_LIMIT, write_frame
from mailkit.store.sqlite.making import Made, Summary, Wanted

#: Seconds for an answer, before which the helper ends by itself, and for its beginning.
PATIENCE = TIME_LIMIT + 30.0
BEGINNING_PATIENCE = 20.0
#: Requests that are sent before the first of them is answered: so it need not wait for us.
AT_ONCE = 2
#: Bodies in one request: the places of so many go into a pipe that nobody reads from at the moment.
MAX_PLACES = 500

#: Octets that it may write before we read: all of most answers. Linux gives no more to everybody.
PIPE_OCTETS = 1024 * 1024
#: Octets of an answer.
MAX_ANSWER = 256 * 1024 * 1024

_MODULE = "mailkit.store.sqlite.helper"
#: Where Python finds it: that must be what this process runs.
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(mailkit.__file__)))


class HelperFailed(Exception):
    """It has died, or cannot be understood, or cannot be started."""


class HelperProcess:
    """A helper, which begins at once. For one thread; only :meth:`kill` is for any.

    :param directory: where the segments of the log are.
    :raises HelperFailed: it does not begin.
    """

    def __init__(self, directory: str) -> None:
        if os.name != "posix" or not sys.executable:
            raise HelperFailed("not on this system")
        # It imports nothing but Python's own library and us, and inherits nothing but its two pipes.
        command = [sys.executable, "-E", "-S", "-m", _MODULE, os.path.abspath(directory)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=_ROOT,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise HelperFailed(str(error)) from error
        self._received = bytearray()
        self._widen_pipe()
        try:
            if self._read(BEGINNING_PATIENCE) != mailkit.__version__:
                raise HelperFailed("it is of another version")
        except HelperFailed:
            self.close()
            raise

    def _widen_pipe(self) -> None:
        """Let it write an answer without waiting for us, and go on with the next request."""
        pipe = self._process.stdout
        if hasattr(fcntl, "F_SETPIPE_SZ") and pipe is not None:
            # A system may have no room for it.
            with suppress(OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_OCTETS)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, wanted: Wanted, places: Sequence[BodyPlace]) -> None:
        """Ask for something, before the answers to :data:`AT_ONCE` others at most have come.

        :raises HelperFailed: it has died.
        """
        assert self._process.stdin is not None
        try:
            write_frame(self._process.stdin, (int(wanted), list(map(tuple, places))))
        except (OSError, ValueError) as error:
            raise HelperFailed("it has died") from error

    def receive(self) -> Made:
        """What was made for the oldest request without an answer.

        :raises HelperFailed: there is no answer, and will be none to those behind it.
        """
        answer = self._read(PATIENCE)
        if isinstance(answer, str):
            raise HelperFailed(answer)
        try:
            made = Made._make(answer)
            summaries = [(row[0], Summary._make(row[1:])) for row in made.summaries]
            return made._replace(summaries=summaries)
        except (TypeError, ValueError, IndexError) as error:
            raise HelperFailed("it cannot be understood") from error

    def _read(self, patience: float) -> Any:
        received = self._received
        self._receive(LENGTH, patience)
        end = LENGTH + int.from_bytes(received[:LENGTH], "big")
        if end > MAX_ANSWER:
            raise HelperFailed("it says too much")
        self._receive(end, patience)
        try:
            with memoryview(received) as view:
                return marshal.loads(view[LENGTH:end])
        except (EOFError, TypeError, ValueError) as error:
            raise HelperFailed("it cannot be understood") from error
        finally:
            del received[:end]

    def _receive(self, count: int, patience: float) -> None:
        """See to it that so many octets are there."""
        if len(self._received) >= count:
            return
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        ready = select.poll()
        ready.register(descriptor, select.POLLIN)
        while len(self._received) < count:
            if not ready.poll(patience * 1000):
                raise HelperFailed("it does not answer")
            # All there is: on a busy reactor's side each call waits long for the interpreter.
            some = os.read(descriptor, PIPE_OCTETS)
            if not some:
                raise HelperFailed("it has died")
            self._received += some

    def kill(self) -> None:
        """End it, so that who waits for it hears of that; from any thread."""
        self._process.kill()

    def close(self) -> None:
        """End it, and forget it."""
        process = self._process
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            # What was not sent will not be.
            with suppress(OSError):
                pipe.close()
