"""The marker of a store: what tells a record of its log from octets that a sender has made up.

It is random, made with the index, and in each record's header and each segment's head: so a log
without its index still tells it. It leaves the store only with its files, which are for nobody else.
"""

from __future__ import annotations

import os
import sqlite3

from mailkit.errors import StoreCorrupt
from mailkit.store.sqlite.records import MARKER_SIZE
from mailkit.store.sqlite.segments import Marking, list_segments, read_head, segment_name

# Settings with the fields of a marking.
_NAMES = "log_marker", "log_marked_from"


def find_marking(directory: str) -> Marking:
    """What the heads of a log's segments say; :attr:`Marking.marker` is empty if none says it.

    :raises OSError: they can't be read.
    """
    marker, since = b"", 1
    for number in list_segments(directory):
        with open(os.path.join(directory, segment_name(number)), "rb", buffering=0) as file:
            head = read_head(file.fileno())
        if head is not None:
            marker = head.marker or marker
            since = since if head.marker else number + 1
    return Marking(marker, since)


def read_marking(index: sqlite3.Connection) -> Marking:
    """What an index says.

    :raises StoreCorrupt: nothing.
    """
    rows = dict(index.execute("SELECT name, value FROM setting WHERE name IN (?, ?)", _NAMES))
    marker, since = map(rows.get, _NAMES)
    if type(marker) is not bytes or len(marker) != MARKER_SIZE or type(since) is not int:
        raise StoreCorrupt("The index lacks the marker of the log; run: mailkit repair")
    return Marking(marker, since)


def write_marking(index: sqlite3.Connection, marking: Marking) -> None:
    """Let an index say what its log does."""
    index.executemany(
        "INSERT OR REPLACE INTO setting VALUES (?, ?)", zip(_NAMES, marking, strict=True)
    )
