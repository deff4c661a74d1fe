"""Messages that came twice: by a mailing list and directly, or from a server that did not hear us."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from mailkit.expiring import ExpiringMap
from mailkit.model import LocalDelivery

#: Messages that are remembered, one an account; the oldest are forgotten first.
MAX_REMEMBERED = 100_000


class Duplicates:
    """Which messages have gone into which mailbox lately, by their Message-ID. In memory.

    :param window: seconds that a message is remembered.
    :param seconds: tells the time.
    """

    def __init__(self, window: float, seconds: Callable[[], float] = time.monotonic) -> None:
        self._window = window
        self._seen: ExpiringMap[bytes, bool] = ExpiringMap(MAX_REMEMBERED, seconds)

    def has_seen(self, delivery: LocalDelivery, message_id: bytes) -> bool:
        """Whether the mailbox has got that message."""
        return self._seen.get(_key(delivery, message_id)) is not None

    def remember(self, delivery: LocalDelivery, message_id: bytes) -> None:
        """The mailbox has got that message now."""
        self._seen.set(_key(delivery, message_id), True, self._window)


def _key(delivery: LocalDelivery, message_id: bytes) -> bytes:
    # Mail for a sub-address is wanted in its own mailbox, too.
    place = f"{delivery.account}\0{delivery.mailbox}\0".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(place + message_id, digest_size=16).digest()
