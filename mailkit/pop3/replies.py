"""What the server says, and which response code an error has."""

from __future__ import annotations

from collections.abc import Iterable

from mailkit.errors import (
    AuthenticationFailed,
    AuthorizationFailed,
    MailboxInUse,
    MailError,
    NoSuchAccount,
    NoSuchMailbox,
    StoreCorrupt,
)
from mailkit.pop3.state import LoginTooSoon

#: Octets of the text of a status line: with status and line end 512 at most (RFC 1939 section 3).
MAX_TEXT = 480

#: Response codes of RFC 2449 section 8.1 and RFC 3206, by the first class that fits.
CODES: tuple[tuple[type[MailError], str], ...] = (
    (AuthenticationFailed, "AUTH"),
    (AuthorizationFailed, "AUTH"),
    (NoSuchAccount, "AUTH"),
    (MailboxInUse, "IN-USE"),
    (LoginTooSoon, "LOGIN-DELAY"),
    (StoreCorrupt, "SYS/PERM"),
    (NoSuchMailbox, "SYS/PERM"),
)

END = b".\r\n"


def ok(text: str = "") -> bytes:
    """A positive status line."""
    return b"+OK " + _line(text) if text else b"+OK\r\n"


def err(text: str, code: str = "") -> bytes:
    """A negative status line, with a response code where there is one."""
    return b"-ERR " + (b"[%b] " % code.encode("ascii") if code else b"") + _line(text)


def for_error(error: MailError, before: str = "") -> bytes:
    """The reply to a command that was refused.

    :param before: text to put before the error's own.
    """
    code = "SYS/TEMP" if error.temporary else ""
    for kind, name in CODES:
        if isinstance(error, kind):
            code = name
            break
    return err(before + error.text, code)


def listing(first: bytes, lines: Iterable[bytes]) -> bytes:
    """A whole multi-line reply; no line begins with a dot."""
    return b"".join((first, *(line + b"\r\n" for line in lines), END))


def _line(text: str) -> bytes:
    # A bracket at the start would be read as a response code (RFC 2449 section 6.4).
    text = text.lstrip("[")[:MAX_TEXT]
    if not (text.isascii() and text.isprintable()):
        text = "".join(c if " " <= c <= "~" else "?" for c in text)
    return text.encode("ascii") + b"\r\n"
