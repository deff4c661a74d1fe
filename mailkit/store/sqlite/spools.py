"""Directories for what is being received, one for each process that has the store open."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import suppress


class SpoolDirectory:
    """A process's own directory; the kernel releases its lock when the process dies.

    :param parent: where the directories of all processes are.
    :raises OSError: the disk refuses.
    """

    def __init__(self, parent: str) -> None:
        self._descriptor = -1
        while self._descriptor < 0:
            self.path = tempfile.mkdtemp(prefix="process-", dir=parent)
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, self.path):
                self._descriptor = descriptor
            else:
                # Taken for that of a dead process before we had the lock.
                os.close(descriptor)

    def release(self) -> None:
        """Remove the directory with what nobody has taken."""
        if self._descriptor >= 0:
            _remove(self.path)
            os.close(self._descriptor)
            self._descriptor = -1


def sweep_spools(parent: str) -> None:
    """Remove what processes that died had not handed over."""
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        # What is not ours, or a disk that cannot be written, which the index will tell.
        with suppress(OSError):
            if not os.path.isdir(path):
                os.unlink(path)
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(descriptor, path):
                    _remove(path)
            finally:
                os.close(descriptor)


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _remove(path: str) -> None:
    with suppress(OSError):
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))
        os.rmdir(path)
