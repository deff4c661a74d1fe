"""SASL mechanisms, client side, one class each, no I/O (RFC 4422).

A protocol decodes and encodes base64 and carries the steps. A mechanism that is added to
:data:`CLIENT_MECHANISMS` is used by every client of mailkit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from mailkit._typing import override
from mailkit.wire.sasl import SASLError


@dataclass(frozen=True)
class Credentials:
    """Who logs in to a server."""

    username: str
    password: str = field(repr=False)
    #: Identity to act as; empty for the user's own.
    authorization_id: str = ""


class SASLClient(ABC):
    """One authentication exchange."""

    name = ""
    #: The mechanism sends the secret as it is, so it needs TLS.
    plaintext = True

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials

    def initial_response(self) -> bytes | None:
        """What the client says first; None where the server begins."""
        return None

    @abstractmethod
    def respond(self, challenge: bytes) -> bytes:
        """The response to a challenge.

        :raises SASLError: the server does not follow the mechanism, or is not who it says it is.
        """

    def finish(self) -> None:
        """The server says that the login succeeded.

        :raises SASLError: it cannot know that yet.
        """


class PlainClient(SASLClient):
    """PLAIN (RFC 4616)."""

    name = "PLAIN"

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        self._said = False

    @override
    def initial_response(self) -> bytes:
        c = self.credentials
        fields = (c.authorization_id, c.username, c.password)
        if any("\0" in text for text in fields):
            raise SASLError("PLAIN cannot carry a NUL")
        self._said = True
        return "\0".join(fields).encode("utf-8")

    @override
    def respond(self, challenge: bytes) -> bytes:
        if self._said:
            raise SASLError("The server asks for more than PLAIN has")
        return self.initial_response()


class LoginClient(SASLClient):
    """LOGIN (draft-murchison-sasl-login): two questions, whatever their words."""

    name = "LOGIN"

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        self._answers = [credentials.username, credentials.password]

    @override
    def respond(self, challenge: bytes) -> bytes:
        if not self._answers:
            raise SASLError("The server asks for more than LOGIN has")
        return self._answers.pop(0).encode("utf-8")


#: Mechanisms by name, the one to prefer first.
CLIENT_MECHANISMS: Mapping[str, Callable[[Credentials], SASLClient]] = {
    "PLAIN": PlainClient,
    "LOGIN": LoginClient,
}


def choose_mechanism(
    offered: Collection[str],
    credentials: Credentials,
    plaintext: bool,
    mechanisms: Mapping[str, Callable[[Credentials], SASLClient]] = CLIENT_MECHANISMS,
) -> SASLClient:
    """The first of ``mechanisms`` that the server offers and that may be used.

    :param offered: names in capitals.
    :param plaintext: a password may be sent as it is.
    :raises SASLError: there is none.
    """
    withheld = False
    for name, make in mechanisms.items():
        if name in offered:
            mechanism = make(credentials)
            if plaintext or not mechanism.plaintext:
                return mechanism
            withheld = True
    if withheld:
        raise SASLError("The connection is not encrypted, so the password is not sent")
    raise SASLError("The server offers no authentication mechanism that is known here")
