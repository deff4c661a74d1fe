"""Domains, accounts and aliases in the index: the directory, for a server and for commands.

Nothing of it is remembered here between calls, so that a server sees at once what an administrator's
command has changed.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from zope.interface import implementer

from mailkit._typing import override
from mailkit.errors import (
    NoSuchAccount,
    StoreUnavailable,
)
from mailkit.identity import Login
from mailkit.interfaces import (
    IAccessDirectory,
    IAccountHistory,
    IAdministratorDirectory,
    IAppPasswordDirectory,
    IDelegateAdmin,
    IDirectoryAdmin,
    IFileQuotaDirectory,
    IMaildropDirectory,
    IMaskDirectory,
    IQuotaDirectory,
    IScramDirectory,
    ISecondFactorDirectory,
)
from mailkit.model import INBOX, Path, Quota, Resolution
from mailkit.rights import Grant, Rights, RightsOp, total_order
from mailkit.store import addresses
from mailkit.store.naming import canonical_name, capability_names
from mailkit.store.sharing.records import canonical_identifier
from mailkit.store.sqlite import directory_changes as changes
from mailkit.store.sqlite.access import (
    find_mailbox_id,
    get_entries,
)
from mailkit.store.sqlite.app_passwords import AppPasswordTables
from mailkit.store.sqlite.changes import Change, account_columns, find_account
from mailkit.store.sqlite.file_quotas import FileQuotaTables
from mailkit.store.sqlite.generations import refuse_backup
from mailkit.store.sqlite.maildrops import MaildropTables
from mailkit.store.sqlite.recent import tell_change
from mailkit.store.sqlite.recovery import refuse_missing_index
from mailkit.store.sqlite.rows import MAIL_LIMITS, QUOTA_LIMITS, USAGE
from mailkit.store.sqlite.schema import open_index
from mailkit.store.sqlite.scram import ScramTables
from mailkit.store.sqlite.second_factors import SecondFactorTables
from mailkit.store.sqlite.transaction import DIRECTORY, SHARED, Transaction
from mailkit.store.sqlite.writer import Operation

_QUOTA = f"SELECT id, {QUOTA_LIMITS} FROM account WHERE name = ?"

#: An account's id and its limits, as :class:`mailkit.model.Quota` has them.
QuotaLimits = tuple[int, "int | None", "int | None", "int | None"]

_DELEGATES = (
    "SELECT a.name, d.address FROM delegate d JOIN account a ON a.id = d.account_id"
    " ORDER BY a.name, d.address"
)


class KnownAccount(str):
    """The name of an account that exists at this moment, with what was found beside it.

    Whoever waits before opening the account passes a plain ``str`` on, so that it is looked up again.
    """

    __slots__ = ("connection", "id", "imap_without", "maildrop", "opened")

    id: int
    imap_without: str | None
    #: Its settings for POP3, as they are kept.
    maildrop: str | None
    #: Where it was found.
    connection: sqlite3.Connection
    #: The account, once it was opened, for whoever opens it again; None before.
    opened: Any

    def __new__(
        cls,
        name: str,
        account_id: int,
        imap_without: str | None,
        maildrop: str | None,
        connection: sqlite3.Connection,
    ) -> KnownAccount:
        known = super().__new__(cls, name)
        known.id = account_id
        known.imap_without = imap_without
        known.maildrop = maildrop
        known.connection = connection
        known.opened = None
        return known


class AddressTables:
    """Looks addresses up; a :class:`mailkit.store.addresses.AddressBook`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def one(self, sql: str, *values: object) -> str | None:
        """The first column of the first row."""
        row = self._connection.execute(sql, values).fetchone()
        return None if row is None else row[0]

    async def is_domain(self, domain: str) -> bool:
        return self.one("SELECT name FROM domain WHERE name = ?", domain) is not None

    async def list_domains(self) -> Sequence[str]:
        return [
            name for (name,) in self._connection.execute("SELECT name FROM domain ORDER BY name")
        ]

    async def find_address(self, address: str) -> str | None:
        return self.one("SELECT name FROM account WHERE name = ?", address)

    def find_login(self, address: str) -> Login | None:
        """The account that has this address, with its password hash."""
        row = self._connection.execute(
            "SELECT name, id, imap_without, maildrop, password_hash,"
            " password_scopes IS NOT NULL OR totp_secret IS NOT NULL FROM account WHERE name = ?",
            (address,),
        ).fetchone()
        if row is None:
            return None
        name, account_id, imap_without, maildrop, password_hash, restricted = row
        known = KnownAccount(name, account_id, imap_without, maildrop, self._connection)
        return Login(known, password_hash, bool(restricted))

    async def find_alias(self, address: str) -> Sequence[str] | None:
        targets = self.one("SELECT targets FROM alias WHERE address = ?", address)
        return None if targets is None else list(json.loads(targets))

    async def is_delegate(self, account: str, address: str) -> bool:
        sql = (
            "SELECT address FROM delegate WHERE address = ?"
            " AND account_id = (SELECT id FROM account WHERE name = ?)"
        )
        return self.one(sql, address, account) is not None

    async def first_account(self) -> str | None:
        return self.one("SELECT name FROM account ORDER BY id LIMIT 1")


def read_quota(connection: sqlite3.Connection, limits: QuotaLimits) -> Quota:
    """What an account has, beside its limits."""
    account_id, max_octets, max_messages, max_mailboxes = limits
    octets, messages, mailboxes = connection.execute(USAGE, (account_id,)).fetchone()
    return Quota(octets, messages, max_octets, max_messages, mailboxes, max_mailboxes)


def read_quota_limits(connection: sqlite3.Connection, account: str) -> QuotaLimits:
    """:raises NoSuchAccount: there is none."""
    row: QuotaLimits | None = connection.execute(_QUOTA, (account,)).fetchone()
    if row is None:
        raise NoSuchAccount
    return row


class ChangeDirectory(Operation[None]):
    """A change of the directory as the writer's operation."""

    __slots__ = ("_change",)

    def __init__(self, change: Change) -> None:
        self._change = change

    @override
    def run(self, tx: Transaction) -> None:
        tx.flush()
        tx.flush_counters()
        notes = self._change(tx.connection, tx.now)
        tx.changed = True
        tx.touched.add(DIRECTORY)
        tx.states.clear()
        # It may have been about them.
        tx.has_listeners = None
        for note in notes:
            tx.note(note)
            if note[0] in ("no-account", "acl", "public"):
                # Others may have seen the mailboxes, or see them now, and this is rare.
                tx.touched.add(SHARED)


@implementer(
    IAppPasswordDirectory,
    ISecondFactorDirectory,
    IScramDirectory,
    IDirectoryAdmin,
    IQuotaDirectory,
    IFileQuotaDirectory,
    IMaildropDirectory,
    IMaskDirectory,
    IAdministratorDirectory,
    IDelegateAdmin,
    IAccessDirectory,
    IAccountHistory,
)
class DirectoryBase(
    AppPasswordTables, SecondFactorTables, ScramTables, MaildropTables, FileQuotaTables
):
    """All of the directory's contracts, given a connection and a way to change."""

    separator = "+"

    @property
    def _book(self) -> AddressTables:
        return AddressTables(self.connection())

    async def resolve(self, path: Path) -> Resolution:
        return await addresses.resolve(self._book, path, separator=self.separator)

    async def owns_address(self, account: str, path: Path) -> bool:
        return await addresses.owns_address(self._book, account, path, separator=self.separator)

    async def find_account(self, login: str) -> str | None:
        return await addresses.find_account(self._book, login)

    async def find_login(self, login: str) -> Login | None:
        book = self._book
        address = await addresses.login_address(book, login)
        return None if address is None else book.find_login(address)

    @override
    async def login_address(self, login: str) -> str:
        address = await addresses.login_address(self._book, login)
        return address or addresses.canonical_local_part(login)

    async def get_password_hash(self, account: str) -> str | None:
        return self._book.one("SELECT password_hash FROM account WHERE name = ?", account)

    async def get_creation_time(self, account: str) -> int | None:
        # The mailbox that each account gets when it is made, and cannot lose.
        row = (
            self.connection()
            .execute(
                "SELECT uid_validity FROM mailbox JOIN account ON account.id = account_id"
                " WHERE account.name = ? AND mailbox.name = ?",
                (account, INBOX),
            )
            .fetchone()
        )
        return None if row is None else int(row[0])

    async def list_domains(self) -> Sequence[str]:
        return await self._book.list_domains()

    async def add_domain(self, domain: str) -> None:
        await self.apply(partial(changes.add_domain, domain))

    async def remove_domain(self, domain: str) -> None:
        await self.apply(partial(changes.remove_domain, domain))

    async def list_accounts(self) -> Sequence[str]:
        rows = self.connection().execute("SELECT name FROM account ORDER BY name").fetchall()
        return [name for (name,) in rows]

    async def add_account(self, name: str, password_hash: str | None = None) -> None:
        await self.apply(partial(changes.add_account, name, password_hash))

    async def remove_account(self, name: str) -> None:
        await self.apply(partial(changes.remove_account, name))

    async def set_password_hash(self, account: str, password_hash: str | None) -> None:
        await self.set_password(account, password_hash, ())

    def quota_limits(self, account: str) -> QuotaLimits:
        """:raises NoSuchAccount: there is none."""
        return read_quota_limits(self.connection(), account)

    async def get_quota(self, account: str) -> Quota:
        return read_quota(self.connection(), self.quota_limits(account))

    async def check_quota(self, account: str, octets: int) -> None:
        _, max_octets, max_messages, _ = self.quota_limits(account)
        if max_octets is not None or max_messages is not None:
            (await self.get_quota(account)).check(octets)

    async def set_quota(
        self,
        account: str | None,
        max_octets: int | None,
        max_messages: int | None,
        max_mailboxes: int | None = None,
    ) -> None:
        await self.apply(
            partial(changes.set_quota, account, max_octets, max_messages, max_mailboxes)
        )

    async def get_own_limits(
        self, account: str | None
    ) -> tuple[int | None, int | None, int | None]:
        if account is not None:
            octets, messages, mailboxes = account_columns(
                self.connection(), account, ", ".join(MAIL_LIMITS)
            )
            return octets, messages, mailboxes
        stored = dict(self.connection().execute("SELECT name, value FROM setting").fetchall())
        octets, messages, mailboxes = map(stored.get, MAIL_LIMITS)
        return octets, messages, mailboxes

    async def list_administrators(self) -> Sequence[str]:
        rows = self.connection().execute(
            "SELECT name FROM account WHERE administrator ORDER BY name"
        )
        return [name for (name,) in rows.fetchall()]

    async def set_administrator(self, account: str, administrator: bool) -> None:
        await self.apply(partial(changes.set_administrator, account, administrator))

    async def get_imap_without(self, account: str) -> Sequence[str]:
        account_id, _ = find_account(self.connection(), account)
        names = self._book.one("SELECT imap_without FROM account WHERE id = ?", account_id)
        return names.split() if names else []

    async def set_imap_without(self, account: str, names: Collection[str]) -> None:
        await self.apply(partial(changes.set_imap_without, account, capability_names(names)))

    async def list_aliases(self) -> Sequence[tuple[str, Sequence[str]]]:
        rows = self.connection().execute("SELECT address, targets FROM alias ORDER BY address")
        return [(address, tuple(json.loads(targets))) for address, targets in rows.fetchall()]

    async def add_alias(self, alias: str, targets: Sequence[str]) -> None:
        await self.apply(partial(changes.add_alias, alias, tuple(targets)))

    async def remove_alias(self, alias: str) -> None:
        await self.apply(partial(changes.remove_alias, alias))

    async def get_acl(self, account: str, mailbox: str) -> Sequence[Grant]:
        connection = self.connection()
        _, owner = find_account(connection, account)
        mailbox_id = find_mailbox_id(connection, owner, canonical_name(mailbox))
        return total_order(get_entries(connection, mailbox_id))

    async def set_acl(
        self, account: str, mailbox: str, identifier: str, rights: Rights, op: RightsOp
    ) -> None:
        known = await canonical_identifier(self, identifier)
        await self.apply(partial(changes.set_acl, account, mailbox, known, rights, op))

    async def list_public(self) -> Sequence[str]:
        rows = self.connection().execute("SELECT name FROM account WHERE public ORDER BY name")
        return [name for (name,) in rows.fetchall()]

    async def set_public(self, account: str, public: bool) -> None:
        await self.apply(partial(changes.set_public, account, public))

    async def list_delegates(self) -> Sequence[tuple[str, str]]:
        return self.connection().execute(_DELEGATES).fetchall()

    async def add_delegate(self, account: str, address: str) -> None:
        await self.apply(partial(changes.add_delegate, account, address))

    async def remove_delegate(self, account: str, address: str) -> None:
        await self.apply(partial(changes.remove_delegate, account, address))


class SQLiteDirectory(DirectoryBase):
    """The directory of a store for an administrator's command, beside a server or without one.

    It takes no lock and starts no thread; nothing is really waited for, so that a coroutine of
    its methods can be run to its end without a reactor. A store that does not exist yet is made.

    :param directory: of the store.
    :raises StoreUnavailable: it can't be opened.
    :raises StoreCorrupt: the index is missing or damaged, or of a newer version.
    """

    def __init__(self, directory: str, *, separator: str = "+") -> None:
        self.separator = separator
        refuse_backup(directory)
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"Cannot open {directory}: {error.strerror}") from error
        refuse_missing_index(directory)
        self._directory = directory
        self._connection = open_index(directory)

    def close(self) -> None:
        """Release the files."""
        self._connection.close()

    @override
    def connection(self) -> sqlite3.Connection:
        return self._connection

    @override
    async def apply(self, change: Change) -> None:
        # The journal belongs to the server; what is not in it, a repair may not know.
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                tell_change(self._directory)
                change(connection, int(time.time()))
                connection.execute("COMMIT")
                tell_change(self._directory)
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"The mail store cannot be changed: {error}") from error
