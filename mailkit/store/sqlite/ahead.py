"""Making ahead, while all else is quiet, what fetching, searching and sorting will ask for.

The bodies are gone through in the order in which they came: first their headers, of which searches
and sorts of a whole mailbox want something at once, and which take a tenth of the time; then all of
them. How far that has got is kept in the index, so that a server goes on where the one before it has
stopped.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

from mailkit._typing import override
from mailkit.mime import Header, Part, parse_header
from mailkit.store.sqlite.bodies import BodyPlace
from mailkit.store.sqlite.derived import Row
from mailkit.store.sqlite.fields import KINDS
from mailkit.store.sqlite.summaries import (
    MAX_KEPT,
    Job,
    SaveSummaries,
    Summary,
    make_spans,
    make_summaries,
    read_headers,
)
from mailkit.store.sqlite.textmaps import SaveTextMaps
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.writer import Operation, Writer
from mailkit.textmap import encode_text_map, read_text_map

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

#: Messages in one step: behind each, what was made waits for a transaction to ride along with.
MESSAGES_AT_ONCE = 200
#: The same where only headers are looked at.
HEADERS_AT_ONCE = 200
#: Octets of summaries behind which a step ends.
OCTETS_AT_ONCE = 2 * 1024 * 1024
#: Headers between two looks at whether somebody else wants the interpreter: a millisecond.
HEADERS_IN_A_ROW = 8
#: The same while others are at what takes long, and somebody searches without what is made here:
#: whoever is at work then gives the interpreter away every 5 milliseconds.
WANTED_IN_A_ROW = 15
#: Seconds of work on structures between two such looks.
TURN = 0.001
#: Seconds for which the interpreter is left to others, who take it at once if they wait for it.
GAP = 0.00005
#: Seconds, and times, that the next millisecond of work waits while somebody is served.
WAIT = 0.005
MAX_WAITS = 100
#: Seconds of a processor that the reactor needs meanwhile when it serves somebody.
SERVING = 0.0002
#: Seconds after which other maintenance has its turn.
AT_A_TIME = 5.0
#: Transactions of others during such a step above which the store is busy.
MAX_COMMITS_BESIDE = 5
_COLUMNS = "b.id, b.segment, b.position, b.start, b.size, s.envelope, s.header"
#: Of those that are in mailboxes: nobody looks at what only waits to be sent.
_NEW = (
    f"SELECT {_COLUMNS} FROM body b LEFT JOIN summary s ON s.body_id = b.id"
    " WHERE b.id >= ? AND b.refs > (SELECT count(*) FROM queue_message WHERE body_id = b.id)"
)
_NEW_BODIES = f"{_NEW} AND s.body_structure IS NULL ORDER BY b.id LIMIT ?"
_MADE = " AND ".join(
    f"EXISTS (SELECT 1 FROM {kind.save.table} WHERE body_id = b.id)" for kind in KINDS
)
_NEW_HEADERS = f"{_NEW} AND NOT ({_MADE}) ORDER BY b.id LIMIT ?"
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
        # The bodies of whose headers all was made, first and last, the last one left out.
        self._read_from = self._read_to = 0
        # Those among them that could not be read.
        self._unread: set[int] = set()
        # Bodies that are damaged, or whose summaries are too long to be kept.
        self._unfit: set[int] = set()
        self._maps: list[tuple[int, str]] = []
        # What the writer has been given in this step.
        self._saving: list[Future[None]] = []
        # When other maintenance has its turn, and when whoever waits for the interpreter has.
        self._end = 0.0
        self._turn_end = 0.0
        # What the reactor had used of a processor at the last look.
        self._served = 0.0
        #: There is something left to do.
        self.behind = False

    def work(self, index: sqlite3.Connection) -> None:
        """Go on while all else is quiet."""
        self._end = time.monotonic() + AT_A_TIME
        if self._next is None:
            row = index.execute("SELECT value FROM setting WHERE name = ?", (_SETTING,)).fetchone()
            self._next = 0 if row is None else int(row[0])
            self._read_from = self._read_to = self._next
        if not self._make_fields(index):
            self.behind = True
            return
        reached, done = self._make(index, _NEW_BODIES, self._next)
        if reached != self._next:
            self._next = reached
            # What waits for the writer would be taken for the work of others.
            wait((self._writer.submit_future(NoteMadeAhead(reached), durable=False),))
        if done:
            _, done = self._make(index, _UNFINISHED, 0)
        self.behind = not done

    @property
    def _is_quiet(self) -> bool:
        return self._may_go_on and not self._core.busy

    @property
    def _may_go_on(self) -> bool:
        """Nobody waits for the writer, or for other maintenance."""
        return not (self._stopping() or time.monotonic() > self._end or self._writer.waiting)

    @property
    def _is_wanted(self) -> bool:
        """Somebody searches headers, and does other things that take long."""
        return self._core.busy and self._core.fields.wanted

    def _give_way(self) -> None:
        """Let those have the interpreter's lock who wait for it, or soon will."""
        time.sleep(GAP)
        if self._core.fields.wanted:
            return
        for _ in range(MAX_WAITS):
            served, self._served = self._served, self._core.measure_work()
            if self._stopping() or self._served - served < SERVING:
                break
            time.sleep(WAIT)

    def _is_crowded(self, commits: int) -> bool:
        """Whether others change much. Waits for what is ours, which the next look would find again.

        :param commits: of the writer when the step began.
        """
        saving, self._saving = self._saving, []
        wait(saving)
        return self._writer.commits - commits - len(saving) > MAX_COMMITS_BESIDE

    def _make_fields(self, index: sqlite3.Connection) -> bool:
        """Make what is made of headers alone.

        :returns: that is done of all messages.
        """
        while self._is_quiet or (self._is_wanted and self._may_go_on):
            commits = self._writer.commits
            (last,) = index.execute("SELECT ifnull(max(id), 0) FROM body").fetchone()
            rows = index.execute(_NEW_HEADERS, (self._read_to, HEADERS_AT_ONCE)).fetchall()
            self._save_fields(self._find_headers(rows))
            is_crowded = self._is_crowded(commits)
            if len(rows) < HEADERS_AT_ONCE:
                self._read_to = last + 1
                return True
            self._read_to = rows[-1][0] + 1
            if is_crowded:
                break
        return False

    def _find_headers(self, rows: Sequence[tuple[Any, ...]]) -> list[tuple[int, Header]]:
        """Headers, or the usual fields of them, by the number of the body."""
        found = [(row[0], parse_header(row[-1])) for row in rows if row[-1] is not None]
        places = [BodyPlace._make(row[:5]) for row in rows if row[-1] is None]
        try:
            for count, (place, header) in enumerate(read_headers(self._core.bodies, places), 1):
                if count % HEADERS_IN_A_ROW == 0:
                    self._give_way()
                if header is not None:
                    found.append((place.body_id, header))
        except OSError:
            # Looked at once more, with the rest of the message.
            pass
        self._unread.update({row[0] for row in rows}.difference(body_id for body_id, _ in found))
        return found

    def _save_fields(self, headers: Sequence[tuple[int, Header]]) -> None:
        made: list[list[Row]] = [[] for _ in KINDS]
        start = 0
        while start < len(headers):
            self._give_way()
            end = start + (WANTED_IN_A_ROW if self._is_wanted else HEADERS_IN_A_ROW)
            for kind, rows in zip(KINDS, made, strict=True):
                rows += kind.make_rows(headers[start:end])
            start = end
        for kind, rows in zip(KINDS, made, strict=True):
            if rows:
                self._submit(kind.save(rows))

    def _make(self, index: sqlite3.Connection, sql: str, first: int) -> tuple[int, bool]:
        """Make what lacks of the messages that a query finds.

        :returns: the body before which that is done, and whether these were all.
        """
        writer = self._writer
        while self._is_quiet:
            commits = writer.commits
            (last,) = index.execute("SELECT ifnull(max(id), 0) FROM body").fetchone()
            rows = index.execute(sql, (first, MESSAGES_AT_ONCE)).fetchall()
            looked_at = self._make_some(rows)
            is_crowded = self._is_crowded(commits)
            if looked_at == len(rows) < MESSAGES_AT_ONCE:
                return last + 1, True
            if looked_at:
                first = rows[looked_at - 1][0] + 1
            if is_crowded:
                break
        return first, False

    def _make_some(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Make and save what lacks of the first of some messages, as many as fit into a step.

        :returns: how many were looked at: fewer when others have begun with something.
        """
        made: list[tuple[int, Summary]] = []
        looked_at = octets = 0
        for *place, envelope, header in rows:
            if octets > OCTETS_AT_ONCE or not self._is_quiet:
                break
            looked_at += 1
            known = None if envelope is None else Summary(envelope, b"", header)
            summary = self._make_summary(Job(BodyPlace._make(place), known))
            if summary is not None:
                made.append((place[0], summary))
                octets += summary.size
        if made:
            self._save(made)
        return looked_at

    def _save(self, made: list[tuple[int, Summary]]) -> None:
        self._submit(SaveSummaries(made))
        self._save_fields(
            [
                (body_id, parse_header(summary.header))
                for body_id, summary in made
                if not self._read_from <= body_id < self._read_to or body_id in self._unread
            ]
        )
        maps, self._maps = self._maps, []
        if maps:
            self._submit(SaveTextMaps(maps))

    def _submit(self, operation: Operation[None]) -> None:
        self._saving.append(self._writer.submit_future(operation, durable=False))

    def _make_summary(self, job: Job) -> Summary | None:
        """A summary that can be kept, or None."""
        body_id = job.place.body_id
        if body_id in self._unfit:
            return None
        if time.monotonic() > self._turn_end:
            self._give_way()
            self._turn_end = time.monotonic() + TURN
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
