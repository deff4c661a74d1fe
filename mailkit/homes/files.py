"""Files below a home. Every function may block: call it in a thread.

No path is ever given to the system as a whole. From the home each name is opened within the
directory before it, and no symbolic link is followed, so that no exchange of a directory for a
link at the right moment leads out.

What is made, removed or renamed is so on the disk, too, when a function returns.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from mailkit.errors import BeyondEnd, LimitExceeded, OverQuota, PermissionDenied
from mailkit.files import DIRECTORY_RIGHTS, FILE_RIGHTS, FileEntry, FilePath, FileQuota, FileUsage
from mailkit.homes.names import can_be_named
from mailkit.homes.usage import Usage

#: Octets of a file that is read when it is opened.
SMALL = 64 * 1024
#: Octets that are written between two looks at the room on the disk.
CHECK_EVERY = 16 * 1024 * 1024

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO must not keep a thread waiting for its other end.
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
# What fsync(2) says of a directory whose file system has no such thing, or cannot be written to.
_NO_FSYNC = (errno.EINVAL, errno.ENOTSUP, errno.EROFS)
_NO_FILE = "That is not a file"
_NOT_THE_HOME = str.maketrans("", "", "df")

_T = TypeVar("_T")


class Files:
    """What the user of one home does in it.

    :param home: path of a directory that the server has chosen.
    :param max_entries: entries of a directory that are listed.
    :param usage: counts what is there.
    :param min_free: octets of the disk that stay free for others.
    """

    def __init__(
        self, home: str, max_entries: int, usage: Usage | None = None, min_free: int = 0
    ) -> None:
        self._home = home
        self._max_entries = max_entries
        self._usage = usage or Usage(FileQuota())
        self._min_free = min_free

    def measure(self) -> None:
        """Count what is there, unless somebody has lately.

        :raises OSError: the home cannot be read.
        """
        self._usage.measure(self._home)

    def get_usage(self) -> FileUsage:
        """What there is, and may be.

        :raises OSError: the home cannot be read.
        """
        self._usage.measure(self._home, wanted=True)
        return self._usage.tell()

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
        if not path:
            raise IsADirectoryError(errno.EISDIR, "the home")
        with self._parent(path) as (directory, name):
            _check_is_file(directory, name)
            file = self._open(directory, name, os.O_RDONLY)
        try:
            file.read_ahead()
        except BaseException:
            file.close()
            raise
        return file

    def open_to_write(self, path: FilePath, offset: int | None) -> OpenFile:
        """A file that is made, or loses what it has from that octet on; None for its end.

        :raises OverQuota: there is no room for one octet more, or for one more file.
        """
        # Two who append at once both have all that they send in it.
        flags = os.O_WRONLY | (os.O_APPEND if offset is None else 0)
        with self._parent(path) as (directory, name):
            file = self._make(directory, name, flags, must_exist=bool(offset))
            try:
                file.prepare(os.dup(directory), name, offset is None, self._usage, self._min_free)
                file.cut(file.size if offset is None else offset)
            except BaseException:
                file.close()
                raise
        return file

    def _make(self, directory: int, name: str, flags: int, must_exist: bool) -> OpenFile:
        """A file, which is made when there is none."""
        while True:
            try:
                _check_is_file(directory, name)
                return self._open(directory, name, flags)
            except FileNotFoundError:
                if must_exist:
                    raise
            self._usage.check_room()
            self._usage.take(files=1)
            try:
                file = self._open(directory, name, flags | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                # Another session was faster; or faster again, and it is gone.
                self._usage.give_back(files=1)
            except BaseException:
                self._usage.give_back(files=1)
                raise
            else:
                file.is_new = True
                return file

    def _open(self, directory: int, name: str, flags: int) -> OpenFile:
        descriptor = os.open(name, flags | _FILE, 0o600, dir_fd=directory)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise PermissionDenied(_NO_FILE)
        except BaseException:
            os.close(descriptor)
            raise
        return OpenFile(descriptor, status.st_size)

    def make_directory(self, path: FilePath) -> None:
        """:raises OverQuota: there are too many already."""
        with self._parent(path) as (directory, name):
            self._usage.take(files=1)
            try:
                os.mkdir(name, 0o700, dir_fd=directory)
            except BaseException:
                self._usage.give_back(files=1)
                raise
            os.fsync(directory)

    def remove_directory(self, path: FilePath) -> None:
        with self._parent(path) as (directory, name):
            os.rmdir(name, dir_fd=directory)
            self._usage.give_back(files=1)
            os.fsync(directory)

    def remove_file(self, path: FilePath) -> None:
        with self._parent(path) as (directory, name):
            with self._usage.shrinking:
                freed = _freed(directory, name)
                os.unlink(name, dir_fd=directory)
                self._usage.give_back(*freed)
            os.fsync(directory)

    def set_modified(self, path: FilePath, seconds: float) -> None:
        """:raises OSError: there is nothing that FTP shows."""
        self.get_entry(path)
        with self._parent(path) as (directory, name):
            os.utime(name, (seconds, seconds), dir_fd=directory, follow_symlinks=False)

    def rename(self, old: FilePath, new: FilePath) -> None:
        with self._parent(old) as (source, name), self._parent(new) as (target, new_name):
            with self._usage.shrinking:
                freed = _freed(target, new_name) if old != new else FileQuota()
                os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
                self._usage.give_back(*freed)
            # The new name first: two of them are better than none.
            os.fsync(target)
            if old[:-1] != new[:-1]:
                os.fsync(source)


def make_directory(path: str, is_durable: bool = False) -> None:
    """Make a directory that the server has chosen and those above it, durably, where it is not there.

    :param is_durable: if it is there, it has been flushed. Otherwise whoever has made it may do so only
        now, or have been killed before.
    :raises OSError: it cannot be made.
    """
    above = os.path.dirname(path)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        if is_durable:
            return
    except FileNotFoundError:
        if above in ("", path):
            raise
        make_directory(above)
        # Somebody may have been faster.
        make_directory(path)
        return
    for each in (above or ".", path):
        try:
            descriptor = os.open(each, _DIRECTORY & ~os.O_NOFOLLOW)
        except PermissionError:
            # It may be written to and not read. File systems with a journal keep what is in it with
            # what was done before.
            continue
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_FSYNC:
                raise
            continue
        finally:
            os.close(descriptor)
        return


def _check_is_file(directory: int, name: str) -> None:
    """Refuse what must not even be opened, as devices do something then.

    :raises OSError: there is nothing, or a directory.
    :raises PermissionDenied: it is no file.
    """
    mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a directory")
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, "a link")
    if not stat.S_ISREG(mode):
        raise PermissionDenied(_NO_FILE)


def _freed(directory: int, name: str) -> FileQuota:
    """What there will be less when a name is gone."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return FileQuota()
    if stat.S_ISREG(status.st_mode):
        return FileQuota(status.st_size, 1) if status.st_nlink == 1 else FileQuota()
    return FileQuota(0, int(stat.S_ISDIR(status.st_mode)))


class OpenFile:
    """A file of which one thread at a time does something; writing goes on at its end.

    A thread may still be at work when its connection is gone: the descriptor, whose number would
    be given to another file, is closed only after that.

    :param size: octets that it has.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        # Of the directory, whose new name for the file must outlast a power failure, too.
        self._parent = -1
        self._name = ""
        self._appends = False
        #: Made for this upload.
        self.is_new = False
        self._usage = Usage(FileQuota())
        self._min_free = 0
        #: Octets when it was opened.
        self.size = size
        # Where the upload began, and has got to.
        self._begin = self._end = size
        #: All of it, read when it was opened; None of a large file.
        self.content: bytes | None = None
        # There may be something left to do when it is closed, for which the disk is waited for.
        self._dirty = False
        # Octets until the disk is looked at again.
        self._unchecked = -1
        #: Held by the thread that uses :meth:`fileno` or :meth:`write`.
        self.lock = threading.Lock()

    def prepare(self, parent: int, name: str, appends: bool, usage: Usage, min_free: int) -> None:
        """Before it is written to.

        :param parent: descriptor of the directory that it is in, closed with it.
        :param name: that it has in there.
        :param appends: the system puts what is written where the file ends then.
        :param usage: counts what is written.
        :param min_free: octets of the disk that stay free for others.
        """
        self._parent, self._name, self._appends = parent, name, appends
        self._dirty = True
        self._usage, self._min_free = usage, min_free

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

    def read_ahead(self) -> None:
        """Keep what a small file holds, so that nobody comes back for it."""
        if self.size <= SMALL:
            self.content = os.pread(self.fileno(), self.size, 0)

    def read(self, offset: int, count: int) -> bytes:
        """Up to so many octets; none at the end."""
        with self.lock:
            return os.pread(self.fileno(), count, offset)

    def write(self, data: bytes | memoryview) -> None:
        """Add all of it.

        :raises OverQuota: the account has no room for it. What has come of the upload is gone, too,
            and its room is free again.
        :raises OSError: the disk has none; or the file was removed, and nobody would find it.
        """
        rest = memoryview(data)
        self._check_disk(len(rest))
        # Another session may have made it longer, or shorter.
        size = self._look()
        grows = max(0, (size if self._appends else self._end) + len(rest) - size)
        try:
            self._usage.take(grows)
        except OverQuota:
            with self._usage.shrinking:
                self._undo(self._look())
            raise
        try:
            while rest:
                count = os.pwrite(self.fileno(), rest, self._end)
                self._end += count
                rest = rest[count:]
        except BaseException:
            self._usage.give_back(min(grows, len(rest)))
            raise

    def _look(self) -> int:
        """Octets that it has now.

        :raises FileNotFoundError: its last name is gone, and with that its octets count no longer.
        """
        status = os.fstat(self.fileno())
        if not status.st_nlink:
            raise FileNotFoundError(errno.ENOENT, "removed meanwhile")
        return status.st_size

    def _undo(self, size: int) -> None:
        """Make an upload undone, as nobody wants the half of a file.

        :param size: octets that the file has now.
        """
        # lenient: what two sessions have written to one file cannot be told apart.
        if size == self._end:
            os.ftruncate(self.fileno(), self._begin)
            self._usage.give_back(size - self._begin)
            self._end = self._begin
            if self.is_new or not (self._begin or self._appends):
                self._remove()

    def _remove(self) -> None:
        ours = os.fstat(self.fileno())
        try:
            found = os.stat(self._name, dir_fd=self._parent, follow_symlinks=False)
            if not os.path.samestat(ours, found):
                return
            os.unlink(self._name, dir_fd=self._parent)
        except OSError:
            # Removed or renamed meanwhile.
            return
        if ours.st_nlink == 1:
            self._usage.give_back(files=1)

    def _check_disk(self, count: int) -> None:
        self._unchecked -= count
        if self._unchecked < 0:
            self._unchecked = CHECK_EVERY
            disk = os.fstatvfs(self.fileno())
            if disk.f_bavail * disk.f_frsize < self._min_free:
                raise OSError(errno.ENOSPC, "the rest is for others")

    def cut(self, size: int) -> None:
        """Forget what is there from that octet on, to write on from there.

        :raises BeyondEnd: it is not that long.
        :raises OverQuota: not one octet could be written then.
        """
        with self.lock, self._usage.shrinking:
            self._check_disk(0)
            before = self._look()
            # RFC 3659 section 5.3
            if size > before:
                raise BeyondEnd
            if size == before:
                self._usage.check_room()
            else:
                os.ftruncate(self.fileno(), size)
                self._usage.give_back(before - size)
            self._begin = self._end = size

    def sync(self) -> None:
        """Return when the disk has it."""
        with self.lock:
            self._sync()

    def _sync(self) -> None:
        os.fsync(self.fileno())
        if self._parent >= 0:
            os.fsync(self._parent)
        self._dirty = False

    def write_all(self, data: bytes) -> None:
        """Add all of it, and return when the disk has it: :meth:`write` and :meth:`sync`."""
        with self.lock:
            if data:
                self.write(data)
            self._sync()

    def run(self, work: Callable[[OpenFile], _T]) -> _T:
        """Let somebody use it, and nobody close it meanwhile."""
        with self.lock:
            return work(self)

    def close(self) -> None:
        """May be called more than once."""
        with self.lock:
            self._close()

    def close_at_once(self) -> bool:
        """The same if nobody has to wait for a disk or a thread for that; else nothing happens."""
        if self._dirty or not self.lock.acquire(blocking=False):
            return False
        try:
            self._close()
        finally:
            self.lock.release()
        return True

    def _close(self) -> None:
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
