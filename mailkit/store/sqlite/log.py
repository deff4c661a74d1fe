"""The end of the log that is written: records go to segment files, and are flushed in batches.

A large body is a segment of its own: the file that it was spooled to, whose reserved first octets
take the two headers, the meta data and the message's prefix, all of them pushed up against the
content. It is synced and renamed, never copied. One that is not so large is copied from its spool to
the end of the log: that takes less than the flushes of a file and a name of its own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from mailkit.store.sqlite.copying import copy_octets, open_spool
from mailkit.store.sqlite.disk import free_octets, sync_directory
from mailkit.store.sqlite.records import BODY, RECORD_HEADER_SIZE, encode_header
from mailkit.store.sqlite.segments import (
    SEGMENT_HEAD_SIZE,
    encode_head,
    read_head,
    segment_name,
)

#: Octets that the large bodies' spools leave free: headers, meta data and prefix must fit.
SPOOL_RESERVE = 32 * 1024
# Buffers of one writev; the limit of Linux is 1024.
_MAX_BUFFERS = 1000


class Location(NamedTuple):
    """Where a record is."""

    segment: int
    #: Offset of the record.
    position: int
    #: Offset of the body's octets.
    start: int


class _Mark(NamedTuple):
    """What a batch falls back to."""

    segment: int
    size: int


class SegmentLog:
    """The end of the log that is written; used by the writer's thread alone.

    A batch calls :meth:`begin`, :meth:`append`, :meth:`append_file` and :meth:`adopt`, then
    :meth:`write` and :meth:`flush`, and :meth:`finish` when the index has committed too.
    :meth:`rollback` takes all of it back.

    :param directory: where the segment files are.
    :param limit: octets after which a new segment is begun.
    :ivar large: octets of a body above which its file is to be adopted, not copied.
    :param min_free: octets of the disk that are not for new bodies.
    :param room: zeros that are written behind the end of a segment, for small batches to come: to
        flush what is overwritten takes half the time that it takes to make a file longer.
    :param flush: makes a file durable, given its descriptor.
    """

    def __init__(
        self,
        directory: str,
        *,
        limit: int,
        large: int,
        flush: Callable[[int], None],
        min_free: int = 0,
        room: int = 0,
    ) -> None:
        self.directory = directory
        self._limit = limit
        self.large = large
        self.min_free = min_free
        self._room = room
        self._flush = flush
        self._marker = b""
        self._descriptor = -1
        self._buffers: list[bytes] = []
        #: Octets up to which the current file is written.
        self._written = 0
        #: Octets that it has; those behind what is written are zero.
        self._reserved = 0
        self._mark = _Mark(0, 0)
        self._unsynced: list[int] = []
        self._sealed: list[int] = []
        self._adopted: list[tuple[str, str]] = []
        # Files that are not needed any more once the batch is done.
        self._copied: list[str] = []
        self._names_changed = False
        self._flush_failed = False
        #: The number that was used last, by any file.
        self.last_number = 0
        #: Number of the current segment, 0 for none.
        self.segment = 0
        #: Octets of the current segment, those not written yet included.
        self.size = 0
        #: Sizes of the segments that this batch has written to.
        self.sizes: dict[int, int] = {}
        #: Octets of new segments that never held anything.
        self.unused: dict[int, int] = {}

    def open(self, segment: int, size: int, last_number: int, marker: bytes) -> None:
        """Go on at the end of a segment, cutting off what a crash left behind ``size``.

        :param segment: 0 to begin a new one with the first record.
        :param marker: of the store; a segment whose head does not say it gets no more records.
        """
        self.last_number = last_number
        self._marker = marker
        if segment:
            path = os.path.join(self.directory, segment_name(segment))
            self._descriptor = os.open(path, os.O_RDWR)
            present = os.fstat(self._descriptor).st_size
            if present > size:
                os.ftruncate(self._descriptor, size)
            self.segment = segment
            self.size = self._written = size
            self._reserved = min(present, size)
            head = read_head(self._descriptor)
            if head is None or head.marker != marker:
                self.seal()

    def measure_room(self) -> int:
        """Octets that new bodies may take; negative when they have taken too many.

        :raises OSError: the system does not tell.
        """
        return free_octets(self.directory) - self.min_free

    def close(self) -> None:
        for descriptor in {self._descriptor, *self._sealed} - {-1}:
            os.close(descriptor)
        self._descriptor = -1
        self._sealed = []
        self.segment = 0

    def begin(self) -> None:
        """Begin a batch."""
        self._mark = _Mark(self.segment, self.size)
        self.sizes = {}
        self.unused = {}

    def append(
        self, kind: int, lsn: int, batch: int, meta: bytes, body: Sequence[bytes], body_crc: int
    ) -> Location:
        """Add a record to the current segment, or to a new one when that is full."""
        return self._append(kind, lsn, batch, meta, body, body_crc, sum(map(len, body)))

    def append_file(
        self,
        path: str,
        content_start: int,
        lsn: int,
        batch: int,
        meta: bytes,
        prefix: bytes,
        length: int,
        body_crc: int,
    ) -> Location:
        """Add a record with the content of a spool's file, which goes when the batch is done.

        :param content_start: offset of the content, up to the file's end.
        :param length: octets of the whole body, ``prefix`` included.
        :raises StoreUnavailable: there is no such file.
        """
        source = open_spool(path, os.O_RDONLY)
        try:
            found = self._append(BODY, lsn, batch, meta, (prefix,), body_crc, length)
            self._write_buffers()
            rest = length - len(prefix)
            copy_octets(source, content_start, self._descriptor, self._written, rest)
            self._written += rest
        finally:
            os.close(source)
        self._copied.append(path)
        return found

    def _append(
        self,
        kind: int,
        lsn: int,
        batch: int,
        meta: bytes,
        body: Sequence[bytes],
        body_crc: int,
        length: int,
    ) -> Location:
        """Add a record, all or the beginning of its body, to the current segment or to a new one.

        :param length: of the whole body.
        """
        if self._descriptor < 0 or (
            self.size > self._limit // 2
            and self.size + RECORD_HEADER_SIZE + len(meta) + length > self._limit
        ):
            self._roll()
        position = self.size
        header = encode_header(kind, meta, length, body_crc, lsn, batch, self._marker)
        self._buffers.append(header)
        self._buffers.append(meta)
        self._buffers.extend(body)
        start = position + len(header) + len(meta)
        self.size = self.sizes[self.segment] = start + length
        return Location(self.segment, position, start)

    def seal(self) -> None:
        """Let the next record begin a new segment, so that this one can be compacted."""
        if self._descriptor >= 0:
            self._write_buffers()
            self.trim()
            self._sealed.append(self._descriptor)
        self._descriptor = -1
        self.segment = 0
        self.size = self._written = self._reserved = 0

    def _roll(self) -> None:
        """Begin a new segment."""
        self._write_buffers()
        number = self.last_number + 1
        path = os.path.join(self.directory, segment_name(number))
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self.last_number = number
        self._names_changed = True
        if self._descriptor >= 0:
            self.trim()
            self._sealed.append(self._descriptor)
        self._descriptor = descriptor
        self.segment = number
        self._written = self._reserved = 0
        self._buffers.append(encode_head(SEGMENT_HEAD_SIZE, self._marker))
        self.size = self.sizes[number] = SEGMENT_HEAD_SIZE

    def _write_buffers(self) -> None:
        buffers, self._buffers = self._buffers, []
        if not buffers:
            return
        if self._descriptor not in self._unsynced:
            self._unsynced.append(self._descriptor)
        for begin in range(0, len(buffers), _MAX_BUFFERS):
            chunk = buffers[begin : begin + _MAX_BUFFERS]
            wanted = sum(map(len, chunk))
            done = os.pwritev(self._descriptor, chunk, self._written)
            if done < wanted:
                # A full disk takes what fits and tells of it by the next call.
                rest = memoryview(b"".join(chunk))[done:]
                while rest:
                    done = os.pwrite(self._descriptor, rest, self._written + wanted - len(rest))
                    if not done:
                        raise OSError(errno.ENOSPC, "The disk takes no more octets")
                    rest = rest[done:]
            self._written += wanted

    def adopt(
        self,
        path: str,
        content_start: int,
        lsn: int,
        batch: int,
        meta: bytes,
        prefix: bytes,
        length: int,
        body_crc: int,
    ) -> Location:
        """Turn a spool's file, whose content is synced already, into a segment of its own.

        :param content_start: octets at its start that are free.
        :param length: octets of the whole body, ``prefix`` included.
        """
        head = encode_header(BODY, meta, length, body_crc, lsn, batch, self._marker) + meta + prefix
        position = content_start - len(head)
        descriptor = open_spool(path, os.O_RDWR)
        self._sealed.append(descriptor)
        self._unsynced.append(descriptor)
        os.pwrite(descriptor, encode_head(position, self._marker), 0)
        os.pwrite(descriptor, head, position)
        self.last_number += 1
        number = self.last_number
        target = os.path.join(self.directory, segment_name(number))
        os.rename(path, target)
        self._adopted.append((path, target))
        self._names_changed = True
        start = content_start - len(prefix)
        self.sizes[number] = start + length
        self.unused[number] = position - SEGMENT_HEAD_SIZE
        return Location(number, position, start)

    def write(self) -> bool:
        """Hand what was appended to the system; tells whether there is anything to flush."""
        self._write_buffers()
        if self._written > self._reserved:
            self._make_room()
        return bool(self._unsynced or self._names_changed)

    def _make_room(self) -> None:
        """The file is longer: let the next batches find octets that they can overwrite."""
        self._reserved = self._written
        begun = self._mark.size if self.segment == self._mark.segment else 0
        room = min(self._room, self._limit - self._written)
        # A large batch takes so long that it makes no difference.
        if room > 0 and self._written - begun < self._room:
            # On a disk that is nearly full it does without.
            with suppress(OSError):
                if self.measure_room() > room:
                    self._reserved += os.pwrite(self._descriptor, bytes(room), self._written)

    def trim(self) -> None:
        """Cut off the room ahead; nothing is written to the segment any more."""
        if self._reserved > self._written:
            # What is left goes with the segment, or when the store is opened.
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._written)
            self._reserved = self._written

    def flush(self) -> None:
        """Make durable what was written; another thread may do it while the batch goes on.

        One flush when one segment was enough.
        """
        # Taken back below when all went well.
        self._flush_failed = True
        for descriptor in self._unsynced:
            self._flush(descriptor)
        if self._names_changed:
            sync_directory(self.directory)
        self._unsynced = []
        self._names_changed = self._flush_failed = False

    def finish(self) -> None:
        """The index has taken the batch."""
        self._close_sealed()
        self._adopted = []
        copied, self._copied = self._copied, []
        for path in copied:
            # What is left goes when the store is opened, like all spools.
            with suppress(OSError):
                os.unlink(path)

    def give_up(self) -> None:
        """The index has taken the batch, but the flush failed: leave its segments alone."""
        self._adopted = []
        self._copied = []
        self._unsynced = []
        self._flush_failed = self._names_changed = False
        self._abandon()

    def _close_sealed(self) -> None:
        for descriptor in self._sealed:
            os.close(descriptor)
        self._sealed = []

    def rollback(self) -> None:
        """Undo the batch: what was appended is cut off, adopted files get their old names."""
        self._buffers = []
        # After a failed flush nobody knows which pages are on the disk: never write there again.
        tainted, self._flush_failed = self._flush_failed, False
        self._unsynced = []
        for path, target in self._adopted:
            # A segment that the index does not know: recovery removes it.
            with suppress(OSError):
                os.rename(target, path)
        self._adopted = []
        # Others may want them in the next batch.
        self._copied = []
        self._names_changed = False
        if self.segment != self._mark.segment or tainted:
            self._cut(self._mark)
            return
        self._close_sealed()
        try:
            if self._descriptor >= 0 and self._written > self._mark.size:
                os.ftruncate(self._descriptor, self._mark.size)
                self._reserved = self._mark.size
            self.size = self._written = self._mark.size
        except OSError:
            self._abandon()

    def _cut(self, mark: _Mark) -> None:
        """Take away a segment begun by the batch, cut the one before, and begin anew."""
        # What cannot be taken away now is not in the index, and goes when the store is opened.
        if self.segment != mark.segment and self._descriptor >= 0:
            with suppress(OSError):
                os.unlink(os.path.join(self.directory, segment_name(self.segment)))
        if mark.segment:
            with suppress(OSError):
                os.truncate(os.path.join(self.directory, segment_name(mark.segment)), mark.size)
        self._abandon()

    def _abandon(self) -> None:
        """Let the next record begin a new segment."""
        self.close()
        self.size = self._written = self._reserved = 0
