"""What is searched in the usual header fields, folded once so that it can be kept.

A store that keeps these texts answers FROM, TO, CC, BCC, SUBJECT and HEADER Message-ID without
opening, parsing or decoding anything.
"""

from __future__ import annotations

from functools import lru_cache

from mailkit.folding import fold
from mailkit.mime import Header, decode_text

#: The fields, in lower case.
FIELDS = (b"from", b"to", b"cc", b"bcc", b"subject", b"message-id")
#: Octets of one message's texts that are kept; of longer ones none are.
MAX_KEPT = 32 * 1024
#: Octets of a field up to which its folded text is remembered.
_MAX_REMEMBERED = 256


def encode_text(text: str) -> bytes:
    """A folded text as it is kept and compared: octets contain others as the texts do."""
    return text.encode("utf-8", "surrogatepass")


def encode_field_texts(header: Header) -> list[bytes | None] | None:
    """The texts of a header as they are kept: a value for each of :data:`FIELDS`.

    None where there is no such field; fields of one name are parted by line ends.

    :returns: None for too much.
    """
    found = header.pick(FIELDS)
    values: list[bytes | None] = []
    octets = 0
    for name in FIELDS:
        fields = found.get(name)
        if fields is None:
            values.append(None)
            continue
        if len(fields) == 1:
            value = _encode_value(fields[0])
        else:
            value = b"\n".join(map(_encode_value, fields))
        octets += len(value)
        values.append(value)
    return values if octets <= MAX_KEPT else None


def _encode_value(value: bytes) -> bytes:
    """A field's folded text."""
    if b"=?" not in value and value.isascii():
        return value.lower()
    # Who writes, and to whom, is the same again and again.
    if len(value) <= _MAX_REMEMBERED:
        return _remembered(value)
    return encode_text(fold(decode_text(value)))


@lru_cache(maxsize=2048)
def _remembered(value: bytes) -> bytes:
    return encode_text(fold(decode_text(value)))


def encode_needle(text: str) -> bytes | None:
    """What to look for in kept texts; None when they cannot tell."""
    needle = fold(text)
    return None if "\n" in needle else encode_text(needle)
