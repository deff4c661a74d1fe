"""Copying directories so that a second copy shares with the first what has not changed.

Nothing is durable before :func:`sync_tree`: files are flushed when all are written.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from mailkit.store.sqlite.disk import sync_directory, sync_file

# Why a file system makes no second name of a file.
_CANNOT_LINK = frozenset(
    (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES)
)


@dataclass
class Copied:
    """What a copy took."""

    #: Files that were copied, and their octets.
    files: int = 0
    octets: int = 0
    #: Files that are in the copy before, and were not copied again.
    linked: int = 0


def link(old: str, new: str) -> bool:
    """Give a file of the copy before a second name; False where the file system has none.

    :raises OSError: for another reason.
    """
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        return False
    return True


def copy_file(source: str, target: str, before: str | None, copied: Copied) -> None:
    """Copy a file with its rights and time, or link it to the copy before.

    It is the same where length and time are. One that is gone meanwhile is left out.

    :raises OSError: the disk refuses.
    """
    with suppress(FileNotFoundError):
        found = os.lstat(source)
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(source), target)
            return
        if not stat.S_ISREG(found.st_mode):
            return
        if before is not None and _is_same(before, found) and link(before, target):
            copied.linked += 1
            return
        shutil.copyfile(source, target)
        os.chmod(target, stat.S_IMODE(found.st_mode))
        # The time from before: what is written meanwhile is copied again the next time.
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
        copied.files += 1
        copied.octets += found.st_size


def _is_same(before: str, found: os.stat_result) -> bool:
    try:
        old = os.lstat(before)
    except OSError:
        return False
    return (
        stat.S_ISREG(old.st_mode)
        and (old.st_size, old.st_mtime_ns) == (found.st_size, found.st_mtime_ns)
        and stat.S_IMODE(old.st_mode) == stat.S_IMODE(found.st_mode)
    )


def copy_tree(
    source: str,
    target: str,
    before: str | None,
    copied: Copied,
    left_out: Collection[str] = (),
) -> None:
    """Copy what is below a directory, as :func:`copy_file` does, into another that exists.

    :param before: the copy before, or None.
    :param left_out: names that are not copied, where they begin the path.
    :raises OSError: the disk refuses.
    """
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            names = sorted(os.listdir(os.path.join(source, folder)))
        except FileNotFoundError:
            continue
        for name in names:
            if not folder and name in left_out:
                continue
            path = os.path.join(folder, name)
            old, new = os.path.join(source, path), os.path.join(target, path)
            if os.path.isdir(old) and not os.path.islink(old):
                os.mkdir(new, 0o700)
                os.chmod(new, stat.S_IMODE(os.stat(old).st_mode) | stat.S_IRWXU)
                waiting.append(path)
            else:
                copy_file(old, new, before and os.path.join(before, path), copied)


def sync_tree(directory: str) -> None:
    """Make all that is below a directory durable, but files that have another name.

    Those are in the copy before, too, which is durable already.

    :raises OSError: the disk refuses.
    """
    _write_out(directory)
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            path = os.path.join(folder, name)
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
                sync_file(path)
        sync_directory(folder)


def _write_out(directory: str) -> None:
    """Let the file system write what it holds back, in its own order.

    Nothing relies on it, as not each tells of errors: it leaves little to do for the flushes of the
    files, which would take a transaction of the file system each.
    """
    syncfs = getattr(ctypes.CDLL(None), "syncfs", None)
    if syncfs is not None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            syncfs(descriptor)
        finally:
            os.close(descriptor)


def own_tree(directory: str, uid: int, gid: int) -> None:
    """Give everything in a directory to a user."""
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files):
            os.chown(os.path.join(folder, name), uid, gid, follow_symlinks=False)
    os.chown(directory, uid, gid)
