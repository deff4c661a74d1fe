"""Connections of a port that are waited for together: to the reactor they are one reader.

For each descriptor that is ready, Twisted's reactors go through a dozen calls, which add up to more
than a short command takes. epoll(7) can be waited for itself, so a port's connections share one.
"""

from __future__ import annotations

import select
from typing import Any

from twisted.internet import main
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

#: There is epoll(7).
AVAILABLE = hasattr(select, "epoll")
#: Connections served in one turn of the reactor, at most.
MAX_EVENTS = 100
#: When so many are ready at once, others will be once they are served; the only one cannot be ended
#: by another.
MANY = 2

_IN = getattr(select, "EPOLLIN", 0)
_OUT = getattr(select, "EPOLLOUT", 0)

_DONE = Failure(main.CONNECTION_DONE)
_LOST = Failure(main.CONNECTION_LOST)


@implementer(IReadDescriptor)
class Together:
    """A port and its connections, which take this for their reactor.

    Of that they want what an ``IReactorFDSet`` does, and ``callLater``. It is one of the reactor's
    readers as long as somebody waits.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        #: The reactor's.
        self.callLater = reactor.callLater
        self._epoll: Any = None
        # -1 without one.
        self._descriptor = -1
        # By descriptor: who waits, and for which events if not just for octets to read.
        self._members: dict[int, Any] = {}
        self._unusual: dict[int, int] = {}
        #: Served after the others: a new connection may get the descriptor of one that has just
        #: ended, whose events must not be taken for its own.
        self.last: Any = None

    # What its members ask of a reactor.

    def addReader(self, reader: Any) -> None:
        descriptor = reader.fileno()
        if self._epoll is None or descriptor in self._members:
            self._add(reader, _IN)
        else:
            # A connection that has just come.
            self._epoll.register(descriptor, _IN)
            self._members[descriptor] = reader

    def addWriter(self, writer: Any) -> None:
        self._add(writer, _OUT)

    def removeReader(self, reader: Any) -> None:
        self._remove(reader, _IN)

    def removeWriter(self, writer: Any) -> None:
        self._remove(writer, _OUT)

    def forget(self, member: Any) -> None:
        """It waits for nothing any more, and is about to be closed."""
        descriptor = member.fileno()
        if self._members.pop(descriptor, None) is not None:
            self._unusual.pop(descriptor, None)
            self._epoll.unregister(descriptor)
            self._close_when_empty()

    def _add(self, member: Any, events: int) -> None:
        descriptor = member.fileno()
        awaited = self._awaited(descriptor)
        if awaited & events:
            return
        if self._epoll is None:
            self._epoll = select.epoll()
            self._descriptor = self._epoll.fileno()
            self._reactor.addReader(self)
        if awaited:
            self._epoll.modify(descriptor, awaited | events)
        else:
            self._epoll.register(descriptor, events)
            self._members[descriptor] = member
        self._note(descriptor, awaited | events)

    def _remove(self, member: Any, events: int) -> None:
        # -1, which nobody waits for, once it is closed.
        descriptor = member.fileno()
        awaited = self._awaited(descriptor)
        if not awaited & events:
            return
        rest = awaited & ~events
        self._note(descriptor, rest or _IN)
        if rest:
            self._epoll.modify(descriptor, rest)
            return
        self._epoll.unregister(descriptor)
        del self._members[descriptor]
        self._close_when_empty()

    def _close_when_empty(self) -> None:
        if not self._members:
            self._reactor.removeReader(self)
            self._epoll.close()
            self._epoll, self._descriptor = None, -1

    def _awaited(self, descriptor: int) -> int:
        return self._unusual.get(descriptor, _IN if descriptor in self._members else 0)

    def _note(self, descriptor: int, events: int) -> None:
        if events != _IN:
            self._unusual[descriptor] = events
        else:
            self._unusual.pop(descriptor, None)

    # What the reactor asks of its reader.

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "mailkit"

    def doRead(self) -> None:
        """Serve those that are ready."""
        left = MAX_EVENTS
        while left > 0 and (epoll := self._epoll) is not None:
            ready = epoll.poll(0, left)
            if len(ready) < MANY:
                for descriptor, event in ready:
                    if (member := self._members.get(descriptor)) is not None:
                        self._serve(member, event)
                break
            self._serve_all(ready)
            left -= len(ready)

    def _serve_all(self, ready: list[tuple[int, int]]) -> None:
        members, last, last_event = self._members, self.last, 0
        for descriptor, event in ready:
            member = members.get(descriptor)
            if member is None:
                # One before it has ended it.
                continue
            if member is last:
                last_event = event
            else:
                self._serve(member, event)
        if last_event and members.get(last.fileno()) is last:
            self._serve(last, last_event)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends."""
        for member in list(self._members.values()):
            self.removeReader(member)
            self.removeWriter(member)
            try:
                member.connectionLost(reason)
            except BaseException:
                self.log.failure("a connection could not be ended")

    def _serve(self, member: Any, event: int) -> None:
        # As the reactor, this survives whatever a connection does.
        why: BaseException | None = None
        reading = True
        try:
            if event & _IN:
                why = member.doRead()
            elif event & ~_OUT:
                # Nothing is left to read, or nobody does read.
                reading = bool(self._awaited(member.fileno()) & _IN)
                why = main.CONNECTION_DONE if reading else main.CONNECTION_LOST
            if event & _OUT and why is None and member.fileno() >= 0:
                reading = False
                why = member.doWrite()
        except BaseException as failed:
            self.log.failure("{connection} failed", connection=member.logPrefix())
            why, reading = failed, False
        if why is not None:
            try:
                self._lose(member, why, reading)
            except BaseException:
                self.log.failure("a connection could not be ended")

    def _lose(self, member: Any, why: BaseException, reading: bool) -> None:
        self.removeReader(member)
        if reading and why is main.CONNECTION_DONE:
            member.readConnectionLost(_DONE)
        else:
            self.removeWriter(member)
            lost = _LOST if why is main.CONNECTION_LOST else Failure(why)
            member.connectionLost(lost)
