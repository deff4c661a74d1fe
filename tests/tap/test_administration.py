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


FETCH = "import pop3 ann@example.org --host 127.0.0.1 --user ann"


class OwnerTests(SynchronousTestCase):
    def setUp(self) -> None:
        if os.geteuid():
            raise SkipTest("only root makes files for others")
        self.store = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.store)
        os.chown(self.store, 12345, 12346)

    def run_command(self, command: str) -> subprocess.CompletedProcess[str]:
        return mailkit_command("--store", f"sqlite:{self.store}", *command.split())

    def test_what_root_makes_belongs_to_the_user_of_the_store(self) -> None:
        (port,) = free_ports(1)
        # Nobody is there to fetch from, but the store was opened.
        for command, code in (
            ("account add ann@example.org --no-password", 0),
            (f"{FETCH} --password-env HOME --port {port}", 1),
            ("compact", 0),
            ("repair", 0),
        ):
            done = self.run_command(command)
            self.assertEqual(done.returncode, code, done.stderr)
            for folder, folders, files in os.walk(self.store):
                for name in (*folders, *files):
                    found = os.stat(os.path.join(folder, name))
                    self.assertEqual((found.st_uid, found.st_gid), (12345, 12346), name)

    def test_what_root_owns_already_is_not_taken_for_damaged(self) -> None:
        self.run_command("account add ann@example.org --no-password")
        self.run_command("compact")
        index = os.path.join(self.store, "index.sqlite")
        # A link, and what is not the store's, may be root's.
        log = os.path.join(self.store, "log")
        os.rename(log, log + "-elsewhere")
        os.symlink(log + "-elsewhere", log)
        os.mkdir(os.path.join(self.store, "lost+found"), 0o700)
        self.assertEqual(self.run_command("compact").returncode, 0)
        os.chown(index, 0, 0)
        with open(index, "rb") as file:
            before = file.read()
        for command in ("repair", "compact", f"{FETCH} --password-env HOME --port 1"):
            done = self.run_command(command)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"{index} belongs to root", done.stderr)
            self.assertIn(f"chown -R 12345:12346 {self.store}\n", done.stderr)
        with open(index, "rb") as file:
            self.assertEqual(file.read(), before)
        os.chown(index, 12345, 12346)
        self.assertEqual(self.run_command("repair").returncode, 0)
        self.assertIn("ann@example.org", self.run_command("account list").stdout)
