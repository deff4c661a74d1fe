"""Where backups of a store are: directories of a destination, one for each.

A destination has a *generation* for each backup, which is a store that no server opens::

    DESTINATION/000007-20261122T193000Z/
        backup.json     whose it is; as long as it is there, no server opens the directory
        index.sqlite    the index, as it was at one moment
        log/            the segments, as far as that index knows them
        files/ ...      whatever else was in the store's directory
        also/ ...       files from elsewhere, by their whole paths

One whose name ends with :data:`UNFINISHED` is no backup: it was being made, or being removed.
"""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

from mailkit.errors import StoreUnavailable

#: What a generation is, in its directory.
MANIFEST_NAME = "backup.json"
#: Ends the name of a directory that is no backup yet, or none any more.
UNFINISHED = ".partial"
#: Files from elsewhere.
ALSO = "also"

_NAME = re.compile(r"([0-9]{6,})-[0-9]{8}T[0-9]{6}Z\Z")


def generation_name(number: int, now: float) -> str:
    """Name of a generation that is made now; the number tells their order."""
    return f"{number:06d}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}"


def is_generation(name: str) -> bool:
    """Whether a name is of the form that :func:`generation_name` gives."""
    return _NAME.match(name) is not None


def list_generations(destination: str) -> list[tuple[int, str]]:
    """Numbers and names of the whole backups that are there, the oldest first.

    :raises OSError: the directory can't be read.
    """
    found = (_NAME.match(name) for name in os.listdir(destination))
    return sorted((int(match[1]), match[0]) for match in found if match)


def write_manifest(directory: str, values: dict[str, Any]) -> None:
    """Mark a directory as a backup, durably.

    :raises OSError: the disk refuses.
    """
    path = os.path.join(directory, MANIFEST_NAME)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(values, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def read_manifest(directory: str) -> dict[str, Any]:
    """What :func:`write_manifest` wrote.

    :raises StoreUnavailable: there is none that could be read.
    """
    try:
        with open(os.path.join(directory, MANIFEST_NAME), encoding="utf-8") as file:
            values = json.load(file)
    except (OSError, ValueError) as error:
        raise StoreUnavailable(f"{directory} is no backup: {error}") from error
    if not isinstance(values, dict):
        raise StoreUnavailable(f"{directory} is no backup")
    return values


def find_generation(path: str) -> str:
    """The directory of a backup: the one that is named, or the newest of a destination.

    :raises StoreUnavailable: there is none.
    """
    if os.path.basename(os.path.normpath(path)).endswith(UNFINISHED):
        raise StoreUnavailable(f"{path} is not a whole backup")
    if os.path.exists(os.path.join(path, MANIFEST_NAME)):
        return path
    try:
        found = list_generations(path)
    except OSError as error:
        raise StoreUnavailable(f"Cannot read {path}: {error.strerror}") from error
    if not found:
        raise StoreUnavailable(f"There is no backup in {path}")
    return os.path.join(path, found[-1][1])


def refuse_backup(directory: str) -> None:
    """Look whether a directory is a backup, before anything is changed in it.

    :raises StoreUnavailable: it is, or a restore into it was not finished.
    """
    if os.path.exists(os.path.join(directory, MANIFEST_NAME)):
        raise StoreUnavailable(
            f"{directory} is a backup, or was being made of one: mailkit restore makes a store of"
            " a backup, in an empty directory"
        )
