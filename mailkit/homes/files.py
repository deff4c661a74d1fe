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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from mailkit.errors import BeyondEnd, LimitExceeded, PermissionDenied
from mailkit.homes.names import can_be_named
from mailkit.model import DIRECTORY_RIGHTS, FILE_RIGHTS, FileEntry, FilePath

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO must not keep a thread waiting for its other end.
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NOT_THE_HOME = str.maketrans("", "", "df")

_T = TypeVar("_T")


class Files:
    """What the user of one home does in it.

    :param home: path of a directory that the server has chosen.
    :param max_entries: entries of a directory that are listed.
    """

    def __init__(self, home: str, max_entries: int) -> None:
        self._home = home
        self._max_entries = max_entries

    @contextmanager
    def _directory(self, path: FilePath) -> Iterator[int]:
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
    def _parent(self, path: FilePath) -> Iterator[tuple[int, str]]:
        """The directory that holds a place, and its name in there."""
        if not path:
            raise PermissionDenied("Your home directory itself cannot be changed")
        with self._directory(path[:-1]) as directory:
            yield directory, path[-1]

    def get_entry(self, path: FilePath) -> FileEntry:
        """What is at that place.

        :raises OSError: nothing that FTP shows.
        """
        if not path:
            with self._directory(path) as directory:
                entry = _entry("/", os.fstat(directory))
            # It is neither removed nor renamed.
            return entry._replace(rights=entry.rights.translate(_NOT_THE_HOME))
        with self._parent(path) as (directory, name):
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not _is_shown(found):
            raise FileNotFoundError(errno.ENOENT, "a link or a device")
        return _entry(name, found)

    def list_entries(self, path: FilePath) -> list[FileEntry]:
        """What is in a directory, by name. Links and devices are left out.

        :raises OSError: there is no such directory.
        :raises LimitExceeded: there are too many.
        """
        found: list[FileEntry] = []
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
                    raise LimitExceeded(text)
                found.append(_entry(item.name, status))
        found.sort()
        return found

    def open_to_read(self, path: FilePath) -> OpenFile:
        """A file."""
        return self._open(path, os.O_RDONLY)

    def open_to_write(self, path: FilePath, offset: int | None) -> OpenFile:
        """A file that is made, or loses what it has from that octet on; None for its end."""
        if offset is None:
            # Two who append at once both have all that they send in it.
            return self._open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        file = self._open(path, os.O_WRONLY | (0 if offset else os.O_CREAT))
        if offset > file.size:
            file.close()
            # RFC 3659 section 5.3
            raise BeyondEnd
        file.cut(offset)
        return file

    def _open(self, path: FilePath, flags: int) -> OpenFile:
        with self._parent(path) as (directory, name):
            descriptor = os.open(name, flags | _FILE, 0o600, dir_fd=directory)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise PermissionDenied("That is not a file")
                # The name of one that is made must outlast a power failure, too.
                parent = os.dup(directory) if flags & os.O_CREAT else -1
            except BaseException:
                os.close(descriptor)
                raise
        return OpenFile(descriptor, status.st_size, parent)

    def make_directory(self, path: FilePath) -> None:
        with self._parent(path) as (directory, name):
            os.mkdir(name, 0o700, dir_fd=directory)

    def remove_directory(self, path: FilePath) -> None:
        with self._parent(path) as (directory, name):
            os.rmdir(name, dir_fd=directory)

    def remove_file(self, path: FilePath) -> None:
        with self._parent(path) as (directory, name):
            os.unlink(name, dir_fd=directory)

    def rename(self, old: FilePath, new: FilePath) -> None:
        with self._parent(old) as (source, name), self._parent(new) as (target, new_name):
            os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)


class OpenFile:
    """A file of which one thread at a time does something; writing goes on at its end.

    A thread may still be at work when its connection is gone: the descriptor, whose number would
    be given to another file, is closed only after that.

    :param size: octets that it has.
    :param parent: descriptor of the directory it is in, for one that may have been made.
    """

    def __init__(self, descriptor: int, size: int, parent: int = -1) -> None:
        self._descriptor = descriptor
        self._parent = parent
        #: Octets when it was opened.
        self.size = size
        self._end = size
        #: Held by the thread that uses :meth:`fileno` or :meth:`write`.
        self.lock = threading.Lock()

    def __del__(self) -> None:
        # Opened by a thread for somebody who has not waited for it.
        self.close()

    def fileno(self) -> int:
        """The descriptor.

        :raises OSError: the file is closed.
        """
        if self._descriptor < 0:
            raise OSError(errno.EBADF, "closed")
        return self._descriptor

    def read(self, offset: int, count: int) -> bytes:
        """Up to so many octets; none at the end."""
        with self.lock:
            return os.pread(self.fileno(), count, offset)

    def write(self, data: bytes | memoryview) -> None:
        """Add all of it."""
        rest = memoryview(data)
        while rest:
            count = os.pwrite(self.fileno(), rest, self._end)
            self._end += count
            rest = rest[count:]

    def cut(self, size: int) -> None:
        """Forget what is there from that octet on."""
        with self.lock:
            os.ftruncate(self.fileno(), size)
            self._end = size

    def sync(self) -> None:
        """Return when the disk has it."""
        with self.lock:
            os.fsync(self.fileno())
            if self._parent >= 0:
                os.fsync(self._parent)

    def run(self, work: Callable[[OpenFile], _T]) -> _T:
        """Let somebody use it, and nobody close it meanwhile."""
        with self.lock:
            return work(self)

    def close(self) -> None:
        """May be called more than once."""
        with self.lock:
            open_ones = [self._descriptor, self._parent]
            self._descriptor = self._parent = -1
            for descriptor in open_ones:
                if descriptor >= 0:
                    os.close(descriptor)


def _is_shown(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)


def _entry(name: str, status: os.stat_result) -> FileEntry:
    unique = f"{status.st_dev:x}g{status.st_ino:x}"
    is_directory = stat.S_ISDIR(status.st_mode)
    rights = DIRECTORY_RIGHTS if is_directory else FILE_RIGHTS
    return FileEntry(name, is_directory, status.st_size, status.st_mtime, unique, rights)
