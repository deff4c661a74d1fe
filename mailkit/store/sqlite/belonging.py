"""Acting as the user whose server has a store, for commands of root's that need it all."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from mailkit.errors import StoreUnavailable
from mailkit.ownership import acting_as_owner
from mailkit.store.sqlite.lock import LOCK_NAME
from mailkit.store.sqlite.names import NAMES_DIRECTORY
from mailkit.store.sqlite.recent import CHANGES
from mailkit.store.sqlite.schema import INDEX_NAME

# Of what may be in the store's directory: the rest is not needed, or is not the store's.
_FILES = (INDEX_NAME, INDEX_NAME + "-wal", INDEX_NAME + "-shm", LOCK_NAME, "tmp", CHANGES)
_FOLDERS = ("log", NAMES_DIRECTORY)


@contextmanager
def acting_as_store_owner(directory: str) -> Iterator[None]:
    """The same as :func:`~mailkit.ownership.acting_as_owner`, in a store.

    :raises StoreUnavailable: a part of the store belongs to root, so that its user cannot open it.
    """
    owner = os.stat(directory)
    if os.geteuid() == 0 and owner.st_uid != 0:
        for path in _parts_of(directory):
            if _belongs_to_root(path):
                raise StoreUnavailable(
                    f"{path} belongs to root, and the store to another user: "
                    f"chown -R {owner.st_uid}:{owner.st_gid} {shlex.quote(directory)}"
                )
    with acting_as_owner(directory):
        yield


def _parts_of(directory: str) -> Iterator[str]:
    for name in (*_FILES, *_FOLDERS):
        yield os.path.join(directory, name)
    for folder in _FOLDERS:
        path = os.path.join(directory, folder)
        if os.path.isdir(path):
            for name in sorted(os.listdir(path)):
                yield os.path.join(path, name)


def _belongs_to_root(path: str) -> bool:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    # A link opens for everybody.
    return found.st_uid == 0 and not stat.S_ISLNK(found.st_mode)
