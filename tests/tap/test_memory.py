"""Memory that goes back to the system."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
import unittest

from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap import memory
from tests.support import ROOT

#: Prints the KiB that hashing leaves behind.
_PROGRAM = """
import sys
from mailkit.auth.passwords import hash_password
from mailkit.tap.memory import return_large_allocations
def kib():
    return int(open("/proc/self/statm").read().split()[1]) * 4
if sys.argv[1] == "yes":
    return_large_allocations()
hash_password("x", memory_cost=8)
before = kib()
for _ in range(3):
    hash_password("x", time_cost=1)
print(kib() - before)
"""


class MemoryTests(SynchronousTestCase):
    @unittest.skipUnless(platform.libc_ver()[0] == "glibc", "glibc alone keeps it")
    def test_a_password_hash_leaves_nothing_behind(self) -> None:
        left = {}
        for asked in ("no", "yes"):
            done = subprocess.run(
                [sys.executable, "-c", _PROGRAM, asked],
                capture_output=True,
                check=True,
                cwd=ROOT,
                env={k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")},
                timeout=60,
            )
            left[asked] = int(done.stdout)
        self.assertLess(left["yes"], 4 * 1024, left)
        self.assertGreater(left["no"], 10 * 1024, left)

    def test_other_c_libraries(self) -> None:
        self.patch(memory.ctypes, "CDLL", lambda name: object())
        memory.return_large_allocations()

    def test_what_is_loaded_is_no_concern_of_garbage_collection(self) -> None:
        self.addCleanup(gc.unfreeze)
        loaded = len(gc.get_objects())
        memory.keep_what_is_loaded()
        self.assertLess(len(gc.get_objects()), loaded / 10)
        self.assertGreater(gc.get_freeze_count(), 0)
