"""Rules of mailbox names that the stores share (RFC 3501 section 5.1). No I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from mailkit.errors import InvalidMailboxName, LimitExceeded
from mailkit.model import INBOX, SEPARATOR
from mailkit.wire.netunicode import net_unicode

#: Octets of a whole name in UTF-8.
MAX_NAME_LENGTH = 1000
#: Levels of a name.
MAX_DEPTH = 32
#: Capabilities that an account's clients are not offered.
MAX_CAPABILITIES = 200
#: Characters of one.
MAX_CAPABILITY = 64

#: Line and paragraph separators (Zl, Zp), C0 and C1 controls (Cc), and what UTF-8 cannot carry (Cs).
_FORBIDDEN_CATEGORIES = frozenset(("Cc", "Cs", "Zl", "Zp"))


def canonical_name(name: str) -> str:
    """The name as it is kept: the first level is ``INBOX`` in capitals if it is that in any case.

    RFC 9051 section 5.1: in Net-Unicode, that is in normalization form C, so that clients which write
    an accented letter in another way find the mailbox too.
    """
    if name == INBOX:
        # Not the client's own: most sessions keep this one.
        return INBOX
    name = net_unicode(name)
    first, separator, rest = name.partition(SEPARATOR)
    # RFC 3501 section 5.1: "INBOX" is case-insensitive. The same for the level that stands above
    # INBOX's children, or a client would see two trees of nearly one name.
    if first != INBOX and first.isascii() and first.upper() == INBOX:
        return INBOX + separator + rest
    return name


def validate_name(name: str) -> str:
    """Check a name that is to be made; wildcards are allowed, as RFC 3501 section 5.1 has it.

    :returns: its canonical form.
    :raises InvalidMailboxName: empty level, control character, too long, too deep.
    """
    name = canonical_name(name)
    levels = name.split(SEPARATOR)
    if not all(levels):
        raise InvalidMailboxName("A mailbox name has no empty levels")
    if len(levels) > MAX_DEPTH:
        raise InvalidMailboxName(f"A mailbox name has at most {MAX_DEPTH} levels")
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_LENGTH:
        raise InvalidMailboxName(f"A mailbox name has at most {MAX_NAME_LENGTH} octets")
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in name):
        raise InvalidMailboxName("A mailbox name has no control characters")
    return name


def capability_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names of capabilities as they are kept with an account: in capitals, sorted.

    :raises LimitExceeded: there are too many, or one of them is too long or no atom.
    """
    wanted = sorted({name.upper() for name in names})
    if len(wanted) > MAX_CAPABILITIES:
        raise LimitExceeded(f"At most {MAX_CAPABILITIES} capabilities can be left out")
    for name in wanted:
        if not 0 < len(name) <= MAX_CAPABILITY or not name.isascii() or not name.isprintable():
            raise LimitExceeded(f"A capability has at most {MAX_CAPABILITY} ASCII characters")
        if " " in name:
            raise LimitExceeded("A capability has no blanks")
    return tuple(wanted)


def parents(name: str) -> list[str]:
    """The names above it, topmost first: ``a`` and ``a/b`` for ``a/b/c``."""
    levels = name.split(SEPARATOR)
    return [SEPARATOR.join(levels[:depth]) for depth in range(1, len(levels))]


def is_child(name: str, parent: str) -> bool:
    """Whether ``name`` lies below ``parent``, at any depth."""
    return name.startswith(parent + SEPARATOR)


def moved_name(name: str, old: str, new: str) -> str:
    """What ``name``, which is ``old`` or lies below it, is called when ``old`` becomes ``new``."""
    return new + name[len(old) :]


def sort_key(name: str) -> tuple[tuple[str, str], ...]:
    """Orders names as people expect: INBOX first, then level by level, whatever the case."""
    levels = name.split(SEPARATOR)
    keys = [(level.casefold(), level) for level in levels]
    if levels[0] == INBOX:
        keys[0] = ("", "")
    return tuple(keys)
