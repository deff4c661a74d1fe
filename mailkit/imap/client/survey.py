"""Many mailboxes by one command, for :class:`~mailkit.imap.client.session.Session`: LIST that tells of
them more than their names (RFC 5819, RFC 9590), and a search of them all (RFC 7377)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from mailkit.imap.client.answers import Asked, Listed, folded
from mailkit.imap.client.commands import Command, Part, astring, atom
from mailkit.imap.client.criteria import search_keys
from mailkit.imap.client.messages import MessageCommands
from mailkit.imap.client.responses import Typed
from mailkit.imap.client.values import ExtendedSearch, Listing, MailboxStatus, Metadata
from mailkit.query import All, Query

#: Where a search may look, without names: see RFC 7377 section 2.2.
SCOPES = ("selected", "inboxes", "personal", "subscribed")
#: The same with names.
NAMED_SCOPES = ("mailboxes", "subtree", "subtree-one")
_ALL = All()
_T = TypeVar("_T")


class Surveyed(NamedTuple):
    """One mailbox of a LIST that tells more than names."""

    listing: Listing
    #: Items by name in capitals; None where the server tells none: it cannot be selected, say.
    status: Mapping[str, int | str] | None
    #: Values by entry as the server writes it, None for one that has none; none where it tells none.
    entries: Mapping[str, bytes | None]


class Scope(NamedTuple):
    """Mailboxes that are to be searched."""

    #: One of :data:`SCOPES` or :data:`NAMED_SCOPES`.
    where: str
    #: Of mailboxes; a string is one name.
    names: str | Sequence[str] = ()

    def parts(self, mailbox: Callable[[str], Part]) -> list[Part]:
        """As ESEARCH has it.

        :raises ValueError: it makes no sense.
        """
        named = self.where in NAMED_SCOPES
        if not named and self.where not in SCOPES:
            raise ValueError(f"none of {', '.join((*SCOPES, *NAMED_SCOPES))}: {self.where!r}")
        if named is not bool(self.names):
            raise ValueError(f"{', '.join(NAMED_SCOPES)} take names, and nothing else does")
        parts: list[Part] = [self.where.encode("ascii")]
        names = (self.names,) if isinstance(self.names, str) else self.names
        for number, name in enumerate(names):
            parts += [b" " if number else b" (", mailbox(name)]
        return [*parts, b")"] if named else parts


class _Answer:
    """Collects the answer to a LIST that tells more than names."""

    def __init__(self, listed: Listed, items: Sequence[str]) -> None:
        self._listed = listed
        self._items = items
        self._statuses: dict[str, Asked] = {}
        self._entries: dict[str | None, dict[str, bytes | None]] = {}

    def collect(self, response: Typed) -> bool:
        """Take a response; true for one that is only the answer."""
        if isinstance(response, MailboxStatus) and self._items:
            # RFC 5819 section 2: before its LIST response, or behind.
            name = response.name
            return self._statuses.setdefault(name, Asked(name, self._items)).collect(response)
        if isinstance(response, Metadata):
            self._entries.setdefault(response.mailbox, {}).update(response.entries)
            return True
        return self._listed.collect(response)

    def found(self) -> list[Surveyed]:
        """The mailboxes, in the order of the server."""
        listings = self._listed.found
        asked = _by_listing(listings, self._statuses)
        entries = _by_listing(listings, self._entries)
        found = []
        for listing in listings:
            of_it = asked.get(listing.name)
            status = of_it.found if of_it is not None else None
            items = status.items if status is not None else None
            found.append(Surveyed(listing, items, entries.get(listing.name, {})))
        return found


def _by_listing(listings: Iterable[Listing], told: Mapping[Any, _T]) -> dict[str, _T]:
    """What was told of mailboxes, by their names in LIST."""
    # Some list names with the separator behind them.
    names = {each.name: each.name.removesuffix(each.separator or "") for each in listings}
    known = {*names, *names.values()}
    # Servers may write a name otherwise, such as Inbox.Sent with the prefix INBOX of a namespace.
    others = {folded(name): value for name, value in told.items() if name and name not in known}
    found: dict[str, _T] = {}
    for name, bare in names.items():
        value = told.get(name) or told.get(bare) or others.get(folded(name))
        if value is not None:
            found[name] = value
    return found


class SurveyCommands(MessageCommands):
    """Commands about many mailboxes at once."""

    async def survey(
        self,
        patterns: str | Sequence[str] = "*",
        *,
        status: Iterable[str] = (),
        entries: Iterable[str] = (),
        reference: str = "",
        selection: Iterable[str] = (),
        options: Iterable[str] = (),
    ) -> Sequence[Surveyed]:
        """The mailboxes that match, with facts about each and entries of it, by one command.

        Patterns, selection and options are those of :meth:`list`.

        :param status: ``MESSAGES``, ``UNSEEN``, ``SIZE``, ...: as :meth:`status` has them.
        :param entries: ``/private/comment``, ...: as :meth:`get_metadata` has them.
        :raises NotOffered: the server has no LIST-STATUS or no LIST-METADATA.
        """
        items = tuple(item.upper() for item in status)
        wanted = tuple(entries)
        returned: list[list[Part]] = [[atom(each)] for each in options]
        if items:
            self._need("LIST-STATUS")
            returned.append([b"STATUS (", b" ".join(map(atom, items)), b")"])
        if wanted:
            self._need("LIST-METADATA")
            named = [part for entry in wanted for part in (b" ", astring(entry))]
            returned.append([b"METADATA (", *named[1:], b")"])
        listed = self._listed(patterns, reference, selection)
        answer = _Answer(listed, items)
        command = self._list_command(patterns, reference, tuple(selection), returned)
        command.answers = frozenset(("LIST", "STATUS", "METADATA"))
        command.collect = answer.collect
        await self._connection.run(command)
        return answer.found()

    async def search_mailboxes(
        self,
        scopes: Iterable[Scope],
        query: Query | str = _ALL,
        results: Iterable[str] = ("ALL",),
    ) -> list[ExtendedSearch]:
        """Search many mailboxes, none of which need be selected (RFC 7377).

        :param query: as :meth:`search` has it.
        :param results: of ``MIN``, ``MAX``, ``COUNT``, ``ALL``.
        :returns: what was found, with ``mailbox`` and ``uid_validity``; UIDs. Mailboxes where nothing
            is, or which may not be read, are left out.
        :raises NotOffered: the server has no MULTISEARCH.
        :raises ValueError: a scope makes no sense, or there is none.
        """
        self._need("MULTISEARCH")
        found: list[ExtendedSearch] = []

        def collect(response: Typed) -> bool:
            if isinstance(response, ExtendedSearch) and response.tag == command.tag:
                found.append(response)
                return True
            return False

        command = Command("ESEARCH", collect=collect)
        places: list[Part] = []
        for scope in scopes:
            places += [b" " if places else b"IN (", *scope.parts(self._mailbox)]
        if not places:
            raise ValueError("no scope of the search")
        command.add(*places, b")")
        names = [name.upper() for name in results]
        command.add("RETURN (", " ".join(names), ")").add(*search_keys(query, self._utf8))
        await self._connection.run(command)
        return found
