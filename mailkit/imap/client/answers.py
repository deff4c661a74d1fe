"""Which LIST and STATUS responses answer a command: NOTIFY brings such of its own accord (RFC 5465).

What looks like an answer and comes first is the answer; the next one of the same mailbox is news, if
nothing else, of what has changed since. What may be either counts as both: it is in the answer, and
told to whoever waits for changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from mailkit.imap.client.responses import Typed
from mailkit.imap.client.values import Listing, MailboxStatus
from mailkit.imap.grammar import canonical
from mailkit.imap.patterns import Automaton, automaton, simplify
from mailkit.model import INBOX, SEPARATOR


class Listed:
    """Collects the answer to LIST.

    :param patterns: with the reference before them.
    :param with_gone: names are listed that have no mailbox, for they are subscribed to.
    """

    def __init__(self, patterns: Iterable[str], with_gone: bool) -> None:
        self._patterns = tuple(patterns)
        self._with_gone = with_gone
        self._names: set[str] = set()
        # What tells whether names with a separator match: of the separator that came last.
        self._separator: str | None = None
        self._tests = self._make_tests()
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
        if response.separator != self._separator:
            self._separator = response.separator
            self._tests = self._make_tests()
        name = self._plain(response.name)
        return self._tests.matches(name, len(INBOX) if canonical(name).startswith(INBOX) else 0)

    def _make_tests(self) -> Automaton:
        return automaton(simplify(self._plain(pattern)) for pattern in self._patterns)

    def _plain(self, text: str) -> str:
        return text.replace(self._separator, SEPARATOR) if self._separator else text


class Asked:
    """Collects the answer to STATUS."""

    def __init__(self, name: str, items: Iterable[str]) -> None:
        self._name = canonical(name)
        self._items = frozenset(item.upper() for item in items)
        self._answer: MailboxStatus | None = None
        self._other: MailboxStatus | None = None

    def collect(self, response: Typed) -> bool:
        """Take a response; true for one that is only the answer."""
        if not isinstance(response, MailboxStatus):
            return False
        named = response.name == self._name
        if self._answer is None and named and response.items.keys() == self._items:
            self._answer = response
            return True
        # Servers may write the name otherwise, or leave items out.
        if named or self._other is None or self._other.name != self._name:
            self._other = response
        return False

    @property
    def found(self) -> MailboxStatus | None:
        """The answer, or what is likely to be it."""
        return self._answer or self._other
