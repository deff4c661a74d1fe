"""Mechanisms that send a user name and a password: PLAIN and LOGIN."""

from __future__ import annotations

from twisted.cred.credentials import IUsernamePassword, UsernamePassword

from mailkit._typing import override
from mailkit.wire.sasl import SASLContext, SASLError, SASLServer, Success, decode_name


def with_password(username: str, password: bytes, authorization_id: str = "") -> Success:
    """A login by name and password, also that of commands such as USER and PASS."""
    credentials = UsernamePassword(username.encode("utf-8"), password)
    return Success(credentials, username, authorization_id)


class PlainServer(SASLServer):
    """PLAIN (RFC 4616)."""

    name = "PLAIN"
    credentials = IUsernamePassword

    @override
    def step(self, response: bytes | None) -> bytes | Success:
        if response is None:
            return b""
        parts = response.split(b"\0")
        if len(parts) != 3 or not parts[1] or not parts[2]:
            raise SASLError("PLAIN wants authorization identity NUL user name NUL password")
        authorization_id, username, password = parts
        return with_password(decode_name(username), password, decode_name(authorization_id))


class LoginServer(SASLServer):
    """LOGIN (draft-murchison-sasl-login): what Outlook and old devices speak."""

    name = "LOGIN"
    credentials = IUsernamePassword

    def __init__(self, context: SASLContext) -> None:
        super().__init__(context)
        self._username: bytes | None = None
        self._started = False

    @override
    def step(self, response: bytes | None) -> bytes | Success:
        if response is None and not self._started:
            self._started = True
            return b"Username:"
        self._started = True
        if self._username is None:
            self._username = response or b""
            return b"Password:"
        if not self._username or not response:
            raise SASLError("LOGIN wants a user name and a password")
        return with_password(decode_name(self._username), response)
