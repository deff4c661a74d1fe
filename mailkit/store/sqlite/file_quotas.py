"""Limits of accounts' files in the index."""

from __future__ import annotations

import sqlite3
from functools import partial

from mailkit.store.sqlite.changes import DirectoryTables, account_columns, find_account
from mailkit.store.sqlite.journal import Note

_NAMES = "max_file_octets", "max_files"
#: NULL where nobody has set one.
_LIMITS = ", ".join(
    f"ifnull({name}, (SELECT value FROM setting WHERE name = '{name}'))" for name in _NAMES
)


def set_file_quota(
    account: str | None,
    max_octets: int | None,
    max_files: int | None,
    connection: sqlite3.Connection,
    now: int,
) -> list[Note]:
    limits = max_octets, max_files
    if account is None:
        connection.executemany(
            "INSERT OR REPLACE INTO setting VALUES (?, ?)", zip(_NAMES, limits, strict=True)
        )
    else:
        account_id, _ = find_account(connection, account)
        connection.execute(
            "UPDATE account SET max_file_octets = ?, max_files = ? WHERE id = ?",
            (*limits, account_id),
        )
    return []


class FileQuotaTables(DirectoryTables):
    """An :class:`~mailkit.interfaces.IFileQuotaDirectory`, given a connection and a way to change."""

    async def get_file_quota(self, account: str) -> tuple[int | None, int | None]:
        octets, files = account_columns(self.connection(), account, _LIMITS)
        return octets, files

    async def set_file_quota(
        self, account: str | None, max_octets: int | None, max_files: int | None
    ) -> None:
        await self.apply(partial(set_file_quota, account, max_octets, max_files))
