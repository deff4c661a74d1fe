"""The writer's operation on a domain that cannot be reached: one step for all who wait for it."""

from __future__ import annotations

from mailkit._typing import override
from mailkit.queue.values import Postponement, RecipientState
from mailkit.store.envelopes import dump_attempt
from mailkit.store.sqlite.queue_events import note_events
from mailkit.store.sqlite.rows import settle_domains
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.writer import Operation

# What is due later has been tried before: what is scheduled or undone must not count as tried.
_FIND = (
    "SELECT r.id, r.message_id, r.attempts, r.warned, m.created, m.expires FROM queue_recipient r"
    " JOIN queue_message m ON m.id = r.message_id WHERE r.domain = ? AND r.next_time <= ?"
    " AND (r.next_time <= ? OR r.state = 'deferred') AND m.expires > ? AND m.created > ?"
    " AND (r.warned OR m.created > ?) AND json_extract(m.envelope, '$.deliver_by') IS NULL LIMIT ?"
)
_SET = "UPDATE queue_recipient SET state = 'deferred', next_time = ?, attempts = ? WHERE id = ?"


class Postpone(Operation[int]):
    """Put down that a domain cannot be reached; gives for how many recipients."""

    __slots__ = ("_domain", "_limit", "_postponement")

    def __init__(self, domain: str, postponement: Postponement, limit: int) -> None:
        self._domain = domain
        self._postponement = postponement
        self._limit = limit

    @override
    def run(self, tx: Transaction) -> int:
        tx.flush()
        why, run = self._postponement, tx.connection
        now, oldest = why.now, why.now - why.lifetime
        values = self._domain, why.due, now, now, oldest, why.unwarned, self._limit
        rows = run.execute(_FIND, values).fetchall()
        if not rows:
            return 0
        attempt = dump_attempt(why.attempt)
        changed = [
            [number, message, why.next_time(attempts, *times), attempts + 1, warned]
            for number, message, attempts, warned, *times in rows
        ]
        run.executemany(_SET, [(time, attempts, id) for id, _, time, attempts, _ in changed])
        run.executemany(
            "INSERT OR REPLACE INTO queue_attempt VALUES (?, ?, ?, ?)",
            [(message, id, attempts, attempt) for id, message, _, attempts, _ in changed],
        )
        settle_domains(run, [self._domain])
        tx.changed = True
        tx.note(["postponed", tx.now, attempt, changed])
        state = RecipientState.DEFERRED.value
        note_events(tx, [(tx.now, each[1], each[0], state, attempt) for each in changed])
        return len(changed)
