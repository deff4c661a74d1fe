"""A store in memory, for tests, demonstrations and throw-away servers: ``memory:``.

It keeps everything that the contracts offer, but no file: what it holds ends with the process. Its
methods never wait. Searching is left to the caller.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Sequence

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mailkit._typing import override
from mailkit.errors import (
    AccountExists,
    InvalidMailboxName,
    LimitExceeded,
    MailboxExists,
    MailboxHasChildren,
    MailError,
    NoSuchAccount,
    NoSuchMailbox,
    PermissionDenied,
)
from mailkit.expiring import ExpiringMap
from mailkit.interfaces import (
    IAccessControl,
    IAccessDirectory,
    IAccountHistory,
    ICapabilityMask,
    IDelegateAdmin,
    IDirectory,
    IDirectoryAdmin,
    IKeyValueStore,
    IMailAccount,
    IMailbox,
    IMailboxAdmin,
    IMailStore,
    IMaskDirectory,
    IObjectIdentifiers,
    IQueueingStore,
    IQuotaDirectory,
)
from mailkit.model import (
    INBOX,
    NEW_ACCOUNT_MAILBOXES,
    SEPARATOR,
    LocalDelivery,
    LocalResult,
    MailboxInfo,
    Path,
    Quota,
    Resolution,
)
from mailkit.rights import Grant, Rights, RightsOp, total_order
from mailkit.sorting import read_sort_values
from mailkit.spool import Spool
from mailkit.store import addresses
from mailkit.store.memory_access import MemoryAccess
from mailkit.store.memory_mailbox import Content, MemoryMailbox
from mailkit.store.memory_queue import MemoryQueue
from mailkit.store.naming import (
    canonical_name,
    capability_names,
    is_child,
    moved_name,
    parents,
    sort_key,
    validate_name,
)
from mailkit.store.sharing.account import SharingAccount
from mailkit.store.sharing.names import SharingSettings
from mailkit.store.sharing.records import AccessRecords, Place, canonical_identifier
from mailkit.threads import thread_keys
from mailkit.wire.domains import canonical_domain

#: Mailboxes, and subscribed names, of one account.
MAX_MAILBOXES = 10_000
#: Kept values of one kind.
MAX_VALUES = 200_000


@implementer(IMailAccount, IMailboxAdmin, IObjectIdentifiers, ICapabilityMask, IAccessControl)
class MemoryAccount(SharingAccount):
    """One account of a :class:`MemoryStore`."""

    def __init__(self, store: MemoryStore, name: str, password_hash: str | None = None) -> None:
        self.name = name
        self.password_hash = password_hash
        #: Octets and messages that it may have; 0 for no limit, None for that of all accounts.
        self.limits: tuple[int | None, int | None] = None, None
        self.imap_without: tuple[str, ...] = ()
        self.created = store.now()
        #: Its mailboxes are in the shared namespace.
        self.public = False
        self._store = store
        self._mailboxes: dict[str, MemoryMailbox] = {}
        self._subscriptions: set[str] = set()
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

    def quota(self) -> Quota:
        """What there is in all mailboxes, and what there may be."""
        mailboxes = self._mailboxes.values()
        limits = [
            (default if own is None else own) or None
            for own, default in zip(self.limits, self._store.default_limits, strict=True)
        ]
        return Quota(
            sum(mailbox.size for mailbox in mailboxes),
            sum(mailbox.messages for mailbox in mailboxes),
            *limits,
        )

    def is_subscribed(self, name: str) -> bool:
        return name in self._subscriptions

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
        return self._add_mailbox(name, special_use).info()

    async def delete_mailbox(self, name: str) -> None:
        name = canonical_name(name)
        if self.is_others(name):
            await self.delete_other(name)
            return
        mailbox = self._mailboxes.get(name)
        if mailbox is None:
            raise NoSuchMailbox
        if name == INBOX:
            raise PermissionDenied("INBOX cannot be deleted")
        if any(is_child(other, name) for other in self._mailboxes):
            # RFC 3501 section 6.3.4: the name stays for those below it.
            if not mailbox.selectable:
                raise MailboxHasChildren
            self._add_mailbox(name).selectable = False
        else:
            del self._mailboxes[name]
        mailbox.forget()

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
            self._add_mailbox(new_name)
            inbox = self._mailboxes[INBOX]
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

    async def subscribe(self, name: str) -> None:
        name = validate_name(name)
        if len(self._subscriptions) >= MAX_MAILBOXES and name not in self._subscriptions:
            raise LimitExceeded(f"An account has at most {MAX_MAILBOXES} subscriptions")
        self._subscriptions.add(name)

    async def unsubscribe(self, name: str) -> None:
        self._subscriptions.discard(canonical_name(name))

    async def list_subscriptions(self) -> Sequence[str]:
        return sorted(self._subscriptions, key=sort_key)

    def _make_room(self, name: str, new: int = 1) -> None:
        """Make the levels above a name, if they and so many new mailboxes fit."""
        missing = [parent for parent in parents(name) if parent not in self._mailboxes]
        if len(self._mailboxes) + len(missing) + new > MAX_MAILBOXES:
            raise LimitExceeded(f"An account has at most {MAX_MAILBOXES} mailboxes")
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
        return mailbox

    def forget(self) -> None:
        """The account is removed, with all its mail."""
        for mailbox in self._mailboxes.values():
            mailbox.forget()
        self._mailboxes.clear()


@implementer(
    IMailStore,
    IDirectory,
    IDirectoryAdmin,
    IQuotaDirectory,
    IMaskDirectory,
    IDelegateAdmin,
    IAccountHistory,
    IAccessDirectory,
    IKeyValueStore,
    IQueueingStore,
)
class MemoryStore:
    """Accounts, their mail and the directory, all in memory.

    :param clock: source of time; the system's when None.
    :param separator: between user and detail of a sub-address; empty for none.
    :param sharing: how mailboxes are shown that accounts share.
    """

    def __init__(
        self,
        clock: IReactorTime | None = None,
        *,
        separator: str = "+",
        sharing: SharingSettings = SharingSettings(),  # noqa: B008
    ) -> None:
        self.sharing = sharing
        self.access = MemoryAccess(self)
        self._seconds = time.time if clock is None else clock.seconds
        self._separator = separator
        self._ids = itertools.count(1)
        self._accounts: dict[str, MemoryAccount] = {}
        self._domains: set[str] = set()
        self._aliases: dict[str, list[str]] = {}
        self._delegates: set[tuple[str, str]] = set()
        self._values: dict[str, ExpiringMap[str, str]] = {}
        #: Limits of accounts that have none of their own.
        self.default_limits: tuple[int | None, int | None] = None, None
        self.queue = MemoryQueue(self.now, self._deliver_all)

    def now(self) -> int:
        """Seconds since the epoch."""
        return int(self._seconds())

    def new_id(self, kind: str) -> str:
        """An identifier that this store never gives again (RFC 8474 section 4)."""
        return f"{kind}{next(self._ids)}"

    def new_content(self, spool: Spool) -> Content:
        """The octets of a spool, with an identifier of their own."""
        return Content(spool, self.new_id("M"))

    # IMailStore

    async def open_account(self, name: str) -> MemoryAccount:
        return self.find(name)

    def find(self, name: str) -> MemoryAccount:
        """:raises NoSuchAccount: there is no such account."""
        if (account := self._accounts.get(name)) is None:
            raise NoSuchAccount
        return account

    async def deliver(
        self, message: Spool, deliveries: Sequence[LocalDelivery]
    ) -> Sequence[LocalResult]:
        return self._deliver_all(message, deliveries)

    def _deliver_all(
        self, message: Spool, deliveries: Sequence[LocalDelivery]
    ) -> list[LocalResult]:
        content = self.new_content(message)
        return [self._deliver(content, delivery) for delivery in deliveries]

    def _deliver(self, content: Content, delivery: LocalDelivery) -> LocalResult:
        account = self._accounts.get(delivery.account)
        if account is None:
            return LocalResult(error=NoSuchAccount())
        try:
            mailbox = account.find_delivery_mailbox(delivery)
            (uid,) = mailbox.add([(content, delivery.flags, None)])
        except MailError as error:
            return LocalResult(error=error)
        return LocalResult(mailbox.uid_validity, uid)

    async def close(self) -> None:
        """There is nothing to flush and nothing to release."""

    # IDirectory

    async def resolve(self, path: Path) -> Resolution:
        return await addresses.resolve(self, path, separator=self._separator)

    async def owns_address(self, account: str, path: Path) -> bool:
        return await addresses.owns_address(self, account, path, separator=self._separator)

    async def find_account(self, login: str) -> str | None:
        return await addresses.find_account(self, login)

    async def get_creation_time(self, account: str) -> int | None:
        found = self._accounts.get(account)
        return None if found is None else found.created

    async def get_password_hash(self, account: str) -> str | None:
        found = self._accounts.get(account)
        return None if found is None else found.password_hash

    # addresses.AddressBook

    async def is_domain(self, domain: str) -> bool:
        return domain in self._domains

    async def find_address(self, address: str) -> str | None:
        return address if address in self._accounts else None

    async def find_alias(self, address: str) -> Sequence[str] | None:
        return self._aliases.get(address)

    async def is_delegate(self, account: str, address: str) -> bool:
        return (account, address) in self._delegates

    async def first_account(self) -> str | None:
        return next(iter(self._accounts), None)

    # IDirectoryAdmin

    async def list_domains(self) -> Sequence[str]:
        return sorted(self._domains)

    async def add_domain(self, domain: str) -> None:
        domain = addresses.valid_domain(domain)
        if domain in self._domains:
            raise AccountExists
        self._domains.add(domain)

    async def remove_domain(self, domain: str) -> None:
        domain = canonical_domain(domain)
        if domain not in self._domains:
            raise NoSuchAccount("That domain is not served here")
        if any(name.endswith("@" + domain) for name in (*self._accounts, *self._aliases)):
            raise PermissionDenied("There are accounts or aliases in that domain")
        self._domains.remove(domain)

    async def list_accounts(self) -> Sequence[str]:
        return sorted(self._accounts)

    async def add_account(self, name: str, password_hash: str | None = None) -> None:
        name = addresses.canonical_address(name)
        if name in self._accounts or name in self._aliases:
            raise AccountExists
        self._accounts[name] = MemoryAccount(self, name, password_hash)
        self._domains.add(name.rpartition("@")[2])

    async def remove_account(self, name: str) -> None:
        account = self._account(name)
        del self._accounts[account.name]
        account.forget()
        self.access.forget(account.name)
        self._delegates = {(name, to) for name, to in self._delegates if name != account.name}
        for alias, targets in list(self._aliases.items()):
            if [addresses.canonical_local_part(target) for target in targets] == [account.name]:
                del self._aliases[alias]

    async def set_password_hash(self, account: str, password_hash: str | None) -> None:
        self._account(account).password_hash = password_hash

    async def list_aliases(self) -> Sequence[tuple[str, Sequence[str]]]:
        return sorted((alias, tuple(targets)) for alias, targets in self._aliases.items())

    async def add_alias(self, alias: str, targets: Sequence[str]) -> None:
        alias = addresses.canonical_alias(alias)
        if alias.rpartition("@")[2] not in self._domains:
            raise NoSuchAccount("The alias's domain is not served here; add the domain first")
        if alias in self._accounts or alias in self._aliases:
            raise AccountExists
        self._aliases[alias] = addresses.canonical_targets(alias, targets)

    async def remove_alias(self, alias: str) -> None:
        if self._aliases.pop(addresses.canonical_alias(alias), None) is None:
            raise NoSuchAccount("No such alias")

    # IMaskDirectory

    async def get_imap_without(self, account: str) -> Sequence[str]:
        return self._account(account).imap_without

    async def set_imap_without(self, account: str, names: Collection[str]) -> None:
        self._account(account).imap_without = capability_names(names)

    # IDelegateAdmin

    async def list_delegates(self) -> Sequence[tuple[str, str]]:
        return sorted(self._delegates)

    async def add_delegate(self, account: str, address: str) -> None:
        entry = self._account(account).name, addresses.canonical_alias(address)
        if entry in self._delegates:
            raise AccountExists(addresses.DELEGATE_EXISTS)
        self._delegates.add(entry)

    async def remove_delegate(self, account: str, address: str) -> None:
        entry = self._account(account).name, addresses.canonical_alias(address)
        if entry not in self._delegates:
            raise NoSuchAccount(addresses.NO_DELEGATE)
        self._delegates.remove(entry)

    # IQuotaDirectory

    async def get_quota(self, account: str) -> Quota:
        return (await self.open_account(account)).quota()

    async def check_quota(self, account: str, octets: int) -> None:
        (await self.get_quota(account)).check(octets)

    async def set_quota(
        self, account: str | None, max_octets: int | None, max_messages: int | None
    ) -> None:
        if account is None:
            self.default_limits = max_octets, max_messages
        else:
            self._account(account).limits = max_octets, max_messages

    # IAccessDirectory

    async def get_acl(self, account: str, mailbox: str) -> Sequence[Grant]:
        name = self._account(account).name
        return total_order(self.access.find_mailbox(name, canonical_name(mailbox))[1])

    async def set_acl(
        self, account: str, mailbox: str, identifier: str, rights: Rights, op: RightsOp
    ) -> None:
        owner = self._account(account).name
        key, _ = self.access.find_mailbox(owner, canonical_name(mailbox))
        known = await canonical_identifier(self, identifier)
        await self.access.change_entry(key, known, rights, op)

    async def list_public(self) -> Sequence[str]:
        return sorted(name for name, account in self._accounts.items() if account.public)

    async def set_public(self, account: str, public: bool) -> None:
        self._account(account).public = public

    # IKeyValueStore

    async def get_value(self, kind: str, key: str) -> str | None:
        values = self._values.get(kind)
        return None if values is None else values.get(key)

    async def set_value(self, kind: str, key: str, value: str, seconds: float) -> None:
        values = self._values.get(kind)
        if values is None:
            values = self._values[kind] = ExpiringMap(MAX_VALUES, self._seconds)
        values.set(key, value, seconds)

    def _account(self, name: str) -> MemoryAccount:
        """The account that an administrator means."""
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts.get(addresses.canonical_address(name))
        if account is None:
            raise NoSuchAccount
        return account
