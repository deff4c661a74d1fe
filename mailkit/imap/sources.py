"""Which mailboxes a command is about: ``(mailboxes (a b) subtree c)`` (RFC 5465 section 6, RFC 7377).

No I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mailkit.imap.grammar import Arguments, SyntaxFault
from mailkit.model import SEPARATOR, MailboxInfo, OtherNamespaces

#: Mailboxes that one command may name.
MAX_NAMES = 1000

#: Kinds of sources that stand alone.
_ALONE = frozenset((b"SELECTED", b"INBOXES", b"PERSONAL", b"SUBSCRIBED"))
_WITH_NAMES = frozenset((b"MAILBOXES", b"SUBTREE", b"SUBTREE-ONE"))


class Source(NamedTuple):
    """One filter-mailboxes."""

    #: ``SELECTED``, ``PERSONAL``, ``SUBTREE`` and so on.
    kind: bytes
    names: Sequence[str] = ()


def parse_sources(arguments: Arguments) -> list[Source]:
    """``(personal)``, ``(mailboxes "a" subtree ("b" "c"))``."""
    count = 0

    def read() -> Source:
        nonlocal count
        kind = arguments.word("A source of mailboxes")
        if kind in _ALONE:
            return Source(kind)
        if kind not in _WITH_NAMES:
            raise SyntaxFault(f"{kind.decode('ascii')} is not a source of mailboxes")
        arguments.space()
        if arguments.looking_at(b"("):
            names = arguments.parenthesized(arguments.mailbox)
        else:
            names = [arguments.mailbox()]
        count += len(names)
        if count > MAX_NAMES:
            raise SyntaxFault(f"A command names at most {MAX_NAMES} mailboxes")
        return Source(kind, names)

    sources = arguments.parenthesized(read)
    if len(sources) > MAX_NAMES:
        raise SyntaxFault(f"A command names at most {MAX_NAMES} sources")
    return sources


def select_names(
    sources: Iterable[Source], mailboxes: Sequence[MailboxInfo], namespaces: OtherNamespaces
) -> list[str]:
    """Names of the mailboxes that are meant, each once; the selected one is not among them.

    :param mailboxes: that the account can see.
    """
    selectable = [info for info in mailboxes if info.selectable]
    found: dict[str, None] = {}
    for kind, names in sources:
        match kind:
            case b"PERSONAL" | b"INBOXES":
                # RFC 5465 section 6.3: where delivery goes is not known here, so all of them.
                others = tuple(prefix for prefix in namespaces if prefix)
                found.update((i.name, None) for i in selectable if not i.name.startswith(others))
            case b"SUBSCRIBED":
                found.update((i.name, None) for i in selectable if i.subscribed)
            case b"MAILBOXES":
                # Whoever names a mailbox need not be able to list it.
                found.update((name, None) for name in names)
            case b"SUBTREE" | b"SUBTREE-ONE":
                deep = kind == b"SUBTREE"
                for name in names:
                    found.update(
                        (i.name, None) for i in selectable if _is_below(i.name, name, deep)
                    )
    return list(found)


def _is_below(name: str, top: str, deep: bool) -> bool:
    """Whether a mailbox is another, or below it."""
    if name == top:
        return True
    head, separator, rest = name[: len(top)], name[len(top) : len(top) + 1], name[len(top) + 1 :]
    return head == top and separator == SEPARATOR and (deep or SEPARATOR not in rest)
