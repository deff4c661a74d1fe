"""The answers to FETCH, as a list or one by one; and the octets of one section as they come."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Generator, Sequence
from typing import Any

from mailkit._typing import override
from mailkit.client.errors import ProtocolError
from mailkit.errors import NoSuchMessage
from mailkit.imap.client.commands import Command
from mailkit.imap.client.connection import Connection, Flight
from mailkit.imap.client.limited import Rounds
from mailkit.imap.client.reader import Sink
from mailkit.imap.client.responses import Typed
from mailkit.imap.client.sets import covered
from mailkit.imap.client.values import Message, Ranges, Status, Vanished

#: Messages that wait for somebody who takes his time; then the server has to wait.
MAX_WAITING = 1000
#: The same of their octets, with the contents, which may be in temporary files.
MAX_WAITING_SIZE = 16 * 1024 * 1024
#: Octets of a section that wait for somebody who takes his time; then the server has to wait.
MAX_WAITING_OCTETS = 256 * 1024

_PEEK = re.compile(r"\.PEEK(?=\[)")
_PARTIAL = re.compile(r"<(\d+)\.\d+>\Z")
_MACROS = {
    "ALL": {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"},
    "FAST": {"FLAGS", "INTERNALDATE", "RFC822.SIZE"},
    "FULL": {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"},
}


def expected_items(items: Sequence[str]) -> set[str]:
    """What a response calls the data items of a command."""
    found: set[str] = set()
    for item in items:
        name = _PARTIAL.sub(r"<\1>", _PEEK.sub("", item.upper()))
        found |= _MACROS.get(name, {name.partition(" (")[0] if "[" not in name else name})
    return found


class Fetching:
    """Messages that are being fetched: ``await`` gives all as a list, ``async for`` one by one.

    A message whose flags change meanwhile may come twice where they come one by one.

    :param sets: to be asked for, one command each.
    :param items: data items as they are sent.
    :param modifiers: behind the items, such as ``(CHANGEDSINCE 5)``.
    """

    def __init__(
        self,
        connection: Connection,
        sets: Sequence[str],
        by_uid: bool,
        items: Sequence[str],
        modifiers: str = "",
    ) -> None:
        self._connection = connection
        self._sets = sets
        self._by_uid = by_uid
        self._items = items
        self._modifiers = modifiers
        self._expected = expected_items(items)
        self._selected = connection.selected
        self._removals = connection.selected.removals if connection.selected else 0
        self._ready: deque[Message] = deque()
        self._incomplete: dict[int, Message] = {}
        # Octets that wait, and those that stay until the end, without contents; and of contents.
        self._ready_size = self._kept_size = self._content_size = 0
        self._seen: set[int] = set()
        self._abandoned = False
        #: UIDs of messages that are gone (RFC 7162 section 3.2.6), once all have come.
        self.vanished: Ranges = ()

    def __await__(self) -> Generator[Any, Any, list[Message]]:
        return self._all().__await__()

    async def _all(self) -> list[Message]:
        found: dict[int, Message] = {}
        async for message in self._iterate(streaming=False):
            key = self._key(message)
            if key in found:
                found[key].update(message)
            else:
                found[key] = message
        return list(found.values())

    def __aiter__(self) -> AsyncIterator[Message]:
        return self._iterate(streaming=True)

    async def _iterate(self, *, streaming: bool) -> AsyncIterator[Message]:
        waiting = deque(self._sets)
        rounds = Rounds("FETCH", self._connection)
        while waiting:
            text = waiting.popleft()
            command = self._command(text, rounds, kept=not streaming)
            flight = await self._connection.begin(command, streaming=streaming)
            try:
                while True:
                    while self._ready:
                        yield self._ready.popleft()
                    self._ready_size = self._content_size = 0
                    self._connection.release()
                    if flight.status is not None:
                        break
                    await self._connection.next_event(flight)
            except BaseException:
                # Nobody wants the rest: it is read and thrown away.
                self._abandon(flight)
                raise
            rounds.note(await self._connection.finish(flight))
            if rest := rounds.rest(text, by_uid=self._by_uid):
                waiting.appendleft(rest)

    def _command(self, text: str, rounds: Rounds, *, kept: bool) -> Command:
        """:param kept: the messages are, until all have come."""
        name = "UID FETCH" if self._by_uid else "FETCH"
        wanted = covered(text if self._by_uid else "1:*")

        def collect(response: Typed) -> bool:
            if isinstance(response, Vanished) and response.earlier:
                self.vanished += response.uids
                self._keep()
                return True
            if not isinstance(response, Message):
                return rounds.note(response)
            if self._by_uid and (response.uid is None or response.uid not in wanted):
                return False
            if self._abandoned:
                response.close()
                return True
            self._take(response)
            rounds.keep(self._connection.size if kept else 0)
            self._bound(response)
            return True

        command = Command(
            name,
            numbered=not self._by_uid,
            removes=self._by_uid,
            fetches=wanted,
            collect=collect,
            done=self._finish,
            selected=self._selected,
            removals=self._removals,
        )
        command.add(text)
        command.add("(", " ".join(self._items), ")")
        if self._modifiers:
            command.add(self._modifiers)
        return command

    def _key(self, message: Message) -> int:
        return message.uid or 0 if self._by_uid else message.number

    def _take(self, response: Message) -> None:
        key = self._key(response)
        message = self._incomplete.pop(key, None)
        if message is None:
            message = response
        else:
            message.update(response)
        if self._expected <= message.items:
            self._seen.add(key)
            self._ready.append(message)
        elif key not in self._seen:
            self._incomplete[key] = message
            self._keep()

    def _keep(self) -> None:
        """The response in hand stays here until the end.

        :raises ProtocolError: too many do.
        """
        self._kept_size += self._connection.size
        if self._kept_size > self._connection.settings.limits.answer:
            raise ProtocolError("The server answers without end")

    def _bound(self, response: Message) -> None:
        """Let the server wait until somebody has taken what has come.

        :raises ProtocolError: it cannot be made to wait, and goes on.
        """
        contents = response.sections.values()
        self._ready_size += self._connection.size
        self._content_size += sum(each.size for each in contents if each is not None)
        if self._ready_size > self._connection.settings.limits.answer:
            raise ProtocolError("The server answers without end")
        waiting = self._ready_size + self._content_size
        if len(self._ready) >= MAX_WAITING or waiting >= MAX_WAITING_SIZE:
            self._connection.hold()

    def _finish(self, status: Status) -> None:
        """Give out those for which not everything came."""
        for message in self._incomplete.values():
            if self._expected - message.items == {"ANNOTATION"}:
                # RFC 5257 section 5 has no empty list for a message without such entries.
                message.annotations = {}
                self._ready.append(message)
            elif message.items & (self._expected - {"UID"}):
                self._ready.append(message)
        self._incomplete.clear()

    def _abandon(self, flight: Flight) -> None:
        self._abandoned = True
        flight.streaming = False
        for message in [*self._ready, *self._incomplete.values()]:
            message.close()
        self._ready.clear()
        self._incomplete.clear()
        self._connection.release()


class _Nowhere(Sink):
    @override
    def write(self, data: bytes) -> None:
        pass


class SectionStream(Sink):
    """The octets of a section of one message, as they come."""

    def __init__(self, connection: Connection, uid: int, item: str) -> None:
        self._connection = connection
        self._selected = connection.selected
        self._uid = uid
        self._item = item
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._came = False
        self._abandoned = False

    @override
    def write(self, data: bytes) -> None:
        if self._abandoned:
            return
        self._pieces.append(data)
        self._waiting += len(data)
        self._connection.wake()
        if self._waiting >= MAX_WAITING_OCTETS:
            self._connection.hold()

    def _collect(self, response: Typed) -> bool:
        if not isinstance(response, Message) or not response.sections:
            return False
        for content in response.sections.values():
            # A short one may have come as a quoted string.
            if content is not None and not self._came:
                self._came = True
                self.write(content.octets())
        return True

    def _choose(self) -> Sink:
        # One section was asked for; what comes besides counts for nobody.
        sink: Sink = _Nowhere() if self._came else self
        self._came = True
        return sink

    async def read(self) -> AsyncIterator[bytes]:
        """
        :raises NoSuchMessage: there is no such section, or no such message.
        """
        connection = self._connection

        def sent() -> None:
            connection.sink = self._choose

        def done(status: Status) -> None:
            connection.sink = None

        command = Command("UID FETCH", alone=True, collect=self._collect, sent=sent, done=done)
        command.selected = self._selected
        command.add(str(self._uid)).add("(", self._item, ")")
        flight = await connection.begin(command, streaming=True)
        try:
            while True:
                while self._pieces:
                    piece = self._pieces.popleft()
                    self._waiting -= len(piece)
                    yield piece
                connection.release()
                if flight.status is not None:
                    break
                await connection.next_event(flight)
        except BaseException:
            self._abandoned = True
            self._pieces.clear()
            flight.streaming = False
            connection.release()
            raise
        await connection.finish(flight)
        if not self._came:
            raise NoSuchMessage
