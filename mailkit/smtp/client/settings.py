"""How a client connects and sends."""

from __future__ import annotations

import enum
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

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


class TLSMode(enum.Enum):
    """How much security is asked for."""

    #: Never TLS.
    NONE = "none"
    #: TLS with any certificate where it is offered, else none at all (RFC 7435).
    OPPORTUNISTIC = "opportunistic"
    #: TLS with any certificate.
    REQUIRED = "required"
    #: TLS with a trusted certificate for the server's name (RFC 6125).
    VERIFIED = "verified"
    #: TLS with one of the certificates or keys that are named.
    PINNED = "pinned"


@dataclass(frozen=True)
class TLSPolicy:
    """What TLS a connection must have; the class methods make the usual ones."""

    mode: TLSMode = TLSMode.OPPORTUNISTIC
    #: TLS from the first octet (RFC 8314 section 3), not by STARTTLS.
    implicit: bool = False
    #: The name to verify and to announce (SNI); that which is connected to when None.
    hostname: str | None = None
    #: SHA-256 of certificates or of their SubjectPublicKeyInfo, each 32 octets.
    pins: frozenset[bytes] = frozenset()
    #: A file of certificates (PEM) to trust; the system's when None.
    ca_file: str | None = None

    def __post_init__(self) -> None:
        if self.mode is TLSMode.PINNED and not self.pins:
            raise ValueError("a pinned policy needs pins")
        if self.implicit and self.mode is TLSMode.NONE:
            raise ValueError("implicit TLS needs TLS")

    @classmethod
    def none(cls) -> TLSPolicy:
        return cls(TLSMode.NONE)

    @classmethod
    def opportunistic(cls) -> TLSPolicy:
        return cls(TLSMode.OPPORTUNISTIC)

    @classmethod
    def required(cls, *, implicit: bool = False) -> TLSPolicy:
        return cls(TLSMode.REQUIRED, implicit)

    @classmethod
    def verified(
        cls, hostname: str | None = None, *, implicit: bool = False, ca_file: str | None = None
    ) -> TLSPolicy:
        return cls(TLSMode.VERIFIED, implicit, hostname, frozenset(), ca_file)

    @classmethod
    def pinned(cls, *fingerprints: str | bytes, implicit: bool = False) -> TLSPolicy:
        """
        :param fingerprints: SHA-256 of a certificate or of a key: 32 octets, or hexadecimal digits
            with or without colons.
        :raises ValueError: one is none.
        """
        pins = frozenset(map(_fingerprint, fingerprints))
        return cls(TLSMode.PINNED, implicit, None, pins)

    @property
    def mandatory(self) -> bool:
        """Nothing is sent without TLS."""
        return self.mode not in (TLSMode.NONE, TLSMode.OPPORTUNISTIC)


def _fingerprint(value: str | bytes) -> bytes:
    octets = bytes.fromhex(value.replace(":", "")) if isinstance(value, str) else value
    if len(octets) != 32:
        raise ValueError("a pin is a SHA-256 fingerprint")
    return octets


@dataclass(frozen=True)
class ClientSettings:
    """How a client behaves; the defaults suit the Internet."""

    #: What we call ourselves in EHLO; the machine's name when empty.
    helo: str = ""
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
        if self.max_recipients < 1 or self.chunk_size < 1:
            raise ValueError("max_recipients and chunk_size are at least 1")
        if self.bare_line_ends not in ("normalise", "keep", "refuse"):
            raise ValueError("bare_line_ends is 'normalise', 'keep' or 'refuse'")

    @property
    def helo_name(self) -> str:
        """The name to say in EHLO: fully qualified, or an address literal (RFC 5321 4.1.4)."""
        return self.helo or local_name()


def local_name() -> str:
    """The machine's name, if it may stand in EHLO; else the loopback's address literal."""
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"
