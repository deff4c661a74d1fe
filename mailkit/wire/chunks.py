"""Counted chunks of one message: the octets after BDAT (RFC 3030 section 2)."""

from __future__ import annotations


class ChunkDecoder:
    """Takes chunk after chunk; no returned piece begins or ends between a CR and its LF.

    :ivar complete: the chunk that was begun last is here.
    :ivar finished: so is the whole message.
    """

    __slots__ = ("_held", "_last", "_left", "complete", "finished")

    def __init__(self) -> None:
        self._left = 0
        self._last = False
        # A CR whose LF may open the next chunk.
        self._held = b""
        self.complete = True
        self.finished = False

    def begin(self, size: int, last: bool) -> None:
        """Expect so many octets; the next call is :meth:`feed`, with nothing for an empty chunk."""
        self._left = size
        self._last = last
        self.complete = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take octets.

        :returns: content, and the octets that follow the chunk.
        """
        content, rest = data[: self._left], data[self._left :]
        self._left -= len(content)
        self.complete = not self._left
        self.finished = self.complete and self._last
        content = self._held + content
        self._held = b""
        if content.endswith(b"\r") and not self.finished:
            content, self._held = content[:-1], b"\r"
        return content, rest
