"""Received octets that wait to be read: by line, by count, or all that is there."""

from __future__ import annotations


class LineTooLong(Exception):
    """A line exceeded its limit; it has been swallowed to its end, the buffer is in step."""


class InputBuffer:
    """Collects chunks and gives out lines and counted octets.

    Looking for a line end never reads an octet twice, however small the chunks are, and an
    overlong line costs no memory beyond the limit.
    """

    __slots__ = ("_data", "_position", "_scanned", "_swallowing")

    def __init__(self) -> None:
        self._data = b""
        self._position = 0
        # Where the search for a line end goes on.
        self._scanned = 0
        self._swallowing = False

    def __len__(self) -> int:
        return len(self._data) - self._position

    def feed(self, data: bytes) -> None:
        """Add received octets."""
        if self._data:
            self._data = self._data[self._position :] + data
            self._scanned -= self._position
            self._position = 0
        else:
            self._data = data

    def clear(self) -> None:
        """Forget everything: what came before STARTTLS must not count (RFC 3207 section 5)."""
        self._data = b""
        self._position = self._scanned = 0
        self._swallowing = False

    def take_line(self, limit: int) -> bytes | None:
        """The next line without its line end (CRLF, or a bare LF), or None when it is not here yet.

        :param limit: octets of the line, line end included.
        :raises LineTooLong: once, when an overlong line has ended or as soon as its end is known
            to be beyond the limit; the rest of it is swallowed.
        """
        data = self._data
        if not data:
            return None
        end = data.find(b"\n", self._scanned)
        if self._swallowing:
            if end < 0:
                self._drop(len(data))
                return None
            self._drop(end + 1)
            self._swallowing = False
            raise LineTooLong
        if end < 0:
            self._scanned = len(data)
            if len(data) - self._position > limit:
                self._drop(len(data))
                self._swallowing = True
            return None
        start = self._position
        if end + 1 == len(data):
            self._data = b""
            self._position = self._scanned = 0
        else:
            self._position = self._scanned = end + 1
        if end + 1 - start > limit:
            raise LineTooLong
        if end > start and data[end - 1] == 13:
            end -= 1
        return data[start:end]

    def take(self, count: int) -> bytes:
        """Up to ``count`` octets, as many as are here."""
        start = self._position
        if start == 0 and count >= len(self._data):
            data = self._data
            self._drop(count)
            return data
        data = self._data[start : start + count]
        self._drop(start + len(data))
        return data

    def peek(self, count: int) -> bytes:
        """What :meth:`take` would give; it stays here."""
        return self._data[self._position : self._position + count]

    def take_all(self) -> bytes:
        """Everything that is here."""
        return self.take(len(self))

    def unread(self, data: bytes) -> None:
        """Put octets back in front of the rest."""
        self._data = data + self._data[self._position :]
        self._position = self._scanned = 0

    def _drop(self, position: int) -> None:
        if position >= len(self._data):
            self._data = b""
            self._position = self._scanned = 0
        else:
            self._position = self._scanned = position
