"""Puts commands together from lines and literals (RFC 3501 sections 4.3, 7.5; RFC 7888).

Knows the input buffer but no connection: whatever has to be said to the client comes out as an
event, and the protocol says it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import NamedTuple

from mailkit.hiding import hiding
from mailkit.imap.grammar import LITERAL_AT_END, Arguments, SyntaxFault
from mailkit.wire.buffer import InputBuffer, LineTooLong
from mailkit.wire.chars import TAG_CHAR, octet_class

# RFC 3501 section 6.3.11, RFC 8508 section 5.
_TAKES_MESSAGES = re.compile(
    rb"([%b]+) (?i:APPEND|(?:UID )?REPLACE [0-9*]+) " % octet_class(TAG_CHAR)
)


@hiding("octets")
class CommandOctets(NamedTuple):
    """A complete command with its literals inside, without the last CRLF."""

    octets: bytes


class Continue(NamedTuple):
    """The client waits for ``+`` before it sends a literal."""


class MessageLiteral(NamedTuple):
    """APPEND announces a message; :meth:`CommandReader.accept_literal` or ``refuse_literal`` next.

    :ivar octets: the command up to the announcement; behind an accepted message, what follows it.
    """

    octets: bytes
    size: int
    synchronizing: bool


class MessageLine(NamedTuple):
    """What follows the last octet of an accepted message literal, without CRLF."""

    octets: bytes


class TooLong(NamedTuple):
    """A command or literal exceeded its limit; the octets are swallowed, the reader is in step."""

    tag: bytes
    text: str


class Hopeless(NamedTuple):
    """A non-synchronizing literal too large even to be swallowed: the connection must end."""

    tag: bytes


Event = CommandOctets | Continue | MessageLiteral | MessageLine | TooLong | Hopeless


class _Mode(enum.Enum):
    LINE = enum.auto()
    LITERAL = enum.auto()
    #: A message of APPEND was announced; nobody has decided yet.
    DECISION = enum.auto()
    MESSAGE = enum.auto()
    MESSAGE_LINE = enum.auto()
    SWALLOW_LITERAL = enum.auto()
    SWALLOW_LINE = enum.auto()


# To look a member of an Enum up takes long.
_LINE = _Mode.LINE


class CommandReader:
    """Takes commands from a buffer.

    :param max_line: octets of a command outside of its literals.
    :param max_literal: octets of one literal that is not a message.
    :param max_swallow: octets of an unwanted non-synchronizing literal that are still read.
    :param max_unasked: octets of a non-synchronizing literal that is no message; None for as many as
        of any other.
    """

    #: Octets of all the literals of a command together, messages not counted.
    max_literals = 256 * 1024

    def __init__(
        self,
        buffer: InputBuffer,
        max_line: int,
        max_literal: int,
        max_swallow: int,
        max_unasked: int | None = None,
    ) -> None:
        self._buffer = buffer
        #: May be changed between two commands.
        self.max_line = max_line
        self._max_literal = max_literal
        self._max_swallow = max_swallow
        self._max_unasked = max_literal if max_unasked is None else max_unasked
        self._mode = _LINE
        self._parts: list[bytes] = []
        self._line_octets = 0
        self._literal_octets = 0
        self._left = 0
        self._write: Callable[[bytes], None] | None = None
        self._refusal: TooLong | None = None
        self._synchronizing = False
        #: None as long as nobody has looked for it.
        self._tag: bytes | None = None

    def _begin(self) -> None:
        self._mode = _LINE
        if self._parts:
            self._parts = []
        self._line_octets = self._literal_octets = self._left = 0
        self._write = self._refusal = None
        self._tag = None

    def read(self) -> Event | None:
        """The next event, or None when more octets are needed."""
        while True:
            mode = self._mode
            if mode is _LINE:
                event = self._read_line()
                if event is not None or self._mode is _LINE:
                    return event
            elif mode is _Mode.LITERAL:
                if not self._read_literal():
                    return None
            elif mode is _Mode.MESSAGE:
                if not self._read_message():
                    return None
            elif mode is _Mode.MESSAGE_LINE:
                return self._read_message_line()
            elif mode is _Mode.SWALLOW_LITERAL:
                if not self._swallow_literal():
                    return None
            elif mode is _Mode.SWALLOW_LINE:
                event = self._swallow_line()
                if event is not None or self._mode is _Mode.SWALLOW_LINE:
                    return event
            else:
                return None

    # The lines of a command and its small literals.

    def _read_line(self) -> Event | None:
        data = self._buffer.data
        if not data:
            return None
        if len(data) > 8192 and len(self._buffer) > 8192:
            self._remember_tag()
        try:
            # lenient: a bare LF ends a line too, as people and scripts send it. Literals are
            # counted, so nothing can hide there.
            line = self._buffer.take_line(self.max_line - self._line_octets)
        except LineTooLong:
            tag = _tag(self._parts[0]) if self._parts else self._tag or b""
            self._begin()
            return TooLong(tag, "The command line is too long")
        if line is None:
            return None
        # RFC 7888 section 3: the end of every line is checked for the announcement of a literal.
        literal = LITERAL_AT_END.search(line) if line.endswith(b"}") else None
        if literal is None:
            if not self._parts and self._tag is None:
                return CommandOctets(line)
            octets = b"".join([*self._parts, line])
            self._begin()
            return CommandOctets(octets)
        before = line[: literal.start()]
        if tag := _announces_message([*self._parts[:1], before]):
            octets = b"".join([*self._parts, before])
            self._parts = []
            self._tag = tag
            return self._announce(octets, literal)
        size = _size(literal)
        synchronizing = not literal.group(2)
        self._parts.append(line + b"\r\n")
        self._line_octets += len(line) + 2
        self._literal_octets += size
        return self._begin_literal(size, synchronizing)

    def _begin_literal(self, size: int, synchronizing: bool) -> Event | None:
        if not synchronizing and self._max_unasked < size <= self._max_literal:
            text = f"A literal of more than {self._max_unasked} octets has to wait for the server"
            return self._refuse(TooLong(_tag(self._parts[0]), text), size, synchronizing)
        if size > self._max_literal or self._literal_octets > self.max_literals:
            refusal = TooLong(_tag(self._parts[0]), "The literal is too large")
            return self._refuse(refusal, size, synchronizing)
        self._left = size
        self._mode = _Mode.LITERAL
        return Continue() if synchronizing else None

    def _remember_tag(self) -> None:
        # The buffer forgets an overlong line, but the answer should carry its tag.
        if self._tag is None and not self._parts:
            head = self._buffer.take(256)
            self._buffer.unread(head)
            self._tag = _tag(head)

    def _read_literal(self) -> bool:
        if self._left:
            data = self._buffer.take(self._left)
            self._parts.append(data)
            self._left -= len(data)
            if self._left:
                return bool(data)
        self._mode = _LINE
        return True

    # Messages.

    def accept_literal(self, write: Callable[[bytes], None]) -> None:
        """Give the announced message's octets to ``write``, piece by piece."""
        self._write = write
        self._mode = _Mode.MESSAGE

    def refuse_literal(self, max_swallow: int | None = None) -> Event | None:
        """Do not take the announced message.

        :returns: Hopeless when it is too large to be swallowed.
        """
        limit = self._max_swallow if max_swallow is None else max_swallow
        event = self._refuse(None, self._left, self._synchronizing, limit)
        return event

    def drop_message(self) -> None:
        """Go on reading the accepted message, but throw it away."""
        self._write = None

    def _read_message(self) -> bool:
        while self._left:
            data = self._buffer.take(self._left)
            if not data:
                return False
            self._left -= len(data)
            if self._write is not None:
                self._write(data)
        self._mode = _Mode.MESSAGE_LINE
        return True

    def _read_message_line(self) -> Event | None:
        try:
            line = self._buffer.take_line(self.max_line)
        except LineTooLong:
            line = b"too long"
        if line is None:
            return None
        literal = LITERAL_AT_END.search(line) if line.endswith(b"}") else None
        if literal is not None:
            return self._announce(line[: literal.start()], literal)
        self._begin()
        return MessageLine(line)

    def _announce(self, octets: bytes, literal: re.Match[bytes]) -> MessageLiteral:
        self._left = _size(literal)
        self._synchronizing = not literal.group(2)
        self._mode = _Mode.DECISION
        return MessageLiteral(octets, self._left, self._synchronizing)

    # What nobody wants.

    def _refuse(
        self, refusal: TooLong | None, size: int, synchronizing: bool, limit: int | None = None
    ) -> Event | None:
        if synchronizing:
            # The client has not sent the literal and gives the command up.
            self._begin()
            return refusal
        if size > (self._max_swallow if limit is None else limit):
            return Hopeless(refusal.tag if refusal else self._tag or b"")
        self._begin()
        self._left = size
        self._refusal = refusal
        self._mode = _Mode.SWALLOW_LITERAL
        return None

    def _swallow_literal(self) -> bool:
        while self._left:
            data = self._buffer.take(min(self._left, 1 << 20))
            if not data:
                return False
            self._left -= len(data)
        self._mode = _Mode.SWALLOW_LINE
        return True

    def _swallow_line(self) -> Event | None:
        try:
            line = self._buffer.take_line(self.max_line)
        except LineTooLong:
            line = b""
        if line is None:
            return None
        refusal = self._refusal
        literal = LITERAL_AT_END.search(line)
        if literal is not None and literal.group(2):
            self._left = _size(literal)
            if self._left > self._max_swallow:
                return Hopeless(refusal.tag if refusal else b"")
            self._mode = _Mode.SWALLOW_LITERAL
            return None
        self._begin()
        return refusal


def _size(literal: re.Match[bytes]) -> int:
    """The announced octets; a number that nobody could mean counts as very large."""
    digits: bytes = literal.group(1)
    return int(digits if len(digits) <= 20 else digits.lstrip(b"0")[:20] or b"0")


def _tag(octets: bytes) -> bytes:
    """The tag that a command begins with, or nothing."""
    try:
        tag = Arguments(octets).tag()
    except SyntaxFault:
        return b""
    return tag if octets[len(tag) : len(tag) + 1] == b" " else b""


def _announces_message(lines: list[bytes]) -> bytes:
    """The tag of a command whose message comes next; nothing if another literal does.

    :param lines: the first line of the command, and the octets before the literal.
    """
    command = _TAKES_MESSAGES.match(lines[0])
    if command is None:
        return b""
    # The literal directly behind the command's name is the mailbox's name.
    return command[1] if len(lines) > 1 or len(lines[0]) > command.end() else b""
