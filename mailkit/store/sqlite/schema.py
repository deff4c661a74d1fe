"""How the index is opened, and brought up to date."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mailkit.errors import StoreCorrupt, StoreUnavailable
from mailkit.ownership import acting_as_owner
from mailkit.store.sqlite.migrations import MIGRATIONS
from mailkit.store.sqlite.versions import refuse_newer, refuse_unreleased, run_step, version_of

#: Name of the index in the store's directory.
INDEX_NAME = "index.sqlite"
#: The oldest SQLite that understands our statements (UPDATE ... FROM).
MIN_SQLITE = (3, 35, 0)
#: Milliseconds that a process waits for another one's transaction.
BUSY_TIMEOUT = 10_000
#: What comes of reading an index that may be damaged: not all that SQLite says of it is text.
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)


def connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection with our settings, in autocommit mode, for use by one thread at a time.

    :raises StoreUnavailable: the file can't be opened.
    """
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old for the mail store")
    mode = "ro" if read_only else "rw"
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    try:
        connection = sqlite3.connect(
            f"file:{quoted}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT / 1000,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
    except sqlite3.Error as error:
        raise StoreUnavailable(f"Cannot open {path}: {error}") from error
    return connection


def configure(connection: sqlite3.Connection, *, cache_kib: int = 16_384) -> None:
    """Settings that a connection of the store needs."""
    # Checkpoints are done by the maintenance thread, never inside a commit.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{cache_kib}")
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")


def open_index(
    directory: str, *, migrations: Sequence[str] = MIGRATIONS, create: bool = True
) -> sqlite3.Connection:
    """Open the index in a store's directory for writing, bringing it up to date.

    :param create: make a new one if there is none.
    :raises StoreUnavailable: it can't be opened.
    :raises StoreCorrupt: it is not an index of ours, or damaged, or of a newer version.
    """
    path = os.path.join(directory, INDEX_NAME)
    if not create and not os.path.exists(path):
        raise StoreUnavailable(f"There is no mail store in {directory}")
    try:
        # Password hashes are in it: for nobody else, whatever the umask. One that is there is left
        # alone: to close it would release all locks that SQLite has for us on it.
        if not os.path.exists(path):
            with acting_as_owner(directory):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreUnavailable(f"Cannot open {path}: {error.strerror}") from error
    connection = connect(path)
    try:
        with told_as_ours(path):
            if version_of(connection) == 0:
                connection.execute("PRAGMA journal_mode = WAL")
            configure(connection)
            migrate(connection, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def told_as_ours(path: str) -> Iterator[None]:
    """Let what SQLite says while an index is opened be an error of ours.

    :raises StoreUnavailable: it can't be opened.
    :raises StoreCorrupt: it is damaged.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"Cannot open {path}: {error}") from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"{path} is damaged ({error}); run: mailkit repair") from error


def migrate(connection: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Do the steps that are missing, each in a transaction of its own.

    :raises StoreCorrupt: the database was made by a newer mailkit, or before the first release.
    """
    refuse_unreleased(connection, migrations)
    while (version := version_of(connection)) < len(migrations):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have been faster.
            if version_of(connection) == version:
                run_step(connection, migrations[version])
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()  # if SQLite has not: a full disk ends the transaction
            raise
    refuse_newer(version, len(migrations))
