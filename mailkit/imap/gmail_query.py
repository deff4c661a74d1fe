"""Searches as people write them in Gmail, for X-GM-RAW: to a query. No I/O.

What Gmail knows besides is refused, not searched for as text: the client would take the result for
what it has asked for. https://support.google.com/mail/answer/7190
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from mailkit.errors import MailError
from mailkit.imap.labels import has_label
from mailkit.model import FLAGGED, IMPORTANT, SEEN
from mailkit.query import (
    All,
    And,
    ArrivedSince,
    Comparison,
    HasAttachment,
    HasFlag,
    HeaderContains,
    InternalDate,
    Larger,
    Not,
    Or,
    Query,
    Smaller,
    TextContains,
)

#: Words, phrases and the like of one search.
MAX_TERMS = 100
#: Parentheses within parentheses.
MAX_DEPTH = 10

_DAY = 24 * 60 * 60
_SPACES = re.compile(r"\s*")
_OPERATOR = re.compile(r"([A-Za-z_][A-Za-z0-9_]*):")
_WORD = re.compile(r'[^\s(){}"]+')
_PHRASE = re.compile(r'"([^"]*)"')
_OR = re.compile(r"OR(?=[\s(){}\"])")
_AND = re.compile(r"AND(?=[\s(){}\"])")
_YEAR_FIRST = re.compile(r"(\d{4})[/-](\d{1,2})[/-](\d{1,2})")
_YEAR_LAST = re.compile(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4})")
_EPOCH = re.compile(r"\d{6,12}")
_AGE = re.compile(r"(\d{1,5})([dmy])", re.IGNORECASE)
_SIZE = re.compile(r"(\d{1,12})([km]?)b?", re.IGNORECASE)

_AGES = {"d": _DAY, "m": 30 * _DAY, "y": 365 * _DAY}
_SIZES = {"": 1, "k": 1024, "m": 1024**2}
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "from": ("From",),
    # Whoever gets it, as with Gmail.
    "to": ("To", "Cc", "Bcc"),
    "cc": ("Cc",),
    "bcc": ("Bcc",),
    "subject": ("Subject",),
    "list": ("List-Id",),
    "deliveredto": ("Delivered-To",),
}
_STATES: Mapping[str, Query] = {
    "unread": Not(HasFlag(SEEN)),
    "read": HasFlag(SEEN),
    "starred": HasFlag(FLAGGED),
    "important": HasFlag(IMPORTANT),
}
_PLACES = {
    "inbox": "\\Inbox",
    "sent": "\\Sent",
    "draft": "\\Draft",
    "drafts": "\\Draft",
    "spam": "\\Spam",
    "junk": "\\Spam",
    "trash": "\\Trash",
}

_T = TypeVar("_T")
_Leaf = Callable[[str], Query]


def parse_gmail_query(text: str, now: int) -> Query:
    """The query that a search means.

    :param now: seconds since the epoch.
    :raises MailError: something in it is not understood.
    """
    return _Raw(text, now).run()


class _Raw:
    def __init__(self, text: str, now: int) -> None:
        self._text = text
        self._now = now
        self._position = 0
        self._terms = 0
        self._depth = 0

    def run(self) -> Query:
        found = self._terms_until("", TextContains)
        if not found:
            raise MailError("The search is empty")
        return And(tuple(found))

    # Structure.

    def _accept(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._position)
        if match is not None:
            self._position = match.end()
        return match

    def _next(self) -> str:
        """The character that comes next behind blanks; empty at the end."""
        self._accept(_SPACES)
        return self._text[self._position : self._position + 1]

    def _terms_until(self, closing: str, leaf: _Leaf) -> list[Query]:
        """All terms; those with OR between them are one."""
        found: list[Query] = []
        joins = False
        while (character := self._next()) != closing:
            if not character:
                raise MailError(f"A {closing} is missing in the search")
            if character in ")}":
                raise MailError(f"There is a {character} too many in the search")
            if self._accept(_OR):
                if joins or not found:
                    raise MailError("OR stands between two terms")
                joins = True
            elif not self._accept(_AND):
                term = self._term(leaf)
                found.append(Or((found.pop(), term)) if joins else term)
                joins = False
        if joins:
            raise MailError("OR stands between two terms")
        self._position += len(closing)
        return found

    def _term(self, leaf: _Leaf) -> Query:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise MailError("The search is too complex")
        character = self._next()
        if character == "-":
            self._position += 1
            return Not(self._deeper(lambda: self._term(leaf)))
        if character == "+":
            self._position += 1
        if (group := self._group(leaf)) is not None:
            return group
        operator = self._accept(_OPERATOR)
        if operator is None:
            return leaf(self._value())
        name = operator[1].lower()
        if leaf is not TextContains or (found := self._leaf_of(name)) is None:
            raise MailError(f"{name}: is not known here; put it in quotes to search for that text")
        if (group := self._group(found)) is not None:
            return group
        return found(self._value())

    def _group(self, leaf: _Leaf) -> Query | None:
        character = self._text[self._position : self._position + 1]
        if character not in ("(", "{"):
            return None
        self._position += 1
        closing = ")" if character == "(" else "}"
        found = self._deeper(lambda: self._terms_until(closing, leaf))
        if not found:
            raise MailError("There is nothing between parentheses of the search")
        return And(tuple(found)) if character == "(" else Or(tuple(found))

    def _deeper(self, read: Callable[[], _T]) -> _T:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise MailError("The search is too complex")
        found = read()
        self._depth -= 1
        return found

    def _value(self) -> str:
        """A word, or a phrase in quotes."""
        match = self._accept(_PHRASE)
        text = match[1].strip() if match else ""
        if match is None and (word := self._accept(_WORD)):
            text = word[0]
        if not text:
            raise MailError("A word is missing in the search, or a quotation mark")
        return text

    # Operators.

    def _leaf_of(self, name: str) -> _Leaf | None:
        if name in _FIELDS:
            return lambda text: self._field(_FIELDS[name], text)
        return {
            "has": self._has,
            "is": self._is,
            "in": self._in,
            "label": self._in,
            "before": self._before,
            "older": self._before,
            "after": self._after,
            "newer": self._after,
            "older_than": lambda text: Not(ArrivedSince(self._age(text) + 1, by_age=True)),
            "newer_than": lambda text: ArrivedSince(self._age(text), by_age=True),
            "larger": lambda text: Larger(_size(text)),
            "size": lambda text: Larger(_size(text)),
            "smaller": lambda text: Smaller(_size(text)),
            "rfc822msgid": lambda text: HeaderContains("Message-ID", text.strip("<>")),
        }.get(name)

    @staticmethod
    def _field(names: tuple[str, ...], text: str) -> Query:
        if text.lower() == "me" and names[0] != "Subject":
            raise MailError('"me" is not known here; write the address')
        found = tuple(HeaderContains(name, text) for name in names)
        return found[0] if len(found) == 1 else Or(found)

    @staticmethod
    def _has(text: str) -> Query:
        if text.lower() == "attachment":
            return HasAttachment()
        raise MailError("has: knows attachment alone here")

    @staticmethod
    def _is(text: str) -> Query:
        found = _STATES.get(text.lower())
        if found is None:
            raise MailError("is: knows unread, read, starred and important here")
        return found

    @staticmethod
    def _in(text: str) -> Query:
        word = text.lower()
        if word in _STATES:
            return _STATES[word]
        if word == "anywhere":
            return All()
        return has_label(_PLACES.get(word, text), loose=True)

    def _before(self, text: str) -> Query:
        time = _time(text)
        if isinstance(time, int):
            return Not(ArrivedSince(time))
        return InternalDate(Comparison.BEFORE, time)

    def _after(self, text: str) -> Query:
        time = _time(text)
        if isinstance(time, int):
            return ArrivedSince(time)
        return InternalDate(Comparison.SINCE, time)

    def _age(self, text: str) -> int:
        match = _AGE.fullmatch(text)
        if match is None:
            raise MailError("An age looks like 3d, 2m or 1y")
        return self._now - int(match[1]) * _AGES[match[2].lower()]


def _time(text: str) -> datetime.date | int:
    """A day, or seconds since the epoch."""
    if _EPOCH.fullmatch(text):
        return int(text)
    if match := _YEAR_FIRST.fullmatch(text):
        year, month, day = match.groups()
    elif match := _YEAR_LAST.fullmatch(text):
        month, day, year = match.groups()
    else:
        raise MailError("A day looks like 2004/04/16")
    try:
        return datetime.date(int(year), int(month), int(day))
    except ValueError:
        raise MailError("There is no such day in the calendar") from None


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise MailError("A size looks like 500K or 10M")
    return int(match[1]) * _SIZES[match[2].lower()]
