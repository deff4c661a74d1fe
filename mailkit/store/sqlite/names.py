"""Names that only one of a store's processes has at a time: locks on octets of some files."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
from collections.abc import Callable
from functools import lru_cache

#: Directory of the files in the store's directory; they stay empty.
NAMES_DIRECTORY = "locks"
#: Held by whoever drops segments of the log, and by a backup, for which they must stay.
SEGMENTS = "segments of the log"
#: The system looks through all locks of a file: many connections have one each.
FILES = 16
#: Names of which it is known where they stand: the same users come again and again.
KNOWN_NAMES = 10_000
# Locks of a file that was opened (Linux) rather than of a process.
_SET_LOCK: int | None = getattr(fcntl, "F_OFD_SETLK", None)
_FLOCK = struct.Struct("hhqqi4x")


@lru_cache(KNOWN_NAMES)
def _place(name: str) -> tuple[str, int]:
    """The file, and the octet of it, that stand for a name."""
    digest = hashlib.sha256(name.encode()).digest()
    # Two names share an octet of a file once in 2**62.
    return f"{digest[8] % FILES:02d}", int.from_bytes(digest[:8], "big") >> 2


def is_locked(directory: str, name: str) -> bool:
    """Whether a process has a name of a store that may be open elsewhere."""
    if not os.path.exists(os.path.join(directory, NAMES_DIRECTORY, _place(name)[0])):
        # Nor is it made here: if another user did, it could not be opened afterwards.
        return False
    names = LockedNames(directory)
    try:
        return names.try_lock(name) is None
    finally:
        names.close()


class LockedNames:
    """See :class:`~mailkit.interfaces.IProcessLocks`. The kernel frees the names of a dead process.

    :param directory: of the store.
    """

    def __init__(self, directory: str) -> None:
        self._directory = os.path.join(directory, NAMES_DIRECTORY)
        if not os.path.isdir(self._directory):
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            self._give_away(self._directory)
        self._descriptors: dict[str, int] = {}
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
        file, offset = _place(name)
        descriptor = self._open(file)
        try:
            if _SET_LOCK is not None:
                fcntl.fcntl(descriptor, _SET_LOCK, _FLOCK.pack(kind, os.SEEK_SET, offset, 1, 0))
            else:
                free = kind == fcntl.F_UNLCK
                wanted = fcntl.LOCK_UN if free else fcntl.LOCK_EX | fcntl.LOCK_NB
                fcntl.lockf(descriptor, wanted, 1, offset)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        return True

    def _open(self, file: str) -> int:
        descriptor = self._descriptors.get(file)
        if descriptor is None:
            path = os.path.join(self._directory, file)
            descriptor = self._descriptors[file] = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            self._give_away(path)
        return descriptor

    def _give_away(self, path: str) -> None:
        """Give what a command of root's has made to the store's user, whose server needs it."""
        if os.geteuid() == 0:
            owner = os.stat(os.path.dirname(self._directory))
            os.chown(path, owner.st_uid, owner.st_gid)

    def close(self) -> None:
        """Free all names."""
        self._held.clear()
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
