"""Searches as IMAP writes them (RFC 9051 section 6.4.4). No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from mailkit.imap.client.commands import Part, astring, atom, quoted
from mailkit.imap.client.sets import format_ranges, merged
from mailkit.mime.dates import MONTH_NAMES
from mailkit.query import (
    All,
    And,
    BodyContains,
    Collation,
    Comparison,
    HasFlag,
    HasObjectID,
    HeaderContains,
    InternalDate,
    Larger,
    ModifiedSince,
    Not,
    Or,
    Query,
    SaveDate,
    SentDate,
    Smaller,
    TextContains,
    UIDs,
)

#: Conditions within conditions.
MAX_DEPTH = 100

# Strings within search keys.
_STRINGS = re.compile(r'("(?:[^"\\]|\\.)*")')
_ESCAPED = re.compile(r"\\(.)")
_FLAGS = {
    "\\answered": b"ANSWERED",
    "\\deleted": b"DELETED",
    "\\draft": b"DRAFT",
    "\\flagged": b"FLAGGED",
    "\\recent": b"RECENT",
    "\\seen": b"SEEN",
}
_FIELDS = {"bcc", "cc", "from", "subject", "to"}
_COMPARISONS = {
    Comparison.BEFORE: b"BEFORE ",
    Comparison.ON: b"ON ",
    Comparison.SINCE: b"SINCE ",
}


def search_keys(query: Query | str, utf8: bool = False) -> list[Part]:
    """What stands behind SEARCH.

    :param query: a tree, or keys as IMAP writes them, strings in quotes.
    :param utf8: the server knows that all is UTF-8 (RFC 6855 section 3): no CHARSET.
    :raises ValueError: IMAP has no key for it.
    """
    if isinstance(query, str):
        return _written(query, utf8)
    keys: list[Part] = []
    if isinstance(query, And):
        for each in query.queries:
            keys += ([b" "] if keys else []) + _key(each, 1)
    keys = keys or _key(query, 0)
    texts = _texts(query)
    if not utf8 and any(not text.isascii() for text in texts):
        keys.insert(0, b"CHARSET UTF-8 ")
    return keys


def _written(keys: str, utf8: bool) -> list[Part]:
    """Keys as somebody has written them: what ASCII cannot hold goes as a literal."""
    if not keys.isprintable():
        raise ValueError("search keys are printable; give a Query for other text")
    if keys.isascii():
        return [keys.encode("ascii")]
    parts: list[Part] = [] if utf8 else [b"CHARSET UTF-8 "]
    for piece in _STRINGS.split(keys):
        if piece.isascii():
            parts.append(piece.encode("ascii"))
        elif len(piece) > 1 and piece[0] == piece[-1] == '"':
            parts.append(quoted(_ESCAPED.sub(r"\1", piece[1:-1]).encode("utf-8")))
        else:
            raise ValueError('put text that is not ASCII in quotes: SUBJECT "Grüße"')
    return parts


def _texts(query: Query) -> list[str]:
    if isinstance(query, (And, Or)):
        return [text for each in query.queries for text in _texts(each)]
    if isinstance(query, Not):
        return _texts(query.query)
    return [str(getattr(query, "text", ""))]


def _key(query: Query, depth: int) -> list[Part]:
    if depth > MAX_DEPTH:
        raise ValueError("the search is nested too deep")
    if isinstance(query, And):
        if not query.queries:
            return [b"ALL"]
        parts: list[Part] = []
        for each in query.queries:
            parts += [b" " if parts else b"(", *_key(each, depth + 1)]
        return [*parts, b")"]
    if isinstance(query, Or):
        return _or(query.queries, depth)
    if isinstance(query, Not):
        return [b"NOT ", *_key(query.query, depth + 1)]
    make = _KEYS.get(type(query))
    if make is None:
        raise ValueError(f"IMAP has no search key for {type(query).__name__}")
    return make(query)


def _or(queries: Sequence[Query], depth: int) -> list[Part]:
    if not queries:
        return [b"NOT ALL"]
    parts = _key(queries[-1], depth + 1)
    for each in reversed(queries[:-1]):
        parts = [b"OR ", *_key(each, depth + 1), b" ", *parts]
    return parts


def _flag(query: HasFlag) -> list[Part]:
    known = _FLAGS.get(query.flag.lower())
    return [known] if known else [b"KEYWORD ", atom(query.flag)]


def _date(query: Any) -> bytes:
    date = query.date
    return _COMPARISONS[query.comparison] + b"%d-%b-%04d" % (
        date.day,
        MONTH_NAMES[date.month],
        date.year,
    )


def _header(query: HeaderContains) -> list[Part]:
    if query.name.lower() in _FIELDS:
        return [query.name.upper().encode("ascii"), b" ", _text(query)]
    return [b"HEADER ", astring(query.name), b" ", _text(query)]


def _text(query: HeaderContains | BodyContains | TextContains) -> Part:
    if query.collation is not Collation.UNICODE_CASEMAP:
        raise ValueError(f"the server compares texts, and not by {query.collation.value}")
    return astring(query.text) if query.text else b'""'


def _uids(query: UIDs) -> list[Part]:
    ranges = merged(query.ranges)
    return [b"UID ", format_ranges(ranges).encode("ascii")] if ranges else [b"NOT ALL"]


_KEYS: dict[type[Query], Callable[[Any], list[Part]]] = {
    All: lambda query: [b"ALL"],
    UIDs: _uids,
    HasFlag: _flag,
    InternalDate: lambda query: [_date(query)],
    SentDate: lambda query: [b"SENT", _date(query)],
    SaveDate: lambda query: [b"SAVED", _date(query)],
    HasObjectID: lambda query: [
        b"THREADID " if query.thread else b"EMAILID ",
        atom(query.object_id),
    ],
    Larger: lambda query: [b"LARGER %d" % query.octets],
    Smaller: lambda query: [b"SMALLER %d" % query.octets],
    ModifiedSince: lambda query: [b"MODSEQ %d" % query.modseq],
    HeaderContains: _header,
    BodyContains: lambda query: [b"BODY ", _text(query)],
    TextContains: lambda query: [b"TEXT ", _text(query)],
}
