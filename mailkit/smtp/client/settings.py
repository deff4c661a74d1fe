"""How a client connects and sends."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from mailkit.client.security import TLSPolicy, check_policy
from mailkit.smtp.client.replies import REPLY_LIMITS, ReplyLimits
from mailkit.wire.sasl_client import CLIENT_MECHANISMS, Credentials, SASLClient

BareLineEnds = Literal["normalise", "keep", "refuse"]


class Timeouts(NamedTuple):
    """Seconds that the server may take for each step (RFC 5321 section 4.5.3.2)."""

    connect: float = 30.0
    #: RFC 5321 section 4.5.3.2.1.
    greeting: float = 300.0
    #: EHLO, LHLO, HELO, STARTTLS, AUTH, RSET, NOOP.
    command: float = 300.0
    #: The TLS handshake.
    tls: float = 60.0
    #: RFC 5321 section 4.5.3.2.2.
    mail: float = 300.0
    #: RFC 5321 section 4.5.3.2.3.
    rcpt: float = 300.0
    #: RFC 5321 section 4.5.3.2.4.
    data_initiation: float = 120.0
    #: RFC 5321 section 4.5.3.2.5.
    data_block: float = 180.0
    #: RFC 5321 section 4.5.3.2.6.
    data_termination: float = 600.0
    #: The reply to QUIT; nobody needs it.
    quit: float = 5.0


#: The time-outs where nothing else is said.
TIMEOUTS = Timeouts()


@dataclass(frozen=True)
class ClientSettings:
    """How a client behaves; the defaults suit the Internet."""

    #: What we call ourselves in EHLO; the machine's name when empty.
    helo: str = ""
    #: The same for connections from certain addresses of this machine.
    helo_by_address: Mapping[str, str] = field(default_factory=dict)
    #: Speak LMTP (RFC 2033).
    lmtp: bool = False
    tls: TLSPolicy = field(default_factory=TLSPolicy)
    #: Who logs in; nobody when None.
    credentials: Credentials | None = None
    #: SASL mechanisms by name, the one to prefer first.
    mechanisms: Mapping[str, Callable[[Credentials], SASLClient]] = field(
        default_factory=lambda: CLIENT_MECHANISMS
    )
    #: Passwords may be sent over a connection to another machine that is not encrypted.
    allow_plaintext_passwords: bool = False
    timeouts: Timeouts = TIMEOUTS
    reply_limits: ReplyLimits = REPLY_LIMITS
    #: Recipients of one transaction, where the server names no smaller limit. Every server must
    #: take a hundred (RFC 5321 section 4.5.3.1.8).
    max_recipients: int = 100
    #: Use CHUNKING where it is offered (RFC 3030), also for messages that do not need it.
    chunking: bool = True
    #: Octets of a BDAT chunk.
    chunk_size: int = 1024 * 1024
    #: A CR or LF in the message that stands alone: corrected; or kept, which needs BINARYMIME at
    #: the other side; or the message is refused.
    bare_line_ends: BareLineEnds = "normalise"

    def __post_init__(self) -> None:
        check_policy(self.tls)
        if self.max_recipients < 1 or self.chunk_size < 1:
            raise ValueError("max_recipients and chunk_size are at least 1")
        if self.bare_line_ends not in ("normalise", "keep", "refuse"):
            raise ValueError("bare_line_ends is 'normalise', 'keep' or 'refuse'")

    def helo_name(self, local: str = "") -> str:
        """The name to say in EHLO: fully qualified, or an address literal (RFC 5321 4.1.4).

        :param local: the address that the connection comes from.
        """
        return self.helo_by_address.get(local) or self.helo or local_name()


def local_name() -> str:
    """The machine's name, if it may stand in EHLO; else the loopback's address literal."""
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"
