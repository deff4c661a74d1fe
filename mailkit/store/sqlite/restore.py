"""``mailkit restore``: a store made of a backup, that nobody takes for the one that was lost.

Between the backup and its return clients were told of messages that the backup does not know. So
that nothing is taken for something else:

- Each mailbox gets a UIDVALIDITY that none ever had (RFC 9051 section 2.3.1.1): UIDs given since
  the backup may be given again, and messages are back that a client saw vanish. Mail programs
  then forget what they keep of the mailbox, and its modification sequences with it (RFC 7162
  section 3.1.2.1).
- UIDL tells messages by the UIDVALIDITY that there was when they came, as before: a POP3 client
  that leaves mail on the server fetches none of them again. Newer ones have the new UIDVALIDITY.
- Numbers of mailboxes, messages and conversations (RFC 8474) and those of the queue go on far
  behind the last one that the backup knows.
- What waits in the queue is held. It may have been sent since.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from mailkit.errors import StoreUnavailable
from mailkit.queue.values import Order
from mailkit.store.sqlite.disk import sync_directory
from mailkit.store.sqlite.generations import (
    ALSO,
    MANIFEST_NAME,
    find_generation,
    read_manifest,
    refuse_backup,
    write_manifest,
)
from mailkit.store.sqlite.migrations import MIGRATIONS
from mailkit.store.sqlite.queue_operations import order_notes
from mailkit.store.sqlite.schema import INDEX_NAME, configure, connect, migrate
from mailkit.store.sqlite.snapshot import write_snapshot
from mailkit.store.sqlite.trees import Copied, copy_tree, own_tree, sync_tree
from mailkit.store.sqlite.versions import refuse_newer, version_of

#: More mailboxes than a store makes ahead of the clock, at one a second: their UIDVALIDITYs are.
VALIDITY_GAP = 1_000_000
#: More messages, events and the like than a store gets between a backup and its return.
NUMBER_GAP = 1 << 28
#: The same for mailboxes.
MAILBOX_GAP = 1 << 20
# Tables whose numbers somebody else may have kept.
_NUMBERED = {
    "mailbox": MAILBOX_GAP,
    "queue_message": NUMBER_GAP,
    "queue_recipient": NUMBER_GAP,
    "queue_event": NUMBER_GAP,
}


@dataclass
class RestoreReport:
    """What a restore did."""

    #: Which backup it was, and when that was made.
    path: str
    made: str
    messages: int = 0
    #: Mailboxes that have another UIDVALIDITY now.
    mailboxes: int = 0
    #: Queued messages that are held now.
    held: int = 0
    #: Where files from elsewhere are, which were left there; empty for none.
    also: str = ""


def restore_store(
    backup: str,
    directory: str,
    *,
    unchanged: bool = False,
    clock: Callable[[], float] = time.time,
) -> RestoreReport:
    """Make a store of a backup.

    :param backup: a backup, or the directory of many, of which the newest is taken.
    :param directory: of the new store: an empty one, or one that does not exist.
    :param unchanged: nothing has happened since the backup: UIDVALIDITYs and queue stay.
    :raises StoreUnavailable: there is no backup, the directory is in use, or the disk refuses; a
        server was at work while an ``unchanged`` store was backed up.
    :raises StoreCorrupt: a newer mailkit made it.
    """
    generation, directory = os.path.realpath(find_generation(backup)), os.path.realpath(directory)
    manifest = read_manifest(generation)
    report = RestoreReport(generation, str(manifest.get("made", "")))
    try:
        _look_at_index(generation, unchanged)
        owner = _prepare(directory)
        try:
            write_manifest(directory, manifest)
            copy_tree(generation, directory, None, Copied(), {MANIFEST_NAME, ALSO})
            _renew(directory, unchanged, int(clock()), report)
            if os.geteuid() == 0:
                # A command of root's: the server could not open it otherwise.
                own_tree(directory, owner.st_uid, owner.st_gid)
            sync_tree(directory)
        except BaseException:
            _clear(directory)
            raise
        # From now on it is a store.
        os.unlink(os.path.join(directory, MANIFEST_NAME))
        sync_directory(directory)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"The restore failed: {error}") from error
    also = os.path.join(generation, ALSO)
    report.also = also if os.path.isdir(also) else ""
    return report


def _look_at_index(generation: str, unchanged: bool) -> None:
    """Refuse what cannot be restored, or not so, before anything is made."""
    with closing(connect(os.path.join(generation, INDEX_NAME), read_only=True)) as index:
        refuse_newer(version_of(index), len(MIGRATIONS))
        (closed,) = index.execute("SELECT closed FROM log_state").fetchone()
    if unchanged and not closed:
        raise StoreUnavailable(
            "A server was changing the store when this backup was made, and has gone on: it cannot"
            " be restored as unchanged"
        )


def _prepare(directory: str) -> os.stat_result:
    """Make the directory, or see that it is empty; gives whose it is."""
    refuse_backup(directory)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if any(name != "lost+found" for name in os.listdir(directory)):
        raise StoreUnavailable(f"{directory} is not empty; move what is there out of the way")
    return os.stat(directory)


def _clear(directory: str) -> None:
    """Remove what was made, the mark of its being unfinished last."""
    for name in sorted(os.listdir(directory), key=MANIFEST_NAME.__eq__):
        path = os.path.join(directory, name)
        if name == "lost+found":
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def _renew(directory: str, unchanged: bool, now: int, report: RestoreReport) -> None:
    """Make the copied index one of a store of its own."""
    with closing(connect(os.path.join(directory, INDEX_NAME))) as index:
        configure(index)
        index.execute("PRAGMA journal_mode = WAL")
        migrate(index)
        index.execute("BEGIN IMMEDIATE")
        if not unchanged:
            report.mailboxes = _renew_mailboxes(index, now)
            _leave_numbers_out(index)
            report.held = _hold_queue(index, now)
        # The journal was not copied: all is in the copy of the index that is made below.
        index.execute("UPDATE log_state SET journal = journal + 1, journal_size = 0")
        (journal,) = index.execute("SELECT journal FROM log_state").fetchone()
        (report.messages,) = index.execute("SELECT count(*) FROM message").fetchone()
        index.execute("COMMIT")
        write_snapshot(index, os.path.join(directory, "log"), journal)
        index.execute("PRAGMA main.wal_checkpoint(TRUNCATE)")


def _renew_mailboxes(index: sqlite3.Connection, now: int) -> int:
    """Give each mailbox another UIDVALIDITY; gives how many there are."""
    (last,) = index.execute("SELECT value FROM setting WHERE name = 'uid_validity'").fetchone()
    validity = max(int(last), now) + VALIDITY_GAP
    rows = index.execute(
        "SELECT id, uid_validity, uid_next, older_validities FROM mailbox ORDER BY id"
    ).fetchall()
    changes = []
    for mailbox_id, old, uid_next, older in rows:
        validity += 1
        known = json.loads(older) if older else []
        # RFC 1939 section 7: what UIDL tells of a message that is there already stays.
        if uid_next > (known[-1][0] if known else 1):
            known.append([uid_next, old])
        changes.append((validity, json.dumps(known) if known else None, mailbox_id))
    index.executemany(
        "UPDATE mailbox SET uid_validity = ?, older_validities = ? WHERE id = ?", changes
    )
    index.execute("UPDATE setting SET value = ? WHERE name = 'uid_validity'", (validity,))
    return len(rows)


def _leave_numbers_out(index: sqlite3.Connection) -> None:
    """Go on with numbers that were not given since the backup."""
    # First_lsn stays: if the last batch is not whole, it is dropped when the store is opened.
    index.execute("UPDATE log_state SET lsn = lsn + ?", (NUMBER_GAP,))
    for table, gap in _NUMBERED.items():
        known = index.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        if known is None:
            index.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, gap))
        else:
            index.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = ?", (gap, table))


def _hold_queue(index: sqlite3.Connection, now: int) -> int:
    """Hold what waits to be sent; gives how many messages that are."""
    waiting = index.execute(
        "SELECT DISTINCT message_id FROM queue_recipient WHERE next_time IS NOT NULL"
    ).fetchall()
    for (message_id,) in waiting:
        order_notes(index, Order.HOLD, message_id, now)
    return len(waiting)
