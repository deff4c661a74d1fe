"""Octets from a server to status lines, the lines of listings, and messages. No I/O."""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from mailkit.client.errors import ProtocolError
from mailkit.client.text import clean_text
from mailkit.wire.buffer import InputBuffer, LineTooLong
from mailkit.wire.dotstuff import DotDecoder


class ResponseLimits(NamedTuple):
    """What a server may send, in octets where nothing else is said."""

    #: A line that is none of a message, line end included. RFC 2449 section 4 says 512, and more
    #: where base64 is exchanged.
    line: int = 16 * 1024
    #: Lines of a listing.
    lines: int = 1_000_000
    #: All of a listing.
    listing: int = 64 * 1024 * 1024
    #: A message.
    content: int = 2 * 1024 * 1024 * 1024


#: The limits where nothing else is said.
RESPONSE_LIMITS = ResponseLimits()

# RFC 2449 section 3: status and text. lenient: any case.
_STATUS = re.compile(rb"(\+OK|-ERR)(?:[ \t]+(.*))?", re.IGNORECASE | re.DOTALL)
# RFC 2449 section 8: resp-level *("/" resp-level); any ASCII but "]" and "/" in each.
_CODE = re.compile(r"\[([!-Z^-~\\]{1,100})\] *")
_BARE = re.compile(rb"(?<!\r)\n\.\.")
_BARE_END = re.compile(rb"(?<!\r)\n\.?\Z")


class Status(NamedTuple):
    """``+OK`` or ``-ERR``."""

    positive: bool
    #: The response code in capitals, or nothing.
    code: str
    #: For people.
    text: str


class Challenge(NamedTuple):
    """``+``: the server asks for a step of an authentication."""

    octets: bytes


class Sink(Protocol):
    """Takes the octets of a message."""

    def write(self, data: bytes) -> object:
        """The next octets."""


class ResponseReader:
    """Takes responses from received octets; who reads knows what must come."""

    def __init__(self, limits: ResponseLimits = RESPONSE_LIMITS) -> None:
        self._buffer = InputBuffer()
        self._limits = limits
        self._lines = self._octets = 0
        self._decoder: ContentDecoder | None = None

    @property
    def idle(self) -> bool:
        """Nothing has come that was not given out."""
        return not len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add received octets."""
        self._buffer.feed(data)

    def read_status(self) -> Status | Challenge | None:
        """The next status line, or None when it is not here yet.

        :raises ProtocolError: something else has come.
        """
        line = self._take_line()
        if line is None:
            return None
        self._lines = self._octets = 0
        if line[:1] == b"+" and line[1:2] in (b" ", b""):
            # RFC 5034 section 4: "+" and a blank. lenient: without the blank.
            return Challenge(line[2:])
        found = _STATUS.fullmatch(line)
        if found is None:
            raise ProtocolError(f"The server's response is none: {clean_text(line[:80])!r}")
        positive, text = found[1][:1] == b"+", clean_text(found[2] or b"")
        code = _CODE.match(text) if not positive else None
        if code is None:
            return Status(positive, "", text)
        return Status(positive, code[1].upper(), text[code.end() :])

    def read_line(self) -> bytes | None:
        """The next line of a listing; None when it is not here yet.

        :raises EOFError: the listing has ended.
        :raises ProtocolError: it is longer than a limit allows.
        """
        line = self._take_line()
        if line is None:
            return None
        if line[:1] == b".":
            if line == b".":
                raise EOFError
            line = line[1:]
        self._lines += 1
        self._octets += len(line) + 2
        if self._lines > self._limits.lines or self._octets > self._limits.listing:
            raise ProtocolError("A listing of the mail server is too long")
        return line

    def read_content(self, sink: Sink) -> bool:
        """Give what has come of a message to whoever wants it; whether it has ended.

        :raises ProtocolError: it is longer than a limit allows.
        """
        if self._decoder is None:
            self._decoder = ContentDecoder()
        data = self._buffer.take_all()
        if not data:
            return False
        content, rest = self._decoder.feed(data)
        self._octets += len(content)
        if self._octets > self._limits.content:
            raise ProtocolError("A message of the mail server is too large")
        if content:
            sink.write(content)
        if not self._decoder.finished:
            return False
        self._decoder = None
        if rest:
            self._buffer.unread(rest)
        return True

    def _take_line(self) -> bytes | None:
        waiting = len(self._buffer)
        try:
            line = self._buffer.take_line(self._limits.line)
        except LineTooLong:
            line = None
        if line is None and len(self._buffer) != waiting:
            # The buffer throws away what can be no line any more.
            raise ProtocolError(f"A line of the server has more than {self._limits.line} octets")
        return line


class ContentDecoder:
    """Takes off the dots of a message (RFC 1939 section 3).

    Only CRLF "." CRLF ends it. After a bare LF one of two dots is taken off as well: servers that
    keep such messages as they are double dots there too, since many clients take LF for a line end.
    """

    def __init__(self) -> None:
        self._decoder = DotDecoder()
        self._held = b""

    @property
    def finished(self) -> bool:
        """The end has been seen."""
        return self._decoder.finished

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Decode a chunk.

        :returns: content, and the octets that follow the end.
        """
        content, rest = self._decoder.feed(data)
        if self._held:
            content = self._held + content
            self._held = b""
        if not self.finished and content[-2:-1] != b"\r" and content[-2:].find(b"\n") >= 0:
            end = _BARE_END.search(content)
            if end is not None:
                content, self._held = content[: end.start()], content[end.start() :]
        if b"\n.." in content:
            content = _BARE.sub(b"\n.", content)
        return content, rest
