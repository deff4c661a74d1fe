"""Reading the headers of many messages at once: their octets, in which nothing is told apart yet.

Messages that came one after the other lie so in the log: some hundred kilobytes of it are read in one
go, and a header takes no more than two looks for its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import TypeAlias

from mailkit.errors import StoreCorrupt
from mailkit.mime import BLANK_LINE, MAX_HEADER_OCTETS, Header, parse_header
from mailkit.store.sqlite.bodies import SMALL_BODY, BodyFiles, BodyPlace, Cold, find_head
from mailkit.store.sqlite.records import is_record_of

#: Octets of a body that are read first when its header is wanted; most headers end there.
HEAD_OCTETS = 8 * 1024
#: Octets that are read at once for the sake of several bodies.
SPAN_OCTETS = 256 * 1024
#: Octets between two bodies that are read and thrown away rather than read apart.
MAX_GAP = 32 * 1024

#: A body, and the octets of its header without the empty line; None for one that is not at hand, or
#: not as it was written.
Head: TypeAlias = "tuple[BodyPlace, bytes | None]"

_POSITION = itemgetter(1, 2)


def read_heads(
    bodies: BodyFiles, places: Iterable[BodyPlace], nowait: bool = True
) -> Iterator[list[Head]]:
    """Headers in the order of the log, as many at a time as are read together.

    :param nowait: what would have to be waited for is not at hand.
    """
    for begin, end, together in _make_spans(places):
        try:
            data = bodies.read_range(together[0].segment, begin, end, nowait=nowait)
        except (FileNotFoundError, Cold):
            yield [(place, None) for place in together]
        else:
            yield _take_all(bodies, together, data, begin, nowait)


def _make_spans(places: Iterable[BodyPlace]) -> Iterator[tuple[int, int, list[BodyPlace]]]:
    """Where to begin and to end reading, and whose headers lie there."""
    together: list[BodyPlace] = []
    last_segment = begin = end = 0
    for place in sorted(places, key=_POSITION):
        _, segment, position, start, size = place
        stop = start + (size if size < HEAD_OCTETS else HEAD_OCTETS)
        if segment != last_segment or position - end > MAX_GAP or stop - begin > SPAN_OCTETS:
            if together:
                yield begin, end, together
            together = []
            last_segment, begin = segment, position
        together.append(place)
        end = stop
    if together:
        yield begin, end, together


def _take_all(
    bodies: BodyFiles, places: Sequence[BodyPlace], data: bytes, begin: int, nowait: bool
) -> list[Head]:
    heads: list[Head] = []
    find_blank_line, length = BLANK_LINE.search, len(data)
    for place in places:
        body_id, _, position, start, size = place
        start -= begin
        stop = start + (size if size < HEAD_OCTETS else HEAD_OCTETS)
        # Most headers end there. An empty line may be the first one, too.
        if stop <= length and is_record_of(data, position - begin, body_id, size):
            blank = find_blank_line(data, start, stop)
            if blank is not None and data[start] not in b"\r\n":
                heads.append((place, data[start : blank.start() + 1]))
                continue
        heads.append((place, _take_slowly(bodies, place, data, begin, nowait)))
    return heads


def _take_slowly(
    bodies: BodyFiles, place: BodyPlace, data: bytes, begin: int, nowait: bool
) -> bytes | None:
    try:
        return read_header(bodies, place, data, begin, nowait).octets
    except (FileNotFoundError, StoreCorrupt, Cold):
        return None


def read_header(
    bodies: BodyFiles, place: BodyPlace, data: bytes, begin: int, nowait: bool
) -> Header:
    """The header of a body; when the octets do not hold it all, more are read."""
    size = HEAD_OCTETS
    while True:
        start = find_head(data, begin, place, size)
        header = parse_header(data, start, start + min(size, place.size))
        # Behind the last octets that count nothing changes.
        if header.blank_line or size >= place.size or size > MAX_HEADER_OCTETS:
            return header
        size *= 4
        if nowait and size > SMALL_BODY:
            raise Cold
        begin = place.position
        end = place.start + min(size, place.size)
        data = bodies.read_range(place.segment, begin, end, nowait=nowait)
