"""A search, as a tree that any backend can read: no sequence numbers, no charsets, no octets.

IMAP's SEARCH is turned into this (RFC 3501 section 6.4.4); a backend that provides
:class:`~mailkit.interfaces.ISearchableMailbox` gets it as it is, for any other the protocol
looks at the messages itself.
"""

from __future__ import annotations

import datetime
import enum
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Query:
    """A condition on one message."""

    __slots__ = ()


@dataclass(frozen=True)
class All(Query):
    """Every message."""


@dataclass(frozen=True)
class And(Query):
    """All of the conditions; true when there is none."""

    queries: Sequence[Query]


@dataclass(frozen=True)
class Or(Query):
    """At least one of the conditions."""

    queries: Sequence[Query]


@dataclass(frozen=True)
class Not(Query):
    """The condition does not hold."""

    query: Query


def conditions_in(query: Query) -> Iterator[Query]:
    """All that is asked of a message, without what joins or denies it."""
    match query:
        case And(queries=queries) | Or(queries=queries):
            for part in queries:
                yield from conditions_in(part)
        case Not(query=inner):
            yield from conditions_in(inner)
        case _:
            yield query


@dataclass(frozen=True)
class UIDs(Query):
    """The message's UID lies in one of the ranges, both ends included."""

    ranges: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class HasFlag(Query):
    """The flag is set; keywords compare without regard to case."""

    flag: str


class Comparison(enum.Enum):
    """Relation of a message's value to the query's."""

    BEFORE = "<"
    ON = "="
    SINCE = ">="


@dataclass(frozen=True)
class InternalDate(Query):
    """Compare the day of arrival (UTC), time of day disregarded."""

    comparison: Comparison
    date: datetime.date


@dataclass(frozen=True)
class ArrivedSince(Query):
    """The message arrived at this time or later, to the second."""

    #: Seconds since the epoch, UTC.
    time: int
    #: The client has named an age: asked later, it means another time.
    by_age: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class SentDate(Query):
    """Compare the day of the Date header field as written there, zone disregarded."""

    comparison: Comparison
    date: datetime.date


@dataclass(frozen=True)
class SaveDate(Query):
    """Compare the day (UTC) on which the message was put into the mailbox (RFC 8514 section 4.3).

    Where that is not known, the day of arrival counts.
    """

    comparison: Comparison
    date: datetime.date


@dataclass(frozen=True)
class HasSaveDate(Query):
    """It is known when the message was put into the mailbox."""


@dataclass(frozen=True)
class HasObjectID(Query):
    """The message has this EMAILID or THREADID (RFC 8474 section 6)."""

    object_id: str
    #: It is the THREADID that counts.
    thread: bool = False


@dataclass(frozen=True)
class HasAttachment(Query):
    """The message carries a file: :func:`mailkit.mime.has_attachment`."""


@dataclass(frozen=True)
class Larger(Query):
    """The message has more octets than this."""

    octets: int


@dataclass(frozen=True)
class Smaller(Query):
    """The message has fewer octets than this."""

    octets: int


@dataclass(frozen=True)
class ModifiedSince(Query):
    """The message's modification sequence is at least this (RFC 7162 section 3.1.5)."""

    modseq: int


class Collation(enum.Enum):
    """How texts are compared (RFC 4790)."""

    #: Without regard to case (RFC 5051), and a little more that is equal to people.
    UNICODE_CASEMAP = "i;unicode-casemap"
    #: Without regard to the case of ASCII letters.
    ASCII_CASEMAP = "i;ascii-casemap"
    #: Exactly.
    OCTET = "i;octet"

    # Looked for once a text, and the hash of Enum is slow.
    __hash__ = object.__hash__


@dataclass(frozen=True)
class HeaderContains(Query):
    """A header field of that name, decoded, contains the text; an empty text: the field exists.

    What a stricter collation finds, UNICODE_CASEMAP finds too: an index may be made for that one.
    """

    name: str
    text: str
    collation: Collation = Collation.UNICODE_CASEMAP


@dataclass(frozen=True)
class BodyContains(Query):
    """A text part of the body, decoded, contains the text."""

    text: str
    collation: Collation = Collation.UNICODE_CASEMAP


@dataclass(frozen=True)
class TextContains(Query):
    """The header or a text part of the body, decoded, contains the text."""

    text: str
    collation: Collation = Collation.UNICODE_CASEMAP


class SortKey(enum.Enum):
    """What messages are sorted by (RFC 5256 section 3, RFC 5957 section 4)."""

    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    DISPLAYFROM = "DISPLAYFROM"
    DISPLAYTO = "DISPLAYTO"
    FROM = "FROM"
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"

    # Looked for once a message, and the hash of Enum is slow.
    __hash__ = object.__hash__


class SortCriterion(NamedTuple):
    """One criterion of a sort; what is equal by all of them stays in mailbox order."""

    key: SortKey
    reverse: bool = False


class ThreadAlgorithm(enum.Enum):
    """How messages are put into threads."""

    #: By base subject alone (RFC 5256 section 3).
    ORDEREDSUBJECT = "ORDEREDSUBJECT"
    #: By the ancestors that messages name, then by base subject (RFC 5256 section 3).
    REFERENCES = "REFERENCES"
    #: By the ancestors alone, threads by the date of their latest message (draft-ietf-morg-inthread).
    REFS = "REFS"


class Threads(NamedTuple):
    """Threads, one behind the other; the sequences run in parallel.

    A message stands before those that answer it, which are one deeper.
    """

    #: 0 stands for a message that is not there, and whose answers are; at depth 0 alone.
    uids: array[int]
    #: 0 begins a thread.
    depths: array[int]
