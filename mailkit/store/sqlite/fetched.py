"""What was fetched from other servers' maildrops, in the index."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence

from mailkit._typing import override
from mailkit.model import AppendResult
from mailkit.store.sqlite.journal import Note
from mailkit.store.sqlite.operations import Append, discard_content
from mailkit.store.sqlite.transaction import Appended, Transaction
from mailkit.store.sqlite.writer import Operation


def list_fetched(connection: sqlite3.Connection, account: str, source: str) -> Mapping[str, int]:
    """When each message of a source was taken."""
    return dict(
        connection.execute(
            "SELECT unique_id, time FROM fetched WHERE account = ? AND source = ?",
            (account, source),
        ).fetchall()
    )


def put_fetched(
    connection: sqlite3.Connection,
    account: str,
    source: str,
    time: int | None,
    unique_ids: Sequence[str],
) -> Note:
    """Remember messages, or forget them where there is no time; what the journal is to know."""
    if time is None:
        connection.executemany(
            "DELETE FROM fetched WHERE account = ? AND source = ? AND unique_id = ?",
            [(account, source, unique_id) for unique_id in unique_ids],
        )
    else:
        connection.executemany(
            "INSERT OR IGNORE INTO fetched VALUES (?, ?, ?, ?)",
            [(account, source, unique_id, time) for unique_id in unique_ids],
        )
    return ["fetched", account, source, time, list(unique_ids)]


class AppendFetched(Append):
    """Messages into one mailbox that were not fetched before, all or none."""

    __slots__ = ("_source", "_unique_ids")

    def __init__(
        self,
        mailbox_id: int,
        messages: Sequence[Appended],
        source: str,
        unique_ids: Sequence[str],
    ) -> None:
        super().__init__(mailbox_id, messages)
        self._source = source
        self._unique_ids = unique_ids

    @override
    def run(self, tx: Transaction) -> AppendResult:
        account = tx.states.mailbox_by_id(self._mailbox_id).account.name
        known = set(list_fetched(tx.connection, account, self._source))
        new = []
        unique_ids = []
        for message, unique_id in zip(self._messages, self._unique_ids, strict=True):
            if unique_id not in known:
                known.add(unique_id)
                new.append(message)
                unique_ids.append(unique_id)
        everything, self._messages = self._messages, new
        try:
            result = super().run(tx)
        finally:
            self._messages = everything
        if unique_ids:
            # Otherwise a message could be torn, and never be fetched again.
            tx.ordered = True
            tx.note(put_fetched(tx.connection, account, self._source, tx.now, unique_ids))
        taken = {id(message) for message in new}
        for message in everything:
            if id(message) not in taken:
                discard_content(message.content)
        return result


class ForgetFetched(Operation[None]):
    """Forget messages that are not at their source any more."""

    __slots__ = ("_account", "_source", "_unique_ids")

    def __init__(self, account: str, source: str, unique_ids: Collection[str]) -> None:
        self._account = account
        self._source = source
        self._unique_ids = list(unique_ids)

    @override
    def run(self, tx: Transaction) -> None:
        note = put_fetched(tx.connection, self._account, self._source, None, self._unique_ids)
        tx.changed = True
        tx.note(note)
