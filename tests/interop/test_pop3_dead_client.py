"""The maildrop of a client that was switched off, with the system's TCP."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support import PATIENCE, administer, environment

pytestmark = pytest.mark.interop

ANN = "ann@example.test"


class DeadClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("ip")):
            raise SkipTest("a network of its own needs root, and the programs unshare and ip")
        alone = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
        if alone.returncode:
            raise SkipTest("this system gives no network of its own")
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir(parents=True)

    def test_it_is_free_within_seconds(self) -> None:
        administer(
            f"sqlite:{self.directory}/store",
            *("account", "add", ANN, "--password-stdin", "--scheme", "plain"),
            input="secret\n",
        )
        program = [sys.executable, "-m", "tests.interop.dead_client", str(self.directory), ANN]
        done = subprocess.run(
            ["unshare", "-n", *program],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=environment(),
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        seconds, _, answer = done.stdout.partition(" ")
        self.assertTrue(answer.startswith("+OK Logged in"), done.stdout)
        # Else as long as the first session may be silent, ten minutes.
        self.assertLess(float(seconds), PATIENCE)
