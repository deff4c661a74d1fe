"""A copy of the index beside the log, so that a lost index need not be made from its beginning.

The journal since the copy, and the log, have what came later: see
:mod:`~mailkit.store.sqlite.repair`. Summaries are left out, as they can be made again.
"""

from __future__ import annotations

import os
import re
import sqlite3

from mailkit._typing import override
from mailkit.store.sqlite.disk import sync_directory
from mailkit.store.sqlite.journal import journal_name, list_journals
from mailkit.store.sqlite.migrations import DERIVED, MIGRATIONS
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.versions import run_step
from mailkit.store.sqlite.writer import Operation

#: Tables that a copy does not have.
_LEFT_OUT = frozenset({*DERIVED, "kept_value"})

_SNAPSHOT_NAME = re.compile(r"([0-9a-f]{8})\.index\Z")


def snapshot_name(number: int) -> str:
    return f"{number:08x}.index"


def list_snapshots(directory: str) -> list[int]:
    """Numbers of the copies that are there, ascending."""
    found = (_SNAPSHOT_NAME.match(name) for name in os.listdir(directory))
    return sorted(int(match[1], 16) for match in found if match)


class RotateJournal(Operation[int]):
    """Begin a new file of the journal; gives its number."""

    __slots__ = ()

    @override
    def run(self, tx: Transaction) -> int:
        tx.journal.rotate()
        tx.changed = True
        return tx.journal.number


def tables_of(connection: sqlite3.Connection, schema: str = "main") -> list[str]:
    """Names of the tables of a database."""
    rows = connection.execute(
        f"SELECT name FROM {schema}.sqlite_master WHERE type = 'table'"
        " AND name NOT LIKE 'sqlite_%' ORDER BY name"
    )
    return [name for (name,) in rows.fetchall()]


def copy_tables(
    connection: sqlite3.Connection, source: str, target: str, condition: str = ""
) -> None:
    """Copy all rows of one attached database into the empty tables of another.

    :param condition: which rows. With any, each goes into tables and their indexes anew; without one
        SQLite takes them as they are, in a fraction of the time.
    """
    for table in tables_of(connection, source):
        if table not in _LEFT_OUT:
            connection.execute(f"DELETE FROM {target}.{table}")
            connection.execute(
                f"INSERT INTO {target}.{table} SELECT * FROM {source}.{table} {condition}"
            )
    # Ids are never given again, not even those of rows that are gone.
    connection.execute(f"DELETE FROM {target}.sqlite_sequence")
    connection.execute(
        f"INSERT INTO {target}.sqlite_sequence SELECT * FROM {source}.sqlite_sequence"
    )


def write_snapshot(connection: sqlite3.Connection, directory: str, number: int) -> None:
    """Copy the index as it is now, durably, then remove the older copies and journals.

    :param directory: of the log.
    :param number: of the journal that was begun before.
    """
    path = os.path.join(directory, snapshot_name(number))
    temporary = path + ".tmp"
    if os.path.exists(temporary):
        os.unlink(temporary)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    connection.execute("ATTACH ? AS snapshot", (temporary,))
    try:
        connection.execute("PRAGMA snapshot.journal_mode = OFF")
        connection.execute("PRAGMA snapshot.synchronous = OFF")
        connection.execute("BEGIN")
        try:
            for version, step in enumerate(MIGRATIONS, 1):
                run_step(connection, step, "snapshot")
                connection.execute(f"PRAGMA snapshot.user_version = {version}")
            copy_tables(connection, "main", "snapshot")
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()  # if SQLite has not: a full disk ends the transaction
            raise
    finally:
        connection.execute("DETACH snapshot")
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)
    sync_directory(directory)
    for old in list_snapshots(directory):
        if old < number:
            os.unlink(os.path.join(directory, snapshot_name(old)))
    for old in list_journals(directory):
        if old < number:
            os.unlink(os.path.join(directory, journal_name(old)))
