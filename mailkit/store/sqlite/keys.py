"""Mailbox access keys in the index (RFC 4467 section 2.4)."""

from __future__ import annotations

import secrets
import sqlite3

from mailkit._typing import override
from mailkit.store.sqlite.access import find_mailbox_id
from mailkit.store.sqlite.journal import Note
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.writer import Operation

#: Octets of a key; RFC 4467 section 10 asks for 16 at least.
KEY_OCTETS = 32


def find_key(connection: sqlite3.Connection, mailbox_id: int) -> bytes | None:
    """The access key of a mailbox, if there is one."""
    row = connection.execute(
        "SELECT key FROM access_key WHERE mailbox_id = ?", (mailbox_id,)
    ).fetchone()
    return None if row is None else bytes.fromhex(row[0])


def put_key(connection: sqlite3.Connection, mailbox_id: int, key: str) -> Note:
    """Give a mailbox this key in hexadecimal, or none; what the journal is to know."""
    connection.execute("DELETE FROM access_key WHERE mailbox_id = ?", (mailbox_id,))
    if key:
        connection.execute("INSERT INTO access_key VALUES (?, ?)", (mailbox_id, key))
    return ["access-key", mailbox_id, key]


class MakeKey(Operation[bytes]):
    """Make a mailbox's access key.

    :param replace: also where there is one.
    """

    __slots__ = ("_account", "_mailbox", "_replace")

    def __init__(self, account: str, mailbox: str, replace: bool) -> None:
        self._account = account
        self._mailbox = mailbox
        self._replace = replace

    @override
    def run(self, tx: Transaction) -> bytes:
        mailbox_id = find_mailbox_id(tx.connection, self._account, self._mailbox)
        known = find_key(tx.connection, mailbox_id)
        if known is not None and not self._replace:
            return known
        key = secrets.token_bytes(KEY_OCTETS)
        note = put_key(tx.connection, mailbox_id, key.hex())
        tx.changed = True
        tx.note(note)
        return key


class RemoveKeys(Operation[None]):
    """Remove the access keys of all mailboxes of an account."""

    __slots__ = ("_account",)

    def __init__(self, account: str) -> None:
        self._account = account

    @override
    def run(self, tx: Transaction) -> None:
        rows = tx.connection.execute(
            "SELECT k.mailbox_id FROM access_key k JOIN mailbox m ON m.id = k.mailbox_id"
            " JOIN account a ON a.id = m.account_id WHERE a.name = ?",
            (self._account,),
        ).fetchall()
        for (mailbox_id,) in rows:
            note = put_key(tx.connection, mailbox_id, "")
            tx.changed = True
            tx.note(note)
