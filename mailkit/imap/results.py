"""What SEARCH is asked to return, and how that looks on the wire. No I/O.

RFC 4731, 5182, 5267, 9394.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mailkit.imap import render
from mailkit.imap.grammar import MAX_NUMBER, Arguments, SyntaxFault
from mailkit.imap.spans import Spans

#: Result options of one command.
MAX_OPTIONS = 20
#: Numbers that are rendered at a time.
PIECE = 5000

# RFC 5267 section 4.2: CONTEXT is a hint that may be ignored.
_CONTEXT = frozenset((b"CONTEXT", b"UPDATE"))
_ESEARCH = frozenset((b"MIN", b"MAX", b"ALL", b"COUNT"))
# RFC 9394 section 4, partial-range: both ends from the start, or both from the end.
_PARTIAL_RANGE = re.compile(rb"(-?)(\d{1,10}):(-?)(\d{1,10})(?![^ )])")


class PartialRange(NamedTuple):
    """Which of the results are wanted (RFC 9394 section 3.1)."""

    #: As the client wrote it: the answer repeats it.
    octets: bytes
    #: Places from 1, the smaller first, both included.
    first: int
    last: int
    #: Places count from the end.
    from_end: bool

    def pick(self, numbers: Sequence[int]) -> Sequence[int]:
        """Those of the ascending numbers that lie in the range."""
        if self.from_end:
            count = len(numbers)
            return numbers[max(count - self.last, 0) : max(count - self.first + 1, 0)]
        return numbers[self.first - 1 : self.last]

    def pick_spans(self, spans: Spans) -> Spans:
        """The same for messages at some positions (RFC 9394 section 3.3)."""
        count = sum(stop - start for start, stop in spans)
        first, last = self.first - 1, self.last
        if self.from_end:
            first, last = count - self.last, count - self.first + 1
        picked = []
        place = 0
        for start, stop in spans:
            begin, end = max(first - place, 0), min(last - place, stop - start)
            if begin < end:
                picked.append((start + begin, start + end))
            place += stop - start
        return picked


def parse_partial(arguments: Arguments, backwards: bool = True) -> PartialRange:
    """The range behind ``PARTIAL``.

    :param backwards: it may count from the end, which RFC 9394 adds to RFC 5267.
    """
    arguments.space()
    found = _PARTIAL_RANGE.match(arguments.data, arguments.position)
    if found is None or found[1] != found[3] or (found[1] and not backwards):
        example = "1:100 or -1:-100" if backwards else "1:100"
        raise SyntaxFault(f"PARTIAL takes a range such as {example}")
    first, last = sorted((int(found[2]), int(found[4])))
    if not 0 < first <= last <= MAX_NUMBER:
        raise SyntaxFault("A place in PARTIAL lies between 1 and 4294967295")
    arguments.position = found.end()
    return PartialRange(found[0], first, last, bool(found[1]))


class Results(NamedTuple):
    """What one SEARCH returns."""

    #: Of ``MIN``, ``MAX``, ``ALL`` and ``COUNT``; empty when none of them is to be told.
    options: frozenset[bytes]
    partial: PartialRange | None = None
    #: Keep the messages for ``$`` (RFC 5182).
    save: bool = False
    #: Tell the client how the result changes (RFC 5267 section 4.3).
    update: bool = False
    #: Tell how relevant the messages are (RFC 6203 section 4).
    relevancy: bool = False

    @property
    def silent(self) -> bool:
        """Nothing is told (RFC 5182 section 1)."""
        return not self.options and self.partial is None and not self.relevancy

    def saved(self, uids: Sequence[int]) -> Sequence[int]:
        """Those of the found messages that ``$`` stands for (RFC 5182 2.4, RFC 9394 3.2)."""
        if self.silent or self.options & {b"ALL", b"COUNT"}:
            return uids
        kept = set(self.partial.pick(uids)) if self.partial else set()
        if uids and b"MIN" in self.options:
            kept.add(uids[0])
        if uids and b"MAX" in self.options:
            kept.add(uids[-1])
        return sorted(kept)

    def shown(self, uids: Sequence[int]) -> Sequence[int]:
        """Those of the found messages whose modification sequences count (RFC 4731 section 3.2)."""
        if self.options and self.options <= {b"MIN", b"MAX"} and self.partial is None:
            ends = (uids[:1] if b"MIN" in self.options else (), uids[-1:])
            return [*ends[0], *(ends[1] if b"MAX" in self.options else ())]
        return uids

    def render(
        self,
        tag: bytes,
        numbers: Sequence[int],
        by_uid: bool,
        modseq: int | None = None,
        source: bytes = b"",
        scores: Sequence[int] = (),
    ) -> Iterator[bytes]:
        """The ESEARCH response (RFC 4731 section 3.1), in pieces.

        :param numbers: of the messages found, ascending: UIDs or sequence numbers.
        :param modseq: the highest modification sequence, where the search was for them.
        :param scores: of the same messages, where they are asked for.
        :param source: further correlators, which tell the mailbox (RFC 7377 section 2.1).
        """
        yield b'* ESEARCH (TAG "%b"%b)%b' % (tag, source, b" UID" if by_uid else b"")
        if numbers and b"MIN" in self.options:
            yield b" MIN %d" % numbers[0]
        if numbers and b"MAX" in self.options:
            yield b" MAX %d" % numbers[-1]
        if numbers and b"ALL" in self.options:
            yield b" ALL "
            yield from _render_set(numbers)
        if b"COUNT" in self.options:
            yield b" COUNT %d" % len(numbers)
        if self.partial is not None:
            yield b" PARTIAL (%b " % self.partial.octets
            picked = self.partial.pick(numbers)
            yield from _render_set(picked) if picked else (b"NIL",)
            yield b")"
        if self.relevancy:
            told = scores if self.partial is None else self.partial.pick(scores)
            yield b" RELEVANCY (%b)" % b" ".join([b"%d" % score for score in told])
        if modseq is not None:
            yield b" MODSEQ %d" % modseq
        yield b"\r\n"


def _render_set(numbers: Sequence[int]) -> Iterator[bytes]:
    for start in range(0, len(numbers), PIECE):
        yield (b"," if start else b"") + render.uid_set(numbers[start : start + PIECE])


def parse_results(
    arguments: Arguments, extensions: frozenset[bytes], contexts: bytes = b""
) -> Results:
    """``(MIN COUNT SAVE)``, what stands behind RETURN (RFC 4466 section 2.6.1).

    :param extensions: ``SEARCHRES`` and ``PARTIAL`` where they are switched on.
    :param contexts: the extension that brings ``UPDATE``, ``CONTEXT`` and ``PARTIAL``.
    """
    options: list[bytes] = []
    partial: list[PartialRange] = []
    known = _ESEARCH | {b"SAVE"} if b"SEARCHRES" in extensions else _ESEARCH
    if b"SEARCH=FUZZY" in extensions:
        known |= {b"RELEVANCY"}
    has_contexts = contexts in extensions
    if has_contexts:
        known |= _CONTEXT

    def read() -> None:
        name = arguments.word("A result option")
        if name == b"PARTIAL" and (has_contexts or b"PARTIAL" in extensions):
            partial.append(parse_partial(arguments, b"PARTIAL" in extensions))
        elif name in known:
            options.append(name)
        else:
            raise SyntaxFault(f"{name.decode('ascii')} is not a result option here")
        if len(options) > MAX_OPTIONS:
            raise SyntaxFault(f"SEARCH takes at most {MAX_OPTIONS} result options")

    read_any = bool(arguments.parenthesized(read, empty=True))
    # RFC 9394 section 3.1
    if len(partial) + (b"ALL" in options) > 1:
        raise SyntaxFault("SEARCH returns either ALL or one PARTIAL")
    wanted = frozenset(options) - {b"SAVE", b"RELEVANCY"} - _CONTEXT
    if not read_any:
        # RFC 4731 section 3.1: no option at all stands for ALL.
        wanted = frozenset((b"ALL",))
    flags = [name in options for name in (b"SAVE", b"UPDATE", b"RELEVANCY")]
    return Results(wanted, partial[0] if partial else None, *flags)
