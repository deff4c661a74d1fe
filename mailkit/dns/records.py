"""What a resolver answers."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias


class RecordType(enum.Enum):
    """Types of records that mail is about; the values are those of the protocol."""

    A = 1
    CNAME = 5
    PTR = 12
    MX = 15
    TXT = 16
    AAAA = 28
    TLSA = 52


class MX(NamedTuple):
    """A mail exchanger (RFC 1035 section 3.3.9). An empty exchange means no mail (RFC 7505)."""

    preference: int
    exchange: str


class TLSA(NamedTuple):
    """A certificate association (RFC 6698 section 2.1)."""

    usage: int
    selector: int
    matching_type: int
    data: bytes


#: An address in its shortest form (A, AAAA); a name without the last dot (CNAME, PTR); a text, its
#: strings put together, octets that are not UTF-8 as surrogate escapes (TXT).
Record: TypeAlias = str | MX | TLSA


class Answer(NamedTuple):
    """The records of one type that a name has."""

    records: Sequence[Record] = ()
    #: Seconds for which the answer holds.
    ttl: int = 0
    #: False when there is no such name at all (NXDOMAIN).
    exists: bool = True
    #: A resolver that is believed says that DNSSEC proves the answer, aliases included (RFC 4035
    #: section 3.2.3).
    authenticated: bool = False
    #: The name that aliases (CNAME) lead to; empty where the name that was asked for is none.
    canonical: str = ""
