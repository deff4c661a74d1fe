"""One account of the store in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from zope.interface import implementer

from mailkit._typing import override
from mailkit.errors import (
    InvalidMailboxName,
    LimitExceeded,
    MailboxExists,
    MailboxHasChildren,
    MailError,
    NoSuchMailbox,
)
from mailkit.interfaces import (
    IAccessControl,
    IAnnotatingAccount,
    ICapabilityMask,
    IFetchMemory,
    ILabellingAccount,
    IMailAccount,
    IMailbox,
    IMailboxAdmin,
    IMaildropAccount,
    IMetadataAccount,
    IQuotaAdmin,
    IURLKeys,
    IWatchableAccount,
)
from mailkit.model import (
    INBOX,
    NEW_ACCOUNT_MAILBOXES,
    SEPARATOR,
    LocalDelivery,
    MailboxInfo,
    Quota,
)
from mailkit.sorting import read_sort_values
from mailkit.spool import Spool
from mailkit.store.memory_content import Content
from mailkit.store.memory_fetched import MemoryFetched
from mailkit.store.memory_keys import MemoryKeys
from mailkit.store.memory_logins import AccountPasswords
from mailkit.store.memory_mailbox import MemoryMailbox
from mailkit.store.memory_maildrops import MemoryMaildrop
from mailkit.store.memory_metadata import AccountMetadata, take_use
from mailkit.store.metadata import MetadataAccount, MetadataWatchers
from mailkit.store.naming import (
    canonical_name,
    is_child,
    moved_name,
    parents,
    sort_key,
    validate_name,
)
from mailkit.store.sharing.names import SharingSettings
from mailkit.store.sharing.records import AccessRecords, Place
from mailkit.threads import thread_keys

if TYPE_CHECKING:
    from mailkit.store.memory import MemoryStore

#: Mailboxes, and subscribed names, of one account.
MAX_MAILBOXES = 10_000

#: Octets, messages and mailboxes that an account may have.
AccountLimits = tuple["int | None", "int | None", "int | None"]
#: Octets of its files, and files and directories.
FileLimits = tuple["int | None", "int | None"]


@implementer(
    IMailAccount,
    IMailboxAdmin,
    ILabellingAccount,
    ICapabilityMask,
    IAccessControl,
    IQuotaAdmin,
    IMetadataAccount,
    IURLKeys,
    IWatchableAccount,
    IFetchMemory,
    IMaildropAccount,
    IAnnotatingAccount,
)
class MemoryAccount(MemoryKeys, MemoryFetched, MemoryMaildrop, MetadataAccount):
    """One account of a :class:`MemoryStore`."""

    def __init__(self, store: MemoryStore, name: str, password_hash: str | None = None) -> None:
        MemoryKeys.__init__(self)
        MemoryFetched.__init__(self)
        self.name = name
        self.password_hash = password_hash
        self.passwords = AccountPasswords()
        #: Octets, messages, mailboxes that it may have; 0 for no limit, None for that of all accounts.
        self.limits: AccountLimits = None, None, None
        self.file_limits: FileLimits = None, None
        self.administrator = False
        self.imap_without: tuple[str, ...] = ()
        self.created = store.now()
        #: Its mailboxes are in the shared namespace.
        self.public = False
        self._store = store
        self._mailboxes: dict[str, MemoryMailbox] = {}
        self._subscriptions: set[str] = set()
        self._watchers: dict[object, Callable[[], None]] = {}
        self._modseqs = itertools.count(1)
        self._last_uid_validity = 0
        #: Name of the conversation that each key leads to.
        self._threads: dict[int, str] = {}
        for mailbox, special_use in NEW_ACCOUNT_MAILBOXES.items():
            self._add_mailbox(mailbox, special_use)
            self._subscriptions.add(mailbox)

    # What others' mailboxes need.

    @property
    @override
    def access_records(self) -> AccessRecords:
        return self._store.access

    @property
    @override
    def sharing(self) -> SharingSettings:
        return self._store.sharing

    @override
    def subscribed_names(self) -> Collection[str]:
        return self._subscriptions

    @override
    async def open_owner(self, owner: str) -> MemoryAccount:
        return await self._store.open_account(owner)

    @override
    def get_mailbox(self, name: str) -> MemoryMailbox | None:
        """The mailbox of that canonical name, or the name that only stands above others."""
        return self._mailboxes.get(name)

    # What mailboxes ask for.

    def find_target(self, place: Place) -> MemoryMailbox:
        """The mailbox of any account where messages are to go."""
        account = self if place.account == self.name else self._store.find(place.account)
        return account.find_mailbox(place.mailbox)

    def next_modseq(self) -> int:
        """A modification sequence higher than all before."""
        return next(self._modseqs)

    @override
    def now(self) -> int:
        """Seconds since the epoch."""
        return self._store.now()

    def new_content(self, spool: Spool) -> Content:
        """The octets of a spool, with an identifier of their own."""
        return self._store.new_content(spool)

    def thread_of(self, content: Content) -> str:
        """Name of the conversation that a message belongs to."""
        values = read_sort_values(content.summary(False).header)
        keys = thread_keys(values.subject_id, values.ids)
        found = [self._threads[key] for key in keys if key in self._threads]
        # Where a message joins two conversations, what has a name keeps it.
        thread = min(found) if found else "T" + content.email_id[1:]
        for key in keys:
            self._threads.setdefault(key, thread)
        return thread

    def count_annotations(self, owner: str | None) -> int:
        """Octets of all annotations of a user, or of the shared ones in this account's mailboxes."""
        counted = self.mailboxes() if owner is None else self._store.all_mailboxes()
        return sum(mailbox.annotations.octets(owner) for mailbox in counted)

    def quota(self) -> Quota:
        """What there is in all mailboxes, and what there may be."""
        mailboxes = self._mailboxes.values()
        max_octets, max_messages, max_mailboxes = (
            (default if own is None else own) or None
            for own, default in zip(self.limits, self._store.default_limits, strict=True)
        )
        return Quota(
            sum(mailbox.size for mailbox in mailboxes),
            sum(mailbox.messages for mailbox in mailboxes),
            max_octets,
            max_messages,
            sum(mailbox.selectable for mailbox in mailboxes),
            max_mailboxes,
        )

    def is_subscribed(self, name: str) -> bool:
        return name in self._subscriptions

    @override
    def find_mailbox(self, name: str) -> MemoryMailbox:
        """The selectable mailbox of that name.

        :raises NoSuchMailbox: there is none.
        """
        mailbox = self._mailboxes.get(canonical_name(name))
        if mailbox is None or not mailbox.selectable:
            raise NoSuchMailbox
        return mailbox

    def find_delivery_mailbox(self, delivery: LocalDelivery) -> MemoryMailbox:
        """Where a delivery goes: by special use, by name, or else to INBOX."""
        if delivery.special_use is not None:
            for name in sorted(self._mailboxes):
                mailbox = self._mailboxes[name]
                if mailbox.selectable and mailbox.special_use == delivery.special_use:
                    return mailbox
        try:
            return self.find_mailbox(delivery.mailbox)
        except NoSuchMailbox:
            return self.find_mailbox(INBOX)

    # The contracts.

    async def list_mailboxes(self) -> Sequence[MailboxInfo]:
        names = sorted(self._mailboxes, key=sort_key)
        return self.list_others([self._mailboxes[name].info() for name in names])

    async def open_mailbox(self, name: str) -> IMailbox:
        if self.is_others(name):
            other: IMailbox = await self.open_other(name)
            return other
        return self.find_mailbox(name)

    async def create_mailbox(self, name: str, special_use: str | None = None) -> MailboxInfo:
        name = validate_name(name)
        if self.sharing.is_foreign(name):
            return await self.create_other(name, special_use)
        known = self._mailboxes.get(name)
        if known is not None and known.selectable:
            raise MailboxExists
        self._make_room(name)
        # RFC 6154 section 3: this may have the effect of moving the special use.
        bereft = take_use(self, special_use)
        info = self._add_mailbox(name, special_use).info()
        self.tell_bereft(bereft)
        return info

    async def delete_mailbox(self, name: str) -> None:
        name = canonical_name(name)
        if self.is_others(name):
            await self.delete_other(name)
            return
        mailbox = self._mailboxes.get(name)
        if mailbox is None:
            raise NoSuchMailbox
        if name == INBOX:
            raise InvalidMailboxName("INBOX cannot be deleted")
        if any(is_child(other, name) for other in self._mailboxes):
            # RFC 3501 section 6.3.4: the name stays for those below it.
            if not mailbox.selectable:
                raise MailboxHasChildren
            self._add_mailbox(name).selectable = False
        else:
            del self._mailboxes[name]
        viewers = list(mailbox.acl)
        mailbox.forget()
        self.names_changed()
        self._store.access.tell_viewers(viewers)

    async def rename_mailbox(self, name: str, new_name: str) -> None:
        name = canonical_name(name)
        new_name = validate_name(new_name)
        if self.sharing.is_foreign(new_name) or self.is_others(name):
            await self.rename_other(name, new_name)
            return
        if name not in self._mailboxes:
            raise NoSuchMailbox
        if new_name in self._mailboxes:
            raise MailboxExists
        if name == INBOX:
            # RFC 3501 section 6.3.5: its messages move, the mailboxes below it stay.
            self._make_room(new_name)
            inbox, target = self._mailboxes[INBOX], self._add_mailbox(new_name)
            try:
                self.metadata_records.copy(inbox, target)
            except MailError:
                del self._mailboxes[new_name]
                raise
            await inbox.move_messages(uids=await inbox.list_uids(), destination=new_name)
            return
        if is_child(new_name, name):
            raise InvalidMailboxName("A mailbox cannot move below itself")
        old_names = [known for known in self._mailboxes if known == name or is_child(known, name)]
        new_names = [validate_name(moved_name(old, name, new_name)) for old in old_names]
        self._make_room(new_name, new=0)
        for old, new in zip(old_names, new_names, strict=True):
            mailbox = self._mailboxes[new] = self._mailboxes.pop(old)
            mailbox.name = new
            self._store.access.tell_viewers(mailbox.acl)
        self.names_changed()

    async def subscribe(self, name: str) -> None:
        name = validate_name(name)
        if len(self._subscriptions) >= MAX_MAILBOXES and name not in self._subscriptions:
            raise LimitExceeded(f"An account has at most {MAX_MAILBOXES} subscriptions")
        self._subscriptions.add(name)
        self.names_changed()

    async def unsubscribe(self, name: str) -> None:
        self._subscriptions.discard(canonical_name(name))
        self.names_changed()

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        token = object()
        self._watchers[token] = callback

        def end() -> None:
            self._watchers.pop(token, None)

        return end

    def names_changed(self) -> None:
        """Tell those who watch: there are other names, or some may be seen by others than before."""
        for callback in list(self._watchers.values()):
            callback()

    async def list_subscriptions(self) -> Sequence[str]:
        return sorted(self._subscriptions, key=sort_key)

    # What entries need.

    @property
    @override
    def metadata_records(self) -> AccountMetadata:
        return AccountMetadata(self._store, self)

    @property
    @override
    def metadata_watchers(self) -> MetadataWatchers:
        return self._store.metadata.watchers

    def mailboxes(self) -> Iterator[MemoryMailbox]:
        """All of them, selectable or not."""
        return iter(self._mailboxes.values())

    # What quotas need.

    inherent_mailboxes = MAX_MAILBOXES

    @override
    def is_administrator(self) -> bool:
        return self.administrator

    @override
    async def read_quota(self, account: str) -> Quota:
        return await self._store.get_quota(account=account)

    @override
    async def write_quota(
        self, account: str, max_octets: int, max_messages: int, max_mailboxes: int
    ) -> None:
        await self._store.set_quota(account, max_octets, max_messages, max_mailboxes)

    def _make_room(self, name: str, new: int = 1) -> None:
        """Make the levels above a name, if they and so many new mailboxes fit."""
        missing = [parent for parent in parents(name) if parent not in self._mailboxes]
        new += len(missing)
        if new and len(self._mailboxes) + new > MAX_MAILBOXES:
            raise LimitExceeded(f"An account has at most {MAX_MAILBOXES} mailboxes")
        if new:
            self.quota().check_mailboxes(new)
        for parent in missing:
            self._add_mailbox(parent)

    def _add_mailbox(self, name: str, special_use: str | None = None) -> MemoryMailbox:
        # RFC 3501 section 2.3.1.1: greater than any that the name ever had.
        self._last_uid_validity = max(self._last_uid_validity + 1, self.now() & 0xFFFFFFFF)
        mailbox = self._mailboxes[name] = MemoryMailbox(
            self, name, self._store.new_id("F"), self._last_uid_validity, special_use
        )
        above = self._mailboxes.get(name.rpartition(SEPARATOR)[0])
        if above is not None and above.acl:
            self._store.access.inherit(mailbox, above)
            self._store.access.tell_viewers(mailbox.acl)
        self.names_changed()
        return mailbox

    def forget(self) -> None:
        """The account is removed, with all its mail."""
        viewers = [name for mailbox in self._mailboxes.values() for name in mailbox.acl]
        for mailbox in self._mailboxes.values():
            mailbox.forget()
        self._mailboxes.clear()
        self._store.access.tell_viewers(dict.fromkeys(viewers))
