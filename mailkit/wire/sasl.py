"""What SASL mechanisms are made of, and their base64 (RFC 4422). No I/O.

A mechanism of the server's side is a :class:`SASLServer`; those of mailkit are in
:mod:`mailkit.sasl`, those of clients in :mod:`mailkit.wire.sasl_client`.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

#: Octets of one response before base64 (RFC 4616 section 2 asks for 255 a field at least).
MAX_RESPONSE = 8 * 1024


class SASLError(Exception):
    """The client's response does not follow the mechanism; the text may be shown to it."""


class ResponseError(SASLError):
    """What the client has sent is no response at all: not base64, or too long."""


class ExchangeCancelled(SASLError):
    """The client has sent ``*`` (RFC 3501 section 6.2.2, RFC 4954 section 4, RFC 5034 section 4)."""


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True)
class SASLContext:
    """What a mechanism may know of the connection that it runs on."""

    #: ``imap``, ``pop3``, ``smtp``, ``submission``, ``lmtp`` or ``ftp``.
    protocol: str = ""
    #: Address that the client connected to.
    local: str = ""
    #: Address of the client.
    peer: str = ""
    #: The connection is encrypted, though perhaps by a proxy in front of us.
    tls: bool = False
    #: TLS ends here, so that :attr:`channel_binding` has something to tell.
    binds_channel: bool = False
    #: Names of the mechanisms that the client is offered.
    offered: Sequence[str] = ()
    #: Channel binding data of a type such as ``tls-exporter`` (RFC 5056); None where there is none.
    channel_binding: Callable[[str], bytes | None] = _nothing
    #: The certificate that the client has shown and TLS has verified, as DER; None without one.
    #: There is none before the handshake is done, as when the greeting is sent under implicit TLS.
    peer_certificate: Callable[[], bytes | None] = _nothing


class Lookup(NamedTuple):
    """The mechanism must know something of the user base before it can go on."""

    #: Asks the checker of the mechanism's credentials; what it gives goes to
    #: :meth:`SASLServer.resume`.
    ask: Callable[[Any], Awaitable[Any]]


class Success(NamedTuple):
    """The client has said all it had to; the portal decides."""

    #: Credentials of ``twisted.cred`` that provide :attr:`SASLServer.credentials`.
    credentials: Any
    #: Who the client says it is, for logs.
    username: str
    #: Identity to act as; empty for the user's own.
    authorization_id: str = ""
    #: Additional data for a client whose login succeeds (RFC 4422 section 3.6).
    data: bytes | None = None


#: What comes of a response: the next challenge, or one of the others.
Step: TypeAlias = bytes | Lookup | Success


class SASLServer(ABC):
    """One authentication exchange, from the server's side.

    A subclass is one mechanism. It does no I/O: it turns responses into challenges and, in the end,
    into credentials, which the portal verifies.
    """

    name = ""
    #: The client sends its secret as it is, so it needs TLS.
    plaintext = True
    #: It may be used where nobody has named it.
    by_default = True
    #: The interface of the credentials that come out; the mechanism is offered where a checker of
    #: the portal knows it.
    credentials: Any = None

    def __init__(self, context: SASLContext) -> None:
        self.context = context

    @classmethod
    def is_available(cls, context: SASLContext) -> bool:
        """Whether it can be used on such a connection; ``context.offered`` is empty yet.

        Connections without TLS are alike: one of them is asked about for all of a server's.
        """
        return True

    @classmethod
    def is_known_to(cls, checker: Any) -> bool:
        """Whether the users whom a checker of these credentials knows can use it."""
        return True

    @abstractmethod
    def step(self, response: bytes | None) -> Step:
        """Take a response (None at the start without an initial one).

        :raises SASLError: the exchange has failed.
        """

    def resume(self, answer: Any) -> Step:
        """Go on after a :class:`Lookup` with what was found.

        :raises SASLError: the exchange has failed.
        """
        raise NotImplementedError

    def explain(self, error: Exception) -> bytes | None:
        """A last challenge that tells why the portal has refused; None for none.

        The client must answer it before it is told of the failure (RFC 7628 section 3.2.3).

        :param error: ``AuthenticationFailed`` or ``AuthorizationFailed``; what the checker or the
            realm has raised is its ``__cause__``.
        """
        return None


def decode_base64(line: bytes) -> bytes:
    """A client's response line; ``=`` alone is the empty response (RFC 4954 section 4).

    :raises ResponseError: not base64, or too long.
    """
    if line == b"=":
        return b""
    if len(line) > MAX_RESPONSE * 4 // 3 + 4:
        raise ResponseError("The response is too long")
    if len(line) % 4:
        raise ResponseError("The response is not valid base64")
    try:
        return base64.b64decode(line, validate=True)
    except ValueError:
        raise ResponseError("The response is not valid base64") from None


def encode_base64(challenge: bytes) -> bytes:
    """A challenge as it stands on the wire."""
    return base64.b64encode(challenge)


def decode_name(octets: bytes) -> str:
    """A user name as mechanisms send it.

    :raises SASLError: it is not UTF-8.
    """
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SASLError("User names are UTF-8") from None
