"""Copying the octets of spooled files, inside the system where it can do that."""

from __future__ import annotations

import errno
import os

from mailkit.errors import StoreUnavailable

# Octets that are copied at once where that goes through our memory.
_COPIED = 256 * 1024
# Why the system does not copy between files.
_CANNOT_COPY = frozenset((errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM))


def open_spool(path: str, flags: int) -> int:
    """A spool's file.

    :raises StoreUnavailable: it is not there; that is no failure of the disk.
    """
    try:
        return os.open(path, flags)
    except FileNotFoundError as error:
        raise StoreUnavailable from error


def copy_octets(source: int, start: int, target: int, position: int, count: int) -> None:
    """Copy octets between files, inside the system where it can do that.

    :raises OSError: the disk is full, or ``source`` has fewer octets.
    """
    copy_range = getattr(os, "copy_file_range", None)
    while count:
        try:
            if copy_range is None:
                done = os.pwrite(target, os.pread(source, min(count, _COPIED), start), position)
            else:
                done = copy_range(source, target, count, start, position)
        except OSError as error:
            if copy_range is None or error.errno not in _CANNOT_COPY:
                raise
            copy_range = None
            continue
        if not done:
            raise OSError(errno.EIO, "A file has fewer octets than it should")
        start += done
        position += done
        count -= done
