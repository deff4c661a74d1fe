"""What accounts need besides their passwords, in the index."""

from __future__ import annotations

import sqlite3
from functools import partial

from mailkit.errors import AuthenticationFailed
from mailkit.identity import SecondFactor
from mailkit.store.sqlite.changes import DirectoryTables, account_columns, find_account
from mailkit.store.sqlite.journal import Note


def set_second_factor(
    account: str, factor: SecondFactor | None, connection: sqlite3.Connection, now: int
) -> list[Note]:
    account_id, _ = find_account(connection, account)
    values: tuple[object, ...] = (None, None, None, None, None)
    if factor is not None:
        values = (*factor[:3], " ".join(sorted(factor.recovery)), factor.forgotten)
    connection.execute(
        "UPDATE account SET totp_secret = ?, totp_window = ?, totp_step = ?, recovery_codes = ?,"
        " totp_forgotten = ? WHERE id = ?",
        (*values, account_id),
    )
    return []


def use_step(account: str, step: int, connection: sqlite3.Connection, now: int) -> list[Note]:
    used = connection.execute(
        "UPDATE account SET totp_step = ?"
        " WHERE name = ? AND totp_secret IS NOT NULL AND totp_step < ?",
        (step, account, step),
    )
    if not used.rowcount:
        raise AuthenticationFailed
    return []


def note_wrong_code(
    account: str, when: int, seconds: int, most: int, connection: sqlite3.Connection, now: int
) -> list[Note]:
    noted = connection.execute(
        "UPDATE account SET totp_forgotten = MIN(MAX(COALESCE(totp_forgotten, 0), ?), ?) + ?"
        " WHERE name = ? AND totp_secret IS NOT NULL",
        (when, when + most, seconds, account),
    )
    if not noted.rowcount:
        raise AuthenticationFailed
    return []


def use_recovery_code(
    account: str, kept: str, connection: sqlite3.Connection, now: int
) -> list[Note]:
    row = connection.execute(
        "SELECT recovery_codes FROM account WHERE name = ? AND totp_secret IS NOT NULL", (account,)
    ).fetchone()
    codes = [] if row is None else row[0].split()
    if kept not in codes:
        raise AuthenticationFailed
    codes.remove(kept)
    connection.execute(
        "UPDATE account SET recovery_codes = ? WHERE name = ?", (" ".join(codes), account)
    )
    return []


class SecondFactorTables(DirectoryTables):
    """An :class:`~mailkit.interfaces.ISecondFactorDirectory`, given a connection and a way to
    change."""

    async def get_second_factor(self, account: str) -> SecondFactor | None:
        secret, window, step, codes, forgotten = account_columns(
            self.connection(),
            account,
            "totp_secret, totp_window, totp_step, recovery_codes, COALESCE(totp_forgotten, 0)",
        )
        if secret is None:
            return None
        return SecondFactor(secret, window, step, frozenset(codes.split()), forgotten)

    async def set_second_factor(self, account: str, factor: SecondFactor | None) -> None:
        await self.apply(partial(set_second_factor, account, factor))

    async def use_step(self, account: str, step: int) -> None:
        await self.apply(partial(use_step, account, step))

    async def note_wrong_code(self, account: str, now: int, seconds: int, most: int) -> None:
        await self.apply(partial(note_wrong_code, account, now, seconds, most))

    async def use_recovery_code(self, account: str, kept: str) -> None:
        await self.apply(partial(use_recovery_code, account, kept))
