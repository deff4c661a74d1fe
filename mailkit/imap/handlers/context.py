"""CONTEXT=SEARCH and CONTEXT=SORT: clients are told how results change (RFC 5267 section 4).

What is told goes out with its cause: REMOVEFROM before EXPUNGE, so that sequence numbers are still
right, and ADDTO behind EXISTS.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import MailError
from mailkit.imap.contexts import (
    MAX_CONTEXTS,
    Context,
    Update,
    among,
    depends_on_clock,
    depends_on_flags,
    render_update,
)
from mailkit.imap.grammar import Command, SyntaxFault
from mailkit.imap.handlers.finding import find
from mailkit.imap.handlers.ordering import sort_messages
from mailkit.imap.handlers.table import SELECTED, Capability, Verb, Waiting, after_login
from mailkit.imap.labels import labels_in
from mailkit.imap.session import Selection
from mailkit.imap.sort import Criterion
from mailkit.query import Query

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Tags of one CANCELUPDATE.
MAX_TAGS = 100


class Contexts:
    """The searches of a selected mailbox that are kept up to date."""

    def __init__(self, connection: IMAPProtocol, selection: Selection) -> None:
        self._connection = connection
        self._selection = selection
        self.by_tag: dict[bytes, Context] = {}
        # Messages up to here have been looked at.
        uids = selection.state.uids
        self._looked_to = uids[-1] if uids else 0

    def begin(self, context: Context) -> None:
        """Keep a search up to date from now on."""
        self.by_tag[context.tag] = context
        # What the client counts still, though it is gone, may be among the results.
        gone = self._selection.state.gone_among(context.uids)
        if gone:
            self._tell(context, b"REMOVEFROM", context.remove(gone))

    def leave_out_numbers(self) -> None:
        """From now on the client is told UIDs alone (RFC 9586 section 3)."""
        for tag in [each.tag for each in self.by_tag.values() if not each.by_uid]:
            del self.by_tag[tag]
            refuse(self._connection, tag, "Messages have no numbers any more")

    async def tell_changes(self, changed: Sequence[int], vanished: Sequence[int]) -> None:
        """Of messages that were there already; numbers are as before EXPUNGE."""
        gone = set(vanished)
        for context in list(self.by_tag.values()):
            if gone:
                self._tell(context, b"REMOVEFROM", context.remove(gone))
            if changed and depends_on_flags(context.query):
                await self._look_at(context, changed)

    async def tell_arrivals(self) -> None:
        """Of messages that have come into view."""
        view = self._selection.state.uids
        if not view or view[-1] <= self._looked_to:
            return
        fresh = view[bisect_right(view, self._looked_to) :]
        self._looked_to = fresh[-1]
        for context in list(self.by_tag.values()):
            await self._look_at(context, fresh)

    async def _look_at(self, context: Context, uids: Sequence[int]) -> None:
        """Whether some messages match now."""
        connection, selection = self._connection, self._selection
        try:
            found = await find(connection, selection, among(context.query, uids))
            matching = set(selection.state.in_view(found)).intersection(uids)
            known = set(context.uids)
            self._tell(
                context, b"REMOVEFROM", context.remove((known - matching).intersection(uids))
            )
            new = sorted(matching - known)
            if not new:
                return
            if context.criteria:
                wanted = sorted({*context.uids, *new})
                order = await sort_messages(connection, selection, wanted, context.criteria)
                update = context.add_in_order(set(new).intersection(order), order)
            else:
                update = context.add(new)
        except MailError as error:
            # The command that has brought this up is not to blame.
            self.by_tag.pop(context.tag, None)
            refuse(connection, context.tag, error.text)
        else:
            self._tell(context, b"ADDTO", update)

    def _tell(self, context: Context, name: bytes, update: Update) -> None:
        if not update:
            return
        if not context.by_uid:
            state = self._selection.state
            update = [(position, state.numbers_or_zero(uids)) for position, uids in update]
        self._connection.write(render_update(context, name, update))


def check_tag(connection: IMAPProtocol, tag: bytes) -> None:
    """:raises SyntaxFault: the tag names another search that is kept up to date (section 4.3)."""
    contexts = None if connection.selection is None else connection.selection.contexts
    if contexts is not None and tag in contexts.by_tag:
        raise SyntaxFault("The tag is in use: another search with UPDATE has it")


def keep_up_to_date(
    connection: IMAPProtocol,
    tag: bytes,
    by_uid: bool,
    query: Query,
    criteria: Sequence[Criterion],
    uids: Sequence[int],
    source: bytes = b"",
) -> None:
    """Tell the client from now on what a search would find, or that it is not told.

    :param uids: what it has found.
    :param source: correlators besides the tag, which tell the mailbox.
    """
    selection = connection.selection
    assert selection is not None
    contexts = selection.contexts
    if contexts is None:
        contexts = selection.contexts = Contexts(connection, selection)
    if any(labels_in(query)):
        # They change without a change of this mailbox.
        refuse(connection, tag, "Searches for labels are not kept up to date")
    elif depends_on_clock(query):
        # RFC 5032 section 2: YOUNGER and OLDER change as time goes by.
        refuse(connection, tag, "Searches for an age are not kept up to date")
    elif len(contexts.by_tag) >= MAX_CONTEXTS:
        # Section 4.3.1
        refuse(connection, tag, f"At most {MAX_CONTEXTS} searches are kept up to date")
    else:
        contexts.begin(Context(tag, by_uid, query, criteria, uids, source))


def refuse(connection: IMAPProtocol, tag: bytes, text: str) -> None:
    """Tell that a search is not kept up to date (section 4.3.1)."""
    connection.write(b'* NO [NOUPDATE "%b"] %b\r\n' % (tag, connection.line(text)))


def cancel_update(connection: IMAPProtocol, command: Command) -> Waiting:
    """Section 4.3.5"""
    if not (connection.offers(b"CONTEXT=SEARCH") or connection.offers(b"CONTEXT=SORT")):
        raise SyntaxFault("There is no such command")
    arguments = command.arguments
    tags = []
    while not arguments.at_end():
        arguments.space()
        tags.append(arguments.string())
        if len(tags) > MAX_TAGS:
            raise SyntaxFault(f"CANCELUPDATE takes at most {MAX_TAGS} tags")
    if not tags:
        raise SyntaxFault("CANCELUPDATE takes the tags of searches in quotes")
    selection = connection.selection
    assert selection is not None
    if selection.contexts is not None:
        for tag in tags:
            # One that was refused before is not there.
            selection.contexts.by_tag.pop(tag, None)
        if not selection.contexts.by_tag:
            selection.contexts = None
    return connection.complete("CANCELUPDATE completed")


VERBS: Mapping[bytes, Verb] = {b"CANCELUPDATE": Verb(SELECTED, cancel_update)}

CAPABILITIES: Sequence[Capability] = (
    Capability(b"CONTEXT=SEARCH", after_login, needs=b"ESEARCH"),
    Capability(b"CONTEXT=SORT", after_login, needs=b"ESORT"),
)
