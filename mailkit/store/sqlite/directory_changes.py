"""What an administrator changes: domains, accounts, aliases and what they may do.

Each gives what the journal is to know of it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from mailkit.errors import (
    AccountExists,
    NoSuchAccount,
    PermissionDenied,
)
from mailkit.model import NEW_ACCOUNT_MAILBOXES
from mailkit.rights import Rights, RightsOp
from mailkit.store import addresses
from mailkit.store.naming import canonical_name
from mailkit.store.sqlite.access import (
    change_entry,
    find_mailbox_id,
    forget_account,
)
from mailkit.store.sqlite.changes import find_account
from mailkit.store.sqlite.journal import Note
from mailkit.store.sqlite.mailboxes import insert_mailbox
from mailkit.store.sqlite.rows import MAIL_LIMITS, mailbox_note
from mailkit.wire.domains import canonical_domain


def _exists(connection: sqlite3.Connection, sql: str, *values: object) -> bool:
    return connection.execute(sql, values).fetchone() is not None


def _is_taken(connection: sqlite3.Connection, address: str) -> bool:
    return _exists(
        connection,
        "SELECT 1 FROM account WHERE name = ? UNION ALL SELECT 1 FROM alias WHERE address = ?",
        address,
        address,
    )


def add_domain(domain: str, connection: sqlite3.Connection, now: int) -> list[Note]:
    name = addresses.valid_domain(domain)
    if _exists(connection, "SELECT 1 FROM domain WHERE name = ?", name):
        raise AccountExists
    connection.execute("INSERT INTO domain VALUES (?)", (name,))
    return []


def remove_domain(domain: str, connection: sqlite3.Connection, now: int) -> list[Note]:
    name = canonical_domain(domain)
    if not _exists(connection, "SELECT 1 FROM domain WHERE name = ?", name):
        raise NoSuchAccount("That domain is not served here")
    if _exists(
        connection,
        "WITH ending (text) AS (SELECT ?)"
        " SELECT 1 FROM account, ending WHERE substr(name, -length(text)) = text"
        " UNION ALL SELECT 1 FROM alias, ending WHERE substr(address, -length(text)) = text",
        "@" + name,
    ):
        raise PermissionDenied("There are accounts or aliases in that domain")
    connection.execute("DELETE FROM domain WHERE name = ?", (name,))
    return []


def add_account(
    account: str, password_hash: str | None, connection: sqlite3.Connection, now: int
) -> list[Note]:
    name = addresses.canonical_address(account)
    if _is_taken(connection, name):
        raise AccountExists
    cursor = connection.execute(
        "INSERT INTO account (name, password_hash) VALUES (?, ?)", (name, password_hash)
    )
    account_id = int(cursor.lastrowid or 0)
    notes: list[Note] = [["account", name]]
    for mailbox, special_use in NEW_ACCOUNT_MAILBOXES.items():
        mailbox_id = insert_mailbox(connection, account_id, mailbox, now, special_use)
        connection.execute("INSERT INTO subscription VALUES (?, ?)", (account_id, mailbox))
        notes.append(mailbox_note(connection, name, mailbox_id))
        notes.append(["subscribed", name, mailbox, True])
    connection.execute("INSERT OR IGNORE INTO domain VALUES (?)", (name.rpartition("@")[2],))
    return notes


def remove_account(account: str, connection: sqlite3.Connection, now: int) -> list[Note]:
    account_id, name = find_account(connection, account)
    forget_account(connection, account_id, name)
    # The server's maintenance removes the messages bit by bit.
    connection.execute(
        "INSERT INTO doomed_mailbox SELECT id FROM mailbox WHERE account_id = ?", (account_id,)
    )
    for table in ("mailbox", "subscription", "keyword_set", "delegate", "thread_key"):
        connection.execute(f"DELETE FROM {table} WHERE account_id = ?", (account_id,))
    connection.execute("DELETE FROM account WHERE id = ?", (account_id,))
    for alias, targets in connection.execute("SELECT address, targets FROM alias").fetchall():
        if [addresses.canonical_local_part(target) for target in json.loads(targets)] == [name]:
            connection.execute("DELETE FROM alias WHERE address = ?", (alias,))
    return [["no-account", name]]


def set_quota(
    account: str | None,
    max_octets: int | None,
    max_messages: int | None,
    max_mailboxes: int | None,
    connection: sqlite3.Connection,
    now: int,
) -> list[Note]:
    if account is None:
        connection.executemany(
            "INSERT OR REPLACE INTO setting VALUES (?, ?)",
            zip(MAIL_LIMITS, (max_octets, max_messages, max_mailboxes), strict=True),
        )
    else:
        account_id, _ = find_account(connection, account)
        connection.execute(
            "UPDATE account SET max_octets = ?, max_messages = ?, max_mailboxes = ? WHERE id = ?",
            (max_octets, max_messages, max_mailboxes, account_id),
        )
    return []


def set_imap_without(
    account: str, names: Sequence[str], connection: sqlite3.Connection, now: int
) -> list[Note]:
    account_id, _ = find_account(connection, account)
    connection.execute(
        "UPDATE account SET imap_without = ? WHERE id = ?", (" ".join(names) or None, account_id)
    )
    return []


def set_administrator(
    account: str, administrator: bool, connection: sqlite3.Connection, now: int
) -> list[Note]:
    account_id, _ = find_account(connection, account)
    connection.execute(
        "UPDATE account SET administrator = ? WHERE id = ?", (administrator, account_id)
    )
    return []


def add_alias(
    alias: str, targets: Sequence[str], connection: sqlite3.Connection, now: int
) -> list[Note]:
    address = addresses.canonical_alias(alias)
    domain = address.rpartition("@")[2]
    if not _exists(connection, "SELECT 1 FROM domain WHERE name = ?", domain):
        raise NoSuchAccount("The alias's domain is not served here; add the domain first")
    if _is_taken(connection, address):
        raise AccountExists
    wanted = addresses.canonical_targets(address, targets)
    connection.execute("INSERT INTO alias VALUES (?, ?)", (address, json.dumps(wanted)))
    return []


def remove_alias(alias: str, connection: sqlite3.Connection, now: int) -> list[Note]:
    address = addresses.canonical_alias(alias)
    if not _exists(connection, "SELECT 1 FROM alias WHERE address = ?", address):
        raise NoSuchAccount("No such alias")
    connection.execute("DELETE FROM alias WHERE address = ?", (address,))
    return []


def add_delegate(
    account: str, address: str, connection: sqlite3.Connection, now: int
) -> list[Note]:
    account_id, _ = find_account(connection, account)
    entry = account_id, addresses.canonical_alias(address)
    added = connection.execute("INSERT OR IGNORE INTO delegate VALUES (?, ?)", entry)
    if not added.rowcount:
        raise AccountExists(addresses.DELEGATE_EXISTS)
    return []


def remove_delegate(
    account: str, address: str, connection: sqlite3.Connection, now: int
) -> list[Note]:
    account_id, _ = find_account(connection, account)
    entry = account_id, addresses.canonical_alias(address)
    removed = connection.execute("DELETE FROM delegate WHERE account_id = ? AND address = ?", entry)
    if not removed.rowcount:
        raise NoSuchAccount(addresses.NO_DELEGATE)
    return []


def set_acl(
    account: str,
    mailbox: str,
    identifier: str,
    rights: Rights,
    op: RightsOp,
    connection: sqlite3.Connection,
    now: int,
) -> list[Note]:
    _, owner = find_account(connection, account)
    mailbox_id = find_mailbox_id(connection, owner, canonical_name(mailbox))
    return [change_entry(connection, mailbox_id, identifier, rights, op)]


def set_public(account: str, public: bool, connection: sqlite3.Connection, now: int) -> list[Note]:
    account_id, name = find_account(connection, account)
    connection.execute("UPDATE account SET public = ? WHERE id = ?", (public, account_id))
    return [["public", name, public]]
