"""The lock that makes a second writer of one store impossible."""

from __future__ import annotations

import fcntl
import os

from mailkit.errors import StoreUnavailable

#: Name of the lock's file in the store's directory.
LOCK_NAME = "lock"


class DirectoryLock:
    """Holds a store's directory until :meth:`release`; the kernel releases it when we die.

    :raises StoreUnavailable: another process holds it; the text has that process's number.
    """

    def __init__(self, directory: str) -> None:
        path = os.path.join(directory, LOCK_NAME)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise StoreUnavailable(
                f"The mail store {directory} is in use by process {holder or '(unknown)'}"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go of the directory."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
