"""What the dialogue asks of the connection that carries it: two drivers give it."""

from __future__ import annotations

import ipaddress
from abc import ABC, abstractmethod

from mailkit.client.security import TLSInfo, TLSPolicy

#: Octets that have come and that nobody has read; a server that sends more is cut off. Input is
#: never held back: a server that waits for us to read might not read what we write (RFC 2920 3.1).
MAX_UNREAD = 1024 * 1024
#: Seconds that the server may take to close the connection after QUIT.
CLOSE_TIMEOUT = 5.0


class Channel(ABC):
    """Octets out, octets in, time, TLS. Whatever waits may be cancelled.

    A method that waits belongs to one event loop: Twisted's or asyncio's. The dialogue, which
    belongs to none, awaits nothing else.
    """

    #: Where it goes, for people.
    peer = ""
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


def is_loopback(host: str) -> bool:
    """Whether an address belongs to this machine alone."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
