"""What others' mailboxes are called. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mailkit.model import SEPARATOR, OtherNamespaces
from mailkit.store.naming import canonical_name, validate_name


@dataclass(frozen=True)
class SharingSettings:
    """How a store shows the mailboxes that accounts share.

    :raises ValueError: a name cannot be the first level of a mailbox's name.
    """

    #: The level above the mailboxes of other users.
    other_users: str = "Other Users"
    #: The level above those of public accounts.
    shared: str = "Shared"
    #: Users may share with everybody, not only with accounts that they name.
    anyone: bool = False

    def __post_init__(self) -> None:
        for root in (self.other_users, self.shared):
            if SEPARATOR in root or canonical_name(root) == "INBOX":
                raise ValueError(f"{root!r} cannot be where others' mailboxes are")
            validate_name(root)
        if self.other_users == self.shared:
            raise ValueError("other users' and shared mailboxes need names of their own")

    @cached_property
    def namespaces(self) -> OtherNamespaces:
        """The beginnings of names."""
        return OtherNamespaces(self.other_users + SEPARATOR, self.shared + SEPARATOR)

    def is_foreign(self, name: str) -> bool:
        """Whether a name is kept for others' mailboxes and the levels above them."""
        return name.partition(SEPARATOR)[0] in (self.other_users, self.shared)

    def join(self, owner: str, public: bool, mailbox: str) -> str:
        """What an owner's mailbox is called by others."""
        root = self.shared if public else self.other_users
        return SEPARATOR.join((root, _quote(owner), mailbox))

    def split(self, name: str) -> tuple[str, bool, str] | None:
        """What :meth:`join` made: owner, public or not, and mailbox; None for other names."""
        if not self.is_foreign(name):
            return None
        root, _, rest = name.partition(SEPARATOR)
        owner, _, mailbox = rest.partition(SEPARATOR)
        if not owner or not mailbox:
            return None
        return _unquote(owner), root == self.shared, canonical_name(mailbox)


def _quote(owner: str) -> str:
    """An account's name as one level: a local part may contain the separator."""
    return owner.replace("=", "=3D").replace(SEPARATOR, "=2F")


def _unquote(level: str) -> str:
    return level.replace("=2F", SEPARATOR).replace("=3D", "=")
