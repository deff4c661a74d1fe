"""What POP3 asks of the index: settings of accounts, and sizes of messages."""

from __future__ import annotations

import sqlite3
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

from mailkit.model import MaildropLimits, MaildropSettings
from mailkit.store.maildrops import checked_settings, decode_settings, encode_settings
from mailkit.store.sqlite.changes import DirectoryTables, find_account
from mailkit.store.sqlite.ends import ends_known_from
from mailkit.store.sqlite.journal import Note

#: Messages of a mailbox above which it is asked in pieces, so that nobody waits long.
MAX_LISTED = 2000
#: Messages whose sizes are remembered, of all mailboxes together: 12 octets each.
MAX_REMEMBERED = 500_000

#: UIDs, octets, and octets in all.
Sizes = tuple[Sequence[int], Sequence[int], int]


class SizeLists:
    """What POP3 tells of mailboxes, kept until they change. Used by the reactor's thread alone."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # Mailbox id to modification sequence and sizes, those last asked for at the end.
        self._lists: OrderedDict[int, tuple[int, Sizes]] = OrderedDict()
        # Found once, and not for each session.
        self._find, self._move_to_end = self._lists.get, self._lists.move_to_end
        self._total = 0

    def get(self, mailbox_id: int, modseq: int) -> Sizes:
        """The sizes of a mailbox that has this modification sequence now."""
        known = self._find(mailbox_id)
        if known is not None and known[0] == modseq:
            self._move_to_end(mailbox_id)
            return known[1]
        rows = self._connection.execute(
            "SELECT uid, size + 2 * (body_id IN (SELECT body_id FROM unended_body)) FROM message"
            " WHERE mailbox_id = ? ORDER BY uid",
            (mailbox_id,),
        ).fetchall()
        octets = array("Q", [row[1] for row in rows])
        sizes = array("I", [row[0] for row in rows]), octets, sum(octets)
        self._forget(mailbox_id)
        # As long as bodies are looked at, sizes may change.
        if not ends_known_from(self._connection):
            self._lists[mailbox_id] = modseq, sizes
            self._total += len(rows)
            while self._total > MAX_REMEMBERED:
                self._forget(next(iter(self._lists)))
        return sizes

    def _forget(self, mailbox_id: int) -> None:
        known = self._lists.pop(mailbox_id, None)
        if known is not None:
            self._total -= len(known[1][0])


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
