"""What is done when a store is opened: cut off what no transaction took.

The index is the judge: what it committed is there. Records behind that belong to the one batch
that was at work when the process died; nobody was told of them. A record of a later batch means
that the index is older than the log, and that cutting would lose mail: then nothing is touched.

Index and log are flushed at the same time. A loss of power may leave the last batch in the index
and not in the log: then nobody was told of it either, and its new messages are dropped.
"""

from __future__ import annotations

import os
import sqlite3

from twisted.logger import Logger

from mailkit.errors import StoreCorrupt
from mailkit.store.sqlite.bodies import BodyPlace, verify_body
from mailkit.store.sqlite.journal import Journal, list_journals
from mailkit.store.sqlite.log import SegmentLog, list_segments, scan_segment, segment_name
from mailkit.store.sqlite.rows import drop_bodies
from mailkit.store.sqlite.schema import INDEX_NAME
from mailkit.store.sqlite.snapshot import list_snapshots

_log = Logger()


def refuse_missing_index(directory: str) -> None:
    """Look whether there is a log without an index, before a new index is made.

    :param directory: of the store.
    :raises StoreCorrupt: there is.
    """
    log = os.path.join(directory, "log")
    if (
        not os.path.exists(os.path.join(directory, INDEX_NAME))
        and os.path.isdir(log)
        and (list_segments(log) or list_snapshots(log))
    ):
        raise StoreCorrupt(f"{directory} has mail but no {INDEX_NAME}; run: mailkit repair")


def recover(
    connection: sqlite3.Connection, directory: str, log: SegmentLog, journal: Journal
) -> None:
    """Open log and journal where the index ended.

    :param directory: of the segments.
    :raises StoreCorrupt: the index is older than the log.
    """
    batch, segment, journal_number, journal_size = connection.execute(
        "SELECT batch, segment, journal, journal_size FROM log_state"
    ).fetchone()
    known = dict(connection.execute("SELECT id, size FROM segment").fetchall())
    present = list_segments(directory)
    strangers = [number for number in present if number not in known]
    for number in strangers:
        _check_batches(directory, number, None, batch)
    size = known.get(segment, 0)
    path = os.path.join(directory, segment_name(segment))
    if segment not in known or segment not in present:
        segment = 0
    else:
        actual = os.path.getsize(path)
        if actual > size:
            _check_batches(directory, segment, size, batch)
        elif actual < size:
            # Not by a crash of ours; leave it to be looked at.
            segment = 0
    for number in strangers:
        os.unlink(os.path.join(directory, segment_name(number)))
    _drop_torn(connection, directory)
    log.open(segment, size, max([*known, *present], default=0))
    if not journal_number:
        journal_number = max(list_journals(directory), default=0) + 1
        journal_size = 0
    journal.open(journal_number, journal_size)


def _drop_torn(connection: sqlite3.Connection, directory: str) -> None:
    """Remove the last batch's messages if any of them is not whole."""
    closed, first = connection.execute("SELECT closed, first_lsn FROM log_state").fetchone()
    if closed:
        return
    rows = connection.execute(
        "SELECT id, segment, position, start, size FROM body WHERE id >= ? AND refs > 0", (first,)
    ).fetchall()
    if all(verify_body(directory, BodyPlace._make(row)) is None for row in rows):
        return
    connection.execute("BEGIN IMMEDIATE")
    dropped = drop_bodies(connection, first)
    connection.execute("COMMIT")
    _log.warn(
        "{dropped} messages of an unfinished transaction were dropped; nobody was told of them",
        dropped=dropped,
    )


def _check_batches(directory: str, number: int, begin: int | None, batch: int) -> None:
    path = os.path.join(directory, segment_name(number))
    for record in scan_segment(path, begin):
        if record.header.batch > batch + 1:
            raise StoreCorrupt(
                "The index is older than the mail in the log (was it restored from a backup?); "
                "run: mailkit repair"
            )
