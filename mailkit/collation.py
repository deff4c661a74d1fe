"""Collations of RFC 4790: strings as octets that compare as the strings do."""

from __future__ import annotations

import unicodedata


def unicode_casemap(text: str) -> bytes:
    """By i;unicode-casemap (RFC 5051 section 2): equal in any letter case and composition."""
    if text.isascii():
        return text.upper().encode("ascii")
    titled = "".join(map(_titlecase, text))
    # Marks are put in order too, so that it does not matter in which they were typed.
    return unicodedata.normalize("NFKD", titled).encode("utf-8", "replace")


def _titlecase(character: str) -> str:
    """The simple title case, which is always one character."""
    if len(titled := character.title()) == 1:
        return titled
    upper = character.upper()
    return upper if len(upper) == 1 else character
