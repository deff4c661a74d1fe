"""Puts responses together from lines and literals. No I/O.

Contents of messages go to whoever wants them, piece by piece; all else stays in the octets of the
response. What is longer than a limit ends the connection: nobody could stay in step with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

from mailkit.client.content import CONTENT_MEMORY, SHARED_CONTENT_MEMORY, Content
from mailkit.client.errors import ProtocolError
from mailkit.spool import Spool, SpoolMemory
from mailkit.wire.buffer import InputBuffer, LineTooLong


class ResponseLimits(NamedTuple):
    """What a server may send, in octets where nothing else is said."""

    #: One response without its literals. A SEARCH in a million messages has ten MiB.
    line: int = 16 * 1024 * 1024
    #: Literals of one response that are not contents of messages, together.
    strings: int = 4 * 1024 * 1024
    #: Strings, atoms, parentheses of one response: of BODYSTRUCTURE, ENVELOPE, flags, capabilities.
    #: One of our own server, with ten thousand parts or as many addresses in six fields, has
    #: up to 370,000.
    tokens: int = 1_000_000
    #: Numbers of a SEARCH or THREAD response, and branches of the latter.
    numbers: int = 2_000_000
    #: Ranges of one set: of VANISHED, ESEARCH, COPYUID.
    ranges: int = 500_000
    #: The sections of a message in one response, together.
    content: int = 2 * 1024 * 1024 * 1024
    #: Sections of a message in one response, each with a place of its own.
    sections: int = 10_000
    #: Lists within lists, and parts within parts.
    depth: int = 100
    #: Messages, mailboxes or the like that answer one command.
    values: int = 5_000_000
    #: The responses to one command, without contents of messages, that are kept until its end or
    #: until somebody takes them.
    answer: int = 512 * 1024 * 1024


#: The limits where nothing else is said.
RESPONSE_LIMITS = ResponseLimits()

_LITERAL = re.compile(rb"(~?)\{(\d{1,20})\}\Z")
# Text for people may end like a literal.
_TEXT = re.compile(rb"\+|[^ ]+ (?:OK|NO|BAD|BYE|PREAUTH)(?: |\Z)", re.IGNORECASE)
_FETCH = re.compile(rb"\* \d+ FETCH ", re.IGNORECASE)
_CONTENT = re.compile(
    rb"(?:(?:BODY|BINARY)\[[^\]\r\n]*\](?:<\d+>)?|RFC822(?:\.HEADER|\.TEXT)?) ~?\{\d+\}\Z",
    re.IGNORECASE,
)


class Sink(Protocol):
    """Takes the octets of a section of a message."""

    def write(self, data: bytes) -> object:
        """The next octets."""


class Response(NamedTuple):
    """One response, without its last CRLF."""

    octets: bytes
    #: Contents that are not in the octets, by the position of the literal that announces them;
    #: None for one that somebody else got.
    contents: dict[int, Content | None]


class ResponseReader:
    """Takes responses from received octets.

    :param choose_sink: asked for each content of a message: who takes it; None to keep it with the
        response.
    """

    def __init__(
        self,
        limits: ResponseLimits = RESPONSE_LIMITS,
        choose_sink: Callable[[], Sink | None] = lambda: None,
    ) -> None:
        self._buffer = InputBuffer()
        # The beginning of a line whose end has not come: put together once, however small the pieces.
        self._unended = bytearray()
        self._limits = limits
        self._choose_sink = choose_sink
        self._memory = SpoolMemory(SHARED_CONTENT_MEMORY)
        self._begin()

    def _begin(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0
        self._line_octets = self._string_octets = self._content_octets = self._literals = 0
        self._contents: dict[int, Content | None] = {}
        # Of the literal that is being read.
        self._left = 0
        self._sink: Sink | None = None

    @property
    def idle(self) -> bool:
        """Nothing has come that was not given out."""
        return not (len(self._buffer) or self._unended or self._parts)

    def take_rest(self) -> bytes:
        """What has come behind the last response."""
        rest = self._buffer.take_all() + self._unended
        self._unended.clear()
        return bytes(rest)

    def feed(self, data: bytes) -> None:
        """Add received octets."""
        if not (self._left or b"\n" in data):
            self._unended += data
            if len(self._unended) <= self._limits.line:
                return
            data = b""
        if self._unended:
            data = bytes(self._unended + data)
            self._unended.clear()
        self._buffer.feed(data)

    def read(self) -> Response | None:
        """The next response, or None when it is not here yet.

        :raises ProtocolError: it is longer than a limit allows.
        """
        while True:
            if self._left:
                piece = self._buffer.take(self._left)
                if not piece:
                    return None
                self._left -= len(piece)
                if self._sink is None:
                    self._add(piece)
                else:
                    self._sink.write(piece)
                continue
            self._sink = None
            waiting = len(self._buffer)
            try:
                line = self._buffer.take_line(self._limits.line - self._line_octets)
            except LineTooLong:
                raise ProtocolError("A response of the mail server is too long") from None
            if line is None:
                if len(self._buffer) != waiting:
                    # The buffer throws away what can be no line any more.
                    raise ProtocolError("A response of the mail server is too long")
                return None
            self._line_octets += len(line) + 2
            literal = _LITERAL.search(line)
            if literal is None or self._is_text(line):
                self._add(line)
                response = Response(b"".join(self._parts), self._contents)
                self._begin()
                return response
            self._begin_literal(line, int(literal[2]), literal.start())

    def _add(self, octets: bytes) -> None:
        self._parts.append(octets)
        self._length += len(octets)

    def _is_text(self, line: bytes) -> bool:
        return not self._parts and _TEXT.match(line) is not None

    def _begin_literal(self, line: bytes, size: int, start: int) -> None:
        position = self._length + start
        first = self._parts[0] if self._parts else line
        self._add(line + b"\r\n")
        self._left = size
        self._literals += 1
        if self._literals > self._limits.tokens:
            raise ProtocolError("A response of the mail server has too many values")
        if _FETCH.match(first) and _CONTENT.search(line):
            self._content_octets += size
            if self._content_octets > self._limits.content:
                raise ProtocolError("A message of the mail server is too large")
            if len(self._contents) >= self._limits.sections:
                raise ProtocolError("A response of the mail server has too many sections")
            self._sink = self._choose_sink()
            if self._sink is None:
                spool = Spool(memory_limit=CONTENT_MEMORY, memory=self._memory)
                self._sink = spool
                self._contents[position] = Content(spool)
            else:
                self._contents[position] = None
            return
        self._string_octets += size
        if self._string_octets > self._limits.strings:
            raise ProtocolError("A response of the mail server is too long")
