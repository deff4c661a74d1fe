"""IMAP strings."""

from __future__ import annotations

import re

#: The longest string that is sent quoted; anything longer becomes a literal.
MAX_QUOTED = 1000

# RFC 3501 section 9: QUOTED-CHAR excludes CR, LF, 8-bit octets and NUL, and escapes " and \
_SPECIAL = re.compile(rb'[\x00\n\r"\\\x80-\xff]')
_LITERAL_ONLY = re.compile(rb"[\n\r\x80-\xff]")


def imap_string(value: bytes | None) -> bytes:
    """Render an nstring: NIL, a quoted string where that is allowed, else a literal.

    NUL octets are dropped, because no IMAP string can hold them.
    """
    if value is None:
        return b"NIL"
    if len(value) <= MAX_QUOTED:
        if _SPECIAL.search(value) is None:
            return b'"%b"' % value
        value = value.replace(b"\0", b"")
        if _LITERAL_ONLY.search(value) is None:
            return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    else:
        value = value.replace(b"\0", b"")
    return b"{%d}\r\n%b" % (len(value), value)
