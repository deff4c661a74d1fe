"""Collations of RFC 4790: strings as octets that compare as the strings do."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from mailkit.query import Collation

#: Characters of a text that are collated in one go.
PIECE = 64 * 1024


def collate(text: str, collation: Collation) -> bytes:
    """A string as octets that compare as the collation wants."""
    if collation is Collation.UNICODE_CASEMAP:
        return unicode_casemap(text)
    octets = text.encode("utf-8", "replace")
    # RFC 4790 section 9.2.1: of bytes, Python turns ASCII letters alone.
    return octets.upper() if collation is Collation.ASCII_CASEMAP else octets


def any_contains(texts: Iterable[str], needle: str, collation: Collation) -> bool:
    """Whether one of the texts contains another, by i;ascii-casemap or i;octet."""
    wanted = collate(needle, collation)
    for text in texts:
        for start in range(0, len(text), PIECE):
            if wanted in collate(text[start : start + PIECE + len(needle)], collation):
                return True
    return False


def unicode_casemap(text: str) -> bytes:
    """By i;unicode-casemap (RFC 5051 section 2): equal in any letter case and composition."""
    if text.isascii():
        return text.upper().encode("ascii")
    titled = "".join(map(_titlecase, text))
    # Marks are put in order too, so that it does not matter in which they were typed.
    return unicodedata.normalize("NFKD", titled).encode("utf-8", "replace")


@lru_cache(maxsize=4096)
def _titlecase(character: str) -> str:
    """The simple title case, which is always one character."""
    if len(titled := character.title()) == 1:
        return titled
    upper = character.upper()
    return upper if len(upper) == 1 else character
