"""Arguments and responses of ANNOTATE (RFC 5257 section 5). No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mailkit.annotations import Annotation
from mailkit.collation import any_contains
from mailkit.errors import LimitExceeded
from mailkit.folding import fold
from mailkit.imap import render
from mailkit.imap.columns import Column
from mailkit.imap.grammar import Arguments, SyntaxFault, part_numbers
from mailkit.imap.patterns import MAX_PATTERN, Automaton, automaton, simplify
from mailkit.query import And, Collation, Not, Or, Query

#: What CAPABILITY says.
CAPABILITY = b"ANNOTATE-EXPERIMENT-1"
#: Octets of an entry's name.
MAX_ENTRY = 255
#: Levels of an entry's name.
MAX_LEVELS = 20
#: Entries, or values, that one command names.
MAX_NAMED = 200

# RFC 5257 section 3.2: no wildcards, nothing but ASCII, no empty level; and nothing but printable
# characters, as others are strongly discouraged.
_NAME = re.compile(rb"(?:/[\x20-\x24\x26-\x29\x2b-\x2e\x30-\x7e]+)+")
_PATTERN = re.compile(rb"(?!.*//)[\x20-\x7e]*[\x20-\x2e\x30-\x7e]", re.DOTALL)
_SUFFIXES = {"": (False, True), ".priv": (False,), ".shared": (True,)}
#: Of a part, each either ``1``, ``0`` or nothing (RFC 5257 section 3.2.1).
_PART_FLAGS = frozenset(("seen", "answered", "flagged", "forwarded"))


# Names.


def _check_length(octets: bytes) -> str:
    if len(octets) > MAX_ENTRY or octets.count(b"/") > MAX_LEVELS:
        raise SyntaxFault(
            f"The name of an entry has at most {MAX_ENTRY} octets and {MAX_LEVELS} levels"
        )
    return octets.decode("ascii", "replace")


def part_of(entry: str) -> tuple[int, ...]:
    """Number of the part that an entry is about; empty for the whole message.

    :raises SyntaxFault: it is no number of a part (RFC 5257 section 3.2.1).
    """
    level = entry[1:].partition("/")[0]
    return part_numbers(level.encode("ascii")) if level[:1].isdigit() else ()


def read_entry(arguments: Arguments) -> str:
    """The name of an entry that can have a value."""
    octets = arguments.astring("The name of an entry")
    name = _check_length(octets)
    if not _NAME.fullmatch(octets):
        raise SyntaxFault("An entry's name looks like /comment, without * and %")
    _check_reserved(name)
    levels = name.split("/")[2 if part_of(name) else 1 :]
    if not levels or (len(levels) == 1 and levels[0] in ("flags", "vendor")):
        raise SyntaxFault("That is only the beginning of an entry's name")
    return name


def _check_reserved(name: str) -> None:
    if name == "/flags" or name.startswith("/flags/"):
        # RFC 5257 section 3.5
        raise SyntaxFault("Entries that begin with /flags are reserved")


def read_pattern(arguments: Arguments) -> str:
    """The name of an entry, perhaps with wildcards."""
    octets = arguments.list_octets("The name of an entry")
    name = _check_length(octets)
    if b"*" in octets or b"%" in octets:
        if not _PATTERN.fullmatch(octets):
            raise SyntaxFault("A pattern of entries looks like /vendor/*")
        level = name[1:].partition("/")[0]
        if not set("*%").isdisjoint(level):
            return name
    elif not _NAME.fullmatch(octets):
        raise SyntaxFault("An entry's name looks like /comment")
    part_of(name)
    _check_reserved(name)
    return name


class Entries:
    """Names of entries that a client has asked for, perhaps with wildcards."""

    def __init__(self, patterns: Sequence[str]) -> None:
        whole = [simplify(each) for each in patterns if not set("*%").isdisjoint(each)]
        if sum(map(len, whole)) > MAX_PATTERN:
            raise LimitExceeded(f"Patterns have at most {MAX_PATTERN} characters together")
        #: Those without wildcards.
        self.exact = [each for each in patterns if set("*%").isdisjoint(each)]
        self._names = frozenset(self.exact)
        self._automaton: Automaton | None = automaton(whole) if whole else None

    def match(self, entry: str) -> bool:
        """Whether an entry is meant.

        lenient: RFC 5257 section 4.3 wants a character at least for ``*`` and ``%``; here they stand
        for nothing too, as they do in LIST.
        """
        return entry in self._names or (
            self._automaton is not None and self._automaton.matches(entry)
        )


def _read_attribute(arguments: Arguments) -> tuple[str, str]:
    """``value.priv`` as its name and its suffix.

    lenient: RFC 5257 section 3.2 has names in their letter case, section 5 in any.
    """
    octets = arguments.astring("An attribute").lower()
    name, dot, suffix = octets.decode("ascii", "replace").partition(".")
    if name not in ("value", "size") or dot + suffix not in _SUFFIXES:
        raise SyntaxFault("The attributes of an entry are value and size, .priv and .shared")
    return name, dot + suffix


# FETCH.


class Request(NamedTuple):
    """What FETCH ANNOTATION asks for."""

    entries: tuple[str, ...]
    #: ``value`` or ``size``, and whether that which is shared is meant.
    attributes: tuple[tuple[str, bool], ...]


def parse_request(arguments: Arguments) -> Request:
    """``(/comment value)`` or ``((/comment /*) (value.priv size))``"""
    arguments.expect(b"(")
    if arguments.looking_at(b"("):
        entries = arguments.parenthesized(lambda: read_pattern(arguments))
    else:
        entries = [read_pattern(arguments)]
    arguments.space()
    if arguments.looking_at(b"("):
        given = arguments.parenthesized(lambda: _read_attribute(arguments))
    else:
        given = [_read_attribute(arguments)]
    arguments.expect(b")")
    if len(entries) > MAX_NAMED:
        raise SyntaxFault(f"A command names at most {MAX_NAMED} entries")
    # Judged now: the time for it comes when responses are on their way.
    Entries(entries)
    attributes = [(name, shared) for name, suffix in given for shared in _SUFFIXES[suffix]]
    return Request(tuple(dict.fromkeys(entries)), tuple(dict.fromkeys(attributes)))


def annotation_column(request: Request, found: Mapping[int, Sequence[Annotation]]) -> Column:
    """What answers FETCH ANNOTATION: the whole item, and nothing where it would be empty.

    RFC 5257 section 5 has an entry at least, and a pattern may find none.

    :param found: annotations by UID, of the messages that are told of.
    """
    wanted = Entries(request.entries)

    def values(rows: Sequence[Any]) -> Iterable[bytes]:
        told = [_render(request, wanted, found.get(row[0], ())) for row in rows]
        return [b"ANNOTATION (%b)" % entries if entries else b"" for entries in told]

    return Column(b"%b", values)


def _render(request: Request, wanted: Entries, annotations: Sequence[Annotation]) -> bytes:
    # RFC 5257 section 3.2.2: what is named and does not exist is NIL.
    there: dict[str, dict[bool, bytes | None]] = {entry: {} for entry in wanted.exact}
    scopes = {shared for _, shared in request.attributes}
    for entry, value, shared in annotations:
        if shared in scopes and wanted.match(entry):
            there.setdefault(entry, {})[shared] = value
    told = []
    for entry, by_scope in there.items():
        pairs = [_pair(name, shared, by_scope.get(shared)) for name, shared in request.attributes]
        told.append(b"%b (%b)" % (_render_name(entry), b" ".join(pairs)))
    return b" ".join(told)


def _pair(name: str, shared: bool, value: bytes | None) -> bytes:
    suffix = b"shared" if shared else b"priv"
    if name == "size":
        return b'size.%b "%d"' % (suffix, len(value or b""))
    return b"value.%b %b" % (suffix, render.nstring8(value))


def _render_name(entry: str) -> bytes:
    return render.astring(entry.encode("ascii"))


def render_names(entries: Iterable[str]) -> bytes:
    """What tells that values have changed (RFC 5257 section 4.4)."""
    return b"ANNOTATION (%b)" % b" ".join(map(_render_name, dict.fromkeys(entries)))


# STORE and APPEND.


def read_values(
    arguments: Arguments, before: Callable[[], None] = lambda: None
) -> tuple[Annotation, ...]:
    """``(/comment (value.priv "x" value.shared NIL) ...)``

    :param before: called before each string.
    """
    found: dict[tuple[str, bool], Annotation] = {}

    def read_value(entry: str) -> None:
        before()
        name, suffix = _read_attribute(arguments)
        if name == "size":
            raise SyntaxFault("The size of a value cannot be set")
        if not suffix:
            # RFC 5257 section 3.3
            raise SyntaxFault("What is stored is either value.priv or value.shared")
        arguments.space()
        before()
        value = arguments.nstring8()
        _check_value(entry, value)
        shared = suffix == ".shared"
        if (entry, shared) in found:
            raise SyntaxFault(f"value{suffix} of an entry is given twice")
        found[entry, shared] = Annotation(entry, value, shared)
        if len(found) > MAX_NAMED:
            raise SyntaxFault(f"A command names at most {MAX_NAMED} values")

    def read() -> None:
        before()
        entry = read_entry(arguments)
        arguments.space()
        arguments.parenthesized(lambda: read_value(entry))

    arguments.parenthesized(read)
    return tuple(found.values())


def _check_value(entry: str, value: bytes | None) -> None:
    if value in (None, b"0", b"1") or not part_of(entry):
        return
    levels = entry.split("/")[2:]
    if len(levels) == 2 and levels[0] == "flags" and levels[1] in _PART_FLAGS:
        # RFC 5257 section 3.2.1
        raise SyntaxFault('A flag of a part is "1", "0" or NIL')


# SEARCH and SORT.


@dataclass(frozen=True)
class AnnotationKey(Query):
    """An annotation contains a text (RFC 5257 section 4.8).

    For the protocol alone: it stands for the messages that it finds when a backend is asked.
    """

    pattern: str
    #: Whether shared values count, private ones, or both.
    scopes: tuple[bool, ...]
    #: None for messages without any value.
    text: str | None
    collation: Collation = Collation.UNICODE_CASEMAP


def read_key(arguments: Arguments, decode: Callable[[bytes], str]) -> AnnotationKey:
    """``/comment value "IMAP4"``

    :param decode: makes a text of octets in the command's charset.
    """
    pattern = read_pattern(arguments)
    arguments.space()
    name, suffix = _read_attribute(arguments)
    if name != "value":
        raise SyntaxFault("Values alone can be searched")
    arguments.space()
    if any(map(arguments.looking_at, (b'"', b"{", b"~"))) or arguments.looking_at_word(b"NIL"):
        octets = arguments.nstring8()
    else:
        # lenient: all other keys take atoms, and clients send them here too.
        octets = arguments.astring("A string to search for")
    return AnnotationKey(pattern, _SUFFIXES[suffix], None if octets is None else decode(octets))


def read_sort_key(arguments: Arguments) -> tuple[str, bool]:
    """``/comment value.shared``: an entry, and whether its shared value is meant."""
    entry = read_entry(arguments)
    arguments.space()
    name, suffix = _read_attribute(arguments)
    if name != "value" or not suffix:
        raise SyntaxFault("Messages are sorted by value.priv or value.shared")
    return entry, suffix == ".shared"


class KeyTest:
    """Tells for messages whether they match a key."""

    def __init__(self, key: AnnotationKey) -> None:
        self._key = key
        self._entries = Entries([key.pattern])
        self._folded = fold(key.text or "")

    def matches(self, annotations: Sequence[Annotation]) -> bool:
        """Whether a message does that has these."""
        scopes = self._key.scopes
        values = [
            value
            for entry, value, shared in annotations
            if shared in scopes and value is not None and self._entries.match(entry)
        ]
        return not values if self._key.text is None else any(map(self._contains, values))

    def _contains(self, value: bytes) -> bool:
        text, collation = value.decode("utf-8", "replace"), self._key.collation
        if collation is Collation.UNICODE_CASEMAP:
            return self._folded in fold(text)
        return any_contains([text], self._key.text or "", collation)


def find_keys(query: Query) -> set[AnnotationKey]:
    """Keys about annotations in a search."""
    match query:
        case AnnotationKey():
            return {query}
        case And(queries=queries) | Or(queries=queries):
            return set().union(*map(find_keys, queries))
        case Not(query=inner):
            return find_keys(inner)
    return set()


def resolved(query: Query, found: Mapping[AnnotationKey, Query]) -> Query:
    """The search with what its keys about annotations have come to."""
    match query:
        case AnnotationKey():
            return found[query]
        case And(queries=queries):
            return And(tuple(resolved(part, found) for part in queries))
        case Or(queries=queries):
            return Or(tuple(resolved(part, found) for part in queries))
        case Not(query=inner):
            return Not(resolved(inner, found))
    return query


# SELECT.


def support_code(max_size: int, private: bool, writable: bool) -> bytes:
    """What SELECT tells of a mailbox that keeps annotations (RFC 5257 section 4.1)."""
    size = b"%d" % max_size if writable else b"READ-ONLY"
    return b"ANNOTATIONS " + size + (b"" if private else b" NOPRIVATE")
