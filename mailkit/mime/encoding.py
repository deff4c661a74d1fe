"""Binary parts of a message put into base64, all else left as it is (RFC 2045 section 6)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import NamedTuple

from mailkit.errors import UnknownTransferEncoding
from mailkit.mime.headers import Octets
from mailkit.mime.parts import Part

#: Octets that are looked at or copied in one go; a multiple of what a line of base64 holds.
_PIECE = 57 * 1024
_FIELD = b"Content-Transfer-Encoding: base64\r\n"


class Edit(NamedTuple):
    """Octets of the message that do not stay as they are."""

    start: int
    end: int
    #: What takes their place; None for the same in base64.
    replacement: bytes | None = None


def plan_encoding(data: Octets, root: Part) -> list[Edit]:
    """What has to be changed so that a message holds no NUL.

    Only parts that say that they are binary are changed, and of them only those with a NUL.

    :raises UnknownTransferEncoding: there is a NUL somewhere else.
    """
    edits: list[Edit] = []
    for part in root.walk():
        if part.children or part.is_multipart or not _has_nul(data, part.body_start, part.body_end):
            continue
        if part.transfer_encoding.lower() == b"binary":
            edits.extend(
                Edit(field.start, field.end, _FIELD)
                for field in part.header
                if field.name.rstrip().lower() == b"content-transfer-encoding"
            )
            edits.append(Edit(part.body_start, part.body_end))
    position = 0
    for edit in [*edits, Edit(len(data), len(data))]:
        if _has_nul(data, position, edit.start):
            raise UnknownTransferEncoding("There are NUL octets outside of binary parts")
        position = edit.end
    return edits


def _has_nul(data: Octets, start: int, end: int) -> bool:
    return data.find(b"\0", start, end) >= 0


def encode_parts(data: Octets, edits: list[Edit]) -> Iterator[bytes]:
    """The changed message, in pieces."""
    position = 0
    for edit in edits:
        yield from _copy(data, position, edit.start)
        if edit.replacement is None:
            yield from _encode(data, edit.start, edit.end)
        else:
            yield edit.replacement
        position = edit.end
    yield from _copy(data, position, len(data))


def _copy(data: Octets, start: int, end: int) -> Iterator[bytes]:
    for position in range(start, end, _PIECE):
        yield data[position : min(position + _PIECE, end)]


def _encode(data: Octets, start: int, end: int) -> Iterator[bytes]:
    for piece in _copy(data, start, end):
        encoded = base64.encodebytes(piece).replace(b"\n", b"\r\n")
        start += len(piece)
        # The line end before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1).
        yield encoded if start < end or end == len(data) else encoded[:-2]
