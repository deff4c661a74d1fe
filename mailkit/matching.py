"""Whether a message matches a :mod:`~mailkit.query`: the plain scan that defines every search.

A :class:`Matcher` answers from as little as there is, and says so when that is not enough. Stores
ask it first with the rows of their index, then with header fields that they keep, and open only
the messages that are still undecided.

The caller limits how deep queries are nested.
"""

from __future__ import annotations

import datetime
import enum
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TypeVar

from mailkit.mime import (
    Header,
    Octets,
    Part,
    decode_text,
    header_text,
    iter_text,
    parse_date,
    parse_header,
    parse_message,
)
from mailkit.model import SUMMARY_FIELDS, SYSTEM_FLAGS, MessageInfo
from mailkit.query import (
    All,
    And,
    BodyContains,
    Comparison,
    HasFlag,
    HeaderContains,
    InternalDate,
    Larger,
    ModifiedSince,
    Not,
    Or,
    Query,
    SentDate,
    Smaller,
    TextContains,
    UIDs,
)

_Evidence = TypeVar("_Evidence")
_DAY = 24 * 60 * 60
_EPOCH = datetime.date(1970, 1, 1).toordinal()

# Where folding and spacing may differ from the octets, in a text to be found.
_BREAKS = re.compile(r"[\s:]+")
# Fields and parameters that leave ASCII what it is; a message with others must be parsed.
_PLAIN_ENCODING = re.compile(rb"content-transfer-encoding\s*:\s*(?:7bit|8bit|binary)\s*\n")
_PLAIN_CHARSET = re.compile(
    rb'charset="?(?:us-ascii|utf-8|iso-8859-[0-9]{1,2}|windows-125[0-9])["\s;]'
)


class Need(enum.IntEnum):
    """What deciding a query may take; each includes the ones before it."""

    #: The message's :class:`~mailkit.model.MessageInfo`.
    INFO = 0
    #: The header fields in :data:`~mailkit.model.SUMMARY_FIELDS`.
    SUMMARY = 1
    #: The whole header.
    HEADER = 2
    #: The whole message.
    MESSAGE = 3


def fold(text: str) -> str:
    """Text in the form that is compared: equal for texts that differ in case or composition.

    Compatibility decomposition and full case folding: all that i;unicode-casemap (RFC 5051) takes
    for equal, and a little more (``ß`` and ``ss``).
    """
    if text.isascii():
        return text.lower()
    # Decomposed before as well: some letters fold only when they are apart.
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())


class Matcher:
    """A query, made ready to be asked about many messages.

    :ivar needs: the most that deciding one message can take.
    :ivar by_info: ``by_info(info)`` decides by the details alone: a truth, or None when they do
        not tell.
    """

    def __init__(self, query: Query) -> None:
        self.query = query
        self.needs = _needs(query)
        # An attribute, not a method: asked a hundred thousand times in a row.
        self.by_info: Callable[[MessageInfo], bool | None] = _compile(query, _info_leaf)
        self._by_message: Callable[[_Message], bool | None] = _compile(query, _leaf)

    def by_header(self, info: MessageInfo, header: bytes, complete: bool) -> bool | None:
        """Decide by details and header fields; None when they do not tell.

        :param header: raw octets of the fields, with or without the empty line.
        :param complete: these are all fields, not just those in ``SUMMARY_FIELDS``.
        """
        return self._by_message(_Message(info, header, complete, None))

    def by_message(self, info: MessageInfo, data: Octets, start: int = 0) -> bool:
        """Decide by the whole message.

        :param start: offset of the message in ``data``.
        """
        return bool(self._by_message(_Message(info, data, True, data, start)))


class _Message:
    """What is known of one message; parsed when first needed."""

    __slots__ = ("_header", "_octets", "_plain", "_root", "_start", "complete", "data", "info")

    def __init__(
        self,
        info: MessageInfo,
        header: Octets,
        complete: bool,
        data: Octets | None,
        start: int = 0,
    ) -> None:
        self.info = info
        self.complete = complete
        self.data = data
        self._start = start
        self._octets = header
        self._header: Header | None = None
        self._root: Part | None = None
        # Unknown as long as there is none; empty if the octets are no plain text.
        self._plain: bytes | None = None

    def lacks(self, token: bytes, headers: bool) -> bool:
        """Whether the octets show, without being parsed, that no text in them contains the token.

        Exact: true only for ASCII without any encoding, where every text that is searched stands in
        the octets as it is, but for white space.
        """
        if self._plain is None:
            self._plain = _plain_octets(self._octets, self.data is None)
        if not (token and self._plain) or token in self._plain:
            return False
        # Encoded words (RFC 2047) stand in headers alone.
        return not (headers and b"=?" in self._plain)

    @property
    def header(self) -> Header:
        if self._header is None:
            self._header = parse_header(self._octets, self._start)
        return self._header

    def contains(self, needle: str, token: bytes, headers: bool) -> bool:
        """Whether a text of the message, whose octets are known, contains the folded needle."""
        assert self.data is not None
        if self.lacks(token, headers):
            return False
        if self._root is None:
            self._root = parse_message(self.data, self._start)
        texts = iter_text(self.data, self._root, headers=headers)
        return any(needle in fold(text) for text in texts)


def _needs(query: Query) -> Need:
    match query:
        case And(queries=queries) | Or(queries=queries):
            return max(map(_needs, queries), default=Need.INFO)
        case Not(query=inner):
            return _needs(inner)
        case SentDate():
            return Need.SUMMARY
        case HeaderContains(name=name):
            return Need.SUMMARY if _field_name(name) in SUMMARY_FIELDS else Need.HEADER
        case BodyContains(text="") | TextContains(text=""):
            return Need.INFO
        case BodyContains() | TextContains():
            return Need.MESSAGE
    return Need.INFO


def _compile(
    query: Query, leaf: Callable[[Query], Callable[[_Evidence], bool | None]]
) -> Callable[[_Evidence], bool | None]:
    match query:
        case And(queries=queries):
            return _junction([_compile(part, leaf) for part in sorted(queries, key=_needs)], True)
        case Or(queries=queries):
            return _junction([_compile(part, leaf) for part in sorted(queries, key=_needs)], False)
        case Not(query=inner):
            return _negation(_compile(inner, leaf))
    return leaf(query)


def _junction(
    tests: Sequence[Callable[[_Evidence], bool | None]], conjunction: bool
) -> Callable[[_Evidence], bool | None]:
    """All of the tests, or else any of them; one that decides the whole ends it."""
    if len(tests) == 1:
        return tests[0]

    def test(evidence: _Evidence) -> bool | None:
        result: bool | None = conjunction
        for part in tests:
            answer = part(evidence)
            if answer is None:
                result = None
            elif answer is not conjunction:
                return answer
        return result

    return test


def _negation(
    inner: Callable[[_Evidence], bool | None],
) -> Callable[[_Evidence], bool | None]:
    def test(evidence: _Evidence) -> bool | None:
        answer = inner(evidence)
        return None if answer is None else not answer

    return test


def _info_leaf(query: Query) -> Callable[[MessageInfo], bool | None]:
    """A condition on the details of a message; one on anything else is not known."""
    match query:
        case All() | BodyContains(text="") | TextContains(text=""):
            return lambda info: True
        case UIDs(ranges=ranges):
            return _uid_test(ranges)
        case HasFlag(flag=flag):
            return _flag_test(flag)
        case InternalDate(comparison=comparison, date=date):
            start = (date.toordinal() - _EPOCH) * _DAY
            match comparison:
                case Comparison.BEFORE:
                    return lambda info: info.internal_date < start
                case Comparison.ON:
                    return lambda info: start <= info.internal_date < start + _DAY
                case Comparison.SINCE:
                    return lambda info: info.internal_date >= start
        case Larger(octets=octets):
            return lambda info: info.size > octets
        case Smaller(octets=octets):
            return lambda info: info.size < octets
        case ModifiedSince(modseq=modseq):
            return lambda info: info.modseq >= modseq
        case SentDate() | HeaderContains() | BodyContains() | TextContains():
            return lambda info: None
    raise TypeError(f"not a query: {query!r}")


def _uid_test(ranges: Sequence[tuple[int, int]]) -> Callable[[MessageInfo], bool]:
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(ranges):
        if ends and start <= ends[-1] + 1:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)

    def test(info: MessageInfo) -> bool:
        found = bisect_right(starts, info.uid) - 1
        return found >= 0 and info.uid <= ends[found]

    return test


def _flag_test(flag: str) -> Callable[[MessageInfo], bool]:
    # System flags have one spelling in the contracts.
    for system in SYSTEM_FLAGS:
        if flag.lower() == system.lower():
            return lambda info: system in info.flags
    lower = flag.lower()
    return lambda info: flag in info.flags or lower in [known.lower() for known in info.flags]


def _leaf(query: Query) -> Callable[[_Message], bool | None]:
    match query:
        case SentDate(comparison=comparison, date=date):
            return _sent_test(comparison, date)
        case HeaderContains(name=name, text=text):
            return _header_test(_field_name(name), fold(text))
        case BodyContains(text=text) if text:
            needle = fold(text)
            token = _token(needle)
            return lambda message: (
                None if message.data is None else message.contains(needle, token, headers=False)
            )
        case TextContains(text=text) if text:
            return _text_test(fold(text))
    by_info = _info_leaf(query)
    return lambda message: by_info(message.info)


def _sent_test(comparison: Comparison, date: datetime.date) -> Callable[[_Message], bool | None]:
    def test(message: _Message) -> bool:
        value = message.header.get(b"date")
        sent = parse_date(value) if value else None
        if sent is None:
            return False
        match comparison:
            case Comparison.BEFORE:
                return sent.date() < date
            case Comparison.ON:
                return sent.date() == date
            case Comparison.SINCE:
                return sent.date() >= date

    return test


def _header_test(name: bytes, needle: str) -> Callable[[_Message], bool | None]:
    in_summary = name in SUMMARY_FIELDS
    token = _token(needle)

    def test(message: _Message) -> bool | None:
        if not (in_summary or message.complete):
            return None
        if message.data is None and message.lacks(token, headers=True):
            return False
        values = message.header.get_all(name)
        if not needle:
            return bool(values)
        return any(needle in fold(decode_text(value)) for value in values)

    return test


def _text_test(needle: str) -> Callable[[_Message], bool | None]:
    # Lines of a part of the header are not neighbours as in the whole.
    one_line = "\n" not in needle
    token = _token(needle)

    def test(message: _Message) -> bool | None:
        if message.data is not None:
            return message.contains(needle, token, headers=True)
        if message.lacks(token, headers=True):
            return None
        if one_line and needle in fold(header_text(message.header)):
            return True
        return None

    return test


def _field_name(name: str) -> bytes:
    return name.lower().encode("utf-8", "replace")


def _token(needle: str) -> bytes:
    """The longest piece of a folded needle that stands unbroken wherever the needle stands."""
    return max(_BREAKS.split(needle), key=len).encode("utf-8", "replace")


def _plain_octets(octets: Octets, header_alone: bool) -> bytes:
    """The octets in lower case if they are text as they stand, or nothing."""
    if not isinstance(octets, bytes) or not octets.isascii():
        return b""
    lower = octets.lower()
    if header_alone:
        return lower
    for word, plain in (
        (b"content-transfer-encoding", _PLAIN_ENCODING),
        (b"charset", _PLAIN_CHARSET),
    ):
        count = lower.count(word)
        if count and len(plain.findall(lower)) != count:
            return b""
    return lower
