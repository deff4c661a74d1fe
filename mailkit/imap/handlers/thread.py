"""THREAD and UID THREAD (RFC 5256; draft-ietf-morg-inthread for REFS)."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.imap.comparator import collated
from mailkit.imap.condstore import asks_modseq
from mailkit.imap.grammar import Command
from mailkit.imap.handlers.filters import load_filters
from mailkit.imap.handlers.finding import find
from mailkit.imap.handlers.ordering import thread_messages
from mailkit.imap.handlers.table import SELECTED, Capability, Verb, after_login
from mailkit.imap.search import parse_criteria_search
from mailkit.imap.thread import parse_algorithm, render_threads

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Messages of threads that are numbered in one go.
NUMBERED_AT_ONCE = 5000


async def thread(connection: IMAPProtocol, command: Command) -> None:
    """Both commands."""
    selection = connection.selection
    assert selection is not None
    state = selection.state
    arguments = command.arguments
    arguments.space()
    algorithm = parse_algorithm(arguments, connection.offers)
    arguments.space()
    filters = await load_filters(connection, arguments)
    now = connection.clock.seconds()
    query = parse_criteria_search(arguments, state, now, connection.offers, filters)
    query = collated(query, connection.collation)
    arguments.end()
    if asks_modseq(query):
        connection.enable_condstore()
    # What has come since is not in view yet, and will be announced below.
    found = state.in_view(await find(connection, selection, query))
    uids, depths = await thread_messages(
        connection, selection, found, algorithm, connection.collation
    )
    # RFC 5256 section 5: no space where nothing is found.
    connection.write(b"* THREAD " if uids else b"* THREAD")
    numbers: Sequence[int] = uids
    if not command.verb.startswith(b"UID "):
        numbers = array("I")
        for start in range(0, len(uids), NUMBERED_AT_ONCE):
            numbers.extend(state.numbers_or_zero(uids[start : start + NUMBERED_AT_ONCE]))
            await connection.send(b"")
    for piece in render_threads(numbers, depths):
        await connection.send(piece)
    connection.write(b"\r\n")
    await connection.complete("THREAD completed")


_ANY = (b"THREAD=ORDEREDSUBJECT", b"THREAD=REFERENCES", b"THREAD=REFS")

VERBS: Mapping[bytes, Verb] = {
    b"THREAD": Verb(SELECTED, thread, expunges=False),
    b"UID THREAD": Verb(SELECTED, thread, by_uid=True),
}

CAPABILITIES: Sequence[Capability] = tuple(Capability(name, after_login) for name in _ANY)
