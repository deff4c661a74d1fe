"""Where the texts of a message stand: kept, so that a search need not take it apart each time.

Most texts are ASCII, or UTF-8 with little else in it. There the octets tell whether they contain
something that is looked for; only other texts are decoded and folded. The result is always that of
decoding and folding all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from mailkit.folding import find_all, fold, longest_token
from mailkit.mime import Part, decode_charset, decode_transfer, header_text, parse_header
from mailkit.mime.words import codec_name
from mailkit.screening import Screen

#: Characters of a map that is kept; a longer one is made each time.
MAX_KEPT = 8 * 1024
# A header so short has no more fields than are looked at.
_SHORT_HEADER = 16 * 1024
_DECODER = json.JSONDecoder()
# Single octets of these charsets, and no others, are what they are in ASCII.
_LIKE_ASCII = ("iso8859_", "cp125", "koi8_")


class BodyText(NamedTuple):
    """The body of a text part. Offsets are from the message's first octet."""

    start: int
    end: int
    #: Transfer encoding, in lower case; empty where none counts.
    encoding: str
    charset: str


class TextMap(NamedTuple):
    """What BODY and TEXT look into."""

    #: Offsets of the headers of the message, its parts and the messages inside it: start and end
    #: by turns.
    headers: Sequence[int]
    bodies: Sequence[BodyText]


def read_text_map(root: Part, start: int = 0) -> TextMap:
    """Where the texts are; what :func:`~mailkit.mime.iter_text` gives.

    :param start: where the message begins in the octets that it was read from.
    """
    headers: list[int] = []
    bodies = []
    for part in root.walk():
        headers += (part.header_start - start, part.body_start - start)
        if not part.children and part.type in (b"text", b"message", b"multipart"):
            # RFC 2045 section 6.4: a multipart has no encoding.
            encoding = "" if part.is_multipart else part.transfer_encoding.lower().decode("latin-1")
            bodies.append(
                BodyText(
                    part.body_start - start,
                    part.body_end - start,
                    encoding,
                    part.charset or "us-ascii",
                )
            )
    return TextMap(headers, bodies)


def encode_text_map(texts: TextMap) -> str | None:
    """The map as it is kept; None for one that is too long."""
    encoded = json.dumps(texts, separators=(",", ":"))
    return encoded if len(encoded) <= MAX_KEPT else None


def decode_text_map(encoded: str) -> TextMap:
    """What :func:`encode_text_map` gave."""
    # Done for each message of a search: json.loads looks for white space around it, and _make at
    # the number of values.
    (headers, bodies), _ = _DECODER.raw_decode(encoded)
    return TextMap(headers, [tuple.__new__(BodyText, body) for body in bodies])


class Needle(NamedTuple):
    """Something that is looked for."""

    #: Folded.
    text: str
    octets: bytes
    #: The longest piece of it that stands unbroken wherever it stands.
    token: bytes


def make_needle(text: str) -> Needle:
    """:param text: as it was asked for."""
    folded = fold(text)
    return Needle(folded, folded.encode("utf-8", "replace"), longest_token(folded))


def find_in_headers(data: bytes, texts: TextMap, needles: Iterable[Needle]) -> set[Needle]:
    """Those that stand in a header of the message."""
    wanted = set(needles)
    if not wanted:
        return wanted
    spans = list(zip(texts.headers[::2], texts.headers[1::2], strict=True))
    # One look at all of them, as most do not contain what is looked for.
    octets = b"\n".join([data[start:end] for start, end in spans])
    look = Screen(octets, [octets.lower()])
    missing = {needle for needle in wanted if not look.lacks(needle.token, True)}
    found: set[Needle] = set()
    for start, end in spans:
        if not missing:
            break
        present = _find_in_header(data, start, end, missing)
        found |= present
        missing -= present
    return found


def _find_in_header(data: bytes, start: int, end: int, needles: set[Needle]) -> set[Needle]:
    octets = data[start:end]
    lower = octets.lower()
    found = set()
    if octets.isascii() and b"=?" not in octets and len(octets) <= _SHORT_HEADER:
        doubtful = {needle for needle in needles if needle.token in lower}
        # White space and colons may stand otherwise in the octets.
        found = {needle for needle in doubtful if needle.token == needle.octets}
        doubtful -= found
    else:
        look = Screen(octets, [lower])
        doubtful = {needle for needle in needles if not look.lacks(needle.token, True)}
    if doubtful:
        found |= _find_by_folding(header_text(parse_header(data, start, end)), doubtful)
    return found


def find_in_bodies(data: bytes, texts: TextMap, needles: Iterable[Needle]) -> set[Needle]:
    """Those that stand in the body of a text part."""
    missing = set(needles)
    found: set[Needle] = set()
    for start, end, encoding, charset in texts.bodies:
        if not missing:
            break
        body = decode_transfer(data[start:end], encoding.encode("latin-1"))
        present = _find_in_body(body, charset, missing)
        found |= present
        missing -= present
    return found


def _find_in_body(body: bytes, charset: str, needles: set[Needle]) -> set[Needle]:
    like_ascii, like_utf8 = _charset_kind(charset)
    found: set[Needle] = set()
    doubtful = needles
    if like_ascii:
        # As fold does it.
        lower = body.lower().replace(b"\t", b" ")
        found = {needle for needle in needles if needle.octets in lower and needle.text.isascii()}
        if body.isascii():
            return found
        doubtful = needles - found
        if like_utf8:
            look = Screen(b"", [lower])
            doubtful = {needle for needle in doubtful if not look.lacks(needle.token, False)}
    if doubtful:
        found |= _find_by_folding(decode_charset(body, charset), doubtful)
    return found


def _find_by_folding(text: str, needles: set[Needle]) -> set[Needle]:
    found = find_all({needle.text for needle in needles}, [text])
    return {needle for needle in needles if needle.text in found}


@lru_cache(maxsize=256)
def _charset_kind(charset: str) -> tuple[bool, bool]:
    """Whether ASCII stands for itself, and whether all else is UTF-8 if it can be that."""
    codec = codec_name(charset)
    if codec is None or codec in ("ascii", "utf_8"):
        return True, True
    return codec.startswith(_LIKE_ASCII), False
