"""What was fetched from other servers' maildrops, in the index."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from mailkit._typing import override
from mailkit.model import AppendResult, FetchedBefore, FetchedMessage
from mailkit.store.sqlite.journal import Note
from mailkit.store.sqlite.operations import Append, discard_content
from mailkit.store.sqlite.transaction import Appended, Transaction
from mailkit.store.sqlite.writer import Operation


def list_fetched(
    connection: sqlite3.Connection, account: str, source: str
) -> Mapping[str, FetchedBefore]:
    """The messages of a source that were taken."""
    rows = connection.execute(
        "SELECT unique_id, time, gone FROM fetched WHERE account = ? AND source = ?",
        (account, source),
    )
    return {unique_id: FetchedBefore(time, bool(gone)) for unique_id, time, gone in rows}


def put_fetched(
    connection: sqlite3.Connection,
    account: str,
    source: str,
    time: int | None,
    unique_ids: Sequence[str],
    digests: Sequence[str] = (),
) -> Note:
    """Remember messages, or forget them where there is no time; what the journal is to know.

    :param digests: of those to be remembered; journals of before there were any have none.
    """
    if time is None:
        connection.executemany(
            "DELETE FROM fetched WHERE account = ? AND source = ? AND unique_id = ?",
            [(account, source, unique_id) for unique_id in unique_ids],
        )
    else:
        connection.executemany(
            "INSERT OR REPLACE INTO fetched VALUES (?, ?, ?, ?, ?, 0)",
            [
                (account, source, unique_id, time, digest)
                for unique_id, digest in zip_longest(unique_ids, digests, fillvalue="")
            ],
        )
    return ["fetched", account, source, time, list(unique_ids), list(digests)]


def set_gone(
    connection: sqlite3.Connection,
    account: str,
    source: str,
    gone: bool,
    unique_ids: Sequence[str],
) -> Note:
    """Remember whether messages are gone from their source; what the journal is to know."""
    connection.executemany(
        "UPDATE fetched SET gone = ? WHERE account = ? AND source = ? AND unique_id = ?",
        [(gone, account, source, unique_id) for unique_id in unique_ids],
    )
    return ["fetched-gone", account, source, gone, list(unique_ids)]


class _Known(NamedTuple):
    time: int
    digest: str
    gone: bool


class AppendFetched(Append):
    """Messages into one mailbox that were not fetched before, all or none."""

    __slots__ = ("_fetched", "_source")

    def __init__(
        self,
        mailbox_id: int,
        messages: Sequence[Appended],
        source: str,
        fetched: Sequence[FetchedMessage],
    ) -> None:
        super().__init__(mailbox_id, messages)
        self._source = source
        self._fetched = [(each.unique_id, each.digest, each.others) for each in fetched]

    @override
    def run(self, tx: Transaction) -> AppendResult:
        account = tx.states.mailbox_by_id(self._mailbox_id).account.name
        rows = tx.connection.execute(
            "SELECT unique_id, time, digest, gone FROM fetched WHERE account = ? AND source = ?",
            (account, self._source),
        )
        known = {unique_id: _Known(*row) for unique_id, *row in rows}
        new = []
        remembered: dict[str, str] = {}
        back: set[str] = set()
        for message, (unique_id, digest, others) in zip(self._messages, self._fetched, strict=True):
            before = known.get(unique_id)
            if before is not None and not before.gone:
                continue
            for other in (unique_id, *others):
                same = known.get(other)
                if same is not None and same.gone and same.digest == digest:
                    del known[other]
                    if before is not None:
                        known[other] = before
                    known[unique_id] = same._replace(gone=False)
                    back |= {unique_id, other}
                    break
            else:
                new.append(message)
                remembered[unique_id] = digest
                known[unique_id] = _Known(tx.now, digest, False)
        everything, self._messages = self._messages, new
        try:
            result = super().run(tx)
        finally:
            self._messages = everything
        if remembered:
            # Otherwise a message could be torn, and never be fetched again.
            tx.ordered = True
            unique_ids, digests = list(remembered), list(remembered.values())
            tx.note(put_fetched(tx.connection, account, self._source, tx.now, unique_ids, digests))
        for unique_id in sorted(back - remembered.keys()):
            self._put(tx, account, unique_id, known.get(unique_id))
        taken = {id(message) for message in new}
        for message in everything:
            if id(message) not in taken:
                discard_content(message.content)
        return result

    def _put(self, tx: Transaction, account: str, unique_id: str, known: _Known | None) -> None:
        time, digests = (known.time, [known.digest]) if known else (None, [])
        tx.changed = True
        tx.note(put_fetched(tx.connection, account, self._source, time, [unique_id], digests))
        if known and known.gone:
            tx.note(set_gone(tx.connection, account, self._source, True, [unique_id]))


class MarkGone(Operation[None]):
    """Messages are gone from their source, or should be."""

    __slots__ = ("_account", "_source", "_unique_ids")

    def __init__(self, account: str, source: str, unique_ids: Collection[str]) -> None:
        self._account = account
        self._source = source
        self._unique_ids = list(unique_ids)

    @override
    def run(self, tx: Transaction) -> None:
        tx.changed = True
        tx.note(set_gone(tx.connection, self._account, self._source, True, self._unique_ids))


class ForgetFetched(MarkGone):
    """Forget messages that are not at their source any more."""

    __slots__ = ()

    @override
    def run(self, tx: Transaction) -> None:
        note = put_fetched(tx.connection, self._account, self._source, None, self._unique_ids)
        tx.changed = True
        tx.note(note)
