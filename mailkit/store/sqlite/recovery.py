"""What is done when a store is opened: cut off what no transaction took.

The index is the judge: what it committed is there. Records behind that belong to the one batch
that was at work when the process died; nobody was told of them. A record of a later batch means
that the index is older than the log, and that cutting would lose mail: then nothing is touched.

Index and log are flushed at the same time. A loss of power may leave the last batch in the index
and not in the log: then nobody was told of it either, and its new messages are dropped.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping

from twisted.logger import Logger

from mailkit.errors import StoreCorrupt
from mailkit.store.sqlite.bodies import BodyPlace, verify_body
from mailkit.store.sqlite.journal import Journal, list_journals
from mailkit.store.sqlite.log import SegmentLog
from mailkit.store.sqlite.marking import read_marking
from mailkit.store.sqlite.records import BODY
from mailkit.store.sqlite.rows import drop_bodies
from mailkit.store.sqlite.schema import INDEX_NAME
from mailkit.store.sqlite.segments import Marking, Record, list_segments, scan_segment, segment_name
from mailkit.store.sqlite.snapshot import list_snapshots
from mailkit.store.sqlite.transaction import MAX_UID

_log = Logger()

#: SQLite's largest.
_MAX_INTEGER = 2**63 - 1


def refuse_missing_index(directory: str) -> None:
    """Look whether there is a log without an index, or with an empty one, before a new one is made.

    :param directory: of the store.
    :raises StoreCorrupt: there is.
    """
    log = os.path.join(directory, "log")
    try:
        there = os.path.getsize(os.path.join(directory, INDEX_NAME)) > 0
    except OSError:
        there = False
    if not there and os.path.isdir(log) and (list_segments(log) or list_snapshots(log)):
        raise StoreCorrupt(f"{directory} has mail but no {INDEX_NAME}; run: mailkit repair")


def recover(
    connection: sqlite3.Connection, directory: str, log: SegmentLog, journal: Journal
) -> None:
    """Open log and journal where the index ended.

    :param directory: of the segments.
    :raises StoreCorrupt: the index is older than the log.
    """
    batch, current, journal_number, journal_size = connection.execute(
        "SELECT batch, segment, journal, journal_size FROM log_state"
    ).fetchone()
    known = dict(connection.execute("SELECT id, size FROM segment").fetchall())
    marking = read_marking(connection)
    present = list_segments(directory)
    strangers = [number for number in present if number not in known]
    refuse_older_index(newest_batch(directory, marking, dict.fromkeys(strangers)), batch)
    size = known.get(current, 0)
    lost = _lost_segments(directory, known)
    if current not in known or lost:
        # Not by a crash of ours; leave it to be looked at.
        segment = 0
    else:
        segment = current
        refuse_older_index(newest_batch(directory, marking, {segment: size}), batch)
    if lost:
        _log.error(
            "{count} segments of the log are missing, or shorter than the index says, {name} first:"
            " the mail in them cannot be read; `mailkit check` tells which that is",
            count=len(lost),
            name=os.path.join(directory, segment_name(lost[0])),
        )
        # What the index does not know may be what they were moved to: `mailkit repair` finds it.
        left: dict[int, int | None] = dict.fromkeys(strangers)
        if current in present:
            left[current] = size
        _pass_over(connection, directory, left)
    else:
        for number in strangers:
            os.unlink(os.path.join(directory, segment_name(number)))
    _drop_torn(connection, directory)
    log.open(segment, size, max([*known, *present], default=0), marking.marker)
    if not journal_number:
        journal_number = max(list_journals(directory), default=0) + 1
        journal_size = 0
    journal.open(journal_number, journal_size)


def _pass_over(
    connection: sqlite3.Connection, directory: str, places: Mapping[int, int | None]
) -> None:
    """Give nothing the numbers, or the UIDs, of messages that are left behind the index's end.

    A repair that has the log alone would take one for the other.
    """
    (lsn,) = connection.execute("SELECT lsn FROM log_state").fetchone()
    next_lsn = lsn
    connection.execute("BEGIN IMMEDIATE")
    # What comes after damage was never acknowledged, and may be what a sender has made up.
    for record in _records_of(directory, read_marking(connection), places, search=False):
        if record.header.kind != BODY or not lsn <= record.header.lsn < _MAX_INTEGER:
            continue
        next_lsn = max(next_lsn, record.header.lsn + 1)
        for mailbox_id, uid in _parse_placements(record.meta):
            connection.execute(
                "UPDATE mailbox SET uid_next = max(uid_next, ?) WHERE id = ?", (uid + 1, mailbox_id)
            )
    connection.execute("UPDATE log_state SET lsn = ?", (next_lsn,))
    connection.execute("COMMIT")


def _parse_placements(meta: bytes) -> list[tuple[int, int]]:
    """Mailboxes and UIDs in a record's meta data; none if it has another shape."""
    try:
        found = [(mailbox_id, uid) for mailbox_id, uid, *_ in json.loads(meta)]
    except (TypeError, ValueError, RecursionError):
        return []
    for mailbox_id, uid in found:
        if type(mailbox_id) is not int or type(uid) is not int:
            return []
        if not (0 < mailbox_id <= _MAX_INTEGER and 0 < uid < MAX_UID):
            return []
    return found


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
    dropped = drop_bodies(connection, first).messages
    connection.execute("COMMIT")
    _log.warn(
        "{dropped} messages of an unfinished transaction were dropped; nobody was told of them",
        dropped=dropped,
    )


def _lost_segments(directory: str, known: Mapping[int, int]) -> list[int]:
    """Those that are not there, or not whole, by their sizes."""
    lost = []
    for number, size in sorted(known.items()):
        try:
            if os.path.getsize(os.path.join(directory, segment_name(number))) < size:
                lost.append(number)
        except OSError:
            lost.append(number)
    return lost


def newest_batch(directory: str, marking: Marking, places: Mapping[int, int | None]) -> int:
    """The newest batch of which there are records in some segments; 0 without any.

    :param marking: of the index.
    :param places: where to begin in each segment; None for its first record.
    """
    records = _records_of(directory, marking, places)
    return max((record.header.batch for record in records), default=0)


def _records_of(
    directory: str, marking: Marking, places: Mapping[int, int | None], *, search: bool = True
) -> Iterator[Record]:
    for number, begin in places.items():
        yield from scan_segment(directory, number, marking, begin, search=search)


def refuse_older_index(newest: int, batch: int) -> None:
    """Look whether there is mail of which the index should know.

    :param newest: batch of what it does not know.
    :param batch: the last that it knows. The one behind it may have been at work.
    :raises StoreCorrupt: there is.
    """
    if newest > batch + 1:
        raise StoreCorrupt(
            "The index is older than the mail in the log (was it restored from a backup?); "
            "run: mailkit repair"
        )
