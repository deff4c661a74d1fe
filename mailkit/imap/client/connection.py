"""Commands out and responses in, several commands at a time.

Ordering: commands are written whole, in the order of the calls. One that could not tell its answers
from those of another, or whose message numbers another may change, waits (RFC 9051 section 5.5).
What the server says is handled at once, whoever waits for it. A command whose caller was cancelled
stays under way, and its answers count for the state; one that was cancelled while it was written
ends the connection.

The coroutines here await nothing but the :class:`~mailkit.client.channel.DuplexChannel`, so they
run under Twisted and under asyncio alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mailkit._typing import override
from mailkit.client import pipeline
from mailkit.client.channel import DuplexChannel, Waiter
from mailkit.client.errors import (
    ClientError,
    ConnectionLost,
    ProtocolError,
    TimedOut,
)
from mailkit.imap.client.commands import Command, Literal
from mailkit.imap.client.errors import (
    FarewellSaid,
    NotUnderstood,
    NumbersChanged,
    Refused,
    ResponseTooLarge,
    WrongState,
)
from mailkit.imap.client.reader import Response, ResponseReader, Sink
from mailkit.imap.client.responses import Typed, parse_response, pass_over
from mailkit.imap.client.selected import Selected
from mailkit.imap.client.settings import ClientSettings, ConnectionFacts
from mailkit.imap.client.text import words
from mailkit.imap.client.values import (
    Capabilities,
    Continuation,
    Enabled,
    PassedOver,
    Status,
    Tagged,
)

#: RFC 7888 section 5: octets of a literal that LITERAL- lets go without asking.
LITERAL_MINUS = 4096
#: Extensions that a server may say it has switched on, and octets of their names.
MAX_ENABLED = 1000
MAX_ENABLED_OCTETS = 64 * 1024

# RFC 9738 sections 3.1 and 3.3: commands that work on so many messages alone.
_LIMITED = frozenset(
    ("SEARCH", "ESEARCH", "SORT", "THREAD", "FETCH", "STORE", "COPY", "MOVE", "APPEND")
)

_TOO_EARLY = "The server spoke on before TLS had begun"


class Flight(pipeline.Flight):
    """A command that waits to be sent, or is under way."""

    def __init__(self, command: Command, tag: bytes, waiter: Waiter) -> None:
        super().__init__(waiter)
        self.command = command
        self.tag = tag
        #: What ended it.
        self.status: Status | None = None
        #: Texts behind ``+`` that nobody has taken.
        self.continuations: deque[bytes] = deque()
        #: Responses that were collected.
        self.count = 0
        #: An answer was too large to be read.
        self.excess: ResponseTooLarge | None = None

    @property
    def is_limited(self) -> bool:
        """Whether the command may be carried out for some messages alone."""
        return self.command.name.removeprefix("UID ") in _LIMITED


class Connection(pipeline.Pipeline[Flight]):
    """A connection to a server, from the greeting on.

    :param channel: the connection.
    """

    def __init__(self, channel: DuplexChannel, settings: ClientSettings) -> None:
        super().__init__(channel)
        self.settings = settings
        self.facts = ConnectionFacts(peer=channel.peer)
        #: None when no mailbox is selected.
        self.selected: Selected | None = None
        self.greeting: Status | None = None
        #: Who hears each response, after the state has taken it over; must not raise.
        self.listeners: list[Callable[[Typed], None]] = []
        #: Who takes the next contents of messages, instead of a spool.
        self.sink: Callable[[], Sink] | None = None
        self._reader = self._new_reader()
        self._tags = 0
        self._heard = channel.seconds()
        self._greeted = channel.waiter()
        self._farewell: Status | None = None
        self._held = False
        # STARTTLS was answered: what comes before TLS comes from somebody else.
        self._mute = False
        # Since the last end of a command: responses that answered none, and octets of all.
        self._unasked = self._octets = 0
        #: Octets of the response in hand, without contents of messages.
        self.size = 0
        #: The response in hand answers a command.
        self.answers = False
        #: The server may close the connection.
        self.leaving = False
        # Untagged responses with MESSAGELIMIT, whose commands have not ended.
        self._limits: deque[Status] = deque()
        #: The server was asked once to tell of mailboxes (RFC 5465).
        self.notified = False

    def _new_reader(self) -> ResponseReader:
        return ResponseReader(self.settings.limits, self._choose_sink)

    def _choose_sink(self) -> Sink | None:
        return self.sink() if self.sink is not None else None

    # What the channel calls.

    def octets_received(self, data: bytes) -> None:
        if self.failure is not None:
            return
        self._heard = self.channel.seconds()
        self._reader.feed(data)
        if self._mute:
            self.fail(ProtocolError(_TOO_EARLY, command="STARTTLS"))
            return
        try:
            while self.failure is None and (response := self._reader.read()) is not None:
                self.size = len(response.octets)
                self._take(response)
        except ClientError as error:
            self.fail(error)
        except OSError as error:
            self.fail(ConnectionLost(f"What the server sends cannot be kept: {error}"))

    def connection_ended(self, error: ClientError) -> None:
        if self._farewell is not None and not self.leaving:
            farewell = self._farewell
            error = FarewellSaid(farewell.text, response_code=farewell.code)
        self.fail(error)

    @override
    def fail(self, error: ClientError) -> None:
        if self.failure is not None:
            return
        self.selected = None
        self.answers = False
        super().fail(error)
        self._greeted.fire()
        for listener in list(self.listeners):
            listener(Status("BYE", None, error.text))

    @override
    def check(self) -> None:
        """
        :raises ClientError: the connection has ended.
        """
        if isinstance(self.failure, FarewellSaid):
            error = self.failure
            raise FarewellSaid(
                error.text, command=error.command, response_code=error.response_code
            ) from error
        super().check()

    # Responses.

    def _take(self, response: Response) -> None:
        limits, greeting = self.settings.limits, self.greeting is None
        try:
            typed = parse_response(response, limits, greeting=greeting)
        except ResponseTooLarge as error:
            for content in response.contents.values():
                if content is not None:
                    content.close()
            if greeting:
                raise
            self._pass_over(pass_over(response.octets), error)
        else:
            self._dispatch(typed)

    def _pass_over(self, response: PassedOver, error: ResponseTooLarge) -> None:
        """A response was too large: whoever may have asked for it does not get it."""
        for flight in self._askers(response):
            flight.excess = error
        if response.name == "BYE":
            self._farewell = Status("BYE", None, "")
        self._count_octets()
        if response.name in ("OK", "NO", "BAD") and response.tag:
            self._end(Tagged(response.tag, Status(response.name, None, error.text)))
            return
        self._count_unasked()
        self.answers = False
        for listener in list(self.listeners):
            listener(response)

    def _askers(self, response: PassedOver) -> list[Flight]:
        """Those of the commands under way that a response may answer."""
        for found in (
            [each for each in self._flights if each.tag == response.tag],
            [each for each in self._flights if response.name in each.command.answers],
        ):
            if found:
                return found
        uid = response.number if response.name == "UIDFETCH" else None
        if uid is None and self.selected is not None:
            uid = self.selected.uid_of(response.number)
        return [each for each in self._flights if each.command.may_ask(response, uid)]

    def _dispatch(self, response: Typed) -> None:
        if self.greeting is None:
            assert isinstance(response, Status)
            self.greeting = response
            self._note_code(response)
            self._greeted.fire()
        elif isinstance(response, Continuation):
            flight = self._writing or (self._flights[0] if self._flights else None)
            if flight is None or len(flight.continuations) > 10:
                raise ProtocolError("The server asks for more than there is")
            flight.continuations.append(response.text)
            flight.waiter.fire()
        elif isinstance(response, Tagged):
            self._end(response)
        else:
            self._untagged(response)

    def _untagged(self, response: Typed) -> None:
        if isinstance(response, Status):
            if response.condition == "BYE":
                self._farewell = response
            self._note_code(response)
        elif isinstance(response, Capabilities):
            self.facts.announced = response.names
        elif isinstance(response, Enabled):
            self._note_enabled(response.names)
        if self.selected is not None:
            response = self.selected.note(response)
        self._count_octets()
        self.answers = False
        limited = self._keep_limit(response)
        for flight in () if limited else self._flights:
            if self._collects(flight, response):
                self.answers = True
                flight.count += 1
                if flight.count > self.settings.limits.values:
                    raise ProtocolError("The server answers without end")
                if flight.streaming:
                    flight.waiter.fire()
                break
        else:
            self._count_unasked()
        for listener in list(self.listeners):
            listener(response)

    def _keep_limit(self, response: Typed) -> bool:
        """Whether a response tells of a limit: it is of the command that ends next (RFC 9738 3.1)."""
        if not (isinstance(response, Status) and response.code is not None):
            return False
        if response.code.name != "MESSAGELIMIT" or len(self._limits) >= len(self._flights):
            return False
        self._limits.append(response)
        return True

    def _note_enabled(self, names: frozenset[str]) -> None:
        enabled = self.facts.enabled | names
        if len(enabled) > MAX_ENABLED or sum(map(len, enabled)) > MAX_ENABLED_OCTETS:
            raise ProtocolError("The server has switched on more than there is")
        self.facts.enabled = enabled

    def _collects(self, flight: Flight, response: Typed) -> bool:
        try:
            return flight.command.collect(response)
        except ResponseTooLarge as error:
            flight.excess = error
            return True

    def _count_octets(self) -> None:
        if self._flights and not self._flights[0].streaming:
            self._octets += self.size
            if self._octets > self.settings.limits.answer:
                raise ProtocolError("The server answers without end")

    def _count_unasked(self) -> None:
        """A response has come that answers no command, and may be one too many for who waits."""
        if self._flights and self._flights[0].command.name != "IDLE":
            self._unasked += 1
            if self._unasked > self.settings.limits.values:
                raise ProtocolError("The server says more and more, but does not answer")

    def _note_code(self, status: Status) -> None:
        if status.code is not None and status.code.name == "CAPABILITY":
            self.facts.announced = words(status.code.arguments.upper(), self.settings.limits)

    def _end(self, response: Tagged) -> None:
        flight = next((each for each in self._flights if each.tag == response.tag), None)
        if flight is None:
            raise ProtocolError("The server answers a command that nobody has sent")
        if flight.command.name == "STARTTLS" and response.status.condition == "OK":
            # RFC 9051 section 11.1: it would be read as if it had come encrypted.
            self._mute = True
            if not self._reader.idle:
                raise ProtocolError(_TOO_EARLY, command="STARTTLS")
        if self._limits and (self._collects(flight, self._limits[0]) or flight.is_limited):
            self._limits.popleft()
        self._flights.remove(flight)
        if not self._flights:
            self._limits.clear()
        self._unasked = self._octets = 0
        self._reader.forgive()
        flight.status = response.status
        self._note_code(response.status)
        if self.selected is not None:
            self.selected.note_code(response.status)
        flight.command.done(response.status)
        flight.waiter.fire()
        self._advance()

    # Commands.

    async def run(self, command: Command) -> Status:
        """Send a command and wait for its end.

        :raises CommandFailed: it was answered with NO or BAD.
        :raises ClientError: it has no answer.
        """
        flight = await self.begin(command)
        return await self.finish(flight)

    async def begin(self, command: Command, *, streaming: bool = False) -> Flight:
        """Send a command as soon as it may be sent.

        :param streaming: each answer fires the waiter, and whoever takes them may be slow.
        :raises WrongState: it is about a mailbox that is not selected any more.
        :raises NumbersChanged: its numbers may mean other messages by now.
        :raises ClientError: that is not possible.
        """
        self.check()
        self._tags += 1
        flight = Flight(command, b"m%d" % self._tags, self.channel.waiter())
        flight.streaming = streaming
        self._queue.append(flight)
        self._advance()
        try:
            if not flight.admitted:
                # Who reads slowly would have to wait for us, and we for him.
                self.release()
                await flight.waiter.wait()
            self.check()
            self._check_mailbox(command)
        except BaseException:
            self._forget(flight)
            raise
        self._flights.append(flight)
        command.tag = flight.tag
        command.sent()
        flight.waiter = self.channel.waiter()
        try:
            await self._write(flight)
        except ClientError as error:
            self.fail(error)
            raise
        except OSError as error:
            self.fail(ConnectionLost(f"The message cannot be read: {error}"))
            raise
        except BaseException:
            # Cancelled half-way: what the server has read is no command.
            self.fail(ConnectionLost("A command was given up while it was sent"))
            raise
        self._writing = None
        self._advance()
        return flight

    def _check_mailbox(self, command: Command) -> None:
        selected = self.selected
        if command.selected is not None and command.selected is not selected:
            raise WrongState("The mailbox is not selected any more", command=command.name)
        removals = selected.removals if selected is not None else 0
        if command.numbered and removals != command.removals:
            raise NumbersChanged(command=command.name)

    @override
    def _may_begin(self, flight: Flight) -> bool:
        return len(self._flights) < self.settings.max_pipelined and not any(
            flight.command.conflicts(each.command) for each in self._flights
        )

    async def _write(self, flight: Flight) -> None:
        command = flight.command
        octets = b"%b %b" % (flight.tag, command.name.encode("ascii"))
        for part in command.parts:
            if isinstance(part, bytes):
                octets += part
                continue
            free = self._needs_no_continuation(part)
            mark = b"~" if part.binary else b""
            octets += b"%b{%d%b}\r\n" % (mark, part.size, b"+" if free else b"")
            await self.send(octets)
            octets = b""
            if not free and not await self._may_continue(flight):
                return
            for piece in part.pieces():
                await self.send(piece)
        await self.send(octets + b"\r\n")

    def _needs_no_continuation(self, literal: Literal) -> bool:
        """RFC 7888"""
        names = self.facts.announced
        return "LITERAL+" in names or (
            literal.size <= LITERAL_MINUS
            and ("LITERAL-" in names or ("IMAP4REV2" in names and "IMAP4REV1" not in names))
        )

    async def _may_continue(self, flight: Flight) -> bool:
        """Whether the server wants the literal; false when it has ended the command."""
        while not flight.continuations:
            if flight.status is not None:
                return False
            await self.next_event(flight)
        flight.continuations.popleft()
        return True

    async def send(self, octets: bytes) -> None:
        """Write, and count the server's silence from here on: before, it had nothing to say."""
        await self.channel.write(octets, self.settings.timeouts.write)
        self._heard = self.channel.seconds()

    async def next_event(self, flight: Flight, timeout: float | None = None) -> None:
        """Wait until something happens to a command.

        :param timeout: seconds; None for as long as the server is not silent for too long.
        :raises TimedOut: nothing did; without a ``timeout`` the connection is ended.
        :raises ClientError: the connection has ended.
        """
        while not flight.waiter.fired:
            self.check()
            left = timeout
            if left is None:
                if self._held:
                    self._heard = self.channel.seconds()
                left = self.settings.timeouts.silence - (self.channel.seconds() - self._heard)
            try:
                if left <= 0:
                    raise TimedOut
                await flight.waiter.wait(left)
            except TimedOut as error:
                if timeout is not None:
                    raise
                silence = self.channel.seconds() - self._heard
                if self._held or silence < self.settings.timeouts.silence:
                    continue
                error.command = flight.command.name
                self.fail(error)
                raise
        flight.waiter = self.channel.waiter()
        if flight.status is None and not flight.continuations:
            self.check()

    async def finish(self, flight: Flight) -> Status:
        """Wait for the end of a command.

        :raises CommandFailed: it was answered with NO or BAD.
        :raises ResponseTooLarge: an answer was; the connection can be used.
        """
        patience = flight.command.patience
        give_up = None if patience is None else self.channel.seconds() + patience
        if not flight.streaming:
            self.release()
        while flight.status is None:
            if give_up is None:
                await self.next_event(flight)
                continue
            try:
                await self.next_event(flight, give_up - self.channel.seconds())
            except TimedOut as error:
                error.command = flight.command.name
                self.fail(error)
                raise
        status = judge(flight.status, flight.command.name)
        if flight.excess is not None:
            raise ResponseTooLarge(flight.excess.text, command=flight.command.name)
        return status

    # Back-pressure.

    def wake(self) -> None:
        """Something has come for whoever takes it as it comes."""
        for flight in list(self._flights):
            if flight.streaming:
                flight.waiter.fire()

    def hold(self) -> None:
        """Read nothing more, if nobody waits but those who take their time."""
        if not (self._held or self._queue) and all(flight.streaming for flight in self._flights):
            self._held = True
            self.channel.hold()

    def release(self) -> None:
        """Read again."""
        if self._held:
            self._held = False
            self._heard = self.channel.seconds()
            self.channel.release()

    # The beginning and the end.

    def start_deflate(self) -> None:
        """RFC 4978: what comes behind the response in hand is compressed."""
        self.facts.compressed = True
        self.channel.start_deflate(self._reader.take_rest())

    async def wait_for_greeting(self) -> Status:
        """
        :raises ClientError: there is none in time.
        """
        self.channel.listen(self)
        try:
            await self._greeted.wait(self.settings.timeouts.greeting)
        except TimedOut as error:
            error.command = "greeting"
            self.fail(error)
            raise
        self.check()
        assert self.greeting is not None
        return self.greeting

    def restart(self) -> None:
        """Forget what was said before TLS."""
        self._mute = False
        self._reader = self._new_reader()
        self._farewell = None
        self.facts.announced = self.facts.enabled = frozenset()


def judge(status: Status, command: str) -> Status:
    """
    :raises CommandFailed: the status is not OK.
    """
    if status.condition == "OK":
        return status
    kind = Refused if status.condition == "NO" else NotUnderstood
    raise kind(status.text, command=command, response_code=status.code)
