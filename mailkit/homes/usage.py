"""What the files of an account take, and may take. Used by threads."""

from __future__ import annotations

import os
import stat
import sys
import threading
import time

from mailkit.errors import OverQuota
from mailkit.files import FileQuota, FileUsage

#: Seconds for which a measurement is good enough for those who log in.
MEASURED_FOR = 60.0
#: Directories below each other that are measured; FTP makes none deeper.
MAX_DEPTH = 100

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Usage:
    """What the files of one account take, counted by all of its sessions in this process.

    Others that change files are noticed when somebody logs in.
    """

    def __init__(self, quota: FileQuota) -> None:
        #: What there may be.
        self.quota = quota
        #: Held while a file becomes shorter or loses a name, so that nothing is given back twice.
        self.shrinking = threading.Lock()
        self._lock = threading.Lock()
        self._octets = 0
        self._files = 0
        # Tells a measurement that something has happened meanwhile.
        self._changes = 0
        self._measured: float | None = None

    @property
    def taken(self) -> FileQuota:
        """What there is."""
        with self._lock:
            return FileQuota(self._octets, self._files)

    def tell(self) -> FileUsage:
        """What there is, and may be."""
        return FileUsage(*self.taken, *self.quota)

    def take(self, octets: int = 0, files: int = 0) -> None:
        """Count more, before it is there.

        :raises OverQuota: that would be too much; nothing is counted.
        """
        with self._lock:
            self._check(octets, files)
            self._octets += octets
            self._files += files
            self._changes += 1

    def check_room(self) -> None:
        """Refuse early what :meth:`take` would refuse of a single octet."""
        with self._lock:
            self._check(1, 0)

    def _check(self, octets: int, files: int) -> None:
        limit = self.quota
        if files and limit.files and self._files + files > limit.files:
            raise OverQuota(f"You may have {limit.files} files and directories, and have them")
        if octets and limit.octets and self._octets + octets > limit.octets:
            raise OverQuota(f"Your files may have {limit.octets} octets, and no more")

    def give_back(self, octets: int = 0, files: int = 0) -> None:
        """Count less, when it is gone."""
        with self._lock:
            self._octets = max(0, self._octets - octets)
            self._files = max(0, self._files - files)
            self._changes += 1

    def measure(self, home: str, *, wanted: bool = False) -> None:
        """Look what there is, unless somebody has lately, or it does not matter.

        :param wanted: it does without a limit, too.
        :raises OSError: the home cannot be read.
        """
        if not (wanted or self.quota.octets or self.quota.files):
            return
        with self._lock:
            if self._measured is not None and time.monotonic() - self._measured < MEASURED_FOR:
                return
            changes = self._changes
        found = measure(home)
        with self._lock:
            # Whoever writes just now has counted what this may have missed.
            if changes == self._changes:
                self._octets, self._files = found
                self._measured = time.monotonic()


class _TooDeep(Exception):
    """There are more directories below each other than are measured."""


def measure(home: str) -> FileQuota:
    """What is below a directory; links are not followed, and a file with two names counts once.

    Somebody who nests directories deeper than :data:`MAX_DEPTH`, by renaming them, has as much as
    nobody may have.

    :raises OSError: the directory itself cannot be read.
    """
    directory = os.open(home, _DIRECTORY)
    try:
        return _measure(directory, 0, set())
    except _TooDeep:
        return FileQuota(sys.maxsize, sys.maxsize)
    finally:
        os.close(directory)


def _measure(directory: int, depth: int, seen: set[tuple[int, int]]) -> FileQuota:
    if depth > MAX_DEPTH:
        raise _TooDeep
    octets = files = 0
    inner: list[str] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                # Gone meanwhile.
                continue
            place = status.st_dev, status.st_ino
            if stat.S_ISDIR(status.st_mode):
                inner.append(entry.name)
                files += 1
            elif stat.S_ISREG(status.st_mode) and place not in seen:
                if status.st_nlink > 1:
                    seen.add(place)
                octets += status.st_size
                files += 1
    for name in inner:
        try:
            below = os.open(name, _DIRECTORY, dir_fd=directory)
        except OSError:
            # Gone meanwhile, or not ours to read.
            continue
        try:
            found = _measure(below, depth + 1, seen)
        finally:
            os.close(below)
        octets += found.octets
        files += found.files
    return FileQuota(octets, files)
