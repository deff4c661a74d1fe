"""Annotations about messages (RFC 5257) in the index."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mailkit._typing import override
from mailkit.annotations import Annotation, AnnotationChange
from mailkit.model import StoreResult
from mailkit.rights import Rights
from mailkit.store.annotations import (
    MAX_REMOVED,
    VALUE_OVERHEAD,
    Entries,
    by_scope,
    check_count,
    check_octets,
    check_sizes,
    octets_of,
    writable,
)
from mailkit.store.sqlite.journal import (
    Note,
    decode_entries,
    encode_entries,
    format_uids,
    parse_uids,
    to_ranges,
)
from mailkit.store.sqlite.rows import DENSE, NOBODY, Selection, condition, select_rows, to_infos
from mailkit.store.sqlite.spans import note_changed
from mailkit.store.sqlite.states import AccountState, MailboxState
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.writer import Operation

_OCTETS = f"sum({VALUE_OVERHEAD} + length(entry) + length(value))"
_TOTAL = f"SELECT ifnull({_OCTETS}, 0) FROM annotation WHERE value IS NOT NULL AND account_id = ?"
_OWNED = " AND mailbox_id IN (SELECT id FROM mailbox WHERE account_id = ?)"


class _Row(NamedTuple):
    uid: int
    entry: str
    #: None for one that is removed.
    value: bytes | None


# Reading.


def read_annotations(
    connection: sqlite3.Connection, mailbox_id: int, account_id: int, uids: Sequence[int]
) -> dict[int, list[Annotation]]:
    """What an account sees of messages, by ascending UID."""
    found: dict[int, list[Annotation]] = {}
    if not len(uids):
        return found
    # Of a range, those that nobody asked for are left out below.
    dense = len(uids) >= (uids[-1] - uids[0] + 1) * DENSE
    where, values = condition(uids, dense)
    rows = connection.execute(
        "SELECT uid, account_id, entry, value FROM annotation"
        f" WHERE mailbox_id = ? AND {where} AND account_id IN (?, ?) AND value IS NOT NULL"
        " ORDER BY uid, entry, account_id = ?",
        (mailbox_id, *values, NOBODY, account_id, NOBODY),
    ).fetchall()
    wanted = set(uids) if rows else ()
    for uid, owner, entry, value in rows:
        if uid in wanted:
            found.setdefault(uid, []).append(Annotation(entry, value, owner == NOBODY))
    return found


def read_changes(
    connection: sqlite3.Connection, mailbox_id: int, account_id: int, since: int
) -> list[AnnotationChange]:
    """What an account sees of the changes after a modification sequence."""
    rows = connection.execute(
        "SELECT uid, entry, modseq FROM annotation WHERE mailbox_id = ? AND modseq > ?"
        " AND account_id IN (?, ?) ORDER BY uid, entry, modseq",
        (mailbox_id, since, NOBODY, account_id),
    ).fetchall()
    return [AnnotationChange._make(row) for row in rows]


# Rows.


def _put_rows(
    connection: sqlite3.Connection,
    mailbox_id: int,
    account_id: int,
    modseq: int,
    rows: Iterable[_Row],
) -> None:
    """Write values; what is newer already stays."""
    rows = list(rows)
    connection.executemany(
        "INSERT INTO annotation (mailbox_id, uid, account_id, entry, value, modseq)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (mailbox_id, uid, account_id, entry) DO UPDATE"
        " SET value = excluded.value, modseq = excluded.modseq"
        " WHERE excluded.modseq > annotation.modseq",
        [(mailbox_id, uid, account_id, entry, value, modseq) for uid, entry, value in rows],
    )
    place = "mailbox_id = ? AND uid = ? AND account_id = ? AND value IS NULL"
    for uid in {row.uid for row in rows if row.value is None}:
        values = (mailbox_id, uid, account_id)
        connection.execute(
            f"DELETE FROM annotation WHERE {place} AND entry NOT IN (SELECT entry FROM annotation"
            f" WHERE {place} ORDER BY modseq DESC LIMIT ?)",
            (*values, *values, MAX_REMOVED),
        )


def _note(
    mailbox_id: int, user: str | None, modseq: int, changes: Iterable[tuple[str, Entries]]
) -> Note:
    """What the journal is to know."""
    encoded = [[uids, encode_entries(entries)] for uids, entries in changes]
    return ["annotations", mailbox_id, user, modseq, encoded]


def replay_annotations(
    connection: sqlite3.Connection,
    mailbox_id: int,
    account_id: int,
    modseq: int,
    changes: Iterable[tuple[str, Mapping[str, str | None]]],
) -> None:
    """Do what a note says to those messages that are there."""
    for text, encoded in changes:
        entries = decode_entries(encoded)
        for first, last in parse_uids(text):
            where = "mailbox_id = ? AND uid BETWEEN ? AND ?"
            place = (mailbox_id, first, last)
            connection.execute(
                f"UPDATE message SET modseq = ? WHERE {where} AND modseq < ?",
                (modseq, *place, modseq),
            )
            sql = f"SELECT uid FROM message WHERE {where}"
            rows = [
                _Row(uid, entry, value)
                for (uid,) in connection.execute(sql, place).fetchall()
                for entry, value in entries.items()
            ]
            _put_rows(connection, mailbox_id, account_id, modseq, rows)


def remove_annotations(
    tx: Transaction,
    mailbox_id: int,
    owner: AccountState | None,
    where: str,
    values: Sequence[object],
) -> None:
    """Messages are gone.

    :param owner: of the mailbox, if it is still there.
    :param where: SQL for their UIDs.
    """
    sql = f"FROM annotation WHERE mailbox_id = ? AND {where}"
    rows = tx.connection.execute(
        f"SELECT account_id, {_OCTETS} {sql} GROUP BY account_id", (mailbox_id, *values)
    ).fetchall()
    if not rows:
        return
    tx.connection.execute(f"DELETE {sql}", (mailbox_id, *values))
    for account_id, octets in rows:
        account = owner if account_id == NOBODY else tx.states.known_account(account_id)
        if account is not None:
            _grow(account, account_id == NOBODY, -(octets or 0))


# Limits.


def _grow(account: AccountState, shared: bool, octets: int) -> None:
    known = account.annotation_octets.get(shared)
    if known is not None:
        account.annotation_octets[shared] = known + octets


def _check_growth(tx: Transaction, account: AccountState, shared: bool, growth: int) -> None:
    """:raises TooManyEntries: there may not be so many octets."""
    if growth <= 0:
        return
    there = account.annotation_octets.get(shared)
    if there is None:
        sql, values = (_TOTAL + _OWNED, (NOBODY, account.id)) if shared else (_TOTAL, (account.id,))
        (there,) = tx.connection.execute(sql, values).fetchone()
        account.annotation_octets[shared] = there
    check_octets(there, growth)


def check_new(
    tx: Transaction,
    owner: AccountState,
    user: str,
    annotations: Iterable[Sequence[Annotation]],
) -> None:
    """Whether new messages may have these.

    :param owner: of the mailbox.
    :param user: who puts them there.
    :raises MailError: they may not.
    """
    growth: dict[bool, int] = {}
    for some in annotations:
        for shared, entries in by_scope(some).items():
            check_sizes(entries)
            check_count(0, sum(value is not None for value in entries.values()))
            octets = sum(octets_of(entry, value) for entry, value in entries.items())
            growth[shared] = growth.get(shared, 0) + octets
    for shared, octets in growth.items():
        _check_growth(tx, owner if shared else tx.states.account(user), shared, octets)


def annotate_new(
    tx: Transaction,
    mailbox: MailboxState,
    user: str,
    annotations: Mapping[int, Sequence[Annotation]],
    modseq: int,
) -> None:
    """Give new messages theirs, by UID."""
    scopes: dict[bool, list[tuple[str, dict[str, bytes | None]]]] = {}
    for uid, some in annotations.items():
        for shared, entries in by_scope(some).items():
            kept = {entry: value for entry, value in entries.items() if value is not None}
            if kept:
                scopes.setdefault(shared, []).append((str(uid), dict(kept)))
    for shared, changes in scopes.items():
        account = mailbox.account if shared else tx.states.account(user)
        rows = [_Row(int(uid), *item) for uid, entries in changes for item in entries.items()]
        _put_rows(tx.connection, mailbox.id, NOBODY if shared else account.id, modseq, rows)
        _grow(account, shared, sum(octets_of(row.entry, row.value) for row in rows))
        tx.note(_note(mailbox.id, None if shared else user, modseq, changes))


def has_annotations(tx: Transaction, mailbox: MailboxState) -> bool:
    """Whether anybody has said anything about a mailbox's messages."""
    (found,) = tx.connection.execute(
        "SELECT EXISTS (SELECT 1 FROM annotation WHERE mailbox_id = ?)", (mailbox.id,)
    ).fetchone()
    return bool(found)


def read_to_copy(
    tx: Transaction, mailbox: MailboxState, selection: Selection, user: str, rights: Rights
) -> dict[int, list[Annotation]]:
    """What goes along with messages that a user copies (RFC 5257 section 4.6), by old UID.

    :param rights: of the user, in the mailbox where they go.
    """
    uids = [row[0] for row in selection.rows]
    account_id = tx.states.account(user).id
    found = read_annotations(tx.connection, mailbox.id, account_id, uids)
    return {uid: kept for uid, some in found.items() if (kept := writable(some, rights))}


class StoreAnnotations(Operation[StoreResult]):
    """Change values of messages, all or none.

    :param user: whose the private ones are.
    """

    __slots__ = ("_annotations", "_mailbox_id", "_uids", "_unchanged_since", "_user")

    def __init__(
        self,
        mailbox_id: int,
        user: str,
        uids: Sequence[int],
        annotations: Sequence[Annotation],
        unchanged_since: int | None,
    ) -> None:
        self._mailbox_id = mailbox_id
        self._user = user
        self._uids = uids
        self._annotations = annotations
        self._unchanged_since = unchanged_since

    @override
    def run(self, tx: Transaction) -> StoreResult:
        mailbox = tx.states.mailbox_by_id(self._mailbox_id)
        user = tx.states.account(self._user)
        tx.flush()
        rows = select_rows(tx.connection, mailbox.id, self._uids).rows
        modified: list[int] = []
        if (limit := self._unchanged_since) is not None:
            modified = [row[0] for row in rows if row[4] > limit]
            rows = [row for row in rows if row[4] <= limit]
        uids = [row[0] for row in rows]
        plans = []
        for shared, entries in by_scope(self._annotations).items():
            owner = mailbox.account if shared else user
            plan = _plan(tx, mailbox.id, NOBODY if shared else user.id, uids, entries)
            _check_growth(tx, owner, shared, plan.growth)
            if plan.rows:
                plans.append((shared, owner, entries, plan))
        if plans:
            modseq = tx.next_modseq(mailbox)
            changed = sorted({row.uid for *_, plan in plans for row in plan.rows})
            for shared, owner, entries, plan in plans:
                account_id = NOBODY if shared else user.id
                _put_rows(tx.connection, mailbox.id, account_id, modseq, plan.rows)
                _grow(owner, shared, plan.growth)
                told = format_uids(sorted({row.uid for row in plan.rows}))
                tx.note(_note(mailbox.id, None if shared else user.name, modseq, [(told, entries)]))
            tx.connection.execute(
                "UPDATE message SET modseq = ? WHERE mailbox_id = ?"
                " AND uid IN (SELECT value FROM json_each(?))",
                (modseq, mailbox.id, json.dumps(changed)),
            )
            touched = set(changed)
            before = {row[4] for row in rows if row[0] in touched}
            note_changed(tx.connection, mailbox.id, modseq, to_ranges(changed), before)
            rows = [(*row[:4], modseq, *row[5:]) if row[0] in touched else row for row in rows]
        return StoreResult(to_infos(rows, tx.states.flag_sets), modified)


class _Plan(NamedTuple):
    """What of some changes has to be done."""

    rows: list[_Row]
    #: By how many octets the values become more.
    growth: int


def _plan(
    tx: Transaction, mailbox_id: int, account_id: int, uids: Sequence[int], entries: Entries
) -> _Plan:
    """:raises MailError: there may not be so much."""
    check_sizes(entries)
    there: dict[int, dict[str, bytes]] = {}
    counts: dict[int, int] = {}
    place = (mailbox_id, account_id, json.dumps(list(uids)))
    where = (
        "FROM annotation WHERE mailbox_id = ? AND account_id = ?"
        " AND uid IN (SELECT value FROM json_each(?)) AND value IS NOT NULL"
    )
    for uid, entry, value in tx.connection.execute(
        f"SELECT uid, entry, value {where} AND entry IN (SELECT value FROM json_each(?))",
        (*place, json.dumps(list(entries))),
    ):
        there.setdefault(uid, {})[entry] = value
    if any(value is not None for value in entries.values()):
        counts = dict(
            tx.connection.execute(f"SELECT uid, count(*) {where} GROUP BY uid", place).fetchall()
        )
    rows = []
    growth = 0
    for uid in uids:
        old = there.get(uid, {})
        removed = sum(entries[entry] is None for entry in old)
        new = sum(value is not None for entry, value in entries.items() if entry not in old)
        check_count(counts.get(uid, 0), new - removed)
        for entry, value in entries.items():
            before = old.get(entry)
            if value != before:
                rows.append(_Row(uid, entry, value))
                growth += octets_of(entry, value) - octets_of(entry, before)
    return _Plan(rows, growth)
