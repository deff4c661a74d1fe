"""SEARCH: keys to a query, and the charset of their strings (RFC 3501 section 6.4.4). No I/O.

A query knows neither sequence numbers nor \\Recent: both are turned into UIDs here.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from mailkit import query
from mailkit.errors import BadCharset, MailError
from mailkit.imap.annotate import CAPABILITY, read_key
from mailkit.imap.filters import MAX_OCTETS, MAX_PASSES, UndefinedFilter, read_name
from mailkit.imap.fuzzy import forgiving
from mailkit.imap.gmail_query import parse_gmail_query
from mailkit.imap.grammar import MAX_NUMBER, SAVED, STAR, Arguments, SequenceSet, SyntaxFault
from mailkit.imap.labels import has_label, read_label
from mailkit.imap.spans import Spans, merge
from mailkit.imap.state import SelectedState
from mailkit.model import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from mailkit.query import Comparison, Query

#: Keys inside of keys.
MAX_DEPTH = 100
#: Keys of one command.
MAX_KEYS = 1000
#: Octets of one string that is searched for.
MAX_STRING = 8 * 1024
#: Octets of a charset's name.
MAX_CHARSET = 64

#: Python's text codecs that are no charsets, or decode in more than linear time.
_NO_CHARSETS = frozenset(("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"))

_FLAG_KEYS: Mapping[bytes, tuple[str, bool]] = {
    b"ANSWERED": (ANSWERED, True),
    b"DELETED": (DELETED, True),
    b"DRAFT": (DRAFT, True),
    b"FLAGGED": (FLAGGED, True),
    b"SEEN": (SEEN, True),
    b"UNANSWERED": (ANSWERED, False),
    b"UNDELETED": (DELETED, False),
    b"UNDRAFT": (DRAFT, False),
    b"UNFLAGGED": (FLAGGED, False),
    b"UNSEEN": (SEEN, False),
}
# RFC 8474 section 7
_OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}")

_HEADER_KEYS: Mapping[bytes, str] = {
    b"BCC": "Bcc",
    b"CC": "Cc",
    b"FROM": "From",
    b"SUBJECT": "Subject",
    b"TO": "To",
}
_Dated: TypeAlias = query.InternalDate | query.SaveDate | query.SentDate
_DATE_KEYS: Mapping[bytes, tuple[type[_Dated], Comparison]] = {
    b"BEFORE": (query.InternalDate, Comparison.BEFORE),
    b"ON": (query.InternalDate, Comparison.ON),
    b"SINCE": (query.InternalDate, Comparison.SINCE),
    b"SAVEDBEFORE": (query.SaveDate, Comparison.BEFORE),
    b"SAVEDON": (query.SaveDate, Comparison.ON),
    b"SAVEDSINCE": (query.SaveDate, Comparison.SINCE),
    b"SENTBEFORE": (query.SentDate, Comparison.BEFORE),
    b"SENTON": (query.SentDate, Comparison.ON),
    b"SENTSINCE": (query.SentDate, Comparison.SINCE),
}


def parse_search(
    arguments: Arguments,
    state: SelectedState,
    now: float,
    offers: Callable[[bytes], bool],
    filters: Mapping[str, bytes] | None,
) -> Query:
    """``[CHARSET name] key key ...`` as one query.

    :param now: seconds since the epoch.
    :param offers: tells whether a capability is offered.
    :param filters: what FILTER stands for, by name in lower case; None not to look.
    :raises BadCharset: the charset is not known here, or the strings are not in it.
    :raises UndefinedFilter: a filter does not exist.
    """
    # lenient: RFC 3501 section 6.4.4 has US-ASCII here, and clients send UTF-8 all the same.
    charset = "utf-8"
    if arguments.accept_word(b"CHARSET"):
        arguments.space()
        charset = find_charset(arguments.astring("A charset"))
        arguments.space()
    return _Parser(arguments, state, charset, int(now), offers, filters).all_keys(0)


def parse_criteria_search(
    arguments: Arguments,
    state: SelectedState,
    now: float,
    offers: Callable[[bytes], bool],
    filters: Mapping[str, bytes] | None,
) -> Query:
    """``charset key key ...``, as SORT and THREAD have it (RFC 5256 section 5)."""
    charset = find_charset(arguments.astring("A charset"))
    arguments.space()
    return _Parser(arguments, state, charset, int(now), offers, filters).all_keys(0)


def find_charset(name: bytes) -> str:
    """The name of Python's codec for a charset.

    :raises BadCharset: there is none.
    """
    try:
        if len(name) > MAX_CHARSET:
            raise LookupError
        codec = codecs.lookup(name.decode("ascii"))
    except (LookupError, ValueError):
        raise BadCharset from None
    # No public way tells text codecs from others such as zlib.
    if not codec._is_text_encoding or codec.name.replace("-", "_") in _NO_CHARSETS:
        raise BadCharset
    return codec.name


def conjunction(keys: list[Query]) -> Query:
    """All of the keys."""
    return keys[0] if len(keys) == 1 else query.And(tuple(keys))


class _Parser:
    """Reads search keys."""

    def __init__(
        self,
        arguments: Arguments,
        state: SelectedState,
        charset: str,
        now: int,
        offers: Callable[[bytes], bool],
        filters: Mapping[str, bytes] | None,
    ) -> None:
        self.arguments = arguments
        self.state = state
        self.charset = charset
        self.now = now
        self.offers = offers
        self.filters = filters
        self.keys = 0
        self.depth = 0
        #: Names of the filters that are being read, each within the one before.
        self.passes: list[str] = []
        self.filter_octets = 0

    def all_keys(self, depth: int) -> Query:
        """All keys up to the end."""
        keys = [self.key(depth)]
        while not self.arguments.at_end():
            self.arguments.space()
            keys.append(self.key(depth))
        return conjunction(keys)

    def key(self, depth: int) -> Query:
        """One search key.

        :param depth: keys around it.
        """
        arguments = self.arguments
        self.keys += 1
        if depth > MAX_DEPTH or self.keys > MAX_KEYS:
            raise SyntaxFault("The search is too complex")
        if arguments.looking_at(b"("):
            return conjunction(arguments.parenthesized(lambda: self.key(depth + 1)))
        if arguments.at_sequence_set():
            if self.state.uid_only and not arguments.looking_at(b"$"):
                raise SyntaxFault("Messages have no numbers any more: use UID", b"UIDREQUIRED")
            return self.uids(self.state.clamp_numbers(arguments.sequence_set()))
        name = arguments.word("A search key")
        if name in _FLAG_KEYS:
            flag, is_set = _FLAG_KEYS[name]
            return query.HasFlag(flag) if is_set else query.Not(query.HasFlag(flag))
        if name == b"NOT":
            arguments.space()
            return query.Not(self.key(depth + 1))
        if name == b"OR":
            arguments.space()
            first = self.key(depth + 1)
            arguments.space()
            return query.Or((first, self.key(depth + 1)))
        if name == b"FUZZY" and self._is_on(name):
            arguments.space()
            return forgiving(self.key(depth + 1))
        read = _KEYS.get(name)
        if read is None or not self._is_on(name):
            raise SyntaxFault(f"{name.decode('ascii')} is not a search key")
        self.depth = depth
        return read(self, name)

    def _is_on(self, name: bytes) -> bool:
        extension = _EXTENSIONS.get(name)
        return extension is None or self.offers(extension)

    # What keys are made of.

    def string(self) -> str:
        """A string in the command's charset."""
        self.arguments.space()
        return self.decode(self.arguments.astring("A string to search for"))

    def decode(self, octets: bytes) -> str:
        """Octets in the command's charset."""
        if len(octets) > MAX_STRING:
            raise SyntaxFault(f"A string to search for has at most {MAX_STRING} octets")
        try:
            return octets.decode(self.charset)
        except ValueError:
            raise BadCharset("A string is not valid in its charset") from None

    def uids(self, spans: Spans) -> Query:
        """The messages at some positions."""
        view = self.state.uids
        return query.UIDs(tuple((view[start], view[stop - 1]) for start, stop in spans))

    def all(self, name: bytes) -> Query:
        return query.All()

    def filter(self, name: bytes) -> Query:
        """RFC 5466 section 3.1: what a filter has stands in its place.

        It stands there as if it had parentheses: NOT and OR take a filter as one key.
        """
        self.arguments.space()
        called = read_name(self.arguments)
        if self.charset not in ("utf-8", "ascii"):
            raise SyntaxFault("Filters are in UTF-8", b"BADCHARSET (UTF-8)")
        if self.filters is None:
            return query.All()
        key = called.decode("ascii").lower()
        value = self.filters.get(key)
        if value is None or key in self.passes or len(self.passes) >= MAX_PASSES:
            raise UndefinedFilter(called)
        self.filter_octets += len(value)
        if self.filter_octets > MAX_OCTETS:
            raise SyntaxFault("The search is too complex")
        outer, charset = self.arguments, self.charset
        self.arguments, self.charset = Arguments(value), "utf-8"
        self.passes.append(key)
        try:
            return self.all_keys(self.depth + 1)
        except SyntaxFault as fault:
            raise MailError(f"The filter {key} is no search: {fault.text}") from None
        finally:
            self.passes.pop()
            self.arguments, self.charset = outer, charset

    def recent(self, name: bytes) -> Query:
        recent = query.UIDs(self.state.recent)
        if name == b"NEW":
            # RFC 3501 section 6.4.4: functionally equivalent to (RECENT UNSEEN).
            return query.And((recent, query.Not(query.HasFlag(SEEN))))
        return query.Not(recent) if name == b"OLD" else recent

    def date(self, name: bytes) -> Query:
        self.arguments.space()
        condition, comparison = _DATE_KEYS[name]
        return condition(comparison, self.arguments.date())

    def within(self, name: bytes) -> Query:
        # RFC 5032 section 2: both include the very second.
        self.arguments.space()
        time = self.now - self.arguments.nonzero_number()
        if name == b"YOUNGER":
            return query.ArrivedSince(time, by_age=True)
        return query.Not(query.ArrivedSince(time + 1, by_age=True))

    def modseq(self, name: bytes) -> Query:
        arguments = self.arguments
        arguments.space()
        if arguments.looking_at(b'"'):
            # RFC 7162 section 3.1.5: there is one modification sequence for all of a message.
            if not arguments.string().lower().startswith(b"/flags/"):
                raise SyntaxFault('MODSEQ takes the name of a flag such as "/flags/$Junk"')
            arguments.space()
            if arguments.word("A kind of flag") not in (b"PRIV", b"SHARED", b"ALL"):
                raise SyntaxFault("MODSEQ takes priv, shared or all behind a flag")
            arguments.space()
        return query.ModifiedSince(arguments.number64())

    def has_save_date(self, name: bytes) -> Query:
        return query.HasSaveDate()

    def object_id(self, name: bytes) -> Query:
        self.arguments.space()
        octets = self.arguments.atom("An object identifier")
        if not _OBJECT_ID.fullmatch(octets):
            raise SyntaxFault("An object identifier has letters, digits, '_' and '-'")
        return query.HasObjectID(octets.decode("ascii"), thread=name == b"THREADID")

    def gmail_number(self, name: bytes) -> Query:
        self.arguments.space()
        thread = name == b"X-GM-THRID"
        number = self.arguments.number64()
        return query.HasObjectID(f"{'T' if thread else 'M'}{number:x}", thread=thread)

    def label(self, name: bytes) -> Query:
        self.arguments.space()
        return has_label(read_label(self.arguments))

    def gmail_query(self, name: bytes) -> Query:
        return parse_gmail_query(self.string(), self.now)

    def field(self, name: bytes) -> Query:
        return query.HeaderContains(_HEADER_KEYS[name], self.string())

    def header(self, name: bytes) -> Query:
        self.arguments.space()
        field = self.arguments.astring("A field name")
        return query.HeaderContains(field.decode("utf-8", "replace"), self.string())

    def text(self, name: bytes) -> Query:
        text = self.string()
        return query.BodyContains(text) if name == b"BODY" else query.TextContains(text)

    def keyword(self, name: bytes) -> Query:
        self.arguments.space()
        flag = query.HasFlag(self.arguments.atom("A keyword").decode("ascii"))
        return flag if name == b"KEYWORD" else query.Not(flag)

    def annotation(self, name: bytes) -> Query:
        self.arguments.space()
        return read_key(self.arguments, self.decode)

    def size(self, name: bytes) -> Query:
        self.arguments.space()
        octets = self.arguments.number64()
        return query.Larger(octets) if name == b"LARGER" else query.Smaller(octets)

    def beside_uid(self, name: bytes) -> Query:
        """RFC 9738 section 3.2"""
        self.arguments.space()
        uid = self.arguments.nonzero_number()
        after = name == b"UIDAFTER"
        low, high = (uid + 1, MAX_NUMBER) if after else (1, uid - 1)
        return query.UIDs(((low, high),) if low <= high else ())

    def uid(self, name: bytes) -> Query:
        self.arguments.space()
        return query.UIDs(uid_ranges(self.arguments.sequence_set(), self.state))


_KEYS: Mapping[bytes, Callable[[_Parser, bytes], Query]] = {
    b"ALL": _Parser.all,
    b"RECENT": _Parser.recent,
    b"NEW": _Parser.recent,
    b"OLD": _Parser.recent,
    b"HEADER": _Parser.header,
    b"FILTER": _Parser.filter,
    b"BODY": _Parser.text,
    b"TEXT": _Parser.text,
    b"ANNOTATION": _Parser.annotation,
    b"KEYWORD": _Parser.keyword,
    b"UNKEYWORD": _Parser.keyword,
    b"LARGER": _Parser.size,
    b"SMALLER": _Parser.size,
    b"UID": _Parser.uid,
    b"UIDAFTER": _Parser.beside_uid,
    b"UIDBEFORE": _Parser.beside_uid,
    b"EMAILID": _Parser.object_id,
    b"THREADID": _Parser.object_id,
    b"SAVEDATESUPPORTED": _Parser.has_save_date,
    b"X-GM-MSGID": _Parser.gmail_number,
    b"X-GM-THRID": _Parser.gmail_number,
    b"X-GM-LABELS": _Parser.label,
    b"X-GM-RAW": _Parser.gmail_query,
    b"MODSEQ": _Parser.modseq,
    b"OLDER": _Parser.within,
    b"YOUNGER": _Parser.within,
    **dict.fromkeys(_DATE_KEYS, _Parser.date),
    **dict.fromkeys(_HEADER_KEYS, _Parser.field),
}


#: Keys that a capability brings.
_EXTENSIONS: Mapping[bytes, bytes] = {
    b"ANNOTATION": CAPABILITY,
    b"FUZZY": b"SEARCH=FUZZY",
    b"OLDER": b"WITHIN",
    b"YOUNGER": b"WITHIN",
    b"MODSEQ": b"CONDSTORE",
    b"FILTER": b"FILTERS",
    b"EMAILID": b"OBJECTID",
    b"THREADID": b"OBJECTID",
    b"SAVEDATESUPPORTED": b"SAVEDATE",
    b"UIDAFTER": b"MESSAGELIMIT",
    b"UIDBEFORE": b"MESSAGELIMIT",
    b"SAVEDBEFORE": b"SAVEDATE",
    b"SAVEDON": b"SAVEDATE",
    b"SAVEDSINCE": b"SAVEDATE",
    **dict.fromkeys((b"X-GM-MSGID", b"X-GM-THRID", b"X-GM-LABELS", b"X-GM-RAW"), b"X-GM-EXT-1"),
}


def uid_ranges(ranges: SequenceSet, state: SelectedState) -> tuple[tuple[int, int], ...]:
    """A set of UIDs with ``*`` put in, sorted and joined, both ends included."""
    if ranges is SAVED:
        spans = [(uid, uid + 1) for uid in state.saved]
        return tuple((start, stop - 1) for start, stop in merge(spans))
    last = state.uids[-1] if state.uids else 0
    spans = []
    for low, high in ranges:
        first = last if low == STAR else low
        end = last if high == STAR else high
        if first > end:
            first, end = end, first
        if end:
            spans.append((max(first, 1), min(end, MAX_NUMBER) + 1))
    return tuple((start, stop - 1) for start, stop in merge(spans))
