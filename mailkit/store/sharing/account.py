"""The part of an account that is about others' mailboxes, and about who may use its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from mailkit.errors import InvalidMailboxName, NoSuchAccount, NoSuchMailbox, PermissionDenied
from mailkit.model import INBOX, MailboxInfo, OtherNamespaces
from mailkit.rights import (
    ALL_RIGHTS,
    NEGATIVE,
    NO_RIGHTS,
    VISIBLE_RIGHTS,
    Grant,
    ListedRights,
    Rights,
    RightsOp,
    effective_rights,
    identifiers_of,
    total_order,
)
from mailkit.store.naming import canonical_name, parents, sort_key
from mailkit.store.provided import AbstractProvider
from mailkit.store.sharing.mailbox import RestrictedMailbox
from mailkit.store.sharing.names import SharingSettings
from mailkit.store.sharing.records import (
    AccessRecords,
    Key,
    Place,
    canonical_identifier,
    may_not,
    means_many,
)

_NOT_OTHERS = "You may not do that with this mailbox"


class _Located(NamedTuple):
    """A mailbox that somebody has named."""

    key: Key
    owner: str
    #: What its owner calls it.
    mailbox: str
    rights: Rights
    entries: Sequence[Grant]


class SharingAccount(AbstractProvider):
    """Mixed into a store's account. Its own mailboxes go before others' of the same name."""

    name: str

    @property
    @abstractmethod
    def access_records(self) -> AccessRecords:
        """The store's access control lists."""

    @property
    @abstractmethod
    def sharing(self) -> SharingSettings:
        """The store's settings."""

    @abstractmethod
    def subscribed_names(self) -> Collection[str]:
        """The account's subscriptions, as they are now."""

    @abstractmethod
    async def open_owner(self, owner: str) -> Any:
        """The account of that name, as its owner has it.

        :raises NoSuchAccount: there is none.
        """

    @property
    def namespaces(self) -> OtherNamespaces:
        return self.sharing.namespaces

    # What others' mailboxes ask for.

    def rights_to(self, key: Key) -> Rights:
        """What the account may do in somebody else's mailbox now."""
        return effective_rights(self.access_records.get_entries(key), identifiers_of(self.name))

    def name_of(self, key: Key, default: str) -> str:
        """What this account calls somebody else's mailbox now."""
        split = self.sharing.split(default)
        mailbox = self.access_records.get_name(key)
        if mailbox is None or split is None:
            return default
        owner, public, _ = split
        return self.sharing.join(owner, public, mailbox)

    def to_info(self, info: MailboxInfo, name: str) -> MailboxInfo:
        """An owner's info, as this account is to see it."""
        # A client would take another's Sent for that of its user.
        subscribed = name in self.subscribed_names()
        return info._replace(name=name, special_use=None, subscribed=subscribed)

    def find_place(self, name: str) -> Place:
        """Where messages go that are put into a mailbox of that name.

        :raises MailError: there is no such mailbox, or nothing may be put there.
        """
        if not self.sharing.is_foreign(name):
            return Place(self.name, name, user=self.name)
        located = self._locate(name)
        if "i" not in located.rights:
            raise may_not(located.rights, "You may not put messages into that mailbox")
        return Place(located.owner, located.mailbox, located.rights, self.name)

    def _locate(self, name: str) -> _Located:
        """:raises NoSuchMailbox: there is none, or the account may not know of it."""
        records = self.access_records
        mailbox = canonical_name(name)
        split = self.sharing.split(name)
        try:
            key, entries = records.find_mailbox(self.name, mailbox)
        except NoSuchMailbox:
            if split is None:
                raise
        else:
            return _Located(key, self.name, mailbox, ALL_RIGHTS, entries)
        owner, public, mailbox = split
        if owner == self.name or records.is_public(owner) != public:
            raise NoSuchMailbox
        key, entries = records.find_mailbox(owner, mailbox)
        rights = effective_rights(entries, identifiers_of(self.name))
        if not rights & VISIBLE_RIGHTS:
            raise NoSuchMailbox
        return _Located(key, owner, mailbox, rights, entries)

    def is_others(self, name: str) -> bool:
        """Whether a name means a mailbox of somebody else, or none."""
        if not self.sharing.is_foreign(name):
            return False
        try:
            self.access_records.find_mailbox(self.name, canonical_name(name))
        except NoSuchMailbox:
            return True
        return False

    # Others' mailboxes.

    def list_others(self, own: Sequence[MailboxInfo]) -> Sequence[MailboxInfo]:
        """All mailboxes: those of the account itself, and those of others that it may see."""
        seen = self.access_records.list_seen(self.name)
        if not seen:
            return own
        names = {info.name for info in own}
        infos = []
        for owner, public, info, rights in seen:
            name = self.sharing.join(owner, public, info.name)
            if "l" not in rights or name in names:
                continue
            info = self.to_info(info, name)
            if "r" not in rights:
                # It cannot be selected, and how full it is is nobody else's business.
                info = MailboxInfo(
                    name, info.mailbox_id, 0, 0, 0, 0, 0, 0, 0, None, info.subscribed, False
                )
            infos.append(info)
        return sorted([*own, *infos], key=lambda info: sort_key(info.name))

    async def open_other(self, name: str) -> Any:
        """A mailbox that is not the account's own.

        :raises NoSuchMailbox: there is none, or the account may not know of it.
        """
        if not self.sharing.is_foreign(name):
            raise NoSuchMailbox
        located = self._locate(name)
        inner = await self.access_records.open(located.owner, located.mailbox)
        return RestrictedMailbox(inner, located.key, self, name)

    async def create_other(self, name: str, special_use: str | None) -> MailboxInfo:
        """Make a mailbox for somebody else.

        :raises PermissionDenied: there is no right to.
        """
        owner, mailbox = self._check_parent(name)
        if special_use is not None:
            raise PermissionDenied("Only its owner can give a mailbox a special use")
        account = await self.open_owner(owner)
        info: MailboxInfo = await account.create_mailbox(name=mailbox)
        return self.to_info(info, name)

    def _check_parent(self, name: str) -> tuple[str, str]:
        """Owner and name of a mailbox that is to be.

        :raises PermissionDenied: there is no right to make it.
        """
        split = self.sharing.split(name)
        if split is not None and self.access_records.is_public(split[0]) == split[1]:
            owner, _, mailbox = split
            # RFC 4314 section 4: "k" on the nearest existing parent, whether or not it may be seen.
            for parent in reversed(parents(mailbox)):
                try:
                    _, entries = self.access_records.find_mailbox(owner, parent)
                except NoSuchMailbox:
                    continue
                if "k" in effective_rights(entries, identifiers_of(self.name)):
                    return owner, mailbox
                break
        raise PermissionDenied("You may not make mailboxes there")

    async def delete_other(self, name: str) -> None:
        """Delete a mailbox of somebody else.

        :raises PermissionDenied: there is no right to.
        """
        located = self._need(name, "x")
        account = await self.open_owner(located.owner)
        await account.delete_mailbox(name=located.mailbox)

    async def rename_other(self, name: str, new_name: str) -> None:
        """Rename a mailbox where one of the names is somebody else's.

        :raises PermissionDenied: there is no right to.
        """
        located = self._need(name, "x")
        if not self.sharing.is_foreign(new_name):
            raise InvalidMailboxName("A mailbox cannot move to another user; copy its messages")
        owner, mailbox = self._check_parent(new_name)
        if owner != located.owner:
            raise InvalidMailboxName("A mailbox cannot move to another user; copy its messages")
        if located.mailbox == INBOX:
            raise PermissionDenied("You may not rename the INBOX of somebody else")
        account = await self.open_owner(owner)
        await account.rename_mailbox(name=located.mailbox, new_name=mailbox)

    def _need(self, name: str, right: str) -> _Located:
        located = self._locate(name)
        if right not in located.rights:
            raise may_not(located.rights, _NOT_OTHERS)
        return located

    # IAccessControl

    async def get_acl(self, name: str) -> Sequence[Grant]:
        located = self._need(name, "a")
        return [Grant(located.owner, ALL_RIGHTS), *total_order(located.entries)]

    async def set_acl(self, name: str, identifier: str, rights: Rights, op: RightsOp) -> None:
        located = self._need(name, "a")
        known = await canonical_identifier(self.access_records, identifier)
        if known == located.owner and op.apply(ALL_RIGHTS, rights) == ALL_RIGHTS:
            return
        if known.removeprefix(NEGATIVE) == located.owner:
            raise PermissionDenied("The owner of a mailbox always has all rights")
        if op is not RightsOp.REMOVE and rights and not self._may_mean(located.owner, known):
            raise PermissionDenied("Only an administrator can share with everybody")
        await self.access_records.change_entry(located.key, known, rights, op)

    async def delete_acl(self, name: str, identifier: str) -> None:
        located = self._need(name, "a")
        known = identifier
        if not any(entry.identifier == identifier for entry in located.entries):
            known = await canonical_identifier(self.access_records, identifier)
        if known == located.owner:
            raise PermissionDenied("The owner of a mailbox always has all rights")
        await self.access_records.change_entry(located.key, known, NO_RIGHTS, RightsOp.REPLACE)

    async def list_rights(self, name: str, identifier: str) -> ListedRights:
        located = self._need(name, "a")
        try:
            known = await canonical_identifier(self.access_records, identifier)
        except NoSuchAccount:
            return ListedRights(NO_RIGHTS, NO_RIGHTS)
        if known == located.owner:
            return ListedRights(ALL_RIGHTS, NO_RIGHTS)
        if known == NEGATIVE + located.owner or not self._may_mean(located.owner, known):
            return ListedRights(NO_RIGHTS, NO_RIGHTS)
        return ListedRights(NO_RIGHTS, ALL_RIGHTS)

    async def my_rights(self, name: str) -> Rights:
        return self._locate(name).rights

    def _may_mean(self, owner: str, identifier: str) -> bool:
        """Whether rights in an owner's mailboxes may be given to that many."""
        return (
            not means_many(identifier)
            or self.sharing.anyone
            or self.access_records.is_public(owner)
        )
