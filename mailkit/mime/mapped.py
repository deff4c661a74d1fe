"""Files that are mapped to memory, read so that little of them is in the process at any time. No I/O.

What has been read stays in the system's cache, but counts no more as memory of this process: a
message of 100 MiB would add that much otherwise.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

#: Octets that are looked at in one piece.
CHUNK = 1 << 20

_PAGE = mmap.PAGESIZE


def chunks(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The pieces of a range, one behind the other."""
    for begin in range(start, end, CHUNK):
        yield begin, min(begin + CHUNK, end)


def let_go(data: mmap.mmap, start: int, end: int) -> None:
    """Take the pages of a range out of the process; they can still be read."""
    first = start - start % _PAGE
    last = min(end - end % _PAGE, len(data))
    # Not everywhere; Linux has it.
    if last > first and hasattr(mmap, "MADV_DONTNEED"):
        data.madvise(mmap.MADV_DONTNEED, first, last - first)


def find(data: mmap.mmap, needle: bytes, start: int, end: int) -> int:
    """As ``data.find``."""
    for begin, stop in chunks(start, end):
        found = data.find(needle, begin, min(stop + len(needle) - 1, end))
        if found >= 0:
            return found
        let_go(data, begin, stop)
    return -1


def count(data: mmap.mmap, octet: bytes, start: int, end: int) -> int:
    """As ``data[start:end].count(octet)``, of one octet."""
    total = 0
    for begin, stop in chunks(start, end):
        total += data[begin:stop].count(octet)
        let_go(data, begin, stop)
    return total
