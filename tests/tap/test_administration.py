"""What commands have in common: they wait, are ended, and are root's at times."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support import PATIENCE, environment, free_ports, mailkit_command

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


class OwnerTests(SynchronousTestCase):
    def test_what_root_makes_belongs_to_the_user_of_the_store(self) -> None:
        if os.geteuid():
            raise SkipTest("only root makes files for others")
        store = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, store)
        os.chown(store, 12345, 12346)
        (port,) = free_ports(1)
        # Nobody is there to fetch from, but the store was opened.
        fetch = f"import pop3 ann@example.org --host 127.0.0.1 --port {port} --user ann"
        for command, code in (
            ("account add ann@example.org --no-password", 0),
            (f"{fetch} --password-env HOME", 1),
            ("compact", 0),
            ("repair", 0),
        ):
            done = mailkit_command("--store", f"sqlite:{store}", *command.split())
            self.assertEqual(done.returncode, code, done.stderr)
            for folder, folders, files in os.walk(store):
                for name in (*folders, *files):
                    found = os.stat(os.path.join(folder, name))
                    self.assertEqual((found.st_uid, found.st_gid), (12345, 12346), name)
