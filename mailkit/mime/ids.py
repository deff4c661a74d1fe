"""Message identifiers: what threads are made of (RFC 5322 section 3.6.4, RFC 5256 section 3)."""

from __future__ import annotations

import re

from mailkit.mime.headers import Header
from mailkit.mime.lexical import unescape

#: Identifiers of one References field that are kept: the last ones, nearest to the message.
MAX_REFERENCES = 1000

# lenient: an at sign is not asked for, many programs make identifiers without.
_MESSAGE_ID = re.compile(
    rb'<((?=[^>])[^<>"\s]*(?:"[^"\\<>]*(?:\\.[^"\\<>]*)*"[^<>"\s]*)*)>', re.DOTALL
)
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_NEEDS_QUOTES = re.compile(rb'[\s()<>\[\]:;@\\,"]|\A\.|\.\.|\.\Z|\A\Z')


def _normal(message_id: bytes) -> bytes:
    """RFC 5256 section 3: a quoted left side equals the same one without needless quotes."""
    if b'"' not in message_id:
        return message_id

    def plain(found: re.Match[bytes]) -> bytes:
        text = unescape(found[1])
        return found[0] if _NEEDS_QUOTES.search(text) else text

    return _QUOTED.sub(plain, message_id)


def parse_message_ids(value: bytes) -> list[bytes]:
    """All identifiers in an (unfolded) value, with their angle brackets, in their order."""
    return [b"<%b>" % _normal(found) for found in _MESSAGE_ID.findall(value)]


def message_id(header: Header) -> bytes | None:
    """The Message-ID with its angle brackets, or None if there is no valid one."""
    value = header.get(b"message-id")
    return next(iter(parse_message_ids(value)), None) if value else None


def references(header: Header) -> list[bytes]:
    """The identifiers of the message's ancestors, oldest first.

    RFC 5256 section 3: from References, or else the first valid one in In-Reply-To.
    """
    found = parse_message_ids(header.get(b"references") or b"")
    if found:
        return found[-MAX_REFERENCES:]
    return parse_message_ids(header.get(b"in-reply-to") or b"")[:1]
