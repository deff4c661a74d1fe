"""Entries about mailboxes and the server (RFC 5464) of a store in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import NoSuchMailbox
from mailkit.store.memory_mailbox import Entries, MemoryMailbox
from mailkit.store.metadata import SHARED, SPECIAL_USE, MetadataWatchers, check_room

if TYPE_CHECKING:
    from mailkit.store.memory import MemoryStore
    from mailkit.store.memory_account import MemoryAccount


class MemoryMetadata:
    """Entries about the server, and those who watch entries of any kind."""

    def __init__(self) -> None:
        self.server: Entries = {}
        self.watchers = MetadataWatchers()

    def forget(self, user: str, places: Iterable[Entries]) -> None:
        """The account is removed: one of the same name that comes later has none of its entries.

        :param places: entries about mailboxes.
        """
        for entries in (self.server, *places):
            entries.pop(user, None)


class AccountMetadata:
    """See :class:`~mailkit.store.metadata.MetadataRecords`; mailboxes are their own keys."""

    def __init__(self, store: MemoryStore, account: MemoryAccount) -> None:
        self._store = store
        self._account = account

    def _entries(self, key: MemoryMailbox | None) -> Entries:
        if key is None:
            return self._store.metadata.server
        if key.deleted:
            raise NoSuchMailbox
        return key.metadata

    def read(self, key: MemoryMailbox | None) -> Mapping[str, bytes]:
        entries = self._entries(key)
        return {**entries.get(None, {}), **entries.get(self._account.name, {})}

    def get_special_use(self, key: MemoryMailbox) -> str | None:
        return key.special_use

    async def write(
        self, key: MemoryMailbox | None, entries: Mapping[str, bytes | None]
    ) -> Sequence[str]:
        there = self._entries(key)
        scopes: list[tuple[str | None, dict[str, bytes | None]]] = []
        for user, shared in ((None, True), (self._account.name, False)):
            changes = {
                entry: value
                for entry, value in entries.items()
                if entry.startswith(SHARED) is shared and entry != SPECIAL_USE
            }
            sizes = {entry: len(value) for entry, value in there.get(user, {}).items()}
            check_room(sizes, self._count_octets(key, user), changes)
            scopes.append((user, changes))
        for user, changes in scopes:
            put_entries(there, user, changes)
        if SPECIAL_USE in entries and key is not None:
            return self._change_use(key, entries[SPECIAL_USE])
        return ()

    def _count_octets(self, key: MemoryMailbox | None, user: str | None) -> int:
        if user is not None:
            counted = [self._store.metadata.server, *self._store.all_metadata()]
        elif key is not None:
            counted = [mailbox.metadata for mailbox in key.account.mailboxes()]
        else:
            counted = [self._store.metadata.server]
        return sum(
            len(entry) + len(value)
            for entries in counted
            for entry, value in entries.get(user, {}).items()
        )

    def _change_use(self, key: MemoryMailbox, value: bytes | None) -> Sequence[str]:
        use = None if value is None else value.decode("ascii")
        bereft = take_use(key.account, use, key)
        key.special_use = use
        return bereft

    def copy(self, source: MemoryMailbox, target: MemoryMailbox) -> None:
        """Give a mailbox the entries of another one (RFC 5464 section 4.1).

        :raises TooManyEntries: there is no room for all.
        """
        for user in (None, self._account.name):
            entries = dict(source.metadata.get(user, {}))
            check_room({}, self._count_octets(target, user), entries)
            put_entries(target.metadata, user, entries)


def put_entries(there: Entries, user: str | None, entries: Mapping[str, bytes | None]) -> None:
    """Write or remove entries of one user."""
    own = there.setdefault(user, {})
    for entry, value in entries.items():
        if value is None:
            own.pop(entry, None)
        else:
            own[entry] = value
    if not own:
        del there[user]


def take_use(
    account: MemoryAccount, use: str | None, but: MemoryMailbox | None = None
) -> Sequence[str]:
    """Take a special use from the mailboxes that have it, as another one is to have it.

    :param but: that one, if it is there already.
    :returns: their names.
    """
    bereft = []
    for mailbox in account.mailboxes():
        if use is not None and mailbox.special_use == use and mailbox is not but:
            mailbox.special_use = None
            bereft.append(mailbox.name)
    return bereft
