"""The header of a message or of a MIME part: where it ends, its fields, raw and unfolded.

How broken headers are read (lenient: stored mail cannot be refused any more, and this is what
the most used IMAP server does):

- only an empty line ends a header (or the end of the octets); LF counts as a line end like CRLF,
  a bare CR does not;
- a line without a colon is a field without a name: no look-up finds it, but it stays where it is;
- a line that begins with white space belongs to the field before it, even if nothing else is in
  it; as the first line of all it is a field of its own.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator, KeysView, Set
from functools import lru_cache
from typing import NamedTuple, TypeAlias

#: What messages are read from. Offsets are absolute in it, and large bodies are never copied.
Octets: TypeAlias = bytes | mmap.mmap

#: Fields of one header that are looked at; what follows is ignored.
MAX_HEADER_FIELDS = 10_000
#: Octets of one header that are looked at; lines that do not fit are ignored.
MAX_HEADER_OCTETS = 1024 * 1024

# Looked for as numbers: that bytes are not one, octets would find out by an exception each time.
_LF = 0x0A
_COLON = 0x3A

#: The last line end of a header that has fields, and the empty line behind it.
BLANK_LINE = re.compile(rb"\n\r?\n")
_BLANK_FIRST = re.compile(rb"\r?\n")
# RFC 5322 section 2.2.3: a line end before white space is folding, any other ends the field.
_FIELD_END = re.compile(rb"\n(?![ \t])")


class HeaderField(NamedTuple):
    """One header field."""

    #: As written, without the colon; empty when the line has no colon.
    name: bytes
    #: Unfolded, without white space at either end.
    value: bytes
    #: Offset of the name.
    start: int
    #: Offset of what follows the colon.
    value_start: int
    #: Offset behind the field's last line end.
    end: int


def find_blank_line(octets: bytes) -> tuple[int, int]:
    """Where the first empty line is that follows a line: its place and the one behind it, or -1 twice.

    The place is that of the line end before it.
    """
    # A regular expression takes ten times as long.
    found = octets.find(b"\n\r\n")
    bare = octets.find(b"\n\n") if found < 0 else octets.find(b"\n\n", 0, found + 1)
    if bare >= 0:
        return bare, bare + 2
    return (found, found + 3) if found >= 0 else (-1, -1)


def unfold(value: bytes) -> bytes:
    """Take the line ends out of a raw field value (RFC 5322 section 2.2.3), and outer space."""
    if _LF in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return value.strip()


def _octets(name: bytes | str) -> bytes:
    """A field name as the index has it."""
    if isinstance(name, str):
        name = name.encode("utf-8", "replace")
    return name.lower()


@lru_cache(maxsize=64)
def _constant_octets(names: frozenset[bytes | str]) -> frozenset[bytes]:
    """The same for names that are asked for again and again."""
    return frozenset(map(_octets, names))


@lru_cache(maxsize=64)
def _finder(names: Iterable[bytes]) -> re.Pattern[bytes]:
    """Finds fields of these lower-case names where they begin: behind a line end.

    Groups: the name, what stands behind it up to the colon, the value.
    """
    # One look at the first letter tells most fields apart, and which names they may have; as one
    # that is what it is, as such a branch is passed over quickly.
    rests: dict[bytes, list[bytes]] = {}
    for name in sorted(names):
        rests.setdefault(name[:1], []).append(re.escape(name[1:]))
    firsts = {letter: rests[first] for first in rests for letter in (first.upper(), first)}
    branches = [b"%b(?i:%b)" % (letter, b"|".join(some)) for letter, some in firsts.items()]
    # RFC 5322 section 4.5.8: white space may stand before the colon. Neither it nor a third line
    # stands in many fields: a loop is begun for those alone.
    return re.compile(
        rb"\n(?=[%b])(%b)((?:|(?:[ \t\r\f\v]|\n(?=[ \t]))*):)(.*(?:\n[ \t].*(?:\n[ \t].*)*|))"
        % (b"".join(firsts), b"|".join(sorted(branches)))
    )


class Header:
    """A header: a sequence of fields with look-up by name, in any letter case.

    It keeps its own copy of the fields, so the source may be closed. Fields are told apart when
    first asked for. Made by :func:`parse_header`.
    """

    __slots__ = (
        "_ended",
        "_fields",
        "_index",
        "_names",
        "_octets",
        "blank_line",
        "body_start",
        "start",
    )

    def __init__(self, octets: bytes, start: int, body_start: int, blank_line: bytes) -> None:
        #: Offset of the first octet.
        self.start = start
        #: Offset behind the empty line, or where the octets end.
        self.body_start = body_start
        #: The empty line behind the fields, as written; nothing if there is none.
        self.blank_line = blank_line
        self._octets = octets
        self._fields: list[bytes] | None = None
        self._ended = True
        self._names: list[bytes] = []
        self._index: dict[bytes, bytes] = {}

    def _split(self) -> list[bytes]:
        """The fields without their last line end; their lower-case names beside them."""
        fields = _FIELD_END.split(self._octets, MAX_HEADER_FIELDS)
        self._ended = not fields[-1] or len(fields) > MAX_HEADER_FIELDS
        if self._ended:
            fields.pop()
        # RFC 5322 section 4.5.8: white space may stand before the colon.
        self._names = names = [field.partition(b":")[0].rstrip().lower() for field in fields]
        self._index = dict(zip(reversed(names), reversed(fields), strict=True))
        self._fields = fields
        return fields

    def __len__(self) -> int:
        """Number of fields."""
        return len(self._split() if self._fields is None else self._fields)

    def __iter__(self) -> Iterator[HeaderField]:
        """The fields in their order."""
        start = self.start
        for raw in self._split() if self._fields is None else self._fields:
            first_line = raw.partition(b"\n")[0]
            name, colon, _ = first_line.partition(b":")
            value_start = len(name) + 1 if colon else 0
            end = min(start + len(raw) + 1, self.start + len(self._octets))
            yield HeaderField(
                name if colon else b"",
                unfold(raw[value_start:]),
                start,
                start + value_start,
                end,
            )
            start = end

    @property
    def octets(self) -> bytes:
        """The raw octets of the fields."""
        return self._octets

    @property
    def names(self) -> KeysView[bytes]:
        """The names of all fields, in lower case; lines without a colon among them."""
        if self._fields is None:
            self._split()
        return self._index.keys()

    def __contains__(self, name: object) -> bool:
        """Whether there is a field of this name."""
        return isinstance(name, (bytes, str)) and self.get(name) is not None

    def get(self, name: bytes | str) -> bytes | None:
        """The unfolded value of the first field of this name, or None."""
        if self._fields is None:
            self._split()
        raw = self._index.get(name if isinstance(name, bytes) else _octets(name))
        if raw is None:
            # Most callers give lower-case octets: they need no second look.
            if isinstance(name, bytes) and not name.islower():
                raw = self._index.get(name.lower())
            if raw is None:
                return None
        _, colon, value = raw.partition(b":")
        if not colon:
            # A line without a colon stands before the first real field of the name, if any.
            return next(iter(self.get_all(name)), None)
        return unfold(value)

    def get_first(self, names: Iterable[bytes]) -> list[bytes | None]:
        """What :meth:`get` gives for each of these lower-case names."""
        if self._fields is None:
            self._split()
        find = self._index.get
        values: list[bytes | None] = []
        for name in names:
            raw = find(name)
            if raw is not None:
                _, colon, raw = raw.partition(b":")
                if not colon:
                    raw = self.get(name)
                elif _LF in raw:
                    raw = raw.replace(b"\r\n", b"").replace(b"\n", b"").strip()
                else:
                    raw = raw.strip()
            values.append(raw)
        return values

    def pick(self, names: tuple[bytes, ...]) -> dict[bytes, list[bytes]]:
        """What :meth:`get_all` gives for those of these lower-case names that there are.

        Of a header that nobody has looked at, the other fields are not told apart: that takes half
        the time.
        """
        if self._fields is not None or self._octets.count(b"\n") > MAX_HEADER_FIELDS:
            return {name: values for name in names if (values := self.get_all(name))}
        found: dict[bytes, list[bytes]] = {}
        for name, _, value in _finder(names).findall(b"\n" + self._octets):
            if _LF in value:
                value = value.replace(b"\r\n", b"").replace(b"\n", b"")
            name = name.lower()
            if name in found:
                found[name].append(value.strip())
            else:
                found[name] = [value.strip()]
        return found

    def find(self, names: frozenset[bytes]) -> list[tuple[bytes, bytes, bytes]] | None:
        """The fields of these lower-case names as they stand there, in their order.

        None for a header whose last field has no end, or that has very many fields. The others are
        not told apart, as with :meth:`pick`.

        :returns: of each the name, what stands behind it up to the colon, and the raw value without
            its last line end.
        """
        octets = self._octets
        if octets[-1:] != b"\n":
            return None
        if len(octets) > MAX_HEADER_FIELDS and octets.count(b"\n") > MAX_HEADER_FIELDS:
            return None
        return _finder(names).findall(b"\n" + octets)

    def get_all(self, name: bytes | str) -> list[bytes]:
        """The unfolded values of all fields of this name, in their order."""
        fields = self._split() if self._fields is None else self._fields
        name = _octets(name)
        if self._index.get(name) is None:
            return []
        return [
            unfold(raw.partition(b":")[2])
            for raw, known in zip(fields, self._names, strict=True)
            if known == name and _COLON in raw
        ]

    def repeated(self, name: bytes) -> bool:
        """Whether a field of this (lower-case) name stands there more than once."""
        if self._fields is None:
            self._split()
        # As many entries as fields: nothing at all is repeated.
        return len(self._index) < len(self._names) and self._names.count(name) > 1

    def raw_fields(
        self, names: Iterable[bytes | str], *, exclude: bool = False, blank_line: bool = True
    ) -> bytes:
        """The raw octets of some fields, in message order (HEADER.FIELDS, HEADER.FIELDS.NOT).

        :param exclude: the fields that are *not* named.
        :param blank_line: append the empty line.
        """
        fields = self._split() if self._fields is None else self._fields
        wanted: Set[bytes]
        if isinstance(names, frozenset):
            wanted = _constant_octets(names)
        else:
            wanted = {_octets(name) for name in names}
        named = zip(fields, self._names, strict=True)
        if exclude:
            chosen = [raw for raw, name in named if name not in wanted or _COLON not in raw]
        else:
            chosen = [raw for raw, name in named if name in wanted and _COLON in raw]
        octets = b"\n".join([*chosen, b""])
        if not self._ended and (self._names[-1] in wanted and _COLON in fields[-1]) is not exclude:
            octets = octets[:-1]
        # RFC 3501 section 6.4.5: subsetting does not exclude the delimiting blank line.
        return octets + self.blank_line if blank_line else octets


def parse_header(data: Octets, start: int = 0, end: int | None = None) -> Header:
    """Read the header that begins at ``start``."""
    if end is None:
        end = len(data)
    if start < end and data[start] in b"\r\n":
        blank = _BLANK_FIRST.match(data, start, end)
        if blank is not None:
            return Header(b"", start, blank.end(), blank.group())
    blank = BLANK_LINE.search(data, start, end)
    if blank is None:
        fields_end = body_start = end
    else:
        fields_end = blank.start() + 1
        body_start = blank.end()
    if fields_end - start <= MAX_HEADER_OCTETS:
        octets = data[start:fields_end]
    else:
        octets = data[start : data.rfind(b"\n", start, start + MAX_HEADER_OCTETS) + 1]
    return Header(octets, start, body_start, data[fields_end:body_start])
