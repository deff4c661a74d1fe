"""Message content on its way in: small in memory, large in a file, never whole in memory."""

from __future__ import annotations

import io
import os
import re
import tempfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from mailkit._typing import override
from mailkit.wire.crc import combine_crc

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Octets that a spool keeps in memory before it turns to a file.
MEMORY_LIMIT = 256 * 1024
#: Octets that many spools keep in memory together, before they turn to files early.
SHARED_LIMIT = 8 * 1024 * 1024
#: Pieces that are shorter are joined: a list of them would take several times their octets.
_SHORT = 1024
#: Octets that a reader of a large message takes from the file at a time.
READ_BUFFER = 64 * 1024
# Octets of a file that are read first when its header is wanted; most headers end there.
_START = 8 * 1024
# As mailkit.mime.headers has it: only an empty line ends a header.
_END_OF_HEADER = re.compile(rb"(?:\A|\n)\r?\n")


class SpoolMemory:
    """What many spools keep in memory together.

    Ten thousand clients that each send a little and then wait must not take ten thousand times
    :data:`MEMORY_LIMIT`: once the limit is reached, a spool that is written to turns to a file.

    :param limit: octets.
    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int = SHARED_LIMIT) -> None:
        self.limit = limit
        self.used = 0


class Check(NamedTuple):
    """What there is to know of a message in a file without reading it."""

    #: CRC-32 of all octets.
    crc: int
    #: The last two octets.
    tail: bytes


class Spool:
    """Collects a message octet by octet and hands it over once.

    Written by a protocol, read by a delivery or a mailbox. Whoever made the spool calls
    :meth:`close`, which removes a file that nobody has taken.

    :param directory: where a large message's file is made; None for the system's temporary place.
        A store that renames the file into place gives a directory on its own disk.
    :param memory_limit: octets kept in memory before a file is used.
    :param reserve: octets left free at the start of the file, for a store's own record header.
    :param memory: shared with other spools; None to keep ``memory_limit`` alone.
    """

    def __init__(
        self,
        directory: str | None = None,
        memory_limit: int = MEMORY_LIMIT,
        reserve: int = 0,
        memory: SpoolMemory | None = None,
    ) -> None:
        self._directory = directory
        self._memory_limit = memory_limit
        self._memory = memory
        self.reserve = reserve
        self._prefix = b""
        # The first one is never a bytearray.
        self._chunks: list[bytes | bytearray] = []
        self._file: io.FileIO | None = None
        self._written = 0
        # Octets of ours in the shared memory.
        self._shared = 0
        # Octets at the start of the file's content that were replaced.
        self._dropped = 0
        # CRC-32 and the last two octets of what was written to the file; None when some of it is
        # not content any more.
        self._written_check: Check | None = None
        self._taken = False
        # Other names that the file was given.
        self._shares = 0
        #: Path of the file, once there is one.
        self.path: str | None = None

    def limit_memory(self, octets: int) -> None:
        """Keep so many octets in memory from now on before a file is used."""
        self._memory_limit = octets

    @classmethod
    def from_bytes(cls, data: bytes) -> Spool:
        """A spool that holds ``data`` in memory, whatever its size."""
        spool = cls(memory_limit=len(data))
        spool.write(data)
        return spool

    @property
    def size(self) -> int:
        """Octets of the whole message, prefix included."""
        return len(self._prefix) + self._written

    @property
    def prefix(self) -> bytes:
        """Octets that come before what was written."""
        return self._prefix

    @property
    def start(self) -> int:
        """Where the content begins in the file: at :attr:`reserve`, or behind a replaced head."""
        return self.reserve + self._dropped

    def prepend(self, data: bytes) -> None:
        """Put ``data`` before everything else: trace fields that are known last."""
        self._prefix = data + self._prefix

    def replace_head(self, count: int, data: bytes) -> None:
        """Put ``data`` in place of the first octets: a header that was edited.

        What follows stays where it is, in a file too, however large it is.

        :param count: octets that go, those of the prefix included; at most :attr:`size`.
        :raises ValueError: there are not so many, or the file was taken.
        """
        self._check()
        if not 0 <= count <= self.size:
            raise ValueError(f"{count} of {self.size} octets cannot be replaced")
        dropped = max(0, count - len(self._prefix))
        self._prefix = data + self._prefix[count:]
        self._written -= dropped
        if self._file is not None:
            self._dropped += dropped
            if dropped:
                self._written_check = None
        elif dropped:
            self._chunks = [b"".join(self._chunks)[dropped:]]

    def write(self, data: bytes) -> None:
        """Add octets at the end.

        :raises OSError: when the disk refuses.
        :raises ValueError: the file was taken.
        """
        self._check()
        self._written += len(data)
        if self._file is not None:
            self._write_to_file(data)
            return
        self._keep(data)
        memory = self._memory
        if memory is not None:
            memory.used += len(data)
            self._shared += len(data)
        if self._written > self._memory_limit or (memory and memory.used > memory.limit):
            self._turn_to_file()

    def _keep(self, data: bytes) -> None:
        chunks = self._chunks
        if len(data) >= _SHORT or not chunks:
            chunks.append(data)
        elif isinstance(last := chunks[-1], bytearray):
            last += data
        else:
            chunks.append(bytearray(data))

    def _turn_to_file(self) -> None:
        handle, self.path = tempfile.mkstemp(prefix="spool-", dir=self._directory)
        # Without a buffer: it would be the memory that slow senders fill.
        self._file = io.FileIO(handle, "r+")
        self._file.seek(self.reserve)
        self._written_check = Check(0, b"")
        for chunk in self._chunks:
            self._write_to_file(chunk)
        self._chunks = []
        self._leave_memory()

    def _write_to_file(self, data: bytes | bytearray) -> None:
        assert self._file is not None
        _write_all(self._file, data)
        if self._written_check is not None:
            # Now, while the octets are in the processor's cache, nobody must read them again.
            crc, tail = self._written_check
            self._written_check = Check(zlib.crc32(data, crc), (tail + data[-2:])[-2:])

    def finish(self) -> None:
        """Nothing more will be written: give back the file's descriptor, if there is one."""
        if self._file is not None:
            self._file.close()

    def _leave_memory(self) -> None:
        if self._memory is not None:
            self._memory.used -= self._shared
            self._shared = 0

    def _check(self) -> None:
        # Or a message that somebody has taken would be read as an empty one.
        if self._taken:
            raise ValueError("the content of this spool was taken")

    @property
    def data(self) -> bytes | None:
        """The whole message when it is in memory, None when it is in a file.

        :raises ValueError: the file was taken.
        """
        self._check()
        if self._file is not None:
            return None
        # Of one piece that is no copy.
        body = b"".join(self._chunks)
        if body:
            self._chunks = [body]
        return self._prefix + body if self._prefix else body

    @property
    def pieces(self) -> tuple[bytes, ...] | None:
        """The whole message as it lies in memory; None when it is in a file.

        Long pieces are not copied; short ones, which are still written to, are.

        :raises ValueError: the file was taken.
        """
        self._check()
        if self._file is not None:
            return None
        chunks = map(bytes, self._chunks)
        return (self._prefix, *chunks) if self._prefix else tuple(chunks)

    @property
    def check(self) -> Check | None:
        """Checksum and end of the whole message in a file; None when they are not known."""
        if self._file is None or self._written_check is None:
            return None
        crc, tail = self._written_check
        if self._prefix:
            crc = combine_crc(zlib.crc32(self._prefix), crc, self._written)
            tail = (self._prefix[-2:] + tail)[-2:]
        return Check(crc, tail)

    def open(self) -> BinaryIO:
        """A new reader at the start of the message (the prefix first); the caller closes it.

        :raises ValueError: the file was taken.
        """
        if (data := self.data) is not None:
            return io.BytesIO(data)
        assert self.path is not None
        raw = PrefixedFile(self._prefix, open(self.path, "rb"), self.start)
        return cast(BinaryIO, io.BufferedReader(raw, READ_BUFFER))

    def read_start(self, limit: int) -> bytes:
        """The header, as far as it ends within ``limit`` octets, and perhaps some of the body.

        Of a large message little more than that is read, of a small one all may be given.

        :raises OSError: when the disk refuses.
        :raises ValueError: the file was taken.
        """
        if self._file is None:
            return self._start_in_memory(limit)
        assert self.path is not None
        start, count = self._prefix, _START
        with io.FileIO(self.path) as file:
            file.seek(self.start)
            while len(start) < limit and not _END_OF_HEADER.search(start):
                if not (piece := file.read(min(count, limit - len(start)))):
                    break
                start += piece
                # So that no octet is looked at more than twice on average.
                count = len(start)
        return start[:limit]

    def _start_in_memory(self, limit: int) -> bytes:
        self._check()
        if self.size <= MEMORY_LIMIT:
            return self.data or b""
        # Not all: it stays in the pieces in which it came.
        start, seen = bytearray(self._prefix), 0
        for chunk in self._chunks:
            if len(start) >= limit or _END_OF_HEADER.search(start, max(0, seen - 2)):
                break
            seen = len(start)
            start += chunk
        return bytes(start[:limit])

    def read_first(self, count: int) -> bytes:
        """So many octets from the start of the message, or all that there are.

        :raises OSError: when the disk refuses.
        :raises ValueError: the file was taken.
        """
        self._check()
        if self._file is not None:
            with self.open() as file:
                return file.read(count)
        if self.size <= count:
            return self.data or b""
        if len(self._chunks) == 1 and not self._prefix:
            return bytes(self._chunks[0][:count])
        start = bytearray(self._prefix)
        for chunk in self._chunks:
            if len(start) >= count:
                break
            start += chunk
        return bytes(start[:count])

    def share(self) -> Spool:
        """Another spool with the same content as it is now, for somebody who may take it.

        The octets are not copied, so neither may be written to any more. The caller closes it.

        :raises OSError: when the disk refuses.
        :raises ValueError: the file was taken.
        """
        if (data := self.data) is not None:
            return Spool.from_bytes(data)
        assert self.path is not None
        shared = Spool(self._directory, self._memory_limit, self.reserve)
        self._shares += 1
        path = f"{self.path}.{self._shares}"
        os.link(self.path, path)
        shared.path = path
        shared._file = io.FileIO(path, "r+")
        shared._prefix = self._prefix
        shared._written = self._written
        shared._dropped = self._dropped
        shared._written_check = self._written_check
        return shared

    def take(self) -> str | None:
        """Hand the file over: it is written (not synced), closed and no longer removed by us.

        :returns: its path, the content beginning at :attr:`start`; None when it is in memory. The
            prefix is not part of the file.
        :raises OSError: when the disk refuses.
        :raises ValueError: it was taken before.
        """
        self._check()
        if self._file is None:
            return None
        self._file.close()
        path = self.path
        self._file = self.path = None
        self._taken = True
        return path

    def close(self) -> None:
        """Forget everything; a file that was not taken is removed. May be called again."""
        self._chunks = []
        self._leave_memory()
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                # What was still to be written is not wanted any more.
                pass
            self._file = None
        if self.path is not None:
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass
            self.path = None


def _write_all(file: io.FileIO, data: bytes | bytearray) -> None:
    """:raises OSError: the disk is full; a part may be written."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


class PrefixedFile(io.RawIOBase):
    """A few octets from memory and then a file, as one stream that can seek.

    :param prefix: octets before the file's.
    :param source: a binary file; closed with this one.
    :param start: where the content begins in ``source``, in octets.
    """

    def __init__(self, prefix: bytes, source: BinaryIO, start: int = 0) -> None:
        super().__init__()
        self._prefix = prefix
        self._source = source
        self._start = start
        self._position = 0
        self._length = len(prefix) + max(0, source.seek(0, os.SEEK_END) - start)

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), max(0, self._length - self._position))
        data = self._prefix[self._position : self._position + wanted]
        if not data and wanted:
            self._source.seek(self._start + self._position - len(self._prefix))
            data = self._source.read(wanted)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    @override
    def tell(self) -> int:
        return self._position

    @override
    def close(self) -> None:
        self._source.close()
        super().close()
