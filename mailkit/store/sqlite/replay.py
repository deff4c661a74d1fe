"""Making an index from the log: what :mod:`~mailkit.store.sqlite.repair` does with the pieces.

All of it can be done again and again: what is in the index already stays.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from io import FileIO
from typing import Any

from mailkit.errors import StoreCorrupt
from mailkit.model import INBOX, NEW_ACCOUNT_MAILBOXES
from mailkit.store.sqlite.access import forget_account, put_entry
from mailkit.store.sqlite.annotations import replay_annotations
from mailkit.store.sqlite.bodies import is_unended
from mailkit.store.sqlite.fetched import put_fetched, set_gone
from mailkit.store.sqlite.flags import KEYWORD_SHIFT, SEEN_BIT, join_keywords
from mailkit.store.sqlite.journal import (
    Note,
    decode_entries,
    journal_name,
    list_journals,
    parse_uids,
    read_notes,
)
from mailkit.store.sqlite.keys import put_key
from mailkit.store.sqlite.mailboxes import next_uid_validity
from mailkit.store.sqlite.metadata import put_entries
from mailkit.store.sqlite.migrations import DERIVED
from mailkit.store.sqlite.queue_replay import QueueReplay
from mailkit.store.sqlite.records import BODY, RECORD_HEADER_SIZE, decode_header
from mailkit.store.sqlite.rows import BODY_USERS, NOBODY
from mailkit.store.sqlite.segments import (
    SEGMENT_HEAD_SIZE,
    Marking,
    list_segments,
    read_crc,
    scan_segment,
    segment_name,
)

#: How far UIDs and modification sequences go up, as the last changes may be unknown.
SAFETY_GAP = 1000


class Replay:
    """Brings an index up to the end of the log.

    :param connection: to the index, in a transaction.
    :param directory: of the log.
    :param marking: of its records.
    :param now: seconds since the epoch.
    """

    def __init__(
        self, connection: sqlite3.Connection, directory: str, marking: Marking, now: int
    ) -> None:
        self._db = connection
        self._directory = directory
        self._marking = marking
        self._now = now
        self._keyword_sets: dict[tuple[int, str], int] = {}
        #: Bodies in the log whose octets are not what was written.
        self.damaged = 0
        #: Messages that the index or the journal knows, and whose bodies are not in the log.
        self.lost = 0
        self._batch = 0
        self._queue = QueueReplay(connection, now)

    def run(self) -> None:
        """Do everything."""
        (lsn,) = self._db.execute("SELECT lsn FROM log_state").fetchone()
        self._db.execute(
            "CREATE TEMP TABLE found (id INTEGER PRIMARY KEY, segment INTEGER, position INTEGER,"
            " start INTEGER, size INTEGER, unended INTEGER)"
        )
        self._db.execute("CREATE TEMP TABLE event (lsn INTEGER, note TEXT)")
        for segment in list_segments(self._directory):
            self._read_segment(segment, lsn)
        for number in list_journals(self._directory):
            path = os.path.join(self._directory, journal_name(number))
            self._db.executemany(
                "INSERT INTO temp.event VALUES (?, ?)",
                ((at, json.dumps(note)) for at, note in read_notes(path) if at >= lsn),
            )
        events = self._db.execute("SELECT note FROM temp.event ORDER BY lsn, rowid")
        for (text,) in events.fetchall():
            self._apply(json.loads(text))
        self._settle()

    def _read_segment(self, segment: int, since: int) -> None:
        """Note where bodies are, and where those went that came after ``since``."""
        path = os.path.join(self._directory, segment_name(segment))
        with open(path, "rb", buffering=0) as file:
            begin: int | None = None
            while (damage := self._read_records(file, segment, begin, since)) is not None:
                # Where its body should be, there may be other records.
                begin = damage + 1

    def _read_records(
        self, file: FileIO, segment: int, begin: int | None, since: int
    ) -> int | None:
        """The same from an offset on; gives that of the next record whose body is damaged."""
        for record in scan_segment(self._directory, segment, self._marking, begin):
            header = record.header
            self._batch = max(self._batch, header.batch)
            if header.kind != BODY:
                continue
            try:
                crc = read_crc(file.fileno(), record.start, header.body_length)
            except StoreCorrupt:
                crc = -1
            if crc != header.body_crc:
                self.damaged += 1
                if _goes_on(file.fileno(), record.position + header.length):
                    # It is all there: what looks like a record in it is what its sender wrote.
                    continue
                return record.position
            self._db.execute(
                "INSERT OR REPLACE INTO temp.found VALUES (?, ?, ?, ?, ?, ?)",
                (
                    header.lsn,
                    segment,
                    record.position,
                    record.start,
                    header.body_length,
                    is_unended(file.fileno(), record.start, header.body_length),
                ),
            )
            if header.lsn >= since:
                note = ["body", header.lsn, header.body_length, json.loads(record.meta)]
                self._db.execute(
                    "INSERT INTO temp.event VALUES (?, ?)", (header.lsn, json.dumps(note))
                )
        return None

    # Events, in the order in which they happened.

    def _apply(self, note: Note) -> None:
        kind, *rest = note
        match kind:
            case "body":
                self._apply_body(*rest)
            case "put":
                self._apply_put(*rest)
            case "copied":
                self._apply_copied(*rest)
            case "flags":
                self._apply_flags(*rest)
            case "gone":
                self._apply_gone(*rest)
            case "mailbox":
                self._apply_mailbox(*rest)
            case "no-mailbox":
                self._apply_no_mailbox(*rest)
            case "metadata":
                self._apply_metadata(*rest)
            case "annotations":
                self._apply_annotations(*rest)
            case "acl":
                put_entry(self._db, *rest)
            case "access-key":
                put_key(self._db, *rest)
            case "fetched":
                put_fetched(self._db, *rest)
            case "fetched-gone":
                set_gone(self._db, *rest)
            case "public":
                self._apply_public(*rest)
            case "account":
                self._account(*rest)
            case "no-account":
                self._apply_no_account(*rest)
            case "threads":
                self._apply_threads(*rest)
            case "subscribed":
                self._apply_subscribed(*rest)
            case "queued" | "attempted" | "postponed" | "forgotten" | "events" | "listeners":
                self._queue.apply(kind, *rest)

    def _apply_body(self, body_id: int, size: int, placements: list[list[Any]]) -> None:
        for placement in placements:
            mailbox_id, uid, modseq, bits, keywords, date, saved, account, name, validity = (
                placement
            )
            row = [uid, body_id, bits, keywords, date, saved, size]
            self._apply_put(mailbox_id, modseq, account, name, validity, [row])

    def _apply_put(
        self,
        mailbox_id: int,
        modseq: int,
        account: str,
        name: str,
        validity: int,
        rows: list[list[Any]],
    ) -> None:
        self._ensure_mailbox(mailbox_id, account, name, validity)
        account_id = self._account(account)
        for uid, body_id, bits, keywords, date, saved, size in rows:
            flags = self._flags(account_id, bits, keywords)
            self._db.execute(
                "INSERT OR IGNORE INTO message (mailbox_id, uid, flags, internal_date, size,"
                " modseq, created_modseq, body_id, save_date) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (mailbox_id, uid, flags, date, size, modseq, modseq, body_id, saved),
            )

    def _apply_copied(
        self,
        mailbox_id: int,
        modseq: int,
        account: str,
        name: str,
        validity: int,
        first_uid: int,
        save_date: int,
        columns: list[list[int]],
    ) -> None:
        rows: list[list[Any]] = [
            [uid, body_id, bits, [], date, save_date, size]
            for uid, (body_id, bits, date, size) in enumerate(zip(*columns, strict=True), first_uid)
        ]
        self._apply_put(mailbox_id, modseq, account, name, validity, rows)

    def _apply_flags(self, mailbox_id: int, modseq: int, changes: list[list[Any]]) -> None:
        row = self._db.execute(
            "SELECT account_id FROM mailbox WHERE id = ?", (mailbox_id,)
        ).fetchone()
        if row is None:
            return
        for bits, keywords, uids in changes:
            flags = self._flags(row[0], bits, keywords)
            for first, last in parse_uids(str(uids)):
                self._db.execute(
                    "UPDATE message SET flags = ?, modseq = ?"
                    " WHERE mailbox_id = ? AND uid BETWEEN ? AND ? AND modseq < ?",
                    (flags, modseq, mailbox_id, first, last, modseq),
                )

    def _apply_gone(self, mailbox_id: int, modseq: int, uids: str) -> None:
        for first, last in parse_uids(uids):
            for table in ("message", "annotation"):
                self._db.execute(
                    f"DELETE FROM {table} WHERE mailbox_id = ? AND uid BETWEEN ? AND ?",
                    (mailbox_id, first, last),
                )
            self._db.execute(
                "INSERT OR IGNORE INTO vanished VALUES (?, ?, ?, ?)",
                (mailbox_id, modseq, first, last),
            )

    def _apply_threads(
        self,
        account: str,
        mailbox_id: int,
        names: list[tuple[int, int]],
        keys: list[tuple[int, int]],
    ) -> None:
        account_id = self._account(account)
        self._db.executemany(
            "INSERT OR IGNORE INTO thread_key VALUES (?, ?, ?)",
            [(account_id, key, thread) for key, thread in keys],
        )
        self._db.executemany(
            "UPDATE message SET thread_id = ? WHERE mailbox_id = ? AND uid = ?",
            [(thread, mailbox_id, uid) for uid, thread in names],
        )

    def _apply_mailbox(
        self,
        mailbox_id: int,
        account: str,
        name: str,
        validity: int,
        special_use: str | None,
        selectable: bool,
    ) -> None:
        self._ensure_mailbox(mailbox_id, account, name, validity)
        self._free_name(self._account(account), name, mailbox_id)
        self._db.execute(
            "UPDATE mailbox SET name = ?, uid_validity = ?, special_use = ?, selectable = ?"
            " WHERE id = ?",
            (name, validity, special_use, selectable, mailbox_id),
        )

    def _apply_metadata(
        self, mailbox_id: int, user: str | None, entries: dict[str, str | None]
    ) -> None:
        account_id = NOBODY if user is None else self._account(user)
        put_entries(self._db, mailbox_id, account_id, decode_entries(entries))

    def _apply_annotations(
        self, mailbox_id: int, user: str | None, modseq: int, changes: list[Any]
    ) -> None:
        account_id = NOBODY if user is None else self._account(user)
        replay_annotations(self._db, mailbox_id, account_id, modseq, changes)

    def _apply_no_mailbox(self, mailbox_id: int) -> None:
        for table in ("message", "annotation", "vanished", "acl", "metadata", "access_key"):
            self._db.execute(f"DELETE FROM {table} WHERE mailbox_id = ?", (mailbox_id,))
        self._db.execute("DELETE FROM mailbox WHERE id = ?", (mailbox_id,))

    def _apply_no_account(self, name: str) -> None:
        account_id = self._account(name)
        forget_account(self._db, account_id, name)
        for (mailbox_id,) in self._db.execute(
            "SELECT id FROM mailbox WHERE account_id = ?", (account_id,)
        ).fetchall():
            self._apply_no_mailbox(mailbox_id)
        for table in ("subscription", "keyword_set", "delegate", "thread_key"):
            self._db.execute(f"DELETE FROM {table} WHERE account_id = ?", (account_id,))
        self._db.execute("DELETE FROM account WHERE id = ?", (account_id,))
        self._keyword_sets.clear()

    def _apply_subscribed(self, account: str, name: str, wanted: bool) -> None:
        sql = (
            "INSERT OR IGNORE INTO subscription VALUES (?, ?)"
            if wanted
            else "DELETE FROM subscription WHERE account_id = ? AND name = ?"
        )
        self._db.execute(sql, (self._account(account), name))

    def _apply_public(self, name: str, public: bool) -> None:
        self._db.execute(
            "UPDATE account SET public = ? WHERE id = ?", (public, self._account(name))
        )

    # Rows.

    def _account(self, name: str) -> int:
        """Id of the account, which is made if it is missing."""
        row = self._db.execute("SELECT id FROM account WHERE name = ?", (name,)).fetchone()
        if row is not None:
            return int(row[0])
        cursor = self._db.execute("INSERT INTO account (name) VALUES (?)", (name,))
        self._db.execute("INSERT OR IGNORE INTO domain VALUES (?)", (name.rpartition("@")[2],))
        return int(cursor.lastrowid or 0)

    def _ensure_mailbox(self, mailbox_id: int, account: str, name: str, validity: int) -> None:
        found = self._db.execute("SELECT 1 FROM mailbox WHERE id = ?", (mailbox_id,)).fetchone()
        if found is None:
            account_id = self._account(account)
            self._free_name(account_id, name, mailbox_id)
            self._db.execute(
                "INSERT INTO mailbox (id, account_id, name, uid_validity) VALUES (?, ?, ?, ?)",
                (mailbox_id, account_id, name, validity),
            )

    def _free_name(self, account_id: int, name: str, mailbox_id: int) -> None:
        """Rename another mailbox of that name, whose end is not known."""
        row = self._db.execute(
            "SELECT id FROM mailbox WHERE account_id = ? AND name = ? AND id <> ?",
            (account_id, name, mailbox_id),
        ).fetchone()
        if row is not None:
            self._db.execute(
                "UPDATE mailbox SET name = ? WHERE id = ?",
                (f"{name} (recovered {row[0]})", row[0]),
            )

    def _flags(self, account_id: int, bits: int, keywords: Sequence[str]) -> int:
        if not keywords:
            return bits
        text = join_keywords(keywords)
        number = self._keyword_sets.get((account_id, text))
        if number is None:
            self._db.execute(
                "INSERT OR IGNORE INTO keyword_set (account_id, keywords) VALUES (?, ?)",
                (account_id, text),
            )
            (number,) = self._db.execute(
                "SELECT id FROM keyword_set WHERE account_id = ? AND keywords = ?",
                (account_id, text),
            ).fetchone()
            self._keyword_sets[account_id, text] = int(number)
        return bits | int(number) << KEYWORD_SHIFT

    # The end.

    def _settle(self) -> None:
        """Make everything that is counted fit what is there."""
        run = self._db.execute
        for table in ("message", "vanished", "acl", "access_key"):
            run(f"DELETE FROM {table} WHERE mailbox_id NOT IN (SELECT id FROM mailbox)")
        run(
            "DELETE FROM metadata WHERE mailbox_id NOT IN (SELECT 0 UNION SELECT id FROM mailbox)"
            " OR account_id NOT IN (SELECT 0 UNION SELECT id FROM account)"
        )
        run("DELETE FROM doomed_mailbox")
        self._add_missing_mailboxes()
        (self.lost,) = run(
            "SELECT count(*) FROM message WHERE body_id NOT IN (SELECT id FROM temp.found)"
        ).fetchone()
        run(
            "INSERT OR IGNORE INTO vanished SELECT mailbox_id, (SELECT highest_modseq FROM mailbox"
            " WHERE id = mailbox_id) + 1, uid, uid FROM message"
            " WHERE body_id NOT IN (SELECT id FROM temp.found)"
        )
        run("DELETE FROM message WHERE body_id NOT IN (SELECT id FROM temp.found)")
        run(
            "DELETE FROM annotation WHERE account_id NOT IN (SELECT 0 UNION SELECT id FROM account)"
            " OR NOT EXISTS (SELECT 1 FROM message m"
            " WHERE m.mailbox_id = annotation.mailbox_id AND m.uid = annotation.uid)"
        )
        run(
            "UPDATE message SET size = f.size FROM temp.found f"
            " WHERE f.id = body_id AND message.size <> f.size"
        )
        self._queue.drop_lost()
        run("DELETE FROM changed")
        run(
            "INSERT INTO changed SELECT mailbox_id, modseq, uid, uid FROM message"
            " WHERE modseq > created_modseq"
        )
        self._settle_bodies()
        self._settle_mailboxes()
        self._queue.settle()

    def _add_missing_mailboxes(self) -> None:
        """Those that an account cannot be without, and those it had when it was made."""
        accounts = self._db.execute("SELECT id FROM account").fetchall()
        for (account_id,) in accounts:
            known = self._db.execute(
                "SELECT name FROM mailbox WHERE account_id = ?", (account_id,)
            ).fetchall()
            wanted = [INBOX] if len(known) > 1 else NEW_ACCOUNT_MAILBOXES
            for name in wanted:
                if (name,) not in known:
                    self._db.execute(
                        "INSERT INTO mailbox (account_id, name, uid_validity) VALUES (?, ?, ?)",
                        (account_id, name, next_uid_validity(self._db, self._now)),
                    )
            for name, special_use in NEW_ACCOUNT_MAILBOXES.items():
                if len(known) <= 1:
                    # What was subscribed is lost as well, and some programs show nothing else.
                    self._db.execute(
                        "INSERT OR IGNORE INTO subscription VALUES (?, ?)", (account_id, name)
                    )
                self._db.execute(
                    "UPDATE mailbox SET special_use = ? WHERE account_id = ? AND name = ?"
                    " AND NOT EXISTS (SELECT 1 FROM mailbox b WHERE b.account_id = ?"
                    " AND b.special_use = ?)",
                    (special_use, account_id, name, account_id, special_use),
                )

    def _settle_bodies(self) -> None:
        run = self._db.execute
        run("DELETE FROM body")
        run(
            "INSERT INTO body SELECT f.id, f.segment, f.position, f.start, f.size, m.n"
            f" FROM temp.found f JOIN (SELECT body_id, count(*) AS n FROM ({BODY_USERS})"
            " GROUP BY body_id) m ON m.body_id = f.id"
        )
        for table in DERIVED:
            run(f"DELETE FROM {table} WHERE body_id NOT IN (SELECT id FROM body)")
        run("DELETE FROM unended_body")
        run(
            "INSERT INTO unended_body SELECT f.id FROM temp.found f JOIN body b ON b.id = f.id"
            " WHERE f.unended"
        )
        run("DELETE FROM setting WHERE name IN ('ends_known_from', 'made_ahead_to')")
        run("DELETE FROM segment")
        for number in list_segments(self._directory):
            size = os.path.getsize(os.path.join(self._directory, segment_name(number)))
            size = max(size, SEGMENT_HEAD_SIZE)
            run(
                "INSERT INTO segment SELECT ?, ?, ? - ifnull(sum(start - position + size), 0)"
                " FROM body WHERE segment = ?",
                (number, size, size - SEGMENT_HEAD_SIZE, number),
            )
        (lsn,) = run(
            "SELECT max(ifnull((SELECT max(id) FROM temp.found), 0), lsn) FROM log_state"
        ).fetchone()
        (event,) = run("SELECT ifnull(max(lsn), 0) FROM temp.event").fetchone()
        run(
            "UPDATE log_state SET batch = max(batch, ?), lsn = ?, segment = 0, journal = ?,"
            " journal_size = 0, closed = 1",
            (
                self._batch,
                max(lsn, event) + SAFETY_GAP,
                max(list_journals(self._directory), default=0) + 1,
            ),
        )

    def _settle_mailboxes(self) -> None:
        run = self._db.execute
        run(
            "UPDATE mailbox SET messages = c.n, unseen = c.unseen, size = c.octets FROM ("
            "SELECT b.id AS id, count(m.uid) AS n, ifnull(sum(m.size), 0) AS octets,"
            f" ifnull(sum(NOT m.flags & {SEEN_BIT}), 0) AS unseen"
            " FROM mailbox b LEFT JOIN message m ON m.mailbox_id = b.id GROUP BY b.id"
            ") AS c WHERE c.id = mailbox.id"
        )
        run(
            "UPDATE mailbox SET uid_next = ? + max(uid_next,"
            " 1 + ifnull((SELECT max(uid) FROM message WHERE mailbox_id = mailbox.id), 0),"
            " 1 + ifnull((SELECT max(last_uid) FROM vanished WHERE mailbox_id = mailbox.id), 0)),"
            " highest_modseq = ? + max(highest_modseq,"
            " ifnull((SELECT max(modseq) FROM message WHERE mailbox_id = mailbox.id), 0),"
            " ifnull((SELECT max(modseq) FROM vanished WHERE mailbox_id = mailbox.id), 0))",
            (SAFETY_GAP, SAFETY_GAP),
        )
        run(
            "UPDATE setting SET value = max(value, (SELECT ifnull(max(uid_validity), 0)"
            " FROM mailbox)) WHERE name = 'uid_validity'"
        )


def _goes_on(descriptor: int, position: int) -> bool:
    """Whether a segment has its next record there, or its end."""
    data = os.pread(descriptor, RECORD_HEADER_SIZE, position)
    if not data:
        return position == os.fstat(descriptor).st_size
    if not any(data):
        # Room written ahead of the end; or a block is missing, which has the body's end, too.
        return os.pread(descriptor, 1, position - 1) != b"\0"
    try:
        decode_header(data)
    except StoreCorrupt:
        return False
    return True
