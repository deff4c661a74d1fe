"""Names of mailboxes in what a server says."""

from __future__ import annotations

from mailkit.imap.client.body import Value
from mailkit.imap.client.errors import ResponseTooLarge
from mailkit.imap.grammar import canonical
from mailkit.wire import utf7

#: Octets of a name as a server writes it.
MAX_NAME = 64 * 1024


def decode_name(octets: bytes) -> str:
    """A name as people write it; INBOX in capitals.

    :raises ResponseTooLarge: it is longer than a name can be.
    """
    if len(octets) > MAX_NAME:
        raise ResponseTooLarge("The mail server names a mailbox with too long a name")
    try:
        return canonical(utf7.decode(octets))
    except ValueError:
        # lenient: UTF-8 (RFC 9051 section 5.1), or modified UTF-7 that others have spoilt.
        return canonical(octets.decode("utf-8", "surrogateescape"))


def find_old_name(extended: Value) -> str | None:
    """``("OLDNAME" ("old"))`` behind a name in LIST (RFC 5465 section 5.4)."""
    if not isinstance(extended, list):
        return None
    for tag, value in zip(extended[::2], extended[1::2], strict=False):
        if isinstance(tag, bytes) and tag.upper() == b"OLDNAME" and isinstance(value, list):
            (old,) = value if len(value) == 1 else (None,)
            return decode_name(old) if isinstance(old, bytes) else None
    return None
