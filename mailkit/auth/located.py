"""What passes between portals, checkers and realms beside names: where passwords come from, who
gets no account, and of whom nobody was asked."""

from __future__ import annotations

from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin

from mailkit.auth.pacing import Hold

#: Octets of a user name or a password; more is refused unread.
MAX_LENGTH = 4096


class LocatedPassword(UsernamePassword):
    """A user name and password, and the address and protocol of the client that sends them."""

    def __init__(
        self,
        username: bytes,
        password: bytes,
        address: str,
        protocol: str = "",
        held: list[Hold] | None = None,
    ) -> None:
        super().__init__(username, password)
        self.address = address
        self.protocol = protocol
        #: Takes what has to be waited for before a refusal is told; None where nobody does that.
        self.held = held


class ExistingUser(str):
    """An avatar id by which nobody gets an account who has none."""

    __slots__ = ()


class NotAsked(UnauthorizedLogin):
    """A user base has not even looked for that: how long it takes over others is not told by this."""


def text_of(username: bytes | str) -> str | None:
    """A user name as text; None for one that is none."""
    if isinstance(username, str):
        return username
    try:
        return username.decode("utf-8")
    except UnicodeDecodeError:
        return None
