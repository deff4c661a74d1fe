"""The version of an index, and what brings it to the next one."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing

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

_COLUMNS = """
SELECT (SELECT user_version FROM pragma_user_version), made.name, made_column.name
FROM sqlite_schema AS made, pragma_table_info(made.name) AS made_column
WHERE made.type = 'table' AND made.name NOT LIKE 'sqlite!_%' ESCAPE '!'
"""


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


def refuse_unreleased(connection: sqlite3.Connection, steps: Sequence[str]) -> None:
    """Look whether the index is of the days when its steps were still being changed.

    :param steps: those of today. What has seen all of them is believed.
    :raises StoreCorrupt: it lacks columns that today's steps make for its version.
    """
    # Version and tables of one moment: another process may be at the next step.
    found = connection.execute(_COLUMNS).fetchall()
    version = int(found[0][0]) if found else 0
    if not 0 < version < len(steps):
        return
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        for step in steps[:version]:
            run_step(fresh, step)
        made = fresh.execute(_COLUMNS).fetchall()
    if {column[1:] for column in made} - {column[1:] for column in found}:
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
