"""The selected mailbox as one session sees it: sequence numbers, and what is still to be told.

Pure: no clock, no I/O. Sequence numbers exist here alone; whatever talks to a mailbox uses UIDs.
"""

from __future__ import annotations

import enum
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import compress
from typing import NamedTuple

from mailkit.imap.grammar import SAVED, SequenceSet
from mailkit.imap.spans import Spans, extend, merge, runs
from mailkit.model import Changes, MessageInfo


class State(enum.Enum):
    """RFC 3501 section 3."""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"

    # Each command is looked for in sets of states, and the hash of Enum is slow.
    __hash__ = object.__hash__


#: Of so many messages, one is cut out by itself; of fewer, all are looked at.
FEW = 20
#: UIDs that are turned into numbers at a time.
PIECE = 5000
#: UIDs that are looked for in a view at a time; most often none is missing between so many.
RUN = 500
# 0 and 1 in each other's place.
_SWAPPED = bytes((1, 0, *range(2, 256)))


class NoSuchNumber(Exception):
    """A sequence set names a message that the client cannot know (RFC 3501 section 9)."""


class Batch(NamedTuple):
    """Some messages in ascending order; the sequences run in parallel."""

    numbers: Sequence[int]
    uids: Sequence[int]


class Removed(NamedTuple):
    """Some messages that are gone."""

    #: Sequence numbers for EXPUNGE responses, descending, so that each is right when it is sent.
    expunged: Sequence[int]
    #: The same messages by UID, ascending.
    vanished: Sequence[int]


class Announcement(NamedTuple):
    """What the client must be told of those that are there, in this order."""

    #: For EXISTS; None when nothing has come.
    exists: int | None
    #: For RECENT; None when nothing has come, and none of those that are gone was \\Recent.
    recent: int | None


class SelectedState:
    """Sequence numbers of one session, and the changes that it has not announced yet.

    :param uids: UIDs of the mailbox, ascending. Kept as it is, so that many sessions may share
        it, until the first difference.
    :param modseq: modification sequence that ``uids`` belong to, or an earlier one.
    """

    __slots__ = (
        "_held",
        "_keywords",
        "_new",
        "_own",
        "_vanished",
        "modseq",
        "recent",
        "saved",
        "uid_only",
        "uids",
    )

    def __init__(self, uids: Sequence[int], modseq: int) -> None:
        self.uids = uids
        self.modseq = modseq
        #: Ranges of UIDs that are \\Recent here, both ends included, ascending.
        self.recent: tuple[tuple[int, int], ...] = ()
        #: UIDs that a search has saved, ascending (RFC 5182); some may be gone.
        self.saved: Sequence[int] = ()
        #: The client may not use numbers (RFC 9586).
        self.uid_only = False
        # Gone from the mailbox, but not from the client's view, ascending.
        self._vanished: Sequence[int] = ()
        self._new = False
        # Messages that have come, but are not in the view yet.
        self._held: Sequence[int] = ()
        # Modification sequences of this session's own changes, which the client knows of.
        self._own: dict[int, int] | None = None
        self._keywords: set[str] | None = None

    # Numbers and UIDs.

    def __len__(self) -> int:
        return len(self.uids)

    def number_of(self, uid: int) -> int | None:
        """Sequence number of a UID, or None."""
        position = bisect_left(self.uids, uid)
        if position < len(self.uids) and self.uids[position] == uid:
            return position + 1
        return None

    def numbers_of(self, uids: Sequence[int]) -> Sequence[int]:
        """Sequence numbers of those UIDs that are in view, ascending like them."""
        view = self.uids
        if uids is view:
            return range(1, len(view) + 1)
        if self._gapless:
            before = view[0] - 1
            some = self._within(uids)
            if some and some[-1] - some[0] + 1 == len(some):
                return range(some[0] - before, some[-1] - before + 1)
            return [uid - before for uid in some] if before else some
        if uids == view:
            return range(1, len(view) + 1)
        if _is_gapless(uids):
            return range(bisect_left(view, uids[0]) + 1, bisect_right(view, uids[-1]) + 1)
        if len(uids) * 8 > len(view):
            return list(compress(range(1, len(view) + 1), _marks(view, uids)))
        return [number for uid in uids if (number := self.number_of(uid)) is not None]

    def numbers_in_order(self, uids: Sequence[int]) -> Iterator[Sequence[int]]:
        """Sequence numbers of UIDs that are in view, in any order, in pieces.

        Others may have their turn between them, of which some are empty.
        """
        view = self.uids
        if self._gapless:
            before = view[0] - 1
            for start in range(0, len(uids), PIECE):
                yield [uid - before for uid in uids[start : start + PIECE]]
            return
        numbers: dict[int, int] = {}
        for start in range(0, len(view), PIECE):
            some = view[start : start + PIECE]
            numbers.update(zip(some, range(start + 1, start + len(some) + 1), strict=True))
            yield ()
        for start in range(0, len(uids), PIECE):
            yield list(map(numbers.__getitem__, uids[start : start + PIECE]))

    def numbers_or_zero(self, uids: Sequence[int]) -> list[int]:
        """Sequence numbers of UIDs that are in view, in any order; 0 for 0."""
        if self._gapless:
            before = self.uids[0] - 1
            return [uid and uid - before for uid in uids]
        return [self.number_of(uid) or 0 for uid in uids]

    def in_view(self, uids: Sequence[int]) -> Sequence[int]:
        """Those of the ascending UIDs that are in view."""
        if uids is self.uids:
            return uids
        if self._gapless:
            return self._within(uids)
        if uids == self.uids:
            return uids
        if len(uids) * 8 > len(self.uids):
            return self._many_in_view(uids)
        return [uid for uid in uids if self.number_of(uid) is not None]

    def _many_in_view(self, uids: Sequence[int]) -> array[int]:
        view = self.uids
        found = array("I")
        for start in range(0, len(uids), RUN):
            some = uids[start : start + RUN]
            there = view[bisect_left(view, some[0]) : bisect_right(view, some[-1])]
            # Where none is missing between them, the view alone decides.
            found.extend(there if _is_gapless(some) else filter(set(there).__contains__, some))
        return found

    @property
    def _gapless(self) -> bool:
        """There are messages, and no UID is missing between those of the first and the last."""
        return _is_gapless(self.uids)

    def _within(self, uids: Sequence[int]) -> Sequence[int]:
        """Those of the ascending UIDs from the view's first one to its last one."""
        view = self.uids
        return uids[bisect_left(uids, view[0]) : bisect_right(uids, view[-1])]

    def spans_of(self, uids: Sequence[int], among: Spans) -> Spans:
        """Where those of the ascending UIDs are that are in view at some positions.

        :param among: ascending.
        """
        places = [number - 1 for number in self.numbers_of(uids)]
        spans: Spans = []
        for start, stop in among:
            spans += runs(places[bisect_left(places, start) : bisect_left(places, stop)])
        return spans

    def resolve_numbers(self, ranges: SequenceSet) -> Spans:
        """Positions that a set of sequence numbers names.

        :raises NoSuchNumber: a number is beyond the mailbox's end.
        """
        if ranges is SAVED:
            return self._saved_spans()
        last = len(self.uids)
        spans = []
        for low, high in ranges:
            first, end = low or last, high or last
            if first > end:
                first, end = end, first
            # RFC 3501 section 9, seq-number: "*" too, if the mailbox is empty.
            if first == 0 or end > last:
                raise NoSuchNumber
            spans.append((first - 1, end))
        return merge(spans)

    def resolve_uids(self, ranges: SequenceSet) -> Spans:
        """Positions that a set of UIDs names; UIDs that do not exist name nothing.

        RFC 3501 section 6.4.8: that is no error. ``*`` is the last message, so that ``9:*`` names it
        even if its UID is lower.
        """
        if ranges is SAVED:
            return self._saved_spans()
        view = self.uids
        if not view:
            return []
        last = view[-1]
        spans = []
        for low, high in ranges:
            first, end = low or last, high or last
            if first > end:
                first, end = end, first
            start, stop = bisect_left(view, first), bisect_right(view, end)
            if start < stop:
                spans.append((start, stop))
        return merge(spans)

    def clamp_numbers(self, ranges: SequenceSet) -> Spans:
        """Like :meth:`resolve_numbers`, but numbers beyond the end name nothing.

        lenient: RFC 3501 section 9 makes them an error in SEARCH too, but clients search by numbers
        that an EXPUNGE has just taken away, and other servers find nothing there.
        """
        if ranges is SAVED:
            return self._saved_spans()
        last = len(self.uids)
        spans = []
        for low, high in ranges:
            first, end = low or last, high or last
            if first > end:
                first, end = end, first
            if last and first <= last:
                spans.append((first - 1, min(end, last)))
        return merge(spans)

    def _saved_spans(self) -> Spans:
        spans: Spans = []
        for piece in self.saved_spans():
            extend(spans, piece)
        return spans

    def saved_spans(self) -> Iterator[Spans]:
        """Positions of what a search has saved, in pieces that :func:`extend` puts together.

        Others may have their turn between them, as long as nothing is announced.
        """
        # RFC 5182 section 2.1: an empty result is valid, and names nothing.
        view, saved = self.uids, self.saved
        for at in range(0, len(saved), PIECE):
            some = saved[at : at + PIECE]
            start, stop = bisect_left(view, some[0]), bisect_right(view, some[-1])
            there = view[start:stop]
            if len(there) == len(some) and there == some:
                yield [(start, stop)]
            else:
                yield runs(list(compress(range(start, stop), _marks(there, some))))

    def uids_of(self, spans: Spans) -> Sequence[int]:
        """The UIDs at some positions."""
        if len(spans) == 1:
            # A slice of a range, or of an array, is made at once, however long it is.
            ((start, stop),) = spans
            some = self.uids[start:stop]
            # Who gets a range need not look whether any is missing.
            return range(some[0], some[-1] + 1) if _is_gapless(some) else some
        uids: list[int] = []
        for start, stop in spans:
            uids.extend(self.uids[start:stop])
        return uids

    def batches(self, spans: Spans, size: int) -> Iterator[Batch]:
        """The messages at some positions, at most ``size`` at a time."""
        view = self.uids
        numbers: list[int] = []
        uids: list[int] = []
        for start, stop in spans:
            while start < stop:
                if not uids and stop - start >= size:
                    yield Batch(range(start + 1, start + size + 1), view[start : start + size])
                    start += size
                    continue
                end = min(stop, start + size - len(uids))
                numbers.extend(range(start + 1, end + 1))
                uids.extend(view[start:end])
                start = end
                if len(uids) == size:
                    yield Batch(numbers, uids)
                    numbers, uids = [], []
        if uids:
            yield Batch(numbers, uids)

    # \Recent.

    def add_recent(self, first: int, last: int) -> None:
        """Messages with UIDs in this range are \\Recent in this session."""
        if first <= last:
            if self.recent and self.recent[-1][1] + 1 >= first:
                first = self.recent[-1][0]
                self.recent = (*self.recent[:-1], (first, last))
            else:
                self.recent = (*self.recent, (first, last))

    def recent_count(self) -> int:
        """Number of messages in view that are \\Recent."""
        view = self.uids
        return sum(
            bisect_right(view, last) - bisect_left(view, first) for first, last in self.recent
        )

    def is_recent(self, uid: int) -> bool:
        for first, last in self.recent:  # noqa: SIM110  (a generator takes twice the time)
            if first <= uid <= last:
                return True
        return False

    def any_recent(self, uids: Sequence[int]) -> bool:
        """Whether any of the ascending UIDs may be \\Recent."""
        return bool(self.recent and uids and uids[-1] >= self.recent[0][0])

    # Keywords that were told in FLAGS.

    def new_keywords(self, flags: Iterable[str], known: Iterable[str]) -> list[str]:
        """Keywords beyond the known ones that the client has been told of, if some are new."""
        if self._keywords is None:
            told = {flag.lower() for flag in known}
        else:
            told = {flag.lower() for flag in (*known, *self._keywords)}
        fresh = {flag for flag in flags if not flag.startswith("\\") and flag.lower() not in told}
        if not fresh:
            return []
        self._keywords = fresh | (self._keywords or set())
        return sorted(self._keywords)

    # Changes.

    def note_own(self, messages: Iterable[MessageInfo]) -> None:
        """The client knows these messages' flags already."""
        fresh = {
            message.uid: message.modseq for message in messages if message.modseq > self.modseq
        }
        if fresh:
            if self._own is None:
                self._own = fresh
            else:
                self._own.update(fresh)

    def note_changed(self, uids: Iterable[int], modseq: int) -> None:
        """This session has changed these messages' flags."""
        fresh = dict.fromkeys(uids, modseq)
        self._own = fresh if self._own is None else {**self._own, **fresh}

    def absorb(self, changes: Changes, arrivals: bool = True) -> Sequence[int]:
        """Take changes into account.

        :param arrivals: new messages come into view now; otherwise the next time.
        :returns: UIDs in view whose flags may have changed.
        """
        self.modseq = max(self.modseq, changes.highest_modseq)
        if changes.vanished:
            if self._held:
                self._held = sorted(set(self._held).difference(changes.vanished))
            gone = self.in_view(changes.vanished)
            self._vanished = sorted({*self._vanished, *gone}) if self._vanished else gone
        changed = changes.changed
        if changes.added:
            last = self._held[-1] if self._held else self.uids[-1] if self.uids else 0
            fresh = [uid for uid in changes.added if uid > last]
            if len(fresh) < len(changes.added):  # Listed after the sequence was read.
                changed = sorted({*changed, *changes.added}.difference(fresh))
            if fresh:
                self._held = [*self._held, *fresh]
        if arrivals:
            self.admit()
        return self.in_view(changed) if changed else ()

    def admit(self) -> None:
        """Messages that have come are in the view from now on, and are to be announced."""
        if self._held:
            fresh, self._held = self._held, ()
            self.uids = _extended(self.uids, fresh)
            self._new = True

    def is_news(self, message: MessageInfo) -> bool:
        """Whether the client does not know these flags yet."""
        return self._own is None or self._own.get(message.uid) != message.modseq

    def is_own(self, uid: int, modseq: int) -> bool:
        """Whether this session has made a change that is to be announced."""
        return self._own is not None and self._own.get(uid) == modseq

    def others_changes(self, uids: Sequence[int], modseq: int) -> Sequence[int]:
        """Those whose flags may be news, for they have been changed by somebody else.

        :param modseq: the highest one of the mailbox.
        """
        own = self._own
        if own is None:
            return uids
        # After the last change of all there is nobody else's.
        return [uid for uid in uids if own.get(uid) != modseq]

    def forget_own(self) -> None:
        """All changes up to now have been announced."""
        self._own = None

    @property
    def pending(self) -> bool:
        """Something waits to be announced."""
        return self._new or bool(self._vanished or self._held)

    @property
    def pending_expunges(self) -> bool:
        """Messages that the client still counts are gone."""
        return bool(self._vanished)

    def gone_among(self, uids: Iterable[int]) -> Collection[int]:
        """Those of the messages that are gone, which the client has not been told yet."""
        return set(self._vanished).intersection(uids) if self._vanished else ()

    def remove_gone(self, size: int) -> Iterator[Removed]:
        """Take what is gone out of the view, in pieces; it counts as told (RFC 3501 section 7.4.1).

        Others may have their turn between them, as long as nobody asks for the view: it is as before
        until the last piece has been taken.

        :param size: messages of a piece.
        """
        vanished, self._vanished = self._vanished, ()
        if not vanished:
            return
        view, end = self.uids, len(self.uids)
        left: list[Sequence[int]] = []
        # From the end: what comes before keeps its numbers.
        for last in range(len(vanished), 0, -size):
            some = vanished[max(0, last - size) : last]
            start, stop = bisect_left(view, some[0], 0, end), bisect_right(view, some[-1], 0, end)
            numbers, between = _without(view, start, stop, some)
            left += (view[stop:end], between)
            end = start
            yield Removed(numbers, some)
        whole = array("I", view[:end])
        for part in reversed(left):
            whole.extend(part)
        self.uids = whole

    def announce(self, recent_before: int = 0) -> Announcement:
        """What to tell now, behind what is gone; it counts as told.

        :param recent_before: how many messages were \\Recent before some were removed.
        """
        exists = recent = None
        if self._new:
            self._new = False
            exists = len(self.uids)
        if exists is not None or recent_before:
            recent = self.recent_count()
            if exists is None and recent == recent_before:
                recent = None
        return Announcement(exists, recent)

    def adopt(self, uids: Sequence[int]) -> None:
        """Share this sequence if it says the same as the session's own."""
        mine = self.uids
        # Both come from one history: a difference is a missing message (then the lengths differ)
        # or a later one (then the last UID does).
        if len(uids) == len(mine) and (not mine or uids[-1] == mine[-1]):
            self.uids = uids


def _is_gapless(uids: Sequence[int]) -> bool:
    """Whether there are some, and none is missing between the first and the last."""
    return bool(uids) and uids[-1] - uids[0] + 1 == len(uids)


def _marks(view: Sequence[int], uids: Sequence[int]) -> bytes:
    """An octet for each of the view: 1 for those that are among the UIDs.

    In few calls for the many messages: others wait meanwhile.
    """
    return bytes(map(set(uids).__contains__, view))


def _without(
    view: Sequence[int], start: int, stop: int, gone: Sequence[int]
) -> tuple[Sequence[int], Sequence[int]]:
    """Sequence numbers of messages that are gone, descending, and what is left between them.

    :param start: position of the first of them in the view.
    :param stop: position behind the last one.
    """
    if stop - start == len(gone):
        return range(stop, start, -1), ()
    part = array("I", view[start:stop])
    if len(gone) * FEW <= len(part):
        places = [bisect_left(part, uid) for uid in gone]
        left, begin = array("I"), 1
        for place in places[1:]:
            left += part[begin:place]
            begin = place + 1
        return [start + place + 1 for place in reversed(places)], left
    marks = _marks(part, gone)
    numbers = array("I", compress(range(start + 1, stop + 1), marks))
    numbers.reverse()
    return numbers, array("I", compress(part, marks.translate(_SWAPPED)))


def _extended(uids: Sequence[int], fresh: Sequence[int]) -> Sequence[int]:
    if _is_gapless(uids) and _is_gapless(fresh) and fresh[0] == uids[-1] + 1:
        # Made at once, however many there are.
        return range(uids[0], fresh[-1] + 1)
    copy = array("I", uids)
    copy.extend(fresh)
    return copy
