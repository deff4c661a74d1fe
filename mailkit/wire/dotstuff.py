"""Dot-stuffing: the transparency of SMTP DATA (RFC 5321 section 4.5.2) and POP3 (RFC 1939 3)."""

from __future__ import annotations

import io
import re

# Half the time of bytes.find for so short a thing.
_DOT_LINE = re.compile(rb"\n\.")
_LONE = re.compile(rb"\r\n|\r|\n")
_CRLF_ALONE = (None, "\r\n")


def has_bare_line_end(data: bytes) -> bool:
    """Whether a CR or LF stands alone; ``data`` must not begin or end between a CR and its LF."""
    # It looks at each octet once, where three times bytes.count takes five times as long.
    seen = io.IncrementalNewlineDecoder(None, translate=False)
    seen.decode(str(data, "latin-1"), final=True)
    return seen.newlines not in _CRLF_ALONE


def normalise_line_ends(data: bytes) -> bytes:
    """Make every CRLF, bare CR and bare LF a CRLF, under the same condition."""
    return _LONE.sub(b"\r\n", data) if has_bare_line_end(data) else data


def lacks_line_end(tail: bytes) -> bool:
    """Whether :meth:`DotEncoder.finish` adds a CRLF to a message.

    :param tail: the last two octets or more, or all of a shorter message; an empty one lacks none.
    """
    return bool(tail) and not tail.endswith(b"\r\n")


def _stuff_lines(data: bytes) -> bytes:
    # Attachments have no dots in their base64: to pass over it takes a twentieth of the time.
    last = data.rfind(b".")
    # Messages in which a line begins with a dot are rare.
    if last < 0 or _DOT_LINE.search(data, 0, last + 1) is None:
        return data
    return data.replace(b"\n.", b"\n..")


def stuff_message(data: bytes) -> tuple[bytes, bytes]:
    """All that a :class:`DotEncoder` gives for a whole message: its content, and what ends it."""
    stuffed = _stuff_lines(data)
    if data.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed, b"\r\n.\r\n" if lacks_line_end(data) else b".\r\n"


class DotDecoder:
    """Turns the octets after DATA into content, chunk by chunk.

    Only CRLF "." CRLF ends the data; a bare CR or LF never does, wherever it stands (RFC 5321
    section 2.3.8), so that no other reader of the same octets can find another end. No returned
    piece begins or ends between a CR and its LF.

    :ivar finished: the end has been seen.
    """

    __slots__ = ("_held", "_skip", "finished")

    def __init__(self) -> None:
        # As if a line had just ended: the first line may be the final dot.
        self._held = b"\r\n"
        self._skip = 2
        self.finished = False

    @property
    def complete(self) -> bool:
        """Nothing more is to be read for now."""
        return self.finished

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Decode a chunk.

        :returns: content, and the octets that follow the end of data (empty before the end).
        """
        octets = self._held + data
        pieces = []
        position = 0
        rest = b""
        # There is none in most of a large message, which is base64, and one octet is found many
        # times faster than three.
        first = octets.find(b".", 2)
        # Together they look at each octet once, and backwards it takes half the time.
        if octets.endswith(b"\r\n.\r\n"):
            last = len(octets) - 5
        else:
            last = octets.rfind(b"\r\n.", first - 2) if first >= 0 else -1
        while position <= last:
            found = octets.find(b"\r\n.", position)
            after = octets[found + 3 : found + 5]
            if after == b"\r\n":
                pieces.append(octets[position : found + 2])
                rest = octets[found + 5 :]
                self.finished = True
                break
            if after in (b"", b"\r"):
                pieces.append(octets[position:found])
                self._held = octets[found:]
                break
            pieces.append(octets[position : found + 2])
            position = found + 3
        else:
            keep = 2 if octets.endswith(b"\r\n") else 1 if octets.endswith(b"\r") else 0
            end = max(position, len(octets) - keep)
            pieces.append(octets[position:end])
            self._held = octets[end:]
        content = b"".join(pieces) if len(pieces) > 1 else pieces[0]
        if self._skip and content:
            content = content[2:]
            self._skip = 0
        return content, rest


class DotEncoder:
    """Makes a message ready to be sent as a multi-line reply or after DATA, chunk by chunk.

    A dot after a bare LF is doubled too: many readers take the LF for a line end.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = b"\r\n"

    def feed(self, data: bytes) -> bytes:
        """The octets to send for a chunk of content."""
        if not data:
            return b""
        stuffed = _stuff_lines(data)
        if data.startswith(b".") and self._last.endswith(b"\n"):
            stuffed = b"." + stuffed
        self._last = (self._last + data[-2:])[-2:]
        return stuffed

    def finish(self) -> bytes:
        """The end of the data, after a line end that the content may lack."""
        return b".\r\n" if self._last == b"\r\n" else b"\r\n.\r\n"
