"""Making ahead, while all else is quiet, what fetching, searching and sorting will ask for.

The bodies are gone through in the order in which they came. How far that has got is kept in the
index, so that a server goes on where the one before it has stopped.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailkit._typing import override
from mailkit.mime import Part, parse_header
from mailkit.store.sqlite.bodies import BodyPlace
from mailkit.store.sqlite.fields import KINDS
from mailkit.store.sqlite.summaries import (
    MAX_KEPT,
    Job,
    SaveSummaries,
    Summary,
    make_spans,
    make_summaries,
)
from mailkit.store.sqlite.textmaps import SaveTextMaps
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.writer import Operation, Writer
from mailkit.textmap import encode_text_map, read_text_map

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

#: Messages in one step.
MESSAGES_AT_ONCE = 20
#: Transactions during such a step above which the store is busy.
MAX_COMMITS_BESIDE = 5
_COLUMNS = "b.id, b.segment, b.position, b.start, b.size, s.envelope, s.header"
#: Of those that are in mailboxes: nobody looks at what only waits to be sent.
_NEW_BODIES = (
    f"SELECT {_COLUMNS} FROM body b LEFT JOIN summary s ON s.body_id = b.id"
    " WHERE b.id >= ? AND b.refs > (SELECT count(*) FROM queue_message WHERE body_id = b.id)"
    " AND s.body_structure IS NULL ORDER BY b.id LIMIT ?"
)
_UNFINISHED = (
    f"SELECT {_COLUMNS} FROM summary s JOIN body b ON b.id = s.body_id"
    " WHERE s.body_id >= ? AND b.refs > 0 AND s.body_structure IS NULL ORDER BY s.body_id LIMIT ?"
)
_SETTING = "made_ahead_to"


class NoteMadeAhead(Operation[None]):
    """Keep before which body all has been made; a rebuilt index begins anew."""

    __slots__ = ("_body_id",)

    def __init__(self, body_id: int) -> None:
        self._body_id = body_id

    @override
    def run(self, tx: Transaction) -> None:
        tx.connection.execute(
            "INSERT INTO setting VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            (_SETTING, self._body_id),
        )


class Ahead:
    """Makes summaries, texts, maps of texts and values for sorting. Used by the maintenance's thread alone.

    :param stopping: tells whether to end as soon as possible.
    """

    def __init__(self, core: Core, writer: Writer, stopping: Callable[[], bool]) -> None:
        self._core = core
        self._writer = writer
        self._stopping = stopping
        # The first body that was not looked at; None until that has been read.
        self._next: int | None = None
        # Bodies that are damaged, or whose summaries are too long to be kept.
        self._unfit: set[int] = set()
        self._maps: list[tuple[int, str]] = []
        #: There is something left to do, as the store was busy.
        self.behind = False

    def work(self, index: sqlite3.Connection) -> None:
        """Go on while all else is quiet."""
        if self._next is None:
            row = index.execute("SELECT value FROM setting WHERE name = ?", (_SETTING,)).fetchone()
            self._next = 0 if row is None else int(row[0])
        reached, done = self._make(index, _NEW_BODIES, self._next)
        if reached != self._next:
            self._next = reached
            self._writer.submit_future(NoteMadeAhead(reached), durable=False)
        if done:
            _, done = self._make(index, _UNFINISHED, 0)
        self.behind = not done

    def _make(self, index: sqlite3.Connection, sql: str, first: int) -> tuple[int, bool]:
        """Make what lacks of the messages that a query finds.

        :returns: the body before which that is done, and whether these were all.
        """
        writer = self._writer
        while not (self._stopping() or writer.waiting or self._core.busy):
            commits = writer.commits
            (last,) = index.execute("SELECT ifnull(max(id), 0) FROM body").fetchone()
            rows = index.execute(sql, (first, MESSAGES_AT_ONCE)).fetchall()
            made: list[tuple[int, Summary]] = []
            for *place, envelope, header in rows:
                known = None if envelope is None else Summary(envelope, b"", header)
                summary = self._make_summary(Job(BodyPlace._make(place), known))
                if summary is not None:
                    made.append((place[0], summary))
            if made:
                self._save(made)
            if len(rows) < MESSAGES_AT_ONCE:
                return last + 1, True
            first = rows[-1][0] + 1
            if writer.commits - commits > MAX_COMMITS_BESIDE:
                break
        return first, False

    def _save(self, made: list[tuple[int, Summary]]) -> None:
        writer = self._writer
        writer.submit_future(SaveSummaries(made), durable=False)
        headers = [(body_id, parse_header(summary.header)) for body_id, summary in made]
        for kind in KINDS:
            writer.submit_future(kind.save(kind.make_rows(headers)), durable=False)
        maps, self._maps = self._maps, []
        writer.submit_future(SaveTextMaps(maps), durable=False)

    def _make_summary(self, job: Job) -> Summary | None:
        """A summary that can be kept, or None."""
        body_id = job.place.body_id
        if body_id in self._unfit:
            return None
        # Each of them holds the interpreter's lock for a while: let the others have it.
        time.sleep(0.0005)
        (span,) = make_spans([job], True)
        try:
            ((_, outcome),) = make_summaries(self._core.bodies, span, True, look=self._make_map)
        except OSError:
            return None
        if isinstance(outcome, Summary) and outcome.size <= MAX_KEPT:
            return outcome
        # Unless it was moved or removed meanwhile; whoever asks for it will see.
        if not isinstance(outcome, FileNotFoundError):
            self._unfit.add(body_id)
        return None

    def _make_map(self, place: BodyPlace, root: Part, start: int) -> None:
        """Note where the texts are that BODY and TEXT look into."""
        encoded = encode_text_map(read_text_map(root, start))
        if encoded is not None:
            self._maps.append((place.body_id, encoded))
