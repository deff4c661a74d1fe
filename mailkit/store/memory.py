"""A store in memory, for tests, demonstrations and throw-away servers: ``memory:``.

It keeps everything that the contracts offer, but no file: what it holds ends with the process. Its
methods never wait. Searching is left to the caller.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mailkit._typing import override
from mailkit.errors import (
    AccountExists,
    MailError,
    NoSuchAccount,
    PermissionDenied,
)
from mailkit.expiring import ExpiringMap
from mailkit.identity import Login
from mailkit.interfaces import (
    IAccessDirectory,
    IAccountHistory,
    IAdministratorDirectory,
    IAppPasswordDirectory,
    IDelegateAdmin,
    IDirectoryAdmin,
    IFileQuotaDirectory,
    IKeyValueStore,
    IMaildropDirectory,
    IMailStore,
    IMaskDirectory,
    IQueueingStore,
    IQuotaDirectory,
    IScramDirectory,
    ISecondFactorDirectory,
)
from mailkit.model import LocalDelivery, LocalResult, Path, Quota, Resolution
from mailkit.rights import ANYONE, Grant, Rights, RightsOp, total_order
from mailkit.spool import Spool
from mailkit.store import addresses
from mailkit.store.memory_access import MemoryAccess
from mailkit.store.memory_account import AccountLimits, FileLimits, MemoryAccount
from mailkit.store.memory_content import Content
from mailkit.store.memory_logins import AccountPasswords
from mailkit.store.memory_mailbox import Entries, MemoryMailbox
from mailkit.store.memory_maildrops import MemoryMaildrop, MemoryMaildrops
from mailkit.store.memory_metadata import MemoryMetadata
from mailkit.store.memory_queue import MemoryQueue
from mailkit.store.memory_scram import MemoryScram
from mailkit.store.naming import (
    canonical_name,
    capability_names,
)
from mailkit.store.sharing.names import SharingSettings
from mailkit.store.sharing.records import canonical_identifier
from mailkit.wire.domains import canonical_domain

#: Kept values of one kind.
MAX_VALUES = 200_000


@implementer(
    IMailStore,
    IAppPasswordDirectory,
    ISecondFactorDirectory,
    IScramDirectory,
    IDirectoryAdmin,
    IFileQuotaDirectory,
    IQuotaDirectory,
    IMaskDirectory,
    IMaildropDirectory,
    IAdministratorDirectory,
    IDelegateAdmin,
    IAccountHistory,
    IAccessDirectory,
    IKeyValueStore,
    IQueueingStore,
)
class MemoryStore(MemoryScram, MemoryMaildrops):
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
        super().__init__()
        self.sharing = sharing
        self.access = MemoryAccess(self)
        self.metadata = MemoryMetadata()
        self._seconds = time.time if clock is None else clock.seconds
        self._separator = separator
        self._ids = itertools.count(1)
        self._accounts: dict[str, MemoryAccount] = {}
        self._domains: set[str] = set()
        self._aliases: dict[str, list[str]] = {}
        self._delegates: set[tuple[str, str]] = set()
        self._values: dict[str, ExpiringMap[str, str]] = {}
        #: Limits of accounts that have none of their own.
        self.default_limits: AccountLimits = None, None, None
        self.default_file_limits: FileLimits = None, None
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

    def all_mailboxes(self) -> Iterator[MemoryMailbox]:
        """Those of all accounts."""
        for account in self._accounts.values():
            yield from account.mailboxes()

    def all_metadata(self) -> Iterator[Entries]:
        """Entries about all mailboxes of all accounts."""
        for mailbox in self.all_mailboxes():
            yield mailbox.metadata

    # IMailStore

    async def open_account(self, name: str) -> MemoryAccount:
        return self.find(name)

    def accounts(self) -> Sequence[MemoryAccount]:
        """All of them."""
        return list(self._accounts.values())

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

    # ILoginDirectory

    async def find_login(self, login: str) -> Login | None:
        name = await addresses.find_account(self, login)
        if name is None:
            return None
        account = self._accounts[name]
        return Login(name, account.password_hash, account.passwords.restricted)

    @override
    def find_passwords(self, account: str) -> AccountPasswords | None:
        found = self._accounts.get(account)
        return None if found is None else found.passwords

    @override
    def passwords_of(self, account: str) -> AccountPasswords:
        return self._account(account).passwords

    @override
    def password_accounts(self) -> Mapping[str, MemoryAccount]:
        return self._accounts

    @override
    def password_account(self, name: str) -> MemoryAccount:
        return self._account(name)

    @override
    async def login_address(self, login: str) -> str:
        address = await addresses.login_address(self, login)
        return address or addresses.canonical_local_part(login)

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
        self.metadata.forget(account.name, self.all_metadata())
        for mailbox in self.all_mailboxes():
            mailbox.annotations.forget(account.name)
        self._delegates = {(name, to) for name, to in self._delegates if name != account.name}
        for alias, targets in list(self._aliases.items()):
            if [addresses.canonical_local_part(target) for target in targets] == [account.name]:
                del self._aliases[alias]

    async def set_password_hash(self, account: str, password_hash: str | None) -> None:
        await self.set_password(account, password_hash, ())

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

    # IMaildropDirectory

    @override
    def find_maildrop(self, account: str) -> MemoryMaildrop:
        return self._account(account)

    @override
    def maildrops(self) -> Iterable[MemoryMaildrop]:
        return self._accounts.values()

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
        self,
        account: str | None,
        max_octets: int | None,
        max_messages: int | None,
        max_mailboxes: int | None = None,
    ) -> None:
        limits = max_octets, max_messages, max_mailboxes
        if account is None:
            self.default_limits = limits
        else:
            self._account(account).limits = limits

    async def get_own_limits(self, account: str | None) -> AccountLimits:
        return self.default_limits if account is None else self._account(account).limits

    # IFileQuotaDirectory

    async def get_file_quota(self, account: str) -> tuple[int | None, int | None]:
        octets, files = self._account(account).file_limits
        default_octets, default_files = self.default_file_limits
        return (
            default_octets if octets is None else octets,
            default_files if files is None else files,
        )

    async def set_file_quota(
        self, account: str | None, max_octets: int | None, max_files: int | None
    ) -> None:
        if account is None:
            self.default_file_limits = max_octets, max_files
        else:
            self._account(account).file_limits = max_octets, max_files

    # IAdministratorDirectory

    async def list_administrators(self) -> Sequence[str]:
        return sorted(name for name, account in self._accounts.items() if account.administrator)

    async def set_administrator(self, account: str, administrator: bool) -> None:
        self._account(account).administrator = administrator

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
        self.access.tell_viewers([ANYONE])

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
