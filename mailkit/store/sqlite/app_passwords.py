"""App passwords in the index, and for what an account's own password is taken."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from mailkit.errors import AccountExists, LimitExceeded, NoSuchAccount
from mailkit.identity import MAX_APP_PASSWORDS, AppPassword
from mailkit.store.sqlite.changes import DirectoryTables, account_columns, find_account
from mailkit.store.sqlite.journal import Note

_COLUMNS = "prefix, digest, scopes, created, expires, label, used, used_from, used_by"


def _to_password(row: Sequence[Any]) -> AppPassword:
    prefix, digest, scopes, *rest = row
    return AppPassword(prefix, digest, frozenset(scopes.split()), *rest)


def add_app_password(
    account: str, password: AppPassword, connection: sqlite3.Connection, now: int
) -> list[Note]:
    _, name = find_account(connection, account)
    (count,) = connection.execute(
        "SELECT count(*) FROM app_password WHERE account = ?", (name,)
    ).fetchone()
    if count >= MAX_APP_PASSWORDS:
        raise LimitExceeded(f"An account has at most {MAX_APP_PASSWORDS} app passwords")
    scopes = " ".join(sorted(password.scopes))
    added = connection.execute(
        f"INSERT OR IGNORE INTO app_password (account, {_COLUMNS})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (name, *password._replace(scopes=scopes)),  # type: ignore[arg-type]
    )
    if not added.rowcount:
        raise AccountExists("There is an app password of that prefix already")
    return []


def remove_app_password(
    account: str, prefix: str, connection: sqlite3.Connection, now: int
) -> list[Note]:
    _, name = find_account(connection, account)
    removed = connection.execute(
        "DELETE FROM app_password WHERE account = ? AND prefix = ?", (name, prefix)
    )
    if not removed.rowcount:
        raise NoSuchAccount("No such app password")
    return []


def note_app_password_use(
    account: str,
    prefix: str,
    used: int,
    address: str,
    protocol: str,
    connection: sqlite3.Connection,
    now: int,
) -> list[Note]:
    connection.execute(
        "UPDATE app_password SET used = ?, used_from = ?, used_by = ?"
        " WHERE account = ? AND prefix = ?",
        (used, address, protocol, account, prefix),
    )
    return []


def set_password_scopes(
    account: str, scopes: Collection[str] | None, connection: sqlite3.Connection, now: int
) -> list[Note]:
    account_id, _ = find_account(connection, account)
    text = None if scopes is None else " ".join(sorted(scopes))
    connection.execute("UPDATE account SET password_scopes = ? WHERE id = ?", (text, account_id))
    return []


class AppPasswordTables(DirectoryTables):
    """An :class:`~mailkit.interfaces.IAppPasswordDirectory`, given a connection and a way to change."""

    async def find_app_password(self, account: str, prefix: str) -> AppPassword | None:
        row = (
            self.connection()
            .execute(
                f"SELECT {_COLUMNS} FROM app_password WHERE account = ? AND prefix = ?",
                (account, prefix),
            )
            .fetchone()
        )
        return None if row is None else _to_password(row)

    async def note_app_password_use(
        self, account: str, prefix: str, used: int, address: str, protocol: str
    ) -> None:
        await self.apply(partial(note_app_password_use, account, prefix, used, address, protocol))

    async def list_app_passwords(self, account: str) -> Sequence[AppPassword]:
        connection = self.connection()
        _, name = find_account(connection, account)
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM app_password WHERE account = ? ORDER BY prefix", (name,)
        )
        return [_to_password(row) for row in rows.fetchall()]

    async def add_app_password(self, account: str, password: AppPassword) -> None:
        await self.apply(partial(add_app_password, account, password))

    async def remove_app_password(self, account: str, prefix: str) -> None:
        await self.apply(partial(remove_app_password, account, prefix))

    async def get_password_scopes(self, account: str) -> frozenset[str] | None:
        (text,) = account_columns(self.connection(), account, "password_scopes")
        return None if text is None else frozenset(text.split())

    async def set_password_scopes(self, account: str, scopes: Collection[str] | None) -> None:
        await self.apply(partial(set_password_scopes, account, scopes))
