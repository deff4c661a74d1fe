"""Giving space back: removed messages leave the index, then their bodies leave the log.

Everything is done in small steps, each an operation of the writer between others, and each leaves
the store whole: a body is first copied to the end of the log and flushed, then the index names the
copy, and a segment is unlinked only after a durable transaction has forgotten it. Whoever has such
a file open keeps reading it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mailkit._typing import override
from mailkit.store.sqlite.annotations import remove_annotations
from mailkit.store.sqlite.marking import read_marking
from mailkit.store.sqlite.migrations import DERIVED
from mailkit.store.sqlite.records import BODY, RecordHeader
from mailkit.store.sqlite.segments import SEGMENT_HEAD_SIZE, scan_segment, segment_name
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.writer import Operation

#: Message rows, or bodies, that one operation removes.
SWEEP_ROWS = 2000
#: Octets of records that one operation moves.
MOVE_OCTETS = 1024 * 1024
#: Garbage below which a segment is left alone.
MIN_GARBAGE = 64 * 1024
#: Rows of vanished UIDs that a mailbox keeps; half of them when there are more.
MAX_VANISHED_ROWS = 20_000

_LISTED = "(SELECT value FROM json_each(?))"


class SweepMailbox(Operation[bool]):
    """Remove some messages of a deleted mailbox; tells whether there is more to do."""

    __slots__ = ()

    @override
    def run(self, tx: Transaction) -> bool:
        connection = tx.connection
        doomed = connection.execute("SELECT id FROM doomed_mailbox LIMIT 1").fetchone()
        if doomed is None:
            return False
        tx.flush()
        (mailbox_id,) = doomed
        uids = connection.execute(
            "SELECT uid FROM message WHERE mailbox_id = ? ORDER BY uid LIMIT ?",
            (mailbox_id, SWEEP_ROWS),
        ).fetchall()
        if uids:
            connection.execute(
                "UPDATE body SET refs = refs - v.n FROM ("
                "SELECT body_id, count(*) AS n FROM message"
                " WHERE mailbox_id = ? AND uid <= ? GROUP BY body_id"
                ") AS v WHERE body.id = v.body_id",
                (mailbox_id, uids[-1][0]),
            )
            connection.execute(
                "DELETE FROM message WHERE mailbox_id = ? AND uid <= ?", (mailbox_id, uids[-1][0])
            )
            remove_annotations(tx, mailbox_id, None, "uid <= ?", uids[-1])
        if len(uids) < SWEEP_ROWS:
            for table in ("changed", "vanished"):
                connection.execute(f"DELETE FROM {table} WHERE mailbox_id = ?", (mailbox_id,))
            connection.execute("DELETE FROM doomed_mailbox WHERE id = ?", (mailbox_id,))
        tx.changed = True
        return True


class SweepBodies(Operation[bool]):
    """Remove rows of bodies that no message has; tells whether there is more to do."""

    __slots__ = ()

    @override
    def run(self, tx: Transaction) -> bool:
        connection = tx.connection
        dead = connection.execute(
            "SELECT id, segment, start - position + size FROM body WHERE refs = 0 LIMIT ?",
            (SWEEP_ROWS,),
        ).fetchall()
        if not dead:
            return False
        tx.flush_segments()
        garbage: dict[int, int] = {}
        for _, segment, length in dead:
            garbage[segment] = garbage.get(segment, 0) + length
        connection.executemany(
            "UPDATE segment SET dead = dead + ? WHERE id = ?",
            [(octets, segment) for segment, octets in garbage.items()],
        )
        ids = json.dumps([body_id for body_id, _, _ in dead])
        for sql in (
            *(f"DELETE FROM {table} WHERE body_id IN {_LISTED}" for table in DERIVED),
            f"DELETE FROM body WHERE id IN {_LISTED}",
        ):
            connection.execute(sql, (ids,))
        tx.changed = True
        return len(dead) == SWEEP_ROWS


class DropSegments(Operation[Sequence[int]]):
    """Forget segments in which nothing lives; their files may be removed afterwards."""

    __slots__ = ()

    @override
    def run(self, tx: Transaction) -> Sequence[int]:
        tx.flush()
        numbers = [
            number
            for (number,) in tx.connection.execute(
                "SELECT id FROM segment WHERE dead + ? >= size AND id <> ?",
                (SEGMENT_HEAD_SIZE, tx.log.segment),
            )
            if number not in tx.log.sizes
        ]
        if numbers:
            tx.connection.executemany("DELETE FROM segment WHERE id = ?", [(n,) for n in numbers])
            tx.changed = True
        return numbers


class _Record(NamedTuple):
    """A record that is to be moved."""

    header: RecordHeader
    position: int
    meta: bytes
    body: bytes


class MoveBodies(Operation[int]):
    """Copy live bodies to the end of the log; gives the octets that were moved."""

    __slots__ = ("_records", "_segment", "weight")

    def __init__(self, segment: int, records: Sequence[_Record]) -> None:
        self._segment = segment
        self._records = records
        self.weight = sum(record.header.length for record in records)

    @override
    def run(self, tx: Transaction) -> int:
        # The index must not name a copy that a crash can take away.
        tx.ordered = True
        moved = 0
        for header, position, meta, body in self._records:
            body_id, length = header.lsn, header.length
            there = tx.connection.execute(
                "SELECT 1 FROM body WHERE id = ? AND segment = ? AND position = ?",
                (body_id, self._segment, position),
            ).fetchone()
            if there is None:
                continue
            # Of the batch that it came with: the index is no older than a copy of what it knows.
            place = tx.log.append(BODY, body_id, header.batch, meta, (body,), header.body_crc)
            tx.connection.execute(
                "UPDATE body SET segment = ?, position = ?, start = ? WHERE id = ?",
                (*place, body_id),
            )
            tx.connection.execute(
                "UPDATE segment SET dead = dead + ? WHERE id = ?", (length, self._segment)
            )
            moved += length
            tx.changed = True
        return moved


class Seal(Operation[None]):
    """End the current segment, so that it can be compacted too."""

    __slots__ = ()

    @override
    def run(self, tx: Transaction) -> None:
        (dead,) = tx.connection.execute(
            "SELECT ifnull(sum(dead), 0) FROM segment WHERE id = ?", (tx.log.segment,)
        ).fetchone()
        if dead > 0:
            tx.log.seal()
            tx.changed = True


class PruneVanished(Operation[None]):
    """Forget the older half of what vanished from mailboxes that lost very much."""

    __slots__ = ("_mailboxes",)

    def __init__(self, mailboxes: Sequence[int]) -> None:
        self._mailboxes = mailboxes

    @override
    def run(self, tx: Transaction) -> None:
        for mailbox_id in self._mailboxes:
            row = tx.connection.execute(
                "SELECT modseq FROM vanished WHERE mailbox_id = ?"
                " ORDER BY modseq DESC LIMIT 1 OFFSET ?",
                (mailbox_id, MAX_VANISHED_ROWS // 2),
            ).fetchone()
            if row is None:
                continue
            tx.connection.execute(
                "UPDATE mailbox SET forgotten_modseq = ? WHERE id = ?", (row[0], mailbox_id)
            )
            tx.connection.execute(
                "DELETE FROM vanished WHERE mailbox_id = ? AND modseq <= ?", (mailbox_id, row[0])
            )
            tx.changed = True


def find_garbage(
    connection: sqlite3.Connection, ratio: float, current: int
) -> list[tuple[int, int]]:
    """Segments worth compacting and their sizes, those with most garbage first."""
    rows = connection.execute(
        "SELECT id, size FROM segment WHERE id <> ? AND dead >= ? AND dead > size * ?"
        " AND dead + ? < size ORDER BY dead DESC",
        (current, MIN_GARBAGE, ratio, SEGMENT_HEAD_SIZE),
    )
    return [(int(number), int(size)) for number, size in rows.fetchall()]


def live_records(
    connection: sqlite3.Connection, directory: str, segment: int, size: int
) -> Iterator[list[_Record]]:
    """The records of a segment whose bodies live, some at a time; damaged ones are left out."""
    path = os.path.join(directory, segment_name(segment))
    chunk: list[_Record] = []
    octets = 0
    with open(path, "rb", buffering=0) as file:
        for record in scan_segment(directory, segment, read_marking(connection)):
            header = record.header
            if record.position + header.length > size:
                break
            if header.kind != BODY:
                continue
            live = connection.execute(
                "SELECT 1 FROM body WHERE id = ? AND segment = ? AND position = ? AND refs > 0",
                (header.lsn, segment, record.position),
            ).fetchone()
            if live is None:
                continue
            body = os.pread(file.fileno(), header.body_length, record.start)
            if len(body) != header.body_length or zlib.crc32(body) != header.body_crc:
                continue
            chunk.append(_Record(header, record.position, record.meta, body))
            octets += header.length
            if octets >= MOVE_OCTETS:
                yield chunk
                chunk, octets = [], 0
    if chunk:
        yield chunk
