"""Summaries: ENVELOPE, BODYSTRUCTURE and the usual header fields, made once and kept."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from mailkit._typing import override
from mailkit.errors import StoreCorrupt
from mailkit.mime import Octets, bodystructure_octets, envelope_octets, parse_message
from mailkit.model import SUMMARY_FIELDS, MessageSummary
from mailkit.store.sqlite.bodies import SMALL_BODY, BodyFiles, BodyPlace, Cold
from mailkit.store.sqlite.rows import condition
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.writer import Operation

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

#: Octets of a summary that is kept; a longer one is made each time.
MAX_KEPT = 256 * 1024
#: Summaries that wait for the writer and are known meanwhile.
MAX_PENDING = 2000
# Seconds of parsing after which other work has its turn.
_SLICE = 0.003


class Summary(NamedTuple):
    """What is kept of a body."""

    envelope: bytes
    body_structure: bytes
    header: bytes

    @property
    def size(self) -> int:
        return len(self.envelope) + len(self.body_structure) + len(self.header)


#: Of a message whose octets are damaged: it must not make its mailbox unreadable.
_NOTHING = Summary(envelope_octets(b""), bodystructure_octets(b"", parse_message(b"")), b"")


def summarize(data: Octets, start: int = 0) -> Summary:
    """The summary of a message.

    :param start: its offset in ``data``; it ends with that.
    """
    root = parse_message(data, start)
    return Summary(
        envelope_octets(data, root.header),
        bodystructure_octets(data, root),
        root.header.raw_fields(SUMMARY_FIELDS, blank_line=False),
    )


def summarize_place(bodies: BodyFiles, place: BodyPlace) -> Summary:
    """The summary of a stored message; for a thread.

    :raises FileNotFoundError: the segment was dropped.
    """
    if place.size <= SMALL_BODY:
        return summarize(bodies.read(place))
    mapping, start = bodies.map(place)
    with mapping:
        return summarize(mapping, start)


class SaveSummaries(Operation[None]):
    """Keep summaries by body id."""

    __slots__ = ("_summaries",)

    def __init__(self, summaries: Sequence[tuple[int, Summary]]) -> None:
        self._summaries = summaries

    @override
    def run(self, tx: Transaction) -> None:
        tx.flush()
        tx.connection.executemany(
            "INSERT OR IGNORE INTO summary SELECT ?1, ?2, ?3, ?4"
            " WHERE EXISTS (SELECT 1 FROM body WHERE id = ?1 AND refs > 0)",
            [(body_id, *summary) for body_id, summary in self._summaries],
        )


class Summaries:
    """Gives summaries, making those that are missing. Used by the reactor's thread alone."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # Made, and on their way to the index.
        self._pending: OrderedDict[int, Summary] = OrderedDict()

    async def get(self, mailbox_id: int, uids: Sequence[int]) -> list[MessageSummary]:
        """Summaries by ascending UID, of those messages that exist."""
        if not len(uids):
            return []
        self._core.reader.mailbox_info(mailbox_id)
        where, values = condition(sorted(set(uids)), False)
        rows = self._core.reader.connection.execute(
            "SELECT m.uid, m.body_id, s.envelope, s.body_structure, s.header FROM message m"
            " LEFT JOIN summary s ON s.body_id = m.body_id"
            f" WHERE m.mailbox_id = ? AND m.{where} ORDER BY m.uid",
            (mailbox_id, *values),
        ).fetchall()
        missing = {body_id for _, body_id, envelope, _, _ in rows if envelope is None}
        if not missing:
            return [
                MessageSummary(uid, envelope, structure, header)
                for uid, _, envelope, structure, header in rows
            ]
        made = await self._make(sorted(missing))
        return [
            MessageSummary(uid, *made[body_id])
            if envelope is None
            else MessageSummary(uid, envelope, structure, header)
            for uid, body_id, envelope, structure, header in rows
            if envelope is not None or body_id in made
        ]

    async def _make(self, body_ids: Sequence[int]) -> dict[int, Summary]:
        """Summaries of bodies; one that was removed meanwhile is left out."""
        made: dict[int, Summary] = {}
        new: list[tuple[int, Summary]] = []
        pause_at = time.monotonic() + _SLICE
        for body_id in body_ids:
            if (known := self._pending.get(body_id)) is not None:
                made[body_id] = known
                continue
            if time.monotonic() > pause_at:
                await self._core.pause()
                pause_at = time.monotonic() + _SLICE
            try:
                summary = await self._summarize(body_id)
            except StoreCorrupt as error:
                self._core.log.error(
                    "message body {body_id} cannot be read: {error}", body_id=body_id, error=error
                )
                made[body_id] = _NOTHING
                continue
            if summary is not None:
                made[body_id] = summary
                if summary.size <= MAX_KEPT:
                    new.append((body_id, summary))
        self._save(new)
        return made

    async def _summarize(self, body_id: int) -> Summary | None:
        core = self._core
        while (place := core.reader.place_of(body_id)) is not None:
            try:
                if place.size <= SMALL_BODY:
                    try:
                        return summarize(core.bodies.read(place, nowait=True))
                    except Cold:
                        return summarize(await core.in_thread(core.bodies.read, place))
                return await core.in_thread(summarize_place, core.bodies, place)
            except FileNotFoundError:
                # Moved by the compaction since we asked.
                if core.reader.place_of(body_id) == place:
                    raise StoreCorrupt("A segment of the log is missing") from None
        return None

    def _save(self, new: list[tuple[int, Summary]]) -> None:
        """Let the writer keep them, without waiting for it."""
        if not new:
            return
        self._pending.update(new)
        while len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)
        operation = self._core.writer.submit_lazy(SaveSummaries(new))
        operation.addBoth(lambda _: [self._pending.pop(body_id, None) for body_id, _ in new])
