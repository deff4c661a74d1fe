"""Reading bodies from the log: one read for small ones, a view of the file for a large one."""

from __future__ import annotations

import errno
import io
import mmap
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from mailkit._typing import override
from mailkit.errors import StoreCorrupt
from mailkit.spool import READ_BUFFER
from mailkit.store.sqlite.records import RECORD_HEADER_SIZE, checksum_of, decode_header
from mailkit.store.sqlite.segments import read_crc, segment_name
from mailkit.wire.dotstuff import lacks_line_end

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Octets of a body up to which it is read at once.
SMALL_BODY = 256 * 1024
#: Octets that are read at once where several bodies lie next to each other.
SPAN_OCTETS = 128 * 1024
#: Octets between two of them that nobody wants, at most: read in less time than a call takes.
MAX_GAP = 4 * 1024
#: Segment files that are kept open.
MAX_OPEN_FILES = 64

_RWF_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


class BodyPlace(NamedTuple):
    """A body's row in the index."""

    body_id: int
    segment: int
    position: int
    start: int
    size: int


class Cold(Exception):
    """The octets are not in memory; reading them would make the reactor wait for the disk."""


class BodyFiles:
    """Segment files, opened when needed. May be used from any thread.

    :param directory: where the segments are.
    """

    def __init__(self, directory: str, max_open: int = MAX_OPEN_FILES) -> None:
        self._directory = directory
        self._max_open = max_open
        self._lock = threading.Lock()
        self._open: OrderedDict[int, int] = OrderedDict()
        self._nowait = _RWF_NOWAIT
        #: Another process removes segments, and may make one of the same number later.
        self.check_names = False
        self._buffer = memoryview(bytearray(64 * 1024))

    def close(self) -> None:
        with self._lock:
            for descriptor in self._open.values():
                os.close(descriptor)
            self._open.clear()

    def forget(self, segment: int) -> None:
        """The segment's file is gone."""
        with self._lock:
            descriptor = self._open.pop(segment, -1)
            if descriptor >= 0:
                os.close(descriptor)

    def _read(self, segment: int, position: int, length: int, nowait: bool) -> bytes:
        # Reading under the lock keeps the descriptor from being closed by another thread; a read
        # that may wait for the disk gets a descriptor of its own.
        with self._lock:
            descriptor = self._open_segment(segment)
            if nowait and self._nowait:
                return bytes(self._read_warm(descriptor, position, length))
            descriptor = os.dup(descriptor)
        try:
            return os.pread(descriptor, length, position)
        finally:
            os.close(descriptor)

    def _open_segment(self, segment: int) -> int:
        # The caller has the lock.
        descriptor = self._open.get(segment, -1)
        if self.check_names and descriptor >= 0 and not os.fstat(descriptor).st_nlink:
            os.close(self._open.pop(segment))
            descriptor = -1
        if descriptor < 0:
            descriptor = self._open[segment] = os.open(self._path(segment), os.O_RDONLY)
            if len(self._open) > self._max_open:
                os.close(self._open.popitem(last=False)[1])
        else:
            self._open.move_to_end(segment)
        return descriptor

    def _read_warm(self, descriptor: int, position: int, length: int) -> memoryview:
        # The caller has the lock, as long as it needs the octets. A new buffer would be filled with
        # zeros first.
        if length > len(self._buffer):
            self._buffer = memoryview(bytearray(length))
        buffer = self._buffer[:length]
        try:
            done = os.preadv(descriptor, [buffer], position, self._nowait)
        except BlockingIOError:
            raise Cold from None
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
            # The file system can't tell; then every read may wait.
            self._nowait = 0
            return memoryview(os.pread(descriptor, length, position))
        if done < length:
            raise Cold
        return buffer

    def _path(self, segment: int) -> str:
        return os.path.join(self._directory, segment_name(segment))

    def read(self, place: BodyPlace, *, nowait: bool = False) -> bytes:
        """All octets of a body, checked.

        :param nowait: raise :class:`Cold` rather than wait for the disk.
        :raises StoreCorrupt: they are not what was written.
        :raises FileNotFoundError: the segment was dropped, because its bodies were moved.
        """
        _, segment, begin, start, size = place
        length = start + size - begin
        if nowait and self._nowait:
            with self._lock:
                data = self._read_warm(self._open_segment(segment), begin, length)
                return bytes(_checked(data, begin, place))
        view = memoryview(self._read(segment, begin, length, False))
        return bytes(_checked(view, begin, place))

    def read_together(self, places: Sequence[BodyPlace], *, nowait: bool = False) -> list[bytes]:
        """All octets of bodies that lie :func:`next_to_each_other`, checked.

        What stands behind a damaged one is left out with it.

        :param nowait: raise :class:`Cold` rather than wait for the disk.
        :raises StoreCorrupt: those of the first are not what was written.
        :raises FileNotFoundError: the segment was dropped, because its bodies were moved.
        """
        segment, begin = places[0].segment, places[0].position
        length = places[-1].start + places[-1].size - begin
        if nowait and self._nowait:
            with self._lock:
                data = self._read_warm(self._open_segment(segment), begin, length)
                return _take(data, begin, places)
        return _take(self._read(segment, begin, length, False), begin, places)

    def read_range(self, segment: int, begin: int, end: int, *, nowait: bool = False) -> bytes:
        """Octets of a segment, for :func:`find_body`; fewer when it ends before.

        :param nowait: raise :class:`Cold` rather than wait for the disk.
        :raises FileNotFoundError: the segment was dropped.
        """
        return self._read(segment, begin, end - begin, nowait)

    def open_view(self, place: BodyPlace) -> BinaryIO:
        """A reader over a body in its file; its checksum is not looked at."""
        descriptor = os.open(self._path(place.segment), os.O_RDONLY)
        try:
            header = decode_header(os.pread(descriptor, RECORD_HEADER_SIZE, place.position))
            if header.lsn != place.body_id or header.body_length != place.size:
                raise StoreCorrupt("The log has another message where this one should be")
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, place.start, place.size, os.POSIX_FADV_WILLNEED)
        except BaseException:
            os.close(descriptor)
            raise
        view = _FileRange(descriptor, place.start, place.size)
        return cast(BinaryIO, io.BufferedReader(view, READ_BUFFER))

    def map(self, place: BodyPlace) -> tuple[mmap.mmap, int]:
        """A large body without a copy: a mapping, and the body's offset in it.

        The mapping ends with the body.
        """
        descriptor = os.open(self._path(place.segment), os.O_RDONLY)
        try:
            # A mapping begins at a page.
            base = place.start - place.start % mmap.ALLOCATIONGRANULARITY
            end = place.start + place.size
            if os.fstat(descriptor).st_size < end:
                raise StoreCorrupt("A segment ends inside a body")
            mapping = mmap.mmap(descriptor, end - base, access=mmap.ACCESS_READ, offset=base)
        finally:
            os.close(descriptor)
        return mapping, place.start - base


def next_to_each_other(places: Sequence[BodyPlace]) -> Iterator[Sequence[BodyPlace]]:
    """Put bodies together that are read in one go, in the order in which they are given."""
    first = begin = end = 0
    last_segment = -1
    for number, (_, segment, position, start, size) in enumerate(places):
        if not (
            segment == last_segment
            and 0 <= position - end <= MAX_GAP
            and start + size - begin <= SPAN_OCTETS
        ):
            if number:
                yield places[first:number]
            first, last_segment, begin = number, segment, position
        end = start + size
    if places:
        yield places[first:]


def _take(data: memoryview | bytes, begin: int, places: Sequence[BodyPlace]) -> list[bytes]:
    bodies: list[bytes] = []
    view = memoryview(data)
    try:
        for place in places:
            bodies.append(bytes(_checked(view, begin, place)))
    except StoreCorrupt:
        if not bodies:
            raise
    return bodies


def find_body(data: bytes | memoryview, begin: int, place: BodyPlace) -> int:
    """Offset of a body in octets of its segment, once it is sure that it is the right one.

    :param begin: offset of the octets in the segment.
    :raises StoreCorrupt: the octets are not what was written.
    """
    _checked(memoryview(data), begin, place)
    return place.start - begin


def _checked(data: memoryview, begin: int, place: BodyPlace) -> memoryview:
    """The octets of a body among those of its segment; see :func:`find_body`."""
    body_id, _, position, start, size = place
    crc = checksum_of(data, position - begin, body_id, size)
    offset = start - begin
    body = data[offset : offset + size]
    if len(body) < size:
        raise StoreCorrupt("A segment ends inside a body")
    if zlib.crc32(body) != crc:
        raise StoreCorrupt("A message does not match its checksum")
    return body


def find_head(data: bytes, begin: int, place: BodyPlace, size: int) -> int:
    """As :func:`find_body`, where the first octets are enough.

    The checksum is left out, which is that of all octets.
    """
    checksum_of(data, place.position - begin, place.body_id, place.size)
    start = place.start - begin
    if start + min(size, place.size) > len(data):
        raise StoreCorrupt("A segment ends inside a body")
    return start


def is_unended(descriptor: int, start: int, size: int) -> bool:
    """Whether a body in a segment does not end with CRLF, and is not empty."""
    tail = min(size, 2)
    return lacks_line_end(os.pread(descriptor, tail, start + size - tail))


def verify_body(directory: str, place: BodyPlace, unended: bool | None = None) -> str | None:
    """What is wrong with a stored body, or None.

    :param unended: the index says that it does not end with CRLF; None where it does not know.
    """
    try:
        descriptor = os.open(os.path.join(directory, segment_name(place.segment)), os.O_RDONLY)
    except OSError as error:
        return f"segment {place.segment} cannot be opened: {error.strerror}"
    try:
        header = decode_header(os.pread(descriptor, RECORD_HEADER_SIZE, place.position))
        if header.lsn != place.body_id or header.body_length != place.size:
            return "the log has another record in its place"
        begin = place.position + header.size
        if place.start != begin + header.meta_length:
            return "the index has its start wrong"
        meta = os.pread(descriptor, header.meta_length, begin)
        if zlib.crc32(meta) != header.meta_crc:
            return "the meta data do not match their checksum"
        if read_crc(descriptor, place.start, place.size) != header.body_crc:
            return "it does not match its checksum"
        if unended is not None and unended != is_unended(descriptor, place.start, place.size):
            return "the index has its end wrong"
    except StoreCorrupt as error:
        return error.text
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    finally:
        os.close(descriptor)
    return None


class _FileRange(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, descriptor: int, start: int, length: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._start = start
        self._length = length
        self._position = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._length - self._position)
        if wanted <= 0:
            return 0
        done = os.preadv(self._descriptor, [view[:wanted]], self._start + self._position)
        if not done:
            raise StoreCorrupt("A segment ends inside a body")
        self._position += done
        return done

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._position = base + offset
        return self._position

    @override
    def tell(self) -> int:
        return self._position

    @override
    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
