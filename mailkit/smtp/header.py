"""The header of a message on its way in: where it ends, and its fields for hooks. No I/O."""

from __future__ import annotations

import re

from mailkit.hooks import HeaderField
from mailkit.mime.headers import find_blank_line

#: Fields that ask something of a server (RFC 3865 section 2.5, RFC 7293 section 3.2).
SOLICITATION = "Solicitation"
VALID_SINCE = "Require-Recipient-Valid-Since"

_FIELD_END = re.compile(r"\r?\n(?![ \t])")


class HeaderWatch:
    """Finds the end of the header in content that comes in pieces."""

    __slots__ = ("_seen", "_tail", "complete", "size")

    def __init__(self) -> None:
        #: The end has been found.
        self.complete = False
        #: Octets of the header, empty line included; of all content before the end is found.
        self.size = 0
        # As if a line had ended before: the header may be empty.
        self._tail = b"\n"

    def feed(self, content: bytes) -> None:
        """Look at the next piece; not after the end."""
        octets = self._tail + content
        _, end = find_blank_line(octets)
        if end >= 0:
            self.size += end - len(self._tail)
            self.complete = True
        else:
            self.size += len(content)
            self._tail = octets[-2:]


def split_fields(header: bytes) -> list[HeaderField]:
    """The fields of a header; a line without a colon is a field without a name."""
    fields = []
    for raw in _FIELD_END.split(header.decode("utf-8", "surrogateescape")):
        name, colon, value = raw.partition(":")
        if colon:
            # RFC 5322 section 4.5.8: white space may stand before the colon.
            fields.append(HeaderField(name.rstrip(" \t"), value))
        elif raw:
            fields.append(HeaderField("", raw))
    return fields
