"""One account of the embedded store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from zope.interface import implementer

from mailkit._typing import override
from mailkit.errors import MailError, NoSuchAccount, NoSuchMailbox
from mailkit.interfaces import (
    IAccessControl,
    IAnnotatingAccount,
    ICapabilityMask,
    IFetchMemory,
    ILabellingAccount,
    IMailAccount,
    IMailboxAdmin,
    IMetadataAccount,
    IQuotaAdmin,
    IRecallingMaildrop,
    ISpooling,
    IURLKeys,
    IWatchableAccount,
)
from mailkit.model import (
    INBOX,
    AppendResult,
    FetchedBefore,
    FetchedMessage,
    MailboxInfo,
    MaildropSettings,
    Quota,
)
from mailkit.spool import MEMORY_LIMIT, Spool
from mailkit.store.maildrops import DEFAULT_SETTINGS, decode_settings
from mailkit.store.metadata import MetadataAccount, MetadataWatchers
from mailkit.store.naming import canonical_name
from mailkit.store.sharing.names import SharingSettings
from mailkit.store.sqlite.access import SQLiteAccess, find_mailbox_id
from mailkit.store.sqlite.core import Core
from mailkit.store.sqlite.directory import (
    ChangeDirectory,
    read_quota,
    read_quota_limits,
)
from mailkit.store.sqlite.directory_changes import set_quota
from mailkit.store.sqlite.fetched import ForgetFetched, MarkGone, list_fetched
from mailkit.store.sqlite.keys import MakeKey, RemoveKeys, find_key
from mailkit.store.sqlite.log import SPOOL_RESERVE
from mailkit.store.sqlite.mailbox import SQLiteMailbox
from mailkit.store.sqlite.mailboxes import (
    MAX_MAILBOXES,
    CreateMailbox,
    DeleteMailbox,
    RenameMailbox,
    Subscribe,
)
from mailkit.store.sqlite.maildrops import read_settings
from mailkit.store.sqlite.metadata import SQLiteMetadata
from mailkit.store.sqlite.recent import tell_change
from mailkit.store.sqlite.transaction import SHARED, NamesOf


def new_spool(core: Core) -> Spool:
    """A spool whose file the store can rename into its log."""
    limit = core.settings.spool_memory
    if core.is_guest:
        # To the owner a file's name is sent, and not its octets.
        limit = min(limit, MEMORY_LIMIT)
    return Spool(core.spool_directory, limit, SPOOL_RESERVE, core.spool_memory)


@implementer(
    IMailAccount,
    IMailboxAdmin,
    ILabellingAccount,
    ICapabilityMask,
    ISpooling,
    IAccessControl,
    IQuotaAdmin,
    IMetadataAccount,
    IURLKeys,
    IWatchableAccount,
    IFetchMemory,
    IRecallingMaildrop,
    IAnnotatingAccount,
)
class SQLiteAccount(MetadataAccount):
    """An account, known by its id, which is never given again."""

    def __init__(
        self,
        core: Core,
        access: SQLiteAccess,
        name: str,
        account_id: int,
        imap_without: str | None = None,
    ) -> None:
        self._core = core
        self._access = access
        self.name = name
        self._id = account_id
        self.imap_without: Sequence[str] = imap_without.split() if imap_without else ()
        self._maildrop: MaildropSettings | None = None

    def _check_exists(self) -> None:
        """:raises NoSuchAccount: it has been removed."""
        if self._core.reader.account_id(self.name) != self._id:
            raise NoSuchAccount

    async def list_mailboxes(self) -> Sequence[MailboxInfo]:
        infos = self._core.reader.list_mailboxes(self._id)
        if not infos:
            self._check_exists()
        return self.list_others(infos)

    async def open_mailbox(self, name: str) -> Any:
        try:
            return self.open_own(name)
        except NoSuchMailbox:
            # Looked for now, so that it costs nothing to have no use for it.
            return await self.open_other(name)

    def open_own(self, name: str) -> SQLiteMailbox:
        """A mailbox of the account itself.

        :raises NoSuchMailbox: there is none, or it is not selectable.
        """
        name = canonical_name(name)
        try:
            found = self._core.find_mailbox(self._id, name)
        except NoSuchMailbox:
            self._check_exists()
            raise
        return SQLiteMailbox(self._core, found.mailbox_id, name, self, found)

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        ends = [self._core.watch(names, callback) for names in (NamesOf(self._id), SHARED)]

        def end() -> None:
            for each in ends:
                each()

        return end

    async def create_mailbox(self, name: str, special_use: str | None = None) -> MailboxInfo:
        if self.sharing.is_foreign(name):
            return await self.create_other(name, special_use)
        self.tell_bereft(await self._core.submit(CreateMailbox(self.name, name, special_use)))
        return self._core.reader.find_mailbox(self._id, canonical_name(name))

    async def delete_mailbox(self, name: str) -> None:
        if self.is_others(name):
            await self.delete_other(name)
            return
        await self._core.submit(DeleteMailbox(self.name, name))

    async def rename_mailbox(self, name: str, new_name: str) -> None:
        if self.sharing.is_foreign(new_name) or self.is_others(name):
            await self.rename_other(name, new_name)
            return
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

    # Access keys.

    async def get_access_key(self, mailbox: str) -> bytes:
        return await self._core.submit(MakeKey(self.name, canonical_name(mailbox), False))

    async def find_access_key(self, mailbox: str) -> bytes | None:
        connection = self._core.reader.connection
        try:
            mailbox_id = find_mailbox_id(connection, self.name, canonical_name(mailbox))
        except NoSuchMailbox:
            return None
        return find_key(connection, mailbox_id)

    async def reset_access_key(self, mailbox: str) -> None:
        await self._core.submit(MakeKey(self.name, canonical_name(mailbox), True))

    async def remove_access_keys(self) -> None:
        await self._core.submit(RemoveKeys(self.name))

    def know_maildrop(self, text: str | None) -> None:
        """What was found just now of its settings for POP3, for who asks at once."""
        self._maildrop = decode_settings(text)

    async def get_maildrop_settings(self) -> MaildropSettings:
        known, self._maildrop = self._maildrop, None
        if known is not None:
            return known
        return read_settings(self._core.reader.connection, self._id)

    def recall_maildrop(
        self,
    ) -> tuple[SQLiteMailbox, MailboxInfo, Sequence[int], Sequence[int], int] | None:
        if self._maildrop is not DEFAULT_SETTINGS:
            return None
        core = self._core
        try:
            found = core.find_mailbox(self._id, INBOX)
            if found.commits != core.writer.commits:
                found = core.find_again(found.mailbox_id)
            mailbox = SQLiteMailbox(core, found.mailbox_id, INBOX, self)
            sizes = mailbox.find_sizes(found)
        except MailError:
            # Whoever asks for it will meet it again.
            return None
        if sizes is None:
            return None
        self._maildrop = None
        return mailbox, *sizes

    # Mail from other servers.

    async def append_fetched(
        self, mailbox: str, source: str, messages: Sequence[FetchedMessage]
    ) -> AppendResult:
        return await self.open_own(mailbox).append_fetched(source, messages)

    async def list_fetched(self, source: str) -> Mapping[str, FetchedBefore]:
        return list_fetched(self._core.reader.connection, self.name, source)

    async def mark_gone(self, source: str, unique_ids: Collection[str]) -> None:
        if unique_ids:
            await self._core.submit(MarkGone(self.name, source, unique_ids))

    async def forget_fetched(self, source: str, unique_ids: Collection[str]) -> None:
        if unique_ids:
            await self._core.submit(ForgetFetched(self.name, source, unique_ids))

    # What others' mailboxes need.

    @property
    @override
    def access_records(self) -> SQLiteAccess:
        return self._access

    @property
    @override
    def sharing(self) -> SharingSettings:
        return self._access.settings

    @override
    def subscribed_names(self) -> Collection[str]:
        return self._core.reader.subscribed_names(self._id)

    @override
    async def open_owner(self, owner: str) -> Any:
        return await self._access.open_account(owner)

    # What entries need.

    @property
    @override
    def metadata_records(self) -> SQLiteMetadata:
        return SQLiteMetadata(self._core, self._id, self.name)

    @property
    @override
    def metadata_watchers(self) -> MetadataWatchers:
        return self._core.metadata_watchers

    # What quotas need.

    inherent_mailboxes = MAX_MAILBOXES

    @override
    def is_administrator(self) -> bool:
        return self._core.reader.is_administrator(self._id)

    @override
    async def read_quota(self, account: str) -> Quota:
        connection = self._core.reader.connection
        return read_quota(connection, read_quota_limits(connection, account))

    @override
    async def write_quota(
        self, account: str, max_octets: int, max_messages: int, max_mailboxes: int
    ) -> None:
        change = partial(set_quota, account, max_octets, max_messages, max_mailboxes)
        await self._core.submit(ChangeDirectory(change))
        tell_change(self._core.directory)

    def new_spool(self) -> Spool:
        return new_spool(self._core)
