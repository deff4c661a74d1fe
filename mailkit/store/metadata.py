"""The part of an account that keeps entries about mailboxes and about the server (RFC 5464)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from mailkit.errors import EntryTooLarge, MailError, PermissionDenied, TooManyEntries
from mailkit.model import MetadataChange
from mailkit.rights import Rights
from mailkit.store.naming import canonical_name
from mailkit.store.quotas import ONLY_ADMINISTRATORS, QuotaRootAccount
from mailkit.store.sharing.account import SharingAccount
from mailkit.store.sharing.records import Key

#: Entries about one mailbox, or about the server: so many are shared, and each user has so many.
MAX_ENTRIES = 100
#: Octets of a value.
MAX_VALUE = 64 * 1024
#: Octets of a user's private entries, and of the shared ones about a user's mailboxes.
MAX_OCTETS = 4 * 1024 * 1024

#: What the names of entries begin with.
PRIVATE = "/private/"
SHARED = "/shared/"
#: RFC 6154 section 4: the special use of a mailbox as an entry.
SPECIAL_USE = "/private/specialuse"


def check_room(there: Mapping[str, int], octets: int, changes: Mapping[str, bytes | None]) -> None:
    """Whether entries may be changed.

    :param there: octets of the present values, by entry, of the same mailbox and user.
    :param octets: of all entries that count together with these.
    :raises EntryTooLarge: a value has too many octets.
    :raises TooManyEntries: there would be too many, or too many octets of all.
    """
    count = len(there)
    before = octets
    for entry, value in changes.items():
        if value is not None and len(value) > MAX_VALUE:
            raise EntryTooLarge(f"A value has at most {MAX_VALUE} octets", MAX_VALUE)
        if entry in there:
            count -= 1
            octets -= there[entry] + len(entry)
        if value is not None:
            count += 1
            octets += len(value) + len(entry)
    if count > max(MAX_ENTRIES, len(there)):
        raise TooManyEntries(f"There are at most {MAX_ENTRIES} entries about a mailbox")
    if octets > max(MAX_OCTETS, before):
        raise TooManyEntries(f"All entries together have at most {MAX_OCTETS} octets")


class MetadataRecords(Protocol):
    """What a store keeps for one account. What is not awaited is answered from what is there now."""

    def read(self, key: Key | None) -> Mapping[str, bytes]:
        """Shared entries, and those of the account, about a mailbox or the server.

        :raises NoSuchMailbox: it has been deleted.
        """

    def get_special_use(self, key: Key) -> str | None:
        """The special use of a mailbox of the account's own."""

    def write(
        self, key: Key | None, entries: Mapping[str, bytes | None]
    ) -> Awaitable[Sequence[str]]:
        """Change entries; the one of special uses is that of a mailbox of the account's own.

        :returns: names of mailboxes that have lost their special use to this one.
        :raises NoSuchMailbox: it has been deleted.
        """


class _Watcher(NamedTuple):
    account: MetadataAccount
    callback: Callable[[MetadataChange], None]


class MetadataWatchers:
    """Those of one store who want to know of changes."""

    def __init__(self) -> None:
        self._watchers: dict[object, _Watcher] = {}

    def watch(
        self, account: MetadataAccount, callback: Callable[[MetadataChange], None]
    ) -> Callable[[], None]:
        token = object()
        self._watchers[token] = _Watcher(account, callback)

        def end() -> None:
            self._watchers.pop(token, None)

        return end

    def tell(
        self, user: str, place: tuple[str, str] | None, entries: Sequence[str], origin: object
    ) -> None:
        """Tell of a change.

        :param user: who has made it: private entries are this user's.
        :param place: owner and name of the mailbox; None for the server.
        """
        for account, callback in list(self._watchers.values()):
            seen = [e for e in entries if e.startswith(SHARED) or account.name == user]
            if not seen:
                continue
            if place is None:
                callback(MetadataChange(None, seen, origin))
            elif (name := account.name_for(*place)) is not None:
                callback(MetadataChange(name, seen, origin))


class MetadataAccount(SharingAccount, QuotaRootAccount):
    """Mixed into a store's account."""

    @property
    @abstractmethod
    def metadata_records(self) -> MetadataRecords:
        """What the store keeps."""

    @property
    @abstractmethod
    def metadata_watchers(self) -> MetadataWatchers:
        """Those of the whole store."""

    async def get_metadata(self, mailbox: str | None) -> Mapping[str, bytes]:
        if mailbox is None:
            return self.metadata_records.read(None)
        located = self._locate(mailbox)
        _check_reading(located.rights)
        entries = dict(self.metadata_records.read(located.key))
        if located.owner == self.name:
            use = self.metadata_records.get_special_use(located.key)
            if use is not None:
                entries[SPECIAL_USE] = use.encode("ascii")
        return entries

    async def set_metadata(
        self, mailbox: str | None, entries: Mapping[str, bytes | None], origin: object = None
    ) -> None:
        key: Key | None = None
        place: tuple[str, str] | None = None
        shares = any(entry.startswith(SHARED) for entry in entries)
        if mailbox is None:
            # RFC 5464 section 3.3: a server may restrict entries about itself.
            if shares and not self.is_administrator():
                raise PermissionDenied(ONLY_ADMINISTRATORS)
            if SPECIAL_USE in entries:
                raise MailError("Only a mailbox has a special use")
        else:
            located = self._locate(mailbox)
            key, place = located.key, (located.owner, located.mailbox)
            _check_reading(located.rights)
            if shares and "w" not in located.rights:
                raise PermissionDenied("You may not change what is shared about that mailbox")
            if SPECIAL_USE in entries and located.owner != self.name:
                raise PermissionDenied("Only its owner can give a mailbox a special use")
        bereft = await self.metadata_records.write(key, entries)
        self.metadata_watchers.tell(self.name, place, list(entries), origin)
        self.tell_bereft(bereft)

    def tell_bereft(self, names: Sequence[str]) -> None:
        """Mailboxes have lost their special use to another one."""
        for name in names:
            # RFC 6154 section 5.4: whoever changes one is told what that does to others.
            self.metadata_watchers.tell(self.name, (self.name, name), [SPECIAL_USE], None)

    def watch_metadata(self, callback: Callable[[MetadataChange], None]) -> Callable[[], None]:
        return self.metadata_watchers.watch(self, callback)

    def name_for(self, owner: str, mailbox: str) -> str | None:
        """What this account calls a mailbox; None if it may not know what is said about it."""
        if owner == self.name:
            return canonical_name(mailbox)
        name = self.sharing.join(owner, self.access_records.is_public(owner), mailbox)
        try:
            _check_reading(self._locate(name).rights)
        except MailError:
            return None
        return name


def _check_reading(rights: Rights) -> None:
    """:raises PermissionDenied: see RFC 5464 section 3.3."""
    if "l" not in rights or rights.isdisjoint("rswip"):
        raise PermissionDenied("You may not look into that mailbox")
