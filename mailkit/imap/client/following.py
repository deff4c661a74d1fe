"""The result of a search, kept up to date by the server: CONTEXT=SEARCH, CONTEXT=SORT (RFC 5267)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

from mailkit.client.errors import ClientError, ProtocolError
from mailkit.imap.client.commands import Command, quoted
from mailkit.imap.client.connection import Connection
from mailkit.imap.client.errors import CommandFailed, Refused, ResponseTooLarge, WrongState
from mailkit.imap.client.idle import Idling
from mailkit.imap.client.responses import Typed
from mailkit.imap.client.selected import Selected
from mailkit.imap.client.sets import expand
from mailkit.imap.client.values import ExtendedSearch, PassedOver, Ranges, ResultChange, Status

#: Messages that a result may have besides those that the mailbox has: some come, some go.
MAX_BESIDE = 100_000
#: What updates may cost until one is taken, for each message that the result may have: a step for
#: each UID that they name, and some for what they move.
MAX_STEPS = 50

#: So many times more known UIDs than new ones: then each finds its place by itself.
_FEW = 64
#: To move so many UIDs takes as long as to add one.
_MOVED = 1000
#: To sort so many does.
_SORTED = 5


class SearchUpdate(NamedTuple):
    """What has changed in the result of a search since the last time. Where messages have only changed
    places in their order, both are empty."""

    #: UIDs, ascending.
    added: Sequence[int]
    removed: Sequence[int]


class Following:
    """The result of a search, and how it changes::

        async with session.follow("UNSEEN") as found:
            print(found.uids)
            async for update in found:
                print(update.added, update.removed)

    While an update is waited for, the server is in IDLE where it has that, and nothing else can be
    sent; between two updates the session can be used. What other commands bring up counts as well.
    """

    def __init__(
        self,
        connection: Connection,
        selected: Selected,
        command: Command,
        idle: bool,
        ordered: bool,
    ) -> None:
        self._connection = connection
        self._selected = selected
        self._command = command
        self._idle = idle
        self._ordered = ordered
        self._uids: list[int] = []
        self._known: set[int] = set()
        # Those that have come or gone without a place, and are not in the list or still are.
        self._late: set[int] = set()
        # Since the last update was taken.
        self._added: set[int] = set()
        self._removed: set[int] = set()
        self._moved = False
        self._steps = 0
        # There are no more updates.
        self._failure: ClientError | None = None
        self._idling: Idling | None = None

    @property
    def uids(self) -> list[int]:
        """The result as it is now, ascending or in the order that was asked for."""
        self._settle()
        return self._uids

    async def __aenter__(self) -> Following:
        """
        :raises Refused: with ``NOUPDATE``: the server does not keep this search up to date.
        :raises ClientError: that is not possible.
        """
        self._connection.check()
        self._command.collect = self._collect
        self._connection.listeners.append(self._hear)
        try:
            await self._connection.run(self._command)
            self._check()
        except BaseException as error:
            self._connection.listeners.remove(self._hear)
            if not isinstance(error, CommandFailed) and self._is_kept:
                # Nobody waits for that: who has given up is in a hurry, and others may be before it.
                self._connection.channel.detach(self._connection.begin(self._cancellation()))
            raise
        self._take()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._connection.listeners.remove(self._hear)
        if self._is_kept:
            # What the server says to it would hide why all has ended.
            with suppress(ClientError):
                await self._connection.run(self._cancellation())

    @property
    def _is_kept(self) -> bool:
        """Whether the server keeps the search up to date, or is about to."""
        return (
            bool(self._command.tag)
            and self._connection.selected is self._selected
            and not self._connection.closed
            # Section 4.3.1: after NOUPDATE there is nothing to cancel.
            and not isinstance(self._failure, Refused)
        )

    def _cancellation(self) -> Command:
        """Section 4.3.5."""
        return Command("CANCELUPDATE", selected=self._selected).add(quoted(self._command.tag))

    def __aiter__(self) -> Following:
        return self

    async def __anext__(self) -> SearchUpdate:
        """
        :raises ClientError: as :meth:`next` does.
        """
        while True:
            update = await self.next(None)
            if update is not None:
                return update

    async def next(self, timeout: float | None) -> SearchUpdate | None:
        """The next update; None when there is none within so many seconds.

        :raises WrongState: the mailbox is not selected any more.
        :raises Refused: with ``NOUPDATE``: the server keeps the search up to date no more.
        :raises ProtocolError: an update does not fit the result.
        :raises ClientError: the connection has ended.
        """
        self._check()
        if not self._has_news:
            await self._wait(timeout)
            self._check()
        return self._take() if self._has_news else None

    async def _wait(self, timeout: float | None) -> None:
        seconds = self._connection.channel.seconds
        give_up = None if timeout is None else seconds() + timeout
        async with Idling(self._connection, self._idle) as self._idling:
            while not (self._has_news or self._has_ended):
                left = None if give_up is None else max(0.0, give_up - seconds())
                if await self._idling.next(left) is None:
                    return

    @property
    def _has_news(self) -> bool:
        return bool(self._added or self._removed or self._moved)

    @property
    def _has_ended(self) -> bool:
        # Section 4.3: updates cease when the mailbox is left.
        return self._failure is not None or self._connection.selected is not self._selected

    def _check(self) -> None:
        self._connection.check()
        if self._failure is not None:
            raise self._failure
        if self._has_ended:
            raise WrongState("The mailbox is not selected any more", command=self._command.name)

    def _take(self) -> SearchUpdate:
        update = SearchUpdate(sorted(self._added), sorted(self._removed))
        self._added.clear()
        self._removed.clear()
        self._moved = False
        self._steps = 0
        return update

    # What the server says.

    def _collect(self, response: Typed) -> bool:
        """The answer to the search."""
        if not isinstance(response, ExtendedSearch) or response.changes:
            return False
        if response.tag != self._command.tag:
            return False
        found = response.all or ()
        count = sum(last - first + 1 for first, last in found)
        if self._is_possible(found) and self._spend(count):
            self._known = set(expand(found))
            # Section 4.4: the result of a SEARCH is in the order of the mailbox.
            self._uids = list(expand(found)) if self._ordered else sorted(self._known)
            self._late = set()
        return True

    def _hear(self, response: Typed) -> None:
        if isinstance(response, ExtendedSearch):
            if response.tag == self._command.tag:
                for change in response.changes:
                    self._apply(change)
        elif isinstance(response, PassedOver):
            if response.name == "ESEARCH" and response.tag == self._command.tag:
                self._failure = ResponseTooLarge(command=self._command.name)
                # It is no change that anybody waits for.
                if self._idling is not None:
                    self._idling.interrupt()
        elif isinstance(response, Status) and response.code is not None:
            name, arguments = response.code
            if name == "NOUPDATE" and arguments.strip(b'"') == self._command.tag:
                command = self._command.name
                self._failure = Refused(response.text, command=command, response_code=response.code)

    def _is_possible(self, ranges: Ranges, besides: int = 0) -> bool:
        """Whether there can be so many messages, besides others."""
        count = sum(last - first + 1 for first, last in ranges)
        if count + besides > self._selected.exists + MAX_BESIDE:
            self._mistrust("The mail server names more messages than there can be")
            return False
        return True

    def _mistrust(self, text: str) -> None:
        self._failure = ProtocolError(text, command=self._command.name)

    def _apply(self, change: ResultChange) -> None:
        besides = len(self._known) if change.added else 0
        if self._failure is not None or not self._is_possible(change.uids, besides):
            return
        position, uids = change.position, list(expand(change.uids))
        if not self._spend(self._cost(position, len(uids))):
            return
        fits = self._add if change.added else self._remove
        if not fits(position, uids):
            self._mistrust("The mail server's update does not fit what it has found")

    def _spend(self, steps: int) -> bool:
        """Whether so many are left until somebody takes what they come to."""
        self._steps += steps
        if self._steps > MAX_STEPS * (self._selected.exists + MAX_BESIDE):
            self._mistrust("The mail server changes the result more often than anybody takes it")
        return self._failure is None

    def _cost(self, position: int, count: int) -> int:
        """What a change costs, in steps."""
        if not position:
            return count
        late = 0
        if self._is_little:
            late = len(self._late) * len(self._uids) // _MOVED
        elif self._late:
            late = len(self._uids) // _SORTED
        return count + late + max(0, len(self._uids) - position) // _MOVED

    @property
    def _is_little(self) -> bool:
        """Whether what is late is looked up one by one in a result in mailbox order."""
        return not self._ordered and len(self._late) * _FEW < len(self._uids)

    def _settle(self) -> None:
        """Bring the list up to date: servers tell by single UIDs what changes all messages."""
        if self._is_little:
            for uid in self._late:
                if uid in self._known:
                    insort(self._uids, uid)
                else:
                    del self._uids[bisect_left(self._uids, uid)]
        elif self._ordered and self._late:
            # Without a place, messages only go.
            self._uids = [uid for uid in self._uids if uid in self._known]
        elif self._late:
            self._uids = sorted(self._known)
        self._late.clear()

    def _add(self, position: int, uids: list[int]) -> bool:
        """Section 4.3.3; whether it makes sense."""
        fresh = set(uids)
        if len(fresh) != len(uids) or not fresh.isdisjoint(self._known):
            return False
        if position:
            self._settle()
            if position > len(self._uids) + 1 or not self._belongs(position - 1, uids):
                return False
            self._uids[position - 1 : position - 1] = uids
        elif self._ordered:
            return False
        else:
            self._late ^= fresh
        self._known |= fresh
        self._added |= fresh - self._removed
        self._removed -= fresh
        self._moved = self._ordered
        return True

    def _belongs(self, place: int, uids: list[int]) -> bool:
        """Whether UIDs may come to this place.

        Section 4.4: the result of a SEARCH is in the order of the mailbox.
        """
        if self._ordered:
            return True
        joined = [*self._uids[max(0, place - 1) : place], *uids, *self._uids[place : place + 1]]
        return all(first < second for first, second in pairwise(joined))

    def _remove(self, position: int, uids: list[int]) -> bool:
        """Section 4.3.4; whether it makes sense."""
        gone = set(uids)
        if len(gone) != len(uids) or not gone <= self._known:
            return False
        if position:
            self._settle()
            if self._uids[position - 1 : position - 1 + len(uids)] != uids:
                return False
            del self._uids[position - 1 : position - 1 + len(uids)]
        else:
            self._late ^= gone
        self._known -= gone
        self._removed |= gone - self._added
        self._added -= gone
        self._moved = self._ordered
        return True
