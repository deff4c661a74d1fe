"""ESEARCH: one search of many mailboxes (RFC 7377)."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import LimitExceeded, MailError, NoSuchMailbox, PermissionDenied
from mailkit.imap.comparator import collated
from mailkit.imap.condstore import asks_modseq
from mailkit.imap.grammar import Command, SyntaxFault
from mailkit.imap.handlers.context import keep_up_to_date
from mailkit.imap.handlers.filters import load_filters
from mailkit.imap.handlers.finding import find, highest_modseq
from mailkit.imap.handlers.labels import read_names
from mailkit.imap.handlers.search import check_relevancy, read_results, read_scores
from mailkit.imap.handlers.table import AUTHENTICATED, Capability, Verb, after_login
from mailkit.imap.labels import LabelNames, labels_in
from mailkit.imap.results import Results
from mailkit.imap.search import parse_search
from mailkit.imap.session import Selection
from mailkit.imap.sources import Source, parse_sources, select_names
from mailkit.imap.state import SelectedState
from mailkit.interfaces import IAccessControl
from mailkit.model import OtherNamespaces
from mailkit.query import Query

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Mailboxes that one command searches.
MAX_MAILBOXES = 10_000

_SELECTED = Source(b"SELECTED")


async def multi_search(connection: IMAPProtocol, command: Command) -> None:
    """RFC 7377 section 2"""
    arguments = command.arguments
    arguments.space()
    sources = [_SELECTED]
    if arguments.accept_word(b"IN"):
        arguments.space()
        sources = parse_sources(arguments)
        arguments.space()
    results = read_results(connection, command, b"ESEARCH", b"CONTEXT=SEARCH")
    if results is None:
        # Section 2.1
        results = Results(frozenset((b"ALL",)))
    _check(connection, sources, results)
    program = arguments.position
    now = connection.clock.seconds()
    filters = await load_filters(connection, arguments)
    # What is wrong with it is told even if no mailbox is searched.
    any_mailbox = SelectedState((), 0)
    any_mailbox.uid_only = b"UIDONLY" in connection.enabled
    query = parse_search(arguments, any_mailbox, now, connection.offers, filters)
    arguments.end()
    check_relevancy(results, query)
    if asks_modseq(query):
        connection.enable_condstore()
    labels = await read_names(connection) if any(labels_in(query)) else None
    try:
        async for selection in _open(connection, sources):
            arguments.position = program
            query = parse_search(arguments, selection.state, now, connection.offers, filters)
            query = collated(query, connection.collation)
            await _search(connection, command, results, selection, query, labels)
    except MailError:
        if results.save and connection.selection is not None:
            connection.selection.state.saved = ()
        raise
    await connection.complete("ESEARCH completed")


def _check(connection: IMAPProtocol, sources: Sequence[Source], results: Results) -> None:
    """Section 2.2: what goes with the selected mailbox alone."""
    if _SELECTED in sources and connection.selection is None:
        raise SyntaxFault("No mailbox is selected")
    if results.save and any(source != _SELECTED for source in sources):
        raise SyntaxFault("SAVE goes with the selected mailbox alone")
    if results.update and connection.selection is None:
        raise SyntaxFault("UPDATE goes with a selected mailbox")


async def _open(connection: IMAPProtocol, sources: Sequence[Source]) -> AsyncIterator[Selection]:
    """The mailboxes that are to be searched, one after the other."""
    account, selected = connection.account, connection.selection
    assert account is not None
    if _SELECTED in sources and selected is not None:
        yield selected
    others = [source for source in sources if source != _SELECTED]
    if not others:
        return
    namespaces = account.namespaces if IAccessControl.providedBy(account) else OtherNamespaces()
    names = select_names(others, await account.list_mailboxes(), namespaces)
    if len(names) > MAX_MAILBOXES:
        raise LimitExceeded(f"At most {MAX_MAILBOXES} mailboxes can be searched at once")
    for name in names:
        await connection.drain()
        if selected is not None and name == selected.mailbox.name:
            if _SELECTED not in sources:
                yield selected
            continue
        try:
            mailbox = await account.open_mailbox(name=name)
            info = await mailbox.get_info()
            selection = Selection(mailbox, wants_write=False)
            selection.state = SelectedState(await mailbox.list_uids(), info.highest_modseq)
            selection.uid_validity = info.uid_validity
        except (NoSuchMailbox, PermissionDenied):
            # Section 2.2: what may not be searched is passed over in silence.
            continue
        yield selection


async def _search(
    connection: IMAPProtocol,
    command: Command,
    results: Results,
    selection: Selection,
    query: Query,
    labels: LabelNames | None,
) -> None:
    """Search one mailbox and tell what is found.

    :param labels: which label is which mailbox, if the search names some.
    """
    try:
        found = await find(connection, selection, query, labels)
        uids = selection.state.in_view(found)
        modseq = None
        if asks_modseq(query):
            modseq = await highest_modseq(connection, selection, results.shown(uids))
        scores = await read_scores(connection, selection, query, results, uids)
    except (NoSuchMailbox, PermissionDenied):
        if selection is connection.selection:
            raise
        return
    is_selected = selection is connection.selection
    if is_selected and results.save:
        selection.state.saved = array("I", results.saved(uids))
    name = connection.mailbox_name(selection.mailbox.name)
    source = b" MAILBOX %b UIDVALIDITY %d" % (name, selection.uid_validity)
    # Section 2.1: no response for a mailbox without matches.
    if uids and not results.silent:
        for piece in results.render(command.tag, uids, True, modseq, source, scores):
            await connection.send(piece)
    if is_selected and results.update:
        keep_up_to_date(connection, command.tag, True, query, (), uids, source)


VERBS: Mapping[bytes, Verb] = {
    b"ESEARCH": Verb(AUTHENTICATED, multi_search, by_uid=True, extension=b"MULTISEARCH"),
}

CAPABILITIES: Sequence[Capability] = (Capability(b"MULTISEARCH", after_login, needs=b"ESEARCH"),)
