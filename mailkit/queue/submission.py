"""What the queue reads of a message before it takes it."""

from __future__ import annotations

from mailkit.mime import message_id, parse_header
from mailkit.spool import Spool

#: Octets of a message among which its Message-ID is looked for.
MAX_START = 64 * 1024
#: Characters of a Message-ID; longer ones are not found again. RFC 5322 section 2.1.1: of a line.
MAX_MESSAGE_ID = 998


def read_message_id(message: Spool) -> str:
    """The Message-ID with its angle brackets; empty where there is none."""
    found = message_id(parse_header(message.read_start(MAX_START)[:MAX_START])) or b""
    return found.decode("utf-8", "replace") if len(found) <= MAX_MESSAGE_ID else ""
