"""How a client connects and behaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mailkit.client.security import TLSInfo, TLSPolicy, check_policy
from mailkit.pop3.client.reader import RESPONSE_LIMITS, ResponseLimits
from mailkit.wire.sasl_client import CLIENT_MECHANISMS, Credentials, SASLClient


class Timeouts(NamedTuple):
    """Seconds that the server may take for each step."""

    connect: float = 30.0
    greeting: float = 60.0
    #: The TLS handshake.
    tls: float = 60.0
    #: Each command until the login. A server may lock and read the maildrop before it answers.
    login: float = 120.0
    #: Silence while a command is under way.
    silence: float = 300.0
    #: A whole response, however slowly it drips.
    response: float = 3600.0
    #: Until the server takes what we write.
    write: float = 180.0
    #: From QUIT to its answer: the server removes messages before.
    quit: float = 300.0


#: The time-outs where nothing else is said.
TIMEOUTS = Timeouts()


@dataclass(frozen=True)
class ClientSettings:
    """How a client behaves; the defaults suit the Internet.

    The default is TLS from the first octet with a certificate that must be right (RFC 8314).
    """

    tls: TLSPolicy = field(default_factory=lambda: TLSPolicy.verified(implicit=True))
    #: Who logs in; nobody when None.
    credentials: Credentials | None = None
    #: SASL mechanisms by name, the one to prefer first.
    mechanisms: Mapping[str, Callable[[Credentials], SASLClient]] = field(
        default_factory=lambda: CLIENT_MECHANISMS
    )
    #: Neither APOP nor USER is used where the server has none of them.
    sasl_only: bool = False
    #: Passwords may be sent over a connection to another machine that is not encrypted.
    allow_plaintext_passwords: bool = False
    #: Take messages with UTF-8 in their headers as they are, where the server offers that.
    utf8: bool = True
    #: The language of the server's texts (RFC 5646), where it offers that; its own when empty.
    language: str = ""
    timeouts: Timeouts = TIMEOUTS
    limits: ResponseLimits = RESPONSE_LIMITS
    #: Commands that are sent before the first of them is answered, where the server allows that.
    max_pipelined: int = 50
    #: Where files of large messages are made; the system's place for such when None.
    directory: str | None = None

    def __post_init__(self) -> None:
        check_policy(self.tls)


@dataclass
class ConnectionFacts:
    """The connection as it stands now."""

    #: Where it goes: an address and port, or the path of a UNIX socket.
    peer: str = ""
    #: Text of the greeting.
    greeting: str = ""
    #: Capabilities as announced, in capitals, with their parameters; None where the server does not
    #: know CAPA. Those of before the login, unless ``capa()`` has asked since.
    announced: Mapping[str, tuple[str, ...]] | None = None
    tls: TLSInfo | None = None
    #: Why an opportunistic connection has no TLS though that was tried.
    tls_failure: str = ""
    #: User name that is logged in.
    account: str | None = None
    #: How: name of a SASL mechanism, ``APOP`` or ``USER``.
    mechanism: str = ""
    #: The server sends headers in UTF-8 as they are (RFC 6856 section 2).
    utf8: bool = False
    #: Tag of the language that the server has agreed to speak; empty for its own.
    language: str = ""
