"""UIDBATCHES: ranges of UIDs with equally many messages in each (RFC 10022)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.imap.grammar import MAX_NUMBER, Command, SyntaxFault
from mailkit.imap.handlers.table import SELECTED, Capability, Verb, Waiting, after_login

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Messages of a batch at least, which is what the standard wants every server to take.
MIN_BATCH = 500

_BATCH_RANGE = re.compile(rb"(\d{1,10}):(\d{1,10})(?=\Z| *\Z)")


def uid_batches(connection: IMAPProtocol, command: Command) -> Waiting:
    """``UIDBATCHES 2000 1:10``: the newest messages are the first batch."""
    arguments = command.arguments
    arguments.space()
    size = arguments.nonzero_number()
    first, last = 1, MAX_NUMBER
    if not arguments.at_end():
        arguments.space()
        found = _BATCH_RANGE.match(arguments.data, arguments.position)
        if found is None:
            raise SyntaxFault("UIDBATCHES takes a range of batches such as 1:10")
        arguments.position = found.end()
        first, last = int(found[1]), int(found[2])
    arguments.end()
    if not 0 < first <= last <= MAX_NUMBER:
        connection.bad("The first batch of a range comes before the last", b"CLIENTBUG")
        return None
    if size < MIN_BATCH:
        connection.no(f"A batch has at least {MIN_BATCH} messages", b"TOOFEW")
        return None
    selection = connection.selection
    assert selection is not None
    ranges = b",".join(
        b"%d:%d" % span for span in split_batches(selection.state.uids, size, first, last)
    )
    connection.write(
        b'* UIDBATCHES (TAG "%b")%b%b\r\n' % (command.tag, b" " if ranges else b"", ranges)
    )
    return connection.complete("UIDBATCHES completed")


def split_batches(
    uids: Sequence[int], size: int, first: int, last: int
) -> Iterator[tuple[int, int]]:
    """Ranges of UIDs, highest first: together they leave no UID out.

    :param uids: of all messages, ascending.
    :param first: the first batch that is wanted, counted from the newest messages, from 1.
    """
    count = len(uids)
    for batch in range(first, min(last, -(-count // size)) + 1):
        high = uids[-1] if batch == 1 else uids[count - (batch - 1) * size] - 1
        begin = count - batch * size
        yield high, uids[begin] if begin > 0 else 1


VERBS: Mapping[bytes, Verb] = {
    b"UIDBATCHES": Verb(SELECTED, uid_batches, extension=b"UIDBATCHES"),
}

CAPABILITIES: Sequence[Capability] = (Capability(b"UIDBATCHES", after_login),)
