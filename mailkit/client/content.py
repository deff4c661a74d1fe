"""What a server sends of a message, kept until nobody wants it any more."""

from __future__ import annotations

import io
import weakref
from typing import BinaryIO

from mailkit.spool import Spool

#: Octets of one content that are kept in memory; longer ones turn to a file.
CONTENT_MEMORY = 256 * 1024
#: Octets of contents that one connection keeps in memory.
SHARED_CONTENT_MEMORY = 8 * 1024 * 1024


class Content:
    """A message or a section of one: small in memory, large in a temporary file.

    The file goes when this object goes, or earlier by :meth:`close`.
    """

    __slots__ = ("__weakref__", "_finalizer", "_spool")

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._finalizer = weakref.finalize(self, spool.close)

    @property
    def spool(self) -> Spool:
        """What has the octets; for whoever takes it over while this object is there."""
        return self._spool

    @property
    def size(self) -> int:
        """In octets."""
        return self._spool.size

    def octets(self) -> bytes:
        """All of it, in memory."""
        data = self._spool.data
        if data is None:
            with self._spool.open() as reader:
                data = reader.read()
        return data

    def open(self) -> BinaryIO:
        """A reader; the caller closes it."""
        data = self._spool.data
        return self._spool.open() if data is None else io.BytesIO(data)

    def close(self) -> None:
        """Forget it now."""
        self._finalizer()
