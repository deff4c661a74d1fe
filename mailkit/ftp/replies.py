"""Replies: their form, and what errors of the system become."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from mailkit.errors import (
    BeyondEnd,
    InvalidMailboxName,
    MailError,
    MessageTooLarge,
    OverQuota,
    StoreFull,
)

#: Reply and text by the system's error (RFC 959 section 5.4).
_ERRORS = {
    errno.ENOENT: (550, "There is no such file or directory"),
    errno.ENOTDIR: (550, "That is not a directory"),
    errno.EISDIR: (550, "That is a directory"),
    errno.EEXIST: (550, "There is one of that name already"),
    errno.ENOTEMPTY: (550, "That directory is not empty"),
    errno.EACCES: (550, "Permission denied"),
    errno.EPERM: (550, "Permission denied"),
    errno.ELOOP: (550, "Symbolic links are not followed"),
    errno.ENXIO: (550, "That is not a file"),
    errno.EINVAL: (553, "That name is not allowed"),
    errno.ENAMETOOLONG: (553, "That name is too long"),
    errno.ENOSPC: (452, "There is no room on the disk"),
    errno.EDQUOT: (552, "There is no more room for your files"),
    errno.EFBIG: (552, "That file is too large"),
}

#: Replies about the name and the size of a file, and the commands to which RFC 959 section 5.4 gives
#: them; it has 550 for the others.
_ABOUT_STORING = frozenset({552, 553})
_STORING = frozenset({"STOR", "STOU", "APPE", "RNTO"})

#: Reply by the class of a refusal; others are 451 when the same may work later, or else 550.
_REFUSALS: dict[type[MailError], int] = {
    BeyondEnd: 554,
    InvalidMailboxName: 553,
    MessageTooLarge: 552,
    OverQuota: 552,
    StoreFull: 452,
}


def reply(code: int, text: str) -> bytes:
    """A reply of one line."""
    return f"{code} {text}\r\n".encode()


def long_reply(code: int, first: str, lines: Iterable[str], last: str = "End") -> bytes:
    """A reply of several lines (RFC 959 section 4.2); a space keeps theirs from being the last."""
    middle = "".join(f" {line}\r\n" for line in lines)
    return f"{code}-{first}\r\n{middle}{code} {last}\r\n".encode()


def refusal_of(verb: str, code: int) -> int:
    """The reply by which a command is refused for that reason."""
    return 550 if code in _ABOUT_STORING and verb not in _STORING else code


def explain(error: OSError | MailError) -> tuple[int, str] | None:
    """What a client is told of an error; None when that is our trouble."""
    if isinstance(error, MailError):
        for kind, code in _REFUSALS.items():
            if isinstance(error, kind):
                return code, error.text
        return 451 if error.temporary else 550, error.text
    return _ERRORS.get(error.errno or 0)
