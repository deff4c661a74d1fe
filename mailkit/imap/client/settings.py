"""How a client connects and behaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mailkit.client.security import TLSInfo, TLSPolicy, check_policy
from mailkit.imap.client.reader import RESPONSE_LIMITS, ResponseLimits
from mailkit.wire.sasl_client import CLIENT_MECHANISMS, Credentials, SASLClient


class Timeouts(NamedTuple):
    """Seconds that the server may take for each step."""

    connect: float = 30.0
    greeting: float = 60.0
    #: The TLS handshake.
    tls: float = 60.0
    #: Commands until the login.
    login: float = 60.0
    #: Silence while a command is under way.
    silence: float = 300.0
    #: Until the server takes what we write.
    write: float = 180.0
    #: From LOGOUT to its answer; nobody needs it.
    logout: float = 5.0
    #: IDLE is said anew after so long (RFC 2177: at least every 29 minutes).
    idle: float = 28 * 60.0
    #: Between two looks, where the server has no IDLE.
    poll: float = 60.0


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
    #: Passwords may be sent over a connection to another machine that is not encrypted.
    allow_plaintext_passwords: bool = False
    timeouts: Timeouts = TIMEOUTS
    limits: ResponseLimits = RESPONSE_LIMITS
    #: Commands that are sent before the first of them is answered.
    max_pipelined: int = 100

    def __post_init__(self) -> None:
        check_policy(self.tls)


@dataclass
class ConnectionFacts:
    """The connection as it stands now."""

    #: Where it goes: an address and port, or the path of a UNIX socket.
    peer: str = ""
    #: Text of the greeting.
    greeting: str = ""
    #: As announced, in capitals; see :attr:`~mailkit.imap.client.session.Session.capabilities`.
    announced: frozenset[str] = frozenset()
    #: What ENABLE has switched on, in capitals.
    enabled: frozenset[str] = frozenset()
    tls: TLSInfo | None = None
    #: Both sides compress (RFC 4978).
    compressed: bool = False
    #: Why an opportunistic connection has no TLS though that was tried.
    tls_failure: str = ""
    #: User name that is logged in; empty for one that the server knew from the start (PREAUTH).
    account: str | None = None
    #: URLs of where the account's mail is kept, where the answer to the login says so (RFC 2221).
    referrals: tuple[str, ...] = ()
