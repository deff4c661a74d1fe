"""Folded texts of header fields in the index: SQLite looks in them, far faster than we could.

They are made when a search first needs them, or when the store has nothing else to do, never while
a message is delivered.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mailkit._typing import override
from mailkit.fieldtexts import FieldTexts, encode_field_texts, read_field_texts
from mailkit.mime import Header, parse_header
from mailkit.store.sqlite.bodies import BodyPlace
from mailkit.store.sqlite.summaries import read_headers
from mailkit.store.sqlite.transaction import RowBuffer, Transaction
from mailkit.store.sqlite.writer import Operation

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
#: Messages whose header fields are known while their texts wait for the writer.
MAX_PENDING = 2000
# Seconds of reading after which other work has its turn.
_SLICE = 0.003

_SAVE = f"INSERT OR IGNORE INTO field_text (body_id, {', '.join(COLUMNS.values())}) SELECT v.* FROM (VALUES "
_SAVE_TAIL = ") AS v WHERE EXISTS (SELECT 1 FROM body WHERE id = v.column1 AND refs > 0)"
_SOURCES = (
    "SELECT b.id, b.segment, b.position, b.start, b.size, s.header FROM body b"
    " LEFT JOIN summary s ON s.body_id = b.id WHERE b.id IN (SELECT value FROM json_each(?))"
)


class SaveFieldTexts(Operation[None]):
    """Keep texts by body id; those that are too long are made each time."""

    __slots__ = ("_texts",)

    def __init__(self, texts: Sequence[tuple[int, FieldTexts]]) -> None:
        self._texts = texts

    @override
    def run(self, tx: Transaction) -> None:
        tx.flush()
        buffer = RowBuffer(_SAVE, 1 + len(COLUMNS), _SAVE_TAIL)
        for body_id, texts in self._texts:
            values = encode_field_texts(texts)
            if values is not None:
                buffer.rows.append((body_id, *values))
        buffer.flush(tx.connection)


class Fields(NamedTuple):
    """Header fields of a message; given to ``Matcher.by_header``."""

    header: Header | bytes
    #: These are all fields, not just those of a summary.
    complete: bool
    texts: FieldTexts | None = None


async def read_fields(core: Core, mailbox_id: int, bodies: Mapping[int, int]) -> dict[int, Fields]:
    """The header fields of messages, whose texts are kept from now on.

    :param bodies: by UID; a message that was removed is left out of the answer.
    """
    pending = core.pending_fields
    known = {uid: pending[body_id] for uid, body_id in bodies.items() if body_id in pending}
    lacking = {uid: body_id for uid, body_id in bodies.items() if uid not in known}
    new: dict[int, Fields] = {}
    pause_at = time.monotonic() + _SLICE
    for uid, (header, complete) in (await find_headers(core, mailbox_id, lacking)).items():
        known[uid] = new[bodies[uid]] = Fields(header, complete, read_field_texts(header))
        if time.monotonic() > pause_at:
            await core.pause()
            pause_at = time.monotonic() + _SLICE
    if new:
        _keep(core, new)
    return known


def _keep(core: Core, new: Mapping[int, Fields]) -> None:
    """Let the writer keep texts by body id, which are known until it has."""
    pending = core.pending_fields
    pending.update(new)
    while len(pending) > MAX_PENDING:
        del pending[next(iter(pending))]

    def kept(_: object) -> None:
        for body_id, found in new.items():
            if pending.get(body_id) is found:
                del pending[body_id]

    texts = [(body_id, found.texts) for body_id, found in new.items() if found.texts is not None]
    core.writer.submit_lazy(SaveFieldTexts(texts)).addBoth(kept)


async def find_headers(
    core: Core, mailbox_id: int, bodies: Mapping[int, int]
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
    pause_at = time.monotonic() + _SLICE
    places = [BodyPlace._make(row[:-1]) for row in rows if row[-1] is None]
    for place, header in read_headers(core.bodies, places):
        if header is not None:
            found[place.body_id] = header, True
        if time.monotonic() > pause_at:
            await core.pause()
            pause_at = time.monotonic() + _SLICE
    slow = [uid for uid, body_id in bodies.items() if body_id not in found]
    for summary in await core.summaries.get(mailbox_id, slow, False):
        found[bodies[summary.uid]] = parse_header(summary.header), False
    return {uid: found[body_id] for uid, body_id in bodies.items() if body_id in found}
