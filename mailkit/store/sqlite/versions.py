"""The version of an index, and what brings it to the next one."""

from __future__ import annotations

import re
import sqlite3

from mailkit.errors import StoreCorrupt

#: What the statements of a step begin with, up to the name of a table or an index.
_HEADS = (
    "CREATE TABLE ",
    "CREATE INDEX ",
    "DROP INDEX ",
    "DROP TABLE ",
    "INSERT INTO ",
    "ALTER TABLE ",
    "UPDATE ",
)
# What an INSERT takes its rows from.
_SOURCE = re.compile(r"\bFROM (?=\w)")


def version_of(connection: sqlite3.Connection) -> int:
    """Number of the steps that the database has seen."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def run_step(connection: sqlite3.Connection, step: str, schema: str = "main") -> None:
    """Do one step of :data:`~mailkit.store.sqlite.migrations.MIGRATIONS` in an attached database."""
    for statement in step.split(";\n"):
        text = statement.strip()
        for head in _HEADS:
            if text.startswith(head):
                text = f"{head}{schema}.{text[len(head) :]}"
        if text:
            # Or else the rows of the main database would come again.
            connection.execute(_SOURCE.sub(f"FROM {schema}.", text))


def refuse_unreleased(connection: sqlite3.Connection) -> None:
    """Look whether the index is of the days when its first steps were still being changed.

    :raises StoreCorrupt: it is.
    """
    version = version_of(connection)
    known = connection.execute(
        "SELECT 1 FROM pragma_table_info('log_state') WHERE name = 'first_lsn'"
    ).fetchone()
    if version and not known:
        raise StoreCorrupt(
            f"The mail store has version {version}, made by a mailkit before its first release,"
            " which cannot be brought up to date; run: mailkit repair"
        )


def refuse_newer(version: int, known: int) -> None:
    """:raises StoreCorrupt: a newer mailkit made the database."""
    if version > known:
        raise StoreCorrupt(
            f"The mail store has version {version}, made by a newer mailkit; "
            f"this one knows versions up to {known}"
        )
