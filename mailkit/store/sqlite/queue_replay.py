"""The outbound queue's part in making an index from the log."""

from __future__ import annotations

import sqlite3
from typing import Any

from mailkit.queue.values import RecipientState
from mailkit.store.sqlite.journal import Note
from mailkit.store.sqlite.queue_events import put_events, put_listeners, settle_listeners
from mailkit.store.sqlite.rows import drop_queued


class QueueReplay:
    """Applies the notes of the queue.

    :param connection: to the index, in a transaction.
    :param now: seconds since the epoch.
    """

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self._db = connection
        self._now = now

    def apply(self, kind: str, *values: Any) -> None:
        """One note."""
        if kind == "queued":
            (number, body_id, skip, prefix, *rest), recipients = values
            self._db.execute(
                "INSERT OR REPLACE INTO queue_message (id, body_id, skip, prefix, size, envelope,"
                " created, expires, header_id, submit_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (number, body_id, skip, prefix.encode("latin-1"), *rest),
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO queue_recipient (message_id, id, domain, recipient, state,"
                " next_time) VALUES (?, ?, ?, ?, ?, ?)",
                [(number, *each) for each in recipients],
            )
        elif kind == "events":
            put_events(self._db, values[0])
        elif kind == "listeners":
            put_listeners(self._db, values[0])
        elif kind == "attempted":
            time, notes = values
            for note in notes:
                self._apply_attempted(time, note)
        elif kind == "postponed":
            time, attempt, notes = values
            state = RecipientState.DEFERRED.value
            for recipient, message, *due in notes:
                self._apply_attempted(time, [recipient, message, state, *due, attempt])
        else:
            for number in values[0]:
                drop_queued(self._db, "id = ?", number)

    def _apply_attempted(self, time: int, note: Note) -> None:
        recipient, message, state, next_time, attempts, warned, attempt = note
        self._db.execute(
            "UPDATE queue_recipient SET state = ?, next_time = ?, attempts = ?, warned = ?"
            " WHERE id = ?",
            (state, next_time, attempts, warned, recipient),
        )
        if attempt is not None:
            self._db.execute(
                "INSERT OR REPLACE INTO queue_attempt VALUES (?, ?, ?, ?)",
                (message, recipient, attempts, attempt),
            )
        self._db.execute(
            "UPDATE queue_message SET body_id = NULL, finished = ? WHERE id = ?"
            " AND body_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM queue_recipient WHERE message_id = queue_message.id"
            " AND (next_time IS NOT NULL OR state = 'held'))",
            (time, message),
        )

    def drop_lost(self) -> None:
        """Remove messages whose octets are not in the log."""
        drop_queued(self._db, "body_id IS NOT NULL AND body_id NOT IN (SELECT id FROM temp.found)")

    def settle(self) -> None:
        """Let the rows of domains tell when they are due."""
        settle_listeners(self._db)
        self._db.execute("DELETE FROM queue_domain")
        self._db.execute(
            "INSERT INTO queue_domain SELECT domain, min(next_time) FROM queue_recipient"
            " WHERE next_time IS NOT NULL GROUP BY domain"
        )
