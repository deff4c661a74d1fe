"""What the queue reads of a message before it takes it."""

from __future__ import annotations

import re

from mailkit.mime import parse_header, unfold
from mailkit.mime.ids import first_id
from mailkit.spool import Spool

#: Octets of a message among which its Message-ID is looked for.
MAX_START = 64 * 1024
#: Characters of a Message-ID; longer ones are not found again. RFC 5322 section 2.1.1: of a line.
MAX_MESSAGE_ID = 998
# The first field of that name. RFC 5322 section 4.5.8: white space may stand before the colon.
_MESSAGE_ID = re.compile(rb"\nmessage-id[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE)


def read_message_id(message: Spool) -> str:
    """The Message-ID with its angle brackets; empty where there is none."""
    header = b"\n" + parse_header(message.read_start(MAX_START)[:MAX_START]).octets
    # A regular expression that ignores case takes ten times as long to get there.
    place = header.lower().find(b"\nmessage-id")
    field = _MESSAGE_ID.search(header, place) if place >= 0 else None
    found = (first_id(unfold(field[1])) if field is not None else None) or b""
    return found.decode("utf-8", "replace") if len(found) <= MAX_MESSAGE_ID else ""
