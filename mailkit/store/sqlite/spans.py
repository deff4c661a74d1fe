"""Which messages have changed since they came: spans of UIDs by modification sequence.

Every message whose modification sequence is not that of its arrival lies in a span of the same
one; spans of a mailbox do not overlap. A span may name messages that are gone, or that have not
changed: what else is asked of a message decides. An index of all the messages by modification
sequence would take twice the time of a change of flags itself.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Sequence

#: Modification sequences up to which the earlier spans are looked for one by one.
_MAX_LISTED = 16

#: Messages ``m`` that have changed after a modification sequence; parameters are the mailbox, and
#: that one twice.
CHANGED_SINCE = (
    "FROM changed c CROSS JOIN message m ON m.mailbox_id = c.mailbox_id"
    " AND m.uid BETWEEN c.first_uid AND c.last_uid"
    " WHERE c.mailbox_id = ? AND c.modseq > ? AND m.modseq > ?"
)


def note_changed(
    connection: sqlite3.Connection,
    mailbox_id: int,
    modseq: int,
    runs: Sequence[tuple[int, int]],
    before: Iterable[int],
) -> None:
    """Messages have changed.

    :param runs: first and last UIDs, ascending, one at least.
    :param before: modification sequences that the messages had; a ``range`` for any of it.
    """
    forget_changed(connection, mailbox_id, runs, before)
    connection.executemany(
        "INSERT INTO changed VALUES (?, ?, ?, ?)",
        [(mailbox_id, modseq, first, last) for first, last in runs],
    )


def forget_changed(
    connection: sqlite3.Connection,
    mailbox_id: int,
    runs: Sequence[tuple[int, int]],
    before: Iterable[int],
) -> None:
    """Messages are gone, or have changed once more; parameters as for :func:`note_changed`."""
    modseqs = before if isinstance(before, range) else sorted(set(before))
    if len(modseqs) <= _MAX_LISTED:
        where, values = f"modseq IN ({','.join('?' * len(modseqs))})", tuple(modseqs)
    else:
        where, values = "modseq BETWEEN ? AND ?", (modseqs[0], modseqs[-1])
    found = connection.execute(
        f"SELECT modseq, first_uid, last_uid FROM changed WHERE mailbox_id = ? AND {where}"
        " AND first_uid <= ? AND last_uid >= ?",
        (mailbox_id, *values, runs[-1][1], runs[0][0]),
    ).fetchall()
    starts = [first for first, _ in runs] if found else []
    gone: list[tuple[int, int, int]] = []
    left: list[tuple[int, int, int, int]] = []
    for modseq, first, last in found:
        rest, begin = [], first
        place = max(0, bisect_right(starts, first) - 1)
        while place < len(runs) and runs[place][0] <= last:
            lower, upper = runs[place]
            if upper >= begin:
                if lower > begin:
                    rest.append((mailbox_id, modseq, begin, lower - 1))
                begin = upper + 1
            place += 1
        if begin > first:
            gone.append((mailbox_id, modseq, first))
            if begin <= last:
                rest.append((mailbox_id, modseq, begin, last))
            left += rest
    connection.executemany(
        "DELETE FROM changed WHERE mailbox_id = ? AND modseq = ? AND first_uid = ?", gone
    )
    connection.executemany("INSERT INTO changed VALUES (?, ?, ?, ?)", left)
