"""Processes to be killed: forked from one that has already imported all that they need.

That one must not have a reactor, for forks would share what it waits with: they import it themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

ROOT = Path(__file__).resolve().parent.parent.parent
#: Says how a fork has ended.
_ENDED = "ended"


def tell(text: str) -> None:
    """Say something that no buffer keeps."""
    os.write(1, f"{text}\n".encode())


def serve(run: Callable[[list[str]], None]) -> None:
    """Fork a process for each line on standard input, a list of words in JSON, one after the other.

    :param run: what it does with the words; it may end by SystemExit.
    """
    while line := sys.stdin.readline():
        process = os.fork()
        if process == 0:
            os._exit(_run(run, json.loads(line)))
        _, status = os.waitpid(process, 0)
        tell(f"{_ENDED} {os.waitstatus_to_exitcode(status)}")


def _run(run: Callable[[list[str]], None], words: list[str]) -> int:
    try:
        run(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stderr.flush()
    return 0


class Forks:
    """The side of the tests: one process that :func:`serve`\\ s, until it is stopped.

    :param module: calls :func:`serve`.
    """

    def __init__(self, module: str, errors: Path) -> None:
        self._errors = errors
        with errors.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def run(self, *words: object) -> tuple[int, list[str]]:
        """Let a fork run to its end; gives its exit status, or minus the signal, and what it told."""
        commands, answers = cast(
            "tuple[IO[str], IO[str]]", (self._process.stdin, self._process.stdout)
        )
        commands.write(json.dumps([str(word) for word in words]) + "\n")
        commands.flush()
        told: list[str] = []
        while line := answers.readline():
            what, _, rest = line.rstrip("\n").partition(" ")
            if what == _ENDED:
                return int(rest), told
            told.append(line.rstrip("\n"))
        raise AssertionError(f"nothing forks any more:\n{self.errors}")

    @property
    def errors(self) -> str:
        """What was written on standard error."""
        return self._errors.read_text("utf-8", "replace")

    def stop(self) -> None:
        """No further fork; waits until the process has ended."""
        with self._process:
            self._process.communicate()
