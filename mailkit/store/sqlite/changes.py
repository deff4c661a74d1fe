"""What all changes of the directory's tables have in common."""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from mailkit.errors import NoSuchAccount
from mailkit.store import addresses
from mailkit.store.provided import AbstractProvider
from mailkit.store.sqlite.journal import Note

#: A change of the directory: gets the connection, in a transaction, and the time; gives what the
#: journal is to know.
Change = Callable[[sqlite3.Connection, int], list[Note]]


class DirectoryTables(AbstractProvider):
    """The directory's tables: a connection and a way to change them."""

    @abstractmethod
    def connection(self) -> sqlite3.Connection:
        """For reading."""

    @abstractmethod
    async def apply(self, change: Change) -> None:
        """Make a change in a transaction."""


def find_account(connection: sqlite3.Connection, name: str) -> tuple[int, str]:
    """Id and name of the account that an administrator means.

    :raises NoSuchAccount: there is none.
    """
    sql = "SELECT id, name FROM account WHERE name = ?"
    row = connection.execute(sql, (name,)).fetchone()
    if row is None:
        row = connection.execute(sql, (addresses.canonical_address(name),)).fetchone()
    if row is None:
        raise NoSuchAccount
    return int(row[0]), str(row[1])


def account_columns(connection: sqlite3.Connection, name: str, columns: str) -> tuple[Any, ...]:
    """Columns of the account that an administrator means; quickly for a canonical name.

    :raises NoSuchAccount: there is none.
    """
    sql = f"SELECT {columns} FROM account WHERE name = ?"
    row: tuple[Any, ...] | None = connection.execute(sql, (name,)).fetchone()
    if row is None:
        _, canonical = find_account(connection, name)
        row = connection.execute(sql, (canonical,)).fetchone()
        assert row is not None
    return row
