"""Pools of threads."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support import PATIENCE

_PROGRAM = """
from mailkit.pools import DaemonThreadPool
pool = DaemonThreadPool(0, 1)
pool.start()
pool.callInThread(print, "worked", flush=True)
while not pool.waiters:
    pass
"""


class DaemonThreadPoolTests(SynchronousTestCase):
    def test_end_of_a_program_that_does_not_stop_it(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual((done.returncode, done.stdout), (0, "worked\n"), done.stderr)
