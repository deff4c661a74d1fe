"""GSSAPI, the mechanism of Kerberos 5 (RFC 4752): both sides' messages, and the client. No I/O.

No security layer is offered or taken: TLS is what protects connections.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from mailkit._typing import override
from mailkit.wire.sasl import SASLError
from mailkit.wire.sasl_client import Credentials, SASLClient

NAME = "GSSAPI"

#: Service names of host-based principals, by protocol as
#: :attr:`~mailkit.model.ConnectionInfo.protocol` has it.
SERVICES: Mapping[str, str] = {
    "imap": "imap",
    "pop3": "pop",
    "smtp": "smtp",
    "submission": "smtp",
    "lmtp": "smtp",
}

# RFC 4752 section 3.3.
_NO_LAYER = 1
# RFC 4752 section 3.2: of what this side takes under a security layer, which is nothing.
_NO_SIZE = b"\0\0\0"


class SecurityContext(ABC):
    """One side of a security context of GSS-API (RFC 2743).

    Each of its methods raises :class:`~mailkit.wire.sasl.SASLError` for what the other side has not
    made.
    """

    @property
    @abstractmethod
    def complete(self) -> bool:
        """It is established: :meth:`step` is over."""

    @property
    @abstractmethod
    def principal(self) -> str:
        """The client's name, once established."""

    @abstractmethod
    def step(self, token: bytes) -> bytes:
        """The token that answers one of the other side; empty for none. May wait for a disk or a KDC.

        :param token: empty for a client that begins.
        """

    @abstractmethod
    def wrap(self, message: bytes) -> bytes:
        """A message, protected against changes."""

    @abstractmethod
    def unwrap(self, token: bytes) -> bytes:
        """The message of what the other side has wrapped."""


def offer_no_layer(context: SecurityContext) -> bytes:
    """What a server says once the context is established."""
    return context.wrap(bytes([_NO_LAYER]) + _NO_SIZE)


def read_choice(context: SecurityContext, token: bytes) -> bytes:
    """The authorization identity, perhaps empty, in a client's answer to that.

    :raises SASLError: it has chosen what was not offered, or something is wrong with the token.
    """
    message = context.unwrap(token)
    # RFC 4752 section 3.2: no layer goes with no size.
    if len(message) < 4 or message[0] != _NO_LAYER or message[1:4] != _NO_SIZE:
        raise SASLError("GSSAPI is to be used without a security layer here")
    # lenient: fetchmail ends the name with the octet that RFC 4752 section 3.1 does not want.
    return message[4:].removesuffix(b"\0")


class GSSAPIClient(SASLClient):
    """GSSAPI with a ticket that is there already: see :mod:`mailkit.client.kerberos`.

    :param context: has made its first token, so that from now on it waits for nothing.
    :param first: that token; taken out of the list, as it is good for one login.
    """

    name = NAME
    plaintext = False

    def __init__(
        self, credentials: Credentials, context: SecurityContext, first: list[bytes]
    ) -> None:
        super().__init__(credentials)
        self._context = context
        self._first = first
        self._begun = self._chosen = False

    @property
    @override
    def usable(self) -> bool:
        # Neither a password nor a token of OAuth is needed.
        return bool(self._first)

    @override
    def initial_response(self) -> bytes:
        self._begun = True
        return self._first.pop()

    @override
    def respond(self, challenge: bytes) -> bytes:
        if not self._begun:
            return self.initial_response()
        if not self._context.complete:
            return self._context.step(challenge)
        if self._chosen:
            raise SASLError("The server asks for more than GSSAPI has")
        offer = self._context.unwrap(challenge)
        if len(offer) != 4 or not offer[0] & _NO_LAYER:
            raise SASLError("The server insists on a security layer of GSSAPI")
        # RFC 4752 section 3.1: whoever has no layer takes no octets under one.
        if offer[0] == _NO_LAYER and offer[1:] != _NO_SIZE:
            raise SASLError("The server offers no security layer of GSSAPI, but a size for it")
        self._chosen = True
        identity = self.credentials.authorization_id.encode("utf-8")
        return self._context.wrap(bytes([_NO_LAYER]) + _NO_SIZE + identity)

    @override
    def finish(self) -> None:
        super().finish()
        if not self._chosen:
            # Whoever cuts the exchange short has not shown that it has the key of the service.
            raise SASLError("The server has not proved who it is")


def client_mechanisms(
    context: SecurityContext, first: bytes
) -> Mapping[str, Callable[[Credentials], SASLClient]]:
    """What the settings of a client take as ``mechanisms``: GSSAPI alone, for one connection."""
    tokens = [first]
    return {NAME: lambda credentials: GSSAPIClient(credentials, context, tokens)}
