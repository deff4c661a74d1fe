"""What becomes of memory that a server no longer needs."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterable, Iterator
from pathlib import Path

#: Octets of an allocation that goes back to the system as soon as it is freed. Left to itself, glibc
#: keeps the 19 MiB of the first password hash for the next one.
RETURNED_FROM = 1024 * 1024
#: Objects that are there more than before, after which those are looked through that came since. With
#: Python's 700, that took 1.4 % of relaying a message.
COLLECT_AFTER = 10_000
# mallopt(3)
_M_MMAP_THRESHOLD = -3
# madvise(2), from Linux 6.1 on.
_MADV_COLLAPSE = 25
_LARGE_PAGE = 2 * 1024 * 1024
#: What part of a piece of memory must be in use before it is put into large pages.
FILLED = 0.9

_SMAPS = Path("/proc/self/smaps")
_LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def return_large_allocations() -> None:
    """Have large pieces of memory returned to the system; for programs of our own, as it is for all
    of the process. Does nothing where the C library is another one than glibc."""
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, RETURNED_FROM)
    except (AttributeError, OSError, TypeError):
        pass


def keep_what_is_loaded() -> None:
    """Leave all that is there now to no garbage collection any more, and look less often for garbage
    among the rest; for programs of our own.

    A program's classes and functions stay to its end. To go through them takes 40 ms, in which
    nobody is served.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def use_large_pages() -> None:
    """Put the memory that is filled now into large pages; for programs of our own.

    What a connection needs lies all over a program's memory, and to find 4 KiB pages again after
    other programs have run takes a good part of its time. Does nothing on other systems than Linux
    6.1 and later, or where its administrator wants no large pages.
    """
    try:
        if "[never]" in _LARGE_PAGES.read_text():
            return
        with _SMAPS.open(encoding="utf-8", errors="replace") as lines:
            filled = list(_filled(lines))
        madvise = ctypes.CDLL(None).madvise
    except (AttributeError, OSError, TypeError):
        return
    for start, length in filled:
        # The system may have none left, or know of none: then all stays as it is.
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _MADV_COLLAPSE)


def _filled(smaps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Address and octets of what large pages can take, of proc_pid_smaps(5).

    Memory of files is not ours to move, and threads' stacks are nearly empty.
    """
    start = end = 0
    for line in smaps:
        word, _, rest = line.partition(" ")
        if not word.endswith(":"):
            rights, _offset, _device, _inode, *name = rest.split()
            anonymous = rights == "rw-p" and name in ([], ["[heap]"])
            start, end = (int(each, 16) for each in word.split("-")) if anonymous else (0, 0)
        elif word == "Rss:" and end and int(rest.split()[0]) * 1024 >= FILLED * (end - start):
            first = -(-start // _LARGE_PAGE) * _LARGE_PAGE
            length = (end - first) // _LARGE_PAGE * _LARGE_PAGE
            if length > 0:
                yield first, length
