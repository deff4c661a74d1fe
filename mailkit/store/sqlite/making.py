"""Making what is kept of messages: summaries, texts, values for sorting, maps of texts.

Nothing here knows of the index or of Twisted: the store's helper (see
:mod:`~mailkit.store.sqlite.helper`) makes the same in a process of its own.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from mailkit.errors import StoreCorrupt
from mailkit.fieldtexts import encode_field_texts, encode_found_texts
from mailkit.mime import (
    Header,
    Octets,
    Part,
    bodystructure_octets,
    parse_header,
    parse_message,
    read_bodystructure,
    summarize_fields,
    summarize_header,
)
from mailkit.model import SUMMARY_FIELDS
from mailkit.sorting import read_address_values, read_thread_values
from mailkit.store.sqlite.bodies import (
    SMALL_BODY,
    BodyFiles,
    BodyPlace,
    Cold,
    find_body,
)
from mailkit.store.sqlite.heads import HEAD_OCTETS, MAX_GAP, SPAN_OCTETS, read_header, read_heads
from mailkit.textmap import encode_text_map, read_text_map

#: Octets of a summary that is kept; a longer one is made each time.
MAX_KEPT = 256 * 1024


class Summary(NamedTuple):
    """What is kept of a body."""

    envelope: bytes
    #: Empty as long as it is not made.
    body_structure: bytes
    header: bytes

    @property
    def size(self) -> int:
        return len(self.envelope) + len(self.body_structure) + len(self.header)


#: What is known where nothing but the structure is wanted.
STRUCTURE_ALONE = Summary(b"", b"", b"")
#: The same where nothing of a summary is.
NO_SUMMARY = Summary(b"", b"NIL", b"")


class Job(NamedTuple):
    """A summary that is to be made."""

    place: BodyPlace
    #: What was made before.
    known: Summary | None = None


class Span(NamedTuple):
    """Jobs for bodies of one segment that lie so close that they are read together."""

    jobs: list[Job]
    #: Offsets of what is read; both 0 for a large body, which is mapped to memory.
    begin: int
    end: int


#: A summary, or why there is none: :class:`Cold` when that would take long.
Outcome: TypeAlias = Summary | FileNotFoundError | StoreCorrupt | Cold


def make_spans(jobs: Iterable[Job], structure: bool) -> Iterator[Span]:
    """Put jobs together."""
    span = Span([], 0, 0)
    for job in sorted(jobs, key=_position):
        place = job.place
        if structure and place.size > SMALL_BODY:
            yield Span([job], 0, 0)
            continue
        end = place.start + (place.size if structure else min(place.size, HEAD_OCTETS))
        if (
            span.jobs
            and span.jobs[0].place.segment == place.segment
            and place.position - span.end <= MAX_GAP
            and end - span.begin <= SPAN_OCTETS
        ):
            span.jobs.append(job)
            span = Span(span.jobs, span.begin, end)
            continue
        if span.jobs:
            yield span
        span = Span([job], place.position, end)
    if span.jobs:
        yield span


def _position(job: Job) -> tuple[int, int]:
    return job.place.segment, job.place.position


#: Is shown each message that is taken apart, and the offset of its first octet.
Look: TypeAlias = Callable[[BodyPlace, Part, int], object]


def make_summaries(
    bodies: BodyFiles,
    span: Span,
    structure: bool,
    nowait: bool = False,
    look: Look | None = None,
) -> Iterator[tuple[Job, Outcome]]:
    """Read messages and make their summaries, or what lacks of them.

    :param structure: with BODYSTRUCTURE.
    :param nowait: don't wait for the disk, and leave large bodies alone.
    :param look: where more than summaries is wanted.
    """
    data = b""
    if span.end:
        try:
            segment = span.jobs[0].place.segment
            data = bodies.read_range(segment, span.begin, span.end, nowait=nowait)
        except (FileNotFoundError, Cold) as error:
            for job in span.jobs:
                yield job, error
            return
    for job in span.jobs:
        outcome: Outcome
        try:
            if not span.end:
                outcome = _summarize_large(bodies, job, nowait, look)
            elif structure:
                start = find_body(data, span.begin, job.place)
                outcome = _with_structure(data, start, start + job.place.size, job, look)
            else:
                outcome = from_header(read_header(bodies, job.place, data, span.begin, nowait))
        except (FileNotFoundError, StoreCorrupt, Cold) as error:
            outcome = error
        yield job, outcome


def _summarize_large(bodies: BodyFiles, job: Job, nowait: bool, look: Look | None) -> Summary:
    if nowait:
        raise Cold
    mapping, start = bodies.map(job.place)
    with mapping:
        return _with_structure(mapping, start, len(mapping), job, look)


def from_header(header: Header) -> Summary:
    envelope, fields = summarize_header(header, SUMMARY_FIELDS)
    return Summary(envelope, b"", fields)


def _with_structure(data: Octets, start: int, end: int, job: Job, look: Look | None) -> Summary:
    """:param start: and ``end``: where the message is in the octets."""
    if look is None:
        header = parse_header(data, start, end)
        structure = read_bodystructure(data, header, end)
    else:
        root = parse_message(data, start, end)
        look(job.place, root, start)
        if job.known is NO_SUMMARY:
            return NO_SUMMARY
        header = root.header
        structure = bodystructure_octets(data, root)
    envelope, _, fields = job.known or from_header(header)
    return Summary(envelope, structure, fields)


def read_bodies(
    bodies: BodyFiles, places: Iterable[BodyPlace]
) -> Iterator[tuple[BodyPlace, bytes | None]]:
    """Bodies in the order of the log; None for a large one, or one that is not where it was."""
    for span in make_spans(map(Job, places), True):
        data = b""
        if span.end:
            with suppress(FileNotFoundError):
                data = bodies.read_range(span.jobs[0].place.segment, span.begin, span.end)
        for place, _ in span.jobs:
            body = None
            if data:
                with suppress(StoreCorrupt):
                    start = find_body(data, span.begin, place)
                    body = data[start : start + place.size]
            yield place, body


#: Values for the columns of a table, the number of the body first.
Row: TypeAlias = tuple[Any, ...]


def make_text_row(body_id: int, header: Header) -> Row | None:
    """None for texts that are too long, and are made each time."""
    texts = encode_field_texts(header)
    return None if texts is None else (body_id, *texts)


def make_thread_row(body_id: int, header: Header) -> Row:
    """What a message is threaded by, and sorted by date and subject."""
    *values, ids = read_thread_values(header)
    return (body_id, *values, f"[{','.join(map(str, ids))}]")


def make_address_row(body_id: int, header: Header) -> Row:
    """What a message is sorted by the people in it by."""
    return (body_id, *read_address_values(header))


class Wanted(enum.IntFlag):
    """What is to be made."""

    TEXTS = 1
    THREADS = 2
    ADDRESSES = 4
    #: A summary, without BODYSTRUCTURE or with it.
    SUMMARIES = 8
    STRUCTURES = 16
    MAPS = 32

    #: What a header says, and little is taken for: texts, and summaries without BODYSTRUCTURE.
    HEADS = TEXTS | SUMMARIES
    #: What messages are sorted and threaded by.
    ORDERS = THREADS | ADDRESSES
    #: What needs all of a message.
    MESSAGES = SUMMARIES | STRUCTURES | MAPS
    #: The same where the rest of the summary is known.
    BODIES = STRUCTURES | MAPS


_FIELD_ROWS: tuple[tuple[Wanted, Callable[[int, Header], Row | None]], ...] = (
    (Wanted.TEXTS, make_text_row),
    (Wanted.THREADS, make_thread_row),
    (Wanted.ADDRESSES, make_address_row),
)


class Made(NamedTuple):
    """What was made of some messages."""

    texts: list[Row]
    threads: list[Row]
    addresses: list[Row]
    #: Also those that are too long to be kept, and structures alone.
    summaries: list[tuple[int, Summary]]
    maps: list[tuple[int, str]]
    #: Bodies that are damaged, or no longer where they were.
    damaged: list[int]
    moved: list[int]

    @classmethod
    def nothing(cls) -> Made:
        return cls([], [], [], [], [], [], [])


def make(bodies: BodyFiles, wanted: Wanted, jobs: Sequence[Job]) -> Made:
    """Make things of messages, waiting for the disk."""
    made = Made.nothing()
    kinds = [
        (rows, make_row)
        for rows, (kind, make_row) in zip(made[:3], _FIELD_ROWS, strict=True)
        if wanted & kind
    ]

    def look(place: BodyPlace, root: Part, start: int) -> None:
        add(place.body_id, root.header)
        if wanted & Wanted.MAPS:
            encoded = encode_text_map(read_text_map(root, start))
            if encoded is not None:
                made.maps.append((place.body_id, encoded))

    def add(body_id: int, header: Header) -> None:
        for rows, make_row in kinds:
            row = make_row(body_id, header)
            if row is not None:
                rows.append(row)

    def summarize(body_id: int, header: Header) -> None:
        fields = header.find(SUMMARY_FIELDS) if wanted == Wanted.HEADS else None
        if fields is None:
            add(body_id, header)
            made.summaries.append((body_id, from_header(header)))
            return
        # One look at the header is enough for both.
        envelope, octets = summarize_fields(fields)
        made.summaries.append((body_id, Summary(envelope, b"", octets)))
        texts = encode_found_texts(fields)
        if texts is not None:
            made.texts.append((body_id, *texts))

    if not wanted & Wanted.BODIES:
        every = summarize if wanted & Wanted.SUMMARIES else add
        _make_of_headers(bodies, jobs, every, made)
        return made
    if not wanted & Wanted.STRUCTURES:
        jobs = [Job(place, NO_SUMMARY) for place, _ in jobs]
    elif not wanted & Wanted.SUMMARIES:
        jobs = [Job(place, known or STRUCTURE_ALONE) for place, known in jobs]
    seen = look if kinds or wanted & Wanted.MAPS else None
    for span in make_spans(jobs, True):
        for job, outcome in make_summaries(bodies, span, True, look=seen):
            body_id = job.place.body_id
            if outcome is NO_SUMMARY:
                continue
            if isinstance(outcome, Summary):
                made.summaries.append((body_id, outcome))
            else:
                (made.moved if isinstance(outcome, OSError) else made.damaged).append(body_id)
    return made


def _make_of_headers(
    bodies: BodyFiles, jobs: Sequence[Job], add: Callable[[int, Header], None], made: Made
) -> None:
    places = []
    for place, known in jobs:
        if known is None:
            places.append(place)
        else:
            # It has all fields of which something is made.
            add(place.body_id, parse_header(known.header))
    for heads in read_heads(bodies, places, nowait=False):
        for place, octets in heads:
            if octets is None:
                made.damaged.append(place.body_id)
            else:
                add(place.body_id, Header(octets, 0, len(octets), b""))
