"""SASL mechanisms, server side, one class each, no I/O (RFC 4422).

A protocol decodes and encodes base64 and carries the steps; what comes out is a
:class:`SASLPassword`, which goes to the portal.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import NamedTuple

from mailkit._typing import override

#: Octets of one response before base64 (RFC 4616 section 2 asks for 255 a field at least).
MAX_RESPONSE = 8 * 1024


class SASLError(Exception):
    """The client's response does not follow the mechanism; the text may be shown to it."""


class SASLPassword(NamedTuple):
    """What a password mechanism yields."""

    #: Identity to act as; empty for the authenticated one.
    authorization_id: str
    username: str
    password: bytes

    @property
    def wants_other_identity(self) -> bool:
        return self.authorization_id not in ("", self.username)


class SASLServer(ABC):
    """One authentication exchange."""

    name = ""
    #: The mechanism sends the secret as it is, so it needs TLS.
    plaintext = True

    def __init__(self) -> None:
        self.result: SASLPassword | None = None

    @abstractmethod
    def step(self, response: bytes | None) -> bytes | None:
        """Take a response (None at the start without an initial one).

        :returns: the next challenge, or None when :attr:`result` is there.
        :raises SASLError: the exchange has failed.
        """


class PlainServer(SASLServer):
    """PLAIN (RFC 4616)."""

    name = "PLAIN"

    @override
    def step(self, response: bytes | None) -> bytes | None:
        if response is None:
            return b""
        parts = response.split(b"\0")
        if len(parts) != 3 or not parts[1] or not parts[2]:
            raise SASLError("PLAIN wants authorization identity NUL user name NUL password")
        authorization_id, username, password = parts
        self.result = SASLPassword(_utf8(authorization_id), _utf8(username), password)
        return None


class LoginServer(SASLServer):
    """LOGIN (draft-murchison-sasl-login): what Outlook and old devices speak."""

    name = "LOGIN"

    def __init__(self) -> None:
        super().__init__()
        self._username: bytes | None = None
        self._started = False

    @override
    def step(self, response: bytes | None) -> bytes | None:
        if response is None and not self._started:
            self._started = True
            return b"Username:"
        self._started = True
        if self._username is None:
            self._username = response or b""
            return b"Password:"
        if not self._username or not response:
            raise SASLError("LOGIN wants a user name and a password")
        self.result = SASLPassword("", _utf8(self._username), response)
        return None


#: Mechanisms by name, strongest first.
MECHANISMS: Mapping[str, Callable[[], SASLServer]] = {
    "PLAIN": PlainServer,
    "LOGIN": LoginServer,
}


def decode_base64(line: bytes) -> bytes:
    """A client's response line; ``=`` alone is the empty response (RFC 4954 section 4).

    :raises SASLError: not base64, or too long.
    """
    if line == b"=":
        return b""
    if len(line) > MAX_RESPONSE * 4 // 3 + 4:
        raise SASLError("The response is too long")
    if len(line) % 4:
        raise SASLError("The response is not valid base64")
    try:
        return base64.b64decode(line, validate=True)
    except ValueError:
        raise SASLError("The response is not valid base64") from None


def encode_base64(challenge: bytes) -> bytes:
    """A challenge as it stands on the wire."""
    return base64.b64encode(challenge)


def _utf8(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SASLError("User names are UTF-8") from None
