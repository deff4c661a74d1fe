"""Arguments and responses of METADATA (RFC 5464 section 5). No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mailkit.imap import render
from mailkit.imap.grammar import Arguments, SyntaxFault
from mailkit.imap.render import nstring8

#: Octets of an entry's name.
MAX_ENTRY = 255
#: Entries that one command names.
MAX_NAMED = 200

# RFC 5464 section 3.2: no wildcards, nothing but printable ASCII, no empty component.
_NAME = re.compile(rb"(?:/[\x1a-\x24\x26-\x29\x2b-\x2e\x30-\x7e]+)+")
_SCOPES = frozenset(("private", "shared"))


def read_mailbox(arguments: Arguments) -> str | None:
    """The mailbox, or None for the server (RFC 5464 section 4.1)."""
    start = arguments.position
    if not arguments.astring("A mailbox name"):
        return None
    arguments.position = start
    return arguments.mailbox()


def read_entry(arguments: Arguments, *, complete: bool = True) -> str:
    """The name of an entry, in lower case: case makes no difference.

    :param complete: it can have a value; otherwise it may be only the beginning of such names.
    """
    octets = arguments.astring("The name of an entry")
    if len(octets) > MAX_ENTRY:
        raise SyntaxFault(f"The name of an entry has at most {MAX_ENTRY} octets")
    if not _NAME.fullmatch(octets):
        raise SyntaxFault("An entry's name looks like /private/comment, without * and %")
    name = octets.decode("ascii").lower()
    levels = name.split("/")[1:]
    if levels[0] not in _SCOPES:
        raise SyntaxFault("An entry's name begins with /private or /shared")
    # RFC 5464 section 3.2: those of vendors have four components.
    wanted = 4 if levels[1:2] == ["vendor"] else 2
    if complete and len(levels) < wanted:
        raise SyntaxFault("That is only the beginning of an entry's name")
    return name


class GetOptions(NamedTuple):
    """The options of GETMETADATA (RFC 5464 sections 4.2.1, 4.2.2)."""

    max_size: int | None = None
    #: Levels below the named entries; None for all.
    depth: int | None = 0


def read_options(arguments: Arguments) -> GetOptions:
    """``(MAXSIZE 1024 DEPTH infinity)``"""
    found: dict[bytes, int | None] = {}

    def read() -> None:
        name = arguments.word("An option")
        if name in found:
            raise SyntaxFault(f"{name.decode('ascii')} is given twice")
        if name == b"MAXSIZE":
            arguments.space()
            found[name] = arguments.number()
        elif name == b"DEPTH":
            arguments.space()
            depth = arguments.word("A depth")
            if depth not in (b"0", b"1", b"INFINITY"):
                raise SyntaxFault("DEPTH is 0, 1 or infinity")
            found[name] = None if depth == b"INFINITY" else int(depth)
        else:
            raise SyntaxFault("GETMETADATA takes no options but MAXSIZE and DEPTH")

    arguments.parenthesized(read)
    return GetOptions(found.get(b"MAXSIZE"), found.get(b"DEPTH", 0))


def at_options(arguments: Arguments) -> bool:
    """Whether options stand here, and not a list of entries."""
    if not arguments.looking_at(b"("):
        return False
    return not any(arguments.looking_at(b"(" + first) for first in (b"/", b'"', b"{"))


def read_entries(arguments: Arguments) -> Sequence[str]:
    """``entry`` or ``(entry entry)``, each once."""
    entries: list[str] = []

    def read() -> None:
        entries.append(read_entry(arguments, complete=False))
        if len(entries) > MAX_NAMED:
            raise SyntaxFault(f"A command names at most {MAX_NAMED} entries")

    if arguments.looking_at(b"("):
        arguments.parenthesized(read)
    else:
        read()
        # lenient: the grammar wants parentheses, but RFC 5464 section 4.4.1 has none.
        while arguments.accept(b" "):
            read()
    return list(dict.fromkeys(entries))


def read_values(arguments: Arguments) -> Mapping[str, bytes | None]:
    """``(entry value entry NIL)``"""
    values: dict[str, bytes | None] = {}

    def read() -> None:
        entry = read_entry(arguments)
        arguments.space()
        if entry in values:
            raise SyntaxFault(f"{entry} is given twice")
        values[entry] = arguments.nstring8()
        if len(values) > MAX_NAMED:
            raise SyntaxFault(f"A command names at most {MAX_NAMED} entries")

    arguments.parenthesized(read)
    return values


class Selected(NamedTuple):
    """What GETMETADATA answers."""

    #: Entries with their values; None where there is none.
    entries: Sequence[tuple[str, bytes | None]]
    #: Octets of the largest value that is left out; 0 if none is.
    longest: int


def select(there: Mapping[str, bytes], names: Sequence[str], options: GetOptions) -> Selected:
    """The entries that a client wants.

    An entry that is named and does not exist is NIL, unless those below it are asked for too.
    """
    wanted: dict[str, bytes | None] = {}
    for name in names:
        if options.depth == 0:
            wanted[name] = there.get(name)
        else:
            wanted.update(_below(there, name, options.depth))
    longest = 0
    entries = []
    for name, value in wanted.items():
        if value is not None and options.max_size is not None and len(value) > options.max_size:
            longest = max(longest, len(value))
        else:
            entries.append((name, value))
    return Selected(entries, longest)


def _below(there: Mapping[str, bytes], name: str, depth: int | None) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(there):
        if entry == name:
            yield entry, there[entry]
        elif entry.startswith(name + "/"):
            levels = entry.count("/") - name.count("/")
            if depth is None or levels <= depth:
                yield entry, there[entry]


def render_entries(place: bytes, entries: Sequence[tuple[str, bytes | None]]) -> bytes:
    """The METADATA response with values (RFC 5464 section 4.4.1).

    :param place: name of the mailbox as it is sent; two quotes for the server.
    """
    pairs = [b"%b %b" % (render.astring(e.encode("ascii")), nstring8(v)) for e, v in entries]
    return b"* METADATA %b (%b)\r\n" % (place, b" ".join(pairs))


def render_names(place: bytes, entries: Sequence[str]) -> bytes:
    """The METADATA response that tells of changes (RFC 5464 section 4.4.2)."""
    names = b" ".join(render.astring(entry.encode("ascii")) for entry in entries)
    return b"* METADATA %b %b\r\n" % (place, names)
