"""Which messages a command names: by numbers, UIDs, or ``$`` (RFC 5182).

However many they are, they are found in pieces, between which others have their turn.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailkit.imap.grammar import SAVED, Command, SequenceSet, SyntaxFault
from mailkit.imap.spans import Spans, extend
from mailkit.imap.state import PIECE, NoSuchNumber

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol
    from mailkit.imap.session import Selection


async def resolve(connection: IMAPProtocol, command: Command) -> Spans:
    """Read the sequence set that stands first: numbers, or UIDs for a UID command."""
    command.arguments.space()
    ranges = command.arguments.sequence_set()
    return await resolve_ranges(connection, ranges, command.verb.startswith(b"UID "))


async def resolve_ranges(connection: IMAPProtocol, ranges: SequenceSet, by_uid: bool) -> Spans:
    """The positions that a set names.

    :raises SyntaxFault: there is no such number.
    """
    selection = connection.selection
    assert selection is not None
    if ranges is not SAVED:
        return resolve_written(selection, ranges, by_uid)
    spans: Spans = []
    for piece in selection.state.saved_spans():
        extend(spans, piece)
        await connection.drain()
    return spans


def resolve_written(selection: Selection, ranges: SequenceSet, by_uid: bool) -> Spans:
    """The same at once, for a set that the client has written out."""
    if by_uid:
        return selection.state.resolve_uids(ranges)
    try:
        return selection.state.resolve_numbers(ranges)
    except NoSuchNumber:
        raise SyntaxFault("There is no message of that number") from None


async def find_uids(connection: IMAPProtocol, spans: Spans) -> Sequence[int]:
    """The UIDs at some positions of the selected mailbox."""
    selection = connection.selection
    assert selection is not None
    if len(spans) <= PIECE:
        return selection.state.uids_of(spans)
    uids = array("I")
    for start in range(0, len(spans), PIECE):
        uids.extend(selection.state.uids_of(spans[start : start + PIECE]))
        await connection.drain()
    return uids
