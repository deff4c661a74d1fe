"""Remembers signatures: one message goes to many domains, and is signed once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Hashable
from typing import BinaryIO, NamedTuple

from mailkit.expiring import ExpiringMap
from mailkit.spool import READ_BUFFER

#: Messages whose signatures are remembered, and for how many seconds.
MAX_MESSAGES = 1000
SIGNATURE_TIME = 86_400.0
# What is signed at the same time waits for one of these, so that no message is signed twice.
_LOCKS = 16


class Signature(NamedTuple):
    """What signing a message has come to."""

    #: The fields before it; empty where it cannot be signed.
    fields: bytes
    #: The message is brought into another form before it is sent.
    settled: bool


class SignatureMemory:
    """Signatures by the octets of messages; for use by several threads.

    :param seconds: tells the time.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._known: ExpiringMap[Hashable, Signature] = ExpiringMap(MAX_MESSAGES, seconds)
        self._lock = threading.Lock()
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def find_or_make(self, key: Hashable, make: Callable[[], Signature]) -> Signature:
        """The signature of a message, which is made where it is not known."""
        with self._locks[hash(key) % _LOCKS]:
            with self._lock:
                found = self._known.get(key)
            if found is None:
                found = make()
                with self._lock:
                    self._known.set(key, found, SIGNATURE_TIME)
            return found


def digest_of(content: BinaryIO) -> bytes:
    """SHA-256 of all octets of a message."""
    digest = hashlib.sha256()
    content.seek(0)
    while data := content.read(READ_BUFFER):
        digest.update(data)
    return digest.digest()
