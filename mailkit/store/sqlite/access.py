"""Access control lists in the index: for accounts, and for an administrator's command."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Collection, Iterable, Sequence
from typing import Any, Protocol

from mailkit._typing import override
from mailkit.errors import NoSuchAccount, NoSuchMailbox
from mailkit.model import SEPARATOR
from mailkit.rights import (
    NEGATIVE,
    Grant,
    Rights,
    RightsOp,
    effective_rights,
    format_rights,
    identifiers_of,
)
from mailkit.store.sharing.names import SharingSettings
from mailkit.store.sharing.records import (
    MAX_ACCOUNT_ENTRIES,
    MAX_SEEN,
    Seen,
    changed_entry,
    means_many,
)
from mailkit.store.sqlite.journal import Note
from mailkit.store.sqlite.reader import Reader
from mailkit.store.sqlite.transaction import SHARED, NamesOf, Transaction
from mailkit.store.sqlite.writer import Operation

# Three identifiers mean an account, and their negatives.
_ENTRIES_OF = "SELECT mailbox_id, identifier, rights FROM acl WHERE identifier IN (?,?,?,?,?,?)"
_SHARED = (
    "SELECT mailbox_id, identifier, rights FROM acl"
    " UNION ALL SELECT id, NULL, NULL FROM account WHERE public"
)
_ENTRIES = "SELECT identifier, rights FROM acl WHERE mailbox_id = ? ORDER BY identifier"


def find_mailbox_id(connection: sqlite3.Connection, account: str, mailbox: str) -> int:
    """The mailbox of that canonical name, selectable or not.

    :raises NoSuchMailbox: there is none.
    """
    row = connection.execute(
        "SELECT id FROM mailbox WHERE name = ?"
        " AND account_id = (SELECT id FROM account WHERE name = ?)",
        (mailbox, account),
    ).fetchone()
    if row is None:
        raise NoSuchMailbox
    return int(row[0])


def get_entries(connection: sqlite3.Connection, mailbox_id: int) -> list[Grant]:
    """The list of a mailbox; empty where it does not exist."""
    rows = connection.execute(_ENTRIES, (mailbox_id,)).fetchall()
    return [Grant(identifier, frozenset(rights)) for identifier, rights in rows]


def change_entry(
    connection: sqlite3.Connection, mailbox_id: int, identifier: str, rights: Rights, op: RightsOp
) -> Note:
    """Change one entry of an existing mailbox's list.

    :raises NoSuchAccount: the account was removed meanwhile.
    :raises LimitExceeded: there are too many entries.
    """

    def count() -> int:
        sql = "SELECT account_id FROM mailbox WHERE id = ?"
        return _count_entries(connection, *connection.execute(sql, (mailbox_id,)).fetchone())

    new = changed_entry(get_entries(connection, mailbox_id), identifier, rights, op, count)
    name = identifier.removeprefix(NEGATIVE)
    if new and not means_many(name):
        sql = "SELECT 1 FROM account WHERE name = ?"
        if connection.execute(sql, (name,)).fetchone() is None:
            raise NoSuchAccount
    return put_entry(connection, mailbox_id, identifier, format_rights(new))


def put_entry(
    connection: sqlite3.Connection, mailbox_id: int, identifier: str, rights: str
) -> Note:
    """Give an identifier these rights, or none; what the journal is to know."""
    if rights:
        connection.execute(
            "INSERT OR REPLACE INTO acl VALUES (?, ?, ?)", (mailbox_id, identifier, rights)
        )
    else:
        connection.execute(
            "DELETE FROM acl WHERE mailbox_id = ? AND identifier = ?", (mailbox_id, identifier)
        )
    return ["acl", mailbox_id, identifier, rights]


def inherit_entries(
    connection: sqlite3.Connection, account_id: int, name: str, mailbox_id: int
) -> list[Note]:
    """Give a new mailbox the list of the one above it (RFC 4314 section 4, CREATE)."""
    rows = connection.execute(
        "SELECT a.identifier, a.rights FROM mailbox m JOIN acl a ON a.mailbox_id = m.id"
        " WHERE m.account_id = ? AND m.name = ?",
        (account_id, name.rpartition(SEPARATOR)[0]),
    ).fetchall()
    if not rows or _count_entries(connection, account_id) + len(rows) > MAX_ACCOUNT_ENTRIES:
        return []
    return [put_entry(connection, mailbox_id, identifier, rights) for identifier, rights in rows]


def digest_of_shared(connection: sqlite3.Connection) -> int:
    """Another number, in this process, as soon as somebody may see other mailboxes of others."""
    digest = 0
    for row in connection.execute(_SHARED):
        digest = hash((digest, row))
    return digest


def _count_entries(connection: sqlite3.Connection, account_id: int) -> int:
    """How many entries the lists of an account have together."""
    (count,) = connection.execute(
        "SELECT count(*) FROM acl WHERE mailbox_id IN (SELECT id FROM mailbox WHERE account_id = ?)",
        (account_id,),
    ).fetchone()
    return int(count)


def forget_account(connection: sqlite3.Connection, account_id: int, name: str) -> None:
    """The account is removed: one of the same name that comes later has none of its rights."""
    for table in ("acl", "access_key"):
        connection.execute(
            f"DELETE FROM {table} WHERE mailbox_id IN"
            " (SELECT id FROM mailbox WHERE account_id = ?)",
            (account_id,),
        )
    connection.execute(
        "DELETE FROM metadata WHERE account_id = ?"
        " OR mailbox_id IN (SELECT id FROM mailbox WHERE account_id = ?)",
        (account_id, account_id),
    )
    # Those of the mailboxes themselves go with their messages.
    connection.execute("DELETE FROM annotation WHERE account_id = ?", (account_id,))
    connection.execute("DELETE FROM acl WHERE identifier IN (?, ?)", (name, NEGATIVE + name))
    for table in ("app_password", "scram_key", "fetched"):
        connection.execute(f"DELETE FROM {table} WHERE account = ?", (name,))


def touch_viewers(tx: Transaction, mailbox_id: int) -> None:
    """Whoever may see a mailbox of somebody else is to hear that its name has changed."""
    rows = tx.connection.execute(
        "SELECT identifier FROM acl WHERE mailbox_id = ?", (mailbox_id,)
    ).fetchall()
    for (identifier,) in rows:
        _touch(tx, identifier)


def _touch(tx: Transaction, identifier: str) -> None:
    name = identifier.removeprefix(NEGATIVE)
    if means_many(name):
        tx.touched.add(SHARED)
        return
    row = tx.connection.execute("SELECT id FROM account WHERE name = ?", (name,)).fetchone()
    if row is not None:
        tx.touched.add(NamesOf(row[0]))


class ChangeEntry(Operation[None]):
    """Change one entry, and tell those who have the mailbox open."""

    __slots__ = ("_identifier", "_mailbox_id", "_op", "_rights")

    def __init__(self, mailbox_id: int, identifier: str, rights: Rights, op: RightsOp) -> None:
        self._mailbox_id = mailbox_id
        self._identifier = identifier
        self._rights = rights
        self._op = op

    @override
    def run(self, tx: Transaction) -> None:
        sql = "SELECT 1 FROM mailbox WHERE id = ?"
        if tx.connection.execute(sql, (self._mailbox_id,)).fetchone() is None:
            raise NoSuchMailbox
        note = change_entry(
            tx.connection, self._mailbox_id, self._identifier, self._rights, self._op
        )
        tx.changed = True
        tx.note(note)
        tx.touched.add(self._mailbox_id)
        _touch(tx, self._identifier)


class _Store(Protocol):
    """What is needed of the store."""

    @property
    def core(self) -> Any: ...

    def open_account(self, name: str) -> Awaitable[Any]: ...

    def find_account(self, login: str) -> Awaitable[str | None]: ...


class SQLiteAccess:
    """See :class:`~mailkit.store.sharing.records.AccessRecords`; keys are ids of mailboxes.

    Nothing is remembered: a change holds for whatever comes after it, whoever made it.
    """

    def __init__(self, store: _Store, settings: SharingSettings) -> None:
        self._store = store
        self.settings = settings

    @property
    def _reader(self) -> Reader:
        reader: Reader = self._store.core.reader
        return reader

    def find_mailbox(self, owner: str, mailbox: str) -> tuple[int, Sequence[Grant]]:
        connection = self._reader.connection
        mailbox_id = find_mailbox_id(connection, owner, mailbox)
        return mailbox_id, get_entries(connection, mailbox_id)

    def get_entries(self, key: int) -> Sequence[Grant]:
        connection = self._reader.connection
        entries = get_entries(connection, key)
        if not entries and self.get_name(key) is None:
            raise NoSuchMailbox
        return entries

    def get_name(self, key: int) -> str | None:
        row = self._reader.connection.execute(
            "SELECT name FROM mailbox WHERE id = ?", (key,)
        ).fetchone()
        return None if row is None else row[0]

    def list_seen(self, viewer: str) -> Sequence[Seen]:
        connection = self._reader.connection
        # Where nobody shares anything, a LIST is not to cost more than that.
        if connection.execute("SELECT 1 FROM acl LIMIT 1").fetchone() is None:
            return ()
        identifiers = identifiers_of(viewer)
        wanted = (*identifiers, *(NEGATIVE + identifier for identifier in identifiers))
        rows = connection.execute(_ENTRIES_OF, wanted).fetchall()
        if not rows:
            return ()
        return list(self._seen(viewer, _rights_by_mailbox(rows, identifiers)))

    def _seen(self, viewer: str, rights: dict[int, Rights]) -> Iterable[Seen]:
        reader = self._reader
        owners = {
            mailbox_id: (owner, bool(public))
            for mailbox_id, owner, public in reader.connection.execute(
                "SELECT m.id, a.name, a.public FROM mailbox m JOIN account a ON a.id = m.account_id"
                " WHERE m.id IN (SELECT value FROM json_each(?)) AND a.name <> ?",
                (json.dumps(list(rights)[:MAX_SEEN]), viewer),
            ).fetchall()
        }
        for mailbox_id, info in reader.mailbox_infos(list(owners)):
            yield Seen(*owners[mailbox_id], info, rights[mailbox_id])

    async def open(self, owner: str, mailbox: str) -> Any:
        try:
            account = await self.open_account(owner)
        except NoSuchAccount:
            raise NoSuchMailbox from None
        return account.open_own(mailbox)

    async def open_account(self, name: str) -> Any:
        """:raises NoSuchAccount: there is none."""
        return await self._store.open_account(name)

    def is_public(self, account: str) -> bool:
        row = self._reader.connection.execute(
            "SELECT public FROM account WHERE name = ?", (account,)
        ).fetchone()
        return row is not None and bool(row[0])

    async def find_account(self, login: str) -> str | None:
        return await self._store.find_account(login)

    async def change_entry(self, key: int, identifier: str, rights: Rights, op: RightsOp) -> None:
        await self._store.core.submit(ChangeEntry(key, identifier, rights, op))


def _rights_by_mailbox(
    rows: Sequence[tuple[int, str, str]], identifiers: Collection[str]
) -> dict[int, Rights]:
    """What entries of several lists give to somebody, where that is anything."""
    entries: dict[int, list[Grant]] = {}
    for mailbox_id, identifier, rights in rows:
        entries.setdefault(mailbox_id, []).append(Grant(identifier, frozenset(rights)))
    effective = {key: effective_rights(grants, identifiers) for key, grants in entries.items()}
    return {key: rights for key, rights in effective.items() if rights}
