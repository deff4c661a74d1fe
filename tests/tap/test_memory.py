"""Memory that goes back to the system."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

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


#: Filled heap, half-empty memory, a file's, a stack's, memory that is too small, and filled memory.
_SMAPS = """\
555555000000-555555a00000 rw-p 00000000 00:00 0                          [heap]
Size:              10240 kB
Rss:               10240 kB
VmFlags: rd wr mr mw me ac sd
7f0000000000-7f0000800000 rw-p 00000000 00:00 0
Rss:                4096 kB
7f0001000000-7f0001800000 rw-p 00000000 fe:00 123                        /lib/a library.so
Rss:                8192 kB
7f0002000000-7f0002800000 rw-p 00000000 00:00 0                          [stack]
Rss:                8192 kB
7f0003000000-7f0003800000 r--p 00000000 00:00 0
Rss:                8192 kB
7f0004100000-7f0004300000 rw-p 00000000 00:00 0
Rss:                2048 kB
7f0005100000-7f0005700000 rw-p 00000000 00:00 0
Rss:                6000 kB
"""
_MIB = 1024 * 1024


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
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        loaded = len(gc.get_objects())
        memory.keep_what_is_loaded()
        self.assertLess(len(gc.get_objects()), loaded / 10)
        self.assertGreater(gc.get_freeze_count(), 0)
        self.assertEqual(gc.get_threshold()[0], memory.COLLECT_AFTER)

    def advise(self, pages: str = "always [madvise] never", smaps: str = _SMAPS) -> list[Any]:
        """What is asked of a system of which these files tell."""
        directory = Path(self.mktemp())
        directory.mkdir()
        for name, text in (("_LARGE_PAGES", pages), ("_SMAPS", smaps)):
            (directory / name).write_text(text)
            self.patch(memory, name, directory / name)
        asked: list[Any] = []

        class Library:
            @staticmethod
            def madvise(start: Any, length: Any, advice: int) -> int:
                asked.append((start.value, length.value, advice))
                return -1

        self.patch(memory.ctypes, "CDLL", lambda name: Library)
        memory.use_large_pages()
        return asked

    def test_filled_memory_goes_into_large_pages(self) -> None:
        wanted = [(0x555555000000, 10 * _MIB, 25), (0x7F0005200000, 4 * _MIB, 25)]
        self.assertEqual(self.advise(), wanted)

    def test_whoever_wants_no_large_pages_has_none(self) -> None:
        self.assertEqual(self.advise("always madvise [never]"), [])

    def test_systems_without_them(self) -> None:
        self.assertEqual(self.advise(smaps=""), [])
        self.patch(memory, "_SMAPS", Path(self.mktemp()))
        memory.use_large_pages()
        self.patch(memory, "_LARGE_PAGES", Path(self.mktemp()))
        memory.use_large_pages()

    def test_here(self) -> None:
        """Nothing is lost, whatever this system does of it."""
        octets = os.urandom(8 * _MIB)
        before = hash(octets)
        memory.use_large_pages()
        self.assertEqual(hash(bytes(bytearray(octets))), before)
