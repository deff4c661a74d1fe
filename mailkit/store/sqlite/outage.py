"""What a failure of the disk or of the index means to whoever asked for something."""

from __future__ import annotations

import errno
import sqlite3

from mailkit.errors import StoreFull, StoreUnavailable

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def refusal(error: BaseException | None) -> StoreUnavailable:
    """The error to show: :class:`StoreFull` when there is no room."""
    if isinstance(error, OSError):
        return StoreFull() if error.errno in _FULL else StoreUnavailable()
    # Python 3.10 does not tell SQLITE_FULL in any other way.
    if isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error):
        return StoreFull()
    return StoreUnavailable()


def is_unsure(error: BaseException) -> bool:
    """Whether nobody knows after an error which octets of the index are on the disk.

    What a failed flush was for is not flushed by the next one, which may succeed all the same.
    """
    return isinstance(error, sqlite3.OperationalError) and "disk I/O error" in str(error)
