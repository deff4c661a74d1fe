"""The writer's operations that copy, move, replace and remove messages."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from mailkit._typing import override
from mailkit.errors import NoSuchAccount, NoSuchMailbox, NoSuchMessage
from mailkit.model import AppendResult, CopyResult
from mailkit.rights import ALL_RIGHTS, changeable
from mailkit.store.annotations import check_annotations
from mailkit.store.naming import canonical_name
from mailkit.store.sharing.records import Place
from mailkit.store.sqlite.annotations import (
    annotate_new,
    check_new,
    has_annotations,
    read_to_copy,
    remove_annotations,
)
from mailkit.store.sqlite.flags import DELETED_BIT, KEYWORD_SHIFT, SEEN_BIT, SYSTEM_MASK
from mailkit.store.sqlite.journal import JSONText, format_uids, to_ranges
from mailkit.store.sqlite.operations import discard_content
from mailkit.store.sqlite.rows import (
    IN_SPAN,
    Row,
    Selection,
    Span,
    condition,
    count_users,
    find_span,
    select_rows,
    select_span,
    select_uids,
)
from mailkit.store.sqlite.spans import forget_changed
from mailkit.store.sqlite.states import AccountState, MailboxState
from mailkit.store.sqlite.transaction import Appended, Target, Transaction
from mailkit.store.sqlite.writer import Operation


def _unseen(rows: Sequence[Row]) -> int:
    return sum(not row[1] & SEEN_BIT for row in rows)


def _octets(rows: Sequence[Row]) -> int:
    return sum(row[3] for row in rows)


class Totals(NamedTuple):
    """What some messages are together."""

    messages: int
    unseen: int
    octets: int
    #: The highest of the values of their flags.
    flags: int
    deleted: int = 0
    #: Their modification sequences; a range for any of it.
    modseqs: Collection[int] = ()


def _totals_of(rows: Sequence[Row]) -> Totals:
    flags = max(row[1] for row in rows)
    deleted = sum(bool(row[1] & DELETED_BIT) for row in rows)
    return Totals(len(rows), _unseen(rows), _octets(rows), flags, deleted, {r[4] for r in rows})


_TOTALS = (
    f"count(*), ifnull(sum(flags & {SEEN_BIT}), 0), ifnull(sum(size), 0), ifnull(max(flags), 0)"
)
_TO_REMOVE = (
    f"ifnull(sum(flags & {DELETED_BIT} != 0), 0), ifnull(min(modseq), 0), ifnull(max(modseq), 0)"
)


def _measure(tx: Transaction, span: Span, to_remove: bool) -> Totals:
    """What the messages of a span are together, and whether there are any.

    :param to_remove: with what matters only when they are removed.
    """
    columns = f"{_TOTALS}, {_TO_REMOVE}" if to_remove else _TOTALS
    messages, seen, octets, flags, *more = tx.connection.execute(
        f"SELECT {columns} FROM message WHERE {IN_SPAN}", span
    ).fetchone()
    totals = Totals(messages, messages - seen, octets, flags)
    if not to_remove:
        return totals
    deleted, lowest, highest = more
    return totals._replace(deleted=deleted, modseqs=range(lowest, highest + 1))


def _present(tx: Transaction, span: Span, uids: Sequence[int], messages: int) -> Sequence[int]:
    """Those UIDs of a span that exist.

    :param messages: how many they are.
    """
    return uids if messages == len(uids) else select_uids(tx.connection, IN_SPAN, span)


def remove_rows(tx: Transaction, mailbox: MailboxState, selection: Selection, unref: bool) -> None:
    """Take rows out of a mailbox.

    :param unref: nothing else has taken over their bodies.
    """
    rows = selection.rows
    uids = [row[0] for row in rows]
    _remove(tx, mailbox, uids, selection.is_range, _totals_of(rows), unref)


def _remove(
    tx: Transaction,
    mailbox: MailboxState,
    uids: Sequence[int],
    is_range: bool,
    totals: Totals,
    unref: bool,
) -> None:
    """The same, where it is known what they are together.

    :param is_range: no other message lies between them.
    """
    modseq = tx.next_modseq(mailbox)
    mailbox.count(-totals.messages, -totals.unseen, -totals.octets)
    where, values = condition(uids, is_range)
    chosen, parameters = f"mailbox_id = ? AND {where}", (mailbox.id, *values)
    if unref:
        count_users(tx.connection, -1, totals.messages, chosen, parameters)
    tx.connection.execute(f"DELETE FROM message WHERE {chosen}", parameters)
    remove_annotations(tx, mailbox.id, mailbox.account, where, values)
    # A range may name UIDs between that vanished before.
    ranges = [(uids[0], uids[-1])] if is_range else to_ranges(uids)
    forget_changed(tx.connection, mailbox.id, ranges, totals.modseqs)
    tx.connection.executemany(
        "INSERT INTO vanished VALUES (?, ?, ?, ?)",
        [(mailbox.id, modseq, first, last) for first, last in ranges],
    )
    tx.note(["gone", mailbox.id, modseq, format_uids(uids)])


class Expunge(Operation[Sequence[int]]):
    """Remove messages for good."""

    __slots__ = ("_mailbox_id", "_only_deleted", "_uids")

    def __init__(self, mailbox_id: int, uids: Sequence[int], only_deleted: bool = False) -> None:
        self._mailbox_id = mailbox_id
        self._uids = uids
        self._only_deleted = only_deleted

    @override
    def run(self, tx: Transaction) -> Sequence[int]:
        mailbox = tx.states.mailbox_by_id(self._mailbox_id)
        tx.flush()
        span = find_span(tx.connection, mailbox.id, self._uids)
        if span is not None:
            totals = _measure(tx, span, True)
            if not self._only_deleted or totals.deleted == totals.messages:
                uids = _present(tx, span, self._uids, totals.messages)
                if totals.messages:
                    _remove(tx, mailbox, uids, True, totals, unref=True)
                return uids
        selection = select_rows(tx.connection, mailbox.id, self._uids)
        if self._only_deleted:
            deleted = [row for row in selection.rows if row[1] & DELETED_BIT]
            if len(deleted) < len(selection.rows):
                selection = Selection(deleted, is_range=False)
        if selection.rows:
            remove_rows(tx, mailbox, selection, unref=True)
        return [row[0] for row in selection.rows]


def find_target(tx: Transaction, place: Place) -> MailboxState:
    """:raises NoSuchMailbox: there is no such mailbox."""
    try:
        account = tx.states.account(place.account)
    except NoSuchAccount:
        raise NoSuchMailbox from None
    return tx.states.mailbox(account, canonical_name(place.mailbox))


class Copy(Operation[CopyResult]):
    """Copy or move messages to another mailbox of any account, or to the same."""

    __slots__ = ("_mailbox_id", "_move", "_place", "_uids")

    def __init__(self, mailbox_id: int, uids: Sequence[int], place: Place, move: bool) -> None:
        self._mailbox_id = mailbox_id
        self._uids = uids
        self._place = place
        self._move = move

    @override
    def run(self, tx: Transaction) -> CopyResult:
        source = tx.states.mailbox_by_id(self._mailbox_id)
        target = find_target(tx, self._place)
        tx.flush()
        if target.account is source.account and self._place.rights == ALL_RIGHTS:
            span = find_span(tx.connection, source.id, self._uids)
            if span is not None and not has_annotations(tx, source):
                return self._copy_span(tx, source, target, span)
        selection = select_rows(tx.connection, source.id, self._uids)
        if not selection.rows:
            return CopyResult(target.uid_validity, [], [])
        tx.check_room(target, len(selection.rows))
        same_account = target.account is source.account
        if not (self._move and same_account):
            tx.check_quota(target.account, _octets(selection.rows), len(selection.rows))
        flags = None
        if not same_account or self._place.rights != ALL_RIGHTS:
            flags = self._translate(tx, target.account, {row[1] for row in selection.rows})
        return copy_rows(tx, source, target, selection, self._move, self._place, flags)

    def _copy_span(
        self, tx: Transaction, source: MailboxState, target: MailboxState, span: Span
    ) -> CopyResult:
        """All messages of a span, as they are: none of them has to be looked at."""
        totals = _measure(tx, span, self._move)
        count = totals.messages
        if not count:
            return CopyResult(target.uid_validity, [], [])
        tx.check_room(target, count)
        if not self._move:
            tx.check_quota(target.account, totals.octets, count)
        uids = _present(tx, span, self._uids, count)
        first = target.uid_next
        modseq = tx.next_modseq(target)
        _insert_copies(tx, source, target, uids, True, modseq, self._move)
        target.uid_next += count
        target.count(*totals[:3])
        if totals.flags >> KEYWORD_SHIFT:
            added = Span(target.id, first, first + count - 1)
            _note_copies(tx, target, first, modseq, select_span(tx.connection, added))
        else:
            _note_plain_copies(tx, target, first, modseq)
        if self._move:
            _remove(tx, source, uids, True, totals, unref=False)
        return CopyResult(target.uid_validity, uids, range(first, first + count))

    def _translate(
        self, tx: Transaction, account: AccountState, present: set[int]
    ) -> dict[int, int]:
        """What flags become in another account: each has its own keywords."""
        states, rights = tx.states, self._place.rights
        return {
            flags: states.encode(account, changeable(states.flag_sets[flags], rights))
            for flags in present
        }


def copy_rows(
    tx: Transaction,
    source: MailboxState,
    target: MailboxState,
    selection: Selection,
    move: bool,
    place: Place,
    flags: Mapping[int, int] | None = None,
) -> CopyResult:
    """Give messages a place in another mailbox, and take the old one away if they move.

    :param flags: what the values of flags become; None to keep them.
    """
    rows = selection.rows
    annotations = read_to_copy(tx, source, selection, place.user, place.rights)
    if not (move and target.account is source.account):
        check_new(tx, target.account, place.user, annotations.values())
    first = target.uid_next
    modseq = tx.next_modseq(target)
    uids = [row[0] for row in rows]
    _insert_copies(tx, source, target, uids, selection.is_range, modseq, move)
    new_rows = rows
    if flags is not None:
        new_rows = [(*row[:1], flags[row[1]], *row[2:]) for row in rows]
        _rewrite_flags(tx, target, first, flags)
    target.uid_next += len(rows)
    target.count(len(rows), _unseen(new_rows), _octets(rows))
    _note_copies(tx, target, first, modseq, new_rows)
    if annotations:
        new_uids = {row[0]: uid for uid, row in enumerate(rows, first)}
        moved = {new_uids[uid]: some for uid, some in annotations.items()}
        annotate_new(tx, target, place.user, moved, modseq)
    if move:
        remove_rows(tx, source, selection, unref=False)
    return CopyResult(target.uid_validity, uids, range(first, first + len(rows)))


def _insert_copies(
    tx: Transaction,
    source: MailboxState,
    target: MailboxState,
    uids: Sequence[int],
    is_range: bool,
    modseq: int,
    move: bool,
) -> None:
    """Insert rows for messages that are elsewhere too, or were until now."""
    first = target.uid_next
    where, values = condition(uids, is_range)
    number, before = "row_number() OVER (ORDER BY uid)", first - 1
    if uids[-1] - uids[0] + 1 == len(uids):
        number, before = "uid", first - uids[0]
    # Conversations are an account's own.
    thread_id = "thread_id" if target.account is source.account else "NULL"
    tx.connection.execute(
        "INSERT INTO message (mailbox_id, uid, flags, internal_date, size, modseq,"
        " created_modseq, body_id, save_date, thread_id)"
        f" SELECT ?, ? + {number}, flags, internal_date, size, ?, ?,"
        f" body_id, ?, {thread_id} FROM message WHERE mailbox_id = ? AND {where}",
        (target.id, before, modseq, modseq, tx.now, source.id, *values),
    )
    if not move:
        new = "mailbox_id = ? AND uid >= ?"
        count_users(tx.connection, 1, len(uids), new, (target.id, first))


def _note_copies(
    tx: Transaction, target: MailboxState, first: int, modseq: int, rows: Sequence[Row]
) -> None:
    """Put rows down in the journal, whose UIDs begin with ``first``."""
    noted = [
        [uid, row[5], row[1] & SYSTEM_MASK, tx.keywords(row[1]), row[2], tx.now, row[3]]
        for uid, row in enumerate(rows, first)
    ]
    names = target.account.name, target.name, target.uid_validity
    tx.note(["put", target.id, modseq, *names, noted])


def _note_plain_copies(tx: Transaction, target: MailboxState, first: int, modseq: int) -> None:
    """The same of messages without keywords, all from a UID on: by columns, as text.

    The index gives them like that in a quarter of the time that the rows would take.
    """
    columns = tx.connection.execute(
        "SELECT group_concat(body_id), group_concat(flags), group_concat(internal_date),"
        " group_concat(size) FROM message NOT INDEXED WHERE mailbox_id = ? AND uid >= ?",
        (target.id, first),
    ).fetchone()
    names = target.account.name, target.name, target.uid_validity
    text = JSONText("[[" + "],[".join(columns) + "]]")
    tx.note(["copied", target.id, modseq, *names, first, tx.now, text])


def _rewrite_flags(
    tx: Transaction, mailbox: MailboxState, first: int, flags: Mapping[int, int]
) -> None:
    """Change the flags of messages from a UID on that were put there with those of another account."""
    # Old and new values may be the same numbers: all in one statement.
    changes = [(old, new) for old, new in flags.items() if old != new]
    if changes:
        tx.connection.execute(
            "UPDATE message SET flags = json_extract(v.value, '$[1]') FROM json_each(?) AS v"
            " WHERE mailbox_id = ? AND uid >= ? AND flags = json_extract(v.value, '$[0]')",
            (json.dumps(changes), mailbox.id, first),
        )


class Replace(Operation[AppendResult]):
    """A message into a mailbox of any account, in the place of another."""

    __slots__ = ("_mailbox_id", "_message", "_place", "_uid", "weight")

    def __init__(
        self,
        mailbox_id: int,
        uid: int,
        place: Place,
        message: Appended,
    ) -> None:
        self._mailbox_id = mailbox_id
        self._uid = uid
        self._place = place
        self._message = message
        self.weight = message.content.size

    @override
    def run(self, tx: Transaction) -> AppendResult:
        source = tx.states.mailbox_by_id(self._mailbox_id)
        target = find_target(tx, self._place)
        tx.flush()
        selection = select_rows(tx.connection, source.id, [self._uid])
        if not selection.rows:
            raise NoSuchMessage
        tx.check_room(target, 1)
        content, given, date, annotations = self._message
        check_annotations(annotations, self._place.rights)
        check_new(tx, target.account, self._place.user, [annotations])
        size = content.size
        if target.account is source.account:
            # RFC 8508 section 3.4: the net quota consumption.
            if (growth := size - _octets(selection.rows)) > 0:
                tx.check_quota(target.account, growth, 0)
        else:
            tx.check_quota(target.account, size, 1)
        tx.check_disk(content)
        flags = tx.states.encode(target.account, changeable(given, self._place.rights))
        date = tx.now if date is None else date
        # Otherwise the one could be gone, and the other torn.
        tx.ordered = True
        uids = tx.add_message(content, [Target(target, flags, date)])
        annotate_new(tx, target, self._place.user, {uids[0]: annotations}, target.highest_modseq)
        remove_rows(tx, source, selection, unref=True)
        return AppendResult(target.uid_validity, uids)

    @override
    def discard(self) -> None:
        discard_content(self._message.content)
