"""FUZZY: searches that forgive (RFC 6203). No I/O.

What is forgiven: the order of the words and what stands between them, the endings of longer words,
and marks on letters that the client left out. Keys that have no text in them are exact.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from mailkit.query import And, BodyContains, HeaderContains, Not, Or, Query, TextContains

#: Words of one text that are searched for; the others are ignored.
MAX_WORDS = 20
#: Letters that are left of a word without its ending.
MIN_STEM = 4

_WORD = re.compile(r"\w+")
# Of English and other European languages, the longest first.
_ENDINGS = [
    "ations",
    "ation",
    "ingly",
    "ments",
    "ment",
    "edly",
    "ings",
    "ing",
    "ies",
    "ied",
    "est",
    "ern",
    "ers",
    "ens",
    "en",
    "em",
    "er",
    "es",
    "ed",
    "ly",
    "s",
    "e",
    "y",
    "n",
]


class Tolerance(enum.IntEnum):
    """How much is forgiven."""

    #: Nothing.
    EXACT = 0
    #: The order of the words.
    WORDS = 1
    #: Endings and marks too.
    STEMS = 2


#: Relevancy (RFC 6203 section 4) of what is found with no more tolerance than this.
SCORES = {Tolerance.EXACT: 100, Tolerance.WORDS: 67, Tolerance.STEMS: 33}


@dataclass(frozen=True)
class Fuzzy(Or):
    """A query that forgives, for stores one like any other."""

    #: As the client wrote it.
    exact: Query


def forgiving(query: Query) -> Fuzzy:
    """What ``FUZZY`` makes of a key."""
    return Fuzzy((loosen(query, Tolerance.STEMS),), query)


def is_fuzzy(query: Query) -> bool:
    """Whether ``FUZZY`` is among the keys."""
    match query:
        case Fuzzy():
            return True
        case And(queries=queries) | Or(queries=queries):
            return any(map(is_fuzzy, queries))
        case Not(query=inner):
            return is_fuzzy(inner)
    return False


def tighten(query: Query, tolerance: Tolerance) -> Query:
    """The query, forgiving less."""
    match query:
        case Fuzzy(exact=exact):
            return loosen(exact, tolerance)
        case And(queries=queries):
            return And(tuple(tighten(part, tolerance) for part in queries))
        case Or(queries=queries):
            return Or(tuple(tighten(part, tolerance) for part in queries))
        case Not(query=inner):
            return Not(tighten(inner, tolerance))
    return query


def loosen(query: Query, tolerance: Tolerance) -> Query:
    """The query, forgiving; it finds all that the query finds."""
    if tolerance is Tolerance.EXACT:
        return query
    match query:
        case And(queries=queries):
            return And(tuple(loosen(part, tolerance) for part in queries))
        case Or(queries=queries):
            return Or(tuple(loosen(part, tolerance) for part in queries))
        case HeaderContains(name=name, text=text):
            return _words(query, text, tolerance, lambda word: HeaderContains(name, word))
        case BodyContains(text=text):
            return _words(query, text, tolerance, BodyContains)
        case TextContains(text=text):
            return _words(query, text, tolerance, TextContains)
    # Less of what is excluded would be more than was asked for.
    return query


def _words(
    query: Query, text: str, tolerance: Tolerance, contains: Callable[[str], Query]
) -> Query:
    parts: list[Query] = []
    for word in _WORD.findall(text)[:MAX_WORDS]:
        forms = _forms(word) if tolerance is Tolerance.STEMS else [word]
        parts.append(contains(forms[0]) if len(forms) == 1 else Or(tuple(map(contains, forms))))
    if not parts:
        return query
    # A text may be found that parts its words elsewhere than we do.
    return Or((query, And(tuple(parts))))


def _forms(word: str) -> list[str]:
    """A word without its ending, as it is and without marks."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    return list(dict.fromkeys((_stem(word), _stem(plain))))


def _stem(word: str) -> str:
    lower = word.lower()
    for ending in _ENDINGS:
        if lower.endswith(ending) and len(word) - len(ending) >= MIN_STEM:
            return word[: -len(ending)]
    return word
