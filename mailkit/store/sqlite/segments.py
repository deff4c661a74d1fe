"""Segment files: their names, and the records in them.

A segment file begins with a head: a magic, the offset of the first record, and the marker that its
records have. Heads of older segments have no marker, nor have their records.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from mailkit.errors import StoreCorrupt
from mailkit.store.sqlite.records import (
    MARKER_OFFSET,
    RECORD_HEADER_SIZE,
    RECORD_MAGIC,
    RecordHeader,
    decode_header,
)

# Magic, offset of the first record, marker; and the checksum of these.
_HEAD = struct.Struct("<8sQ16s")
_CRC = struct.Struct("<I")
#: Octets of a segment's head.
SEGMENT_HEAD_SIZE = _HEAD.size + _CRC.size
# Line ends in the magic show a transfer that changed them.
_MAGIC = b"MKLOG2\r\n"
# The head of a segment without a marker.
_OLD_HEAD = struct.Struct("<8sQ")
_OLD_MAGIC = b"MKLOG1\r\n"

_SEGMENT_NAME = re.compile(r"([0-9a-f]{8})\.seg\Z")


def segment_name(number: int) -> str:
    return f"{number:08x}.seg"


def list_segments(directory: str) -> list[int]:
    """Numbers of the segment files that are there, ascending."""
    found = (_SEGMENT_NAME.match(name) for name in os.listdir(directory))
    return sorted(int(match[1], 16) for match in found if match)


class Head(NamedTuple):
    """What a segment says of itself."""

    #: Offset of the first record.
    first: int
    #: Of all its records; empty for an older segment, whose records have none.
    marker: bytes


def encode_head(first: int, marker: bytes) -> bytes:
    """The octets of a segment's head."""
    fixed = _HEAD.pack(_MAGIC, first, marker)
    return fixed + _CRC.pack(zlib.crc32(fixed))


def read_head(descriptor: int) -> Head | None:
    """What a segment's file begins with; None when that is damaged."""
    data = os.pread(descriptor, SEGMENT_HEAD_SIZE, 0)
    if data.startswith(_OLD_MAGIC) and len(data) >= _OLD_HEAD.size:
        return Head(_OLD_HEAD.unpack_from(data)[1], b"")
    if data.startswith(_MAGIC) and len(data) == SEGMENT_HEAD_SIZE:
        fixed = data[: _HEAD.size]
        if _CRC.pack(zlib.crc32(fixed)) == data[_HEAD.size :]:
            _, first, marker = _HEAD.unpack(fixed)
            return Head(first, marker)
    return None


class Marking(NamedTuple):
    """Which records a log has."""

    #: Empty where it is not known: then every record is believed.
    marker: bytes
    #: Number of the first segment whose records have it; those before are older than markers.
    since: int

    def of(self, segment: int) -> bytes:
        """The marker of a segment's records; empty for records without."""
        return self.marker if segment >= self.since else b""


class Record(NamedTuple):
    """A record as :func:`scan_segment` finds it."""

    header: RecordHeader
    position: int
    meta: bytes

    @property
    def start(self) -> int:
        return self.position + self.header.size + self.header.meta_length


def has_marker(directory: str, number: int, marker: bytes) -> bool:
    """Whether the octets of a store's marker are anywhere in a segment."""
    with open(os.path.join(directory, segment_name(number)), "rb", buffering=0) as file:
        return _find(file, 0, marker) < os.fstat(file.fileno()).st_size


def scan_segment(
    directory: str,
    number: int,
    marking: Marking,
    begin: int | None = None,
    *,
    search: bool = True,
) -> Iterator[Record]:
    """The records of a segment whose headers and meta data are whole; bodies are not looked at.

    Damage is skipped: after it, the search goes on at the next record. What a sender has made is
    not taken for one, but in a segment that is older than the marker.

    :param marking: tells the records where the segment's head is damaged.
    :param begin: offset of a record; None for the first.
    :param search: False to end at damage.
    """
    with open(os.path.join(directory, segment_name(number)), "rb", buffering=1 << 16) as file:
        head = read_head(file.fileno()) or Head(0, marking.of(number))
        yield from scan_records(file, head.first if begin is None else begin, head.marker, search)


def scan_records(
    file: BinaryIO, position: int = 0, marker: bytes = b"", search: bool = True
) -> Iterator[Record]:
    """The records of a file from an offset on; see :func:`scan_segment`.

    :param marker: that they have; empty where records without are looked for, too.
    """
    size = os.fstat(file.fileno()).st_size
    while position < size:
        file.seek(position)
        try:
            header = decode_header(file.read(RECORD_HEADER_SIZE))
            file.seek(position + header.size)
            meta = file.read(min(header.meta_length, size))
            if (
                (marker and header.marker != marker)
                or position + header.length > size
                or zlib.crc32(meta) != header.meta_crc
            ):
                raise StoreCorrupt
        except StoreCorrupt:
            position = _find_record(file, position + 1, marker) if search else size
            continue
        yield Record(header, position, meta)
        position += header.length


def _find_record(file: BinaryIO, position: int, marker: bytes) -> int:
    """Offset of what may be the next record at or behind ``position``, or the file's size."""
    if marker:
        return _find(file, position + MARKER_OFFSET, marker) - MARKER_OFFSET
    return _find(file, position, RECORD_MAGIC)


def _find(file: BinaryIO, position: int, wanted: bytes) -> int:
    """Offset of some octets at or behind ``position``; one of no record when they are not there."""
    file.seek(position)
    kept = b""
    while chunk := file.read(1 << 20):
        found = (kept + chunk).find(wanted)
        if found >= 0:
            return position - len(kept) + found
        position += len(chunk)
        kept = (kept + chunk)[1 - len(wanted) :]
    return position + MARKER_OFFSET


def read_crc(descriptor: int, start: int, length: int, crc: int = 0) -> int:
    """CRC-32 of a range of a file, read a megabyte at a time.

    :raises StoreCorrupt: the file ends before.
    """
    while length:
        chunk = os.pread(descriptor, min(length, 1 << 20), start)
        if not chunk:
            raise StoreCorrupt("A segment ends inside a body")
        crc = zlib.crc32(chunk, crc)
        start += len(chunk)
        length -= len(chunk)
    return crc
