"""What becomes of memory that a server no longer needs."""

from __future__ import annotations

import ctypes
import gc

#: Octets of an allocation that goes back to the system as soon as it is freed. Left to itself, glibc
#: keeps the 19 MiB of the first password hash for the next one.
RETURNED_FROM = 1024 * 1024
# mallopt(3)
_M_MMAP_THRESHOLD = -3


def return_large_allocations() -> None:
    """Have large pieces of memory returned to the system; for programs of our own, as it is for all
    of the process. Does nothing where the C library is another one than glibc."""
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, RETURNED_FROM)
    except (AttributeError, OSError, TypeError):
        pass


def keep_what_is_loaded() -> None:
    """Leave all that is there now to no garbage collection any more; for programs of our own.

    A program's classes and functions stay to its end. To go through them takes 40 ms, in which
    nobody is served.
    """
    gc.collect()
    gc.freeze()
