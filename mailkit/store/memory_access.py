"""The access control lists of a store in memory: each mailbox has its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from mailkit.errors import NoSuchAccount, NoSuchMailbox
from mailkit.rights import (
    NEGATIVE,
    NO_RIGHTS,
    Grant,
    Rights,
    RightsOp,
    effective_rights,
    identifiers_of,
)
from mailkit.store.memory_mailbox import MemoryMailbox
from mailkit.store.sharing.records import (
    MAX_ACCOUNT_ENTRIES,
    MAX_SEEN,
    Seen,
    changed_entry,
    means_many,
)

if TYPE_CHECKING:
    from mailkit.store.memory import MemoryStore


class MemoryAccess:
    """See :class:`~mailkit.store.sharing.records.AccessRecords`; mailboxes are their own keys."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        #: Those with a list, so that few need be looked at to find what somebody may see.
        self._shared: dict[MemoryMailbox, None] = {}

    def find_mailbox(self, owner: str, mailbox: str) -> tuple[MemoryMailbox, Sequence[Grant]]:
        try:
            found = self._store.find(owner).get_mailbox(mailbox)
        except NoSuchAccount:
            found = None
        if found is None:
            raise NoSuchMailbox
        return found, self.get_entries(found)

    def get_entries(self, key: MemoryMailbox) -> Sequence[Grant]:
        if key.deleted:
            raise NoSuchMailbox
        return [Grant(identifier, rights) for identifier, rights in key.acl.items()]

    def get_name(self, key: MemoryMailbox) -> str | None:
        return None if key.deleted else key.name

    def list_seen(self, viewer: str) -> Sequence[Seen]:
        seen: list[Seen] = []
        if not self._shared:
            return seen
        identifiers = identifiers_of(viewer)
        for mailbox in [mailbox for mailbox in self._shared if mailbox.deleted]:
            del self._shared[mailbox]
        for mailbox in self._shared:
            owner = mailbox.account
            rights = effective_rights(self.get_entries(mailbox), identifiers)
            if rights and owner.name != viewer:
                seen.append(Seen(owner.name, owner.public, mailbox.info(), rights))
        return seen[:MAX_SEEN]

    async def open(self, owner: str, mailbox: str) -> MemoryMailbox:
        return self._store.find(owner).find_mailbox(mailbox)

    def is_public(self, account: str) -> bool:
        try:
            return self._store.find(account).public
        except NoSuchAccount:
            return False

    async def find_account(self, login: str) -> str | None:
        return await self._store.find_account(login)

    async def change_entry(
        self, key: MemoryMailbox, identifier: str, rights: Rights, op: RightsOp
    ) -> None:
        entries = self.get_entries(key)
        new = changed_entry(entries, identifier, rights, op, lambda: self.count(key.account.name))
        self.set(key, identifier, new)
        self._tell(identifier)

    def tell_viewers(self, identifiers: Iterable[str]) -> None:
        """Those who may see a mailbox of somebody else hear that its name has changed."""
        for identifier in list(identifiers):
            self._tell(identifier)

    def _tell(self, identifier: str) -> None:
        name = identifier.removeprefix(NEGATIVE)
        for account in self._store.accounts() if means_many(name) else ():
            account.names_changed()
        with suppress(NoSuchAccount):
            self._store.find(name).names_changed()

    def count(self, owner: str) -> int:
        """How many entries the lists of an account have together."""
        return sum(len(mailbox.acl) for mailbox in self._shared if mailbox.account.name == owner)

    def inherit(self, mailbox: MemoryMailbox, above: MemoryMailbox) -> None:
        """Give a new mailbox the list of the one above it (RFC 4314 section 4, CREATE)."""
        if self.count(mailbox.account.name) + len(above.acl) <= MAX_ACCOUNT_ENTRIES:
            for identifier, rights in above.acl.items():
                self.set(mailbox, identifier, rights)

    def set(self, mailbox: MemoryMailbox, identifier: str, rights: Rights) -> None:
        """Give an identifier these rights, or none."""
        mailbox.set_rights(identifier, rights)
        if mailbox.acl:
            self._shared[mailbox] = None
        else:
            self._shared.pop(mailbox, None)

    def forget(self, account: str) -> None:
        """The account is removed: one of the same name that comes later has none of its rights."""
        for mailbox in list(self._shared):
            for identifier in (account, NEGATIVE + account):
                if identifier in mailbox.acl:
                    self.set(mailbox, identifier, NO_RIGHTS)
