"""The outbound queue of the embedded store: rows in the index, octets in the log like all others."""

from __future__ import annotations

import io
import json
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, BinaryIO, NamedTuple, cast

from twisted.logger import Logger
from zope.interface import implementer

from mailkit._typing import override
from mailkit.copies import changed
from mailkit.errors import NoSuchMessage
from mailkit.expiring import ExpiringMap
from mailkit.interfaces import IPostponingQueue, IQueue, IQueueEvents
from mailkit.model import LocalDelivery, Path
from mailkit.queue.values import (
    Attempt,
    NewMessage,
    Order,
    Postponement,
    Queued,
    QueuedMessage,
    Report,
    Update,
)
from mailkit.spool import READ_BUFFER, PrefixedFile, Spool
from mailkit.store.envelopes import load_attempt, load_envelope
from mailkit.store.sqlite.bodies import BodyPlace
from mailkit.store.sqlite.changes import Change
from mailkit.store.sqlite.content import SpooledFile, prepare, take_spool
from mailkit.store.sqlite.core import Core
from mailkit.store.sqlite.journal import Note
from mailkit.store.sqlite.opening import open_body
from mailkit.store.sqlite.queue_events import EventRecords
from mailkit.store.sqlite.queue_operations import (
    RECIPIENT_COLUMNS,
    EndAttempts,
    Enqueue,
    Flush,
    Forget,
    GiveOrder,
    RecipientRow,
    Record,
    apply_flush,
    order_notes,
)
from mailkit.store.sqlite.queue_postponing import Postpone
from mailkit.store.sqlite.transaction import Content

_MESSAGE = "m.id, m.envelope, m.size, m.created, m.expires, m.header_id"
_BOTH = f"SELECT {_MESSAGE}, {RECIPIENT_COLUMNS} FROM queue_recipient r JOIN queue_message m ON m.id = r.message_id"
# Where the columns of _PLACE begin, if they follow.
_DUE_PLACE = 6 + len(RecipientRow._fields)
_PLACE = "b.id, b.segment, b.position, b.start, b.size, m.skip, m.prefix"
# The same with where the octets are, which goes for as long as the message is due.
_DUE = (
    f"SELECT {_MESSAGE}, {RECIPIENT_COLUMNS}, {_PLACE} FROM queue_recipient r"
    " JOIN queue_message m ON m.id = r.message_id JOIN body b ON b.id = m.body_id"
)

#: Messages of which it is remembered where their octets are, and for how many seconds: a message that
#: somebody calls off meanwhile may still be opened, as if that had been a little later.
MAX_PLACES = 1000
PLACE_TIME = 1.0
#: New messages whose octets stay in memory for as many seconds, for most are sent at once, and octets
#: that such a message may have.
MAX_NEW = 200
NEW_TIME = 5.0
MAX_NEW_SIZE = 64 * 1024

_SENDER = "json_extract(envelope, '$.from[0]'), json_extract(envelope, '$.from[1]')"


class _New(NamedTuple):
    """A message that has just been queued."""

    pieces: Sequence[bytes]
    message: NewMessage


class QueueRecords(EventRecords):
    """What the index knows of the queue: for a server, and for a command beside it.

    :param connection: gives the connection to read from.
    :param apply: changes the index.
    :param idle: no process works on the queue, so there is no attempt under way.
    """

    def __init__(
        self,
        connection: Callable[[], sqlite3.Connection],
        apply: Callable[[Change], Awaitable[None]],
        idle: bool = False,
    ) -> None:
        super().__init__(apply)
        self._connection = connection
        self._idle = idle

    @property
    def connection(self) -> sqlite3.Connection:
        """What is read from."""
        return self._connection()

    def place(self, id: str) -> tuple[BodyPlace, int, bytes]:
        """Where the octets of a message are, how many are not sent, and what is sent before them.

        :raises NoSuchMessage: there is none, or nobody waits for it any more.
        """
        rows = self._read(
            f"SELECT {_PLACE} FROM queue_message m JOIN body b ON b.id = m.body_id WHERE m.id = ?",
            _number(id),
        )
        if not rows:
            raise NoSuchMessage
        return _place(rows[0])

    async def get_message(self, id: str) -> QueuedMessage:
        messages = self._show(self._read(f"{_BOTH} WHERE m.id = ? ORDER BY r.id", _number(id)))
        if not messages:
            raise NoSuchMessage
        return messages[0]

    async def find_messages(
        self,
        message_id: str = "",
        limit: int = 100,
        envid: str = "",
        sender: Path | None = None,
    ) -> Sequence[QueuedMessage]:
        by = "header_id" if message_id else "json_extract(envelope, '$.envid')"
        values: list[object] = [message_id or envid]
        if sender is not None:
            by = f"lower(json_array({_SENDER})) = lower(json_array(?, ?)) AND {by}"
            values = [*sender, *values]
        if not (message_id or envid):
            return []
        rows = self._read(
            f"{_BOTH} WHERE m.id IN (SELECT id FROM queue_message WHERE {by} = ?"
            " ORDER BY id DESC LIMIT ?) ORDER BY m.id DESC, r.id",
            *values,
            limit,
        )
        return self._show(rows)

    async def get_attempts(self, id: str) -> Sequence[tuple[int, Attempt]]:
        rows = self._read(
            "SELECT recipient_id, attempt FROM queue_attempt WHERE message_id = ?", _number(id)
        )
        found = [(recipient, load_attempt(attempt)) for recipient, attempt in rows]
        return sorted(found, key=lambda entry: entry[1].time)

    async def list_messages(
        self, after: str = "", limit: int = 100, finished: bool = False
    ) -> Sequence[QueuedMessage]:
        condition = "" if finished else "AND body_id IS NOT NULL"
        rows = self._read(
            f"{_BOTH} WHERE m.id IN (SELECT id FROM queue_message WHERE id > ? {condition}"
            " ORDER BY id LIMIT ?) ORDER BY m.id, r.id",
            int(after) if after.isdigit() else 0,
            limit,
        )
        return self._show(rows)

    def _show(self, rows: Iterable[tuple[Any, ...]]) -> list[QueuedMessage]:
        messages = _assemble(rows)
        if not self._idle:
            return messages
        return [
            each._replace(recipients=[recipient.at_rest for recipient in each.recipients])
            for each in messages
        ]

    async def order(self, order: Order, id: str, now: int) -> int:
        notes: list[Note] = []

        def change(connection: sqlite3.Connection, _: int) -> list[Note]:
            notes[:] = order_notes(connection, order, _number(id), now)
            return notes

        await self._apply(change)
        return len(notes[0][2]) if notes else 0

    async def flush(
        self, now: int, domain: str = "", subdomains: bool = False, ahead: bool = False
    ) -> int:
        found: list[Note] = []

        def change(connection: sqlite3.Connection, _: int) -> list[Note]:
            found[:], _domains = apply_flush(connection, now, domain, subdomains, ahead)
            return [["attempted", now, found]] if found else []

        await self._apply(change)
        return len(found)

    async def get_size(self) -> tuple[int, int]:
        (found,) = self._read(
            "SELECT count(*), ifnull(sum(size), 0) FROM queue_message WHERE body_id IS NOT NULL"
        )
        return found[0], found[1]

    async def count(self, limit: int, account: str = "", domain: str = "") -> int:
        if domain:
            sql = "SELECT 1 FROM queue_recipient WHERE domain = ? AND next_time IS NOT NULL LIMIT ?"
        else:
            sql = (
                "SELECT 1 FROM queue_message WHERE json_extract(envelope, '$.account') = ?"
                " AND body_id IS NOT NULL LIMIT ?"
            )
        ((found,),) = self._read(f"SELECT count(*) FROM ({sql})", domain or account, limit)
        return int(found)

    @override
    def _read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self._connection().execute(sql, values).fetchall()


@implementer(IQueue, IPostponingQueue, IQueueEvents)
class SQLiteQueue(QueueRecords):
    """The queue of a :class:`~mailkit.store.sqlite.SQLiteStore`.

    :param core: gives the open store's insides.
    :param apply: changes the index, by the store's writer.
    """

    log = Logger()

    def __init__(
        self, core: Callable[[], Core], apply: Callable[[Change], Awaitable[None]]
    ) -> None:
        super().__init__(lambda: core().reader.connection, apply)
        self._core = core
        #: What :meth:`list_due` has read for :meth:`open_message`, which follows for each.
        self._places: ExpiringMap[str, tuple[BodyPlace, int, bytes]] = ExpiringMap(
            MAX_PLACES, time.monotonic
        )
        self._new: ExpiringMap[str, _New] = ExpiringMap(MAX_NEW, time.monotonic)

    async def enqueue(
        self, message: Spool, new: Sequence[NewMessage], deliveries: Sequence[LocalDelivery] = ()
    ) -> Queued:
        core = self._core()
        found = take_spool(core, message)
        if isinstance(found, SpooledFile):
            found = await prepare(core, found)
        queued = await core.submit(Enqueue(found, new, deliveries))
        if found.pieces is not None and found.size <= MAX_NEW_SIZE:
            for id, each in zip(queued.ids, new, strict=True):
                # Under a key it may be another message that has come before.
                if each.key is None:
                    # The caller may use its envelope for another one.
                    given = each.envelope
                    envelope = changed(given, recipients=list(given.recipients))
                    kept = each._replace(envelope=envelope)
                    self._new.set(id, _New(found.pieces, kept), NEW_TIME)
        return queued

    async def find_due(self, now: int, limit: int, exclude: Collection[str] = ()) -> Sequence[str]:
        rows = self._read(
            "SELECT name FROM queue_domain WHERE next_time <= ? AND name NOT IN"
            " (SELECT value FROM json_each(?)) ORDER BY next_time LIMIT ?",
            now,
            json.dumps(list(exclude)),
            limit,
        )
        return [name for (name,) in rows]

    async def list_due(self, domain: str, now: int, limit: int) -> Sequence[QueuedMessage]:
        # One more than is asked for tells whether the last message is whole.
        rows = self._read(
            # As the index has them: recipients of a message have numbers next to each other.
            f"{_DUE} WHERE r.domain = ? AND r.next_time <= ? ORDER BY r.next_time, r.id LIMIT ?",
            domain,
            now,
            limit + 1,
        )
        for row in rows:
            self._places.set(str(row[0]), _place(row[_DUE_PLACE:]), PLACE_TIME)
        messages = _assemble(rows, self._new.get)
        if len(rows) > limit:
            if len(messages) > 1:
                messages.pop()
            else:
                messages = self._due_of(messages[0].id, domain, now)
        return sorted(messages, key=lambda message: -message.envelope.priority)

    def _due_of(self, id: str, domain: str, now: int) -> list[QueuedMessage]:
        """All that is due of one message."""
        return _assemble(
            self._read(
                f"{_BOTH} WHERE r.message_id = ? AND r.domain = ? AND r.next_time <= ?"
                " ORDER BY r.id",
                int(id),
                domain,
                now,
            )
        )

    async def get_next_time(self) -> int | None:
        ((time,),) = self._read("SELECT min(next_time) FROM queue_domain")
        return None if time is None else int(time)

    async def open_message(self, id: str) -> BinaryIO:
        known, new = self._places.pop(id), self._new.pop(id)
        if known is not None and new is not None:
            return io.BytesIO(new.message.prefix + b"".join(new.pieces)[new.message.skip :])
        place, skip, prefix = known or self.place(id)
        file = await open_body(self._core(), lambda: self.place(id)[0], place)
        if not skip and not prefix:
            return file
        return cast(BinaryIO, io.BufferedReader(PrefixedFile(prefix, file, skip), READ_BUFFER))

    async def record(self, updates: Sequence[Update], reports: Sequence[Report] = ()) -> None:
        core = self._core()
        contents: list[tuple[Content, NewMessage]] = []
        for report in reports:
            found = take_spool(core, report.content)
            if isinstance(found, SpooledFile):
                found = await prepare(core, found)
            contents.append((found, report.message))
        await core.submit(Record(updates, contents))

    @override
    async def order(self, order: Order, id: str, now: int) -> int:
        self._places.discard(id)
        self._new.discard(id)
        return await self._core().submit(GiveOrder(order, _number(id), now))

    @override
    async def flush(
        self, now: int, domain: str = "", subdomains: bool = False, ahead: bool = False
    ) -> int:
        return await self._core().submit(Flush(now, domain, subdomains, ahead))

    async def end_attempts(self) -> int:
        return await self._core().submit(EndAttempts())

    async def postpone(self, domain: str, postponement: Postponement, limit: int) -> int:
        return await self._core().submit(Postpone(domain, postponement, limit))

    async def list_tried(self, limit: int) -> Sequence[str]:
        # Of each domain only as many recipients are looked at as it takes.
        rows = self._read(
            "SELECT name FROM queue_domain WHERE EXISTS (SELECT 1 FROM queue_recipient"
            " WHERE domain = name AND next_time IS NOT NULL AND attempts > 0) LIMIT ?",
            limit,
        )
        return [name for (name,) in rows]

    async def forget(self, before: int) -> int:
        return await self._core().submit(Forget(before))

    def watch(self, callback: Callable[[str], None]) -> Callable[[], None]:
        watchers = self._core().queue_watchers
        token = object()
        watchers[token] = callback

        def end() -> None:
            watchers.pop(token, None)

        return end


def _assemble(
    rows: Iterable[tuple[Any, ...]], new: Callable[[str], _New | None] | None = None
) -> list[QueuedMessage]:
    """Messages with those of their recipients that were read.

    :param new: knows messages that need not be read again.
    """
    found: OrderedDict[int, tuple[tuple[Any, ...], list[RecipientRow]]] = OrderedDict()
    for row in rows:
        message, recipient = row[:6], RecipientRow._make(row[6:_DUE_PLACE])
        found.setdefault(message[0], (message, []))[1].append(recipient)
    messages = []
    for (number, envelope, size, created, expires, header_id), parts in found.values():
        known = new(str(number)) if new is not None else None
        if known is not None and len(parts) == len(known.message.envelope.recipients):
            given = known.message.envelope
            # Their numbers follow each other.
            first = min([part.id for part in parts])
            recipients = [part.show(given.recipients[part.id - first]) for part in parts]
            whole = changed(given)
        else:
            recipients = [part.show() for part in parts]
            whole = load_envelope(envelope)
        whole.recipients = [each.recipient for each in recipients]
        messages.append(
            QueuedMessage(str(number), whole, size, created, expires, recipients, header_id or "")
        )
    return messages


def _place(row: Sequence[Any]) -> tuple[BodyPlace, int, bytes]:
    """What the columns of ``_PLACE`` say."""
    *place, skip, prefix = row
    return BodyPlace._make(place), skip, prefix


def _number(id: str) -> int:
    """:raises NoSuchMessage: no message of ours has such a name."""
    if not id.isdecimal() or not id.isascii() or len(id) > 18:
        raise NoSuchMessage
    return int(id)
