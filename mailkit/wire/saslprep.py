"""SASLprep, which makes user names comparable (RFC 4013, a profile of RFC 3454)."""

from __future__ import annotations

import stringprep
import unicodedata

#: Characters of a text that is prepared: an address has 320 octets at most (RFC 5321 section
#: 4.5.3.1). NFKC sorts combining marks in quadratic time, and keeps all other threads waiting.
MAX_TEXT = 1024

# RFC 4013 section 2.3.
_PROHIBITED = (
    (stringprep.in_table_c12, "a space that is none of ASCII"),
    (stringprep.in_table_c21_c22, "a control character"),
    (stringprep.in_table_c3, "a character for private use"),
    (stringprep.in_table_c4, "what is no character"),
    (stringprep.in_table_c5, "half a surrogate pair"),
    (stringprep.in_table_c6, "a character that is not fit for plain text"),
    (stringprep.in_table_c7, "a character of ideographic descriptions"),
    (stringprep.in_table_c8, "a character that changes the display"),
    (stringprep.in_table_c9, "a tagging character"),
)
# RFC 3454 section 7: what is stored may not contain it, a query may.
_UNASSIGNED = (stringprep.in_table_a1, "a character that Unicode 3.2 does not know")


class Unprepared(ValueError):
    """The text cannot be a name; the message says what it contains."""


def saslprep(text: str, query: bool = False) -> str:
    """The text as it compares with others; perhaps empty.

    :param query: it is looked up, not kept: characters that Unicode 3.2 does not know may stay.
    :raises Unprepared: it contains what a name cannot contain.
    """
    if text.isascii() and text.isprintable():
        return text
    prepared = fold_text(text)
    if len(prepared) > MAX_TEXT:
        raise Unprepared(f"more than {MAX_TEXT} characters")
    prohibitions = _PROHIBITED if query else (*_PROHIBITED, _UNASSIGNED)
    for character in prepared:
        for prohibited, what in prohibitions:
            if prohibited(character):
                raise Unprepared(what)
    _check_directions(prepared)
    return prepared


def fold_text(text: str) -> str:
    """The same, whatever it contains: what nobody sees is left out, and NFKC made of the rest.

    A text of more than :data:`MAX_TEXT` characters stays as it is.
    """
    if len(text) > MAX_TEXT:
        return text
    # RFC 4013 section 2.1
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if not stringprep.in_table_b1(character)
    )
    # Section 2.2
    return unicodedata.normalize("NFKC", mapped)


def _check_directions(text: str) -> None:
    """RFC 3454 section 6"""
    right = [stringprep.in_table_d1(character) for character in text]
    if any(right) and (
        not (right[0] and right[-1]) or any(stringprep.in_table_d2(each) for each in text)
    ):
        raise Unprepared("letters of both directions")
