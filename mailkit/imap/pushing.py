"""When an IMAP connection tells of changes that nobody has just asked for: IDLE and NOTIFY."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from mailkit._typing import override
from mailkit.imap.answering import AnsweringConnection
from mailkit.imap.notify import Event

if TYPE_CHECKING:
    from mailkit.imap.handlers.metadata import MetadataAnnouncer
    from mailkit.imap.handlers.notify import Notifier
    from mailkit.imap.protocol import IMAPFactory
    from mailkit.imap.session import Selection


class PushingConnection(AnsweringConnection):
    """Wakes up when something has changed.

    :ivar selection: the selected mailbox.
    :ivar notifier: what the client wants to be told of besides (RFC 5465); None before the first
        NOTIFY.
    :ivar metadata: tells of changed entries, once METADATA is enabled (RFC 5464 section 4.4).
    """

    __slots__ = ("_wake", "idling", "metadata", "notifier", "selection")

    factory: IMAPFactory

    def __init__(self) -> None:
        AnsweringConnection.__init__(self)
        self.selection: Selection | None = None
        self.idling = False
        self.notifier: Notifier | None = None
        self.metadata: MetadataAnnouncer | None = None
        self._wake: IDelayedCall | None = None

    @property
    def has_news(self) -> bool:
        """There may be something that the client is to be told between commands."""
        selection, notifier = self.selection, self.notifier
        if notifier is None:
            return self.idling and selection is not None and selection.dirty
        return notifier.dirty or (
            selection is not None and selection.dirty and bool(notifier.wanted.selected)
        )

    def set_notifier(self, notifier: Notifier | None) -> None:
        """From now on the client is told what it has asked for by NOTIFY."""
        if self.notifier is not None:
            self.notifier.close()
        self.notifier = notifier
        if notifier is not None and self.selection is not None:
            # What has come together while nobody wanted to know (RFC 5465 section 3.1).
            self.selection.dirty = True

    @override
    def tell_news(self) -> None:
        if self.metadata is not None:
            self.metadata.tell()

    def settle(self) -> None:
        """Tell how far the client knows everything, where it might believe that it knows more.

        RFC 7162 sections 3.2 and 6: something is not told yet, so that the higher modification
        sequences that it has seen must not be taken for all there is.
        """
        selection = self.selection
        if selection is not None and selection.tells_modseqs and selection.owes:
            self.remark(selection.highest_modseq())

    def end_metadata(self) -> None:
        """Whoever was logged in is to hear of no changes any more."""
        if self.metadata is not None:
            self.metadata.close()
            self.metadata = None

    def note_own(self, event: Event, *names: str) -> None:
        """The client has changed these names itself."""
        if self.notifier is not None:
            for name in names:
                self.notifier.note_own(event, name)

    def wake(self) -> None:
        """Something has changed."""
        if (self.idling or self.notifier is not None) and self._wake is None:
            # Not at once: the store is in the middle of a change, and several make one update.
            self._wake = self.clock.callLater(0, self._woken)

    def _woken(self) -> None:
        self._wake = None
        if self.idling or self.notifier is not None:
            self.pump()
            self.poll()

    def poll(self) -> None:
        """Look now and then at a mailbox that does not tell of changes."""
        selection = self.selection
        if selection is not None and not selection.watched and self._wake is None:
            self._wake = self.clock.callLater(self.factory.poll_interval, self._poll_now)

    def _poll_now(self) -> None:
        if self.selection is not None:
            self.selection.dirty = True
        self._woken()

    def stop_waking(self) -> None:
        """Nobody wants to know of changes any more."""
        wake, self._wake = self._wake, None
        if wake is not None:
            wake.cancel()
