"""Telling a client what it has missed while it was away (QRESYNC, RFC 7162 section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.imap import render
from mailkit.imap.condstore import Resync, within
from mailkit.imap.handlers.table import Capability, Enabling, after_login
from mailkit.imap.session import BATCH, Selection
from mailkit.model import Changes

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: UIDs of one VANISHED response.
VANISHED_BATCH = 5000


async def tell_vanished(
    connection: IMAPProtocol, since: int, ranges: Sequence[tuple[int, int]], above: int = 0
) -> Changes:
    """VANISHED (EARLIER) for those of some UIDs that are gone since a modification sequence.

    :param above: UIDs up to this one are not told.
    :returns: all that has changed since.
    """
    selection = connection.selection
    assert selection is not None
    changes = await selection.mailbox.get_changes(since=since)
    gone = within(changes.vanished, ranges)
    # What the client counts still will be told by VANISHED without EARLIER.
    viewed = set(selection.state.in_view(gone))
    gone = [uid for uid in gone if uid > above and uid not in viewed]
    for start in range(0, len(gone), VANISHED_BATCH):
        some = gone[start : start + VANISHED_BATCH]
        await connection.send(b"* VANISHED (EARLIER) %b\r\n" % render.uid_set(some))
    return changes


async def resynchronize(
    connection: IMAPProtocol, selection: Selection, resync: Resync, uid_next: int
) -> None:
    """What has happened since the client was here last (RFC 7162 section 3.2.5)."""
    if resync.uid_validity != selection.uid_validity:
        return
    state = selection.state
    known = resync.known_uids if resync.known_uids is not None else ((1, uid_next - 1),)
    above = resync.last_match(state.uids) if resync.numbers else 0
    changes = await tell_vanished(connection, resync.modseq, known, above)
    changed = within(sorted({*changes.added, *changes.changed}), known)
    entries: Mapping[int, Sequence[str]] = {}
    if selection.tells_annotations:
        entries = await selection.changed_entries(resync.modseq)
    for start in range(0, len(changed), BATCH):
        await connection.drain()
        infos = await selection.mailbox.get_messages(uids=changed[start : start + BATCH])
        connection.write(selection.flag_updates(infos, True, entries))
        state.note_own(infos)


CAPABILITIES: Sequence[Capability] = (
    Capability(b"CONDSTORE", after_login),
    Capability(b"QRESYNC", after_login, needs=b"CONDSTORE"),
)

ENABLEABLE: Enabling = {
    b"CONDSTORE": lambda connection: connection.enable_condstore(),
    b"QRESYNC": lambda connection: connection.enable_qresync(),
}
