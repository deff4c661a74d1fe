"""What a store that shares mailboxes has to tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from mailkit.annotations import Annotation, AnnotationChange
from mailkit.errors import LimitExceeded, MailError, NoSuchAccount, NoSuchMailbox, PermissionDenied
from mailkit.model import (
    AppendMessage,
    AppendResult,
    CopyResult,
    FlagOp,
    Flags,
    MailboxInfo,
    StoreResult,
)
from mailkit.rights import ALL_RIGHTS, ANYONE, NEGATIVE, Grant, Rights, RightsOp
from mailkit.store import addresses

#: Entries of one access control list.
MAX_ENTRIES = 250
#: Entries of all lists of an account together; a new mailbox inherits none that would exceed it.
MAX_ACCOUNT_ENTRIES = 20_000
#: Mailboxes of others that one account is shown.
MAX_SEEN = 10_000
#: Octets of an identifier.
MAX_IDENTIFIER = 400

#: Names a mailbox for as long as it exists, whatever it is called.
Key = Any


class Seen(NamedTuple):
    """A mailbox that an account may see, as its owner knows it."""

    owner: str
    public: bool
    info: MailboxInfo
    rights: Rights


class Place(NamedTuple):
    """Where messages are to go."""

    account: str
    mailbox: str
    #: Of the one who puts them there: decides which flags they keep.
    rights: Rights = ALL_RIGHTS
    #: Who that is: only this user's private annotations come along.
    user: str = ""


class StoredMailbox(Protocol):
    """What a mailbox of the store does besides for accounts with few rights."""

    def change_flags(
        self,
        uids: Sequence[int],
        op: FlagOp,
        flags: Flags,
        unchanged_since: int | None,
        rights: Rights,
    ) -> Awaitable[StoreResult]:
        """``store_flags``, but flags that the rights do not allow to change stay as they are."""

    def transfer(self, uids: Sequence[int], place: Place, move: bool) -> Awaitable[CopyResult]:
        """Copy or move messages to any account's mailbox, all or none.

        :raises NoSuchMailbox: there is no such mailbox.
        """

    def replace(self, uid: int, place: Place, message: AppendMessage) -> Awaitable[AppendResult]:
        """``replace_message`` with any account's mailbox."""

    def append_as(self, user: str, messages: Sequence[AppendMessage]) -> Awaitable[AppendResult]:
        """``append`` by another user than the owner: private annotations are that user's."""

    def read_annotations(
        self, user: str, uids: Sequence[int]
    ) -> Awaitable[Mapping[int, Sequence[Annotation]]]:
        """``get_annotations`` as another user sees them."""

    def change_annotations(
        self,
        user: str,
        uids: Sequence[int],
        annotations: Sequence[Annotation],
        unchanged_since: int | None,
    ) -> Awaitable[StoreResult]:
        """``store_annotations`` by another user."""

    def read_annotation_changes(
        self, user: str, since: int
    ) -> Awaitable[Sequence[AnnotationChange]]:
        """``get_annotation_changes`` as another user sees them."""


class AccessRecords(Protocol):
    """The access control lists of a store. What is not awaited is answered from what is there now."""

    def find_mailbox(self, owner: str, mailbox: str) -> tuple[Key, Sequence[Grant]]:
        """A mailbox by its owner and canonical name, with its list.

        :raises NoSuchMailbox: there is no such account, or it has no such mailbox.
        """

    def get_entries(self, key: Key) -> Sequence[Grant]:
        """:raises NoSuchMailbox: it has been deleted."""

    def get_name(self, key: Key) -> str | None:
        """What its owner calls it now; None when it has been deleted."""

    def list_seen(self, viewer: str) -> Sequence[Seen]:
        """Mailboxes of others in which the viewer has rights; asked for by every LIST."""

    def open(self, owner: str, mailbox: str) -> Awaitable[StoredMailbox]:
        """:raises NoSuchMailbox: it has been deleted, or is not selectable."""

    def is_public(self, account: str) -> bool:
        """Whether it is a public account; false without such an account."""

    def find_account(self, login: str) -> Awaitable[str | None]:
        """As a directory does."""

    def change_entry(
        self, key: Key, identifier: str, rights: Rights, op: RightsOp
    ) -> Awaitable[None]:
        """Change the entry of an identifier that was looked up.

        :raises NoSuchMailbox: the mailbox has been deleted.
        :raises LimitExceeded: there are too many entries.
        """


class Accounts(Protocol):
    """Knows what people call accounts."""

    def find_account(self, login: str) -> Awaitable[str | None]:
        """As a directory does."""


def changed_entry(
    entries: Sequence[Grant],
    identifier: str,
    rights: Rights,
    op: RightsOp,
    count: Callable[[], int],
) -> Rights:
    """What the identifier has afterwards.

    :param count: how many entries all lists of the owner have; asked for a new entry alone.
    :raises LimitExceeded: there are too many entries.
    """
    old = dict(entries).get(identifier)
    new = op.apply(old or frozenset(), rights)
    if new and old is None and len(entries) >= MAX_ENTRIES:
        raise LimitExceeded(f"An access control list has at most {MAX_ENTRIES} entries")
    if new and old is None and count() >= MAX_ACCOUNT_ENTRIES:
        raise LimitExceeded(f"The lists of an account have at most {MAX_ACCOUNT_ENTRIES} entries")
    return new


async def canonical_identifier(accounts: Accounts, identifier: str) -> str:
    """The identifier as it is kept.

    :raises MailError: it cannot be one.
    :raises NoSuchAccount: it means nobody.
    """
    if len(identifier.encode("utf-8", "replace")) > MAX_IDENTIFIER:
        raise LimitExceeded(f"An identifier has at most {MAX_IDENTIFIER} octets")
    negative, name = "", identifier
    if name.startswith(NEGATIVE):
        negative, name = NEGATIVE, name[1:]
    if name == ANYONE:
        return negative + name
    if name.startswith("@"):
        return f"{negative}@{addresses.valid_domain(name[1:])}"
    account = await accounts.find_account(name)
    if account is None:
        raise NoSuchAccount(f"There is no user {name[:80]!r} here")
    return negative + str(account)


def means_many(identifier: str) -> bool:
    """Whether a canonical identifier gives rights to more than one account."""
    return identifier == ANYONE or identifier.startswith("@")


def may_not(rights: Rights, text: str = "") -> MailError:
    """The refusal for somebody who has only these rights.

    RFC 4314 section 6: where nothing may be known of the mailbox, it is one that does not exist.
    """
    return PermissionDenied(text) if "l" in rights else NoSuchMailbox()
