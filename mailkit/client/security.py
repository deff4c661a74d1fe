"""How secure a client wants a connection, and how secure one is."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailkit.dns.records import TLSA


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
    #: TLS with a certificate that the domain's TLSA records want (RFC 7672).
    DANE = "dane"


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
    #: Tell of a certificate that need not be verified what is wrong with it.
    observe: bool = False
    #: What DANE wants: one of these must match.
    associations: frozenset[TLSA] = frozenset()
    #: Names besides ``hostname`` that a certificate may have which DANE-TA (2) leads to.
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mode is TLSMode.PINNED and not self.pins:
            raise ValueError("a pinned policy needs pins")
        if self.mode is TLSMode.DANE and not (self.associations and self.hostname):
            raise ValueError("a DANE policy needs associations and the name they are for")
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

    @classmethod
    def dane(
        cls, hostname: str, associations: Iterable[TLSA], names: Sequence[str] = ()
    ) -> TLSPolicy:
        """
        :param hostname: the TLSA base domain (RFC 7672 section 2.2.3).
        :param associations: those that can be used, see :mod:`mailkit.client.dane`.
        """
        return cls(
            TLSMode.DANE,
            hostname=hostname,
            associations=frozenset(associations),
            names=tuple(names),
        )

    @property
    def mandatory(self) -> bool:
        """Nothing is sent without TLS."""
        return self.mode not in (TLSMode.NONE, TLSMode.OPPORTUNISTIC)


def check_policy(tls: object) -> None:
    """:raises TypeError: it is none, though settings have it for one."""
    if not isinstance(tls, TLSPolicy):
        raise TypeError(f"tls is a TLSPolicy, such as TLSPolicy.verified(): {tls!r}")


def _fingerprint(value: str | bytes) -> bytes:
    """:raises ValueError: it is none."""
    if isinstance(value, str):
        try:
            value = bytes.fromhex(value.replace(":", ""))
        except ValueError:
            value = b""
    if len(value) != 32:
        raise ValueError("a pin is a SHA-256 fingerprint: 64 hexadecimal digits")
    return value


class TLSInfo(NamedTuple):
    """The encryption of a connection."""

    #: ``TLSv1.3``.
    version: str
    cipher: str
    #: The server's certificate is one that the policy wants: verified by name, pinned, or by DANE.
    verified: bool
    #: SHA-256 of the server's certificate, hexadecimal.
    fingerprint: str = ""
    #: What is wrong with the certificate, where the policy wants to know but takes it all the same,
    #: and what TLS reports call that (RFC 8460 section 4.3): nothing where it is not known, for the
    #: certificates to trust cannot be read.
    problem: str = ""
    result_type: str = ""


def is_host_name(name: str) -> bool:
    """Whether it is a name and no IP address."""
    return name.isascii() and ":" not in name and not name.replace(".", "").isdigit()


#: What OpenSSL says of an answer that is no TLS, by its version.
_NO_TLS = "wrong version number", "packet length too long", "record layer failure"


def why_no_handshake(text: str, policy: TLSPolicy) -> str:
    """What a TLS library says of a handshake, with what it means where the answer was no TLS at all."""
    if not any(each in text for each in _NO_TLS):
        return text
    advice = "; is this a port for STARTTLS?" if policy.implicit else ""
    return f"{text} (the server answered without TLS{advice})"
