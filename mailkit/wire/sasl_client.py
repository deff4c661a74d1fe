"""SASL mechanisms, client side, one class each, no I/O (RFC 4422).

A protocol decodes and encodes base64 and carries the steps. A mechanism that is added to
:data:`CLIENT_MECHANISMS` is used by every client of mailkit.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

from mailkit._typing import override
from mailkit.wire import scram
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


class ScramClient(SASLClient):
    """SCRAM without channel binding (RFC 5802): each side proves that it knows the password.

    :param nonce: printable ASCII without commas; a random one when empty.
    """

    plaintext = False

    def __init__(self, name: str, credentials: Credentials, nonce: str = "") -> None:
        super().__init__(credentials)
        self.name = name
        self._nonce = (nonce or secrets.token_urlsafe(24)).encode("ascii")
        identity = credentials.authorization_id
        # RFC 5802 section 7, gs2-header: "n", for no channel binding is known here.
        self._header = b"n,%b," % (b"a=" + scram.escape_name(identity) if identity else b"")
        self._first = b"n=%b,r=%b" % (scram.escape_name(credentials.username), self._nonce)
        self._password = scram.prepare_password(credentials.password)
        self._said = False
        self._expected: bytes | None = None
        self._verified = False
        self._refusal: SASLError | None = None

    @override
    def initial_response(self) -> bytes:
        self._said = True
        return self._header + self._first

    @override
    def respond(self, challenge: bytes) -> bytes:
        if not self._said:
            return self.initial_response()
        if self._expected is None:
            return self._prove(challenge)
        if self._verified or self._refusal is not None:
            raise SASLError("The server asks for more than SCRAM has")
        self._verify(challenge, self._expected)
        return b""

    @override
    def finish(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        if not self._verified:
            # RFC 5802 section 5: whoever skips its signature may be anybody.
            raise SASLError("The server has not proved that it knows the password")

    def _prove(self, challenge: bytes) -> bytes:
        asked = scram.read_server_first(challenge)
        # RFC 5802 section 5.1: ours, and something of the server's.
        if not asked.nonce.startswith(self._nonce) or asked.nonce == self._nonce:
            raise SASLError("The server's nonce does not continue ours")
        last = b"c=%b,r=%b" % (base64.b64encode(self._header), asked.nonce)
        proof, self._expected = scram.sign(
            scram.HASHES[self.name],
            self._password,
            asked.salt,
            asked.iterations,
            b",".join((self._first, challenge, last)),
        )
        return last + b",p=" + base64.b64encode(proof)

    def _verify(self, challenge: bytes, expected: bytes) -> None:
        try:
            signature = scram.read_server_final(challenge)
        except SASLError as error:
            if not challenge.startswith(b"e="):
                raise
            # Its reply to an empty response says more, in words for people.
            self._refusal = error
            return
        if not hmac.compare_digest(signature, expected):
            raise SASLError("The server does not know the password: its signature is wrong")
        self._verified = True


#: Mechanisms by name, the one to prefer first.
CLIENT_MECHANISMS: Mapping[str, Callable[[Credentials], SASLClient]] = {
    **{name: partial(ScramClient, name) for name in scram.HASHES},
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
