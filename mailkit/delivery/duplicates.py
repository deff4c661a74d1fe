"""Messages that come twice: by a mailing list and directly, or from a server that did not hear us,
or that was told to try again because another of its recipients could not be served."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from mailkit.expiring import ExpiringMap
from mailkit.model import LocalDelivery, Path

#: Messages that are remembered, one an account; the oldest are forgotten first.
MAX_REMEMBERED = 100_000


class Duplicates:
    """Which messages have gone into which mailbox lately, by Message-ID and Date. In memory.

    :param window: seconds that a message is remembered.
    :param seconds: tells the time.
    """

    def __init__(self, window: float, seconds: Callable[[], float] = time.monotonic) -> None:
        self._window = window
        self._seen: ExpiringMap[bytes, bool] = ExpiringMap(MAX_REMEMBERED, seconds)

    def has_seen(self, delivery: LocalDelivery, identity: bytes) -> bool:
        """Whether the mailbox has got that message."""
        return self._seen.get(_key(delivery, identity)) is not None

    def remember(self, delivery: LocalDelivery, identity: bytes) -> None:
        """The mailbox has got that message now."""
        self._seen.set(_key(delivery, identity), True, self._window)


#: Seconds for which it is remembered who has got a message that its sender repeats for others:
#: as long as senders usually try (RFC 5321 section 4.5.4.1).
REPEATED_WITHIN = 5 * 86_400.0


class Served:
    """Who has got a message that its sender was told to send again, as others failed. In memory.

    The sender repeats it to all recipients (RFC 5321 knows one reply for them all), and those who
    have it need no second copy.

    :param seconds: tells the time.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seen: ExpiringMap[bytes, bool] = ExpiringMap(MAX_REMEMBERED, seconds)

    def __bool__(self) -> bool:
        """There may be somebody."""
        return len(self._seen) > 0

    def remember(self, reverse_path: Path, identity: bytes, place: LocalDelivery | Path) -> None:
        """A mailbox, or an address elsewhere, has got the message."""
        self._seen.set(_served_key(reverse_path, identity, place), True, REPEATED_WITHIN)

    def has(self, reverse_path: Path, identity: bytes, place: LocalDelivery | Path) -> bool:
        """Whether it has got the message."""
        return self._seen.get(_served_key(reverse_path, identity, place)) is not None


def _served_key(reverse_path: Path, identity: bytes, place: LocalDelivery | Path) -> bytes:
    where = f"{place}"
    if isinstance(place, LocalDelivery):
        where = f"{place.account}\0{place.mailbox}"
    text = f"{reverse_path}\0{where}\0".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text + identity, digest_size=16).digest()


def _key(delivery: LocalDelivery, identity: bytes) -> bytes:
    # Mail for a sub-address is wanted in its own mailbox, too.
    place = f"{delivery.account}\0{delivery.mailbox}\0".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(place + identity, digest_size=16).digest()
