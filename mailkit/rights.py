"""Rights to a mailbox, and lists of who has which (RFC 4314 section 2). No I/O."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from mailkit.model import DELETED, SEEN, Flags

#: Letters of RFC 4314 section 2.1, without the obsolete ones, and of RFC 5257 section 3.4.
Rights: TypeAlias = frozenset[str]

#: The order in which rights are written.
_ORDER = "lrswipkxtean"
ALL_RIGHTS: Rights = frozenset(_ORDER)
NO_RIGHTS: Rights = frozenset()
#: With one of them a mailbox is opened read-write (RFC 4314 section 5.2, RFC 5257 section 3.4).
WRITE_RIGHTS: Rights = frozenset("switen")
#: With one of them a user may know that the mailbox is there (RFC 4314 section 4, MYRIGHTS).
VISIBLE_RIGHTS: Rights = frozenset("lrikxa")

#: Obsolete rights and what they stand for (RFC 4314 section 2.1.1, the first group of servers).
_OBSOLETE = {"c": frozenset("kx"), "d": frozenset("te")}

_FLAG_RIGHTS = {SEEN.lower(): "s", DELETED.lower(): "t"}

#: Everybody who has logged in.
ANYONE = "anyone"
#: Begins the identifier of rights that are taken away.
NEGATIVE = "-"


class UnknownRight(ValueError):
    """A letter that is no right."""


class RightsOp(enum.Enum):
    """What becomes of the rights that an identifier has (RFC 4314 section 3.1)."""

    ADD = "+"
    REMOVE = "-"
    REPLACE = "="

    def apply(self, old: Rights, given: Rights) -> Rights:
        match self:
            case RightsOp.ADD:
                return old | given
            case RightsOp.REMOVE:
                return old - given
            case RightsOp.REPLACE:
                return given


class Grant(NamedTuple):
    """One entry of an access control list."""

    #: An account, :data:`ANYONE`, or ``@example.org`` for all accounts of a domain; after a
    #: :data:`NEGATIVE` one who loses the rights.
    identifier: str
    rights: Rights


class ListedRights(NamedTuple):
    """What an identifier can be granted (RFC 4314 section 3.4)."""

    #: It has them whatever the list says.
    required: Rights
    #: Each can be granted without the others.
    optional: Rights


def parse_rights(text: str) -> Rights:
    """``lrsd`` and the like.

    :raises UnknownRight: a letter is no right; the message says which.
    """
    rights: set[str] = set()
    for letter in text:
        if letter in _OBSOLETE:
            rights |= _OBSOLETE[letter]
        elif letter in ALL_RIGHTS:
            rights.add(letter)
        elif letter.isupper():
            # RFC 4314 section 2: for the sake of old clients and servers.
            raise UnknownRight("Rights are small letters")
        else:
            raise UnknownRight(f"There is no right {letter!r}; there are {_ORDER}")
    return frozenset(rights)


def format_rights(rights: Rights, obsolete: bool = False) -> str:
    """The letters in their usual order.

    :param obsolete: with those that old clients know (RFC 4314 section 2.1.1).
    """
    shown = [letter for letter in _ORDER if letter in rights]
    if obsolete:
        where = sum(letter not in "an" for letter in shown)
        shown[where:where] = [old for old, members in _OBSOLETE.items() if members & rights]
    return "".join(shown)


def identifiers_of(account: str) -> tuple[str, ...]:
    """All identifiers that mean an account."""
    return account, ANYONE, "@" + account.rpartition("@")[2]


def effective_rights(entries: Iterable[Grant], identifiers: Collection[str]) -> Rights:
    """What a list gives to somebody: all that is granted, less what is taken away."""
    granted: set[str] = set()
    denied: set[str] = set()
    for identifier, rights in entries:
        if identifier in identifiers:
            granted |= rights
        elif identifier.startswith(NEGATIVE) and identifier[1:] in identifiers:
            denied |= rights
    return frozenset(granted - denied)


def right_for(flag: str) -> str:
    """The right to change a flag (RFC 4314 section 4, STORE)."""
    return _FLAG_RIGHTS.get(flag.lower(), "w")


def changeable(flags: Flags, rights: Rights) -> Flags:
    """Those of the flags that the rights allow to change."""
    return frozenset(flag for flag in flags if right_for(flag) in rights)


def changed_within(old: Flags, new: Flags, rights: Rights) -> Flags:
    """What flags become that somebody with few rights replaces by others."""
    return (old - changeable(old, rights)) | changeable(new, rights)


def total_order(entries: Iterable[Grant]) -> Sequence[Grant]:
    """Entries in the order in which they are shown: who loses rights comes last."""
    return sorted(entries, key=lambda entry: (entry.identifier.startswith(NEGATIVE), entry))
