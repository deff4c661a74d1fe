"""What CONDSTORE and QRESYNC add to commands (RFC 7162 section 7). No I/O."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from mailkit.imap.annotate import CAPABILITY
from mailkit.imap.grammar import STAR, Arguments, SequenceSet, SyntaxFault
from mailkit.imap.results import PartialRange, parse_partial
from mailkit.query import And, ModifiedSince, Not, Or, Query

#: Pairs of a number and a UID that a client may name when it opens a mailbox.
MAX_MATCHES = 100_000


class FetchModifiers(NamedTuple):
    """What stands behind the items of FETCH."""

    #: Only messages with a higher modification sequence (RFC 7162 section 3.1.4.1).
    changed_since: int | None = None
    #: Tell the UIDs of those that are gone (RFC 7162 section 3.2.6).
    vanished: bool = False
    #: Only some of them (RFC 9394 section 3.3).
    partial: PartialRange | None = None


def parse_fetch_modifiers(
    arguments: Arguments, extensions: frozenset[bytes], by_uid: bool
) -> FetchModifiers:
    """``(CHANGEDSINCE 12345 VANISHED)``.

    :param extensions: CONDSTORE, QRESYNC and PARTIAL where the client may use them.
    """
    found: dict[bytes, int | PartialRange | bool] = {}

    def read() -> None:
        name = arguments.word("A modifier")
        value: int | PartialRange | bool = True
        if name == b"CHANGEDSINCE" and b"CONDSTORE" in extensions:
            arguments.space()
            value = arguments.number64()
        elif name == b"PARTIAL" and b"PARTIAL" in extensions and by_uid:
            value = parse_partial(arguments)
        elif name == b"VANISHED" and by_uid and b"QRESYNC" not in extensions:
            raise SyntaxFault("VANISHED needs ENABLE QRESYNC first")
        elif name != b"VANISHED" or not by_uid:
            raise SyntaxFault(f"{name.decode('ascii')} is not a modifier here")
        if name in found:
            raise SyntaxFault(f"{name.decode('ascii')} is given twice")
        found[name] = value

    arguments.parenthesized(read)
    changed_since = found.get(b"CHANGEDSINCE")
    if b"VANISHED" in found and changed_since is None:
        # RFC 7162 section 3.2.6
        raise SyntaxFault("VANISHED comes together with CHANGEDSINCE")
    partial = found.get(b"PARTIAL")
    return FetchModifiers(
        changed_since if isinstance(changed_since, int) else None,
        b"VANISHED" in found,
        partial if isinstance(partial, PartialRange) else None,
    )


def parse_unchanged_since(arguments: Arguments) -> int:
    """``(UNCHANGEDSINCE 12345)``, the modifier of STORE (RFC 7162 section 3.1.3)."""
    arguments.expect(b"(")
    if arguments.word("A modifier") != b"UNCHANGEDSINCE":
        raise SyntaxFault("STORE takes no modifier but UNCHANGEDSINCE")
    arguments.space()
    value = arguments.number64()
    arguments.expect(b")")
    return value


class Resync(NamedTuple):
    """What a client knows of a mailbox that it opens (RFC 7162 section 3.2.5)."""

    uid_validity: int
    modseq: int
    #: The UIDs that it knows; None for all.
    known_uids: SequenceSet | None = None
    #: Numbers and UIDs that it thinks belong together; both run in parallel.
    numbers: SequenceSet = ()
    uids: SequenceSet = ()

    def last_match(self, view: Sequence[int]) -> int:
        """The highest UID up to which the client knows of everything that is gone, or 0."""
        matching = 0
        for number, uid in zip(_each(self.numbers), _each(self.uids), strict=True):
            if number > len(view):
                break
            if view[number - 1] == uid:
                matching = uid
        return matching


class SelectParameters(NamedTuple):
    """What stands behind the mailbox of SELECT."""

    condstore: bool = False
    resync: Resync | None = None
    #: Changes of annotations are to be told (RFC 5257 section 4.2).
    annotate: bool = False


def parse_select_parameters(arguments: Arguments, extensions: frozenset[bytes]) -> SelectParameters:
    """``(CONDSTORE)`` or ``(QRESYNC (67890007 20050715194045000 41,43:211))``.

    :param extensions: CONDSTORE, QRESYNC and ANNOTATE where the client may use them.
    """
    condstore = annotate = False
    resync: list[Resync] = []

    def read() -> None:
        nonlocal condstore, annotate
        name = arguments.word("A parameter")
        if name == b"CONDSTORE" and name in extensions:
            condstore = True
        elif name == b"ANNOTATE" and CAPABILITY in extensions:
            annotate = True
        elif name == b"QRESYNC" and name in extensions and not resync:
            arguments.space()
            resync.append(_parse_resync(arguments))
        elif name == b"QRESYNC":
            raise SyntaxFault("QRESYNC needs ENABLE QRESYNC first, and is given once")
        else:
            raise SyntaxFault(f"{name.decode('ascii')} is not a parameter here")

    arguments.parenthesized(read)
    return SelectParameters(condstore, resync[0] if resync else None, annotate)


def _parse_resync(arguments: Arguments) -> Resync:
    arguments.expect(b"(")
    uid_validity = arguments.nonzero_number()
    arguments.space()
    modseq = arguments.number64()
    if modseq == 0:
        raise SyntaxFault("0 is not a modification sequence")
    known: SequenceSet | None = None
    numbers: SequenceSet = ()
    uids: SequenceSet = ()
    if not arguments.accept(b")"):
        arguments.space()
        if not arguments.looking_at(b"("):
            known = _plain_set(arguments)
            if not arguments.accept(b")"):
                arguments.space()
                numbers, uids = _parse_matches(arguments)
                arguments.expect(b")")
        else:
            numbers, uids = _parse_matches(arguments)
            arguments.expect(b")")
    return Resync(uid_validity, modseq, known, numbers, uids)


def _parse_matches(arguments: Arguments) -> tuple[SequenceSet, SequenceSet]:
    arguments.expect(b"(")
    numbers = _plain_set(arguments)
    arguments.space()
    uids = _plain_set(arguments)
    arguments.expect(b")")
    for ranges in (numbers, uids):
        if _size(ranges) > MAX_MATCHES:
            raise SyntaxFault(f"At most {MAX_MATCHES} numbers can be matched with UIDs")
        # RFC 7162 section 3.2.5.2: both in ascending order.
        if any(after[0] <= before[1] for before, after in pairwise(ranges)):
            raise SyntaxFault("Numbers and UIDs to be matched must be ascending")
    if _size(numbers) != _size(uids):
        raise SyntaxFault("There must be as many numbers as UIDs")
    return numbers, uids


def _plain_set(arguments: Arguments) -> SequenceSet:
    """A set without ``*`` and ``$``, the lower end of each range first."""
    ranges = tuple((min(pair), max(pair)) for pair in arguments.sequence_set())
    if any(low <= STAR for low, _ in ranges):
        raise SyntaxFault("* is not allowed here")
    return ranges


def _size(ranges: SequenceSet) -> int:
    return sum(high - low + 1 for low, high in ranges)


def _each(ranges: SequenceSet) -> Iterator[int]:
    for low, high in ranges:
        yield from range(low, high + 1)


def within(uids: Sequence[int], ranges: Sequence[tuple[int, int]]) -> list[int]:
    """Those of the ascending UIDs that lie in one of the ranges, ascending."""
    found: set[int] = set()
    for low, high in ranges:
        found.update(uids[bisect_left(uids, low) : bisect_right(uids, high)])
    return sorted(found)


def asks_modseq(query: Query) -> bool:
    """Whether MODSEQ is among the keys of a search (RFC 7162 section 3.1.5)."""
    match query:
        case ModifiedSince():
            return True
        case And(queries=queries) | Or(queries=queries):
            return any(map(asks_modseq, queries))
        case Not(query=inner):
            return asks_modseq(inner)
    return False
