"""Received octets that wait to be read: by line, by count, or all that is there."""

from __future__ import annotations

#: Octets of input that may be copied to take a line of it away.
SHORT = 512


class LineTooLong(Exception):
    """A line exceeded its limit; it has been swallowed to its end, the buffer is in step."""


class InputBuffer:
    """Collects chunks and gives out lines and counted octets.

    Looking for a line end never reads an octet twice, however small the chunks are, and an
    overlong line costs no memory beyond the limit.

    :ivar data: empty when nothing is here; otherwise what is here stands at its end.
    """

    __slots__ = ("_position", "_scanned", "_swallowing", "data")

    def __init__(self) -> None:
        self.data = b""
        self._position = 0
        # Where the search for a line end goes on.
        self._scanned = 0
        self._swallowing = False

    def __len__(self) -> int:
        return len(self.data) - self._position

    def feed(self, data: bytes) -> None:
        """Add received octets."""
        if self.data:
            self.data = self.data[self._position :] + data
            self._scanned -= self._position
            self._position = 0
        else:
            self.data = data

    def clear(self) -> None:
        """Forget everything: what came before STARTTLS must not count (RFC 3207 section 5)."""
        self.data = b""
        self._position = self._scanned = 0
        self._swallowing = False

    def take_line(self, limit: int) -> bytes | None:
        """The next line without its line end (CRLF, or a bare LF), or None when it is not here yet.

        :param limit: octets of the line, line end included.
        :raises LineTooLong: once, when an overlong line has ended or as soon as its end is known
            to be beyond the limit; the rest of it is swallowed.
        """
        data = self.data
        if not data:
            return None
        if len(data) <= SHORT and not (self._scanned or self._swallowing):
            # Nearly always a whole command, and all that is here.
            line, end_found, rest = data.partition(b"\r\n")
            if end_found and 10 not in line and len(line) + 2 <= limit:
                self.data = rest
                return line
        end = data.find(b"\n", self._scanned)
        if end < 0:
            if self._swallowing:
                self._drop(len(data))
                return None
            self._scanned = len(data)
            if len(data) - self._position > limit:
                self._drop(len(data))
                self._swallowing = True
            return None
        start, behind = self._position, end + 1
        if behind == len(data):
            self.data = b""
            self._position = self._scanned = 0
        else:
            self._position = self._scanned = behind
        if self._swallowing:
            self._swallowing = False
            raise LineTooLong
        if behind - start > limit:
            raise LineTooLong
        return data[start : end - 1 if data.endswith(b"\r", start, end) else end]

    def take(self, count: int) -> bytes:
        """Up to ``count`` octets, as many as are here."""
        start = self._position
        if start == 0 and count >= len(self.data):
            data = self.data
            self._drop(count)
            return data
        data = self.data[start : start + count]
        self._drop(start + len(data))
        return data

    def peek(self, count: int) -> bytes:
        """What :meth:`take` would give; it stays here."""
        return self.data[self._position : self._position + count]

    def take_all(self) -> bytes:
        """Everything that is here."""
        return self.take(len(self))

    def unread(self, data: bytes) -> None:
        """Put octets back in front of the rest."""
        self.data = data + self.data[self._position :]
        self._position = self._scanned = 0

    def _drop(self, position: int) -> None:
        if position >= len(self.data):
            self.data = b""
            self._position = self._scanned = 0
        else:
            self._position = self._scanned = position
