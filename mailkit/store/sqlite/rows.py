"""Reading and changing sets of message rows; SQL that the writer's operations share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import NamedTuple

from mailkit.model import MessageInfo
from mailkit.store.sqlite.flags import SEEN_BIT, FlagSets
from mailkit.store.sqlite.journal import Note

#: In place of a mailbox's or an account's id: the server, and what is shared.
NOBODY = 0
#: Share of the wanted rows in a range, above which reading the whole range is cheaper.
DENSE = 0.2


#: A message's row: the values of :data:`COLUMNS`.
Row = tuple[int, int, int, int, int, int, "int | None", int]
#: What is selected for a :data:`Row`.
COLUMNS = "uid, flags, internal_date, size, modseq, body_id, thread_id, save_date"
_IN_RANGE = f"SELECT {COLUMNS} FROM message WHERE mailbox_id = ? AND uid BETWEEN ? AND ?"
_LISTED = "mailbox_id = ? AND uid IN (SELECT value FROM json_each(?))"
_IN_LIST = f"SELECT {COLUMNS} FROM message WHERE {_LISTED} ORDER BY uid"

#: Limits of accounts: columns of theirs, and settings for all accounts.
MAIL_LIMITS = ("max_octets", "max_messages", "max_mailboxes")
#: What is selected for the limits of accounts; NULL for none.
QUOTA_LIMITS = ", ".join(
    f"nullif(ifnull({name}, (SELECT value FROM setting WHERE name = '{name}')), 0)"
    for name in MAIL_LIMITS
)
#: Octets and number of an account's messages, and the number of its mailboxes.
USAGE = (
    "SELECT ifnull(sum(size), 0), ifnull(sum(messages), 0), ifnull(sum(selectable), 0)"
    " FROM mailbox WHERE account_id = ?"
)


class Selection(NamedTuple):
    """Rows of one mailbox by ascending UID."""

    rows: list[Row]
    #: They are all rows from the first one's UID to the last one's.
    is_range: bool


def select_rows(connection: sqlite3.Connection, mailbox_id: int, uids: Sequence[int]) -> Selection:
    """The rows of those UIDs that exist, whatever the order in which they are named."""
    if not len(uids):
        return Selection([], True)
    # Strictly ascending, or else the comparison of lengths below would deceive.
    uids = sorted(set(uids))
    first, last = uids[0], uids[-1]
    span = last - first + 1
    if span == len(uids):
        rows = connection.execute(_IN_RANGE, (mailbox_id, first, last)).fetchall()
        return Selection(rows, True)
    if len(uids) < span * DENSE:
        rows = connection.execute(_IN_LIST, (mailbox_id, json.dumps(list(uids)))).fetchall()
        return Selection(rows, len(rows) == 1)
    present = connection.execute(_IN_RANGE, (mailbox_id, first, last)).fetchall()
    wanted = set(uids)
    rows = [row for row in present if row[0] in wanted]
    return Selection(rows, len(rows) == len(present))


def select_span(connection: sqlite3.Connection, span: Span) -> list[Row]:
    """The rows of a span."""
    return connection.execute(_IN_RANGE, span).fetchall()


class Span(NamedTuple):
    """All messages of a mailbox from one UID to another."""

    mailbox_id: int
    first: int
    last: int


#: SQL that holds for the messages of a :class:`Span`, whose values are its parameters.
IN_SPAN = "mailbox_id = ? AND uid BETWEEN ? AND ?"


def find_span(connection: sqlite3.Connection, mailbox_id: int, uids: Sequence[int]) -> Span | None:
    """The span that holds those of the messages that exist, and no others.

    :param uids: in any order.
    :returns: None where they are not all that there are between them.
    """
    if not len(uids):
        return None
    first, last = uids[0], uids[-1]
    span = Span(mailbox_id, first, last)
    if last - first + 1 == len(uids):
        if isinstance(uids, range) and uids.step == 1:
            return span
        return span if list(uids) == list(range(first, last + 1)) else None
    if len(uids) < (last - first + 1) * DENSE:
        return None
    # Whatever is missing between them is missing in the mailbox.
    return span if select_uids(connection, IN_SPAN, span) == list(uids) else None


def select_uids(connection: sqlite3.Connection, sql: str, values: Sequence[object]) -> list[int]:
    """UIDs of the messages for which a condition holds, ascending.

    They come as one value: as rows they take twice the time, and the interpreter's lock is let go
    for each of them.
    """
    (text,) = connection.execute(
        f"SELECT group_concat(uid) FROM message WHERE {sql}", values
    ).fetchone()
    return to_uids(text)


def to_uids(text: str | None) -> list[int]:
    """What ``group_concat(uid)`` gives, ascending."""
    uids = list(map(int, text.split(","))) if text else []
    # They nearly always are, by the primary key.
    uids.sort()
    return uids


def count_users(
    connection: sqlite3.Connection,
    difference: int,
    messages: int,
    sql: str,
    values: Sequence[object],
) -> None:
    """Let bodies know that messages of a mailbox have come to use them, or go.

    :param difference: 1 or -1, for each message.
    :param messages: how many they are, one at least.
    :param sql: holds for the messages.
    """
    bodies, first, last = _find_bodies(connection, messages, sql, values)
    if bodies < messages:
        connection.execute(
            f"UPDATE body SET refs = refs + {difference} * v.n FROM (SELECT body_id,"
            f" count(*) AS n FROM message WHERE {sql} GROUP BY body_id) AS v"
            " WHERE body.id = v.body_id",
            values,
        )
        return
    where, chosen = f"IN (SELECT body_id FROM message WHERE {sql})", values
    if last - first + 1 == bodies:
        where, chosen = "BETWEEN ? AND ?", (first, last)
    connection.execute(f"UPDATE body SET refs = refs + {difference} WHERE id {where}", chosen)


def _find_bodies(
    connection: sqlite3.Connection, messages: int, sql: str, values: Sequence[object]
) -> tuple[int, int, int]:
    """How many bodies some messages have, and the first and the last of them."""
    some = f"SELECT uid, body_id FROM message WHERE {sql}"
    uid, first = connection.execute(f"{some} ORDER BY uid LIMIT 1", values).fetchone()
    last_uid, last = connection.execute(f"{some} ORDER BY uid DESC LIMIT 1", values).fetchone()
    if last - first == last_uid - uid:
        # As they came, one behind the other: to see that takes a third of what it takes to count.
        (is_other,) = connection.execute(
            f"SELECT EXISTS ({some} AND body_id - uid <> ?)", (*values, first - uid)
        ).fetchone()
        if not is_other:
            return messages, first, last
    found: tuple[int, int, int] = connection.execute(
        f"SELECT count(DISTINCT body_id), min(body_id), max(body_id) FROM message WHERE {sql}",
        values,
    ).fetchone()
    return found


#: One row for each reason to keep a body.
BODY_USERS = (
    "SELECT body_id FROM message UNION ALL"
    " SELECT body_id FROM queue_message WHERE body_id IS NOT NULL"
)


def condition(uids: Sequence[int], is_range: bool) -> tuple[str, tuple[object, ...]]:
    """SQL that holds for these UIDs of a mailbox, and its parameters.

    :param uids: ascending, at least one, all of messages that exist.
    :param is_range: no other message lies between them.
    """
    if is_range or uids[-1] - uids[0] + 1 == len(uids):
        return "uid BETWEEN ? AND ?", (uids[0], uids[-1])
    return "uid IN (SELECT value FROM json_each(?))", (json.dumps(list(uids)),)


def to_infos(rows: Sequence[Row], flag_sets: FlagSets) -> list[MessageInfo]:
    """What the contracts show of rows."""
    # tuple.__new__ goes around the Python function that a NamedTuple has for it.
    new = tuple.__new__
    info = MessageInfo
    return [
        new(
            info,
            (
                uid,
                flag_sets[flags],
                date,
                size,
                modseq,
                f"M{body:x}",
                None if thread is None else f"T{thread:x}",
                saved,
            ),
        )
        for uid, flags, date, size, modseq, body, thread, saved in rows
    ]


class Dropped(NamedTuple):
    """What :func:`drop_bodies` removed."""

    #: Messages, those of the outbound queue included.
    messages: int
    #: Ids of the mailboxes in which they were.
    mailboxes: list[int]


def drop_bodies(connection: sqlite3.Connection, first: int) -> Dropped:
    """Remove the messages of all bodies from a number on, as if they were expunged."""
    places = connection.execute(
        "SELECT m.mailbox_id, b.account_id FROM message m LEFT JOIN mailbox b"
        " ON b.id = m.mailbox_id WHERE m.body_id >= ? GROUP BY m.mailbox_id",
        (first,),
    ).fetchall()
    for mailbox_id, account_id in places:
        connection.execute(
            "UPDATE mailbox SET highest_modseq = 1 + (SELECT max(highest_modseq) FROM mailbox"
            " WHERE account_id = ?), messages = messages - v.n, size = mailbox.size - v.octets,"
            " unseen = mailbox.unseen - v.unseen FROM ("
            f"SELECT count(*) AS n, sum(size) AS octets, sum(NOT flags & {SEEN_BIT}) AS unseen"
            " FROM message WHERE mailbox_id = ? AND body_id >= ?) AS v WHERE id = ?",
            (account_id, mailbox_id, first, mailbox_id),
        )
    connection.execute(
        "INSERT INTO vanished SELECT m.mailbox_id, b.highest_modseq, m.uid, m.uid"
        " FROM message m JOIN mailbox b ON b.id = m.mailbox_id WHERE m.body_id >= ?",
        (first,),
    )
    dropped = connection.execute("DELETE FROM message WHERE body_id >= ?", (first,)).rowcount
    for mailbox_id, _ in places:
        connection.execute(
            "DELETE FROM annotation WHERE mailbox_id = ? AND uid NOT IN"
            " (SELECT uid FROM message WHERE mailbox_id = ?)",
            (mailbox_id, mailbox_id),
        )
    dropped += drop_queued(connection, "body_id >= ?", first)
    connection.execute("UPDATE body SET refs = 0 WHERE id >= ?", (first,))
    return Dropped(dropped, [mailbox_id for mailbox_id, _ in places])


def drop_queued(connection: sqlite3.Connection, condition: str, *values: object) -> int:
    """Remove messages from the outbound queue, as if they had never been there.

    :param condition: of SQL, on ``queue_message``.
    :returns: how many messages that were.
    """
    gone = f"SELECT id FROM queue_message WHERE {condition}"
    for table in ("queue_attempt", "queue_event", "queue_recipient"):
        connection.execute(f"DELETE FROM {table} WHERE message_id IN ({gone})", values)
    count = connection.execute(f"DELETE FROM queue_message WHERE {condition}", values).rowcount
    if count:
        connection.execute(
            "DELETE FROM queue_domain WHERE name NOT IN"
            " (SELECT domain FROM queue_recipient WHERE next_time IS NOT NULL)"
        )
    return count


#: When a domain is due: the index's first entry, for min() with GROUP BY looks at all of them.
FIRST_DUE = (
    "SELECT next_time FROM queue_recipient WHERE domain = ? AND next_time IS NOT NULL"
    " ORDER BY next_time LIMIT 1"
)
_DUE_AND_TOLD = f"SELECT ({FIRST_DUE}), (SELECT next_time FROM queue_domain WHERE name = ?)"


def settle_domains(connection: sqlite3.Connection, domains: Collection[str]) -> None:
    """Let the rows of domains tell when they are due."""
    for domain in domains:
        due, told = connection.execute(_DUE_AND_TOLD, (domain, domain)).fetchone()
        # A busy domain's row is right most of the time.
        if due is None:
            connection.execute("DELETE FROM queue_domain WHERE name = ?", (domain,))
        elif due != told:
            connection.execute("INSERT OR REPLACE INTO queue_domain VALUES (?, ?)", (domain, due))


def mailbox_note(connection: sqlite3.Connection, account: str, mailbox_id: int) -> Note:
    """What the journal is to know of a mailbox."""
    name, validity, special_use, selectable = connection.execute(
        "SELECT name, uid_validity, special_use, selectable FROM mailbox WHERE id = ?",
        (mailbox_id,),
    ).fetchone()
    return ["mailbox", mailbox_id, account, name, validity, special_use, bool(selectable)]
