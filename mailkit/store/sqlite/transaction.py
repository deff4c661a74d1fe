"""One transaction of the writer: rows and bodies that wait for the end of the batch.

An operation gets a :class:`Transaction`. New messages are collected and reach the index by a few
statements of many rows each: between two steps of a statement sqlite3 lets go of the interpreter's
lock, and under load it waits long to get it back.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from mailkit.annotations import Annotation
from mailkit.errors import MailError, StoreFull
from mailkit.model import Flags, Quota
from mailkit.store.sqlite.flags import KEYWORD_SHIFT, SEEN_BIT, SYSTEM_MASK
from mailkit.store.sqlite.journal import Journal, Note
from mailkit.store.sqlite.log import SPOOL_RESERVE, Location, SegmentLog
from mailkit.store.sqlite.records import BODY, MAX_META, RECORD_HEADER_SIZE
from mailkit.store.sqlite.rows import USAGE, settle_domains
from mailkit.store.sqlite.states import AccountState, MailboxState, States
from mailkit.wire.dotstuff import lacks_line_end

#: UIDs end here (RFC 3501 section 9, nz-number).
MAX_UID = 2**32 - 1
# json.dumps makes one for each call that has separators.
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
# Rows of one statement: each number up to the first one, and the second one. What a few sessions
# bring together is one statement, for the interpreter's lock has to be got back after each.
_EXACT, _MOST = 16, 64


class NamesOf(NamedTuple):
    """The names of an account's mailboxes, or its subscriptions."""

    account_id: int


class DomainDue(NamedTuple):
    """There is something new for a domain in the outbound queue."""

    domain: str


#: Accounts, aliases or other things of the directory; no account has this id.
DIRECTORY = NamesOf(0)
#: Mailboxes that are shared with more accounts than one entry names.
SHARED = NamesOf(-1)
#: A mailbox, by its id, or names, or what else others are to hear of.
Touched: TypeAlias = int | NamesOf | DomainDue


class Content(NamedTuple):
    """The octets of a message: in memory, or in a file of which the store may dispose."""

    #: One behind the other; None when they are in a file.
    pieces: tuple[bytes, ...] | None
    size: int
    #: The file with the content at :attr:`start`.
    path: str = ""
    #: What comes before the file's content.
    prefix: bytes = b""
    #: Of all octets, when they are in a file.
    crc: int = 0
    start: int = SPOOL_RESERVE
    #: The last two octets.
    tail: bytes = b""


class Appended(NamedTuple):
    """A message to be put into a mailbox, its content taken out of the spool."""

    content: Content
    flags: Flags
    #: None for now.
    internal_date: int | None
    annotations: Sequence[Annotation] = ()


class Target(NamedTuple):
    """Where a message is to be put."""

    mailbox: MailboxState
    flags: int
    internal_date: int


def _insert_sql(head: str, columns: int, rows: int) -> str:
    row = "(" + ",".join("?" * columns) + ")"
    return head + ",".join([row] * rows)


class RowBuffer:
    """Rows for one table, inserted many at a time."""

    def __init__(self, head: str, columns: int, tail: str = "") -> None:
        self._head, self._columns, self._tail = head, columns, tail
        self._sql: dict[int, str] = {}
        self.rows: list[tuple[object, ...]] = []

    def flush(self, connection: sqlite3.Connection) -> None:
        rows, self.rows = self.rows, []
        begin = 0
        while left := len(rows) - begin:
            count = left if left <= _EXACT else _EXACT if left < _MOST else _MOST
            sql = self._sql.get(count)
            if sql is None:
                sql = _insert_sql(self._head, self._columns, count) + self._tail
                self._sql[count] = sql
            chunk = rows[begin : begin + count]
            connection.execute(sql, [value for row in chunk for value in row])
            begin += count


_PUT = "INSERT INTO message (mailbox_id, uid, flags, internal_date, size, modseq, created_modseq, body_id, save_date) VALUES "
_BODY = "INSERT INTO body (id, segment, position, start, size, refs) VALUES "
_UNENDED = "INSERT INTO unended_body (body_id) VALUES "
_QUEUED = "INSERT INTO queue_message (id, body_id, skip, prefix, size, envelope, created, expires, header_id, submit_key) VALUES "
_RECIPIENT = (
    "INSERT INTO queue_recipient (id, message_id, domain, recipient, state, next_time) VALUES "
)
_COUNT = "UPDATE mailbox SET uid_next = v.column2, highest_modseq = v.column3, messages = v.column4, unseen = v.column5, size = v.column6 FROM (VALUES "


class Transaction:
    """What an operation may do. Used by the writer's thread alone.

    :param batch: number of the batch, one more than the last committed.
    :param lsn: the first log sequence number that is free.
    """

    def __init__(
        self, connection: sqlite3.Connection, log: SegmentLog, journal: Journal, states: States
    ) -> None:
        self.connection = connection
        self.log = log
        self.journal = journal
        self.states = states
        self.batch = 0
        self.lsn = 0
        #: The first number that this batch took.
        self.first_lsn = 0
        #: The log must be durable before the index commits, not only before the answer: a new body
        #: takes the place of something that would be missed if the body was torn and dropped.
        self.ordered = False
        #: Seconds since the epoch.
        self.now = 0
        #: Set by whatever changes something: from here on a refusal undoes the whole batch.
        self.changed = False
        #: Mailboxes and names whose watchers are told.
        self.touched: set[Touched] = set()
        #: Domains of the outbound queue whose rows may not tell any more when they are due.
        self.unsettled: set[str] = set()
        #: Somebody listens to events of the queue; None until somebody asks.
        self.has_listeners: bool | None = None
        # The numbers that the queue's last message and recipient have got; None until somebody asks.
        self._last_queued: tuple[int, int] | None = None
        # What comes next, once a transaction has told the index.
        self._next: tuple[int, int] | None = None
        self._noted = False
        # A batch is at work: there may be something to take back.
        self._begun = False
        self._notes: list[Note] = []
        self._dirty: set[MailboxState] = set()
        # Octets that new bodies may take; None until somebody asks.
        self._room: int | None = None
        #: New messages of this batch were refused, as the disk has no room for them.
        self.lacked_room = False
        self._messages = RowBuffer(_PUT, 9)
        self._bodies = RowBuffer(_BODY, 6)
        self._unended = RowBuffer(_UNENDED, 1)
        self._queued = RowBuffer(_QUEUED, 10)
        self._recipients = RowBuffer(_RECIPIENT, 6)
        self._mailbox_rows = RowBuffer(_COUNT, 6, ") AS v WHERE mailbox.id = v.column1")
        self._buffers = (
            *(self._messages, self._bodies, self._unended, self._mailbox_rows),
            *(self._queued, self._recipients),
        )

    def forget(self) -> None:
        """The index is not what it was: another process may have changed it."""
        self.states.clear()
        self._next = self._last_queued = self.has_listeners = None

    def begin(self, now: int) -> None:
        """Begin a batch; the index's transaction has begun."""
        self.now = now
        if self._next is None:
            self._next = self.connection.execute("SELECT batch + 1, lsn FROM log_state").fetchone()
        self.batch, lsn = self._next
        # What was rolled back may still be in a file that could not be cut: nothing else may get
        # its numbers, for which the repair would take it.
        self.lsn = max(self.lsn, lsn)
        self._noted = False
        self.first_lsn = self.lsn
        self.ordered = False
        self.changed = False
        self.touched = set()
        self.unsettled = set()
        self._notes = []
        self._dirty = set()
        self._room = None
        self.lacked_room = False
        for buffer in self._buffers:
            buffer.rows = []
        self.log.begin()
        self._begun = True

    def note(self, note: Note) -> None:
        """Put a change down in the journal."""
        self._notes.append(note)

    def touch(self, mailbox: MailboxState) -> None:
        """The mailbox's counters have changed."""
        self.changed = True
        self._dirty.add(mailbox)
        self.touched.add(mailbox.id)

    def next_modseq(self, mailbox: MailboxState) -> int:
        """A modification sequence for a change of the mailbox that is being made."""
        mailbox.account.modseq += 1
        mailbox.highest_modseq = mailbox.account.modseq
        self.touch(mailbox)
        return mailbox.highest_modseq

    def keywords(self, flags: int) -> list[str]:
        """The keywords in a flags integer, for a note."""
        if not flags >> KEYWORD_SHIFT:
            return []
        return sorted(f for f in self.states.flag_sets[flags] if not f.startswith("\\"))

    def next_lsn(self) -> int:
        self.lsn += 1
        return self.lsn - 1

    def check_room(self, mailbox: MailboxState, count: int) -> None:
        """:raises MailError: there are not that many UIDs left."""
        if mailbox.uid_next + count > MAX_UID:
            raise MailError("The mailbox has no message numbers left; make a new one")

    def check_disk(self, *contents: Content) -> None:
        """Take room on the disk for new messages.

        :raises StoreFull: there is none, but for the store itself.
        """
        if self._room is None:
            self._room = self.log.measure_room()
        # A file is there already.
        left = self._room - sum(each.size for each in contents if each.pieces is not None)
        if left < 0:
            self.lacked_room = True
            raise StoreFull
        self._room = left

    @property
    def took_room(self) -> bool:
        """New messages of this batch were taken."""
        return self._room is not None and not self.lacked_room

    def check_quota(self, account: AccountState, octets: int, messages: int) -> None:
        """:raises OverQuota: the account may not have that much more."""
        if account.max_octets is None and account.max_messages is None:
            return
        there = account.usage
        if there is None:
            self.flush_counters()
            row = self.connection.execute(USAGE, (account.id,)).fetchone()
            there = account.usage = row[:2]
        quota = Quota(there[0], there[1], account.max_octets, account.max_messages)
        quota.check(octets, messages)

    def add_message(
        self, content: Content, targets: Sequence[Target], body_id: int = 0, held: int = 0
    ) -> list[int]:
        """Put one message into mailboxes, its octets once.

        :param body_id: from :meth:`next_lsn`, where others need it too.
        :param held: how many others keep the body.
        :returns: the new UIDs, one a target.
        """
        size = content.size
        body_id = body_id or self.next_lsn()
        uids = []
        placements = []
        for mailbox, flags, date in targets:
            modseq = self.next_modseq(mailbox)
            uid = mailbox.uid_next
            mailbox.uid_next = uid + 1
            mailbox.count(1, not flags & SEEN_BIT, size)
            self._messages.rows.append(
                (mailbox.id, uid, flags, date, size, modseq, modseq, body_id, self.now)
            )
            uids.append(uid)
            # JSON by hand: most of it is numbers, or the same for all of the mailbox.
            keywords = _to_json(self.keywords(flags)) if flags >> KEYWORD_SHIFT else "[]"
            placements.append(
                f"[{mailbox.id},{uid},{modseq},{flags & SYSTEM_MASK},{keywords},{date},{self.now},"
                f"{mailbox.place}]"
            )
        location = self._add_body(content, body_id, self._meta(placements, body_id, size))
        self._bodies.rows.append((body_id, *location, size, len(targets) + held))
        if lacks_line_end(content.tail):
            self._unended.rows.append((body_id,))
        return uids

    def add_queued(
        self, message: Sequence[object], recipients: Sequence[Sequence[object]]
    ) -> tuple[int, list[int]]:
        """Put a message into the outbound queue, whose body the caller adds.

        :param message: body_id, skip, prefix, size, envelope, created, expires, header_id, submit_key.
        :param recipients: of each domain, recipient, state, next_time.
        :returns: the numbers of the message and of the recipients.
        """
        number, last = self._last_queued or self._find_last_queued()
        number += 1
        ids = list(range(last + 1, last + 1 + len(recipients)))
        self._last_queued = number, last + len(recipients)
        self._queued.rows.append((number, *message))
        for id, values in zip(ids, recipients, strict=True):
            self._recipients.rows.append((id, number, *values))
        return number, ids

    def _find_last_queued(self) -> tuple[int, int]:
        found = self.connection.execute(
            "SELECT ifnull(max(seq) FILTER (WHERE name = 'queue_message'), 0),"
            " ifnull(max(seq) FILTER (WHERE name = 'queue_recipient'), 0) FROM sqlite_sequence"
        ).fetchone()
        return found[0], found[1]

    def _meta(self, placements: Sequence[str], body_id: int, size: int) -> bytes:
        """Meta data of a body's record; the journal takes what is too long for it.

        :param placements: as JSON.
        """
        meta = f"[{','.join(placements)}]".encode()
        if len(meta) <= MAX_META:
            return meta
        for placement in json.loads(meta):
            mailbox_id, uid, modseq, bits, keywords, date, save_date, *names = placement
            row = [uid, body_id, bits, keywords, date, save_date, size]
            self.note(["put", mailbox_id, modseq, *names, [row]])
        return b"[]"

    def _add_body(self, content: Content, body_id: int, meta: bytes) -> Location:
        if content.pieces is not None:
            crc = 0
            for piece in content.pieces:
                crc = zlib.crc32(piece, crc)
            return self.log.append(BODY, body_id, self.batch, meta, content.pieces, crc)
        add = self.log.adopt if content.size > self.log.large else self.log.append_file
        return add(
            content.path,
            content.start,
            body_id,
            self.batch,
            meta,
            content.prefix,
            content.size,
            content.crc,
        )

    def flush(self) -> None:
        """Send the rows that wait to the index: whoever reads or changes messages needs them."""
        self._bodies.flush(self.connection)
        if self._unended.rows:
            self._unended.flush(self.connection)
        self._messages.flush(self.connection)
        if self._queued.rows:
            self._queued.flush(self.connection)
            self._recipients.flush(self.connection)
        if self.unsettled:
            domains, self.unsettled = self.unsettled, set()
            settle_domains(self.connection, domains)

    def flush_counters(self) -> None:
        """Send the counters of mailboxes to the index."""
        dirty, self._dirty = self._dirty, set()
        self._mailbox_rows.rows = [
            (m.id, m.uid_next, m.highest_modseq, m.messages, m.unseen, m.size) for m in dirty
        ]
        self._mailbox_rows.flush(self.connection)

    def flush_segments(self) -> None:
        """Send the sizes of segments to the index."""
        for segment, size in self.log.sizes.items():
            self.connection.execute(
                "INSERT INTO segment (id, size, dead) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET size = excluded.size",
                (segment, size, self.log.unused.get(segment, 0)),
            )

    def finish(self) -> None:
        """Send everything to the index and the journal; the commit alone is missing."""
        self.flush()
        self.flush_counters()
        self._note_log()

    def _note_log(self) -> None:
        if not (self.changed or self._notes or self.log.sizes):
            return
        if self._notes:
            self.journal.append(self._notes, self.next_lsn(), self.batch)
        self.flush_segments()
        self._noted = True
        self.connection.execute(
            "UPDATE log_state SET batch = ?, first_lsn = ?, lsn = ?, segment = ?, journal = ?,"
            " journal_size = ?, closed = 0",
            (
                self.batch,
                self.first_lsn,
                self.lsn,
                self.log.segment,
                self.journal.number,
                self.journal.size,
            ),
        )

    def committed(self) -> None:
        """The index has committed."""
        if self._noted:
            self._next = self.batch + 1, self.lsn
        self._begun = False
        self.log.finish()
        self.journal.finish()
        self.states.trim()

    def give_up(self) -> None:
        """The index has committed, but the log could not be flushed."""
        self._begun = False
        self.log.give_up()
        self.journal.finish()
        self.forget()

    def rollback(self) -> None:
        """Undo everything outside the index, which is rolled back already."""
        # The index may refuse even to begin: then what is there is that of the batch before.
        if self._begun:
            self._begun = False
            self.log.rollback()
            self.journal.rollback()
        self.forget()


assert SPOOL_RESERVE > MAX_META + RECORD_HEADER_SIZE
