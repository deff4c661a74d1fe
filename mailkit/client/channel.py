"""What the dialogue asks of the connection that carries it: two drivers give it."""

from __future__ import annotations

import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from mailkit._typing import override
from mailkit.client.errors import ClientError, ConnectionLost, ProtocolError
from mailkit.client.security import TLSInfo, TLSPolicy
from mailkit.wire.deflate import Deflate, DeflateError

#: Octets that have come and that nobody has read; a server that sends more is cut off. Input is
#: never held back: a server that waits for us to read might not read what we write (RFC 2920 3.1).
MAX_UNREAD = 1024 * 1024
#: Seconds that the server may take to close the connection after QUIT.
CLOSE_TIMEOUT = 5.0
#: Octets that are inflated before others have their turn.
INFLATED = 64 * 1024


class Receiver(Protocol):
    """Takes what comes as soon as it comes; must not wait and must not raise."""

    def octets_received(self, data: bytes) -> None:
        """Octets from the server."""

    def connection_ended(self, error: ClientError) -> None:
        """Nothing comes any more."""


class Waiter(ABC):
    """Something that will happen once, and that one coroutine may wait for."""

    @property
    @abstractmethod
    def fired(self) -> bool:
        """It has happened."""

    @abstractmethod
    def fire(self) -> None:
        """It happens; again does nothing."""

    @abstractmethod
    async def wait(self, timeout: float | None = None) -> None:
        """Wait for it; may be called again after a time-out.

        :param timeout: seconds.
        :raises TimedOut: it has not happened yet.
        """


class Channel(ABC):
    """Octets out, octets in, time, TLS. Whatever waits may be cancelled.

    A method that waits belongs to one event loop: Twisted's or asyncio's. The dialogue, which
    belongs to none, awaits nothing else.
    """

    #: Where it goes, for people.
    peer = ""
    #: The address of this machine that it comes from; empty where it has none.
    local = ""
    #: The connection does not leave this machine.
    is_local = False

    @property
    @abstractmethod
    def lost(self) -> bool:
        """The connection is gone; octets that came before can still be read."""

    @abstractmethod
    async def write(self, data: bytes, timeout: float) -> None:
        """Send octets; returns when more may be sent.

        :param timeout: seconds that the peer may let us wait.
        :raises ConnectionLost: or :class:`TimedOut`.
        """

    @abstractmethod
    async def read(self, timeout: float) -> bytes:
        """The octets that have come, at least one.

        :raises ConnectionLost: or :class:`TimedOut`; octets that came before are read first.
        """

    @abstractmethod
    def received(self) -> bytes:
        """The octets that have come and were not read, perhaps none."""

    @abstractmethod
    async def start_tls(self, policy: TLSPolicy, timeout: float) -> TLSInfo:
        """Begin TLS now and finish the handshake.

        :raises TLSFailed: the handshake, or the policy; the connection cannot be used any more.
        """

    def channel_binding(self, kind: str) -> bytes | None:
        """What identifies the TLS connection (RFC 5056); None where there is nothing of that type.

        :param kind: such as ``tls-exporter``.
        """
        return None

    @abstractmethod
    def waiter(self) -> Waiter:
        """Something to wait for."""

    @abstractmethod
    async def turn(self) -> None:
        """Let others run once."""

    @abstractmethod
    def seconds(self) -> float:
        """A clock for time-outs."""

    @abstractmethod
    def now(self) -> float:
        """Seconds since the epoch."""

    @abstractmethod
    async def close(self) -> None:
        """End the connection in order."""

    @abstractmethod
    def abort(self) -> None:
        """End the connection at once."""


class DuplexChannel(Channel):
    """A channel that gives what comes to whoever listens, while others write."""

    @abstractmethod
    def listen(self, receiver: Receiver) -> None:
        """Give all that has come, and all that comes from now on, to a receiver."""

    @abstractmethod
    def hold(self) -> None:
        """Read nothing from the server until :meth:`release`."""

    @abstractmethod
    def release(self) -> None:
        """Read again."""

    @abstractmethod
    def detach(self, steps: Coroutine[Any, Any, object]) -> None:
        """Let steps be taken for which nobody waits. What they raise is lost."""

    @abstractmethod
    def start_deflate(self, data: bytes) -> None:
        """From here on both sides compress (RFC 1951).

        :param data: octets that have come since, and were given to the receiver.
        """


class BufferedChannel(DuplexChannel):
    """Keeps what comes until somebody reads or listens: the part that all drivers share."""

    def __init__(self) -> None:
        self._held = False
        self._deflate: Deflate | None = None
        # There may be more to inflate: it has its turn, or waits until it is released. Nothing is
        # read meanwhile, so that a few octets that stand for many cost no memory.
        self._inflating = self._has_turn = False
        self._ended_later = False
        self._unread: list[bytes] = []
        self._unread_size = 0
        self._receiver: Receiver | None = None
        #: Why nothing comes any more.
        self._error: ClientError | None = None

    def came(self, data: bytes) -> None:
        """Octets from the server."""
        if self._deflate is not None:
            self._deflate.feed(data)
            self._begin_inflating()
            return
        self._give(data)

    def _give(self, data: bytes) -> None:
        if self._receiver is not None:
            self._receiver.octets_received(data)
            return
        self._unread.append(data)
        self._unread_size += len(data)
        if self._unread_size > MAX_UNREAD:
            self._error = ProtocolError("The server sends more than anybody asked for")
            self.abort()

    def ended(self, reason: str) -> None:
        """The connection is gone."""
        if self._error is None:
            self._error = ConnectionLost(reason)
        if self._inflating:
            # What came before is told before.
            self._ended_later = True
        elif self._receiver is not None:
            self._receiver.connection_ended(self._copy_error())

    @abstractmethod
    def _read_on(self, reading: bool) -> None:
        """Let the transport read, or not."""

    @abstractmethod
    def _later(self, call: Callable[[], None]) -> None:
        """Call something as soon as others have had their turn."""

    @override
    def hold(self) -> None:
        self._held = True
        self._read_on(False)

    @override
    def release(self) -> None:
        self._held = False
        if self._inflating:
            self._take_turn()
        else:
            self._read_on(True)

    @override
    def start_deflate(self, data: bytes) -> None:
        self._deflate = Deflate()
        if data:
            self.came(data)

    def compressed(self, data: bytes) -> bytes:
        """Octets as they are to be sent."""
        return data if self._deflate is None else self._deflate.compress(data)

    def stop_inflating(self) -> None:
        """Nobody wants what has come."""
        if self._deflate is not None:
            self._deflate = Deflate()

    def _begin_inflating(self) -> None:
        if not self._inflating:
            self._inflating = True
            self._read_on(False)
            self._take_turn()

    def _take_turn(self) -> None:
        if not self._has_turn:
            self._has_turn = True
            self._later(self._inflate)

    def _inflate(self) -> None:
        """Give the receiver one piece of what has come."""
        self._has_turn = False
        if self._held or not self._inflating or self._deflate is None:
            return
        try:
            data = self._deflate.read(INFLATED)
        except DeflateError as error:
            self._inflating = False
            self._error = ProtocolError(f"What the server compresses cannot be read: {error}")
            self.abort()
            self.ended("")
            return
        if data:
            self._take_turn()
            self._give(data)
            return
        self._inflating = False
        if self._ended_later:
            self.ended("")
        else:
            self._read_on(True)

    @property
    @override
    def lost(self) -> bool:
        return self._error is not None

    @override
    def received(self) -> bytes:
        if not self._unread:
            return b""
        data = b"".join(self._unread)
        self._unread.clear()
        self._unread_size = 0
        return data

    @override
    def listen(self, receiver: Receiver) -> None:
        self._receiver = receiver
        if data := self.received():
            receiver.octets_received(data)
        if self._error is not None:
            receiver.connection_ended(self._copy_error())

    def _copy_error(self) -> ClientError:
        assert self._error is not None
        return type(self._error)(self._error.text)


def is_loopback(host: str) -> bool:
    """Whether an address belongs to this machine alone."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
