"""SEARCH and UID SEARCH (RFC 3501 sections 6.4.4, 6.4.8; RFC 4731, 5032, 5182, 9394)."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import MailError
from mailkit.imap.comparator import collated
from mailkit.imap.condstore import asks_modseq
from mailkit.imap.fuzzy import is_fuzzy
from mailkit.imap.grammar import Command, SyntaxFault
from mailkit.imap.handlers.context import check_tag, keep_up_to_date, refuse
from mailkit.imap.handlers.filters import load_filters
from mailkit.imap.handlers.finding import find, highest_modseq, score
from mailkit.imap.handlers.messagelimit import complete_limited, limit_of
from mailkit.imap.handlers.table import SELECTED, Capability, Verb, after_login
from mailkit.imap.messagelimit import narrow
from mailkit.imap.results import Results, parse_results
from mailkit.imap.search import parse_search
from mailkit.imap.session import Selection
from mailkit.query import Query

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Numbers written at a time.
NUMBERS = 5000


async def search(connection: IMAPProtocol, command: Command) -> None:
    """Both commands."""
    selection = connection.selection
    assert selection is not None
    arguments = command.arguments
    arguments.space()
    results = read_results(connection, command, b"ESEARCH", b"CONTEXT=SEARCH")
    if b"UTF8=ACCEPT" in connection.enabled and arguments.accept_word(b"CHARSET"):
        # RFC 6855 section 3: all strings are UTF-8.
        raise SyntaxFault("With UTF8=ACCEPT, SEARCH takes no CHARSET")
    if results is None and connection.rev2:
        # RFC 9051 section 6.4.4: IMAP4rev2 has ESEARCH responses alone.
        results = Results(frozenset((b"ALL",)))
    try:
        filters = await load_filters(connection, arguments)
        now = connection.clock.seconds()
        query = parse_search(arguments, selection.state, now, connection.offers, filters)
        arguments.end()
        check_relevancy(results, query)
        query = collated(query, connection.collation)
        query, lowest = narrow(query, selection.state.uids, limit_of(connection))
        uids = await find(connection, selection, query)
    except MailError:
        if results is not None and results.save:
            # RFC 5182 section 2.1: a search that gets NO saves nothing.
            selection.state.saved = ()
        raise
    state = selection.state
    by_uid = command.verb.startswith(b"UID ")
    # What has come since is not in view yet, and will be announced below.
    numbers = state.in_view(uids) if by_uid else state.numbers_of(uids)
    asks = asks_modseq(query)
    shown: Sequence[int] = ()
    if asks or (results is not None and (results.save or results.relevancy)):
        shown = numbers if by_uid else state.in_view(uids)
    modseq = None
    if asks:
        connection.enable_condstore()
        of_those = shown if results is None else results.shown(shown)
        modseq = await highest_modseq(connection, selection, of_those)
    if results is None:
        await send_numbers(connection, b"SEARCH", numbers, modseq)
    else:
        if results.save:
            state.saved = array("I", results.saved(shown))
        scores = await read_scores(connection, selection, query, results, shown)
        if not results.silent:
            for piece in results.render(command.tag, numbers, by_uid, modseq, scores=scores):
                await connection.send(piece)
        if results.update and lowest:
            refuse(connection, command.tag, "Results of part of a mailbox are not kept up to date")
        elif results.update:
            found = numbers if by_uid else state.in_view(uids)
            keep_up_to_date(connection, command.tag, by_uid, query, (), found)
    await complete_limited(connection, "SEARCH completed", lowest)


def read_results(
    connection: IMAPProtocol, command: Command, extension: bytes, contexts: bytes
) -> Results | None:
    """What stands behind RETURN; None without it.

    :param extension: the capability that brings it.
    :param contexts: the capability that brings UPDATE and CONTEXT.
    """
    arguments = command.arguments
    extensions = connection.extensions
    if extension not in extensions or not arguments.accept_word(b"RETURN"):
        return None
    arguments.space()
    results = parse_results(arguments, extensions, contexts)
    arguments.space()
    if results.update:
        check_tag(connection, command.tag)
    return results


def check_relevancy(results: Results | None, query: Query, sorts: bool = False) -> None:
    """:raises SyntaxFault: relevancy is asked for without a fuzzy key (RFC 6203 sections 4, 6)."""
    if (sorts or (results is not None and results.relevancy)) and not is_fuzzy(query):
        raise SyntaxFault("RELEVANCY goes with a FUZZY key")


async def read_scores(
    connection: IMAPProtocol,
    selection: Selection,
    query: Query,
    results: Results,
    uids: Sequence[int],
) -> list[int]:
    """How relevant the messages are, in their order; nothing if nobody asks."""
    if not results.relevancy:
        return []
    scores = await score(connection, selection, query, uids)
    return [scores[uid] for uid in uids]


async def send_numbers(
    connection: IMAPProtocol, name: bytes, numbers: Sequence[int], modseq: int | None
) -> None:
    """The response of a search without RETURN."""
    connection.write(b"* " + name)
    for start in range(0, len(numbers), NUMBERS):
        # By one call: numbers one by one take several times as long.
        some = tuple(numbers[start : start + NUMBERS])
        await connection.send(b" %d" * len(some) % some)
    connection.write(b"\r\n" if modseq is None else b" (MODSEQ %d)\r\n" % modseq)


VERBS: Mapping[bytes, Verb] = {
    b"SEARCH": Verb(SELECTED, search, expunges=False),
    b"UID SEARCH": Verb(SELECTED, search, by_uid=True),
}

CAPABILITIES: Sequence[Capability] = (
    Capability(b"ESEARCH", after_login),
    Capability(b"SEARCHRES", after_login, needs=b"ESEARCH"),
    Capability(b"WITHIN", after_login),
    Capability(b"SEARCH=FUZZY", after_login),
    Capability(b"PARTIAL", after_login, needs=b"ESEARCH"),
)
