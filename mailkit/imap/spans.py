"""Positions in a mailbox, as spans of neighbours."""

from __future__ import annotations

from collections.abc import Sequence

#: Positions in the mailbox, from 0: parts of it, ascending, none touching the next.
Spans = list[tuple[int, int]]


def runs(places: Sequence[int]) -> Spans:
    """Spans of strictly ascending positions."""
    if places and places[-1] - places[0] + 1 == len(places):
        return [(places[0], places[-1] + 1)]
    spans: Spans = []
    start = stop = -1
    for place in places:
        if place == stop:
            stop += 1
            continue
        if stop >= 0:
            spans.append((start, stop))
        start, stop = place, place + 1
    if stop >= 0:
        spans.append((start, stop))
    return spans


def extend(spans: Spans, others: Spans) -> None:
    """Add spans that begin at the end of those before them, or behind it."""
    if spans and others and spans[-1][1] == others[0][0]:
        spans[-1] = (spans[-1][0], others[0][1])
        others = others[1:]
    spans += others


def merge(spans: Spans) -> Spans:
    """Sort spans and join those that overlap or touch."""
    if len(spans) < 2:
        return spans
    spans.sort()
    merged = [spans[0]]
    for start, stop in spans[1:]:
        if start <= merged[-1][1]:
            if stop > merged[-1][1]:
                merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    return merged
