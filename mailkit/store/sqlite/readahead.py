"""Looking ahead: whoever reads one message of a mailbox after the other wants the next ones, too."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mailkit.errors import MailError
from mailkit.store.sqlite.bodies import BodyFiles, BodyPlace, Cold, next_to_each_other
from mailkit.store.sqlite.core import Core

#: Octets of a message up to which it is read at once.
MAX_READY = 64 * 1024
#: Messages whose places are asked for together, at most.
MAX_AHEAD = 64
#: Seconds for which a place is believed, as long as there was no commit in the store.
_FRESH = 0.5


class ReadAhead:
    """Messages of one mailbox, for one reader."""

    def __init__(self, core: Core, mailbox_id: int) -> None:
        self._core = core
        self._id = mailbox_id
        self._places: dict[int, BodyPlace] = {}
        # The last one of them.
        self._last = 0
        # How often one of them was asked for.
        self._used = 0
        # When they were looked up, and after how many of our own changes.
        self._since = 0.0
        self._commits = -1

    def read(self, uid: int) -> bytes | None:
        """All octets of a small message that are in memory; None for whatever else there is."""
        core = self._core
        place = self._places.get(uid)
        # As _knows() says it: most questions end here.
        if (
            place is None
            or self._commits != core.writer.commits
            or time.monotonic() - self._since > _FRESH
        ):
            place = self._find(uid)
            if place is None:
                return None
        else:
            self._used += 1
        if place.size > MAX_READY:
            return None
        try:
            return core.bodies.read(place, nowait=True)
        except (Cold, OSError, MailError):
            # Not in memory, moved, or damaged: the long way finds out.
            return None

    async def read_several(self, uids: Sequence[int], octets: int) -> list[bytes]:
        """See :class:`~mailkit.interfaces.IBatchReadingMailbox`."""
        places = self._choose(uids, octets)
        bodies = self._core.bodies
        found, is_cold = _read(bodies, places, nowait=True)
        if is_cold and not found:
            # All in one go: each wait for a thread takes longer than most reads.
            found, _ = await self._core.in_thread(_read, bodies, places)
        return found

    def _choose(self, uids: Sequence[int], octets: int) -> list[BodyPlace]:
        if len(uids) == 1:
            # Many clients ask for one after the other.
            self._find(uids[0])
        elif len(uids) and not self._knows(uids[0], now := time.monotonic()):
            self._note(now)
            self._places = self._core.reader.find_places(self._id, uids[:MAX_AHEAD])
            self._last = max(self._places, default=0)
        chosen: list[BodyPlace] = []
        places = self._places
        for uid in uids:
            place = places.get(uid)
            if place is None:
                break
            size = place.size
            octets -= size
            if octets < 0 or size > MAX_READY:
                break
            chosen.append(place)
        return chosen

    def _find(self, uid: int) -> BodyPlace | None:
        now = time.monotonic()
        if not self._knows(uid, now):
            # Further and further, as long as the reader goes on where it was; no further than it
            # came in the time for which the last ones were believed, however slow that was.
            is_next = uid in self._places or 0 < uid - self._last <= MAX_AHEAD
            ahead = min(2 * self._used, MAX_AHEAD) if is_next and self._used else 1
            self._note(now)
            self._places = self._core.reader.body_places(self._id, uid, ahead)
            self._last = max(self._places, default=0)
        self._used += 1
        return self._places.get(uid)

    def _note(self, now: float) -> None:
        self._used = 0
        # Before the index is asked: what is committed meanwhile may not be in the answer.
        self._since = now
        self._commits = self._core.writer.commits

    def _knows(self, uid: int, now: float) -> bool:
        return (
            uid in self._places
            and now - self._since <= _FRESH
            and self._commits == self._core.writer.commits
        )


def _read(
    bodies: BodyFiles, places: Sequence[BodyPlace], nowait: bool = False
) -> tuple[list[bytes], bool]:
    """Bodies up to the first one that is not to be had, and whether that is not in memory."""
    found: list[bytes] = []
    for together in next_to_each_other(places):
        try:
            some = bodies.read_together(together, nowait=nowait)
        except Cold:
            return found, True
        except (OSError, MailError):
            # Moved, or damaged: the long way finds out.
            break
        found += some
        if len(some) < len(together):
            break
    return found, False
