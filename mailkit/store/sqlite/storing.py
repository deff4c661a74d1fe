"""Changing the flags of many messages at once, where nobody asks for each of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from mailkit._typing import override
from mailkit.quiet import QuietResult
from mailkit.store.sqlite.flags import SEEN_BIT, SYSTEM_MASK
from mailkit.store.sqlite.journal import format_uids, to_ranges
from mailkit.store.sqlite.operations import FlagChange, StoreFlags
from mailkit.store.sqlite.rows import IN_SPAN, Span, find_span, select_uids
from mailkit.store.sqlite.spans import note_changed
from mailkit.store.sqlite.states import MailboxState
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.writer import Operation

# Different values of flags up to which one statement changes them all.
_MAX_VALUES = 16
# Share of a mailbox's messages from which to look at all its earlier changes takes less than to ask
# when these were changed: there are at most as many changes as messages, and each is read as fast.
_WIDE = 0.25


class StoreQuietly(FlagChange, Operation[QuietResult]):
    """Change flags, the messages of a span by one statement.

    Rows that are fetched take many times as long as the change itself.
    """

    __slots__ = ()

    @override
    def run(self, tx: Transaction) -> QuietResult:
        mailbox = tx.states.mailbox_by_id(self._mailbox_id)
        tx.flush()
        span = find_span(tx.connection, mailbox.id, self._uids)
        result = None if span is None else self._change_span(tx, mailbox, span)
        return self._change_each(tx, mailbox) if result is None else result

    def _change_each(self, tx: Transaction, mailbox: MailboxState) -> QuietResult:
        """By rows, like all the others."""
        before = mailbox.highest_modseq
        messages, modified = StoreFlags(
            self._mailbox_id, self._uids, self._op, self._flags, self._unchanged_since, self._rights
        ).run(tx)
        modseq = mailbox.highest_modseq
        if modseq == before:
            return QuietResult(len(messages), (), 0, before, modified)
        changed = [message.uid for message in messages if message.modseq == modseq]
        return QuietResult(len(messages), changed, modseq, before, modified)

    def _change_span(
        self, tx: Transaction, mailbox: MailboxState, span: Span
    ) -> QuietResult | None:
        """None where that had better be done by rows."""
        connection, before = tx.connection, mailbox.highest_modseq
        if self._unchanged_since is not None and self._unchanged_since < before:
            values = (*span, self._unchanged_since)
            (is_younger,) = connection.execute(
                f"SELECT EXISTS (SELECT 1 FROM message WHERE {IN_SPAN} AND modseq > ?)", values
            ).fetchone()
            if is_younger:
                return None
        counts = _count_values(connection, span)
        found = sum(counts.values())
        if not found:
            return QuietResult(0, (), 0, before)
        if len(counts) > _MAX_VALUES:
            return None
        new_flags = self._new_flags(tx, mailbox, set(counts))
        changes = {old: new for old, new in new_flags.items() if old != new}
        if not changes:
            return QuietResult(found, (), 0, before)
        had = _find_modseqs(connection, span, found, mailbox)
        modseq = tx.next_modseq(mailbox)
        mailbox.unseen += sum(
            counts[old] * ((old & SEEN_BIT) - (new & SEEN_BIT)) for old, new in changes.items()
        )
        _update(tx, span, changes, len(counts) == len(changes), modseq)
        changed: Sequence[int] = self._uids
        if len(counts) > len(changes) or found < len(changed):
            changed = select_uids(connection, f"{IN_SPAN} AND modseq = ?", (*span, modseq))
        runs = [span[1:]] if len(counts) == len(changes) else to_ranges(changed)
        note_changed(connection, mailbox.id, modseq, runs, had)
        _note(tx, span, set(changes.values()), changed, modseq)
        return QuietResult(found, changed, modseq, before)


def _count_values(connection: sqlite3.Connection, span: Span) -> dict[int, int]:
    """How many messages of a span have each of the values of flags that occur in it."""
    row = connection.execute(
        f"SELECT flags FROM message WHERE {IN_SPAN} ORDER BY uid LIMIT 1", span
    ).fetchone()
    if row is None:
        return {}
    # Most often all have the same: to see that takes a third of what their grouping takes.
    found, others = connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE flags <> ?) FROM message WHERE {IN_SPAN}",
        (*row, *span),
    ).fetchone()
    if not others:
        return {row[0]: found}
    return dict(
        connection.execute(
            f"SELECT flags, count(*) FROM message WHERE {IN_SPAN} GROUP BY flags", span
        ).fetchall()
    )


def _find_modseqs(
    connection: sqlite3.Connection, span: Span, found: int, mailbox: MailboxState
) -> range:
    """A range in which the modification sequences are of the messages in a span.

    :param found: how many messages these are.
    """
    if found >= mailbox.messages * _WIDE:
        return range(mailbox.highest_modseq + 1)
    lowest, highest = connection.execute(
        f"SELECT min(modseq), max(modseq) FROM message WHERE {IN_SPAN}", span
    ).fetchone()
    return range(lowest, highest + 1)


def _update(
    tx: Transaction, span: Span, changes: dict[int, int], is_all: bool, modseq: int
) -> None:
    """Change the flags of the messages in a span that have these values.

    :param is_all: there are no other messages.
    """
    if len(changes) == 1:
        ((old, new),) = changes.items()
        value, values = "?", [new]
        olds = [old]
    else:
        # All in one statement: new values may be the old ones of others.
        value = f"CASE flags {'WHEN ? THEN ? ' * len(changes)}END"
        values = [each for pair in changes.items() for each in pair]
        olds = list(changes)
    # With flags among the conditions, SQLite writes the rows down before it changes them.
    some = "" if is_all else f" AND flags IN ({','.join('?' * len(olds))})"
    tx.connection.execute(
        f"UPDATE message SET flags = {value}, modseq = ? WHERE {IN_SPAN}{some}",
        (*values, modseq, *span, *(() if is_all else olds)),
    )


def _note(
    tx: Transaction, span: Span, new_flags: set[int], changed: Sequence[int], modseq: int
) -> None:
    """Put the change down in the journal."""
    notes = []
    for flags in sorted(new_flags):
        uids = changed
        if len(new_flags) > 1:
            values = (*span, modseq, flags)
            uids = select_uids(tx.connection, f"{IN_SPAN} AND modseq = ? AND flags = ?", values)
        notes.append([flags & SYSTEM_MASK, tx.keywords(flags), format_uids(uids)])
    tx.note(["flags", span.mailbox_id, modseq, notes])
