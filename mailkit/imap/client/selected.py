"""The mailbox that is selected, as far as the server has told. No I/O."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence

from mailkit._typing import override
from mailkit.client.errors import ProtocolError
from mailkit.imap.client.reader import RESPONSE_LIMITS, ResponseLimits
from mailkit.imap.client.responses import Typed
from mailkit.imap.client.sets import RangeSet
from mailkit.imap.client.text import parse_ranges, words
from mailkit.imap.client.values import (
    Exists,
    Expunge,
    MailboxFlags,
    Message,
    Ranges,
    Recent,
    Status,
    Vanished,
)
from mailkit.imap.grammar import SyntaxFault
from mailkit.model import Flags

#: Messages of one mailbox: four octets each are kept.
MAX_MESSAGES = 10_000_000
#: Messages that are looked through for those of VANISHED, where the UIDs of only some are known; in
#: a larger mailbox those are forgotten.
MAX_MIXED = 100_000


class Selected:
    """A mailbox that is open."""

    def __init__(
        self, name: str, read_only: bool, limits: ResponseLimits = RESPONSE_LIMITS
    ) -> None:
        self._limits = limits
        #: Decoded.
        self.name = name
        #: It cannot be changed in this session.
        self.read_only = read_only
        #: SELECT is not answered yet.
        self.opening = True
        self._reset()

    @override
    def __repr__(self) -> str:
        end = ", read-only" if self.read_only else ""
        return f"<Selected {self.name!r}: {self.exists} messages{end}>"

    def _reset(self) -> None:
        self.recent = 0
        #: Flags that its messages may have.
        self.flags: Flags = frozenset()
        #: Flags that can be set for good; ``\\*`` among them: new keywords too.
        self.permanent_flags: Flags | None = None
        #: 0 where the server has not told.
        self.uid_validity = 0
        self.uid_next: int | None = None
        #: None: the mailbox has no modification sequences (RFC 7162 section 3.1.2.2).
        self.highest_modseq: int | None = None
        #: Octets that the value of an annotation may have (RFC 5257 section 4.1): 0 where none can
        #: be changed, None where the server has not told, or keeps none.
        self.max_annotation: int | None = None
        #: Names the mailbox (RFC 8474), or None.
        self.mailbox_id: str | None = None
        #: Counts the messages that have gone: a number from before may mean another message now.
        self.removals = 0
        # By number: the UID, 0 where it has not been told.
        self._uids = array("I")
        # So many are 0.
        self._unknown = 0

    @property
    def exists(self) -> int:
        """Messages in the mailbox."""
        return len(self._uids)

    def uid_of(self, number: int) -> int | None:
        """The UID of a message, where the server has told."""
        return (self._uids[number - 1] or None) if 0 < number <= len(self._uids) else None

    def number_of(self, uid: int) -> int | None:
        """The message number of a UID, where the server has told."""
        try:
            return self._uids.index(uid) + 1
        except ValueError:
            return None

    @property
    def uids(self) -> Sequence[int]:
        """By number, 0 where the server has not told; a copy."""
        return self._uids[:]

    def learn_uids(self, uids: Collection[int]) -> None:
        """The messages have just these UIDs; ignored where there are more or fewer."""
        if len(uids) == len(self._uids):
            self._uids, self._unknown = array("I", sorted(uids)), 0

    def note(self, response: Typed) -> Typed:
        """Take over what a response says.

        :returns: the response, with what is known besides.
        :raises ProtocolError: it cannot be true.
        """
        if isinstance(response, Exists):
            self._resize(response.messages)
        elif isinstance(response, Expunge):
            return response if self._is_stale(response.number) else self._expunge(response.number)
        elif isinstance(response, Vanished):
            if not response.earlier:
                self._vanish(response.uids)
        elif isinstance(response, Message):
            # With UIDs alone (RFC 9586) there is nothing to be counted.
            if response.number and not self._is_stale(response.number):
                self._fetched(response)
        elif isinstance(response, Recent):
            self.recent = response.messages
        elif isinstance(response, MailboxFlags):
            self.flags = response.flags
        elif isinstance(response, Status):
            self.note_code(response)
        return response

    def note_code(self, status: Status) -> None:
        """Take over what a response code says."""
        if status.code is None:
            return
        name, arguments = status.code
        if name == "CLOSED" and self.opening:
            # RFC 7162 section 3.2.11: all before was of the mailbox that was selected before.
            self._reset()
        elif name == "READ-ONLY":
            self.read_only = True
        elif name == "READ-WRITE":
            self.read_only = False
        elif name == "PERMANENTFLAGS":
            self.permanent_flags = words(arguments.strip(b"()"), self._limits)
        elif name == "NOMODSEQ":
            self.highest_modseq = None
        elif name == "ANNOTATIONS":
            self._note_annotations(arguments.split(b" ", 1)[0].upper())
        elif name == "MAILBOXID":
            self.mailbox_id = arguments.decode("utf-8", "replace").strip("()")
        elif arguments.isdigit() and len(arguments) < 20:
            self._note_number(name, int(arguments))

    def _note_annotations(self, size: bytes) -> None:
        if size == b"READ-ONLY":
            self.max_annotation = 0
        elif size.isdigit() and len(size) < 20:
            self.max_annotation = int(size)

    def _note_number(self, name: str, number: int) -> None:
        if name == "UIDVALIDITY":
            self.uid_validity = number
        elif name == "UIDNEXT":
            self.uid_next = number
        elif name == "HIGHESTMODSEQ":
            self.highest_modseq = number

    def _resize(self, count: int) -> None:
        if count > MAX_MESSAGES:
            raise ProtocolError("The mailbox has more messages than can be")
        if self.opening and count < len(self._uids):
            # What came before may have been of the mailbox that was selected before.
            self._uids, self._unknown = array("I"), 0
        more = count - len(self._uids)
        if more < 0:
            # RFC 9051 section 7.3.1: only EXPUNGE and VANISHED make it smaller.
            raise ProtocolError("The mail server lost messages without saying so")
        self._uids.frombytes(bytes(more * self._uids.itemsize))
        self._unknown += more

    def _is_stale(self, number: int) -> bool:
        """It speaks of the mailbox that was selected before, and came late."""
        return self.opening and number > len(self._uids)

    def _expunge(self, number: int) -> Expunge:
        if not 0 < number <= len(self._uids):
            raise ProtocolError("The mail server removes a message that is not there")
        uid = self._uids.pop(number - 1)
        self._unknown -= not uid
        self.removals += 1
        return Expunge(number, uid or None)

    def _vanish(self, ranges: Ranges) -> None:
        """RFC 7162 section 3.2.10.2"""
        self.removals += 1
        vanished = RangeSet(ranges)
        if not self._unknown:
            self._uids = _without(self._uids, vanished.ranges)
            return
        kept = array("I")
        gone, told = 0, vanished.count
        if self._unknown < len(self._uids) <= MAX_MIXED:
            kept.extend(uid for uid in self._uids if not (uid and uid in vanished))
            gone = len(self._uids) - len(kept)
        if gone < told:
            # The others are among those whose UIDs are not known: nobody can tell which.
            self._unknown = max(0, len(self._uids) - told)
            kept = array("I", bytes(self._unknown * kept.itemsize))
        self._uids = kept

    def _fetched(self, message: Message) -> None:
        number, uid = message.number, message.uid
        if not 0 < number <= len(self._uids):
            raise ProtocolError("The mail server speaks of a message that is not there")
        known = self._uids[number - 1]
        if uid is None:
            message.uid = known or None
        elif known != uid:
            if known:
                raise ProtocolError("The mail server gives a message another UID")
            self._uids[number - 1] = uid
            self._unknown -= 1


def _without(uids: array[int], ranges: Ranges) -> array[int]:
    """UIDs, ascending, without those of some ranges, ascending too."""
    kept = array("I")
    position = 0
    for first, last in ranges:
        begin = bisect_left(uids, first, position)
        if begin == len(uids):
            break
        end = bisect_right(uids, last, begin)
        if begin < end:
            kept += uids[position:begin]
            position = end
    return kept + uids[position:] if position else uids


def code_ranges(octets: bytes, limits: ResponseLimits) -> Ranges:
    """The set of a response code (COPYUID, MODIFIED, ...).

    :raises ProtocolError: it is none.
    """
    try:
        return parse_ranges(octets, limits)
    except SyntaxFault as fault:
        raise ProtocolError(fault.text) from None
