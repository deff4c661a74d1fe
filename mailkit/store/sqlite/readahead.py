"""Looking ahead: whoever reads one message of a mailbox after the other wants the next ones, too."""

from __future__ import annotations

import time

from mailkit.errors import MailError
from mailkit.store.sqlite.bodies import BodyPlace, Cold
from mailkit.store.sqlite.core import Core

#: Octets of a message up to which it is read at once.
MAX_READY = 64 * 1024
#: Messages whose places are asked for together, at most.
MAX_AHEAD = 64
#: Seconds for which a place is believed: another process may remove the message.
_FRESH = 0.05


class ReadAhead:
    """Messages of one mailbox, for one reader."""

    def __init__(self, core: Core, mailbox_id: int) -> None:
        self._core = core
        self._id = mailbox_id
        self._places: dict[int, BodyPlace] = {}
        self._ahead = 1
        # When they were looked up, and after how many of our own changes.
        self._since = 0.0
        self._commits = -1

    def read(self, uid: int) -> bytes | None:
        """All octets of a small message that are in memory; None for whatever else there is."""
        place = self._find(uid)
        if place is None or place.size > MAX_READY:
            return None
        try:
            return self._core.bodies.read(place, nowait=True)
        except (Cold, OSError, MailError):
            # Not in memory, moved, or damaged: the long way finds out.
            return None

    def _find(self, uid: int) -> BodyPlace | None:
        now = time.monotonic()
        if now - self._since > _FRESH:
            self._ahead = 1
        elif self._commits == self._core.writer.commits and uid in self._places:
            return self._places[uid]
        self._since = now
        self._commits = self._core.writer.commits
        self._places = self._core.reader.body_places(self._id, uid, self._ahead)
        self._ahead = min(2 * self._ahead, MAX_AHEAD)
        return self._places.get(uid)
