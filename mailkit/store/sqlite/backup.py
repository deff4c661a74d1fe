"""``mailkit backup``: a store as it is at one moment, while a server may be changing it.

The index is copied first, in one transaction of SQLite. The log only ever grows at its end: what the
copied index knows of it stays as it is, and is copied afterwards, however long that takes. The
maintenance of a running server drops no segment meanwhile.

A segment that the backup before has is not copied again, but linked: segments of backups are never
written to. What is made has another name until it is whole and durable. See
:mod:`~mailkit.store.sqlite.generations`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

from mailkit.errors import StoreCorrupt, StoreUnavailable
from mailkit.store.sqlite.copying import copy_octets
from mailkit.store.sqlite.disk import sync_directory
from mailkit.store.sqlite.door import SOCKET_NAME
from mailkit.store.sqlite.generations import (
    ALSO,
    MANIFEST_NAME,
    UNFINISHED,
    generation_name,
    is_generation,
    list_generations,
    read_manifest,
    refuse_backup,
    write_manifest,
)
from mailkit.store.sqlite.lock import LOCK_NAME
from mailkit.store.sqlite.migrations import MIGRATIONS
from mailkit.store.sqlite.names import NAMES_DIRECTORY, SEGMENTS, LockedNames
from mailkit.store.sqlite.recent import CHANGES
from mailkit.store.sqlite.repair import NEW_INDEX
from mailkit.store.sqlite.schema import INDEX_NAME, connect
from mailkit.store.sqlite.segments import segment_name
from mailkit.store.sqlite.trees import Copied, copy_file, copy_tree, link, sync_tree
from mailkit.store.sqlite.versions import refuse_newer, version_of

#: Seconds until a backup gives up that cannot keep the maintenance from dropping segments.
PATIENCE = 60.0
_INTERVAL = 0.05
#: Octets at either end of a segment that tell whether it is the one that was copied before.
ENDS = 4096
# What is not a file of the store as the others are: it is copied otherwise, or is of the moment.
_LEFT_OUT = frozenset(
    (
        *(LOCK_NAME, NAMES_DIRECTORY, SOCKET_NAME, CHANGES, MANIFEST_NAME, ALSO, "log", "tmp"),
        *(
            name + end
            for name in (INDEX_NAME, NEW_INDEX)
            for end in ("", "-wal", "-shm", "-journal")
        ),
    )
)


@dataclass
class BackupReport:
    """What a backup did."""

    #: The new backup's directory.
    path: str = ""
    segments: Copied = field(default_factory=Copied)
    #: Everything besides the log and the index.
    files: Copied = field(default_factory=Copied)
    #: Octets of the index.
    index_octets: int = 0
    #: Names of older backups that were removed.
    removed: list[str] = field(default_factory=list)


def back_up(
    directory: str,
    destination: str,
    *,
    keep: int = 1,
    also: Sequence[str] = (),
    clock: Callable[[], float] = time.time,
) -> BackupReport:
    """Make a backup of a store, and then remove the older ones of it.

    :param destination: a directory for the backups of this store; made if it is missing.
    :param keep: how many backups are there afterwards, at least 1.
    :param also: files and directories from elsewhere that are copied too.
    :raises StoreUnavailable: the store can't be read, or the destination not written.
    :raises StoreCorrupt: the log lacks what the index knows; nothing is removed then.
    """
    directory, destination = os.path.realpath(directory), os.path.realpath(destination)
    refuse_backup(directory)
    if _is_within(destination, directory):
        raise StoreUnavailable(f"{destination} is inside the store")
    also = _outermost(also)
    for path in also:
        if not os.path.exists(path):
            raise StoreUnavailable(f"{path}: there is no such file")
        if _is_within(destination, path):
            raise StoreUnavailable(f"{destination} is inside {path}")
    try:
        os.makedirs(destination, mode=0o700, exist_ok=True)
        with _alone(destination), _whole_log(directory):
            return _back_up(directory, destination, keep, also, clock())
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"The backup failed: {error}") from error


def _is_within(path: str, directory: str) -> bool:
    return os.path.commonpath((path, directory)) == directory


def _outermost(paths: Iterable[str]) -> list[str]:
    """Real paths without those that are within another one."""
    found = {os.path.realpath(path) for path in paths}
    return [
        path
        for path in sorted(found)
        if not any(_is_within(path, other) for other in found if other != path)
    ]


@contextmanager
def _alone(destination: str) -> Iterator[None]:
    """Keep other backups out of the destination."""
    descriptor = os.open(destination, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreUnavailable(f"Another backup to {destination} is at work") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _whole_log(directory: str) -> Iterator[None]:
    """See to it that no segment is dropped."""
    with closing(LockedNames(directory)) as names:
        end = time.monotonic() + PATIENCE
        while names.try_lock(SEGMENTS) is None:
            if time.monotonic() > end:
                raise StoreUnavailable(f"Another backup of {directory} is at work")
            time.sleep(_INTERVAL)
        yield


def _back_up(
    directory: str, destination: str, keep: int, also: Sequence[str], now: float
) -> BackupReport:
    known = list_generations(destination)
    previous = os.path.join(destination, known[-1][1]) if known else None
    if previous is not None:
        other = read_manifest(previous).get("store")
        if other != directory:
            raise StoreUnavailable(
                f"{destination} has backups of another store, {other}; name another directory"
            )
    _remove_unfinished(destination)
    name = generation_name(known[-1][0] + 1 if known else 1, now)
    partial = os.path.join(destination, name + UNFINISHED)
    report = BackupReport(os.path.join(destination, name))
    os.mkdir(partial, 0o700)
    try:
        segments = _copy_index(directory, partial, report)
        _copy_segments(directory, partial, previous, segments, report.segments)
        copy_tree(directory, partial, previous, report.files, _LEFT_OUT)
        _copy_also(partial, previous, also, report.files)
        values = {
            "store": directory,
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        }
        write_manifest(partial, values)
        sync_tree(partial)
        os.rename(partial, report.path)
        sync_directory(destination)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    for _, old in known[: len(known) + 1 - keep]:
        path = os.path.join(destination, old)
        # It is no backup any more from now on.
        os.rename(path, path + UNFINISHED)
        shutil.rmtree(path + UNFINISHED)
        report.removed.append(old)
    return report


def _remove_unfinished(destination: str) -> None:
    for name in os.listdir(destination):
        if name.endswith(UNFINISHED) and is_generation(name.removesuffix(UNFINISHED)):
            shutil.rmtree(os.path.join(destination, name))


def _copy_index(directory: str, partial: str, report: BackupReport) -> list[tuple[int, int]]:
    """Copy the index as it is now; gives numbers and sizes of the segments that it knows."""
    path = os.path.join(partial, INDEX_NAME)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    index = os.path.join(directory, INDEX_NAME)
    if not os.path.exists(index):
        raise StoreUnavailable(f"There is no mail store in {directory}")
    with closing(connect(index, read_only=True)) as source, closing(connect(path)) as target:
        refuse_newer(version_of(source), len(MIGRATIONS))
        # All in one step: it would begin again whenever the server writes between two.
        source.backup(target)
        # It is read where nothing can be written, too.
        target.execute("PRAGMA journal_mode = DELETE")
        rows = target.execute("SELECT id, size FROM segment ORDER BY id").fetchall()
    report.index_octets = os.path.getsize(path)
    return [(int(number), int(size)) for number, size in rows]


def _copy_segments(
    directory: str,
    partial: str,
    previous: str | None,
    segments: Sequence[tuple[int, int]],
    copied: Copied,
) -> None:
    os.mkdir(os.path.join(partial, "log"), 0o700)
    for number, size in segments:
        name = os.path.join("log", segment_name(number))
        path, new = os.path.join(directory, name), os.path.join(partial, name)
        try:
            source = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise _damaged(number, "missing") from None
        try:
            if os.fstat(source).st_size < size:
                raise _damaged(number, "shorter than the index says")
            old = previous and os.path.join(previous, name)
            if old and _is_same(source, old, size) and link(old, new):
                copied.linked += 1
                continue
            target = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                copy_octets(source, 0, target, 0, size)
            finally:
                os.close(target)
            copied.files += 1
            copied.octets += size
        finally:
            os.close(source)


def _damaged(number: int, what: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"Segment {number} of the log is {what}; no backup was made, and those that are there are"
        " as they were. See mailkit check, and mailkit repair"
    )


def _is_same(source: int, old: str, size: int) -> bool:
    """Whether a segment of the backup before is what this one is as far as that."""
    with suppress(OSError):
        descriptor = os.open(old, os.O_RDONLY)
        try:
            if os.fstat(descriptor).st_size != size:
                return False
            last = max(size - ENDS, 0)
            return all(
                os.pread(descriptor, min(ENDS, size), start)
                == os.pread(source, min(ENDS, size), start)
                for start in (0, last)
            )
        finally:
            os.close(descriptor)
    return False


def _copy_also(partial: str, previous: str | None, also: Sequence[str], copied: Copied) -> None:
    for each in also:
        place = os.path.join(ALSO, each.lstrip(os.sep))
        new, old = os.path.join(partial, place), previous and os.path.join(previous, place)
        if os.path.isdir(each):
            os.makedirs(new, 0o700, exist_ok=True)
            copy_tree(each, new, old, copied)
        else:
            os.makedirs(os.path.dirname(new), 0o700, exist_ok=True)
            copy_file(each, new, old, copied)
