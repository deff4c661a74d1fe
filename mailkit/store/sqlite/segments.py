"""Segment files: their names, and the records in them.

A segment file begins with :data:`SEGMENT_HEADER`: a magic and the offset of the first record.
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
    RECORD_HEADER_SIZE,
    RECORD_MAGIC,
    RecordHeader,
    decode_header,
)

#: Magic, offset of the first record.
SEGMENT_HEADER = struct.Struct("<8sQ")
# Line ends in the magic show a transfer that changed them.
SEGMENT_MAGIC = b"MKLOG1\r\n"

_SEGMENT_NAME = re.compile(r"([0-9a-f]{8})\.seg\Z")


def segment_name(number: int) -> str:
    return f"{number:08x}.seg"


def list_segments(directory: str) -> list[int]:
    """Numbers of the segment files that are there, ascending."""
    found = (_SEGMENT_NAME.match(name) for name in os.listdir(directory))
    return sorted(int(match[1], 16) for match in found if match)


class Record(NamedTuple):
    """A record as :func:`scan_segment` finds it."""

    header: RecordHeader
    position: int
    meta: bytes

    @property
    def start(self) -> int:
        return self.position + RECORD_HEADER_SIZE + self.header.meta_length


def scan_segment(path: str, begin: int | None = None, *, search: bool = True) -> Iterator[Record]:
    """The records of a file whose headers and meta data are whole; bodies are not looked at.

    Damage is skipped: after it, the search goes on at the next magic.

    :param begin: offset of a record; None for the first.
    :param search: False to end at damage, as a sender may have made what is found behind it.
    """
    with open(path, "rb", buffering=1 << 16) as file:
        size = os.fstat(file.fileno()).st_size
        position = _first_record(file.read(SEGMENT_HEADER.size)) if begin is None else begin
        while position + RECORD_HEADER_SIZE <= size:
            file.seek(position)
            try:
                header = decode_header(file.read(RECORD_HEADER_SIZE))
                meta = file.read(min(header.meta_length, size))
                if position + header.length > size or zlib.crc32(meta) != header.meta_crc:
                    raise StoreCorrupt
            except StoreCorrupt:
                position = _find_magic(file, position + 1) if search else size
                continue
            yield Record(header, position, meta)
            position += header.length


def _first_record(data: bytes) -> int:
    if len(data) == SEGMENT_HEADER.size:
        magic, offset = SEGMENT_HEADER.unpack(data)
        if magic == SEGMENT_MAGIC:
            return int(offset)
    return 0


def _find_magic(file: BinaryIO, position: int) -> int:
    """Offset of the next record's magic at or behind ``position``, or the file's size."""
    file.seek(position)
    kept = b""
    while chunk := file.read(1 << 20):
        found = (kept + chunk).find(RECORD_MAGIC)
        if found >= 0:
            return position - len(kept) + found
        position += len(chunk)
        kept = (kept + chunk)[-3:]
    return position


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
