"""Commands that wait, and those who do not want to."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support import PATIENCE, environment

PROGRAM = """if 1:
    import os, signal, sys

    import click
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.internet.task import deferLater

    from mailkit.tap.administration import run

    async def work():
        number = getattr(signal, sys.argv[1], None)
        if number is None:
            await deferLater(reactor, 0)
            return
        reactor.callLater(0, os.kill, os.getpid(), number)
        try:
            await Deferred()
        finally:
            await deferLater(reactor, 0)
            print("tidy")

    try:
        run(work())
    except click.Abort:
        print("aborted")
    else:
        print("done")
"""


class StopTests(SynchronousTestCase):
    def check(self, how: str, output: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((done.stdout, done.stderr, done.returncode), (output, "", 0))

    def test_a_signal_ends_a_command_that_waits(self) -> None:
        # Without a traceback, and after what it does in the end anyway.
        for name in ("SIGINT", "SIGTERM"):
            self.check(name, "tidy\naborted\n")

    def test_a_command_ends_by_itself(self) -> None:
        self.check("nothing", "done\n")
