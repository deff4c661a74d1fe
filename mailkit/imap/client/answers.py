"""Which LIST and STATUS responses answer a command: NOTIFY brings such of its own accord (RFC 5465).

What looks like an answer and comes first is the answer; the next one of the same mailbox is news, if
nothing else, of what has changed since. What may be either counts as both: it is in the answer, and
told to whoever waits for changes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from mailkit.imap.client.responses import Typed
from mailkit.imap.client.values import Listing, MailboxStatus
from mailkit.imap.grammar import canonical
from mailkit.imap.patterns import Automaton, automaton, simplify
from mailkit.model import INBOX, SEPARATOR

#: Separators of one server: names with yet another one count as news, too.
MAX_SEPARATORS = 8


class Listed:
    """Collects the answer to LIST.

    :param patterns: with the reference before them.
    :param with_gone: names are listed that have no mailbox, for they are subscribed to.
    """

    def __init__(self, patterns: Iterable[str], with_gone: bool) -> None:
        self._patterns = tuple(patterns)
        self._with_gone = with_gone
        self._names: set[str] = set()
        # What tells whether names match, by their separator.
        self._tests: dict[str | None, Automaton] = {}
        #: All that may be of the answer, in the order of the server.
        self.found: list[Listing] = []

    def collect(self, response: Typed) -> bool:
        """Take a response; true for one that is only the answer."""
        if not isinstance(response, Listing) or response.lsub:
            return False
        self.found.append(response)
        if response.name in self._names or response.old_name is not None:
            return False
        self._names.add(response.name)
        if response.has("\\NonExistent") and not self._with_gone:
            return False
        return self._matches(response)

    def _matches(self, response: Listing) -> bool:
        if "*" in self._patterns:
            return True
        separator = response.separator
        tests = self._tests.get(separator)
        if tests is None:
            if len(self._tests) >= MAX_SEPARATORS:
                return False
            tests = automaton(simplify(_plain(each, separator)) for each in self._patterns)
            self._tests[separator] = tests
        name = _plain(response.name, separator)
        return tests.matches(name, len(INBOX) if canonical(name).startswith(INBOX) else 0)


def _plain(text: str, separator: str | None) -> str:
    return text.replace(separator, SEPARATOR) if separator else text


class Asked:
    """Collects the answer to STATUS.

    :param news: the server may tell of mailboxes that nobody asked for.
    """

    def __init__(self, name: str, items: Iterable[str], *, news: bool = True) -> None:
        self._name = canonical(name)
        self._items = frozenset(item.upper() for item in items)
        self._answer: MailboxStatus | None = None
        # What may be the answer, and whether it has the very name.
        self._other: MailboxStatus | None = None
        self._named = False
        self._news = news
        self._strange: list[MailboxStatus] = []

    def collect(self, response: Typed) -> bool:
        """Take a response; true for one that is only the answer."""
        if not isinstance(response, MailboxStatus):
            return False
        named = response.name == self._name
        if self._answer is None and named and response.items.keys() == self._items:
            self._answer = response
            return True
        # Servers may write the name otherwise, or leave items out.
        if named or (folded(response.name) == folded(self._name) and not self._named):
            self._other, self._named = response, named
        elif not (self._news or len(self._strange) > 1):
            self._strange.append(response)
        return False

    @property
    def found(self) -> MailboxStatus | None:
        """The answer, or what is likely to be it."""
        found = self._answer or self._other
        if found is None and len(self._strange) == 1:
            # Some put the prefix of the namespace before the name: it is the only one.
            return self._strange[0]
        return found


def folded(name: str) -> str:
    """What names have in common that a server may mean the same mailbox by."""
    return unicodedata.normalize("NFKC", name).casefold().rstrip("/.\\")
