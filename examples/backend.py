"""Mail that an application has sent, kept in its own table, as a mailbox for IMAP and POP3."""

import io
import sqlite3

from zope.interface import implementer

from mailkit.errors import NoSuchMailbox, NoSuchMessage, ReadOnly
from mailkit.interfaces import IMailAccount, IMailbox, IMailStore
from mailkit.model import INBOX, SEEN, Changes, LocalResult, MailboxInfo, MessageInfo


@implementer(IMailStore, IMailAccount, IMailbox)
class SentMail:
    # One mailbox in one account in one store: one object plays all three parts.
    name = INBOX

    def __init__(self, path):
        self._db = sqlite3.connect(path)
        self._db.execute("CREATE TABLE IF NOT EXISTS sent (id INTEGER PRIMARY KEY, at, mail)")

    async def open_account(self, name):
        return self

    async def list_mailboxes(self):
        return [await self.get_info()]

    async def open_mailbox(self, name):
        if name.upper() != INBOX:
            raise NoSuchMailbox
        return self

    async def get_info(self):  # rows are only added: UID is the id, modseq the id plus one
        query = "SELECT COUNT(*), TOTAL(LENGTH(mail)), IFNULL(MAX(id), 0) FROM sent"
        count, size, last = self._db.execute(query).fetchone()
        return MailboxInfo(INBOX, "sent", 1, last + 1, last + 1, count, 0, int(size), last + 1)

    async def list_uids(self):
        return [uid for (uid,) in self._db.execute("SELECT id FROM sent ORDER BY id")]

    async def get_messages(self, uids):
        query = "SELECT id, at, LENGTH(mail), id + 1 FROM sent WHERE id = ?"
        rows = [row for uid in uids for row in self._db.execute(query, (uid,))]
        return [MessageInfo(row[0], frozenset({SEEN}), *row[1:]) for row in rows]

    async def open_message(self, uid):
        for (mail,) in self._db.execute("SELECT mail FROM sent WHERE id = ?", (uid,)):
            return io.BytesIO(mail)
        raise NoSuchMessage

    async def get_changes(self, since):
        query = "SELECT id FROM sent WHERE id >= ? ORDER BY id"
        new = [uid for (uid,) in self._db.execute(query, (since,))]
        return Changes((await self.get_info()).highest_modseq, new, [], [])

    async def deliver(self, message, deliveries):
        return [LocalResult(error=ReadOnly()) for _ in deliveries]

    async def close(self):
        self._db.close()
