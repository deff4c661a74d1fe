"""One account of the embedded store."""

from __future__ import annotations

import time
from collections.abc import Sequence

from zope.interface import implementer

from mailkit.errors import NoSuchAccount, NoSuchMailbox
from mailkit.interfaces import (
    ICapabilityMask,
    IMailAccount,
    IMailboxAdmin,
    IObjectIdentifiers,
    ISpooling,
)
from mailkit.model import MailboxInfo
from mailkit.spool import Spool
from mailkit.store.naming import canonical_name
from mailkit.store.sqlite.core import Core
from mailkit.store.sqlite.log import SPOOL_RESERVE
from mailkit.store.sqlite.mailbox import Found, SQLiteMailbox
from mailkit.store.sqlite.mailboxes import CreateMailbox, DeleteMailbox, RenameMailbox, Subscribe


def new_spool(core: Core) -> Spool:
    """A spool whose file the store can rename into its log."""
    return Spool(core.spool_directory, core.settings.spool_memory, SPOOL_RESERVE, core.spool_memory)


@implementer(IMailAccount, IMailboxAdmin, IObjectIdentifiers, ICapabilityMask, ISpooling)
class SQLiteAccount:
    """An account, known by its id, which is never given again."""

    def __init__(
        self, core: Core, name: str, account_id: int, imap_without: str | None = None
    ) -> None:
        self._core = core
        self.name = name
        self._id = account_id
        self.imap_without: Sequence[str] = imap_without.split() if imap_without else ()

    def _check_exists(self) -> None:
        """:raises NoSuchAccount: it has been removed."""
        if self._core.reader.account_id(self.name) != self._id:
            raise NoSuchAccount

    async def list_mailboxes(self) -> Sequence[MailboxInfo]:
        infos = self._core.reader.list_mailboxes(self._id)
        if not infos:
            self._check_exists()
        return infos

    async def open_mailbox(self, name: str) -> SQLiteMailbox:
        name = canonical_name(name)
        core = self._core
        commits = core.writer.commits
        try:
            row = core.reader.find_view_row(self._id, name)
        except NoSuchMailbox:
            self._check_exists()
            raise
        return SQLiteMailbox(core, row[0], name, Found(row, commits, time.monotonic()))

    async def create_mailbox(self, name: str, special_use: str | None = None) -> MailboxInfo:
        await self._core.submit(CreateMailbox(self.name, name, special_use))
        return self._core.reader.find_mailbox(self._id, canonical_name(name))

    async def delete_mailbox(self, name: str) -> None:
        await self._core.submit(DeleteMailbox(self.name, name))

    async def rename_mailbox(self, name: str, new_name: str) -> None:
        await self._core.submit(RenameMailbox(self.name, name, new_name))

    async def subscribe(self, name: str) -> None:
        await self._core.submit(Subscribe(self.name, name, True))

    async def unsubscribe(self, name: str) -> None:
        await self._core.submit(Subscribe(self.name, name, False))

    async def list_subscriptions(self) -> Sequence[str]:
        names = self._core.reader.list_subscriptions(self._id)
        if not names:
            self._check_exists()
        return names

    def new_spool(self) -> Spool:
        return new_spool(self._core)
