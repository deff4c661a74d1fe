"""By which collation a client wants texts compared (RFC 5255 section 4, RFC 4790). No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from mailkit.imap.annotate import AnnotationKey
from mailkit.imap.fuzzy import Fuzzy
from mailkit.query import (
    And,
    BodyContains,
    Collation,
    HeaderContains,
    Not,
    Or,
    Query,
    TextContains,
)

#: RFC 5255 section 4.4: what is used as long as nobody asks for another.
DEFAULT = Collation.UNICODE_CASEMAP


def find_collations(wanted: Iterable[str]) -> list[Collation]:
    """Those that any of the collation orders matches, the chosen one first (RFC 4790 section 3.2).

    :param wanted: names, ``default``, or patterns in which ``*`` stands for anything.
    """
    found: dict[Collation, None] = {}
    for pattern in wanted:
        if pattern.lower() == "default":
            found[DEFAULT] = None
            continue
        matches = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.IGNORECASE).fullmatch
        found.update(dict.fromkeys(each for each in Collation if matches(each.value)))
    return list(found)


def collated(query: Query, collation: Collation) -> Query:
    """The search with its texts compared by a collation; what is fuzzy stays so (RFC 6203)."""
    if collation is DEFAULT:
        return query
    match query:
        case HeaderContains() | BodyContains() | TextContains() | AnnotationKey():
            return replace(query, collation=collation)
        case Fuzzy():
            return query
        case And(queries=queries):
            return And(tuple(collated(part, collation) for part in queries))
        case Or(queries=queries):
            return Or(tuple(collated(part, collation) for part in queries))
        case Not(query=inner):
            return Not(collated(inner, collation))
    return query
