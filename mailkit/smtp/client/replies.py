"""Octets from a server to replies, strictly and with bounds (RFC 5321 section 4.2). No I/O."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from mailkit.client.errors import ProtocolError
from mailkit.client.text import clean_text
from mailkit.smtp.grammar import Reply


class ReplyLimits(NamedTuple):
    """How long a server's replies may be; of longer ones the start is kept."""

    #: Octets of a line. RFC 5321 section 4.5.3.1.5 says 512.
    line: int = 2048
    #: Lines of one reply.
    lines: int = 200
    #: Octets of one reply.
    octets: int = 64 * 1024
    #: Octets of one reply with what is left out: beyond them it is none.
    received: int = 512 * 1024
    #: Replies that have come and nobody has asked for yet.
    pending: int = 10_000


#: Replies of one line that are remembered, and octets that it may have.
MAX_REMEMBERED = 256
MAX_REMEMBERED_LINE = 64

#: The limits where nothing else is said.
REPLY_LIMITS = ReplyLimits()

# RFC 5321 section 4.2: Reply-code = %x32-35 %x30-35 %x30-39; lenient: some servers say 571.
_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
# RFC 3463 section 2.
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: +|$)", re.ASCII)


class ReplyReader:
    """Collects octets and gives out whole replies.

    lenient: a line may end with a bare LF, as some servers send it; nothing can hide in a reply.
    """

    def __init__(self, limits: ReplyLimits = REPLY_LIMITS) -> None:
        self._limits = limits
        #: Octets of a line that may be a reply which is remembered.
        self._short = min(MAX_REMEMBERED_LINE, limits.line - 1, limits.octets - 2)
        self._partial = b""
        self._code = 0
        self._lines: list[bytes] = []
        #: Octets of the reply that is coming: those that are kept, and all.
        self._size = 0
        self._received = 0
        self._replies: deque[Reply] = deque()

    @property
    def idle(self) -> bool:
        """Nothing has come that was not given out."""
        return not (self._replies or self._lines or self._partial)

    def feed(self, data: bytes) -> None:
        """Add received octets.

        :raises ProtocolError: they are no replies, or too much of them. Replies that were whole
            before that are still given out.
        """
        *lines, partial = (self._partial + data).split(b"\n")
        self._partial = partial
        for line in lines:
            # Most servers say the same again and again.
            if len(line) <= self._short and not self._lines:
                reply = _remembered_reply(line)
                if reply is not None:
                    self._add(reply)
                    continue
            self._count(len(line) + 1)
            self._take(line.removesuffix(b"\r")[: self._limits.line])
        if len(partial) > self._limits.line:
            self._partial = partial[: self._limits.line]
            self._count(len(partial) - self._limits.line)

    def _count(self, octets: int) -> None:
        self._received += octets
        if self._received > self._limits.received:
            raise ProtocolError(f"A reply is longer than {self._limits.received} octets")

    def next_reply(self) -> Reply | None:
        """The oldest reply; None when it is not all here yet."""
        return self._replies.popleft() if self._replies else None

    def _take(self, line: bytes) -> None:
        found = _LINE.fullmatch(line)
        if found is None:
            raise ProtocolError(f"The server's reply is none: {clean_text(line[:80])!r}")
        code, separator, text = int(found[1]), found[2], found[3] or b""
        if self._lines and code != self._code:
            # RFC 5321 section 4.2.1: the code is that of each line. lenient: postscreen begins a
            # greeting, and ends it with a refusal.
            if code < 400 or self._code >= 400:
                raise ProtocolError(
                    f"The lines of a reply have different codes: {self._code}, {code}"
                )
            self._lines, self._size = [], 0
        self._code = code
        self._size += len(line) + 2
        if len(self._lines) < self._limits.lines and self._size <= self._limits.octets:
            self._lines.append(text)
        if separator == b"-":
            return
        self._add(make_reply(code, self._lines))
        self._lines = []

    def _add(self, reply: Reply) -> None:
        if len(self._replies) >= self._limits.pending:
            raise ProtocolError("The server sends replies that nobody asked for")
        self._size = self._received = 0
        self._replies.append(reply)


def make_reply(code: int, lines: Sequence[bytes]) -> Reply:
    """A reply from the texts of its lines, the enhanced status code taken off each."""
    enhanced = ""
    texts = []
    for line in lines:
        text = clean_text(line)
        found = _ENHANCED.match(text)
        # RFC 2034 section 4: the class is the first digit of the code.
        if found is not None and found[1][0] == str(code)[0]:
            enhanced = enhanced or found[1]
            text = text[found.end() :]
        texts.append(text)
    return Reply(code, enhanced, "\n".join(texts))


@lru_cache(MAX_REMEMBERED)
def _remembered_reply(line: bytes) -> Reply | None:
    """The reply that a line is by itself; None where it is not a whole one, or none at all."""
    found = _LINE.fullmatch(line.removesuffix(b"\r"))
    if found is None or found[2] == b"-":
        return None
    return make_reply(int(found[1]), (found[3] or b"",))
