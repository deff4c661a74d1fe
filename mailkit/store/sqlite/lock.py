"""The lock that makes a second writer of one store impossible."""

from __future__ import annotations

import fcntl
import os
from typing import NamedTuple

from mailkit.errors import StoreUnavailable

#: Name of the lock's file in the store's directory.
LOCK_NAME = "lock"


class Holder(NamedTuple):
    """Who has a store's directory."""

    process: str
    #: Of what it speaks with guests (see :mod:`~mailkit.store.sqlite.codec`); empty for a command,
    #: which has none.
    fingerprint: str


class InUse(StoreUnavailable):
    """Another process holds the directory."""

    def __init__(self, directory: str, holder: Holder) -> None:
        super().__init__(f"The mail store {directory} is in use by process {holder.process}")
        self.holder = holder


class DirectoryLock:
    """Holds a store's directory until :meth:`release`; the kernel releases it when we die.

    :param fingerprint: see :class:`Holder`.
    :raises InUse: another process holds it; the text has that process's number.
    :raises OSError: the lock's file can't be written.
    """

    def __init__(self, directory: str, fingerprint: str = "") -> None:
        path = os.path.join(directory, LOCK_NAME)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _read(self._descriptor)
            os.close(self._descriptor)
            raise InUse(directory, holder) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n{fingerprint}\n".encode(), 0)
        except OSError:
            # Or nobody could have the directory as long as this process lives.
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        """Let go of the directory."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_holder(directory: str) -> Holder:
    """Who has a store's directory, if somebody has it, or had it last.

    :raises OSError: nobody ever had it.
    """
    descriptor = os.open(os.path.join(directory, LOCK_NAME), os.O_RDONLY)
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Holder:
    lines = os.pread(descriptor, 100, 0).decode("ascii", "replace").split("\n")
    return Holder(lines[0] or "(unknown)", lines[1] if len(lines) > 2 else "")
