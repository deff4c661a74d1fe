"""MESSAGELIMIT: commands that work on part of their messages (RFC 9738)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailkit.imap.handlers.table import Capability, Facts
from mailkit.imap.messagelimit import TooManyMessages, count, last_of, limit_code
from mailkit.imap.session import MailboxGone, Selection
from mailkit.imap.spans import Spans

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


def limit_of(connection: IMAPProtocol) -> int:
    """Messages that a command of this client may work on; 0 for any number."""
    limit = connection.factory.message_limit
    return limit if limit and connection.offers(b"MESSAGELIMIT") else 0


def limit_spans(connection: IMAPProtocol, selection: Selection, spans: Spans) -> tuple[Spans, int]:
    """As many of the messages as one command may work on.

    :returns: the highest of the positions, and the lowest UID at them; 0 where these are all.
    """
    limit = limit_of(connection)
    if not limit or count(spans) <= limit:
        return spans, 0
    kept = last_of(spans, limit)
    return kept, selection.state.uids[kept[0][0]]


def check_count(connection: IMAPProtocol, uids: Sequence[int]) -> None:
    """For a command that works on all its messages or on none.

    :raises TooManyMessages: there are more than it may work on.
    """
    limit = limit_of(connection)
    if limit and len(uids) > limit:
        raise TooManyMessages(limit, uids[-limit])


def check_range(connection: IMAPProtocol, spans: Spans) -> None:
    """The same for a range of results, which is asked for as a whole."""
    limit = limit_of(connection)
    if limit and count(spans) > limit:
        raise TooManyMessages(limit)


def tell_limit(connection: IMAPProtocol, lowest: int) -> None:
    """The untagged NO, where the tagged response has another code or none.

    :param lowest: the lowest UID that was worked on; 0 where all were.
    """
    if lowest:
        code = limit_code(connection.factory.message_limit, lowest)
        connection.write(b"* NO [%b] %b\r\n" % (code, connection.line(_TEXT)))


_TEXT = TooManyMessages.default_text


async def complete_limited(
    connection: IMAPProtocol, text: str, lowest: int, code: bytes = b"", modseq: bool = False
) -> None:
    """End a command that may have worked on part of its messages.

    :param lowest: the lowest UID that was worked on; 0 where all were.
    """
    if lowest:
        try:
            await connection.announce()
        except MailboxGone:
            pass  # It is told behind the tagged response.
        selection = connection.selection
        told = selection is not None and (
            selection.state.pending_expunges or (modseq and selection.tells_modseqs)
        )
        # RFC 9738 section 3.1: EXPUNGEISSUED, and any other code, stands in the tagged response.
        if code or told:
            tell_limit(connection, lowest)
        else:
            code = limit_code(connection.factory.message_limit, lowest)
    await connection.complete(text, code, modseq)


def _limits(facts: Facts) -> bool:
    return facts.logged_in and facts.message_limit > 0


def _limit(facts: Facts) -> bytes:
    return b"=%d" % facts.message_limit


CAPABILITIES: Sequence[Capability] = (Capability(b"MESSAGELIMIT", _limits, value=_limit),)
