"""Reads the values of one response from its octets (RFC 9051 section 9). No I/O.

The tokens are those of the server's grammar. lenient, here and there: a client has to live with the
servers that there are, and a value that cannot be read ends the connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mailkit._typing import override
from mailkit.client.content import Content
from mailkit.imap.client.body import Value
from mailkit.imap.client.errors import too_large
from mailkit.imap.client.names import decode_name
from mailkit.imap.client.reader import RESPONSE_LIMITS, Response, ResponseLimits
from mailkit.imap.client.values import Ranges
from mailkit.imap.grammar import MAX_NUMBER, Arguments, SyntaxFault
from mailkit.mime.dates import parse_imap_datetime
from mailkit.model import SYSTEM_FLAGS, Flags
from mailkit.spool import Spool
from mailkit.wire.chars import ATOM_CHAR, octet_class

# flag, flag-perm and mbx-list-flags. lenient: "]" too, which some keywords have.
_FLAG = re.compile(rb"\\\*|\\?[%b\]]+" % octet_class(ATOM_CHAR))
_LITERAL = re.compile(rb"~?\{(\d{1,20})\}\r\n")
_PLAIN = re.compile(rb"[^ ()\"{\r\n]+")
# What a value may begin with, and the whole of the usual ones. A quoted string with escapes, or
# without an end, is read elsewhere.
_TOKEN = re.compile(
    rb" *(?:(?P<open>\()|(?P<close>\))|(?P<plain>(?!~\{)[^ ()\"{\r\n]+)|\"(?P<quoted>[^\"\\\r\n\x00]*)\""
    rb"|(?P<other>(?=[\"{]|~\{)))"
)
# Of a quoted string: so many escapes at a time, for each costs some 100 octets of memory.
_QUOTED_PIECE = re.compile(rb'[^"\\\r\n\x00]*(?:\\["\\][^"\\\r\n\x00]*){0,1000}')
_SPACES = re.compile(rb" *")
_RANGES = re.compile(rb"[\d:,]+")
_NUMBERS = re.compile(rb"[\d ]*")
_SYSTEM = {flag.lower(): flag for flag in (*SYSTEM_FLAGS, "\\Recent")}
# As nearly all servers write them.
_KNOWN = {flag.encode("ascii"): flag for flag in _SYSTEM.values()}


class Text(Arguments):
    """Reads the values of one response, from left to right."""

    __slots__ = ("contents", "left", "limits")

    def __init__(self, response: Response, limits: ResponseLimits) -> None:
        super().__init__(response.octets)
        self.contents = response.contents
        self.limits = limits
        #: So many tokens may still come.
        self.left = limits.tokens

    def rest(self) -> bytes:
        """All that follows."""
        position, self.position = self.position, len(self.data)
        return self.data[position:]

    def match(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        """What fits a pattern and stands here.

        :param what: begins the sentence that says that nothing does.
        """
        return self._match(pattern, what)

    def count(self, tokens: int = 1) -> None:
        """
        :raises ResponseTooLarge: the response has too many of them.
        """
        self.left -= tokens
        if self.left < 0:
            raise too_large("too many values", "tokens")

    # Strings and values.

    def literal(self) -> bytes | None:
        """The octets of a literal of any kind, if one stands here."""
        match = _LITERAL.match(self.data, self.position)
        if match is None:
            return None
        end = match.end() + int(match[1])
        self.position = end
        return self.data[match.end() : end]

    @override
    def string(self) -> bytes:
        if not self.looking_at(b'"'):
            return super().string()
        data, start = self.data, self.position + 1
        begin, end = self.position, start
        while end > begin:
            match = _QUOTED_PIECE.match(data, end)
            assert match is not None
            begin, end = end, match.end()
        if not data.startswith(b'"', end):
            raise SyntaxFault("A quoted string has no end, or a bad escape")
        self.position = end + 1
        octets = data[start:end]
        if b"\\" in octets:
            # No NUL is in it.
            octets = octets.replace(b"\\\\", b"\0").replace(b'\\"', b'"').replace(b"\0", b"\\")
        return octets

    def any_string(self) -> bytes:
        """A quoted string, a literal, or an atom of any octets."""
        octets = self.literal()
        if octets is not None:
            return octets
        if self.looking_at(b'"'):
            return self.string()
        return self._match(_PLAIN, "A string")

    def nil_or_string(self) -> bytes | None:
        if self.accept_word(b"NIL"):
            return None
        return self.any_string()

    def decoded(self) -> str | None:
        octets = self.nil_or_string()
        return None if octets is None else octets.decode("utf-8", "replace")

    def value(self) -> Value:
        """A string, NIL, a number or a list of values.

        :raises ResponseTooLarge: lists are nested too deep, or there are too many values.
        """
        data, position, left = self.data, self.position, self.left
        # Those that have begun and not ended.
        lists: list[list[Value]] = []
        found: Value
        while True:
            match = _TOKEN.match(data, position)
            if match is None:
                raise SyntaxFault("A value is missing or contains octets that are not allowed")
            position = match.end()
            kind = match.lastgroup
            left -= 1
            if kind == "plain":
                found = _plain(match["plain"])
            elif kind == "quoted":
                found = match["quoted"]
            elif kind == "open":
                if len(lists) >= self.limits.depth:
                    raise too_large("lists nested too deep", "depth")
                lists.append([])
                continue
            elif kind == "close":
                if not lists:
                    raise SyntaxFault("A value is missing")
                found = lists.pop()
            else:
                self.position = position
                found = self.any_string()
                position = self.position
            if left < 0:
                raise too_large("too many values", "tokens")
            if not lists:
                break
            lists[-1].append(found)
        self.position, self.left = position, left
        return found

    def content(self) -> Content | None:
        """The octets of a section; they may be elsewhere."""
        if self.position in self.contents:
            match = _LITERAL.match(self.data, self.position)
            assert match is not None
            content = self.contents[self.position]
            self.position = match.end()
            return content
        octets = self.nil_or_string()
        return None if octets is None else Content(Spool.from_bytes(octets))

    # Flags, names, numbers.

    def any_flags(self) -> Flags:
        self.expect(b"(")
        end = self.data.find(b")", self.position)
        if end < 0:
            raise SyntaxFault("A list of flags has no end")
        names = self.data[self.position : end].split(None, self.left + 1)
        self.count(len(names))
        self.position = end + 1
        return frozenset([_KNOWN.get(name) or _flag(name) for name in names])

    def mailbox_name(self) -> str:
        return decode_name(self.any_string())

    def separator(self) -> str | None:
        octets = self.nil_or_string()
        return octets.decode("utf-8", "replace") if octets else None

    def ranges(self) -> Ranges:
        return parse_ranges(self._match(_RANGES, "A set of numbers"), self.limits)

    def numbers(self) -> tuple[int, ...]:
        """Numbers with spaces before them, perhaps none."""
        octets = self._match(_NUMBERS, "Numbers")
        if octets.count(b" ") > self.limits.numbers:
            raise too_large("too many numbers", "numbers")
        numbers = tuple(map(int, octets.split()))
        if numbers and max(numbers) > MAX_NUMBER:
            raise SyntaxFault("A number is too large")
        return numbers

    def moment(self) -> int | None:
        if self.accept_word(b"NIL"):
            return None
        octets = self.string()
        seconds = parse_imap_datetime(b" " + octets if octets[1:2] == b"-" else octets)
        if seconds is None:
            raise SyntaxFault("A date-time is none")
        return seconds

    def in_parentheses(self, read: Callable[[], object]) -> None:
        """
        :raises ResponseTooLarge: there is too much in them.
        """
        self.expect(b"(")
        data = self.data
        while True:
            self.skip_spaces()
            if data.startswith(b")", self.position):
                self.position += 1
                return
            self.count()
            read()

    def skip_spaces(self) -> None:
        """lenient: more than one, or one too many at the end."""
        if self.data.startswith(b" ", self.position):
            self._match(_SPACES, "")


def _flag(octets: bytes) -> str:
    if _FLAG.fullmatch(octets) is None:
        raise SyntaxFault("A flag contains octets that are not allowed")
    name = octets.decode("ascii")
    return _SYSTEM.get(name.lower(), name)


def _plain(octets: bytes) -> Value:
    if octets.isdigit() and len(octets) < 20:
        return int(octets)
    return None if octets.upper() == b"NIL" else octets


def words(octets: bytes, limits: ResponseLimits = RESPONSE_LIMITS) -> frozenset[str]:
    """What stands between white space.

    :raises ResponseTooLarge: too many words.
    """
    found = octets.split(None, limits.tokens)
    if len(found) > limits.tokens:
        raise too_large("too many values", "tokens")
    return frozenset([word.decode("utf-8", "replace") for word in found])


def parse_ranges(octets: bytes, limits: ResponseLimits = RESPONSE_LIMITS) -> Ranges:
    """A set of numbers without ``*``, its parts in ascending order each.

    :raises SyntaxFault: it is none.
    :raises ResponseTooLarge: too many parts.
    """
    if not octets:
        return ()
    if octets.count(b",") >= limits.ranges:
        raise too_large("too many ranges", "ranges")
    found = []
    for part in octets.split(b","):
        low, colon, high = part.partition(b":")
        if not (low.isdigit() and len(low) <= 10):
            raise SyntaxFault("A set of numbers is none")
        first = last = int(low)
        if colon:
            if not (high.isdigit() and len(high) <= 10):
                raise SyntaxFault("A set of numbers is none")
            last = int(high)
        found.append((first, last) if first <= last else (last, first))
    return tuple(found)
