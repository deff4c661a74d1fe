"""What the server says, and which response code an error has."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

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
from mailkit.translation import DEFAULT_LANGUAGE, translate

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
#: Status lines that are kept: the same few go to all clients.
KEPT_LINES = 500


@lru_cache(maxsize=KEPT_LINES)
def ok(text: str = "", language: str = DEFAULT_LANGUAGE) -> bytes:
    """A positive status line."""
    return ok_once(text, language)


def ok_once(text: str, language: str = DEFAULT_LANGUAGE) -> bytes:
    """The same, not to be kept: nobody else gets it."""
    return b"+OK " + _line(text, language) if text else b"+OK\r\n"


def err(text: str, code: str = "", language: str = DEFAULT_LANGUAGE) -> bytes:
    """A negative status line, with a response code where there is one."""
    coded = b"[%b] " % code.encode("ascii") if code else b""
    return b"-ERR " + coded + _line(text, language)


def code_of(error: MailError) -> str:
    """The response code for a command that was refused; empty for none."""
    for kind, name in CODES:
        if isinstance(error, kind):
            return name
    return "SYS/TEMP" if error.temporary else ""


def listing(first: bytes, lines: Iterable[bytes]) -> bytes:
    """A whole multi-line reply; no line begins with a dot."""
    return b"".join((first, *(line + b"\r\n" for line in lines), END))


def _line(text: str, language: str) -> bytes:
    """Text for a person in a language (RFC 6856 section 3.2), or in ASCII."""
    text = translate(text, language)
    # A bracket at the start would be read as a response code (RFC 2449 section 6.4).
    text = text.lstrip("[")[:MAX_TEXT]
    if language == DEFAULT_LANGUAGE:
        if not (text.isascii() and text.isprintable()):
            text = "".join(c if " " <= c <= "~" else "?" for c in text)
        return text.encode("ascii") + b"\r\n"
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "?" for c in text)
    # Cut between characters.
    octets = text.encode("utf-8", "replace")[:MAX_TEXT]
    return octets.decode("utf-8", "ignore").encode("utf-8") + b"\r\n"
