"""SCRAM keys in the index. They count only beside the password hash that they were made with."""

from __future__ import annotations

import secrets
import sqlite3
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from mailkit.store.sqlite.changes import DirectoryTables, find_account
from mailkit.store.sqlite.journal import Note
from mailkit.wire.scram import HASHES, FoundKeys, ScramKeys, keys_of_nobody

#: Names of settings.
_SECRET, _POLICY = "scram_secret", "scram_policy"
_SECRET_OCTETS = 32

# Whoever sets a password by other ways need not know of keys: the old ones are no longer found. Nor
# are those of accounts whose password is not taken everywhere, or not alone.
_JOINED = (
    "scram_key k JOIN account a ON a.name = k.account AND a.password_hash = k.password_hash"
    " AND a.password_scopes IS NULL AND a.totp_secret IS NULL"
)

_SOMEBODY = "SELECT account FROM scram_key WHERE mechanism = ? LIMIT 1"
_HAS_KEYS = f"SELECT a.name FROM {_JOINED} WHERE a.name = ? AND k.mechanism = ?"
_KEYS = (
    "SELECT mechanism, salt, iterations, stored_key, server_key FROM scram_key"
    " WHERE account = ? AND mechanism = ?"
)


def set_password(
    account: str,
    password_hash: str | None,
    keys: Sequence[ScramKeys],
    connection: sqlite3.Connection,
    now: int,
) -> list[Note]:
    account_id, name = find_account(connection, account)
    connection.execute(
        "UPDATE account SET password_hash = ? WHERE id = ?", (password_hash, account_id)
    )
    connection.execute("DELETE FROM scram_key WHERE account = ?", (name,))
    if password_hash is not None:
        _insert(connection, name, password_hash, keys)
    return []


def add_scram_keys(
    account: str,
    password_hash: str,
    keys: Sequence[ScramKeys],
    connection: sqlite3.Connection,
    now: int,
) -> list[Note]:
    account_id, name = find_account(connection, account)
    row = connection.execute("SELECT password_hash FROM account WHERE id = ?", (account_id,))
    if row.fetchone() == (password_hash,):
        _insert(connection, name, password_hash, keys)
    return []


def set_scram_policy(
    mechanisms: Sequence[str], connection: sqlite3.Connection, now: int
) -> list[Note]:
    connection.execute(
        "INSERT OR REPLACE INTO setting VALUES (?, ?)", (_POLICY, " ".join(mechanisms))
    )
    for mechanism in HASHES:
        if mechanism not in mechanisms:
            connection.execute("DELETE FROM scram_key WHERE mechanism = ?", (mechanism,))
    return []


def _insert(
    connection: sqlite3.Connection, account: str, password_hash: str, keys: Iterable[ScramKeys]
) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO setting VALUES (?, ?)",
        (_SECRET, secrets.token_bytes(_SECRET_OCTETS)),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO scram_key"
        " (account, password_hash, mechanism, salt, iterations, stored_key, server_key)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(account, password_hash, *each) for each in keys],
    )


class ScramTables(DirectoryTables):
    """An :class:`~mailkit.interfaces.IScramDirectory`, but for finding accounts."""

    @abstractmethod
    async def login_address(self, login: str) -> str:
        """The address that a user means, whether there is such an account or not."""

    async def find_scram_keys(self, login: str, mechanism: str) -> FoundKeys:
        address = await self.login_address(login)
        ask = self.connection().execute
        # All of it in any case, and as much to read, so that the time does not tell who exists.
        nobodys = keys_of_nobody(mechanism, address, bytes(self._setting(_SECRET) or b""))
        somebody = ask(_SOMEBODY, (mechanism,)).fetchone()
        found = ask(_HAS_KEYS, (address, mechanism)).fetchone()
        row = ask(_KEYS, (*(found or somebody or ("",)), mechanism)).fetchone()
        return FoundKeys(found[0], ScramKeys(*row)) if found else FoundKeys(None, nobodys)

    async def list_scram_mechanisms(self) -> Sequence[str]:
        connection = self.connection()
        if connection.execute("SELECT 1 FROM scram_key LIMIT 1").fetchone() is None:
            return []
        if connection.execute("SELECT 1 FROM app_password LIMIT 1").fetchone() is not None:
            return []
        rows = connection.execute(
            f"SELECT mechanism FROM {_JOINED} GROUP BY mechanism HAVING count(*) ="
            " (SELECT count(*) FROM account WHERE password_hash IS NOT NULL)"
        )
        found = {mechanism for (mechanism,) in rows}
        return [mechanism for mechanism in HASHES if mechanism in found]

    async def set_password(
        self, account: str, password_hash: str | None, scram_keys: Sequence[ScramKeys]
    ) -> None:
        await self.apply(partial(set_password, account, password_hash, scram_keys))

    async def add_scram_keys(
        self, account: str, password_hash: str, scram_keys: Sequence[ScramKeys]
    ) -> None:
        await self.apply(partial(add_scram_keys, account, password_hash, scram_keys))

    async def get_scram_policy(self) -> Sequence[str]:
        text = self._setting(_POLICY) or ""
        return [mechanism for mechanism in str(text).split() if mechanism in HASHES]

    async def set_scram_policy(self, mechanisms: Sequence[str]) -> None:
        await self.apply(partial(set_scram_policy, tuple(mechanisms)))

    async def list_without_scram_keys(self, mechanism: str) -> Sequence[str]:
        rows = self.connection().execute(
            "SELECT name FROM account WHERE password_hash IS NOT NULL AND name NOT IN"
            f" (SELECT k.account FROM {_JOINED} WHERE k.mechanism = ?) ORDER BY name",
            (mechanism,),
        )
        return [name for (name,) in rows.fetchall()]

    def _setting(self, name: str) -> Any:
        row = self.connection().execute("SELECT value FROM setting WHERE name = ?", (name,))
        found = row.fetchone()
        return None if found is None else found[0]
