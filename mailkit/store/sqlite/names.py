"""Names that only one of a store's processes has at a time: locks on octets of one file."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
from collections.abc import Callable

#: Name of the file in the store's directory; it stays empty.
NAMES_FILE = "names"
# Locks of a file that was opened (Linux) rather than of a process.
_SET_LOCK: int | None = getattr(fcntl, "F_OFD_SETLK", None)
_FLOCK = struct.Struct("hhqqi4x")


class LockedNames:
    """See :class:`~mailkit.interfaces.IProcessLocks`. The kernel frees the names of a dead process.

    :param directory: of the store.
    """

    def __init__(self, directory: str) -> None:
        path = os.path.join(directory, NAMES_FILE)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._held: set[str] = set()

    def try_lock(self, name: str) -> Callable[[], None] | None:
        if name in self._held or not self._set(name, fcntl.F_WRLCK):
            return None
        self._held.add(name)

        def release() -> None:
            if name in self._held:
                self._held.discard(name)
                self._set(name, fcntl.F_UNLCK)

        return release

    def _set(self, name: str, kind: int) -> bool:
        # Two names share an octet once in 2**62.
        offset = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 2
        try:
            if _SET_LOCK is not None:
                fcntl.fcntl(
                    self._descriptor, _SET_LOCK, _FLOCK.pack(kind, os.SEEK_SET, offset, 1, 0)
                )
            else:
                free = kind == fcntl.F_UNLCK
                wanted = fcntl.LOCK_UN if free else fcntl.LOCK_EX | fcntl.LOCK_NB
                fcntl.lockf(self._descriptor, wanted, 1, offset)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        return True

    def close(self) -> None:
        """Free all names."""
        self._held.clear()
        os.close(self._descriptor)
