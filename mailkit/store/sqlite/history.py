"""What has changed in a mailbox since a modification sequence (RFC 7162)."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable

from mailkit.errors import NoSuchMailbox
from mailkit.model import Changes
from mailkit.store.sqlite.rows import select_uids, to_uids
from mailkit.store.sqlite.spans import CHANGED_SINCE

#: Messages that are new, changed or gone above which a thread looks for them: a millisecond or two.
MANY_CHANGES = 2000


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> array[int]:
    """The numbers in ranges that may overlap, ascending, each once."""
    numbers: array[int] = array("I")
    done = 0
    for first, last in sorted(ranges):
        if last > done:
            numbers.extend(range(max(first, done + 1), last + 1))
            done = last
    return numbers


def mailbox_state(connection: sqlite3.Connection, mailbox_id: int) -> tuple[int, int, int]:
    """HIGHESTMODSEQ, UIDNEXT, and up to where vanished UIDs are forgotten.

    :raises NoSuchMailbox: it has been deleted.
    """
    row: tuple[int, int, int] | None = connection.execute(
        "SELECT highest_modseq, uid_next, forgotten_modseq FROM mailbox WHERE id = ?",
        (mailbox_id,),
    ).fetchone()
    if row is None:
        raise NoSuchMailbox
    return row


def read_uids(connection: sqlite3.Connection, mailbox_id: int) -> tuple[int, array[int]]:
    """The mailbox's modification sequence, and all UIDs that there are then.

    :raises NoSuchMailbox: it has been deleted.
    """
    connection.execute("BEGIN")
    try:
        modseq = mailbox_state(connection, mailbox_id)[0]
        return modseq, array("I", select_uids(connection, "mailbox_id = ?", (mailbox_id,)))
    finally:
        connection.execute("COMMIT")


def has_many_changes(
    connection: sqlite3.Connection, mailbox_id: int, since: int, modseq: int
) -> bool:
    """Whether there may be more than :data:`MANY_CHANGES`.

    :param modseq: the mailbox's.
    """
    # Each new message has a modification sequence of its own; thousands may have changed by one.
    if modseq - since > MANY_CHANGES:
        return True
    total = 0
    for table in ("changed", "vanished"):
        (count,) = connection.execute(
            f"SELECT ifnull(sum(last_uid - first_uid + 1), 0) FROM {table}"
            " WHERE mailbox_id = ? AND modseq > ?",
            (mailbox_id, since),
        ).fetchone()
        total += count
    return total > MANY_CHANGES


def find_changes(connection: sqlite3.Connection, mailbox_id: int, since: int) -> Changes:
    """All changes since a modification sequence.

    :raises NoSuchMailbox: it has been deleted.
    """
    connection.execute("BEGIN")
    try:
        modseq, uid_next, forgotten = mailbox_state(connection, mailbox_id)
        if modseq <= since:
            return Changes(modseq, (), (), ())
        added = _added_since(connection, mailbox_id, since)
        (text,) = connection.execute(
            f"SELECT group_concat(m.uid) {CHANGED_SINCE} AND m.created_modseq <= ?",
            (mailbox_id, since, since, since),
        ).fetchone()
        changed = to_uids(text)
        if since < forgotten:
            present = set(select_uids(connection, "mailbox_id = ?", (mailbox_id,)))
            vanished = array("I", [n for n in range(1, uid_next) if n not in present])
        else:
            vanished = merge_ranges(
                connection.execute(
                    "SELECT first_uid, last_uid FROM vanished WHERE mailbox_id = ? AND modseq > ?",
                    (mailbox_id, since),
                ).fetchall()
            )
    finally:
        connection.execute("COMMIT")
    return Changes(modseq, added, changed, vanished)


def _added_since(connection: sqlite3.Connection, mailbox_id: int, since: int) -> list[int]:
    """UIDs of messages that came after a modification sequence, ascending."""
    # UIDs and modification sequences of arrival grow together: look from the end.
    added: list[int] = []
    before, limit = 2**32, 32
    while True:
        rows = connection.execute(
            "SELECT uid, created_modseq FROM message WHERE mailbox_id = ? AND uid < ?"
            " ORDER BY uid DESC LIMIT ?",
            (mailbox_id, before, limit),
        ).fetchall()
        added.extend(uid for uid, created in rows if created > since)
        if len(rows) < limit or rows[-1][1] <= since:
            return added[::-1]
        before, limit = rows[-1][0], limit * 4
