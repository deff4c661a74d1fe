"""What searching and sorting look at in header fields, kept in the index.

SQLite looks in folded texts, and sorts by values, far faster than we could. They are made when a
search or a sort first needs them, or when the store has nothing else to do; never while a message is
delivered.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import Deferred, DeferredLock

from mailkit.mime import Header, parse_header
from mailkit.store.sqlite.bodies import BodyFiles, BodyPlace
from mailkit.store.sqlite.derived import SaveRows
from mailkit.store.sqlite.heads import read_heads
from mailkit.store.sqlite.making import (
    Row,
    make_address_row,
    make_text_row,
    make_thread_row,
)
from mailkit.store.sqlite.rows import condition
from mailkit.store.sqlite.slices import Slices

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

#: Columns of the texts of ``fieldtexts.FIELDS``.
COLUMNS = {
    b"from": "sender",
    b"to": "recipient",
    b"cc": "cc",
    b"bcc": "bcc",
    b"subject": "subject",
    b"message-id": "message_id",
}
#: Messages among which those that lack something are looked for at a time.
FOUND_AT_ONCE = 5000
#: Messages whose headers are asked for at a time.
HEADERS = 200
#: Messages of one operation of the writer, and operations that it may be behind.
SAVED_AT_ONCE = 1000
MAX_BEHIND = 4

_SOURCES = (
    "SELECT b.id, b.segment, b.position, b.start, b.size, s.header FROM body b"
    " LEFT JOIN summary s ON s.body_id = b.id WHERE b.id IN (SELECT value FROM json_each(?))"
)
_PLACES = (
    "SELECT m.uid, b.id, b.segment, b.position, b.start, b.size FROM message m"
    " JOIN body b ON b.id = m.body_id WHERE m.mailbox_id = ? AND m."
)


class SaveFieldTexts(SaveRows):
    """Keep texts."""

    __slots__ = ()

    losable = True
    table = "field_text"
    columns = tuple(COLUMNS.values())


class SaveThreadValues(SaveRows):
    """Keep what messages are threaded by, and sorted by date and subject."""

    __slots__ = ()

    losable = True
    table = "thread_value"
    columns = ("sent", "subject", "is_reply", "subject_id", "ids")


class SaveAddresses(SaveRows):
    """Keep what messages are sorted by the people in them by."""

    __slots__ = ()

    losable = True
    table = "sort_address"
    columns = ("sender", "recipient", "cc", "display_from", "display_to")


class Kind(NamedTuple):
    """What is made of headers, and kept in a table of its own."""

    make: Callable[[int, Header], Row | None]
    save: type[SaveRows]


TEXTS = Kind(make_text_row, SaveFieldTexts)
THREADS = Kind(make_thread_row, SaveThreadValues)
ADDRESSES = Kind(make_address_row, SaveAddresses)


class Fields:
    """Sees to it that texts and values of messages are kept. For the reactor's thread."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # Of mailboxes for whose messages somebody makes them.
        self._locks: dict[int, DeferredLock] = {}

    async def make(self, mailbox_id: int, uids: Sequence[int], kind: Kind) -> None:
        """See to it that the ascending UIDs have rows of a kind.

        :raises MailError: they cannot be kept.
        """
        lock = self._locks.setdefault(mailbox_id, DeferredLock())
        async with lock:
            try:
                for start in range(0, len(uids), FOUND_AT_ONCE):
                    some = uids[start : start + FOUND_AT_ONCE]
                    # What somebody else has made meanwhile is not made again.
                    lacking = await self._core.in_thread(
                        self._find, mailbox_id, some, kind.save.table
                    )
                    await self._make_all(mailbox_id, lacking, kind)
            finally:
                if not lock.waiting:
                    self._locks.pop(mailbox_id, None)

    def _find(self, mailbox_id: int, uids: Sequence[int], table: str) -> list[tuple[int, int]]:
        """UIDs and bodies of which a table has nothing; runs in a thread."""
        where, values = condition(uids, False)
        with self._core.borrow() as connection:
            return connection.execute(
                "SELECT m.uid, m.body_id FROM message m"
                f" LEFT JOIN {table} t ON t.body_id = m.body_id"
                f" WHERE m.mailbox_id = ? AND m.{where} AND t.body_id IS NULL ORDER BY m.uid",
                (mailbox_id, *values),
            ).fetchall()

    async def _make_all(
        self, mailbox_id: int, lacking: Sequence[tuple[int, int]], kind: Kind
    ) -> None:
        """Make and save, the next ones while the writer saves those before them."""
        core = self._core
        behind: deque[Deferred[None]] = deque()
        rows: list[Row] = []
        try:
            slices = Slices(core)
            for start in range(0, len(lacking), HEADERS):
                bodies = dict(lacking[start : start + HEADERS])
                headers = await find_headers(core, mailbox_id, bodies, slices)
                for uid, (header, _) in headers.items():
                    row = kind.make(bodies[uid], header)
                    if row is not None:
                        rows.append(row)
                    if slices.over:
                        await slices.pause()
                if len(rows) >= SAVED_AT_ONCE:
                    behind.append(core.submit(kind.save(rows)))
                    rows = []
                    if len(behind) > MAX_BEHIND:
                        await behind.popleft()
            if rows:
                behind.append(core.submit(kind.save(rows)))
            while behind:
                await behind.popleft()
        finally:
            for rest in behind:
                # Nobody waits for them any more.
                rest.addErrback(lambda failure: None)


async def find_headers(
    core: Core, mailbox_id: int, bodies: Mapping[int, int], slices: Slices
) -> dict[int, tuple[Header, bool]]:
    """The headers of messages by UID, or those fields of them that a summary has.

    Summaries are not made for this: that takes longer.

    :param bodies: by UID; a message that was removed is left out of the answer.
    :returns: the header, and whether it is complete.
    """
    ids = json.dumps(list(bodies.values()))
    rows = core.reader.connection.execute(_SOURCES, (ids,)).fetchall()
    found = {
        body_id: (parse_header(header), False) for body_id, *_, header in rows if header is not None
    }
    places = [BodyPlace._make(row[:-1]) for row in rows if row[-1] is None]
    for body_id, octets in (await read_heads_anywhere(core, places, slices)).items():
        found[body_id] = Header(octets, 0, len(octets), b""), True
    slow = [uid for uid, body_id in bodies.items() if body_id not in found]
    for summary in await core.summaries.get(mailbox_id, slow, False):
        found[bodies[summary.uid]] = parse_header(summary.header), False
    return {uid: found[body_id] for uid, body_id in bodies.items() if body_id in found}


async def read_heads_anywhere(
    core: Core, places: Iterable[BodyPlace], slices: Slices
) -> dict[int, bytes]:
    """Headers by body: here what is in memory, the others in a thread.

    One that is not where it was, or not as it was written, is left out.
    """
    found: dict[int, bytes] = {}
    cold: list[BodyPlace] = []
    for heads in read_heads(core.bodies, places):
        for place, octets in heads:
            if octets is None:
                cold.append(place)
            else:
                found[place.body_id] = octets
        if slices.over:
            await slices.pause()
    if cold:
        found.update(await core.in_thread(_read_slowly, core.bodies, cold))
    return found


def _read_slowly(bodies: BodyFiles, places: Sequence[BodyPlace]) -> dict[int, bytes]:
    return {
        place.body_id: octets
        for heads in read_heads(bodies, places, False)
        for place, octets in heads
        if octets is not None
    }


async def find_heads(
    core: Core, mailbox_id: int, uids: Sequence[int], slices: Slices
) -> dict[int, bytes]:
    """Headers of messages, or at least those fields of them that a summary has, by UID.

    :param uids: ascending; a message that was removed is left out of the answer.
    """
    where, values = condition(uids, False)
    rows = core.reader.connection.execute(_PLACES + where, (mailbox_id, *values)).fetchall()
    bodies = {row[0]: row[1] for row in rows}
    # Copies share a body, which is then read twice. tuple.__new__ goes around the Python function
    # that a NamedTuple has for it.
    places = [tuple.__new__(BodyPlace, row[1:]) for row in rows]
    read = await read_heads_anywhere(core, places, slices)
    found = {uid: read[body_id] for uid, body_id in bodies.items() if body_id in read}
    if len(found) < len(bodies):
        slow = [uid for uid in bodies if uid not in found]
        for summary in await core.summaries.get(mailbox_id, slow, False):
            found[summary.uid] = summary.header
    return found
