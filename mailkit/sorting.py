"""What messages are sorted and threaded by, taken from their header fields (RFC 5256, RFC 5957).

Stores that sort by themselves keep :class:`SortValues` in their index; for the others the protocol
reads the fields and sorts here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from mailkit.collation import collate
from mailkit.mime import (
    Address,
    decode_text,
    message_id,
    parse_addresses,
    parse_date,
    parse_header,
    references,
    split_subject,
)
from mailkit.mime.words import decode_raw
from mailkit.model import MessageInfo
from mailkit.query import Collation, SortCriterion, SortKey

#: Characters of a text that count.
MAX_SORT_TEXT = 1000
#: Values that are sorted in one go: some milliseconds.
RUN = 8192

# A time at the end of a date that is a date without it.
_TIME_OF_DAY = re.compile(rb"\s\d{1,2}\s?[:.]\s?\d.*", re.DOTALL)

#: Values of one criterion in the order of the messages: all int, or all bytes.
Column: TypeAlias = list[Any]


class SortValues(NamedTuple):
    """What one header says. Texts are collated, empty where nothing is said."""

    #: Sent date (section 2.2) in seconds since the epoch; None where the internal date counts.
    sent: int | None
    #: The base subject.
    subject: bytes
    #: The subject is that of a reply or a forward.
    is_reply: bool
    # The local part of the first address.
    from_: bytes
    to: bytes
    cc: bytes
    # The name of the first address, or else the address.
    display_from: bytes
    display_to: bytes
    #: A number that stands for the base subject, 0 for an empty one.
    subject_id: int
    #: Numbers that stand for the message's own identifier (0 if there is none) and those of its
    #: ancestors, oldest first.
    ids: tuple[int, ...]


def read_sort_values(fields: bytes, collation: Collation = Collation.UNICODE_CASEMAP) -> SortValues:
    """Take the values out of a header, or of those fields of it that a summary has.

    :param collation: how texts compare; what a store keeps is by the default.
    """

    def collated_text(text: str) -> bytes:
        return collate(text[:MAX_SORT_TEXT], collation)

    header = parse_header(fields)
    subject, is_reply = split_subject(decode_text(header.get(b"subject") or b""))
    author = _first_address(header.get(b"from"))
    recipient = _first_address(header.get(b"to"))
    copied = _first_address(header.get(b"cc"))
    own = message_id(header)
    collated = collated_text(subject)
    return SortValues(
        sent_time(header.get(b"date")),
        collated,
        is_reply,
        collated_text(_local_part(author)),
        collated_text(_local_part(recipient)),
        collated_text(_local_part(copied)),
        collated_text(_display(author)),
        collated_text(_display(recipient)),
        id_number(collated) if collated else 0,
        (id_number(own) if own else 0, *map(id_number, references(header))),
    )


def sent_time(value: bytes | None) -> int | None:
    """The sent date of a Date field in seconds since the epoch; None for what is no date."""
    if not value:
        return None
    # RFC 5256 section 2.2: if the time is invalid, it is 00:00:00.
    moment = parse_date(value) or parse_date(_TIME_OF_DAY.sub(b"", value))
    return None if moment is None else int(moment.timestamp())


def id_number(octets: bytes) -> int:
    """A number that stands for a message identifier or a subject: 63 bits of a hash, never 0."""
    digest = hashlib.blake2b(octets, digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def _first_address(value: bytes | None) -> Address | None:
    return next(iter(parse_addresses(value, limit=1)), None) if value else None


def _local_part(address: Address | None) -> str:
    if address is None or not address.local_part:
        return ""
    return decode_raw(address.local_part)


def _display(address: Address | None) -> str:
    """RFC 5957 section 3"""
    if address is None:
        return ""
    name = decode_text(address.display_name) if address.display_name else ""
    if not name and address.local_part:
        name = decode_raw(address.local_part)
        if address.domain:
            name = f"{name}@{decode_raw(address.domain)}"
    return name


# Sorting.

_FIELDS = {
    SortKey.CC: "cc",
    SortKey.DISPLAYFROM: "display_from",
    SortKey.DISPLAYTO: "display_to",
    SortKey.FROM: "from_",
    SortKey.SUBJECT: "subject",
    SortKey.TO: "to",
}
#: Keys that compare texts.
TEXTS = frozenset(_FIELDS)
#: Keys for which a message's details suffice.
DETAILS = frozenset((SortKey.ARRIVAL, SortKey.SIZE))


def sort_value(key: SortKey, info: MessageInfo, values: SortValues | None) -> int | bytes:
    """What counts of a message.

    :param values: not needed for the keys in :data:`DETAILS`.
    """
    if key is SortKey.ARRIVAL:
        return info.internal_date
    if key is SortKey.SIZE:
        return info.size
    assert values is not None
    if key is SortKey.DATE:
        return info.internal_date if values.sent is None else values.sent
    found: bytes = getattr(values, _FIELDS[key])
    return found


def sort_steps(
    uids: Sequence[int], criteria: Sequence[SortCriterion], columns: Sequence[Column]
) -> Iterator[list[int] | None]:
    """Sort messages in steps of a few milliseconds; the last one gives their UIDs in order.

    :param uids: in mailbox order.
    :param columns: for each criterion, the values of the messages.
    """
    order = list(range(len(uids)))
    # The least criterion first: what it leaves equal keeps its place in the sorts that follow.
    for (_, reverse), column in zip(reversed(criteria), reversed(columns), strict=True):
        runs = []
        for start in range(0, len(order), RUN):
            run = order[start : start + RUN]
            run.sort(key=column.__getitem__, reverse=reverse)
            runs.append(run)
            yield None
        while len(runs) > 1:
            merged = []
            for start in range(0, len(runs), 2):
                # Two sorted runs: that takes linear time.
                run = [number for part in runs[start : start + 2] for number in part]
                run.sort(key=column.__getitem__, reverse=reverse)
                merged.append(run)
                yield None
            runs = merged
        order = runs[0] if runs else []
    yield [uids[number] for number in order]
