"""What happens in the outbound queue, kept until all listeners have heard of it.

The listeners are rows of the index, so that a command beside the server leaves events too. Nothing
is kept where there are none.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

from mailkit.queue.values import QueueEvent, RecipientState
from mailkit.store.envelopes import load_attempt, load_recipient
from mailkit.store.sqlite.changes import Change
from mailkit.store.sqlite.journal import Note
from mailkit.store.sqlite.transaction import Transaction

#: Time, numbers of the message and the recipient, state, attempt.
EventRow: TypeAlias = tuple[int, int, int, str, "str | None"]


_LAST = "SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'queue_event'"


def insert_events(connection: sqlite3.Connection, rows: Sequence[EventRow]) -> list[Note]:
    """Keep events where somebody listens; gives the notes."""
    if not rows or not _are_there_listeners(connection):
        return []
    numbered = []
    for row in rows:
        number = connection.execute(
            "INSERT INTO queue_event (time, message_id, recipient_id, state, attempt)"
            " VALUES (?, ?, ?, ?, ?)",
            row,
        ).lastrowid
        numbered.append([number, *row])
    return [["events", numbered]]


def _are_there_listeners(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM queue_listener LIMIT 1").fetchone() is not None


def note_events(tx: Transaction, rows: Sequence[EventRow]) -> None:
    """The same in an operation of the writer."""
    if tx.has_listeners is None:
        tx.has_listeners = _are_there_listeners(tx.connection)
    if not tx.has_listeners:
        return
    for note in insert_events(tx.connection, rows):
        tx.note(note)


def update_events(now: int, notes: Iterable[Note]) -> Iterator[EventRow]:
    """The events of updates.

    :param notes: as ``apply_updates`` gives them.
    """
    for recipient, message, state, _, _, _, attempt in notes:
        if attempt is not None or not RecipientState(state).silent:
            yield now, message, recipient, state, attempt


def put_listeners(connection: sqlite3.Connection, listeners: Iterable[Sequence[Any]]) -> None:
    """Let these be all listeners, with the numbers of the last events they heard of."""
    connection.execute("DELETE FROM queue_listener")
    connection.executemany("INSERT INTO queue_listener VALUES (?, ?)", listeners)
    connection.execute(
        "DELETE FROM queue_event WHERE id <="
        " ifnull((SELECT min(position) FROM queue_listener), 9223372036854775807)"
    )


def put_events(connection: sqlite3.Connection, events: Iterable[Sequence[Any]]) -> None:
    """Bring events back, with their numbers."""
    connection.executemany("INSERT OR REPLACE INTO queue_event VALUES (?, ?, ?, ?, ?, ?)", events)


def settle_listeners(connection: sqlite3.Connection) -> None:
    """Let nobody have heard of events whose numbers will be given again."""
    connection.execute(f"UPDATE queue_listener SET position = min(position, ({_LAST}))")


def _listeners(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT name, position FROM queue_listener").fetchall())


def change_listeners(
    add: Sequence[str], remove: Sequence[str], connection: sqlite3.Connection, now: int
) -> list[Note]:
    """Let these be listeners, and those no longer."""
    known = _listeners(connection)
    names = (known.keys() - set(remove)) | set(add)
    if known.keys() == names:
        return []
    (last,) = connection.execute(_LAST).fetchone()
    listeners = [[name, known.get(name, last)] for name in sorted(names)]
    put_listeners(connection, listeners)
    return [["listeners", listeners]]


def acknowledge(
    listener: str, through: int, connection: sqlite3.Connection, now: int
) -> list[Note]:
    """Let a listener have heard of all events up to one."""
    known = _listeners(connection)
    if known.get(listener, through) >= through:
        return []
    listeners = [[name, position] for name, position in (known | {listener: through}).items()]
    put_listeners(connection, listeners)
    return [["listeners", listeners]]


class EventRecords(ABC):
    """The part of the queue that listeners use.

    :param apply: changes the index.
    """

    def __init__(self, apply: Callable[[Change], Awaitable[None]]) -> None:
        self._apply = apply

    @abstractmethod
    def _read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the index."""

    async def list_listeners(self) -> Sequence[str]:
        return [name for (name,) in self._read("SELECT name FROM queue_listener ORDER BY name")]

    async def change_listeners(
        self, add: Collection[str] = (), remove: Collection[str] = ()
    ) -> None:
        await self._apply(partial(change_listeners, list(add), list(remove)))

    async def list_events(self, listener: str, limit: int) -> Sequence[QueueEvent]:
        rows = self._read(
            "SELECT e.id, e.time, e.message_id, r.recipient, e.state, e.attempt"
            " FROM queue_listener l JOIN queue_event e ON e.id > l.position"
            " JOIN queue_recipient r ON r.id = e.recipient_id WHERE l.name = ?"
            " ORDER BY e.id LIMIT ?",
            listener,
            limit,
        )
        return [
            QueueEvent(
                number,
                time,
                str(message),
                load_recipient(recipient),
                RecipientState(state),
                None if attempt is None else load_attempt(attempt),
            )
            for number, time, message, recipient, state, attempt in rows
        ]

    async def get_last_event(self) -> int:
        return int(self._read(_LAST)[0][0])

    async def acknowledge(self, listener: str, through: int) -> None:
        await self._apply(partial(acknowledge, listener, through))
