"""``mailkit repair``: an index from what is left of it, its last copy, the journal and the log.

The best of these is the beginning: the index as it is if SQLite finds no damage in it; else the
last copy beside the log (:mod:`~mailkit.store.sqlite.snapshot`); else nothing. From there on the
journal and the log tell what happened. What cannot be restored:

- Without a copy: delegates and the quota of all accounts; passwords, app passwords, SCRAM keys, quotas,
  capabilities, aliases, domains without accounts and accounts without mail, unless these tables of
  the damaged index can still be read. Accounts that are made again have no password.
- What an administrator's command changed since the copy (it does not write to the journal).
- Of the changes in the seconds before a power failure, those of flags, copies and removals.
- If both copy and journal are lost: flags are those at delivery, copies are gone, and removed
  messages that were not compacted away yet come back.

UIDs go on higher by a thousand, so that none is used twice whatever was lost.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field

from mailkit.errors import MailError, StoreCorrupt, StoreUnavailable
from mailkit.store.sqlite.disk import sync_directory
from mailkit.store.sqlite.generations import refuse_backup
from mailkit.store.sqlite.lock import DirectoryLock
from mailkit.store.sqlite.marking import (
    find_marking,
    find_since,
    forget_marking,
    pick_marking,
    read_marking,
    write_marking,
)
from mailkit.store.sqlite.migrations import DERIVED, MARKED, MIGRATIONS
from mailkit.store.sqlite.replay import Replay
from mailkit.store.sqlite.schema import INDEX_NAME, UNREADABLE, configure, connect, migrate
from mailkit.store.sqlite.segments import Marking, has_marker, list_segments
from mailkit.store.sqlite.snapshot import copy_tables, list_snapshots, snapshot_name
from mailkit.store.sqlite.versions import refuse_newer, version_of

#: What becomes the index when all is in it.
NEW_INDEX = "repair.sqlite"
# What the names of its files end with, in the order in which those of an old one go.
_INDEX_FILES = ("-wal", "-shm", "")
# Tables of a damaged index that are worth reading on their own: (table, key, other columns).
_SALVAGED = (
    ("domain", "name", ""),
    (
        "account",
        "name",
        "password_hash, max_octets, max_messages, imap_without, max_mailboxes, administrator,"
        " password_scopes, totp_secret, totp_window, totp_step, recovery_codes,"
        " totp_forgotten, maildrop, max_file_octets, max_files",
    ),
    ("alias", "address", "targets"),
    (
        "app_password",
        "account, prefix",
        "digest, scopes, created, expires, label, used, used_from, used_by",
    ),
    (
        "scram_key",
        "mechanism, account",
        "password_hash, salt, iterations, stored_key, server_key",
    ),
    ("fetched", "account, source, unique_id", "time, digest, gone"),
)


@dataclass
class RepairReport:
    """What a repair did."""

    #: Lines for the administrator.
    lines: list[str] = field(default_factory=list)
    #: Messages that are in the store now.
    messages: int = 0
    #: Messages that were known and are gone.
    lost: int = 0


def repair_store(directory: str) -> RepairReport:
    """Make a store whole again; the old index is kept under another name.

    :raises StoreUnavailable: the store is in use, or the disk refuses.
    :raises StoreCorrupt: a newer mailkit made it.
    """
    refuse_backup(directory)
    log_directory = os.path.join(directory, "log")
    if not os.path.isdir(log_directory):
        raise StoreUnavailable(f"There is no mail in {directory} to make an index of")
    try:
        lock = DirectoryLock(directory)
    except OSError as error:
        raise StoreUnavailable(f"The repair failed: {error}") from error
    try:
        return _repair(directory, log_directory)
    except StoreCorrupt:
        _discard(os.path.join(directory, NEW_INDEX))
        raise
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"The repair failed: {error}") from error
    finally:
        lock.release()


def _repair(directory: str, log_directory: str) -> RepairReport:
    _refuse_closed(directory, log_directory)
    report = RepairReport()
    path = os.path.join(directory, NEW_INDEX)
    _discard(path)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    connection = connect(path)
    try:
        configure(connection)
        migrate(connection)
        fresh = read_marking(connection)
        filled = _fill(connection, directory, log_directory, report)
        connection.execute("BEGIN")
        told = _read_told(connection, directory, log_directory, filled)
        marking = _settle_marking(connection, log_directory, fresh, told)
        replay = Replay(connection, log_directory, marking, int(time.time()))
        replay.run()
        for table in ("app_password", "scram_key", "fetched"):
            connection.execute(
                f"DELETE FROM {table} WHERE account NOT IN (SELECT name FROM account)"
            )
        (report.messages,) = connection.execute("SELECT count(*) FROM message").fetchone()
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA main.wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    report.lost = replay.lost
    if replay.damaged:
        report.lines.append(f"{replay.damaged} message bodies in the log are damaged")
    if replay.lost:
        report.lines.append(f"{replay.lost} messages are lost: their bodies are not in the log")
    _swap(directory, path, report)
    report.lines.append(f"The store has {report.messages} messages now")
    return report


def _refuse_closed(directory: str, log_directory: str) -> None:
    """Look whether all can be opened that would be taken for damaged otherwise, and be put away.

    :raises StoreUnavailable: some of it can't.
    """
    index = os.path.join(directory, INDEX_NAME)
    copies = [os.path.join(log_directory, snapshot_name(n)) for n in list_snapshots(log_directory)]
    for path in (*(index + suffix for suffix in _INDEX_FILES), *copies):
        try:
            # SQLite itself tells of no reason, and opens what it may not write all the same.
            os.close(os.open(path, os.O_RDWR))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreUnavailable(f"Cannot open {path}: {error.strerror}") from error


def _discard(path: str) -> None:
    for name in (path, path + "-wal", path + "-shm", path + "-journal"):
        if os.path.exists(name):
            os.unlink(name)


def _fill(
    connection: sqlite3.Connection, directory: str, log_directory: str, report: RepairReport
) -> bool:
    """Begin with the best index there is; tells whether there was one, or a copy."""
    index = os.path.join(directory, INDEX_NAME)
    if _copy_from(connection, index, summaries=True):
        report.lines.append("The index can be read; it is brought up to the end of the log")
        return True
    for number in reversed(list_snapshots(log_directory)):
        if _copy_from(connection, os.path.join(log_directory, snapshot_name(number))):
            report.lines.append("The index is made from its last copy, the journal and the log")
            copied = True
            break
    else:
        copied = False
        report.lines.append(
            "The index is made from the journal and the log alone; accounts without a readable "
            "entry have no password now, and removed messages may have come back"
        )
    _salvage(connection, index, report)
    return copied


def _read_told(
    connection: sqlite3.Connection, directory: str, log_directory: str, filled: bool
) -> Marking | None:
    """What the old index, or a copy of it, says of the log's records; None for nothing.

    :param filled: the new index has rows of the other. That may be older than the marker.
    """
    if filled:
        # One that lacks it is no worse than none.
        with suppress(StoreCorrupt):
            return read_marking(connection)
    _, rows, _ = _read_table(os.path.join(directory, INDEX_NAME), "setting", ["name"], ["value"])
    told = pick_marking(rows)
    # What is read of a damaged page may be anything: by another marker all mail would be lost.
    if told is not None and any(
        has_marker(log_directory, number, told.marker) for number in list_segments(log_directory)
    ):
        return told
    return None


def _settle_marking(
    connection: sqlite3.Connection, log_directory: str, fresh: Marking, told: Marking | None
) -> Marking:
    """How the log's records are told, which the new index says, too.

    :param fresh: that the new index was made with.
    :param told: by the old index, or a copy.
    """
    found = find_marking(log_directory)
    if told is not None:
        found = Marking(found.marker or told.marker, max(found.since, told.since))
    elif found.marker:
        found = Marking(found.marker, find_since(log_directory, found.marker))
    if found.marker:
        write_marking(connection, found)
    else:
        # All that looks like a record is believed then, and later ones have the new index's.
        last = max(list_segments(log_directory), default=0)
        write_marking(connection, Marking(fresh.marker, last + 1))
    return found


def _copy_from(connection: sqlite3.Connection, path: str, summaries: bool = False) -> bool:
    """Take all rows of another index, if it is whole.

    :raises StoreCorrupt: it is, and a newer mailkit made it.
    :raises sqlite3.Error: there is no room for its rows, or another process has the index.
    """
    if not os.path.exists(path):
        return False
    try:
        source = connect(path)
        try:
            whole = source.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
            version = version_of(source)
            if whole and 0 < version <= len(MIGRATIONS):
                migrate(source)
        finally:
            source.close()
    except (*UNREADABLE, MailError) as error:
        if _is_outage(error):
            raise
        return False
    # SQLite finds no damage in an empty file.
    if not whole or not version:
        return False
    # To do without it would lose all that is in neither journal nor log.
    refuse_newer(version, len(MIGRATIONS))
    connection.execute("ATTACH ? AS source", (path,))
    try:
        connection.execute("BEGIN")
        try:
            # An index that does not fit its table is not damage for quick_check.
            copy_tables(connection, "source", "main", "WHERE true")
            if version < MARKED:
                # It has just been given one that the log does not know.
                forget_marking(connection)
            if summaries:
                for table in DERIVED:
                    connection.execute(
                        f"INSERT INTO main.{table} SELECT * FROM source.{table} WHERE true"
                    )
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            connection.rollback()  # if SQLite has not: a full disk ends the transaction
            # The old index has just been read whole: what cannot be written now is the new one. So
            # SQLite tells of a quota, or of a limit of file sizes.
            if _is_outage(error) or "disk I/O error" in str(error):
                raise
            return False
    finally:
        connection.execute("DETACH source")
    return True


def _is_outage(error: Exception) -> bool:
    """Whether it is none of the index's damage that it could not be read, or not be copied."""
    # Python 3.10 does not tell SQLITE_FULL and SQLITE_BUSY in any other way.
    return isinstance(error, sqlite3.OperationalError) and any(
        words in str(error) for words in ("disk is full", "is locked")
    )


def _salvage(connection: sqlite3.Connection, path: str, report: RepairReport) -> None:
    """Read what can be read of the directory in a damaged index."""
    if not os.path.exists(path):
        return
    # A transaction for each row would take minutes with some ten thousand of them.
    connection.execute("BEGIN")
    for table, key, others in _SALVAGED:
        keys = key.split(", ")
        names, rows, whole = _read_table(path, table, keys, others.split(", "))
        # What is read of a damaged page may be anything.
        rows = [row for row in rows if all(isinstance(value, str) for value in row[: len(keys)])]
        if not whole:
            what = "Only a part" if rows else "Nothing"
            report.lines.append(f"{what} can be read of the old index's table {table}")
        marks = ", ".join("?" * len(names))
        changes = ", ".join(f"{name} = excluded.{name}" for name in names[len(keys) :])
        update = (
            f" ON CONFLICT ({key}) DO UPDATE SET {changes}"
            if changes
            else " ON CONFLICT DO NOTHING"
        )
        into = f"{table} ({', '.join(names)})"
        for row in rows:
            with suppress(sqlite3.IntegrityError):
                connection.execute(f"INSERT INTO {into} VALUES ({marks}){update}", row)
    connection.execute("COMMIT")


def _read_table(
    path: str, table: str, keys: Sequence[str], others: Sequence[str]
) -> tuple[list[str], list[tuple[object, ...]], bool]:
    """Which of the columns a table of a damaged index has, its rows, and whether these are all."""
    names: list[str] = []
    rows: list[tuple[object, ...]] = []
    # What is behind the damage is read from the other end.
    backwards = " ORDER BY " + ", ".join(f"{name} DESC" for name in keys)
    try:
        with closing(connect(path)) as source:
            source.text_factory = _decode
            # One that was never brought up to date lacks the newer columns.
            there = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
            names = [name for name in (*keys, *others) if name in there]
            for order in ("", backwards):
                with suppress(*UNREADABLE):
                    for row in source.execute(f"SELECT {', '.join(names)} FROM {table}{order}"):
                        rows.append(row)
                    return names, rows, True
    except (*UNREADABLE, MailError):
        pass
    return names, rows, False


def _decode(octets: bytes) -> str | None:
    """Text of a damaged index; None for what is none."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return None


def _swap(directory: str, path: str, report: RepairReport) -> None:
    """Put the new index in place of the old."""
    index = os.path.join(directory, INDEX_NAME)
    number = 1
    while any(os.path.exists(f"{index}.broken-{number}{suffix}") for suffix in _INDEX_FILES):
        number += 1
    old = [suffix for suffix in _INDEX_FILES if os.path.exists(index + suffix)]
    # A write-ahead log may be left without its index: it would be taken for the new one's.
    for suffix in old:
        os.rename(index + suffix, f"{index}.broken-{number}{suffix}")
    if "" in old:
        report.lines.append(f"The old index is kept as {index}.broken-{number}")
    elif old:
        kept = " and ".join(f"{index}.broken-{number}{suffix}" for suffix in old)
        report.lines.append(f"What is left of the old index is kept as {kept}")
    os.rename(path, index)
    for suffix in ("-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.unlink(path + suffix)
    sync_directory(directory)
