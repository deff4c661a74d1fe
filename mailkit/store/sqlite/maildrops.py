"""Settings for POP3 in the index."""

from __future__ import annotations

import sqlite3
from functools import partial

from mailkit.model import MaildropLimits, MaildropSettings
from mailkit.store.maildrops import checked_settings, decode_settings, encode_settings
from mailkit.store.sqlite.changes import DirectoryTables, find_account
from mailkit.store.sqlite.journal import Note


def read_settings(connection: sqlite3.Connection, account_id: int) -> MaildropSettings:
    """The settings of an account; the usual ones where there is none."""
    row = connection.execute("SELECT maildrop FROM account WHERE id = ?", (account_id,)).fetchone()
    return decode_settings(None if row is None else row[0])


def set_maildrop_settings(
    account: str, text: str | None, connection: sqlite3.Connection, now: int
) -> list[Note]:
    account_id, _ = find_account(connection, account)
    connection.execute("UPDATE account SET maildrop = ? WHERE id = ?", (text, account_id))
    return []


class MaildropTables(DirectoryTables):
    """An :class:`~mailkit.interfaces.IMaildropDirectory`, given a connection and a way to change."""

    async def get_maildrop_settings(self, account: str) -> MaildropSettings:
        connection = self.connection()
        account_id, _ = find_account(connection, account)
        return read_settings(connection, account_id)

    async def set_maildrop_settings(self, account: str, settings: MaildropSettings) -> None:
        text = encode_settings(checked_settings(settings))
        await self.apply(partial(set_maildrop_settings, account, text))

    async def find_maildrop_limits(self) -> MaildropLimits:
        # By the index of those few accounts that have any.
        expire, delay = (
            self.connection()
            .execute(
                "SELECT min(json_extract(maildrop, '$.expire')),"
                " max(json_extract(maildrop, '$.login_delay'))"
                " FROM account WHERE maildrop IS NOT NULL"
            )
            .fetchone()
        )
        return MaildropLimits(expire, delay or 0)
