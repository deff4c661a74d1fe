"""Commands that wait to be written, and those that are under way.

A protocol's connection adds how its commands are written and its responses read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable
from typing import Generic, TypeVar

from mailkit.client.channel import DuplexChannel, Waiter
from mailkit.client.errors import ClientError


class Flight:
    """A command that waits to be sent, or is under way."""

    def __init__(self, waiter: Waiter) -> None:
        #: Fires when the command may be written, and anew for each thing that happens.
        self.waiter = waiter
        self.admitted = False
        #: Its response goes to somebody who may be slow.
        self.streaming = False


_Flight = TypeVar("_Flight", bound=Flight)


class Pipeline(ABC, Generic[_Flight]):
    """A connection over which commands go in the order of the calls.

    :param channel: the connection.
    """

    def __init__(self, channel: DuplexChannel) -> None:
        self.channel = channel
        #: Why nothing more can be said.
        self.failure: ClientError | None = None
        self._queue: deque[_Flight] = deque()
        self._flights: deque[_Flight] = deque()
        self._writing: _Flight | None = None

    @property
    def closed(self) -> bool:
        return self.failure is not None

    def check(self) -> None:
        """
        :raises ClientError: the connection cannot be used any more.
        """
        if self.failure is not None:
            error = self.failure
            raise type(error)(error.text, command=error.command)

    def fail(self, error: ClientError) -> None:
        """End the connection at once; all that are waiting get the error."""
        if self.failure is not None:
            return
        self.failure = error
        self.channel.abort()
        flights = [*self._flights, *self._queue]
        self._flights.clear()
        self._queue.clear()
        for flight in flights:
            flight.waiter.fire()

    async def depend_on(self, steps: Awaitable[None]) -> None:
        """Wait for steps without which the connection is of no use: where they fail, it ends.

        :raises ClientError: they have failed.
        """
        try:
            await steps
        except ClientError as error:
            self.fail(error)
            raise
        except BaseException:
            self.fail(ClientError("The connection was given up"))
            raise

    @abstractmethod
    def _may_begin(self, flight: _Flight) -> bool:
        """Whether a command may be written before those under way have ended."""

    def _forget(self, flight: _Flight) -> None:
        """It is written, or never will be."""
        if flight in self._queue:
            self._queue.remove(flight)
        if self._writing is flight:
            self._writing = None
        self._advance()

    def _advance(self) -> None:
        """Let the next command be written if it may be."""
        if self._writing is not None or not self._queue or self.failure is not None:
            return
        flight = self._queue[0]
        if not self._may_begin(flight):
            return
        self._queue.popleft()
        self._writing = flight
        flight.admitted = True
        flight.waiter.fire()
