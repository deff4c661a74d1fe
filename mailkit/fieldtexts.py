"""What is searched in the usual header fields, folded once so that it can be kept.

A store that keeps these texts answers FROM, TO, CC, BCC, SUBJECT and HEADER Message-ID without
opening, parsing or decoding anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from mailkit.folding import fold
from mailkit.mime import Header, decode_text

#: The fields, in lower case.
FIELDS = (b"from", b"to", b"cc", b"bcc", b"subject", b"message-id")
#: Octets of one message's texts that are kept; of longer ones none are.
MAX_KEPT = 32 * 1024
#: Octets of a field up to which its folded text is remembered.
_MAX_REMEMBERED = 256

#: What all fields of a name say, folded, by that name; without those that are not there.
FieldTexts = Mapping[bytes, Sequence[str]]


def read_field_texts(header: Header) -> FieldTexts:
    """Take the texts out of a header."""
    texts = {}
    for name, value in zip(FIELDS, header.get_first(FIELDS), strict=True):
        if value is not None:
            values = header.get_all(name) if header.repeated(name) else [value]
            texts[name] = [_fold_value(value) for value in values]
    return texts


def _fold_value(value: bytes) -> str:
    if b"=?" not in value and value.isascii():
        return value.decode("ascii").lower()
    # Who writes, and to whom, is the same again and again.
    return _remembered(value) if len(value) <= _MAX_REMEMBERED else fold(decode_text(value))


@lru_cache(maxsize=2048)
def _remembered(value: bytes) -> str:
    return fold(decode_text(value))


def encode_text(text: str) -> bytes:
    """A folded text as it is kept and compared: octets contain others as the texts do."""
    return text.encode("utf-8", "surrogatepass")


def encode_field_texts(texts: FieldTexts) -> list[bytes | None] | None:
    """A value for each of :data:`FIELDS`, None where there is no such field; None for too much.

    Fields of one name are parted by line ends.
    """
    values: list[bytes | None] = []
    octets = 0
    for name in FIELDS:
        found = texts.get(name)
        if found is None:
            values.append(None)
            continue
        value = encode_text("\n".join(found))
        octets += len(value)
        values.append(value)
    return values if octets <= MAX_KEPT else None


def encode_needle(text: str) -> bytes | None:
    """What to look for in kept texts; None when they cannot tell."""
    needle = fold(text)
    return None if "\n" in needle else encode_text(needle)
