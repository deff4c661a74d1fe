"""What is searched in the usual header fields, folded once so that it can be kept.

A store that keeps these texts answers FROM, TO, CC, BCC, SUBJECT and HEADER Message-ID without
opening, parsing or decoding anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from mailkit.folding import fold
from mailkit.mime import MAX_HEADER_FIELDS, Header, decode_text, parse_header, unfold

#: The fields, in lower case.
FIELDS = (b"from", b"to", b"cc", b"bcc", b"subject", b"message-id")
#: Octets of one message's texts that are kept; of longer ones none are.
MAX_KEPT = 32 * 1024
#: Octets of a field up to which its folded text is remembered.
_MAX_REMEMBERED = 256

#: Stands in lines of texts for a line end: in no UTF-8, so that nobody looks for it.
LINE_END = b"\xff"
#: Stands between headers that are looked at together: a line of its own.
BOUNDARY = b"\n\xff\n"
#: Octets of a header up to which it is: so short a one has no more fields than are looked at.
MAX_JOINED = MAX_HEADER_FIELDS
# Encoded words with nothing but white space between them: their text depends on nothing else.
_WORD = rb"=\?[^?\s]{1,64}\?[BbQq]\?[^?\n]*\?="
_WORDS = re.compile(rb"(%b(?:[ \t\r\f\v]*%b)*)" % (_WORD, _WORD))


def encode_text(text: str) -> bytes:
    """A folded text as it is kept and compared: octets contain others as the texts do."""
    return text.encode("utf-8", "surrogatepass")


def encode_field_texts(header: Header) -> list[bytes | None] | None:
    """The texts of a header as they are kept: a value for each of :data:`FIELDS`.

    None where there is no such field; fields of one name are parted by line ends.

    :returns: None for too much.
    """
    return _encode_values(header.pick(FIELDS))


def encode_found_texts(fields: Iterable[tuple[bytes, bytes, bytes]]) -> list[bytes | None] | None:
    """The same of fields that :meth:`~mailkit.mime.Header.find` has found, others among them."""
    found: dict[bytes, list[bytes]] = {}
    for name, _, value in fields:
        name = name.lower()
        if name in FIELDS:
            found.setdefault(name, []).append(unfold(value))
    return _encode_values(found)


def _encode_values(found: Mapping[bytes, Sequence[bytes]]) -> list[bytes | None] | None:
    """The texts of the unfolded values of :data:`FIELDS`."""
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
    if not value.isascii():
        return _encode_text(value)
    if b"=?" in value:
        value = _replace_words(value, _encode_text)
    return value.lower().replace(b"\t", b" ")


def _replace_words(text: bytes, encode: Callable[[bytes], bytes]) -> bytes:
    """ASCII with the folded texts of encoded words in place of them."""
    # What is ASCII on both sides folds by itself.
    pieces = _WORDS.split(text)
    pieces[1::2] = map(encode, pieces[1::2])
    return b"".join(pieces)


def _encode_text(value: bytes) -> bytes:
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


def encode_lines(name: bytes, headers: Sequence[bytes]) -> bytes:
    """The folded texts of one field of several headers, for looking in them alone: a line for each.

    Fields of that name are parted by :data:`LINE_END`, which stands for line ends, too; a line is
    empty where there is no such field.

    :param name: one of :data:`FIELDS`.
    :param headers: one at least: raw octets of the fields, without the empty line.
    """
    if max(map(len, headers)) <= MAX_JOINED:
        lines = encode_joined(name, BOUNDARY.join(headers), len(headers))
        if lines is not None:
            return lines
    return _encode_each(name, headers)


def encode_joined(name: bytes, joined: bytes, count: int) -> bytes | None:
    """As :func:`encode_lines`, where the headers are one string already.

    :param joined: the headers, none of which has more than :data:`MAX_JOINED` octets, with
        :data:`BOUNDARY` between them.
    :param count: how many they are.
    :returns: None where they cannot be told apart.
    """
    # All in one go: a header takes no step of its own.
    found = _finder(name).findall(b"\n" + joined)
    values = _group(found, count)
    if values is None:
        headers = joined.split(BOUNDARY)
        return _encode_each(name, headers) if len(headers) == count else None
    text = b"\n".join(values)
    if not text.isascii():
        return b"\n".join(map(_encode_line, values))
    if b"=?" in text:
        text = _replace_words(text, _encode_words)
    return text.lower().replace(b"\t", b" ")


def _encode_each(name: bytes, headers: Sequence[bytes]) -> bytes:
    return b"\n".join(
        [LINE_END.join(map(_encode_line, parse_header(header).get_all(name))) for header in headers]
    )


@lru_cache(maxsize=16)
def _finder(name: bytes) -> re.Pattern[bytes]:
    """Finds boundaries, and fields of a name as :meth:`~mailkit.mime.Header.pick` does."""
    return re.compile(
        rb"\n(?:\xff|%b(?:[ \t\r\f\v]|\n(?=[ \t]))*(:[^\n]*(?:\n[ \t][^\n]*)*))" % re.escape(name),
        re.IGNORECASE,
    )


def _group(found: list[bytes], count: int) -> list[bytes] | None:
    """Unfolded values, one a header; None where that is not what was found.

    :param found: values behind their colons, with nothing for each boundary.
    """
    if len(found) == 2 * count - 1 and not any(found[1::2]) and all(found[::2]):
        values = found[::2]
    else:
        values = []
        last = b""
        for value in found:
            if value and last:
                return None
            if not value:
                values.append(last)
            last = value
        values.append(last)
        if len(values) != count:
            return None
    values = [value[1:].strip() for value in values]
    if b"\n" in b"".join(values):
        values = [value.replace(b"\r\n", b"").replace(b"\n", b"") for value in values]
    return values


def _encode_words(words: bytes) -> bytes:
    return _encode_text(words).replace(b"\n", LINE_END)


def _encode_line(value: bytes) -> bytes:
    return _encode_value(value).replace(b"\n", LINE_END)
