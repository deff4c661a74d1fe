"""Commands out and responses in, several commands at a time.

Ordering: responses come in the order of the commands, and nothing else tells them apart (RFC 2449
section 6.6). Commands are written in the order of the calls; without PIPELINING each waits for the
response to the one before. A command whose caller was cancelled stays under way, and its response
is read and thrown away.

The coroutines here await nothing but the :class:`~mailkit.client.channel.DuplexChannel`, so they run
under Twisted and under asyncio alike.
"""

from __future__ import annotations

from mailkit._typing import override
from mailkit.client import pipeline
from mailkit.client.channel import DuplexChannel, Waiter
from mailkit.client.errors import (
    ClientError,
    ConnectionLost,
    ProtocolError,
    ServiceRefused,
    TimedOut,
)
from mailkit.pop3.client.commands import Command
from mailkit.pop3.client.errors import Refused
from mailkit.pop3.client.reader import Challenge, ResponseReader, Status
from mailkit.pop3.client.settings import ClientSettings, ConnectionFacts

_TOO_EARLY = "The server spoke on before TLS had begun"


class Flight(pipeline.Flight):
    """A command that waits to be sent, or is under way."""

    def __init__(self, command: Command, waiter: Waiter) -> None:
        super().__init__(waiter)
        self.command = command
        #: The status line, once it has come.
        self.status: Status | None = None
        #: The whole response has come.
        self.ended = False
        #: A challenge that nobody has taken.
        self.challenge: bytes | None = None
        #: When the response must have ended.
        self.give_up: float | None = None


class Connection(pipeline.Pipeline[Flight]):
    """A connection to a server, from the greeting on.

    :param channel: the connection.
    """

    def __init__(self, channel: DuplexChannel, settings: ClientSettings) -> None:
        super().__init__(channel)
        self.settings = settings
        self.facts = ConnectionFacts(peer=channel.peer)
        #: QUIT was sent: the server may close the connection.
        self.leaving = False
        self._reader = ResponseReader(settings.limits)
        # When the server has last said something, and when the response under way may have begun.
        self._heard = self._began = channel.seconds()
        self._held_since: float | None = None
        # STLS was answered: what comes before TLS comes from somebody else.
        self._mute = False

    # What the channel calls.

    def octets_received(self, data: bytes) -> None:
        if self.failure is not None:
            return
        self._heard = self.channel.seconds()
        self._reader.feed(data)
        try:
            if self._mute:
                raise ProtocolError(_TOO_EARLY, command="STLS")
            while self._flights and self._advance_response(self._flights[0]):
                pass
            if not self._flights and self.failure is None:
                self._unasked()
        except ClientError as error:
            error.command = error.command or self._name
            self.fail(error)
        except OSError as error:
            text = f"What the server sends cannot be kept: {error}"
            self.fail(ConnectionLost(text, command=self._name))

    def connection_ended(self, error: ClientError) -> None:
        error.command = self._name
        self.fail(error)

    @property
    def _name(self) -> str:
        return self._flights[0].command.name if self._flights else ""

    # Responses.

    def _advance_response(self, flight: Flight) -> bool:
        """Read on in the response that comes next; whether there may be more to read."""
        if flight.status is None:
            found = self._reader.read_status()
            if found is None:
                return False
            if isinstance(found, Challenge):
                if flight.command.name != "AUTH" or flight.challenge is not None:
                    raise ProtocolError("The server asks for more than there is")
                flight.challenge = found.octets
                flight.waiter.fire()
                return True
            flight.status = found
            several = flight.command.collect is not None or flight.command.sink is not None
            if several and found.positive:
                return True
        elif not self._read_more(flight.command):
            return False
        self._end(flight)
        return True

    def _read_more(self, command: Command) -> bool:
        """What stands behind the status line; whether it has ended."""
        if command.sink is not None:
            return self._reader.read_content(command.sink)
        assert command.collect is not None
        try:
            while (line := self._reader.read_line()) is not None:
                command.collect(line)
        except EOFError:
            return True
        return False

    def _end(self, flight: Flight) -> None:
        if flight.command.name == "STLS" and flight.status and flight.status.positive:
            # RFC 2595 section 4: it would be read as if it had come encrypted.
            self._mute = True
            if not self._reader.idle:
                raise ProtocolError(_TOO_EARLY, command="STLS")
        self._flights.popleft()
        flight.ended = True
        self._began = self._heard
        flight.waiter.fire()
        self._advance()

    def _unasked(self) -> None:
        """Nobody waits for what has come."""
        if self._reader.idle:
            return
        status = self._reader.read_status()
        if isinstance(status, Status) and not status.positive:
            # Some servers say why they close the connection.
            raise ServiceRefused(status.text)
        if status is not None:
            raise ProtocolError("The server answers more than it was asked")

    # Commands.

    async def run(self, command: Command) -> Status:
        """Send a command and wait for the end of its response.

        :raises Refused: it was answered with ``-ERR``.
        :raises ClientError: it has no answer.
        """
        return await self.finish(await self.begin(command))

    async def begin(self, command: Command, *, streaming: bool = False) -> Flight:
        """Send a command as soon as it may be sent.

        :param streaming: whoever takes what comes may be slow.
        :raises ClientError: that is not possible.
        """
        self.check()
        flight = Flight(command, self.channel.waiter())
        flight.streaming = streaming
        self._queue.append(flight)
        self._advance()
        try:
            if not flight.admitted:
                # Who reads slowly would have to wait for us, and we for him.
                self.release()
                await flight.waiter.wait()
            self.check()
            self._register(flight)
            await self._write(command.line + b"\r\n")
        finally:
            self._forget(flight)
        return flight

    def _register(self, flight: Flight) -> None:
        if not self._flights:
            self._began = self._heard = self.channel.seconds()
        if flight.command.patience is not None:
            flight.give_up = self.channel.seconds() + flight.command.patience
        flight.waiter = self.channel.waiter()
        self._flights.append(flight)

    async def _write(self, octets: bytes) -> None:
        try:
            await self.channel.write(octets, self.settings.timeouts.write)
        except ClientError as error:
            self.fail(error)
            raise

    @override
    def _may_begin(self, flight: Flight) -> bool:
        # RFC 2449 section 6.6
        several = self.facts.announced is not None and "PIPELINING" in self.facts.announced
        most = self.settings.max_pipelined if several else 1
        return not self._flights or (
            len(self._flights) < most
            and not flight.command.alone
            and not any(each.command.alone for each in self._flights)
        )

    async def answer(self, octets: bytes) -> None:
        """Send a step of an authentication."""
        await self._write(octets + b"\r\n")

    async def next_event(self, flight: Flight) -> None:
        """Wait until something happens to a command.

        :raises TimedOut: the server is silent for too long; the connection is ended.
        :raises ClientError: the connection has ended.
        """
        while not flight.waiter.fired:
            self.check()
            left = self._patience(flight)
            try:
                if left <= 0:
                    raise TimedOut
                await flight.waiter.wait(left)
            except TimedOut as error:
                if self._patience(flight) > 0:
                    continue
                error.command = self._name or flight.command.name
                self.fail(error)
                raise
        flight.waiter = self.channel.waiter()
        if not flight.ended and flight.challenge is None:
            self.check()

    def _patience(self, flight: Flight) -> float:
        """Seconds until something must have happened."""
        timeouts = self.settings.timeouts
        if self._held_since is not None:
            return timeouts.silence
        until = min(self._heard + timeouts.silence, self._began + timeouts.response)
        if flight.give_up is not None:
            until = min(until, flight.give_up)
        return until - self.channel.seconds()

    async def finish(self, flight: Flight) -> Status:
        """Wait for the end of a response.

        :raises Refused: it is ``-ERR``.
        """
        if not flight.streaming:
            self.release()
        while not flight.ended:
            await self.next_event(flight)
        return judge(flight)

    # Back-pressure.

    def hold(self) -> bool:
        """Read nothing more, if nobody waits but those who take their time; whether it is so."""
        free = not self._queue and all(flight.streaming for flight in self._flights)
        if self._held_since is None and free:
            self._held_since = self.channel.seconds()
            self.channel.hold()
        return self._held_since is not None

    def release(self) -> None:
        """Read again."""
        if self._held_since is not None:
            now = self.channel.seconds()
            self._began += now - self._held_since
            self._heard = now
            self._held_since = None
            self.channel.release()

    # The beginning and the end.

    async def wait_for_greeting(self) -> Status:
        """
        :raises ClientError: there is none in time.
        """
        patience = self.settings.timeouts.greeting
        flight = Flight(Command("greeting", patience=patience), self.channel.waiter())
        self._register(flight)
        self.channel.listen(self)
        while not flight.ended:
            await self.next_event(flight)
        self.check()
        assert flight.status is not None
        return flight.status

    def restart(self) -> None:
        """Forget what was said before TLS."""
        self._mute = False
        self._reader = ResponseReader(self.settings.limits)
        self.facts.announced = None


def judge(flight: Flight) -> Status:
    """
    :raises Refused: the status is ``-ERR``.
    """
    status = flight.status
    assert status is not None
    if status.positive:
        return status
    raise Refused(status.text, command=flight.command.name, response_code=status.code)
