"""Entries about mailboxes and the server (RFC 5464) in the index."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from mailkit._typing import override
from mailkit.errors import NoSuchAccount, NoSuchMailbox
from mailkit.store.metadata import SHARED, SPECIAL_USE, check_room
from mailkit.store.sqlite.core import Core
from mailkit.store.sqlite.journal import Note, encode_entries
from mailkit.store.sqlite.rows import NOBODY, mailbox_note
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.writer import Operation

# What counts together: all private entries of a user, shared ones about the mailboxes of one owner,
# and shared ones about the server.
_OCTETS = "SELECT ifnull(sum(length(entry) + length(value)), 0) FROM metadata WHERE account_id = ?"
_OWNED = " AND mailbox_id IN (SELECT id FROM mailbox WHERE account_id = ?)"


def put_entries(
    connection: sqlite3.Connection,
    mailbox_id: int,
    account_id: int,
    entries: Mapping[str, bytes | None],
) -> None:
    """Write or remove entries of one mailbox and user."""
    for entry, value in entries.items():
        if value is None:
            connection.execute(
                "DELETE FROM metadata WHERE account_id = ? AND mailbox_id = ? AND entry = ?",
                (account_id, mailbox_id, entry),
            )
        else:
            connection.execute(
                "INSERT OR REPLACE INTO metadata VALUES (?, ?, ?, ?)",
                (account_id, mailbox_id, entry, value),
            )


def entries_note(mailbox_id: int, user: str | None, entries: Mapping[str, bytes | None]) -> Note:
    """What the journal is to know.

    :param user: None for entries that are shared.
    """
    return ["metadata", mailbox_id, user, encode_entries(entries)]


def take_use(
    tx: Transaction, account_id: int, account: str, use: str | None, but: int = NOBODY
) -> Sequence[str]:
    """Take a special use from the mailboxes that have it, as another one is to have it.

    :param but: that one, if it is there already.
    :returns: their names.
    """
    bereft = tx.connection.execute(
        "SELECT id, name FROM mailbox WHERE account_id = ? AND special_use = ? AND id <> ?",
        (account_id, use, but),
    ).fetchall()
    for mailbox_id, _ in bereft:
        _set_use(tx, mailbox_id, account, None)
    return [name for _, name in bereft]


def _set_use(tx: Transaction, mailbox_id: int, account: str, use: str | None) -> None:
    connection = tx.connection
    connection.execute("UPDATE mailbox SET special_use = ? WHERE id = ?", (use, mailbox_id))
    tx.note(mailbox_note(connection, account, mailbox_id))


def copy_entries(tx: Transaction, account_id: int, user: str, source: int, target: int) -> None:
    """Give a mailbox the entries of another one of the same owner (RFC 5464 section 4.1).

    :raises TooManyEntries: there is no room for all.
    """
    for reader, name in ((NOBODY, None), (account_id, user)):
        entries: dict[str, bytes | None] = dict(
            tx.connection.execute(
                "SELECT entry, value FROM metadata WHERE account_id = ? AND mailbox_id = ?",
                (reader, source),
            ).fetchall()
        )
        if entries:
            octets = _count_octets(tx.connection, target, reader, account_id)
            check_room({}, octets, entries)
            put_entries(tx.connection, target, reader, entries)
            tx.note(entries_note(target, name, entries))


def _count_octets(
    connection: sqlite3.Connection, mailbox_id: int, account_id: int, owner_id: int
) -> int:
    sql, values = _OCTETS, [account_id]
    if account_id == NOBODY:
        sql += _OWNED if mailbox_id != NOBODY else " AND mailbox_id = ?"
        values.append(owner_id if mailbox_id != NOBODY else NOBODY)
    return int(connection.execute(sql, values).fetchone()[0])


class SetMetadata(Operation[Sequence[str]]):
    """Change entries about a mailbox or the server, all or none.

    :param user: the account's name.
    """

    __slots__ = ("_account_id", "_entries", "_mailbox_id", "_user")

    def __init__(
        self, mailbox_id: int, account_id: int, user: str, entries: Mapping[str, bytes | None]
    ) -> None:
        self._mailbox_id = mailbox_id
        self._account_id = account_id
        self._user = user
        self._entries = entries

    @override
    def run(self, tx: Transaction) -> Sequence[str]:
        connection = tx.connection
        sql = "SELECT 1 FROM account WHERE id = ?"
        if connection.execute(sql, (self._account_id,)).fetchone() is None:
            raise NoSuchAccount
        owner_id = self._owner(connection)
        scopes: list[tuple[int, str | None, dict[str, bytes | None]]] = []
        for account_id, user, shared in (
            (NOBODY, None, True),
            (self._account_id, self._user, False),
        ):
            entries = {
                entry: value
                for entry, value in self._entries.items()
                if entry.startswith(SHARED) is shared and entry != SPECIAL_USE
            }
            if entries:
                there = dict(
                    connection.execute(
                        "SELECT entry, length(value) FROM metadata"
                        " WHERE account_id = ? AND mailbox_id = ?",
                        (account_id, self._mailbox_id),
                    ).fetchall()
                )
                octets = _count_octets(connection, self._mailbox_id, account_id, owner_id)
                check_room(there, octets, entries)
                scopes.append((account_id, user, entries))
        tx.changed = True
        for account_id, user, entries in scopes:
            put_entries(connection, self._mailbox_id, account_id, entries)
            tx.note(entries_note(self._mailbox_id, user, entries))
        if SPECIAL_USE in self._entries:
            return self._change_use(tx, self._entries[SPECIAL_USE])
        return ()

    def _owner(self, connection: sqlite3.Connection) -> int:
        if self._mailbox_id == NOBODY:
            return NOBODY
        row = connection.execute(
            "SELECT account_id FROM mailbox WHERE id = ?", (self._mailbox_id,)
        ).fetchone()
        if row is None:
            raise NoSuchMailbox
        return int(row[0])

    def _change_use(self, tx: Transaction, value: bytes | None) -> Sequence[str]:
        """Give the mailbox its special use, and take it from another."""
        use = None if value is None else value.decode("ascii")
        bereft = take_use(tx, self._account_id, self._user, use, self._mailbox_id)
        _set_use(tx, self._mailbox_id, self._user, use)
        return bereft


class SQLiteMetadata:
    """See :class:`~mailkit.store.metadata.MetadataRecords`; keys are ids of mailboxes."""

    def __init__(self, core: Core, account_id: int, user: str) -> None:
        self._core = core
        self._id = account_id
        self._user = user

    def read(self, key: int | None) -> Mapping[str, bytes]:
        return dict(
            self._core.reader.connection.execute(
                "SELECT entry, value FROM metadata WHERE account_id IN (?, ?) AND mailbox_id = ?",
                (NOBODY, self._id, key or NOBODY),
            ).fetchall()
        )

    def get_special_use(self, key: int) -> str | None:
        return self._core.reader.mailbox_info(key).special_use

    async def write(self, key: int | None, entries: Mapping[str, bytes | None]) -> Sequence[str]:
        return await self._core.submit(SetMetadata(key or NOBODY, self._id, self._user, entries))
