"""What is legal now, what a session sees of its maildrop, and who has which maildrop. Pure."""

from __future__ import annotations

import enum
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from mailkit.errors import MailboxInUse, MailError
from mailkit.model import MessageInfo
from mailkit.translation import DEFAULT_LANGUAGE


class State(enum.Enum):
    """RFC 1939 section 3."""

    AUTHORIZATION = enum.auto()
    TRANSACTION = enum.auto()
    UPDATE = enum.auto()


# Found once: a member of an Enum is looked for in its class and in the class of that.
_AUTHORIZATION = State.AUTHORIZATION


class NoSuchNumber(Exception):
    """No message has that number, or it is marked as deleted; the text is for the client."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class LoginTooSoon(MailError):
    """The login delay has not passed yet (RFC 2449 section 6.5)."""

    default_text = "You have logged in only just now, please wait a little"


class _Part(NamedTuple):
    """The messages of one mailbox."""

    #: Index of the first of them.
    first: int
    uid_validity: int
    mark: bytes
    older: Sequence[tuple[int, int]]

    def validity(self, uid: int) -> int:
        """What stands before a UID in its identifier."""
        for below, uid_validity in self.older:
            if uid < below:
                return uid_validity
        return self.uid_validity


def _first(part: _Part) -> int:
    return part.first


class Maildrop:
    """The messages as they were at login: numbers stay, whatever happens to the mailbox.

    Message numbers begin at 1.
    """

    __slots__ = ("_deleted", "_owned", "_parts", "_sizes", "_uids", "count", "octets")

    #: Messages that are not marked as deleted.
    count: int
    #: Octets of them.
    octets: int

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._uids: Sequence[int] = ()
        self._sizes: Sequence[int] = ()
        # The same where they are ours: 16 octets a message, for a session may have a hundred thousand.
        self._owned: tuple[array[int], array[int]] | None = None
        self._deleted: set[int] = set()
        self.count = self.octets = 0

    def begin_mailbox(
        self, uid_validity: int, mark: bytes = b"", older: Sequence[tuple[int, int]] = ()
    ) -> None:
        """From now on messages of another mailbox are added.

        :param mark: ends the identifiers of its messages, where others might have the same.
        :param older: see :attr:`~mailkit.model.MailboxInfo.older_validities`.
        """
        self._parts.append(_Part(len(self._uids), uid_validity, mark, older))

    def extend(self, messages: Sequence[MessageInfo], unended: Set[int] = frozenset()) -> None:
        """More messages; only while the session begins.

        :param unended: UIDs of those that are sent with a CRLF behind them.
        """
        # RFC 1939 section 11: the octets that are sent count, but for the dots that are doubled.
        sizes = [
            message.size + 2 if message.uid in unended else message.size for message in messages
        ]
        self._own()
        self.extend_sizes([message.uid for message in messages], sizes, sum(sizes))

    def extend_sizes(self, uids: Sequence[int], sizes: Sequence[int], octets: int) -> None:
        """The same, by UIDs and the octets that are sent; whoever gives them leaves them as they are.

        :param octets: sent of all.
        """
        if self._uids or self._owned is not None:
            own_uids, own_sizes = self._own()
            # Not extend(): that asks for each item of an array of another type.
            own_uids += array("Q", uids)
            own_sizes += array("Q", sizes)
        else:
            # Most maildrops are one mailbox, whose list many sessions may have.
            self._uids, self._sizes = uids, sizes
        self.count += len(sizes)
        self.octets += octets

    def _own(self) -> tuple[array[int], array[int]]:
        if self._owned is None:
            self._owned = array("Q", self._uids), array("Q", self._sizes)
            self._uids, self._sizes = self._owned
        return self._owned

    def check(self, number: int) -> None:
        """:raises NoSuchNumber: as its name says."""
        if not 1 <= number <= len(self._uids):
            count = len(self._uids)
            raise NoSuchNumber(
                "No such message, only 1 message in the maildrop"
                if count == 1
                else f"No such message, only {count} messages in the maildrop"
            )
        if number in self._deleted:
            raise NoSuchNumber(f"Message {number} is deleted")

    def place(self, number: int) -> tuple[int, int]:
        """Which mailbox, counted from 0, and the UID there.

        :raises NoSuchNumber:
        """
        self.check(number)
        return self._part(number - 1), self._uids[number - 1]

    def find(self, number: int) -> tuple[int, int, int]:
        """Which mailbox, the UID there, and the size: :meth:`place` and :meth:`size` together.

        :raises NoSuchNumber:
        """
        index = number - 1
        uids = self._uids
        if not 0 <= index < len(uids) or number in self._deleted:
            self.check(number)
        return self._part(index), uids[index], self._sizes[index]

    def _part(self, index: int) -> int:
        if len(self._parts) == 1:
            return 0
        return bisect_right(self._parts, index, key=_first) - 1

    def size(self, number: int) -> int:
        """:raises NoSuchNumber:"""
        self.check(number)
        return self._sizes[number - 1]

    def together(self, numbers: Sequence[int]) -> tuple[int, list[int], list[int]]:
        """The first of some messages, as many as are in one mailbox and not deleted.

        :returns: which mailbox, and their UIDs and sizes.
        :raises NoSuchNumber: there is no first one.
        """
        mailbox, _ = self.place(numbers[0])
        first = self._parts[mailbox].first
        following = self._parts[mailbox + 1 : mailbox + 2]
        end = following[0].first if following else len(self._uids)
        begin, count = numbers[0] - 1, len(numbers)
        stop = begin + count
        if not self._deleted and stop <= end and numbers == list(range(begin + 1, stop + 1)):
            # As nearly all clients ask for them.
            return mailbox, list(self._uids[begin:stop]), list(self._sizes[begin:stop])
        uids: list[int] = []
        sizes: list[int] = []
        for number in numbers:
            if not first < number <= end or number in self._deleted:
                break
            uids.append(self._uids[number - 1])
            sizes.append(self._sizes[number - 1])
        return mailbox, uids, sizes

    def unique_id(self, number: int) -> bytes:
        """What UIDL tells: never used again for another message (RFC 1939 section 7).

        :raises NoSuchNumber:
        """
        mailbox, uid = self.place(number)
        part = self._parts[mailbox]
        return b"%d.%d%b" % (part.validity(uid), uid, part.mark)

    def delete(self, number: int) -> None:
        """Mark a message as deleted.

        :raises NoSuchNumber: it is marked already, too.
        """
        self.octets -= self.size(number)
        self.count -= 1
        self._deleted.add(number)

    def reset(self) -> None:
        """Unmark all."""
        self.count += len(self._deleted)
        self.octets += sum(self._sizes[number - 1] for number in self._deleted)
        self._deleted.clear()

    def deleted_uids(self) -> dict[int, list[int]]:
        """UIDs of the messages to remove, ascending, by mailbox."""
        found: dict[int, list[int]] = {}
        if not self._deleted:
            return found
        for number in sorted(self._deleted):
            found.setdefault(self._part(number - 1), []).append(self._uids[number - 1])
        return found

    def list_sizes(self, lines: int) -> Iterator[bytes]:
        """The lines of LIST, so many in a piece."""
        return self._pieces(lines, b"%d %d\r\n", enumerate(self._sizes, 1))

    def list_unique_ids(self, lines: int) -> Iterator[bytes]:
        """The lines of UIDL, so many in a piece."""
        ends = [part.first for part in self._parts[1:]] + [len(self._uids)]
        for (first, uid_validity, mark, older), end in zip(self._parts, ends, strict=True):
            begin = first
            for below, validity in (*older, (None, uid_validity)):
                stop = end if below is None else bisect_left(self._uids, below, begin, end)
                line = b"%%d %d.%%d%b\r\n" % (validity, mark)
                yield from self._pieces(lines, line, enumerate(self._uids[begin:stop], begin + 1))
                begin = stop

    def _pieces(
        self, lines: int, line: bytes, entries: Iterator[tuple[int, int]]
    ) -> Iterator[bytes]:
        deleted = self._deleted
        while piece := list(islice(entries, lines)):
            yield b"".join([line % entry for entry in piece if entry[0] not in deleted])


class Session:
    """Where one connection stands."""

    __slots__ = ("errors", "language", "maildrop", "state", "user", "utf8")

    def __init__(self) -> None:
        self.state = _AUTHORIZATION
        #: Argument of a USER command that waits for its PASS.
        self.user: str | None = None
        #: There in the TRANSACTION state.
        self.maildrop: Maildrop | None = None
        #: The tag of the language of texts (RFC 6856 section 3).
        self.language = DEFAULT_LANGUAGE
        #: The client reads UTF-8 in header fields (RFC 6856 section 2).
        self.utf8 = False
        #: Lines in a row that were no command.
        self.errors = 0


def _nothing() -> None:
    """Where there is nothing to give back."""


class MaildropLocks:
    """Which accounts have a session: one each (RFC 1939 section 4).

    :param login_delay: seconds between two logins of one account; 0 for no such rule.
    """

    def __init__(self, login_delay: int = 0) -> None:
        self.login_delay = login_delay
        self._held: dict[str, Callable[[], None]] = {}
        self._try_lock: Callable[[str], Callable[[], None] | None] | None = None
        # When they may log in again, and the delay; by time of login, oldest first.
        self._logins: dict[str, tuple[float, int]] = {}

    def share(
        self, try_lock: Callable[[str], Callable[[], None] | None], others_know: Callable[[], bool]
    ) -> None:
        """Keep out the sessions of other processes, too, until :meth:`keep_alone`.

        :param try_lock: see :class:`~mailkit.interfaces.IProcessLocks`, as for the other one.
        """

        def take(account: str) -> Callable[[], None] | None:
            return try_lock(f"maildrop {account}") if others_know() else None

        if self._try_lock is not None:
            return
        self._try_lock = take
        for account in self._held:
            # The system may have no locks left: what is here is still kept apart.
            with suppress(OSError):
                self._held[account] = try_lock(f"maildrop {account}") or _nothing

    def keep_alone(self) -> None:
        """There are no other processes, as it has turned out."""
        self._try_lock = None
        for account, release in self._held.items():
            release()
            self._held[account] = _nothing

    def acquire(self, account: str, now: float) -> None:
        """Begin a session.

        :raises MailboxInUse: there is one.
        :raises LoginTooSoon: the last login is too fresh.
        """
        if account in self._held:
            raise MailboxInUse("Another session has this maildrop open")
        if self._logins:
            self._forget_logins(now)
            until, delay = self._logins.get(account, (now, 0))
            if until > now:
                raise LoginTooSoon(f"Please wait {delay} seconds between logins")
        release = _nothing if self._try_lock is None else self._try_lock(account)
        if release is None:
            raise MailboxInUse("Another session has this maildrop open")
        self._held[account] = release

    def logged_in(self, account: str, now: float, login_delay: int | None = None) -> int:
        """The login delay runs from here: the session has been told that it may begin.

        :param login_delay: the account's own; None where it has none.
        :returns: the delay; 0 for none.
        """
        delay = self.login_delay if login_delay is None else login_delay
        if delay:
            self._logins.pop(account, None)
            self._logins[account] = now + delay, delay
        return delay

    def release(self, account: str) -> None:
        """End a session."""
        self._held.pop(account, _nothing)()

    def _forget_logins(self, now: float) -> None:
        while self._logins:
            account = next(iter(self._logins))
            if self._logins[account][0] > now:
                break
            del self._logins[account]
