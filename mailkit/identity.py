"""Who logs in, and by what that is proved."""

from __future__ import annotations

import enum
from typing import NamedTuple

from mailkit.hiding import hiding


@hiding("secret")
class LoginAttempt(NamedTuple):
    """Somebody wants to log in."""

    #: The name as the client gives it, whether there is such an account or not.
    login: str
    #: The client's; empty for one at a UNIX socket.
    address: str
    #: The password, where the mechanism tells it.
    secret: bytes = b""


class LoginOutcome(enum.Enum):
    """What became of a login."""

    SUCCESS = "success"
    FAILURE = "failure"
    #: Nobody will know: the user base did not answer, or the client went before it was asked.
    NONE = "none"


@hiding("password_hash")
class Login(NamedTuple):
    """Who logs in."""

    #: Canonical name.
    account: str
    #: In PHC string format, or ``{SCHEME}`` and a hash; None for one who has no password here.
    password_hash: str | None
    #: The password is not taken everywhere, or not alone: ask the directory.
    restricted: bool = False


#: App passwords that an account may have.
MAX_APP_PASSWORDS = 50


@hiding("digest")
class AppPassword(NamedTuple):
    """A password of an account for one program; :mod:`mailkit.auth.app_passwords` makes it."""

    #: How it begins, which names it among those of its account.
    prefix: str
    #: What it is verified by.
    digest: str
    #: For what it is taken: ``imap``, ``pop3``, ``smtp`` (submission), ``ftp``, ...
    scopes: frozenset[str]
    #: Seconds since the epoch.
    created: int
    #: Seconds since the epoch from which on it is not taken; None for never.
    expires: int | None = None
    #: What its user calls it.
    label: str = ""
    #: Seconds since the epoch of its last use, to the day; None before the first.
    used: int | None = None
    #: The client's address then.
    used_from: str = ""
    #: The protocol then, as in :attr:`mailkit.model.ConnectionInfo.protocol`.
    used_by: str = ""


@hiding("secret", "recovery")
class SecondFactor(NamedTuple):
    """How an account proves that its user has a device (RFC 6238); see :mod:`mailkit.auth.totp`."""

    #: What the device and the server share, in base32.
    secret: str
    #: Codes that are taken before and after the one of now.
    window: int = 1
    #: The step in time of the latest code that was used: no code is taken twice.
    last_step: int = 0
    #: What is kept of codes that work once, without the device.
    recovery: frozenset[str] = frozenset()
    #: When no wrong code counts any more, in seconds since 1970: each makes it later.
    forgotten: int = 0
