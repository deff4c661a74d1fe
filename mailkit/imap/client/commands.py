"""Commands as a client writes them (RFC 9051 section 9). No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, TypeAlias

from mailkit.annotations import Annotation
from mailkit.client.content import Content
from mailkit.imap.client.responses import Typed
from mailkit.imap.client.selected import Selected
from mailkit.imap.client.sets import RangeSet
from mailkit.imap.client.values import PassedOver, Status
from mailkit.mime.nstring import MAX_QUOTED
from mailkit.model import SYSTEM_FLAGS
from mailkit.spool import Spool
from mailkit.wire import utf7
from mailkit.wire.chars import ASTRING_CHAR, ATOM_CHAR, octet_class

#: Octets of a literal that are read and written in one go.
PIECE = 64 * 1024

_ATOM = re.compile(rb"[%b]+" % octet_class(ATOM_CHAR))
_ASTRING = re.compile(rb"[%b]+" % octet_class(ASTRING_CHAR))
_NEEDS_LITERAL = re.compile(rb"[\x00\r\n\x80-\xff]")
_SPECIAL = re.compile(rb'(["\\])')
#: Data items of FETCH: a name, or a section with what belongs to it.
_FETCH_ITEM = re.compile(
    r"[A-Za-z0-9.-]+"
    r"|(?:BODY|BODY\.PEEK|BINARY|BINARY\.PEEK|BINARY\.SIZE)"
    r"\[[A-Za-z0-9.]*(?: \([!-'*-Z^-z|}~]+(?: [!-'*-Z^-z|}~]+)*\))?\](?:<\d+\.\d+>)?"
    r"|(?:PREVIEW|ANNOTATION) \([ -~]*\)",
    re.IGNORECASE,
)

_STATUS = frozenset(("OK", "NO", "BAD", "BYE"))
#: Response codes that come before a command's end.
_IN_CODES = frozenset(("COPYUID", "APPENDUID"))
#: Commands that messages are told to; SELECT with QRESYNC (RFC 7162 section 3.2.5).
_TELL_MESSAGES = frozenset(("UID FETCH", "SELECT", "EXAMINE"))

#: What a message to append may be given as: octets, a spool or fetched content, or a binary file
#: that can seek, from where it stands.
Source: TypeAlias = bytes | Spool | Content | BinaryIO


class Literal:
    """Counted octets: from memory or from a file, read in pieces.

    :raises TypeError: the source is none.
    """

    def __init__(self, source: Source, *, binary: bool = False) -> None:
        #: ``~{n}`` (RFC 3516 section 4.4): NUL may be in it.
        self.binary = binary
        self._source = source
        self._start = 0
        if isinstance(source, (bytes, bytearray, memoryview)):
            self.size = len(source)
        elif isinstance(source, (Spool, Content)):
            self.size = source.size
        elif hasattr(source, "seek"):
            self._start = source.tell()
            self.size = source.seek(0, 2) - self._start
            source.seek(self._start)
        else:
            raise TypeError(f"a message is octets or a file, not {type(source).__name__}")

    def pieces(self) -> Iterator[bytes]:
        """Just so many octets as were announced.

        :raises OSError: the file has become shorter, or cannot be read.
        """
        source = self._source
        if isinstance(source, (bytes, bytearray, memoryview)):
            for start in range(0, self.size, PIECE):
                yield bytes(source[start : start + PIECE])
            return
        ours = isinstance(source, (Spool, Content))
        reader: BinaryIO = source.open() if isinstance(source, (Spool, Content)) else source
        try:
            if not ours:
                reader.seek(self._start)
            left = self.size
            while left:
                piece = reader.read(min(left, PIECE))
                if not piece:
                    raise OSError("The message has become shorter while it was sent")
                left -= len(piece)
                yield piece
        finally:
            if ours:
                reader.close()


#: Octets of a command, and literals between them.
Part: TypeAlias = bytes | Literal


@dataclass
class Command:
    """One command: what to write, and how it goes together with others (RFC 9051 section 5.5)."""

    #: For people and for the state: ``UID FETCH``.
    name: str
    #: Behind the name, each with the space before it.
    parts: list[Part] = field(default_factory=list, repr=False)
    #: Nothing else may be under way.
    alone: bool = False
    #: It names messages by number: no command that may remove any is under way, and none has gone
    #: since the number was chosen.
    numbered: bool = False
    #: The server may remove messages meanwhile: all but FETCH, STORE and SEARCH by number.
    removes: bool = True
    #: Commands with one of these in common would not know whose the answers are.
    answers: frozenset[str] = frozenset()
    #: UIDs of which it wants FETCH responses; None for none. Numbers count as all.
    fetches: RangeSet | None = None
    #: Takes a response that belongs to the command; false for one that does not.
    collect: Callable[[Typed], bool] = lambda response: False
    #: Told when the command is about to be written.
    sent: Callable[[], None] = lambda: None
    #: Told at once when the command has ended.
    done: Callable[[Status], None] = lambda status: None
    #: Seconds that it may take, however much the server says; None where answers may be long.
    patience: float | None = None
    #: The mailbox that was selected when it was asked for: in another one it would do harm.
    selected: Selected | None = None
    #: The selected mailbox's count of removals when its numbers were chosen.
    removals: int = 0
    #: Given to it when it is sent.
    tag: bytes = b""

    def add(self, *parts: Part | str) -> Command:
        """Add an argument, with the space before it."""
        self.parts.append(b" ")
        self.parts += [each.encode("ascii") if isinstance(each, str) else each for each in parts]
        return self

    def conflicts(self, other: Command) -> bool:
        """Whether this may not be sent as long as the other is under way."""
        if self.alone or other.alone or self.answers & other.answers:
            return True
        if (self.numbered and other.removes) or (other.numbered and self.removes):
            return True
        return (
            self.fetches is not None
            and other.fetches is not None
            and self.fetches.overlaps(other.fetches)
        )

    def may_ask(self, response: PassedOver, uid: int | None) -> bool:
        """Whether this may be answered so.

        :param uid: of the message, where that is known.
        """
        if response.name in _STATUS:
            # Not of APPEND or STORE, say: what counts for those comes with the tag.
            return bool(self.answers & _IN_CODES) or self.name in ("SELECT", "EXAMINE")
        if response.name == "VANISHED":
            # RFC 7162 section 3.2.10.1
            return self.name in _TELL_MESSAGES
        if response.name not in ("FETCH", "UIDFETCH"):
            return self.fetches is None and self.name != "IDLE"
        if self.fetches is None:
            return self.name in _TELL_MESSAGES
        return uid is None or uid in self.fetches


def quoted(octets: bytes) -> Part:
    """A string: quoted where that is possible, else a literal.

    :raises ValueError: it holds a NUL.
    """
    if b"\0" in octets:
        raise ValueError("an IMAP string cannot hold a NUL")
    if len(octets) > MAX_QUOTED or _NEEDS_LITERAL.search(octets):
        return Literal(octets)
    return b'"' + _SPECIAL.sub(rb"\\\1", octets) + b'"'


def astring(text: str | bytes) -> Part:
    """An atom where that is possible, else a string."""
    octets = text.encode("utf-8") if isinstance(text, str) else text
    if _ASTRING.fullmatch(octets) and octets.upper() != b"NIL":
        return octets
    return quoted(octets)


def nstring(text: str | None) -> Part:
    """A string or NIL."""
    return b"NIL" if text is None else quoted(text.encode("utf-8"))


def mailbox(name: str, utf8: bool = False) -> Part:
    """The name of a mailbox.

    :param utf8: the server takes UTF-8 (RFC 6855, RFC 9051 section 5.1).
    """
    if not utf8:
        try:
            return astring(utf7.encode(name))
        except UnicodeEncodeError:
            # Octets that could not be decoded, as they came.
            return quoted(name.encode("utf-8", "surrogateescape"))
    octets = name.encode("utf-8", "surrogateescape")
    if octets.isascii():
        return astring(octets)
    if _SPECIAL.search(octets) or b"\r" in octets or b"\n" in octets or len(octets) > MAX_QUOTED:
        return Literal(octets)
    return b'"' + octets + b'"'


def pattern(text: str, utf8: bool = False) -> Part:
    """A mailbox name with wildcards, which no atom may have."""
    return quoted(utf7.encode(text)) if not utf8 else mailbox(text, True)


def annotation_list(annotations: Iterable[Annotation]) -> list[Part]:
    """What stands behind ANNOTATION (RFC 5257 section 4.5)."""
    entries: dict[str, list[Annotation]] = {}
    for each in annotations:
        entries.setdefault(each.entry, []).append(each)
    parts: list[Part] = []
    for entry, values in entries.items():
        parts += [b" " if parts else b"(", astring(entry), b" "]
        for number, (_, value, shared) in enumerate(values):
            name = b"value.shared " if shared else b"value.priv "
            parts += [b" " if number else b"(", name, nstring8(value)]
        parts.append(b")")
    return [*parts, b")"]


def nstring8(value: bytes | None) -> Part:
    """Any octets, or NIL (RFC 3516 section 4.4)."""
    if value is None:
        return b"NIL"
    return Literal(value, binary=True) if b"\0" in value else quoted(value)


def flag_list(flags: str | Iterable[str]) -> bytes:
    """
    :param flags: a text is one flag.
    :raises ValueError: one is no flag.
    """
    return b"(" + b" ".join(_flag(each) for each in _several(flags)) + b")"


def _several(names: str | Iterable[str]) -> Iterable[str]:
    return (names,) if isinstance(names, str) else names


def _flag(flag: str) -> bytes:
    name = flag.encode("utf-8")
    if not _ATOM.fullmatch(name[1:] if flag.startswith("\\") else name):
        raise ValueError(f"not a flag, such as {SYSTEM_FLAGS[0]} or $Forwarded: {flag!r}")
    return name


def label_list(labels: str | Iterable[str]) -> list[Part]:
    """Labels as Gmail has them: those of the system like flags, others like names of mailboxes.

    :param labels: a text is one label.
    """
    parts: list[Part] = []
    for label in _several(labels):
        system = label.startswith("\\") and _ATOM.fullmatch(label[1:].encode("utf-8"))
        parts += [b" " if parts else b"(", label.encode("ascii") if system else mailbox(label)]
    return [*(parts or [b"("]), b")"]


def fetch_items(items: str | Iterable[str]) -> tuple[str, ...]:
    """Names of data items as they are to be sent.

    :raises ValueError: one is none.
    """
    found = tuple(_several(items))
    for item in found:
        if _FETCH_ITEM.fullmatch(item) is None:
            raise ValueError(f"not a data item of FETCH: {item!r}")
    return found


def sort_keys(text: str) -> list[Part]:
    """What SORT takes (RFC 5256 section 5).

    :raises ValueError: one is no key.
    """
    return [b"(", b" ".join(atom(key.upper()) for key in text.split()), b")"]


def atom(text: str) -> bytes:
    """
    :raises ValueError: it is none.
    """
    octets = text.encode("utf-8")
    if _ATOM.fullmatch(octets) is None:
        raise ValueError(f"not an atom: {text!r}")
    return octets
