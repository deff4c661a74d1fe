"""The writer's operations on the outbound queue."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mailkit._typing import override
from mailkit.errors import NoSuchMessage
from mailkit.expiring import CLOCK_SLACK
from mailkit.model import LocalDelivery, Recipient
from mailkit.queue.values import (
    NewMessage,
    Order,
    Queued,
    QueuedRecipient,
    RecipientState,
    Update,
    make_due,
)
from mailkit.store.envelopes import (
    dump_attempt,
    dump_envelope,
    dump_recipient,
    load_recipient,
)
from mailkit.store.sqlite.journal import Note
from mailkit.store.sqlite.operations import discard_content, find_targets
from mailkit.store.sqlite.queue_events import insert_events, note_events, update_events
from mailkit.store.sqlite.rows import settle_domains
from mailkit.store.sqlite.transaction import Content, DomainDue, RowBuffer, Transaction
from mailkit.store.sqlite.writer import Operation
from mailkit.wire.domains import canonical_domain, is_within

#: Messages that one call removes from what is remembered.
MAX_FORGOTTEN = 1000
#: Recipients that one call makes due.
MAX_FLUSHED = 5000

_ADD_ATTEMPTS = "INSERT OR REPLACE INTO queue_attempt VALUES "
_SET = (
    "UPDATE queue_recipient SET state = v.column2, next_time = v.column3, attempts = v.column4,"
    " warned = v.column5 FROM (VALUES "
)
_FINISHED = (
    "id IN (SELECT value FROM json_each(?)) AND body_id IS NOT NULL AND NOT EXISTS"
    " (SELECT 1 FROM queue_recipient WHERE message_id = queue_message.id"
    " AND (next_time IS NOT NULL OR state = 'held'))"
)


_FAILED_BEFORE = "r.state = 'deferred'"
# It was due at once, or tried, or queued while it may be taken back, at a time later than one.
_AHEAD = (
    "CASE r.state WHEN 'queued' THEN r.next_time WHEN 'deferred' THEN"
    " (SELECT json_extract(attempt, '$.time') FROM queue_attempt AS a WHERE a.message_id = r.message_id"
    " AND a.recipient_id = r.id AND a.number = r.attempts)"
    " WHEN 'scheduled' THEN CASE WHEN json_extract(m.envelope, '$.hold_until') IS NULL"
    " THEN m.created END END > :ahead"
)


class RecipientRow(NamedTuple):
    """A row of ``queue_recipient``."""

    id: int
    message_id: int
    recipient: str
    state: str
    next_time: int | None
    attempts: int
    warned: int

    def show(self, recipient: Recipient | None = None) -> QueuedRecipient:
        """For the contract.

        :param recipient: what the row says of it, where that is known.
        """
        return QueuedRecipient(
            self.id,
            recipient or load_recipient(self.recipient),
            RecipientState(self.state),
            self.next_time or 0,
            self.attempts,
            bool(self.warned),
        )


RECIPIENT_COLUMNS = ", ".join(f"r.{name}" for name in RecipientRow._fields)


def finish_messages(connection: sqlite3.Connection, ids: Iterable[int], now: int) -> None:
    """Give the bodies of messages up for which nobody waits any more."""
    given = json.dumps(list(ids))
    connection.execute(
        "UPDATE body SET refs = refs - v.n FROM (SELECT body_id, count(*) AS n FROM queue_message"
        f" WHERE {_FINISHED} GROUP BY body_id) AS v WHERE body.id = v.body_id",
        (given,),
    )
    connection.execute(
        f"UPDATE queue_message SET body_id = NULL, finished = ? WHERE {_FINISHED}", (now, given)
    )


def _add(tx: Transaction, size: int, new: NewMessage, body_id: int) -> int:
    """The rows and the note of a message whose body the caller adds.

    :param size: of the body, in octets.
    """
    state = RecipientState.SCHEDULED if new.next_time > tx.now else RecipientState.QUEUED
    name = state.value
    recipients = [
        (canonical_domain(each.path.domain), dump_recipient(each), name, new.next_time)
        for each in new.envelope.recipients
    ]
    size += len(new.prefix) - new.skip
    envelope = dump_envelope(new.envelope)
    row = (
        body_id,
        new.skip,
        new.prefix,
        size,
        envelope,
        tx.now,
        new.expires,
        new.message_id or None,
        new.key,
    )
    message_id, ids = tx.add_queued(row, recipients)
    domains = {entry[0] for entry in recipients}
    tx.unsettled.update(domains)
    tx.changed = True
    tx.touched.update(map(DomainDue, domains))
    numbered = [(number, *entry) for number, entry in zip(ids, recipients, strict=True)]
    prefix = new.prefix.decode("latin-1")
    tx.note(["queued", [message_id, body_id, new.skip, prefix, *row[3:]], numbered])
    note_events(tx, [(tx.now, message_id, number, name, None) for number in ids])
    return message_id


def _known(tx: Transaction, new: NewMessage) -> str | None:
    """The id of what was queued under the same key."""
    if new.key is None:
        return None
    tx.flush()
    row = tx.connection.execute(
        "SELECT id FROM queue_message WHERE submit_key = ?", (new.key,)
    ).fetchone()
    return None if row is None else str(row[0])


class Enqueue(Operation[Queued]):
    """Queue a message, and put it into mailboxes."""

    __slots__ = ("_content", "_deliveries", "_new", "weight")

    def __init__(
        self, content: Content, new: Sequence[NewMessage], deliveries: Sequence[LocalDelivery]
    ) -> None:
        self._content = content
        self._new = new
        self._deliveries = deliveries
        self.weight = content.size

    @override
    def run(self, tx: Transaction) -> Queued:
        content = self._content
        known = [_known(tx, each) for each in self._new]
        count = known.count(None)
        if not count and not self._deliveries:
            # A file of its own goes when the store is opened: this may still be undone.
            return Queued([id for id in known if id is not None])
        tx.check_disk(content)
        found = find_targets(tx, self._deliveries, content.size)
        body_id = tx.next_lsn()
        ids = [
            id or str(_add(tx, content.size, each, body_id))
            for id, each in zip(known, self._new, strict=True)
        ]
        uids = tx.add_message(content, found.targets, body_id, held=count)
        return Queued(ids, found.answer(uids))

    @override
    def discard(self) -> None:
        discard_content(self._content)


class Record(Operation[None]):
    """Put down what became of recipients, and queue the reports."""

    __slots__ = ("_reports", "_updates", "weight")

    def __init__(
        self, updates: Sequence[Update], reports: Sequence[tuple[Content, NewMessage]]
    ) -> None:
        self._updates = updates
        self._reports = reports
        self.weight = sum(content.size for content, _ in reports)

    @override
    def run(self, tx: Transaction) -> None:
        tx.flush()
        found = tx.connection.execute(
            f"SELECT {RECIPIENT_COLUMNS}, r.domain FROM queue_recipient r"
            " WHERE r.id IN (SELECT value FROM json_each(?))",
            (json.dumps([update.id for update in self._updates]),),
        ).fetchall()
        rows = {row[0]: RecipientRow(*row[:-1]) for row in found}
        notes = apply_updates(tx.connection, rows, self._updates)
        tx.unsettled.update(row[-1] for row in found)
        finish_messages(tx.connection, {row.message_id for row in rows.values()}, tx.now)
        if notes:
            tx.changed = True
            tx.note(["attempted", tx.now, notes])
            note_events(tx, list(update_events(tx.now, notes)))
        if self._reports:
            # Otherwise the failure could be known, and the report of it not.
            tx.ordered = True
        for content, new in self._reports:
            body_id = tx.next_lsn()
            _add(tx, content.size, new, body_id)
            tx.add_message(content, [], body_id, held=1)

    @override
    def discard(self) -> None:
        for content, _ in self._reports:
            discard_content(content)


def apply_updates(
    connection: sqlite3.Connection,
    rows: dict[int, RecipientRow],
    updates: Iterable[Update],
    ordered: bool = False,
) -> list[Note]:
    """Change recipients, each from the state that it is in; gives what replaying it needs.

    :param rows: those that are there, by id; changed to what they are afterwards.
    :param ordered: somebody has ordered it.
    """
    notes: list[Note] = []
    buffer = RowBuffer(_ADD_ATTEMPTS, 4)
    changed: set[int] = set()
    for update in updates:
        row = rows.get(update.id)
        if row is None:
            continue
        attempted = update.attempt is not None
        after = RecipientState(row.state).become(update.state, attempted, ordered)
        if after is None:
            continue
        attempts, attempt = row.attempts, None
        if update.attempt is not None:
            attempts += 1
            attempt = dump_attempt(update.attempt)
            buffer.rows.append((row.message_id, row.id, attempts, attempt))
        next_time = (update.next_time or row.next_time or 0) if after.waits else None
        warned = int(row.warned or update.warned)
        state = after.value
        notes.append([row.id, row.message_id, state, next_time, attempts, warned, attempt])
        rows[row.id] = RecipientRow(*row[:3], state, next_time, attempts, warned)
        changed.add(row.id)
    buffer.flush(connection)
    recipients = RowBuffer(_SET, 5, ") AS v WHERE queue_recipient.id = v.column1")
    recipients.rows = [(number, *rows[number][3:]) for number in changed]
    recipients.flush(connection)
    return notes


def apply_order(
    connection: sqlite3.Connection, order: Order, message_id: int, now: int
) -> list[Note]:
    """Do what somebody wants with a message; gives what replaying it needs.

    :raises NoSuchMessage: there is no such message.
    """
    rows = connection.execute(
        f"SELECT {RECIPIENT_COLUMNS} FROM queue_recipient r WHERE r.message_id = ?", (message_id,)
    ).fetchall()
    if not rows:
        raise NoSuchMessage
    ((hold_until,),) = connection.execute(
        "SELECT json_extract(envelope, '$.hold_until') FROM queue_message WHERE id = ?",
        (message_id,),
    )
    known = {row[0]: RecipientRow(*row) for row in rows}
    updates: list[Update] = []
    domains: set[str] = set()
    for row in known.values():
        recipient = row.show()
        after = recipient.after(order, now, hold_until)
        if after is not None:
            updates.append(Update(row.id, after.state, after.next_time))
            domains.add(recipient.domain)
    notes = apply_updates(connection, known, updates, ordered=True)
    settle_domains(connection, domains)
    finish_messages(connection, [message_id], now)
    return notes


def order_notes(
    connection: sqlite3.Connection, order: Order, message_id: int, now: int
) -> list[Note]:
    """The same with its events, for the journal; nothing where it changes nothing."""
    changed = apply_order(connection, order, message_id, now)
    if not changed:
        return []
    events = insert_events(connection, list(update_events(now, changed)))
    return [["attempted", now, changed], *events]


def apply_flush(
    connection: sqlite3.Connection, now: int, domain: str, subdomains: bool, ahead: bool = False
) -> tuple[list[Note], set[str]]:
    """Let what has failed before be due now; gives what replaying it needs, and the domains."""
    known: dict[int, RecipientRow] = {}
    updates: list[Update] = []
    domains: set[str] = set()
    condition = _AHEAD if ahead else _FAILED_BEFORE
    sql = (
        f"SELECT {RECIPIENT_COLUMNS}, json_extract(m.envelope, '$.hold_until'), m.created"
        " FROM queue_recipient r CROSS JOIN queue_message m ON m.id = r.message_id"
        f" WHERE r.domain = :name AND r.next_time > :now AND {condition} LIMIT :limit"
    )
    values: dict[str, object] = {"now": now, "ahead": now + CLOCK_SLACK}
    names = connection.execute("SELECT name FROM queue_domain").fetchall()
    for name in (name for (name,) in names if is_within(name, domain, subdomains)):
        rows = connection.execute(
            sql, {**values, "name": name, "limit": MAX_FLUSHED - len(known)}
        ).fetchall()
        for *columns, hold_until, created in rows:
            row = known[columns[0]] = RecipientRow(*columns)
            left = 0
            if row.state == "scheduled":
                left = min((row.next_time or now) - created, CLOCK_SLACK)
            updates.append(Update(row.id, *make_due(row.attempts, now + left, hold_until)))
            domains.add(name)
        if len(known) == MAX_FLUSHED:
            break
    notes = apply_updates(connection, known, updates)
    settle_domains(connection, domains)
    return notes, domains


class GiveOrder(Operation[int]):
    """Do what somebody wants with a message; gives how many recipients that changed."""

    __slots__ = ("_message_id", "_now", "_order")

    def __init__(self, order: Order, message_id: int, now: int) -> None:
        self._order = order
        self._message_id = message_id
        self._now = now

    @override
    def run(self, tx: Transaction) -> int:
        tx.flush()
        notes = order_notes(tx.connection, self._order, self._message_id, self._now)
        if not notes:
            return 0
        tx.changed = True
        for note in notes:
            tx.note(note)
        rows = tx.connection.execute(
            "SELECT DISTINCT domain FROM queue_recipient WHERE message_id = ?", (self._message_id,)
        )
        tx.touched.update(DomainDue(domain) for (domain,) in rows.fetchall())
        return len(notes[0][2])


class Flush(Operation[int]):
    """Let what has failed before be due now; gives how many recipients that are."""

    __slots__ = ("_ahead", "_domain", "_now", "_subdomains")

    def __init__(self, now: int, domain: str, subdomains: bool, ahead: bool) -> None:
        self._now = now
        self._domain = domain
        self._subdomains = subdomains
        self._ahead = ahead

    @override
    def run(self, tx: Transaction) -> int:
        tx.flush()
        notes, domains = apply_flush(
            tx.connection, self._now, self._domain, self._subdomains, self._ahead
        )
        if notes:
            tx.changed = True
            tx.note(["attempted", self._now, notes])
            tx.touched.update(map(DomainDue, domains))
        return len(notes)


class EndAttempts(Operation[int]):
    """Let nobody be being handed over; gives how many recipients that changed."""

    __slots__ = ()

    @override
    def run(self, tx: Transaction) -> int:
        tx.flush()
        found = tx.connection.execute(
            f"SELECT {RECIPIENT_COLUMNS} FROM queue_recipient r WHERE r.state = ?",
            (RecipientState.ATTEMPTING.value,),
        ).fetchall()
        rows = {row[0]: RecipientRow(*row) for row in found}
        updates = [Update(row.id, row.show().at_rest.state) for row in rows.values()]
        notes = apply_updates(tx.connection, rows, updates)
        if notes:
            tx.changed = True
            tx.note(["attempted", tx.now, notes])
        return len(notes)


class Forget(Operation[int]):
    """Remove what is known of messages that were finished before a time."""

    __slots__ = ("_before",)

    def __init__(self, before: int) -> None:
        self._before = before

    @override
    def run(self, tx: Transaction) -> int:
        run = tx.connection.execute
        ids = [
            number
            for (number,) in run(
                "SELECT id FROM queue_message WHERE finished < ? ORDER BY finished LIMIT ?",
                (self._before, MAX_FORGOTTEN),
            )
        ]
        for number in ids:
            run("DELETE FROM queue_attempt WHERE message_id = ?", (number,))
            run("DELETE FROM queue_event WHERE message_id = ?", (number,))
            run("DELETE FROM queue_recipient WHERE message_id = ?", (number,))
            run("DELETE FROM queue_message WHERE id = ?", (number,))
        if ids:
            tx.changed = True
            tx.note(["forgotten", ids])
        return len(ids)
