"""Reading the index on the reactor's thread: short queries, each with all of its rows at once."""

from __future__ import annotations

import json
import sqlite3
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from mailkit.errors import NoSuchAccount, NoSuchMailbox, NoSuchMessage, StoreCorrupt
from mailkit.model import Changes, DeletedCount, MailboxInfo, MessageInfo
from mailkit.store.naming import sort_key
from mailkit.store.sqlite.bodies import BodyPlace
from mailkit.store.sqlite.flags import DELETED_BIT, SEEN_BIT, FlagSets
from mailkit.store.sqlite.history import find_changes, has_many_changes, mailbox_state
from mailkit.store.sqlite.maildrops import SizeLists
from mailkit.store.sqlite.rows import DENSE, NOBODY, condition, select_rows, select_uids, to_infos

#: UIDs that the cache of UID lists holds (4 octets each).
MAX_CACHED_UIDS = 4_000_000
#: UID lists that the cache holds.
MAX_CACHED_LISTS = 10_000
#: UIDs with gaps that a thread had better read: so many take some milliseconds.
MANY_UIDS = 20_000
#: Ranges of vanished messages up to which they are cut out of the list that is known: some
#: milliseconds.
MAX_VANISHED = 5000
_VANISHED = "FROM vanished WHERE mailbox_id = ? AND modseq > ?"
#: Messages from the end of a mailbox among which the first unseen one is looked for.
MAX_UNSEEN_SEARCH = 2000
#: Messages of which those with \\Deleted are counted in one go: a millisecond or two.
COUNTED_ROWS = 10_000
#: Sets of keywords that are read to tell a client which ones are in use.
KEYWORD_SETS = 100

#: All the UIDs of a mailbox.
UIDs: TypeAlias = "array[int] | range"

_COLUMNS = """
SELECT m.id, m.name, m.uid_validity, m.uid_next, m.highest_modseq, m.messages, m.unseen, m.size,
    m.first_recent_uid, m.special_use,
    EXISTS (SELECT 1 FROM subscription s WHERE s.account_id = m.account_id AND s.name = m.name),
    m.selectable, m.older_validities"""
_FROM = " FROM mailbox m WHERE "
_INFO = _COLUMNS + _FROM
# All that a client is told when it opens a mailbox. Where very many sets of keywords are in use,
# keywords of some of them.
_VIEW = (
    f"{_COLUMNS}, (SELECT group_concat(k.keywords, ' ') FROM (SELECT s.keywords FROM keyword_set s"
    f" WHERE s.account_id = m.account_id LIMIT {KEYWORD_SETS}) k), m.account_id{_FROM}"
)
# The rows of a deleted mailbox go bit by bit.
_PLACES = (
    "SELECT m.uid, b.id, b.segment, b.position, b.start, b.size FROM mailbox x"
    " JOIN message m ON m.mailbox_id = x.id JOIN body b ON b.id = m.body_id WHERE x.id = ?"
)

#: What ``_INFO`` gives, or with two values more ``_VIEW``.
MailboxRow = tuple[Any, ...]


class Found(NamedTuple):
    """A mailbox as somebody finds it who opens it; so it stays until something is committed."""

    mailbox_id: int
    account_id: int
    #: How many transactions were committed before.
    commits: int
    info: MailboxInfo
    #: Some keywords that its messages may have.
    keywords: Collection[str]


class UIDLists:
    """UIDs of mailboxes, shared by all who ask, kept until the mailbox changes."""

    def __init__(self) -> None:
        # Mailbox id to modification sequence and UIDs.
        self._lists: OrderedDict[int, tuple[int, UIDs]] = OrderedDict()
        self._total = 0

    def get(self, mailbox_id: int) -> tuple[int, UIDs] | None:
        """What was put last, if it is still there."""
        found = self._lists.get(mailbox_id)
        if found is not None:
            self._lists.move_to_end(mailbox_id)
        return found

    def put(self, mailbox_id: int, modseq: int, uids: UIDs) -> None:
        self.drop(mailbox_id)
        self._lists[mailbox_id] = (modseq, uids)
        self._total += len(uids)
        while len(self._lists) > 1 and (
            self._total > MAX_CACHED_UIDS or len(self._lists) > MAX_CACHED_LISTS
        ):
            _, (_, evicted) = self._lists.popitem(last=False)
            self._total -= len(evicted)

    def drop(self, mailbox_id: int) -> None:
        old = self._lists.pop(mailbox_id, None)
        if old is not None:
            self._total -= len(old[1])


class Reader:
    """Answers from the index. Used by the reactor's thread alone."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.flag_sets = FlagSets(connection)
        self._uids = UIDLists()
        #: What POP3 tells of mailboxes.
        self.sizes = SizeLists(connection)
        # Modification sequence of a mailbox and its first unseen message.
        self._first_unseen: dict[int, tuple[int, int | None]] = {}
        #: ``first_recent_uid`` of mailboxes where the index lags behind.
        self.first_recent: dict[int, int] = {}

    def prepare(self) -> None:
        """Let the index read the questions of a client's first commands before there are clients."""
        for ask in (
            lambda: self.find_account(""),
            lambda: self.find_name(NOBODY, "", 0),
            lambda: self._read_state_and_uids(NOBODY, None),
        ):
            with suppress(NoSuchAccount, NoSuchMailbox):
                ask()
        self._all_uids(NOBODY)
        self._find_unseen(NOBODY, 0, (1,))

    def close(self) -> None:
        self.connection.close()

    def account_id(self, name: str) -> int:
        """:raises NoSuchAccount: there is none."""
        return self.find_account(name)[0]

    def find_account(self, name: str) -> tuple[int, str | None]:
        """Id of an account, and the capabilities that its clients are not offered.

        :raises NoSuchAccount: there is none.
        """
        row: tuple[int, str | None] | None = self.connection.execute(
            "SELECT id, imap_without FROM account WHERE name = ?", (name,)
        ).fetchone()
        if row is None:
            raise NoSuchAccount
        return row

    def is_administrator(self, account_id: int) -> bool:
        """:raises NoSuchAccount: it has been removed."""
        row = self.connection.execute(
            "SELECT administrator FROM account WHERE id = ?", (account_id,)
        ).fetchone()
        if row is None:
            raise NoSuchAccount
        return bool(row[0])

    # Mailboxes.

    def to_info(self, row: MailboxRow) -> MailboxInfo:
        (mailbox_id, name, validity, uid_next, modseq, messages, unseen, size) = row[:8]
        first_recent, special_use, subscribed, selectable, older = row[8:13]
        return MailboxInfo(
            name,
            f"F{mailbox_id:x}",
            validity,
            uid_next,
            modseq,
            messages,
            unseen,
            size,
            max(first_recent, self.first_recent.get(mailbox_id, 0)),
            special_use,
            bool(subscribed),
            bool(selectable),
            json.loads(older) if older else (),
        )

    def list_mailboxes(self, account_id: int) -> list[MailboxInfo]:
        rows = self.connection.execute(_INFO + "m.account_id = ?", (account_id,)).fetchall()
        return sorted(map(self.to_info, rows), key=lambda info: sort_key(info.name))

    def mailbox_info(self, mailbox_id: int) -> MailboxInfo:
        """:raises NoSuchMailbox: it has been deleted."""
        row = self.connection.execute(_INFO + "m.id = ?", (mailbox_id,)).fetchone()
        if row is None:
            raise NoSuchMailbox
        return self.to_info(row)

    def find(self, mailbox_id: int, commits: int) -> Found:
        """:raises NoSuchMailbox: it has been deleted, or is not selectable."""
        return self._find("m.id = ?", (mailbox_id,), commits)

    def find_name(self, account_id: int, name: str, commits: int) -> Found:
        """:raises NoSuchMailbox: no selectable mailbox has that canonical name."""
        return self._find("m.account_id = ? AND m.name = ?", (account_id, name), commits)

    def _find(self, condition: str, values: tuple[object, ...], commits: int) -> Found:
        row = self.connection.execute(f"{_VIEW}{condition} AND m.selectable", values).fetchone()
        if row is None:
            raise NoSuchMailbox
        keywords = frozenset(row[13].split(" ")) if row[13] else ()
        return Found(row[0], row[14], commits, self.to_info(row), keywords)

    def find_mailbox(self, account_id: int, name: str) -> MailboxInfo:
        """:raises NoSuchMailbox: no mailbox has that canonical name."""
        row = self.connection.execute(
            _INFO + "m.account_id = ? AND m.name = ?", (account_id, name)
        ).fetchone()
        if row is None:
            raise NoSuchMailbox
        return self.to_info(row)

    def mailbox_infos(self, mailbox_ids: Sequence[int]) -> list[tuple[int, MailboxInfo]]:
        """Those of the mailboxes that exist, with their ids."""
        rows = self.connection.execute(
            _INFO + "m.id IN (SELECT value FROM json_each(?))", (json.dumps(mailbox_ids),)
        ).fetchall()
        return [(row[0], self.to_info(row)) for row in rows]

    def subscribed_names(self, account_id: int) -> set[str]:
        rows = self.connection.execute(
            "SELECT name FROM subscription WHERE account_id = ?", (account_id,)
        ).fetchall()
        return {name for (name,) in rows}

    def list_subscriptions(self, account_id: int) -> list[str]:
        return sorted(self.subscribed_names(account_id), key=sort_key)

    def _state(self, mailbox_id: int) -> tuple[int, int, int]:
        return mailbox_state(self.connection, mailbox_id)

    def claim_recent(self, mailbox_id: int) -> tuple[int, int]:
        """``first_recent_uid`` as it was, and as it is now."""
        row = self.connection.execute(
            "SELECT first_recent_uid, uid_next FROM mailbox WHERE id = ?", (mailbox_id,)
        ).fetchone()
        if row is None:
            raise NoSuchMailbox
        first = max(row[0], self.first_recent.get(mailbox_id, 0))
        return first, row[1]

    def first_recent_kept(self, mailbox_id: int, uid: int) -> None:
        """The index has it now."""
        if self.first_recent.get(mailbox_id) == uid:
            del self.first_recent[mailbox_id]

    # Messages.

    def list_uids(self, mailbox_id: int) -> UIDs:
        """All UIDs; the same sequence until messages come or go."""
        return self.state_and_uids(mailbox_id)[1]

    def state_and_uids(self, mailbox_id: int) -> tuple[int, UIDs]:
        """The mailbox's modification sequence, and all UIDs that there were then."""
        cached = self._uids.get(mailbox_id)
        if cached is not None and cached[0] == self._state(mailbox_id)[0]:
            return cached
        return self._read_state_and_uids(mailbox_id, cached)

    def _read_state_and_uids(
        self, mailbox_id: int, cached: tuple[int, UIDs] | None
    ) -> tuple[int, UIDs]:
        # Of one moment, whatever the writer commits meanwhile.
        self.connection.execute("BEGIN")
        try:
            modseq = self._state(mailbox_id)[0]
            return modseq, self._read_uids(mailbox_id, modseq, cached)
        finally:
            self.connection.execute("COMMIT")

    def has_many_uids(self, mailbox_id: int, messages: int | None = None) -> bool:
        """Whether all UIDs would have to be read, and a thread had better do that.

        :param messages: how many there are, if that is known.
        :raises NoSuchMailbox: it has been deleted.
        """
        if messages is not None and messages < MANY_UIDS:
            return False
        cached = self._uids.get(mailbox_id)
        if cached is not None and self._count_vanished(mailbox_id, cached[0]) is not None:
            return False
        (count,) = self.connection.execute(
            "SELECT ifnull(sum(messages), 0) FROM mailbox WHERE id = ?", (mailbox_id,)
        ).fetchone()
        return count >= MANY_UIDS and self._gapless(mailbox_id) is None

    def keep_uids(self, mailbox_id: int, modseq: int, uids: UIDs) -> None:
        """A thread has read all UIDs that there were at a modification sequence."""
        cached = self._uids.get(mailbox_id)
        if cached is None or cached[0] < modseq:
            self._uids.put(mailbox_id, modseq, uids)

    def uids_at(self, mailbox_id: int, modseq: int) -> UIDs | None:
        """All UIDs that there were at a modification sequence; None when that is another one now."""
        cached = self._uids.get(mailbox_id)
        if cached is not None and cached[0] == modseq:
            return cached[1]
        now, uids = self.state_and_uids(mailbox_id)
        return uids if now == modseq else None

    def _read_uids(self, mailbox_id: int, modseq: int, cached: tuple[int, UIDs] | None) -> UIDs:
        uids: UIDs
        if cached is None:
            uids = self._all_uids(mailbox_id)
        else:
            left = self._still_there(mailbox_id, *cached)
            if left is None:
                uids = self._all_uids(mailbox_id)
            elif left is not cached[1] and (found := self._gapless(mailbox_id)) is not None:
                uids = found
            else:
                new = self._select_uids(mailbox_id, cached[1][-1] if cached[1] else 0)
                # Never added to: others hold the old one.
                uids = _joined(left, new) if new else left
        self._uids.put(mailbox_id, modseq, uids)
        return uids

    def first_unseen(self, mailbox_id: int, info: MailboxInfo, uids: Sequence[int]) -> int | None:
        """UID of the first unseen message; None where it would take long to find."""
        if not info.unseen or not uids:
            return None
        found = self._first_unseen.get(mailbox_id)
        if found is None or found[0] != info.highest_modseq:
            if len(self._first_unseen) >= MAX_CACHED_LISTS:
                self._first_unseen.clear()
            found = info.highest_modseq, self._find_unseen(mailbox_id, info.unseen, uids)
            self._first_unseen[mailbox_id] = found
        return found[1]

    def _find_unseen(self, mailbox_id: int, unseen: int, uids: Sequence[int]) -> int | None:
        sql = (
            "SELECT uid FROM message WHERE mailbox_id = ? AND uid BETWEEN ? AND ?"
            f" AND NOT flags & {SEEN_BIT} ORDER BY uid LIMIT ?"
        )
        last = uids[min(len(uids), 32) - 1]
        row = self.connection.execute(sql, (mailbox_id, uids[0], last, 1)).fetchone()
        if row is None:
            # Most often they are the newest.
            begin = uids[max(0, len(uids) - MAX_UNSEEN_SEARCH)]
            values = (mailbox_id, begin, uids[-1], unseen)
            rows = self.connection.execute(sql, values).fetchall()
            row = rows[0] if rows and (len(rows) == unseen or begin == uids[0]) else None
        return None if row is None else int(row[0])

    def _all_uids(self, mailbox_id: int) -> UIDs:
        uids = self._gapless(mailbox_id)
        return self._select_uids(mailbox_id, 0) if uids is None else uids

    def _gapless(self, mailbox_id: int) -> range | None:
        """All UIDs, where none is missing between the first and the last: they need not be read."""
        row: tuple[int, int | None, int] | None = self.connection.execute(
            "SELECT messages, (SELECT min(uid) FROM message WHERE mailbox_id = m.id),"
            " (SELECT max(uid) FROM message WHERE mailbox_id = m.id) FROM mailbox m WHERE id = ?",
            (mailbox_id,),
        ).fetchone()
        if row is not None:
            count, first, last = row
            if first is not None and last - first + 1 == count:
                return range(first, last + 1)
        return None

    def _select_uids(self, mailbox_id: int, after: int) -> array[int]:
        values = (mailbox_id, after)
        return array("I", select_uids(self.connection, "mailbox_id = ? AND uid > ?", values))

    def _still_there(self, mailbox_id: int, since: int, known: UIDs) -> UIDs | None:
        """Those messages that there still are; None where all had better be read again.

        :param since: modification sequence at which there were these.
        """
        count = self._count_vanished(mailbox_id, since)
        if count is None:
            return None
        if not count:
            return known
        gone = self.connection.execute(
            f"SELECT first_uid, last_uid {_VANISHED} ORDER BY first_uid", (mailbox_id, since)
        ).fetchall()
        whole = array("I", known)
        left = array("I")
        begin = 0
        for first, last in gone:
            left += whole[begin : bisect_left(known, first, begin)]
            begin = bisect_right(known, last, begin)
        return left + whole[begin:]

    def _count_vanished(self, mailbox_id: int, since: int) -> int | None:
        """Ranges of messages that have gone since a modification sequence.

        :returns: None where they are not known, or too many to be cut out of a list.
        """
        if since < self._state(mailbox_id)[2]:
            return None
        (count,) = self.connection.execute(
            f"SELECT count(*) FROM (SELECT 1 {_VANISHED} LIMIT ?)",
            (mailbox_id, since, MAX_VANISHED + 1),
        ).fetchone()
        return count if count <= MAX_VANISHED else None

    def has_vanished(self, mailbox_id: int, since: int) -> bool:
        """Whether messages have been removed since a modification sequence."""
        row = self.connection.execute(
            "SELECT 1 FROM vanished WHERE mailbox_id = ? AND modseq > ? LIMIT 1",
            (mailbox_id, since),
        ).fetchone()
        return row is not None

    def get_messages(self, mailbox_id: int, uids: Sequence[int]) -> list[MessageInfo]:
        # The rows of a deleted mailbox go bit by bit.
        self._state(mailbox_id)
        rows = select_rows(self.connection, mailbox_id, uids).rows
        return to_infos(rows, self.flag_sets)

    def get_changes(self, mailbox_id: int, since: int) -> Changes | None:
        """None where they are so many that a thread had better look for them."""
        modseq = self._state(mailbox_id)[0]
        if modseq <= since:
            # Another mailbox has changed, or whoever asks has changed this one.
            return Changes(modseq, (), (), ())
        if has_many_changes(self.connection, mailbox_id, since, modseq):
            return None
        return find_changes(self.connection, mailbox_id, since)

    def count_deleted(self, mailbox_id: int, after: int) -> tuple[DeletedCount, int | None]:
        """Messages with \\Deleted among :data:`COUNTED_ROWS` behind a UID, and the last UID of those.

        None for the UID when there are no more.
        """
        self._state(mailbox_id)
        rows, last, deleted, octets = self.connection.execute(
            f"SELECT count(*), max(uid), count(*) FILTER (WHERE flags & {DELETED_BIT}),"
            f" sum(size) FILTER (WHERE flags & {DELETED_BIT}) FROM (SELECT uid, flags, size"
            " FROM message WHERE mailbox_id = ? AND uid > ? ORDER BY uid LIMIT ?)",
            (mailbox_id, after, COUNTED_ROWS),
        ).fetchone()
        return DeletedCount(deleted, octets or 0), last if rows == COUNTED_ROWS else None

    def list_unended(self, mailbox_id: int, uids: Sequence[int]) -> list[int]:
        """Those of the messages whose bodies do not end with CRLF, ascending."""
        self._state(mailbox_id)
        connection = self.connection
        # Most stores have none at all.
        (some,) = connection.execute("SELECT EXISTS (SELECT 1 FROM unended_body)").fetchone()
        if not some or not len(uids):
            return []
        span = uids[-1] - uids[0] + 1
        # Of a range, those that nobody asked for are left out below.
        chosen, values = condition(uids, is_range=len(uids) >= span * DENSE)
        # Only in this order: a message is not found by its body.
        rows = connection.execute(
            "SELECT uid FROM message CROSS JOIN unended_body USING (body_id)"
            f" WHERE mailbox_id = ? AND {chosen} ORDER BY uid",
            (mailbox_id, *values),
        ).fetchall()
        wanted = set(uids)
        return [uid for (uid,) in rows if uid in wanted]

    def body_place(self, mailbox_id: int, uid: int) -> BodyPlace:
        """Where the octets of a message are.

        :raises NoSuchMessage: it does not exist.
        """
        row = self.connection.execute(
            "SELECT m.body_id, b.segment, b.position, b.start, b.size FROM message m"
            " JOIN mailbox x ON x.id = m.mailbox_id"
            " LEFT JOIN body b ON b.id = m.body_id WHERE m.mailbox_id = ? AND m.uid = ?",
            (mailbox_id, uid),
        ).fetchone()
        if row is None:
            self._state(mailbox_id)
            raise NoSuchMessage
        if row[1] is None:
            raise StoreCorrupt("The index does not know where a message is")
        return BodyPlace(*row)

    def find_places(self, mailbox_id: int, uids: Sequence[int]) -> dict[int, BodyPlace]:
        """Where the octets of messages are, and perhaps of some between them, by UID.

        :param uids: one at least.
        """
        uids = sorted(uids)
        is_range = len(uids) >= (uids[-1] - uids[0] + 1) * DENSE
        chosen, values = condition(uids, is_range)
        rows = self.connection.execute(
            f"{_PLACES} AND m.{chosen}", (mailbox_id, *values)
        ).fetchall()
        return _to_places(rows)

    def body_places(self, mailbox_id: int, uid: int, count: int) -> dict[int, BodyPlace]:
        """Where the octets of a message and of some behind it are, by UID."""
        rows = self.connection.execute(
            f"{_PLACES} AND m.uid >= ? ORDER BY m.uid LIMIT ?",
            (mailbox_id, uid, count),
        ).fetchall()
        return _to_places(rows)


def _joined(uids: UIDs, new: array[int]) -> UIDs:
    """All of them, ascending."""
    if isinstance(uids, range) and uids and new[-1] - uids[0] == len(uids) + len(new) - 1:
        return range(uids[0], new[-1] + 1)
    return array("I", uids) + new


def _to_places(rows: Sequence[tuple[int, ...]]) -> dict[int, BodyPlace]:
    """Places by UID."""
    # tuple.__new__ goes around the Python function that a NamedTuple has for it.
    new = tuple.__new__
    return {row[0]: new(BodyPlace, row[1:]) for row in rows}
