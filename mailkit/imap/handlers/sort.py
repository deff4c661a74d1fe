"""SORT and UID SORT (RFC 5256, 5957), their results as ESEARCH (RFC 5267 section 3)."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import MailError
from mailkit.imap.comparator import DEFAULT, collated
from mailkit.imap.condstore import asks_modseq
from mailkit.imap.grammar import Command
from mailkit.imap.handlers.context import keep_up_to_date, refuse
from mailkit.imap.handlers.filters import load_filters
from mailkit.imap.handlers.finding import find, highest_modseq, score
from mailkit.imap.handlers.ordering import sort_messages
from mailkit.imap.handlers.search import (
    check_relevancy,
    read_results,
    read_scores,
    send_numbers,
)
from mailkit.imap.handlers.table import SELECTED, Capability, Verb, after_login
from mailkit.imap.search import parse_criteria_search
from mailkit.imap.sort import parse_criteria

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


async def sort(connection: IMAPProtocol, command: Command) -> None:
    """Both commands."""
    selection = connection.selection
    assert selection is not None
    state = selection.state
    arguments = command.arguments
    arguments.space()
    results = read_results(connection, command, b"ESORT", b"CONTEXT=SORT")
    try:
        by_relevancy, criteria = parse_criteria(arguments, connection.offers)
        arguments.space()
        filters = await load_filters(connection, arguments)
        now = connection.clock.seconds()
        query = parse_criteria_search(arguments, state, now, connection.offers, filters)
        query = collated(query, connection.collation)
        arguments.end()
        check_relevancy(results, query, by_relevancy is not None)
        # What has come since is not in view yet, and will be announced below.
        found = state.in_view(await find(connection, selection, query))
        uids: Sequence[int] = found
        if criteria:
            uids = await sort_messages(connection, selection, found, criteria, connection.collation)
        if by_relevancy is not None:
            scores = await score(connection, selection, query, uids)
            # The highest first (RFC 6203 section 6); what is equal stays in order.
            uids = sorted(uids, key=scores.__getitem__, reverse=not by_relevancy)
    except MailError:
        if results is not None and results.save:
            # RFC 5182 section 2.1: a search that gets NO saves nothing.
            state.saved = ()
        raise
    by_uid = command.verb.startswith(b"UID ")
    await connection.drain()
    numbers = uids
    if not by_uid:
        numbers = array("I")
        for piece in state.numbers_in_order(uids):
            numbers.extend(piece)
            await connection.drain()
    modseq = None
    if asks_modseq(query):
        # RFC 7162 section 3.1.10: as for SEARCH.
        connection.enable_condstore()
        shown = uids if results is None else results.shown(uids)
        modseq = await highest_modseq(connection, selection, sorted(shown))
    if results is None:
        await send_numbers(connection, b"SORT", numbers, modseq)
    else:
        if results.save:
            state.saved = array("I", sorted(results.saved(uids)))
        told = await read_scores(connection, selection, query, results, uids)
        if not results.silent:
            for part in results.render(command.tag, numbers, by_uid, modseq, scores=told):
                await connection.send(part)
        if results.update and by_relevancy is not None:
            refuse(connection, command.tag, "Results by relevancy are not kept up to date")
        elif results.update and connection.collation is not DEFAULT:
            refuse(connection, command.tag, "Results are kept up to date by i;unicode-casemap")
        elif results.update:
            keep_up_to_date(connection, command.tag, by_uid, query, criteria, uids)
    await connection.complete("SORT completed")


VERBS: Mapping[bytes, Verb] = {
    b"SORT": Verb(SELECTED, sort, expunges=False, extension=b"SORT"),
    b"UID SORT": Verb(SELECTED, sort, by_uid=True, extension=b"SORT"),
}

CAPABILITIES: Sequence[Capability] = (
    Capability(b"SORT", after_login),
    Capability(b"SORT=DISPLAY", after_login, needs=b"SORT"),
    Capability(b"ESORT", after_login, needs=b"SORT"),
)
