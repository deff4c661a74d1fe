"""A record of the log: a fixed header, the meta data, and a body's octets.

The meta data are JSON: where the message was put, so that a lost index can be made again. Both
parts have a checksum, and so has the header itself.

Whoever can send mail chooses what is in a body, and may choose octets that look like a record. So
the records of bodies have a marker: random octets of the store, which nobody learns who cannot read
its files (see :mod:`~mailkit.store.sqlite.marking`). Records without it are those of the journal,
in which nobody else's octets stand as they are, and of segments from before there was a marker.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from mailkit.errors import StoreCorrupt

#: Magic, version, kind, spare, length of meta, length of body, LSN, batch, CRC of meta, of body.
_RECORD = struct.Struct("<4sBBHIQQQII")
# Magic, length of the body, and its number.
_IDENTITY = struct.Struct("<4s8xQQ")
# The same, and the CRC of the body.
_IDENTITY_AND_CRC = struct.Struct("<4s8xQQ12xI")
_CRC = struct.Struct("<I")
#: Octets of a store's marker.
MARKER_SIZE = 16
#: Where it stands in the header of a record that has one.
MARKER_OFFSET = _RECORD.size
# Octets of the marker, by the version of the record.
_MARKER_SIZES = {1: 0, 2: MARKER_SIZE}
# A header without a marker.
_MIN_HEADER_SIZE = _RECORD.size + _CRC.size
#: Octets of a header at most.
RECORD_HEADER_SIZE = _MIN_HEADER_SIZE + MARKER_SIZE
RECORD_MAGIC = b"MKR\xf1"
#: A message body and where it was put.
BODY = 1
#: Changes without a body, in the journal.
NOTE = 2

#: Octets of meta data that a record may have; what does not fit goes to the journal alone.
MAX_META = 16 * 1024


class RecordHeader(NamedTuple):
    """The fixed part of a record, checked."""

    kind: int
    meta_length: int
    body_length: int
    lsn: int
    batch: int
    meta_crc: int
    body_crc: int
    #: Empty for a record that has none.
    marker: bytes

    @property
    def size(self) -> int:
        """Octets of the header."""
        return _MIN_HEADER_SIZE + len(self.marker)

    @property
    def length(self) -> int:
        """Octets of the whole record."""
        return self.size + self.meta_length + self.body_length


def encode_header(
    kind: int,
    meta: bytes,
    body_length: int,
    body_crc: int,
    lsn: int,
    batch: int,
    marker: bytes = b"",
) -> bytes:
    """The fixed part of a record.

    :param marker: the store's, or empty for a record without.
    """
    fixed = _RECORD.pack(
        RECORD_MAGIC,
        2 if marker else 1,
        kind,
        0,
        len(meta),
        body_length,
        lsn,
        batch,
        zlib.crc32(meta),
        body_crc,
    )
    fixed += marker
    return fixed + _CRC.pack(zlib.crc32(fixed))


def decode_header(data: bytes | memoryview) -> RecordHeader:
    """Check and read the fixed part of a record.

    :param data: :data:`RECORD_HEADER_SIZE` octets, or fewer at the end of a file.
    :raises StoreCorrupt: it is not one.
    """
    if len(data) < _MIN_HEADER_SIZE or data[:4] != RECORD_MAGIC:
        raise StoreCorrupt("No record where one should be")
    _, version, kind, _, meta, body, lsn, batch, meta_crc, body_crc = _RECORD.unpack_from(data)
    if version not in _MARKER_SIZES:
        raise StoreCorrupt(f"A record has version {version}, which is not known here")
    end = MARKER_OFFSET + _MARKER_SIZES[version]
    if len(data) < end + _CRC.size:
        raise StoreCorrupt("A record's header is not whole")
    if zlib.crc32(data[:end]) != _CRC.unpack_from(data, end)[0]:
        raise StoreCorrupt("A record's header does not match its checksum")
    marker = bytes(data[MARKER_OFFSET:end])
    return RecordHeader(kind, meta, body, lsn, batch, meta_crc, body_crc, marker)


def checksum_of(data: bytes | memoryview, offset: int, lsn: int, body_length: int) -> int:
    """Checksum of the body whose record is there; what else the record's header says is not checked.

    :raises StoreCorrupt: it is another one, or none.
    """
    if offset >= 0 and len(data) - offset >= _MIN_HEADER_SIZE:
        crc: int
        magic, length, number, crc = _IDENTITY_AND_CRC.unpack_from(data, offset)
        if magic == RECORD_MAGIC and number == lsn and length == body_length:
            return crc
    raise StoreCorrupt("The log has another message where this one should be")


def is_record_of(data: bytes, offset: int, lsn: int, body_length: int) -> bool:
    """Whether the record of a body is there, as far as :func:`checksum_of` looks."""
    return 0 <= offset <= len(data) - _MIN_HEADER_SIZE and _IDENTITY.unpack_from(data, offset) == (
        RECORD_MAGIC,
        body_length,
        lsn,
    )
