"""Summaries: ENVELOPE, BODYSTRUCTURE and the usual header fields, made once and kept.

What stands in the header is made from the first octets of a body alone; the BODYSTRUCTURE, which
needs all of it, joins that when somebody asks for it, or when the store has nothing else to do.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import StoreCorrupt
from mailkit.mime import bodystructure_octets, envelope_octets, parse_message
from mailkit.model import MessageSummary
from mailkit.store.sqlite.bodies import BodyFiles, BodyPlace, Cold
from mailkit.store.sqlite.derived import SaveRows
from mailkit.store.sqlite.heads import HEAD_OCTETS
from mailkit.store.sqlite.making import (
    MAX_KEPT,
    Job,
    Outcome,
    Summary,
    Wanted,
    make_spans,
    make_summaries,
)
from mailkit.store.sqlite.ready import MAX_OCTETS
from mailkit.store.sqlite.rows import condition
from mailkit.store.sqlite.slices import Slices

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

#: Summaries that wait for the writer and are known meanwhile.
MAX_PENDING = 2000
#: Messages that lack something, among those asked for together, from which the rest is made ahead in
#: a hurry.
HURRIED_FROM = 32
#: Octets of bodies that a thread reads in one step.
THREAD_OCTETS = 4 * 1024 * 1024

#: Of a message whose octets are damaged: it must not make its mailbox unreadable.
_NOTHING = Summary(envelope_octets(b""), bodystructure_octets(b"", parse_message(b"")), b"")


def _make_all(bodies: BodyFiles, jobs: Sequence[Job], structure: bool) -> list[tuple[Job, Outcome]]:
    """Read and make; for a thread."""
    return [
        outcome
        for span in make_spans(jobs, structure)
        for outcome in make_summaries(bodies, span, structure)
    ]


def _groups(jobs: Sequence[Job], structure: bool) -> Iterator[list[Job]]:
    """Jobs that a thread does in one step."""
    group: list[Job] = []
    octets = 0
    for job in jobs:
        group.append(job)
        octets += job.place.size if structure else HEAD_OCTETS
        if octets >= THREAD_OCTETS:
            yield group
            group, octets = [], 0
    if group:
        yield group


class SaveSummaries(SaveRows):
    """Keep summaries."""

    __slots__ = ()

    losable = True
    table = "summary"
    columns = ("envelope", "body_structure", "header")
    conflict = (
        " ON CONFLICT (body_id) DO UPDATE SET body_structure = excluded.body_structure"
        " WHERE body_structure IS NULL AND excluded.body_structure IS NOT NULL"
    )

    def __init__(self, summaries: Sequence[tuple[int, Summary]]) -> None:
        super().__init__(
            [
                (body_id, envelope, structure or None, header)
                for body_id, (envelope, structure, header) in summaries
            ]
        )


class SaveStructures(SaveSummaries):
    """Keep the structures of messages whose summaries lack nothing else."""

    __slots__ = ()

    condition = "SELECT 1 FROM summary WHERE body_id = v.column1"


_SELECT = (
    "SELECT m.uid, m.body_id, s.envelope, ifnull(s.body_structure, x''), s.header FROM message m"
    " LEFT JOIN summary s ON s.body_id = m.body_id WHERE m.mailbox_id = ? AND m."
)


class Summaries:
    """Gives summaries, making those that are missing. Used by the reactor's thread alone."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # Made, and on their way to the index.
        self._pending: OrderedDict[int, Summary] = OrderedDict()

    async def get(
        self, mailbox_id: int, uids: Sequence[int], structure: bool
    ) -> list[MessageSummary]:
        """Summaries by ascending UID, of those messages that exist."""
        if not len(uids):
            return []
        self._core.reader.mailbox_info(mailbox_id)
        where, values = condition(sorted(set(uids)), False)
        rows = self._core.reader.connection.execute(
            f"{_SELECT}{where} ORDER BY m.uid", (mailbox_id, *values)
        ).fetchall()
        lacking = {
            body_id: None if envelope is None else Summary(envelope, made, header)
            for _, body_id, envelope, made, header in rows
            if envelope is None or (structure and not made)
        }
        # tuple.__new__ goes around the Python function that a NamedTuple has for it.
        new = tuple.__new__
        if not lacking:
            return [
                new(MessageSummary, (uid, envelope, made, header))
                for uid, _, envelope, made, header in rows
            ]
        found = await self._make(lacking, structure)
        summaries = [
            new(MessageSummary, (uid, *found[body_id]))
            if body_id in lacking
            else new(MessageSummary, (uid, envelope, made, header))
            for uid, body_id, envelope, made, header in rows
            if body_id in found or body_id not in lacking
        ]
        # Not what is shown of damaged ones.
        good = {
            uid
            for uid, body_id, *_ in rows
            if body_id not in lacking or found.get(body_id) is self._pending.get(body_id)
        }
        self._keep(mailbox_id, [each for each in summaries if each.uid in good], structure)
        return summaries

    def _keep(self, mailbox_id: int, summaries: Sequence[MessageSummary], structure: bool) -> None:
        """Who asks for the same once more need not wait until the index has it."""
        for field in ("envelope", "body_structure") if structure else ("envelope",):
            values = [(each.uid, getattr(each, field)) for each in summaries]
            usual = {uid: value for uid, value in values if len(value) <= MAX_OCTETS}
            if usual:
                self._core.ready_columns.keep(mailbox_id, field, list(usual), list(usual.values()))

    async def _make(
        self, lacking: Mapping[int, Summary | None], structure: bool
    ) -> dict[int, Summary]:
        """Summaries of bodies; one that was removed meanwhile is left out.

        :param lacking: what is known of them already.
        """
        made: dict[int, Summary] = {}
        known = dict(lacking)
        for body_id in lacking:
            if (pending := self._pending.get(body_id)) is not None:
                if structure and not pending.body_structure:
                    known[body_id] = pending
                else:
                    made[body_id] = pending
        new: list[tuple[int, Summary]] = []
        places = self._places([body_id for body_id in lacking if body_id not in made])
        if len(places) >= HURRIED_FROM:
            self._core.hurry(Wanted.STRUCTURES if structure else Wanted.SUMMARIES)
        while places:
            jobs = [Job(place, known[place.body_id]) for place in places]
            moved: list[BodyPlace] = []
            for (place, _), outcome in await self._work(jobs, structure):
                body_id = place.body_id
                if isinstance(outcome, Summary):
                    made[body_id] = outcome
                    if outcome.size <= MAX_KEPT:
                        new.append((body_id, outcome))
                elif isinstance(outcome, FileNotFoundError):
                    moved.append(place)
                else:
                    made[body_id] = self._give_up(body_id, known[body_id], outcome)
            # Those that the compaction has moved since we asked.
            places = self._places([place.body_id for place in moved])
            for place in set(places).intersection(moved):
                error = StoreCorrupt("A segment of the log is missing")
                made[place.body_id] = self._give_up(place.body_id, known[place.body_id], error)
            places = [place for place in places if place not in moved]
        self._save(new)
        return made

    def _places(self, body_ids: Sequence[int]) -> list[BodyPlace]:
        """Where bodies are now, in that order."""
        if not body_ids:
            return []
        rows = self._core.reader.connection.execute(
            "SELECT id, segment, position, start, size FROM body"
            " WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
            (json.dumps(body_ids),),
        ).fetchall()
        return list(map(BodyPlace._make, rows))

    async def _work(self, jobs: Sequence[Job], structure: bool) -> list[tuple[Job, Outcome]]:
        """Make summaries: here what is quickly done, the others in a thread."""
        core = self._core
        done: list[tuple[Job, Outcome]] = []
        slow: list[Job] = []
        slices = Slices(core)
        for span in make_spans(jobs, structure):
            for job, outcome in make_summaries(core.bodies, span, structure, nowait=True):
                if isinstance(outcome, Cold):
                    slow.append(job)
                else:
                    done.append((job, outcome))
                if slices.over:
                    await slices.pause()
        for group in _groups(slow, structure):
            done.extend(await core.in_thread(_make_all, core.bodies, group, structure))
        return done

    def _give_up(self, body_id: int, known: Summary | None, error: Exception) -> Summary:
        """What is shown of a message that cannot be read."""
        self._core.log.error(
            "message body {body_id} cannot be read: {error}", body_id=body_id, error=error
        )
        if known is None:
            return _NOTHING
        return known._replace(body_structure=_NOTHING.body_structure)

    def _save(self, new: list[tuple[int, Summary]]) -> None:
        """Let the writer keep them, without waiting for it."""
        if not new:
            return
        self._pending.update(new)
        while len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)
        operation = self._core.writer.submit_lazy(SaveSummaries(new))
        operation.addBoth(lambda _: self._saved(new))

    def _saved(self, summaries: list[tuple[int, Summary]]) -> None:
        for body_id, summary in summaries:
            # One with a structure may have taken its place.
            if self._pending.get(body_id) is summary:
                del self._pending[body_id]
