"""What the store asks of its disk: to keep what was written, and how much it still takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def free_octets(directory: str) -> int:
    """Octets that are free on a directory's disk.

    :raises OSError: the system does not tell.
    """
    disk = os.statvfs(directory)
    # Some file systems do not count.
    return disk.f_bavail * disk.f_frsize if disk.f_blocks else sys.maxsize


def sync_file(path: str) -> None:
    """Make a file's octets durable.

    :raises OSError: the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: str) -> None:
    """Make names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


#: Makes a file's octets durable; not every system has the one that leaves its times alone.
flush_file: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
