"""Queries as SQL about the rows of the index."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from mailkit.fieldtexts import encode_needle
from mailkit.query import (
    All,
    And,
    ArrivedSince,
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
    Smaller,
    UIDs,
)
from mailkit.store.sqlite import fields
from mailkit.store.sqlite.core import Core
from mailkit.store.sqlite.flags import KEYWORD_SHIFT, split_flags
from mailkit.store.sqlite.narrowing import is_kept

_DAY = 24 * 60 * 60
_EPOCH = datetime.date(1970, 1, 1).toordinal()
#: Conditions of one query that are asked as SQL, keywords among them, and how deep they are nested:
#: SQLite limits the depth of expressions. The matcher decides the others.
_MAX_TERMS = 200
_MAX_KEYWORDS = 5
_MAX_DEPTH = 20
#: Ranges of UIDs that are asked as SQL: each row is compared with all of them.
_MAX_RANGES = 20


class Condition(NamedTuple):
    """SQL about a message's row that holds for every match."""

    sql: str
    values: tuple[object, ...] = ()
    #: It holds for nothing else.
    exact: bool = True


_ANYTHING = Condition("1", (), False)
#: No message matches.
NOTHING = Condition("0")
# As rows.to_infos writes them; fits into SQLite's integers.
_EMAIL_ID = re.compile(r"M(?:0|[1-9a-f][0-9a-f]{0,14})")
_THREAD_ID = re.compile(r"T(?:0|[1-9a-f][0-9a-f]{0,14})")


def _on_day(column: str, comparison: Comparison, date: datetime.date) -> Condition:
    start = (date.toordinal() - _EPOCH) * _DAY
    match comparison:
        case Comparison.BEFORE:
            return Condition(f"{column} < ?", (start,))
        case Comparison.ON:
            return Condition(f"{column} BETWEEN ? AND ?", (start, start + _DAY - 1))
        case Comparison.SINCE:
            return Condition(f"{column} >= ?", (start,))


class Compiler:
    """Turns a query into a condition on rows.

    :param texts: the texts of header fields are there.
    """

    def __init__(self, core: Core, account_id: int, texts: bool) -> None:
        self._core = core
        self._texts = texts
        self._account_id = account_id
        self._terms = 0
        self._keywords = 0

    def compile(self, query: Query, depth: int = 0) -> Condition:
        """A condition that holds for every match.

        :param depth: how deep the query is nested in another one.
        """
        self._terms += 1
        if self._terms > _MAX_TERMS or depth > _MAX_DEPTH:
            return _ANYTHING
        depth += 1
        match query:
            case And(queries=queries):
                return self._join([self.compile(part, depth) for part in queries], "AND", "1")
            case Or(queries=queries):
                return self._join([self.compile(part, depth) for part in queries], "OR", "0")
            case Not(query=inner):
                found = self.compile(inner, depth)
                if found.exact:
                    return Condition(f"NOT ({found.sql})", found.values)
                return _ANYTHING
        return self._leaf(query)

    def _join(self, parts: Sequence[Condition], word: str, empty: str) -> Condition:
        exact = all(part.exact for part in parts)
        if word == "OR" and _ANYTHING in parts:
            return _ANYTHING
        # What excludes nothing would only make the expression deeper.
        parts = [part for part in parts if part != _ANYTHING]
        sql = f" {word} ".join(f"({part.sql})" for part in parts) or (empty if exact else "1")
        values = tuple(value for part in parts for value in part.values)
        return Condition(sql, values, exact)

    def _leaf(self, query: Query) -> Condition:
        match query:
            case All():
                return Condition("1")
            case UIDs(ranges=ranges):
                return self._uids(ranges)
            case HasFlag(flag=flag):
                return self._flag(flag)
            case InternalDate(comparison=comparison, date=date):
                return _on_day("internal_date", comparison, date)
            case SaveDate(comparison=comparison, date=date):
                return _on_day("save_date", comparison, date)
            case HasObjectID(object_id=object_id, thread=False) if _EMAIL_ID.fullmatch(object_id):
                return Condition("body_id = ?", (int(object_id[1:], 16),))
            case HasObjectID(object_id=object_id, thread=True):
                if not _THREAD_ID.fullmatch(object_id):
                    return NOTHING
                return Condition("thread_id = ?", (int(object_id[1:], 16),))
            case ArrivedSince(time=time):
                return Condition("internal_date >= ?", (max(min(time, 2**62), -(2**62)),))
            case Larger(octets=octets):
                return Condition("size > ?", (min(octets, 2**62),))
            case Smaller(octets=octets):
                return Condition("size < ?", (min(octets, 2**62),))
            case ModifiedSince(modseq=modseq):
                return Condition("modseq >= ?", (min(modseq, 2**62),))
            case HeaderContains(name=name, text=text) if self._texts and is_kept(query):
                return self._header(name.lower().encode(), text)
        return _ANYTHING

    @staticmethod
    def _header(name: bytes, text: str) -> Condition:
        needle = encode_needle(text)
        if needle is None:
            return _ANYTHING
        column = fields.COLUMNS[name]
        if not needle:
            return Condition(f"{column} IS NOT NULL")
        # Never NULL, whose negation is NULL as well.
        return Condition(f"ifnull(instr({column}, ?), 0)", (needle,))

    @staticmethod
    def _uids(ranges: Sequence[tuple[int, int]]) -> Condition:
        if len(ranges) == 1:
            return Condition("uid BETWEEN ? AND ?", tuple(ranges[0]))
        if all(first == last for first, last in ranges):
            values = json.dumps([first for first, _ in ranges])
            return Condition("uid IN (SELECT value FROM json_each(?))", (values,))
        if len(ranges) > _MAX_RANGES:
            span = (min(first for first, _ in ranges), max(last for _, last in ranges))
            return Condition("uid BETWEEN ? AND ?", span, False)
        return Condition(
            "EXISTS (SELECT 1 FROM json_each(?) WHERE"
            " uid BETWEEN json_extract(value, '$[0]') AND json_extract(value, '$[1]'))",
            (json.dumps([list(r) for r in ranges]),),
        )

    def _flag(self, flag: str) -> Condition:
        bits, keywords = split_flags([flag])
        if not keywords:
            # Of system flags there are no others than these.
            return Condition(f"flags & {bits}") if bits else NOTHING
        self._keywords += 1
        if self._keywords > _MAX_KEYWORDS:
            return _ANYTHING
        wanted = flag.lower()
        sets = [
            number
            for number, text in self._core.reader.connection.execute(
                "SELECT id, keywords FROM keyword_set WHERE account_id = ?", (self._account_id,)
            ).fetchall()
            if wanted in text.lower().split(" ")
        ]
        if not sets:
            return NOTHING
        return Condition(
            f"flags >> {KEYWORD_SHIFT} IN (SELECT value FROM json_each(?))", (json.dumps(sets),)
        )
