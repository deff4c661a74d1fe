"""The marker of a store: what tells a record of its log from octets that a sender has made up.

It is random, made with the index, and in each record's header and each segment's head: so a log
without its index still tells it. It leaves the store only with its files, which are for nobody else.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence

from mailkit.errors import StoreCorrupt
from mailkit.store.sqlite.records import MARKER_SIZE
from mailkit.store.sqlite.segments import (
    Head,
    Marking,
    has_marker,
    list_segments,
    read_head,
    segment_name,
)

# Settings with the fields of a marking.
_NAMES = "log_marker", "log_marked_from"


def find_marking(directory: str) -> Marking:
    """What the heads of a log's segments say; :attr:`Marking.marker` is empty if none says it.

    :raises OSError: they can't be read.
    """
    marker, since = b"", 1
    for number in list_segments(directory):
        head = _read_head(directory, number)
        if head is not None:
            marker = head.marker or marker
            since = since if head.marker else number + 1
    return Marking(marker, since)


def find_since(directory: str, marker: bytes) -> int:
    """:attr:`Marking.since` by what is in a log's segments, where no index tells it.

    A segment whose head is damaged, and in which the marker is nowhere, comes from before it.

    :raises OSError: they can't be read.
    """
    since = 1
    for number in list_segments(directory):
        head = _read_head(directory, number)
        # None of those behind the first that has it is without.
        if head.marker if head is not None else has_marker(directory, number, marker):
            break
        since = number + 1
    return since


def _read_head(directory: str, number: int) -> Head | None:
    with open(os.path.join(directory, segment_name(number)), "rb", buffering=0) as file:
        return read_head(file.fileno())


def read_marking(index: sqlite3.Connection) -> Marking:
    """What an index says.

    :raises StoreCorrupt: nothing.
    """
    rows = index.execute("SELECT name, value FROM setting WHERE name IN (?, ?)", _NAMES)
    marking = pick_marking(rows.fetchall())
    if marking is None:
        raise StoreCorrupt("The index lacks the marker of the log; run: mailkit repair")
    return marking


def pick_marking(settings: Iterable[Sequence[object]]) -> Marking | None:
    """What rows of an index's settings say; None for nothing."""
    # A damaged index's table may lack a column.
    values = {row[0]: row[-1] for row in settings}
    marker, since = values.get(_NAMES[0]), values.get(_NAMES[1])
    if type(marker) is not bytes or len(marker) != MARKER_SIZE or type(since) is not int:
        return None
    return Marking(marker, since)


def forget_marking(index: sqlite3.Connection) -> None:
    """Let an index say nothing."""
    index.execute("DELETE FROM setting WHERE name IN (?, ?)", _NAMES)


def write_marking(index: sqlite3.Connection, marking: Marking) -> None:
    """Let an index say what its log does."""
    index.executemany(
        "INSERT OR REPLACE INTO setting VALUES (?, ?)", zip(_NAMES, marking, strict=True)
    )
