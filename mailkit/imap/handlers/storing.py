"""What all kinds of STORE have in common (RFC 3501 section 6.4.6, RFC 7162 section 3.1.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mailkit.imap import render
from mailkit.imap.session import BATCH, Selection
from mailkit.model import MessageInfo, StoreResult

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Messages that one call of the backend changes.
CHANGE_BATCH = 5000


class Storing:
    """One STORE at work."""

    def __init__(self, connection: IMAPProtocol, selection: Selection, by_uid: bool) -> None:
        self.connection = connection
        self.selection = selection
        self.by_uid = by_uid
        #: Some of the messages are gone.
        self.missing = False
        #: UIDs of those that had been changed before (RFC 7162 section 3.1.3).
        self.modified: list[int] = []

    def take(self, result: StoreResult, asked: Sequence[int]) -> None:
        """Some messages have been changed."""
        done, modified = result.messages, result.modified
        self.missing = self.missing or len(done) + len(modified) < len(asked)
        self.modified.extend(modified)
        self.selection.state.note_own(done)

    def flags(self, infos: Sequence[MessageInfo]) -> bytes:
        """FETCH responses that tell flags."""
        return self.selection.flag_updates(infos, self.by_uid)

    async def tell(
        self, infos: Sequence[MessageInfo], render_some: Callable[[Sequence[MessageInfo]], bytes]
    ) -> None:
        for start in range(0, len(infos), BATCH):
            await self.connection.drain()
            self.connection.write(render_some(infos[start : start + BATCH]))

    async def tell_modseqs(self, infos: Sequence[MessageInfo]) -> None:
        """RFC 7162 section 3.1.3: to a client that knows of them, in silence too."""
        if self.selection.tells_modseqs:
            await self.tell(infos, self.selection.modseq_updates)

    async def tell_modified(self, uids: Sequence[int]) -> None:
        """RFC 7162 section 3.1.3: so that the client need not ask why."""
        if uids:
            infos = await self.selection.mailbox.get_messages(uids=uids)
            self.selection.state.note_own(infos)
            await self.tell(infos, self.flags)

    def modified_code(self) -> bytes:
        """The response code that names the messages that were left alone."""
        if not self.modified:
            return b""
        state = self.selection.state
        named = self.modified if self.by_uid else state.numbers_of(self.modified)
        return b"MODIFIED " + render.uid_set(named)
