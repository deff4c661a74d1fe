"""STORE X-GM-LABELS, and the capability that brings labels (X-GM-EXT-1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import PermissionDenied
from mailkit.imap.fetch import Attribute
from mailkit.imap.grammar import Command, SyntaxFault
from mailkit.imap.handlers.fetch import refuse_gone, send_items
from mailkit.imap.handlers.labels import read_names
from mailkit.imap.handlers.messagelimit import complete_limited, limit_spans, tell_limit
from mailkit.imap.handlers.sets import find_uids
from mailkit.imap.handlers.table import Capability, Facts
from mailkit.imap.labels import Wanted, read_labels
from mailkit.imap.spans import Spans
from mailkit.interfaces import ILabelledMailbox, ILabellingAccount, IWritableMailbox
from mailkit.model import FlagOp, StoreResult

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

_NAME = b"X-GM-EXT-1"
#: Messages that one call of the backend gives labels.
LABEL_BATCH = 1000

_OPERATIONS: Mapping[bytes, FlagOp] = {
    b"X-GM-LABELS": FlagOp.REPLACE,
    b"+X-GM-LABELS": FlagOp.ADD,
    b"-X-GM-LABELS": FlagOp.REMOVE,
}


def find_operation(connection: IMAPProtocol, word: bytes) -> tuple[FlagOp, bool] | None:
    """What a STORE is to do, and whether in silence; None where it is not about labels.

    :param word: such as ``+X-GM-LABELS.SILENT``, in capitals.
    """
    name, dot, suffix = word.partition(b".")
    if name not in _OPERATIONS or not connection.offers(_NAME):
        return None
    if dot and suffix != b"SILENT":
        raise SyntaxFault("STORE takes X-GM-LABELS with or without .SILENT")
    return _OPERATIONS[name], bool(dot)


async def store_labels(
    connection: IMAPProtocol, command: Command, spans: Spans, op: FlagOp, silent: bool
) -> None:
    """A STORE of labels from its list on."""
    selection = connection.selection
    assert selection is not None
    command.arguments.space()
    labels = read_labels(command.arguments)
    command.arguments.end()
    mailbox = selection.to_write()
    await connection.announce(expunges=False)
    names = await read_names(connection)
    wanted = names.select(labels, missing=op is FlagOp.REMOVE)
    spans, lowest = limit_spans(connection, selection, spans)
    by_uid = command.verb.startswith(b"UID ")
    items = [Attribute(b"X-GM-LABELS"), *([Attribute(b"UID")] if by_uid else [])]
    uids = await find_uids(connection, spans)
    missing = False
    for start in range(0, len(uids), LABEL_BATCH):
        some = uids[start : start + LABEL_BATCH]
        result = await _change(mailbox, some, op, wanted)
        selection.dirty = True
        missing = missing or len(result.messages) < len(some)
        if not silent:
            await send_items(connection, items, [info.uid for info in result.messages])
    if missing and not (by_uid or silent):
        # RFC 2180 sections 4.2.1 to 4.2.3, as for flags.
        tell_limit(connection, lowest)
        await refuse_gone(connection)
    else:
        await complete_limited(connection, "STORE completed", lowest)


async def _change(
    mailbox: IWritableMailbox, uids: Sequence[int], op: FlagOp, wanted: Wanted
) -> StoreResult:
    names, flags = wanted
    if ILabelledMailbox.providedBy(mailbox):
        return await mailbox.change_labels(uids=uids, op=op, names=names, flags=flags)
    if names or op is FlagOp.REPLACE:
        raise PermissionDenied("Only messages in mailboxes of your own have labels")
    return await mailbox.store_flags(uids=uids, op=op, flags=flags)


def _is_chosen(facts: Facts) -> bool:
    return facts.logged_in and _NAME in facts.choices


CAPABILITIES: Sequence[Capability] = (
    Capability(_NAME, _is_chosen, needs=b"OBJECTID", provides=ILabellingAccount),
)
