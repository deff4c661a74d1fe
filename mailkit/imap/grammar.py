"""From the octets of one complete command to its values (RFC 3501 section 9). No I/O."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from mailkit.errors import InvalidMailboxName
from mailkit.mime.dates import parse_imap_date, parse_imap_datetime
from mailkit.model import INBOX, SEPARATOR, SYSTEM_FLAGS, Flags
from mailkit.wire import utf7
from mailkit.wire.chars import ASTRING_CHAR, ATOM_CHAR, LIST_CHAR, TAG_CHAR, octet_class
from mailkit.wire.netunicode import net_unicode

#: The highest number that IMAP knows (RFC 3501 section 9, ``number``).
MAX_NUMBER = 2**32 - 1
#: The highest where sizes and modification sequences are meant (RFC 9051 section 9, ``number64``).
MAX_NUMBER64 = 2**63 - 1
#: Octets of a keyword.
MAX_KEYWORD = 255
#: Flags that one command may name.
MAX_FLAGS = 500
#: Values of one list in parentheses.
MAX_VALUES = 10_000
#: Levels of a part's number.
MAX_PART_DEPTH = 100
#: Ranges of one sequence set.
MAX_RANGES = 100_000

#: Stands for ``*`` in a sequence set; no message has this number.
STAR = 0
#: Ranges of numbers, both ends included, as written: an end may be :data:`STAR`.
SequenceSet = tuple[tuple[int, int], ...]
#: Stands for ``$``, the messages that a search has saved (RFC 5182 section 2.1).
SAVED: SequenceSet = ((-1, -1),)

_Value = TypeVar("_Value")

_ATOM = re.compile(b"[%b]+" % octet_class(ATOM_CHAR))
_ASTRING = re.compile(b"[%b]+" % octet_class(ASTRING_CHAR))
_LIST_MAILBOX = re.compile(b"[%b]+" % octet_class(LIST_CHAR))
_TAG = re.compile(b"[%b]+" % octet_class(TAG_CHAR))
# What most commands begin with.
_HEAD = re.compile(b"([%b]+) ([%b]+)" % (octet_class(TAG_CHAR), octet_class(ATOM_CHAR)))
# RFC 3501 section 9, quoted: TEXT-CHAR except quoted-specials, or a quoted-special behind a
# backslash. lenient: 8-bit octets too, which widely used libraries send in SEARCH and LOGIN without
# a literal; whoever uses the string judges them. Unrolled, so that a missing quote costs linear time.
_QUOTED = re.compile(rb'"([^"\\\r\n\x00]*(?:\\["\\][^"\\\r\n\x00]*)*)"')
_ESCAPED = re.compile(rb'\\(["\\])')
# RFC 7888 section 8; the octets follow the CRLF.
_LITERAL = re.compile(rb"\{(\d{1,20})\+?\}\r\n")
_LITERAL8 = re.compile(rb"~\{(\d{1,20})\+?\}\r\n")
_END = re.compile(rb" *\Z")
_NUMBER = re.compile(rb"\d{1,20}")
# What a sequence set is made of; each range is judged on its own.
_SEQUENCE_SET = re.compile(rb"[\d:,*]+")
_PART_NUMBER = re.compile(rb"[1-9]\d{0,9}")
_FLAG = re.compile(b"\\\\?[%b]+" % octet_class(ATOM_CHAR))
_DATE = re.compile(rb'("?)(\d{1,2}-[A-Za-z]{3}-\d{4})\1')

#: The end of a line that announces a literal: size, and ``+`` for a non-synchronizing one.
LITERAL_AT_END = re.compile(rb"\{(\d+)(\+?)\}\Z")

_SYSTEM_FLAGS = {flag.lower(): flag for flag in SYSTEM_FLAGS}


class SyntaxFault(Exception):
    """The command is not what the standard's grammar allows; the text is for the client.

    :param code: a response code without its brackets.
    """

    def __init__(self, text: str, code: bytes = b"") -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class Command(NamedTuple):
    """One command: its tag, its name in capitals (``UID FETCH``), and what follows."""

    tag: bytes
    verb: bytes
    arguments: Arguments


class Arguments:
    """Reads the values of one command from its octets, from left to right.

    Literals stand in the octets as on the wire: ``{3}``, CRLF, and three octets.
    Every method raises :class:`SyntaxFault` when something else stands there.
    """

    __slots__ = (
        "data",
        "denormalized",
        "max_size",
        "position",
        "takes_saved",
        "takes_utf8",
        "trims_names",
        "utf8",
    )

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position
        #: A separator at the end of a mailbox's name is ignored (the quirk ``extra-separator``).
        self.trims_names = False
        #: Names of mailboxes are UTF-8 (RFC 9051 section 5.1), not modified UTF-7.
        self.utf8 = False
        #: Names with octets of 8 bits are UTF-8 (RFC 6855 section 3), though the others are not.
        self.takes_utf8 = False
        #: ``$`` stands for what a search has saved (RFC 5182).
        self.takes_saved = True
        #: The highest number for octets: of 63 bits in IMAP4rev2 (RFC 9051 appendix D).
        self.max_size = MAX_NUMBER
        #: The last name that was no Net-Unicode, as the client wrote it (RFC 9051 section 6.3.9.7).
        self.denormalized: str | None = None

    # Punctuation.

    def at_end(self) -> bool:
        """Nothing but blanks follows."""
        return _END.match(self.data, self.position) is not None

    def end(self) -> None:
        """Nothing may follow. lenient: blanks at the end of a command do no harm."""
        if self.position < len(self.data) and not self.at_end():
            raise SyntaxFault("There is more behind the command than belongs there")

    def accept(self, octets: bytes) -> bool:
        """Skip these octets if they stand here."""
        if self.data.startswith(octets, self.position):
            self.position += len(octets)
            return True
        return False

    def accept_word(self, word: bytes) -> bool:
        """Skip an atom in any letter case if it stands here."""
        if not self.looking_at_word(word):
            return False
        self.position += len(word)
        return True

    def looking_at_word(self, word: bytes) -> bool:
        """Whether an atom stands here, in any letter case."""
        match = _ATOM.match(self.data, self.position)
        return match is not None and match.group().upper() == word

    def looking_at(self, octets: bytes) -> bool:
        """Whether these octets stand here."""
        return self.data.startswith(octets, self.position)

    def expect(self, octets: bytes) -> None:
        if not self.accept(octets):
            raise SyntaxFault(f"'{octets.decode('ascii')}' is missing")

    def space(self) -> None:
        """The single space between two arguments."""
        position = self.position
        if self.data[position : position + 1] == b" ":
            self.position = position + 1
        else:
            raise SyntaxFault("An argument is missing" if self.at_end() else "A space is missing")

    def parenthesized(self, read: Callable[[], _Value], *, empty: bool = False) -> list[_Value]:
        """``(value value ...)``.

        :param empty: ``()`` is allowed.
        """
        self.expect(b"(")
        values: list[_Value] = []
        if empty and self.accept(b")"):
            return values
        while True:
            values.append(read())
            if self.accept(b")"):
                return values
            if len(values) >= MAX_VALUES:
                raise SyntaxFault(f"A list has at most {MAX_VALUES} values")
            self.space()

    # Strings.

    def _match(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        match = pattern.match(self.data, self.position)
        if match is None:
            raise SyntaxFault(f"{what} is missing or contains octets that are not allowed")
        self.position = match.end()
        return match.group()

    def tag(self) -> bytes:
        return self._match(_TAG, "The tag")

    def atom(self, what: str = "A word") -> bytes:
        return self._match(_ATOM, what)

    def word(self, what: str = "A word") -> bytes:
        """An atom in capitals."""
        return self.atom(what).upper()

    def string(self) -> bytes:
        """A quoted string or a literal."""
        data = self.data
        if data.startswith(b'"', self.position):
            match = _QUOTED.match(data, self.position)
            if match is None:
                raise SyntaxFault(
                    "A quoted string has no end, a bad escape, or octets that need a literal"
                )
            self.position = match.end()
            value = match.group(1)
            return _ESCAPED.sub(rb"\1", value) if b"\\" in value else value
        match = _LITERAL.match(data, self.position)
        if match is None:
            raise SyntaxFault("A string is missing")
        start = match.end()
        end = start + int(match.group(1))
        value = data[start:end]
        # RFC 3501 section 9: CHAR8 is any OCTET except NUL.
        if end > len(data) or b"\0" in value:
            raise SyntaxFault("A literal must not contain NUL octets")
        self.position = end
        return value

    def nstring8(self) -> bytes | None:
        """A string or NIL, or ``~`` and a literal, which may contain NUL (RFC 3516 section 4)."""
        match = _LITERAL8.match(self.data, self.position)
        if match is None:
            return self.nstring()
        end = match.end() + int(match.group(1))
        if end > len(self.data):
            raise SyntaxFault("A literal is missing")
        self.position = end
        return self.data[match.end() : end]

    def astring(self, what: str = "An argument") -> bytes:
        """An atom (``]`` allowed), a quoted string or a literal."""
        match = _ASTRING.match(self.data, self.position)
        if match is not None:
            self.position = match.end()
            return match.group()
        if self.data[self.position : self.position + 1] in (b'"', b"{"):
            return self.string()
        return self._match(_ASTRING, what)

    def nstring(self) -> bytes | None:
        """A string or NIL."""
        if self.accept_word(b"NIL"):
            return None
        return self.string()

    def text(self, octets: bytes, what: str) -> str:
        """Octets that have to be UTF-8, decoded."""
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            raise SyntaxFault(f"{what} is not valid UTF-8") from None

    # Numbers.

    def number(self) -> int:
        value = int(self._match(_NUMBER, "A number"))
        if value > MAX_NUMBER:
            raise SyntaxFault("A number is too large")
        return value

    def nonzero_number(self) -> int:
        value = self.number()
        if value == 0:
            raise SyntaxFault("0 is not allowed here")
        return value

    def number64(self) -> int:
        """RFC 9051 section 9: up to :data:`MAX_NUMBER64`."""
        value = int(self._match(_NUMBER, "A number"))
        if value > MAX_NUMBER64:
            raise SyntaxFault("A number is too large")
        return value

    def sequence_set(self) -> SequenceSet:
        """Numbers of messages, or :data:`SAVED`."""
        if self.takes_saved and self.accept(b"$"):
            return SAVED
        parts = self._match(_SEQUENCE_SET, "A sequence set").split(b",")
        if len(parts) > MAX_RANGES:
            raise SyntaxFault(f"A sequence set has at most {MAX_RANGES} ranges")
        ranges = []
        for part in parts:
            low, colon, high = part.partition(b":")
            first = _sequence_number(low)
            ranges.append((first, _sequence_number(high) if colon else first))
        return tuple(ranges)

    def at_sequence_set(self) -> bool:
        """Whether a sequence set stands here."""
        return self.data[self.position : self.position + 1] in _SEQUENCE_START

    # Dates.

    def date(self) -> datetime.date:
        octets = self._match(_DATE, "A date (such as 1-Feb-1994)")
        date = parse_imap_date(octets.strip(b'"'))
        if date is None:
            raise SyntaxFault("There is no such day")
        return date

    def date_time(self) -> int:
        """Seconds since the epoch."""
        octets = self.string()
        if octets[1:2] == b"-":
            # lenient: some programs drop the blank before a day of one digit.
            octets = b" " + octets
        seconds = parse_imap_datetime(octets)
        if seconds is None:
            raise SyntaxFault('A date-time looks like "17-Jul-1996 02:44:25 -0700"')
        return seconds

    # Mailboxes and flags.

    def mailbox(self) -> str:
        """The name of a mailbox in Net-Unicode; INBOX in capitals.

        :raises InvalidMailboxName: the octets are no name in modified UTF-7.
        """
        return self.to_mailbox(self.astring("A mailbox name"))

    def to_mailbox(self, octets: bytes) -> str:
        """The name of a mailbox from a string; see :meth:`mailbox`."""
        name = self._decode_mailbox(octets)
        if self.trims_names and len(name) > 1 and name.endswith(SEPARATOR):
            name = name[:-1]
        if not name:
            raise InvalidMailboxName("A mailbox name must not be empty")
        name = canonical(name)
        normal = net_unicode(name)
        if normal != name:
            self.denormalized = name
        return normal

    def list_reference(self) -> str:
        """The first argument of LIST and LSUB: may be empty."""
        return net_unicode(self._decode_mailbox(self.astring("A reference name")))

    def list_octets(self, what: str) -> bytes:
        """RFC 3501 section 9, ``list-mailbox``: an argument that may have wildcards."""
        if self.data[self.position : self.position + 1] in (b'"', b"{"):
            return self.string()
        return self._match(_LIST_MAILBOX, what)

    def list_pattern(self) -> str:
        """The second argument of LIST and LSUB: a name with wildcards."""
        return net_unicode(self._decode_mailbox(self.list_octets("A mailbox pattern")))

    def _decode_mailbox(self, octets: bytes) -> str:
        return decode_mailbox(octets, self.utf8 or (self.takes_utf8 and not octets.isascii()))

    def flag(self) -> str:
        """One flag that a client may set."""
        octets = self._match(_FLAG, "A flag")
        name = octets.decode("ascii")
        if name.startswith("\\"):
            # RFC 3501 section 9: flag-extension is for future standards; \Recent can't be set.
            try:
                return _SYSTEM_FLAGS[name.lower()]
            except KeyError:
                raise SyntaxFault(f"{name} is not a flag that can be set") from None
        if len(name) > MAX_KEYWORD:
            raise SyntaxFault(f"A keyword has at most {MAX_KEYWORD} octets")
        return name

    def flag_list(self) -> Flags:
        """``(flag flag ...)``, possibly empty."""
        return _flags(self.parenthesized(self.flag, empty=True))

    def store_flags(self) -> Flags:
        """The argument of STORE: a flag list, or flags without parentheses."""
        if self.looking_at(b"("):
            return self.flag_list()
        flags = [self.flag()]
        while len(flags) <= MAX_FLAGS and self.accept(b" "):
            flags.append(self.flag())
        return _flags(flags)


_SEQUENCE_START = frozenset(bytes((octet,)) for octet in b"0123456789*$")


def _sequence_number(octets: bytes) -> int:
    if octets == b"*":
        return STAR
    # Python takes long for numbers of many digits.
    number = int(octets) if octets.isdigit() and len(octets) <= 10 else 0
    if octets[:1] == b"0" or not 0 < number <= MAX_NUMBER:
        raise SyntaxFault("A message number lies between 1 and 4294967295")
    return number


def part_numbers(octets: bytes) -> tuple[int, ...]:
    """The number of a part of a message, ``1.2``."""
    parts = octets.split(b".")
    if len(parts) > MAX_PART_DEPTH or not all(map(_PART_NUMBER.fullmatch, parts)):
        raise SyntaxFault("The part number has too many levels or is too large")
    numbers = tuple(map(int, parts))
    if max(numbers) > MAX_NUMBER:
        raise SyntaxFault("The part number has too many levels or is too large")
    return numbers


def _flags(flags: list[str]) -> Flags:
    if len(flags) > MAX_FLAGS:
        raise SyntaxFault(f"At most {MAX_FLAGS} flags can be given at once")
    known: dict[str, str] = {}
    for flag in flags:
        known.setdefault(flag.lower(), flag)
    return frozenset(known.values())


def decode_mailbox(octets: bytes, utf8: bool = False) -> str:
    """A mailbox name as a client writes it.

    :raises InvalidMailboxName: it is not modified UTF-7 (RFC 3501 section 5.1.3).
    :raises SyntaxFault: it is not UTF-8 (RFC 6855 section 3).
    """
    if utf8:
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            raise SyntaxFault("The mailbox name is not valid UTF-8") from None
    try:
        return utf7.decode(octets)
    except ValueError:
        raise InvalidMailboxName("The mailbox name is not valid modified UTF-7") from None


def canonical(name: str) -> str:
    """RFC 3501 section 5.1: INBOX in any letter case is INBOX; so is the level above others."""
    first, separator, rest = name.partition(SEPARATOR)
    if first != INBOX and first.isascii() and first.upper() == INBOX:
        return INBOX + separator + rest
    return name


def parse_command(octets: bytes) -> Command:
    """The tag and the name of a command.

    :param octets: the whole command, literals included, without the last CRLF.
    :raises SyntaxFault: as ``CommandFault`` when at least the tag is good.
    """
    head = _HEAD.match(octets)
    if head is not None:
        tag, verb = head.groups()
        verb = verb.upper()
        if verb != b"UID":
            return Command(tag, verb, Arguments(octets, head.end()))
    # Step by step, to see what is wrong.
    arguments = Arguments(octets)
    tag = arguments.tag()
    if octets[len(tag) :] and not octets.startswith(b" ", len(tag)):
        # What begins like a tag is none, and may be the tag of another command.
        raise SyntaxFault("The tag contains octets that are not allowed")
    if octets.rstrip() == tag:
        raise CommandFault(tag, "A command stands behind its tag, as in: a1 NOOP")
    try:
        arguments.space()
        verb = arguments.word("The command")
        if verb == b"UID":
            arguments.space()
            verb = b"UID " + arguments.word("The command")
    except SyntaxFault as fault:
        raise CommandFault(tag, fault.text) from None
    return Command(tag, verb, arguments)


class CommandFault(SyntaxFault):
    """A fault behind a good tag, so the answer can carry it."""

    def __init__(self, tag: bytes, text: str) -> None:
        super().__init__(text)
        self.tag = tag
