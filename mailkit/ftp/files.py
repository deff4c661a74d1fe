"""Files below a home. Every function may block: call it in a thread.

No path is ever given to the system as a whole. From the home each name is opened within the
directory before it, and no symbolic link is followed, so that no exchange of a directory for a
link at the right moment leads out.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mailkit.ftp.grammar import CommandError, Entry, Path, can_be_named

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO must not keep a thread waiting for its other end.
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Files:
    """What the user of one home does in it.

    :param home: path of a directory that the server has chosen.
    :param max_entries: entries of a directory that are listed.
    """

    def __init__(self, home: str, max_entries: int) -> None:
        self._home = home
        self._max_entries = max_entries

    @contextmanager
    def _directory(self, path: Path) -> Iterator[int]:
        """A descriptor of the directory at that place.

        :raises OSError: there is none, or a link is on the way.
        """
        current = os.open(self._home, _DIRECTORY)
        try:
            for name in path:
                inner = os.open(name, _DIRECTORY, dir_fd=current)
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    @contextmanager
    def _parent(self, path: Path) -> Iterator[tuple[int, str]]:
        """The directory that holds a place, and its name in there."""
        if not path:
            raise CommandError("Your home directory itself cannot be changed", 550)
        with self._directory(path[:-1]) as directory:
            yield directory, path[-1]

    def check_directory(self, path: Path) -> None:
        """:raises OSError: there is no such directory."""
        with self._directory(path):
            return

    def get_entry(self, path: Path) -> Entry:
        """What is at that place.

        :raises OSError: nothing that FTP shows.
        """
        if not path:
            with self._directory(path) as directory:
                return _entry("/", os.fstat(directory))
        with self._parent(path) as (directory, name):
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not _is_shown(found):
            raise FileNotFoundError(errno.ENOENT, "a link or a device")
        return _entry(name, found)

    def list_entries(self, path: Path) -> list[Entry]:
        """What is in a directory, by name; a file by itself. Links and devices are left out.

        :raises OSError: there is nothing at that place.
        :raises CommandError: there are too many.
        """
        if path and not (entry := self.get_entry(path)).is_directory:
            return [entry]
        found: list[Entry] = []
        with self._directory(path) as directory, os.scandir(directory) as entries:
            for item in entries:
                if not can_be_named(item.name):
                    continue
                try:
                    status = item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    # Gone meanwhile.
                    continue
                if not _is_shown(status):
                    continue
                if len(found) == self._max_entries:
                    text = f"That directory has more than {self._max_entries} entries"
                    raise CommandError(text, 550)
                found.append(_entry(item.name, status))
        found.sort()
        return found

    def open_to_read(self, path: Path, offset: int) -> OpenFile:
        """A file, from some octet on."""
        return self._open(path, os.O_RDONLY, offset)

    def open_to_write(self, path: Path, offset: int) -> OpenFile:
        """A file that is made, or loses what it has from that octet on."""
        file = self._open(path, os.O_WRONLY | (0 if offset else os.O_CREAT), offset)
        file.truncate(offset)
        return file

    def open_to_append(self, path: Path) -> OpenFile:
        """A file that is made, or goes on where it ends."""
        return self._open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0)

    def _open(self, path: Path, flags: int, offset: int) -> OpenFile:
        with self._parent(path) as (directory, name):
            descriptor = os.open(name, flags | _FILE, 0o600, dir_fd=directory)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise CommandError("That is not a file", 550)
            if offset > status.st_size:
                # RFC 3659 section 5.3
                raise CommandError("REST is beyond the end of the file", 554)
            os.lseek(descriptor, offset, os.SEEK_SET)
        except BaseException:
            os.close(descriptor)
            raise
        return OpenFile(descriptor)

    def make_directory(self, path: Path) -> None:
        with self._parent(path) as (directory, name):
            os.mkdir(name, 0o700, dir_fd=directory)

    def remove_directory(self, path: Path) -> None:
        with self._parent(path) as (directory, name):
            os.rmdir(name, dir_fd=directory)

    def remove_file(self, path: Path) -> None:
        with self._parent(path) as (directory, name):
            os.unlink(name, dir_fd=directory)

    def rename(self, old: Path, new: Path) -> None:
        with self._parent(old) as (source, name), self._parent(new) as (target, new_name):
            os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)


class OpenFile:
    """A file of which one thread at a time does something.

    A thread may still be at work when its connection is gone: the descriptor, whose number would
    be given to another file, is closed only after that.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def __del__(self) -> None:
        # Opened by a thread for somebody who has not waited for it.
        self.close()

    def read(self, count: int) -> bytes:
        """Up to so many octets; none at the end."""
        with self._lock:
            return os.read(self._descriptor, count)

    def write(self, data: bytes) -> None:
        """Write all of it."""
        rest = memoryview(data)
        with self._lock:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def truncate(self, size: int) -> None:
        with self._lock:
            os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        """Return when the disk has it."""
        with self._lock:
            os.fsync(self._descriptor)

    def close(self) -> None:
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)


def _is_shown(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)


def _entry(name: str, status: os.stat_result) -> Entry:
    unique = f"{status.st_dev:x}g{status.st_ino:x}"
    is_directory = stat.S_ISDIR(status.st_mode)
    return Entry(name, is_directory, status.st_size, status.st_mtime, unique)
