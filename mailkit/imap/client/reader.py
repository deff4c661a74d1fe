"""Puts responses together from lines and literals. No I/O.

Contents of messages go to whoever wants them, piece by piece; all else stays in the octets of the
response. Of what is larger than a limit the beginning alone is kept: the rest is read and thrown
away, so that the next response is found where it begins.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import NamedTuple, Protocol

from mailkit.client.content import CONTENT_MEMORY, SHARED_CONTENT_MEMORY, Content
from mailkit.client.errors import ProtocolError
from mailkit.spool import Spool, SpoolMemory
from mailkit.wire.buffer import InputBuffer


class ResponseLimits(NamedTuple):
    """What a server may send, in octets where nothing else is said.

    A response that is larger is passed over: what asked for it fails with
    :class:`~mailkit.imap.client.ResponseTooLarge`. ``skipped``, ``values``, ``answer``, and what the
    client cannot go on without (a question, VANISHED), end the connection.
    """

    #: One response without its literals. A SEARCH in a million messages has ten MiB.
    line: int = 16 * 1024 * 1024
    #: The same of OK, NO, BAD, BYE and ``+``. The COPYUID of 100,000 messages, none beside another,
    #: has 1.4 MiB.
    status: int = 2 * 1024 * 1024
    #: Quotes, brackets and backslashes of a response code, at each of which it might end.
    quotes: int = 10_000
    #: Literals of one response that are not contents of messages, together.
    strings: int = 4 * 1024 * 1024
    #: Strings, atoms, parentheses of one response: of BODYSTRUCTURE, ENVELOPE, flags, capabilities.
    #: One of our own server, with ten thousand parts or as many addresses in six fields, has
    #: up to 370,000.
    tokens: int = 1_000_000
    #: Numbers of a SEARCH or THREAD response, and branches of the latter.
    numbers: int = 2_000_000
    #: Ranges of one set: of VANISHED, ESEARCH, COPYUID; of all sets of an update to a result.
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
    #: What is passed over of responses that are too large, until a command ends.
    skipped: int = 512 * 1024 * 1024


#: The limits where nothing else is said.
RESPONSE_LIMITS = ResponseLimits()

_LITERAL = re.compile(rb"(~?)\{(\d{1,20})\}\Z")
#: Octets of a response that is too large which are kept: they tell what it would have been.
HEAD = 256
# So many octets tell whether it is text, whose tag is ours.
_BEGINNING = 32
# Octets that a literal's announcement has at most, with its line end.
_TAIL = 32
# Text for people may end like a literal.
_TEXT = re.compile(rb"\+|[^ ]+ (?:OK|NO|BAD|BYE|PREAUTH)(?: |\Z)", re.IGNORECASE)
_FETCH = re.compile(rb"\* \d+ (?:(?:UID)?FETCH|CONVERTED) ", re.IGNORECASE)
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
    #: The limit that it exceeds: then the octets are its beginning alone. Empty where all is there.
    excess: str = ""


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
        self._skipped = 0
        self._begin()

    def _begin(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0
        self._line_octets = self._string_octets = self._content_octets = self._literals = 0
        self._contents: dict[int, Content | None] = {}
        # Of the literal that is being read.
        self._left = 0
        self._sink: Sink | None = None
        # Of a response that is passed over: the limit that it exceeds, how it begins, and the end of
        # the line in hand. Text for people has no literals.
        self._excess = ""
        self._head = self._tail = b""
        self._is_line = False

    @property
    def idle(self) -> bool:
        """Nothing has come that was not given out."""
        return not (len(self._buffer) or self._unended or self._parts or self._excess)

    def take_rest(self) -> bytes:
        """What has come behind the last response."""
        rest = self._buffer.take_all() + self._unended
        self._unended.clear()
        return bytes(rest)

    def feed(self, data: bytes) -> None:
        """Add received octets."""
        if not (self._left or self._excess or b"\n" in data):
            self._unended += data
            if not self._line_excess(bytes(self._unended[:_BEGINNING]), len(self._unended)):
                return
            data = b""
        if self._unended:
            data = bytes(self._unended + data)
            self._unended.clear()
        self._buffer.feed(data)

    def forgive(self) -> None:
        """Count anew what is passed over."""
        self._skipped = 0

    def read(self) -> Response | None:
        """The next response, or None when it is not here yet.

        :raises ProtocolError: too much had to be passed over.
        """
        while True:
            if self._left:
                piece = self._buffer.take(self._left)
                if not piece:
                    return None
                self._left -= len(piece)
                if self._sink is not None:
                    self._sink.write(piece)
                elif not self._excess:
                    self._add(piece)
                continue
            self._sink = None
            waiting = len(self._buffer)
            response = self._read_line()
            if response is not None or len(self._buffer) in (0, waiting):
                return response

    def _read_line(self) -> Response | None:
        """Read a line, or what is here of one that is too long.

        :returns: the response that ends with it; None where there is more of it.
        """
        line = self._buffer.take_line(sys.maxsize)
        if self._excess:
            return self._skip_line(line)
        if line is None:
            if excess := self._line_excess(self._buffer.peek(_BEGINNING), len(self._buffer)):
                self._skip_response(self._buffer.peek(HEAD), excess)
                self._skip_line(None)
            return None
        if excess := self._line_excess(line, len(line) + 2):
            self._skip_response(line, excess)
            return self._skip_line(line)
        self._line_octets += len(line) + 2
        literal = _LITERAL.search(line)
        if literal is not None and not self._is_text(line):
            self._begin_literal(line, int(literal[2]), literal.start())
            return None
        self._add(line)
        response = Response(b"".join(self._parts), self._contents)
        self._begin()
        return response

    def _line_excess(self, beginning: bytes, size: int) -> str:
        """The limit that a line exceeds, or nothing."""
        limits = self._limits
        if size > limits.status and self._is_text(beginning):
            return "status"
        if size > limits.line - self._line_octets:
            return "line"
        return ""

    # What is too large.

    def _skip_response(self, line: bytes, excess: str) -> None:
        """Pass over the response from here on.

        :param line: stands behind what there is of it.
        """
        self._is_line = self._is_text(line)
        self._head = (self._parts[0] if self._parts else line)[:HEAD]
        self._excess = excess
        for content in self._contents.values():
            if content is not None:
                content.close()
        self._parts, self._contents = [], {}

    def _skip(self, octets: int) -> None:
        self._skipped += octets
        if self._skipped > self._limits.skipped:
            raise ProtocolError("The mail server's responses are too large to be passed over")

    def _skip_line(self, line: bytes | None) -> Response | None:
        if line is None:
            piece = self._buffer.take_all()
            self._skip(len(piece))
            self._tail = (self._tail + piece)[-_TAIL:]
            return None
        self._skip(len(line) + 2)
        # Its CR may have come with the piece before.
        end = (self._tail + line[-_TAIL:]).removesuffix(b"\r")
        self._tail = b""
        literal = None if self._is_line else _LITERAL.search(end)
        if literal is not None:
            self._left = int(literal[2])
            self._skip(self._left)
            return None
        response = Response(self._head, {}, self._excess)
        self._begin()
        return response

    def _add(self, octets: bytes) -> None:
        self._parts.append(octets)
        self._length += len(octets)

    def _is_text(self, line: bytes) -> bool:
        return not self._parts and _TEXT.match(line) is not None

    def _begin_literal(self, line: bytes, size: int, start: int) -> None:
        position = self._length + start
        first = self._parts[0] if self._parts else line
        self._left = size
        self._literals += 1
        is_content = _FETCH.match(first) is not None and _CONTENT.search(line) is not None
        if is_content:
            self._content_octets += size
        else:
            self._string_octets += size
        excess = self._literal_excess(is_content)
        if excess:
            self._skip_response(line, excess)
            self._skip(size)
            return
        self._add(line + b"\r\n")
        if is_content:
            self._sink = self._choose_sink()
            if self._sink is None:
                spool = Spool(memory_limit=CONTENT_MEMORY, memory=self._memory)
                self._sink = spool
                self._contents[position] = Content(spool)
            else:
                self._contents[position] = None

    def _literal_excess(self, is_content: bool) -> str:
        """The limit that the literal which has been counted exceeds, or nothing."""
        limits = self._limits
        if self._literals > limits.tokens:
            return "tokens"
        if not is_content:
            if self._string_octets > limits.strings:
                return "strings"
        elif self._content_octets > limits.content:
            return "content"
        elif len(self._contents) >= limits.sections:
            return "sections"
        return ""
