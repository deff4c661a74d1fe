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
    return first_id(header.get(b"message-id"))


def first_id(value: bytes | None) -> bytes | None:
    """The first identifier in a field, with its angle brackets."""
    found = _MESSAGE_ID.search(value) if value else None
    return None if found is None else b"<%b>" % _normal(found[1])


def references(header: Header) -> list[bytes]:
    """The identifiers of the message's ancestors, oldest first."""
    return ancestors(*header.get_first((b"references", b"in-reply-to")))


def ancestors(references: bytes | None, in_reply_to: bytes | None) -> list[bytes]:
    """The identifiers in these fields that are those of ancestors, oldest first.

    RFC 5256 section 3: from References, or else the first valid one in In-Reply-To.
    """
    if references and (found := parse_message_ids(references)):
        return found[-MAX_REFERENCES:]
    first = first_id(in_reply_to)
    return [] if first is None else [first]
