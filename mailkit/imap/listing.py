"""LIST and LSUB: which names match, and how they are described (RFC 3501 6.3.8, RFC 5258). No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from mailkit.errors import LimitExceeded
from mailkit.imap import render
from mailkit.imap.patterns import MAX_PATTERN, automaton, compile_pattern, simplify
from mailkit.model import INBOX, SEPARATOR, MailboxInfo


class Criteria(NamedTuple):
    """Which names a LIST selects (RFC 5258 section 3.1)."""

    subscribed: bool = False
    #: RFC 6154 section 2.
    special_use: bool = False
    #: Those on other servers too (RFC 5258 section 3.1, REMOTE).
    remote: bool = False
    #: Tell of a name too when one below it satisfies the criteria (RECURSIVEMATCH).
    recursive: bool = False

    @property
    def names(self) -> list[bytes]:
        """Options that a name has to satisfy."""
        given = ((b"SUBSCRIBED", self.subscribed), (b"SPECIAL-USE", self.special_use))
        return [name for name, is_given in given if is_given]


class Listed(NamedTuple):
    """One line of a LIST or LSUB response."""

    name: str
    attributes: Sequence[str]
    #: The name satisfies the criteria itself, not only one below it.
    selected: bool = True
    #: Extended data items (RFC 5258 section 3), each a tag and its value.
    extended: Sequence[bytes] = ()

    def render(self, response: bytes, utf8: bool = False) -> bytes:
        """:param response: ``LIST`` or ``LSUB``.
        :param utf8: the client takes names in UTF-8.
        """
        return b'* %b (%b) "%b" %b%b\r\n' % (
            response,
            " ".join(self.attributes).encode("ascii", "replace"),
            SEPARATOR.encode("ascii"),
            render.mailbox(self.name, utf8),
            b" (%b)" % b" ".join(self.extended) if self.extended else b"",
        )


def matcher(reference: str, *patterns: str) -> Callable[[str], bool]:
    """A test for names that match one of some patterns.

    ``*`` stands for anything, ``%`` for anything within one level. RFC 3501 section 6.3.8 leaves the
    reference to the server: it is put before the pattern.

    :raises LimitExceeded: they are too long.
    """
    whole = [simplify(reference + pattern) for pattern in patterns]
    if sum(map(len, whole)) > MAX_PATTERN:
        raise LimitExceeded(f"Patterns have at most {MAX_PATTERN} characters together")
    if "*" in whole:
        return lambda name: True
    # RFC 3501 section 5.1: INBOX is INBOX in any letter case. So is the level above its children,
    # as it is for every command that takes one of their names.
    inbox = automaton(whole)
    test = compile_pattern(whole[0]) if len(whole) == 1 else inbox.matches

    def matches(name: str) -> bool:
        return test(name) or (
            name.startswith(INBOX)
            and name[len(INBOX) :][:1] in ("", SEPARATOR)
            and inbox.matches(name, len(INBOX))
        )

    return matches


def _levels_above(names: Iterable[str]) -> set[str]:
    """``a`` and ``a/b`` for ``a/b/c``."""
    levels: set[str] = set()
    for name in names:
        end = name.rfind(SEPARATOR)
        while end > 0 and name[:end] not in levels:
            levels.add(name[:end])
            end = name.rfind(SEPARATOR, 0, end)
    return levels


class Listing:
    """The mailboxes of an account, ready to be listed.

    :param subscriptions: subscribed names, those without a mailbox included; None when nobody asks
        for them.
    :param remote: names of mailboxes on other servers.
    :param shows_remote: they are told, too.
    :param extended: RFC 5258's attributes may be told: \\NonExistent and \\Subscribed.
    :param special_use: special uses are told.
    :param children: \\HasChildren and \\HasNoChildren are told.
    """

    def __init__(
        self,
        mailboxes: Iterable[MailboxInfo],
        subscriptions: Iterable[str] | None = None,
        *,
        remote: Iterable[str] = (),
        shows_remote: bool = False,
        extended: bool = False,
        special_use: bool = True,
        children: bool = True,
    ) -> None:
        self.mailboxes = {info.name: info for info in mailboxes}
        away = set(remote).difference(self.mailboxes)
        #: Names of the mailboxes on other servers that are told.
        self.remote = away if shows_remote else set()
        self._names = [*self.mailboxes, *sorted(self.remote)]
        self._parents = _levels_above(self._names)
        # Levels above a mailbox that the backend does not name.
        self.missing = self._parents.difference(self._names)
        self._subscriptions = frozenset(subscriptions or ())
        if not shows_remote:
            self._subscriptions -= away
        self._extended = extended
        self._special_use = special_use
        self._children = children

    def attributes(self, name: str) -> list[str]:
        """Attributes of a name (RFC 3501 section 7.2.2, RFC 3348, RFC 5258, RFC 6154)."""
        info = self.mailboxes.get(name)
        attributes = []
        is_remote = name in self.remote
        if is_remote:
            attributes.append("\\Remote")
        elif info is None:
            # RFC 5258 section 3: it implies \Noselect, which is all that older clients know.
            attributes.append("\\NonExistent" if self._extended else "\\Noselect")
        elif not info.selectable:
            attributes.append("\\Noselect")
        if self._children:
            attributes.append("\\HasChildren" if name in self._parents else "\\HasNoChildren")
        use = info.special_use if self._special_use and info is not None else None
        if use and render.is_attribute(use):
            attributes.append(use)
        if name in self._subscriptions:
            attributes.append("\\Subscribed")
        return attributes

    def list(
        self, reference: str, patterns: Sequence[str], criteria: Criteria | None = None
    ) -> Iterator[Listed | None]:
        """What LIST answers, in the account's order; None for each name that does not match.

        Thousands of names and long patterns take seconds: others need their turn between.

        :raises LimitExceeded: the patterns are too long.
        """
        test = matcher(reference, *patterns)
        if criteria is not None and criteria.names:
            yield from self._list_selected(test, criteria)
            return
        for name in self._names:
            yield Listed(name, self.attributes(name)) if test(name) else None
        # RFC 3501 section 6.3.8: a "%" at the end also lists levels that are no mailboxes.
        level_patterns = [pattern for pattern in patterns if pattern.endswith("%")]
        if level_patterns and self.missing:
            test = matcher(reference, *level_patterns)
            for name in sorted(self.missing):
                yield Listed(name, self.attributes(name)) if test(name) else None

    def _list_selected(
        self, test: Callable[[str], bool], criteria: Criteria
    ) -> Iterator[Listed | None]:
        """The names that satisfy the criteria (RFC 5258 sections 3.3, 3.5)."""
        selected = list(self._select(criteria))
        childinfo: tuple[bytes, ...] = ()
        parents: set[str] = set()
        if criteria.recursive:
            parents = _levels_above(selected)
            childinfo = (b'"CHILDINFO" (%b)' % b" ".join(b'"%b"' % n for n in criteria.names),)
        hidden = []
        for name in selected:
            if test(name):
                extended = childinfo if name in parents else ()
                yield Listed(name, self.attributes(name), extended=extended)
            else:
                hidden.append(name)
                yield None
        if criteria.recursive:
            # Not where all that it has below is listed itself: the client sees those.
            for name in sorted(_levels_above(hidden).difference(selected)):
                line = Listed(name, self.attributes(name), False, childinfo)
                yield line if test(name) else None

    def _select(self, criteria: Criteria) -> Iterator[str]:
        for name, info in self.mailboxes.items():
            if criteria.subscribed and name not in self._subscriptions:
                continue
            if not criteria.special_use or info.special_use:
                yield name
        if not criteria.special_use:
            yield from sorted(self._subscriptions.difference(self.mailboxes))


def list_subscribed(
    subscriptions: Iterable[str], listing: Listing, reference: str, pattern: str
) -> Iterator[Listed | None]:
    """What LSUB answers: subscribed names, whether or not there is a mailbox (RFC 3501 6.3.9).

    As :meth:`Listing.list`.
    """
    names = list(subscriptions)
    test = matcher(reference, pattern)
    for name in names:
        yield Listed(name, _subscription_attributes(name, listing)) if test(name) else None
    if pattern.endswith("%"):
        # A level that is not subscribed, above one that is: \Noselect, whatever it is itself.
        for level in sorted(_levels_above(names).difference(names)):
            yield Listed(level, ["\\Noselect"]) if test(level) else None


def _subscription_attributes(name: str, listing: Listing) -> list[str]:
    if name in listing.mailboxes or name in listing.remote:
        return listing.attributes(name)
    return ["\\Noselect"]
