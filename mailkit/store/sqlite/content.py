"""From a protocol's spool to what the writer takes."""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from collections.abc import Sequence

from twisted.internet.defer import Deferred

from mailkit.spool import Spool
from mailkit.store.sqlite.core import Core
from mailkit.store.sqlite.disk import flush_file
from mailkit.store.sqlite.log import SPOOL_RESERVE
from mailkit.store.sqlite.operations import discard_content
from mailkit.store.sqlite.outage import refusal
from mailkit.store.sqlite.records import MAX_META, RECORD_HEADER_SIZE
from mailkit.store.sqlite.segments import SEGMENT_HEAD_SIZE
from mailkit.store.sqlite.transaction import Content

# Octets that are read at once.
_PIECE = 512 * 1024
#: Octets of a prefix that fit in front of a spooled file's content, when its head is the original.
MAX_PREFIX = SPOOL_RESERVE - SEGMENT_HEAD_SIZE - RECORD_HEADER_SIZE - MAX_META


class SpooledFile:
    """A spool's file that was handed over; :meth:`prepare` runs in a thread.

    It is never whole in memory: a thousand that end at once would be a thousand megabytes.
    """

    def __init__(self, core: Core, path: str, start: int, prefix: bytes, size: int) -> None:
        self._core = core
        self._path = path
        self._start = start
        self._prefix = prefix
        self._size = size

    def prepare(self) -> Content:
        """Checksum the file, and sync one that the log is to adopt.

        :raises StoreUnavailable: the disk refuses.
        """
        try:
            path, prefix, start = self._path, self._prefix, self._start
            if (
                os.path.dirname(path) != self._core.spool_directory
                or len(prefix) > MAX_PREFIX + start - SPOOL_RESERVE
            ):
                path, prefix, start = self._copy(), b"", SPOOL_RESERVE
            with open(path, "rb", buffering=0) as file:
                crc, tail = zlib.crc32(prefix), prefix[-2:]
                file.seek(start)
                while chunk := file.read(_PIECE):
                    crc = zlib.crc32(chunk, crc)
                    tail = (tail + chunk[-2:])[-2:]
                if self._size > self._core.settings.large_body:
                    # So that the writer's own flush is short.
                    flush_file(file.fileno())
            return Content(None, self._size, path, prefix, crc, start, tail)
        except OSError as error:
            self.discard()
            raise refusal(error) from error

    def discard(self) -> None:
        """Remove the file, which nobody wants any more."""
        try:
            os.unlink(self._path)
        except OSError:
            # It goes when the store is opened, like all spools.
            pass

    def _copy(self) -> str:
        """Bring a file that was spooled elsewhere, or otherwise, into the store's own shape."""
        handle, path = tempfile.mkstemp(prefix="copy-", dir=self._core.spool_directory)
        try:
            with os.fdopen(handle, "wb") as target, open(self._path, "rb") as source:
                target.seek(SPOOL_RESERVE)
                target.write(self._prefix)
                source.seek(self._start)
                shutil.copyfileobj(source, target, 1 << 20)
        except BaseException:
            os.unlink(path)
            raise
        os.unlink(self._path)
        return path


def prepare(core: Core, spooled: SpooledFile) -> Deferred[Content]:
    """:meth:`SpooledFile.prepare`, in a thread; if nobody waits any more, the file is removed."""
    result: Deferred[Content] = Deferred()

    def done(content: Content) -> None:
        if result.called:
            discard_content(content)
        else:
            result.callback(content)

    core.in_thread(spooled.prepare).addCallbacks(done, result.errback)
    return result


def _tail(pieces: Sequence[bytes]) -> bytes:
    """The last two octets."""
    tail = b""
    for piece in reversed(pieces):
        tail = piece[-2:] + tail
        if len(tail) >= 2:
            break
    return tail[-2:]


def take_spool(core: Core, spool: Spool) -> Content | SpooledFile:
    """What a spool holds; its caller may close it afterwards.

    :raises StoreUnavailable: the disk refuses.
    """
    if (pieces := spool.pieces) is not None:
        tail = pieces[-1][-2:] if pieces else b""
        if len(tail) < 2:
            tail = _tail(pieces)
        # tuple.__new__ goes around the Python function that a NamedTuple has for it.
        return tuple.__new__(Content, (pieces, spool.size, "", b"", 0, SPOOL_RESERVE, tail))
    prefix, size, start, check = spool.prefix, spool.size, spool.start, spool.check
    try:
        path = spool.take()
    except OSError as error:
        raise refusal(error) from error
    assert path is not None
    if (
        check is not None
        and size <= core.settings.large_body
        and os.path.dirname(path) == core.spool_directory
    ):
        return Content(None, size, path, prefix, check.crc, start, bytes(check.tail))
    return SpooledFile(core, path, start, prefix, size)
