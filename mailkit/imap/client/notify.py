"""Being told of changes at any time, in any mailbox: NOTIFY (RFC 5465)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mailkit._typing import override
from mailkit.imap.client.commands import Command, Part, atom, fetch_items
from mailkit.imap.client.connection import Connection
from mailkit.imap.client.idle import Idling

#: What a group may mean without names: see RFC 5465 section 6.
FILTERS = ("selected", "selected-delayed", "inboxes", "personal", "subscribed")
#: The same with names.
NAMED_FILTERS = ("mailboxes", "subtree")
_COME_TOGETHER = {"messagenew", "messageexpunge"}
_MESSAGE_EVENTS = {*_COME_TOGETHER, "flagchange", "annotationchange"}


class EventGroup(NamedTuple):
    """Changes that a server is to tell, and of which mailboxes."""

    #: One of :data:`FILTERS` or :data:`NAMED_FILTERS`. With ``selected`` messages may go at any time,
    #: so that their numbers are of no use; with ``selected-delayed`` they go at a command.
    where: str
    #: ``MessageNew``, ``MessageExpunge``, ``FlagChange``, ``MailboxName``, ...; none to be told nothing.
    events: Sequence[str] = ("MessageNew", "MessageExpunge")
    #: Of mailboxes.
    names: Sequence[str] = ()
    #: Data items of FETCH that are told of each new message, in the selected mailbox.
    items: Sequence[str] = ()

    def parts(self, mailbox: Callable[[str], Part]) -> list[Part]:
        """As NOTIFY has it.

        :raises ValueError: it makes no sense.
        """
        named = self.where in NAMED_FILTERS
        if not named and self.where not in FILTERS:
            raise ValueError(f"none of {', '.join((*FILTERS, *NAMED_FILTERS))}: {self.where!r}")
        if named is not bool(self.names):
            raise ValueError("mailboxes and subtree take names, and nothing else does")
        if self.items and not (self.where in FILTERS[:2] and "MessageNew" in self.events):
            raise ValueError("data items go with MessageNew in the selected mailbox")
        events = {event.lower() for event in self.events}
        if events & _MESSAGE_EVENTS and not events >= _COME_TOGETHER:
            # RFC 5465 section 5: the server would answer BAD.
            raise ValueError("MessageNew and MessageExpunge go together, also beside FlagChange")
        parts: list[Part] = [b"(", self.where.encode("ascii")]
        for number, name in enumerate(self.names):
            parts += [b" " if number else b" (", mailbox(name)]
        parts.append(b") " if named else b" ")
        written = [self._event(event) for event in self.events]
        return [*parts, b"(%b)" % b" ".join(written) if written else b"NONE", b")"]

    def _event(self, event: str) -> bytes:
        if event == "MessageNew" and self.items:
            items = " ".join(fetch_items(self.items))
            return b"MessageNew (%b)" % items.encode("ascii")
        return atom(event)


# RFC 5465 section 3.1: what servers tell that have never been asked.
_DEFAULT = (EventGroup("selected-delayed", ("MessageNew", "MessageExpunge", "FlagChange")),)


class Notifying(Idling):
    """Changes as the server tells them, whatever else the connection is used for::

        groups = [EventGroup("personal"), EventGroup("selected-delayed")]
        async with session.notify(groups) as changes:
            async for change in changes:
                ...

    Answers are told to whoever asked; of messages that were asked for a change has the flags alone, if
    those came. What may be an answer, or not, is told as both (:mod:`mailkit.imap.client.answers`). A
    change of another mailbox is a :class:`~mailkit.imap.client.MailboxStatus`, one of names a
    :class:`~mailkit.imap.client.Listing`. At the end the server tells again of the selected
    mailbox alone.
    """

    def __init__(
        self,
        connection: Connection,
        groups: Sequence[EventGroup],
        status: bool,
        mailbox: Callable[[str], Part],
    ) -> None:
        super().__init__(connection, False)
        # That the connection is alive is all that must be heard now and then.
        self._interval = connection.settings.timeouts.idle
        self._mailbox = mailbox
        self._command = self._make_command(groups, status)

    def _make_command(self, groups: Sequence[EventGroup], status: bool) -> Command:
        if not groups:
            raise ValueError("no group of events")
        command = Command("NOTIFY", alone=True).add("SET STATUS" if status else "SET")
        for group in groups:
            command.add(*group.parts(self._mailbox))
        return command

    @override
    async def __aenter__(self) -> Notifying:
        self._connection.check()
        self._connection.listeners.append(self._hear)
        self._connection.notified = True
        try:
            await self._connection.run(self._command)
            await self._begin()
        except BaseException:
            self._connection.listeners.remove(self._hear)
            raise
        return self

    @override
    async def __aexit__(self, *exception: object) -> None:
        self._connection.listeners.remove(self._hear)
        if not self._connection.closed:
            await self._connection.run(self._make_command(_DEFAULT, False))
