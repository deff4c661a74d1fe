"""Is a store whole? Reads everything and changes nothing; a server may be running."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailkit.errors import MailError, StoreCorrupt, StoreUnavailable
from mailkit.store.sqlite.bodies import BodyPlace, verify_body
from mailkit.store.sqlite.ends import ends_known_from
from mailkit.store.sqlite.flags import KEYWORD_SHIFT, SEEN_BIT
from mailkit.store.sqlite.marking import read_marking
from mailkit.store.sqlite.migrations import DERIVED, MIGRATIONS
from mailkit.store.sqlite.recovery import newest_batch, refuse_older_index
from mailkit.store.sqlite.rows import BODY_USERS
from mailkit.store.sqlite.schema import INDEX_NAME, UNREADABLE, connect
from mailkit.store.sqlite.segments import SEGMENT_HEAD_SIZE, list_segments, segment_name
from mailkit.store.sqlite.versions import refuse_newer, refuse_unreleased, version_of

#: Lines about problems of one kind; what exceeds them is only counted.
MAX_LINES = 20
# A body's place, and whether it does not end with CRLF.
_LIVE_BODIES = (
    "SELECT id, segment, position, start, size, EXISTS (SELECT 1 FROM unended_body u"
    " WHERE u.body_id = body.id) FROM body WHERE refs > 0"
)
# Bodies whose rows are read at a time.
_PAGE = 1000


@dataclass
class Report:
    """What a check found."""

    #: One line each; empty when the store is whole.
    problems: list[str] = field(default_factory=list)
    #: What is worth knowing and harms nobody.
    notes: list[str] = field(default_factory=list)
    #: How many of what were looked at.
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.problems

    def add(self, lines: Iterator[str]) -> None:
        """Take problems of one kind."""
        for number, line in enumerate(lines):
            if number == MAX_LINES:
                more = 1 + sum(1 for _ in lines)
                self.problems.append(f"... and {more} more of the kind")
                return
            self.problems.append(line)


# Queries that find nothing in a store that is whole; the text is filled with the row.
_RULES = (
    (
        "SELECT b.id, b.name, b.messages, count(m.uid), b.unseen,"
        f" ifnull(sum(NOT m.flags & {SEEN_BIT}), 0), b.size, ifnull(sum(m.size), 0)"
        " FROM mailbox b LEFT JOIN message m ON m.mailbox_id = b.id GROUP BY b.id"
        " HAVING b.messages <> count(m.uid) OR b.size <> ifnull(sum(m.size), 0)"
        f" OR b.unseen <> ifnull(sum(NOT m.flags & {SEEN_BIT}), 0)",
        "mailbox {0} ({1}) counts {2} messages where there are {3}, {4} unseen of {5},"
        " {6} octets of {7}",
    ),
    (
        "SELECT b.id, b.name, max(m.uid), b.uid_next FROM mailbox b"
        " JOIN message m ON m.mailbox_id = b.id GROUP BY b.id HAVING max(m.uid) >= b.uid_next",
        "mailbox {0} ({1}) has UID {2}, but says that the next one is {3}",
    ),
    (
        "SELECT b.id, b.name, max(m.modseq), b.highest_modseq FROM mailbox b"
        " JOIN message m ON m.mailbox_id = b.id GROUP BY b.id"
        " HAVING max(m.modseq) > b.highest_modseq",
        "mailbox {0} ({1}) has modification sequence {2}, but says that the highest is {3}",
    ),
    (
        "SELECT mailbox_id, uid, created_modseq FROM (SELECT mailbox_id, uid, created_modseq,"
        " lag(created_modseq, 1, 0) OVER (PARTITION BY mailbox_id ORDER BY uid) AS before,"
        " modseq FROM message) WHERE before > created_modseq OR created_modseq > modseq",
        "message {1} of mailbox {0} came at modification sequence {2}, which is out of order",
    ),
    (
        "SELECT m.mailbox_id, m.uid FROM message m WHERE NOT EXISTS"
        " (SELECT 1 FROM mailbox b WHERE b.id = m.mailbox_id AND b.selectable)"
        " AND NOT EXISTS (SELECT 1 FROM doomed_mailbox d WHERE d.id = m.mailbox_id)",
        "message {1} is in mailbox {0}, which does not exist",
    ),
    (
        "SELECT v.mailbox_id, v.first_uid, v.last_uid FROM vanished v WHERE EXISTS"
        " (SELECT 1 FROM message m WHERE m.mailbox_id = v.mailbox_id"
        " AND m.uid BETWEEN v.first_uid AND v.last_uid)",
        "mailbox {0} has a message that is said to have vanished ({1}:{2})",
    ),
    (
        "SELECT m.mailbox_id, m.uid, m.modseq FROM message m WHERE m.modseq > m.created_modseq"
        " AND NOT EXISTS (SELECT 1 FROM changed c WHERE c.mailbox_id = m.mailbox_id"
        " AND c.modseq = m.modseq AND m.uid BETWEEN c.first_uid AND c.last_uid)",
        "message {1} of mailbox {0} has changed at modification sequence {2}, of which nobody is told",
    ),
    (
        "SELECT m.mailbox_id, m.uid, m.body_id FROM message m"
        " LEFT JOIN body b ON b.id = m.body_id WHERE b.id IS NULL",
        "message {1} of mailbox {0} has no body (number {2})",
    ),
    (
        "SELECT m.mailbox_id, m.uid, m.size, b.size FROM message m"
        " JOIN body b ON b.id = m.body_id WHERE b.size <> m.size",
        "message {1} of mailbox {0} has {2} octets, but its body has {3}",
    ),
    (
        f"SELECT b.id, b.refs, count(u.body_id) FROM body b LEFT JOIN ({BODY_USERS}) u"
        " ON u.body_id = b.id GROUP BY b.id HAVING b.refs <> count(u.body_id)",
        "body {0} counts {1} messages where there are {2}",
    ),
    (
        "SELECT q.id, q.body_id FROM queue_message q LEFT JOIN body b ON b.id = q.body_id"
        " WHERE q.body_id IS NOT NULL AND b.id IS NULL",
        "queued message {0} has no body (number {1})",
    ),
    (
        "SELECT r.domain, min(r.next_time), d.next_time FROM queue_recipient r"
        " LEFT JOIN queue_domain d ON d.name = r.domain WHERE r.next_time IS NOT NULL"
        " GROUP BY r.domain HAVING d.next_time IS NULL OR d.next_time <> min(r.next_time)",
        "mail for {0} is due at {1}, but the queue says {2}",
    ),
    (
        f"SELECT mailbox_id, uid FROM message WHERE flags >> {KEYWORD_SHIFT} AND NOT EXISTS"
        f" (SELECT 1 FROM keyword_set k WHERE k.id = flags >> {KEYWORD_SHIFT})"
        " AND mailbox_id NOT IN (SELECT id FROM doomed_mailbox)",
        "message {1} of mailbox {0} has keywords that are not known",
    ),
    (
        "SELECT s.id, s.dead, s.size - ? - (SELECT ifnull(sum(start - position + b.size), 0)"
        " FROM body b WHERE b.segment = s.id) AS garbage FROM segment s WHERE s.dead <> garbage",
        "segment {0} counts {1} octets of garbage where there are {2}",
    ),
    (
        "SELECT a.name FROM account a WHERE NOT EXISTS (SELECT 1 FROM mailbox b"
        " WHERE b.account_id = a.id AND b.name = 'INBOX' AND b.selectable)",
        "account {0} has no INBOX",
    ),
    (
        "SELECT a.name FROM account a WHERE NOT EXISTS (SELECT 1 FROM domain d"
        " WHERE d.name = substr(a.name, -length(d.name)))",
        "account {0} is in a domain that is not served",
    ),
    (
        "SELECT mailbox_id, entry FROM metadata"
        " WHERE mailbox_id NOT IN (SELECT 0 UNION SELECT id FROM mailbox)",
        "the entry {1} is about mailbox {0}, which does not exist",
    ),
    (
        "SELECT account_id, entry FROM metadata"
        " WHERE account_id NOT IN (SELECT 0 UNION SELECT id FROM account)",
        "the entry {1} belongs to account {0}, which does not exist",
    ),
    (
        "SELECT DISTINCT a.mailbox_id, a.uid FROM annotation a WHERE NOT EXISTS (SELECT 1"
        " FROM message m WHERE m.mailbox_id = a.mailbox_id AND m.uid = a.uid)",
        "message {1} of mailbox {0} has annotations, but does not exist",
    ),
    (
        "SELECT DISTINCT account_id, mailbox_id FROM annotation"
        " WHERE account_id NOT IN (SELECT 0 UNION SELECT id FROM account)",
        "annotations in mailbox {1} belong to account {0}, which does not exist",
    ),
    (
        "SELECT m.mailbox_id, m.uid, m.modseq, max(a.modseq) FROM message m JOIN annotation a"
        " ON a.mailbox_id = m.mailbox_id AND a.uid = m.uid GROUP BY m.mailbox_id, m.uid"
        " HAVING max(a.modseq) > m.modseq",
        "message {1} of mailbox {0} has modification sequence {2}, but an annotation has {3}",
    ),
    (
        "SELECT mailbox_id, identifier FROM acl WHERE mailbox_id NOT IN (SELECT id FROM mailbox)",
        "{1} has rights in mailbox {0}, which does not exist",
    ),
    (
        "SELECT b.id, b.name, c.identifier FROM acl c JOIN mailbox b ON b.id = c.mailbox_id"
        " WHERE ltrim(c.identifier, '-') NOT IN (SELECT name FROM account)"
        " AND ltrim(c.identifier, '-') NOT LIKE '@%' AND ltrim(c.identifier, '-') <> 'anyone'",
        "{2} has rights in mailbox {0} ({1}), but there is no such account",
    ),
    (
        "SELECT mailbox_id FROM access_key WHERE mailbox_id NOT IN (SELECT id FROM mailbox)",
        "mailbox {0} has an access key, but does not exist",
    ),
    (
        "SELECT account, mechanism FROM scram_key WHERE account NOT IN (SELECT name FROM account)",
        "the keys for {1} belong to {0}, which does not exist",
    ),
    (
        "SELECT account, prefix FROM app_password WHERE account NOT IN (SELECT name FROM account)",
        "the app password {1} belongs to {0}, which does not exist",
    ),
    (
        "SELECT DISTINCT account, source FROM fetched"
        " WHERE account NOT IN (SELECT name FROM account)",
        "{0}, which does not exist, has fetched mail from {1}",
    ),
    (
        "SELECT b.id, b.name FROM mailbox b WHERE b.account_id NOT IN (SELECT id FROM account)",
        "mailbox {0} ({1}) belongs to no account",
    ),
    (
        "SELECT account_id, count(*) FROM thread_key"
        " WHERE account_id NOT IN (SELECT id FROM account) GROUP BY account_id",
        "{1} keys of conversations belong to account {0}, which does not exist",
    ),
)


def check_store(directory: str) -> Report:
    """Check a store: the index's own integrity, its counters, every body's checksum.

    :raises StoreUnavailable: there is no store, it can't be opened, or an older mailkit made it.
    :raises StoreCorrupt: a newer mailkit made it, or one before the first release.
    """
    path = os.path.join(directory, INDEX_NAME)
    if not os.path.exists(path):
        raise StoreUnavailable(f"There is no mail store in {directory}")
    report = Report()
    connection = connect(path, read_only=True)
    try:
        _check_index(connection, report)
        if not report.problems:
            _check_rules(connection, report)
            _check_bodies(connection, os.path.join(directory, "log"), report)
            _check_files(connection, os.path.join(directory, "log"), report)
    except UNREADABLE as error:
        report.problems.append(f"the index cannot be read: {error}")
    finally:
        connection.close()
    return report


def _check_index(connection: sqlite3.Connection, report: Report) -> None:
    version, known = version_of(connection), len(MIGRATIONS)
    refuse_newer(version, known)
    if version == 0:
        report.problems.append("the index is empty")
        return
    refuse_unreleased(connection, MIGRATIONS)
    if version < known:
        # It is nothing that `mailkit repair` would have to mend.
        raise StoreUnavailable(
            f"The mail store has version {version}, made by an older mailkit; the next server that"
            f" opens it brings it up to version {known}"
        )
    rows = connection.execute(f"PRAGMA integrity_check({MAX_LINES})").fetchall()
    report.add(f"index: {line}" for (line,) in rows if line != "ok")


def _check_rules(connection: sqlite3.Connection, report: Report) -> None:
    for table in ("account", "mailbox", "message", "body", "summary", "segment"):
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        report.counts[table] = count
    for sql, text in _RULES:
        values = (SEGMENT_HEAD_SIZE,) if "?" in sql else ()
        rows = connection.execute(sql, values).fetchall()
        report.add(text.format(*row) for row in rows)
    for address, targets in connection.execute("SELECT address, targets FROM alias").fetchall():
        try:
            json.loads(targets)
        except ValueError:
            report.problems.append(f"alias {address} cannot be read")
    for table in DERIVED:
        (orphans,) = connection.execute(
            f"SELECT count(*) FROM {table} WHERE body_id NOT IN (SELECT id FROM body)"
        ).fetchone()
        if orphans:
            report.notes.append(f"{orphans} rows of {table} are about bodies that are gone")
    (doomed,) = connection.execute("SELECT count(*) FROM doomed_mailbox").fetchone()
    (dead,) = connection.execute("SELECT count(*) FROM body WHERE refs = 0").fetchone()
    if doomed or dead:
        report.notes.append(f"{doomed} deleted mailboxes and {dead} bodies wait to be removed")


def _check_bodies(connection: sqlite3.Connection, directory: str, report: Report) -> None:
    """Read every live body, in the order in which they came."""
    octets = 0
    (unsure,) = connection.execute(
        "SELECT CASE WHEN closed THEN lsn ELSE first_lsn END FROM log_state"
    ).fetchone()
    ends_known = ends_known_from(connection)
    damaged: list[tuple[int, str]] = []
    last = 0
    while True:
        rows = connection.execute(
            f"{_LIVE_BODIES} AND id > ? ORDER BY id LIMIT ?", (last, _PAGE)
        ).fetchall()
        for row in rows:
            problem = _verify(directory, row, ends_known)
            if problem is not None:
                # The compaction of a running server may have moved it, or it was removed.
                again = connection.execute(f"{_LIVE_BODIES} AND id = ?", row[:1]).fetchone()
                if again is not None and _verify(directory, again, ends_known) is not None:
                    damaged.append((row[0], problem))
            octets += row[4]
        if len(rows) < _PAGE:
            break
        last = rows[-1][0]
    report.counts["octets"] = octets
    torn = [body_id for body_id, _ in damaged if body_id >= unsure]
    if torn:
        report.notes.append(
            f"{len(torn)} messages of the last transaction are not whole; nobody was told that"
            " they had arrived, and they are dropped when the store is opened"
        )
    report.add(
        _describe(connection, body_id, problem)
        for body_id, problem in damaged
        if body_id not in torn
    )


def _verify(directory: str, row: tuple[int, ...], ends_known: int) -> str | None:
    *place, unended = row
    known = unended or place[0] >= ends_known
    return verify_body(directory, BodyPlace._make(place), bool(unended) if known else None)


def _describe(connection: sqlite3.Connection, body_id: int, problem: str) -> str:
    places = connection.execute(
        "SELECT a.name, b.name, m.uid FROM message m JOIN mailbox b ON b.id = m.mailbox_id"
        " JOIN account a ON a.id = b.account_id WHERE m.body_id = ? LIMIT 3",
        (body_id,),
    ).fetchall()
    where = "; ".join(f"{account}, {mailbox}, UID {uid}" for account, mailbox, uid in places)
    return f"body {body_id} ({where or 'nobody has it'}): {problem}"


def _check_files(connection: sqlite3.Connection, directory: str, report: Report) -> None:
    """Files of which the index knows nothing, and what is behind its end."""
    try:
        # A store that only had accounts added has no log yet; a missing segment is told above.
        present = list_segments(directory) if os.path.isdir(directory) else []
    except OSError as error:
        raise MailError(f"Cannot read {directory}: {error.strerror}") from error
    known = dict(connection.execute("SELECT id, size FROM segment").fetchall())
    (current,) = connection.execute("SELECT segment FROM log_state").fetchone()
    unknown: dict[int, int | None] = {}
    for number in present:
        try:
            size = os.path.getsize(os.path.join(directory, segment_name(number)))
        except OSError:
            continue
        if number not in known:
            unknown[number] = None
            report.notes.append(
                f"segment {number} ({size} octets) is not in use and can be reclaimed"
            )
        elif number == current and size > known[number]:
            unknown[number] = known[number]
            report.notes.append(
                f"segment {number} ends with {size - known[number]} octets of room, or of an"
                " unfinished transaction, which are cut off when the store is opened"
            )
    try:
        newest = newest_batch(directory, read_marking(connection), unknown)
    except StoreCorrupt as error:
        report.problems.append(error.text)
        return
    except OSError:
        # A segment that a running server has dropped meanwhile.
        return
    # Asked for after the log was read, which a running server goes on writing.
    (batch,) = connection.execute("SELECT batch FROM log_state").fetchone()
    try:
        refuse_older_index(newest, batch)
    except StoreCorrupt as error:
        report.problems.append(error.text)
