"""Whether a message matches a :mod:`~mailkit.query`: the plain scan that defines every search.

A :class:`Matcher` answers from as little as there is, and says so when that is not enough. Stores
ask it first with the rows of their index, then with header fields that they keep, and open only
the messages that are still undecided.

The caller limits how deep queries are nested.
"""

from __future__ import annotations

import datetime
import enum
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from mailkit.collation import any_contains
from mailkit.folding import find_all, fold, longest_token
from mailkit.mime import (
    Header,
    Octets,
    decode_text,
    has_attachment,
    header_text,
    iter_text,
    parse_header,
    parse_message,
    parse_sent_date,
)
from mailkit.model import SUMMARY_FIELDS, SYSTEM_FLAGS, MessageInfo
from mailkit.query import (
    All,
    And,
    ArrivedSince,
    BodyContains,
    Collation,
    Comparison,
    HasAttachment,
    HasFlag,
    HasObjectID,
    HasSaveDate,
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
    conditions_in,
)
from mailkit.screening import Screen, Sieve, screen
from mailkit.textmap import (
    Needle,
    TextMap,
    find_in_bodies,
    find_in_headers,
    make_needle,
    read_text_map,
)

_Evidence = TypeVar("_Evidence")
_DAY = 24 * 60 * 60
_EPOCH = datetime.date(1970, 1, 1).toordinal()


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
        self._by_message: Callable[[_Message], bool | None] = _compile(query, _strict_leaf)
        self._needles = _Needles(query)
        self._must = _find_must(query)
        self._sieve = None if self._must is None else Sieve(*self._must)

    def by_header(self, info: MessageInfo, header: bytes | Header, complete: bool) -> bool | None:
        """Decide by details and header fields; None when they do not tell.

        :param header: the fields, or their raw octets with or without the empty line.
        :param complete: these are all fields, not just those in ``SUMMARY_FIELDS``.
        """
        return self._by_message(_Message(info, header, complete, None, self._needles))

    def by_message(self, info: MessageInfo, data: Octets, start: int = 0) -> bool:
        """Decide by the whole message.

        :param start: offset of the message in ``data``.
        """
        return bool(self._by_message(_Message(info, data, True, data, self._needles, start)))

    def sift(self, bodies: Sequence[bytes]) -> Collection[int]:
        """The places of those messages among several that may match; of the others it is certain."""
        return range(len(bodies)) if self._sieve is None else self._sieve.sift(bodies)

    def by_body(
        self, info: MessageInfo, data: bytes, texts: TextMap | None
    ) -> tuple[bool, TextMap | None]:
        """Decide by the whole message, and tell what it is worth to keep.

        :param data: the message.
        :param texts: where its texts stand, if that is known.
        :returns: the decision, and where its texts stand if that is known now.
        """
        asks = texts is None and self._must is not None
        look = screen(data, False) if asks else None
        if look is not None and self._must is not None and look.lacks(*self._must):
            return False, None
        message = _Message(info, data, True, data, self._needles)
        message.text_map = texts
        if asks:
            message.keep_look(look)
        return bool(self._by_message(message)), message.text_map


def asks_thread(query: Query) -> bool:
    """Whether the thread of messages is among the conditions."""
    return any(isinstance(each, HasObjectID) and each.thread for each in conditions_in(query))


class _Needles:
    """What a query looks for in the texts of a message, by the folded text."""

    def __init__(self, query: Query) -> None:
        #: In bodies.
        self.body: dict[str, Needle] = {}
        #: In headers and bodies.
        self.text: dict[str, Needle] = {}
        self._collect(query)

    def _collect(self, query: Query) -> None:
        match query:
            case And(queries=queries) | Or(queries=queries):
                for part in queries:
                    self._collect(part)
            case Not(query=inner):
                self._collect(inner)
            case BodyContains(text=text) if text:
                needle = make_needle(text)
                self.body[needle.text] = needle
            case TextContains(text=text) if text:
                needle = make_needle(text)
                self.text[needle.text] = needle


class _Message:
    """What is known of one message; parsed, and its texts folded, once and when first needed."""

    __slots__ = (
        "_header",
        "_header_text",
        "_in_bodies",
        "_in_texts",
        "_needles",
        "_octets",
        "_screen",
        "_screened",
        "_values",
        "complete",
        "data",
        "info",
        "start",
        "text_map",
    )

    def __init__(
        self,
        info: MessageInfo,
        header: Octets | Header,
        complete: bool,
        data: Octets | None,
        needles: _Needles,
        start: int = 0,
    ) -> None:
        self.info = info
        self.complete = complete
        self.data = data
        self._needles = needles
        self.start = start
        if isinstance(header, Header):
            self._octets: Octets = header.octets
            self._header: Header | None = header
        else:
            self._octets = header
            self._header = None
        self.text_map: TextMap | None = None
        self._header_text: str | None = None
        self._values: dict[bytes, list[str]] = {}
        # Needles that were found, once they were looked for.
        self._in_bodies: set[str] | None = None
        self._in_texts: set[str] = set()
        self._screened = False
        # None where only taking the message apart tells anything.
        self._screen: Screen | None = None

    def keep_look(self, look: Screen | None) -> None:
        """Take a look at the octets that was made before."""
        self._screened = True
        self._screen = look

    def lacks(self, token: bytes, headers: bool, name: bytes | None = None) -> bool:
        """Whether a look at the octets shows that no text in them contains the token.

        :param name: only header fields of this name count.
        """
        if not self._screened:
            self._screened = True
            self._screen = screen(self._octets, self.data is None)
        return self._screen is not None and self._screen.lacks(token, headers, name)

    @property
    def header(self) -> Header:
        if self._header is None:
            self._header = parse_header(self._octets, self.start)
        return self._header

    @property
    def header_text(self) -> str:
        """All fields, folded."""
        if self._header_text is None:
            self._header_text = fold(header_text(self.header))
        return self._header_text

    def values(self, name: bytes) -> list[str]:
        """What all fields of a name say, folded."""
        values = self._values.get(name)
        if values is None:
            values = [fold(decode_text(value)) for value in self.header.get_all(name)]
            self._values[name] = values
        return values

    def has_attachment(self) -> bool | None:
        """Whether it carries a file; None where only its parts tell."""
        if self.data is not None:
            return has_attachment(parse_message(self.data, self.start))
        content_type = self.header.get(b"content-type")
        if content_type is None or content_type.lstrip().lower().startswith(b"text/"):
            return False
        return None

    def contains(self, needle: str, headers: bool) -> bool:
        """Whether a text of the message, whose octets are known, contains one of the needles."""
        if self._in_bodies is None:
            self._in_bodies = self._look()
        return needle in (self._in_texts if headers else self._in_bodies)

    def _look(self) -> set[str]:
        """Look for all needles in one go: decoding and folding the texts is what takes time."""
        assert self.data is not None
        if self.text_map is not None:
            return self._look_by_map(self.text_map)
        in_bodies = self._not_lacking(self._needles.body, False)
        in_texts = self._not_lacking(self._needles.text, True)
        if not (in_bodies or in_texts):
            return set()
        data, root = self.data, parse_message(self.data, self.start)
        if isinstance(data, bytes) and not self.start:
            self.text_map = read_text_map(root)
            return self._look_by_map(self.text_map)
        headers = (header_text(part.header) for part in root.walk())
        self._in_texts = find_all(in_texts, headers)
        found = find_all(
            in_bodies | in_texts - self._in_texts, iter_text(data, root, headers=False)
        )
        self._in_texts |= found & in_texts
        return found

    def _look_by_map(self, texts: TextMap) -> set[str]:
        assert isinstance(self.data, bytes)
        in_headers = find_in_headers(self.data, texts, self._needles.text.values())
        left = set(self._needles.text.values()) - in_headers
        found = find_in_bodies(self.data, texts, left.union(self._needles.body.values()))
        self._in_texts = {needle.text for needle in in_headers | found}
        return {needle.text for needle in found}

    def _not_lacking(self, needles: Mapping[str, Needle], headers: bool) -> set[str]:
        return {text for text, needle in needles.items() if not self.lacks(needle.token, headers)}


def _find_must(query: Query) -> tuple[bytes, bool] | None:
    """A token without which no message matches, and whether it may stand in headers."""
    match query:
        case And(queries=queries):
            return next(filter(None, map(_find_must, queries)), None)
        case BodyContains(text=text) | TextContains(text=text) if token := make_needle(text).token:
            return token, isinstance(query, TextContains)
    return None


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
        case BodyContains() | TextContains() | HasAttachment():
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
            return _day_test(comparison, date, lambda info: info.internal_date)
        case SaveDate(comparison=comparison, date=date):
            return _day_test(comparison, date, _save_date)
        case HasSaveDate():
            return lambda info: info.save_date is not None
        case HasObjectID(object_id=object_id, thread=True):
            return lambda info: info.thread_id == object_id
        case HasObjectID(object_id=object_id):
            return lambda info: info.email_id == object_id
        case ArrivedSince(time=time):
            return lambda info: info.internal_date >= time
        case Larger(octets=octets):
            return lambda info: info.size > octets
        case Smaller(octets=octets):
            return lambda info: info.size < octets
        case ModifiedSince(modseq=modseq):
            return lambda info: info.modseq >= modseq
        case SentDate() | HeaderContains() | BodyContains() | TextContains() | HasAttachment():
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
            return lambda message: (
                None if message.data is None else message.contains(needle, headers=False)
            )
        case TextContains(text=text) if text:
            return _text_test(fold(text))
        case HasAttachment():
            return _Message.has_attachment
    by_info = _info_leaf(query)
    return lambda message: by_info(message.info)


def _strict_leaf(query: Query) -> Callable[[_Message], bool | None]:
    """A condition whose text may be compared more strictly than by folding."""
    test = _leaf(query)
    match query:
        case HeaderContains() | BodyContains() | TextContains():
            if query.collation is Collation.UNICODE_CASEMAP or not query.text:
                return test
            contains = _strictly(query)
            # Folding finds all that there is to find, and mostly less of it has to be looked at.
            return lambda message: contains(message) if (found := test(message)) else found
    return test


def _strictly(
    query: HeaderContains | BodyContains | TextContains,
) -> Callable[[_Message], bool | None]:
    text, collation = query.text, query.collation

    def test(message: _Message) -> bool | None:
        if isinstance(query, HeaderContains):
            fields = message.header.get_all(_field_name(query.name))
            return any_contains(map(decode_text, fields), text, collation)
        if message.data is None:
            return any_contains([header_text(message.header)], text, collation) or None
        root = parse_message(message.data, message.start)
        if isinstance(query, TextContains):
            headers = (header_text(part.header) for part in root.walk())
            if any_contains(headers, text, collation):
                return True
        return any_contains(iter_text(message.data, root, headers=False), text, collation)

    return test


def _save_date(info: MessageInfo) -> int:
    return info.internal_date if info.save_date is None else info.save_date


def _day_test(
    comparison: Comparison, date: datetime.date, time: Callable[[MessageInfo], int]
) -> Callable[[MessageInfo], bool]:
    start = (date.toordinal() - _EPOCH) * _DAY
    match comparison:
        case Comparison.BEFORE:
            return lambda info: time(info) < start
        case Comparison.ON:
            return lambda info: start <= time(info) < start + _DAY
        case Comparison.SINCE:
            return lambda info: time(info) >= start


def _sent_test(comparison: Comparison, date: datetime.date) -> Callable[[_Message], bool | None]:
    def test(message: _Message) -> bool:
        value = message.header.get(b"date")
        sent = parse_sent_date(value) if value else None
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
    token = longest_token(needle)

    def test(message: _Message) -> bool | None:
        if not (in_summary or message.complete):
            return None
        if message.data is None and message.lacks(token, True, name):
            return False
        if not needle:
            return bool(message.header.get_all(name))
        return any(needle in value for value in message.values(name))

    return test


def _text_test(needle: str) -> Callable[[_Message], bool | None]:
    # Lines of a part of the header are not neighbours as in the whole.
    one_line = "\n" not in needle
    token = longest_token(needle)

    def test(message: _Message) -> bool | None:
        if message.data is not None:
            return message.contains(needle, headers=True)
        if message.lacks(token, headers=True):
            return None
        if one_line and needle in message.header_text:
            return True
        return None

    return test


def _field_name(name: str) -> bytes:
    return name.lower().encode("utf-8", "replace")
