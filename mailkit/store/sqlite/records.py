"""A record of the log: a fixed header, the meta data, and a body's octets.

The meta data are JSON: where the message was put, so that a lost index can be made again. Both
parts have a checksum, and so has the header itself.
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
_CRC = struct.Struct("<I")
RECORD_HEADER_SIZE = _RECORD.size + _CRC.size
RECORD_MAGIC = b"MKR\xf1"
RECORD_VERSION = 1
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

    @property
    def length(self) -> int:
        """Octets of the whole record."""
        return RECORD_HEADER_SIZE + self.meta_length + self.body_length


def encode_header(
    kind: int, meta: bytes, body_length: int, body_crc: int, lsn: int, batch: int
) -> bytes:
    """The fixed part of a record."""
    fixed = _RECORD.pack(
        RECORD_MAGIC,
        RECORD_VERSION,
        kind,
        0,
        len(meta),
        body_length,
        lsn,
        batch,
        zlib.crc32(meta),
        body_crc,
    )
    return fixed + _CRC.pack(zlib.crc32(fixed))


def decode_header(data: bytes | memoryview) -> RecordHeader:
    """Check and read the fixed part of a record.

    :raises StoreCorrupt: it is not one.
    """
    fixed = bytes(data[: _RECORD.size])
    if len(data) < RECORD_HEADER_SIZE or fixed[:4] != RECORD_MAGIC:
        raise StoreCorrupt("No record where one should be")
    (crc,) = _CRC.unpack_from(data, _RECORD.size)
    if zlib.crc32(fixed) != crc:
        raise StoreCorrupt("A record's header does not match its checksum")
    _, version, kind, _, meta, body, lsn, batch, meta_crc, body_crc = _RECORD.unpack(fixed)
    if version != RECORD_VERSION:
        raise StoreCorrupt(f"A record has version {version}, which is not known here")
    return RecordHeader(kind, meta, body, lsn, batch, meta_crc, body_crc)


def checksum_of(data: bytes | memoryview, offset: int, lsn: int, body_length: int) -> int:
    """Checksum of the body whose record is there; what else the record's header says is not checked.

    :raises StoreCorrupt: it is another one, or none.
    """
    if offset >= 0 and len(data) - offset >= RECORD_HEADER_SIZE:
        magic, _, _, _, _, length, number, _, _, crc = _RECORD.unpack_from(data, offset)
        if magic == RECORD_MAGIC and number == lsn and length == body_length:
            return int(crc)
    raise StoreCorrupt("The log has another message where this one should be")


def is_record_of(data: bytes, offset: int, lsn: int, body_length: int) -> bool:
    """Whether the record of a body is there, as far as :func:`checksum_of` looks."""
    return 0 <= offset <= len(data) - RECORD_HEADER_SIZE and _IDENTITY.unpack_from(
        data, offset
    ) == (RECORD_MAGIC, body_length, lsn)
