"""What a server announces in its answer to EHLO or LHLO, as typed values. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

_KEYWORD = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:[ =]+(.*))?", re.DOTALL)
_NUMBER = re.compile(r"\d{1,20}", re.ASCII)
# RFC 9422 section 3: limit-name-value. Of the limits that are defined there the value is
# %x31-39 0*5DIGIT (section 4).
_LIMIT = re.compile(r"([A-Za-z0-9_-]+)(?:=([!-:<-~]+))?")
_LIMIT_VALUE = re.compile(r"[1-9]\d{0,5}", re.ASCII)


class ServerLimits(NamedTuple):
    """LIMITS (RFC 9422); None where the server names none."""

    #: Recipients of one transaction.
    rcpt_max: int | None = None
    #: Transactions of one connection.
    mail_max: int | None = None
    #: Different domains among the recipients of one connection.
    rcpt_domain_max: int | None = None


NO_LIMITS = ServerLimits()


class FutureRelease(NamedTuple):
    """FUTURERELEASE (RFC 4865)."""

    #: Seconds that HOLDFOR may ask for.
    max_interval: int
    #: The latest HOLDUNTIL, as announced.
    max_date_time: str


@dataclass(frozen=True)
class Extensions:
    """The abilities of a server; none at all after HELO."""

    #: What the server calls itself.
    hostname: str = ""
    #: Everything it announced: parameters by keyword in capitals.
    keywords: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    #: Octets of a message; 0 where SIZE names no limit, None without SIZE (RFC 1870).
    size: int | None = None
    #: Mechanisms of AUTH, in capitals (RFC 4954).
    auth: tuple[str, ...] = ()
    #: Seconds of the shortest BY with mode R; None without DELIVERBY (RFC 2852).
    deliver_by: int | None = None
    #: None without FUTURERELEASE.
    future_release: FutureRelease | None = None
    limits: ServerLimits = NO_LIMITS

    @property
    def pipelining(self) -> bool:
        return "PIPELINING" in self.keywords

    @property
    def eight_bit_mime(self) -> bool:
        return "8BITMIME" in self.keywords

    @property
    def chunking(self) -> bool:
        return "CHUNKING" in self.keywords

    @property
    def binary_mime(self) -> bool:
        # RFC 3030 section 3 (3): only together with CHUNKING.
        return "BINARYMIME" in self.keywords and self.chunking

    @property
    def smtputf8(self) -> bool:
        return "SMTPUTF8" in self.keywords

    @property
    def dsn(self) -> bool:
        return "DSN" in self.keywords

    @property
    def starttls(self) -> bool:
        return "STARTTLS" in self.keywords

    @property
    def require_tls(self) -> bool:
        return "REQUIRETLS" in self.keywords

    @property
    def mt_priority(self) -> bool:
        return "MT-PRIORITY" in self.keywords


def parse_extensions(text: str) -> Extensions:
    """The text of a 250 reply to EHLO; lines that are no keyword are ignored."""
    first, *lines = text.split("\n")
    keywords: dict[str, str] = {}
    for line in lines:
        found = _KEYWORD.fullmatch(line.strip())
        if found is None:
            continue
        name, value = found[1].upper(), (found[2] or "").strip()
        if name == "AUTH" and keywords.get(name):
            # lenient: old servers announce a second time, as AUTH=LOGIN, for old clients.
            value = f"{keywords[name]} {value}"
        keywords[name] = value
    hostname = first.split(" ", 1)[0]
    return Extensions(
        hostname,
        MappingProxyType(keywords),
        _size(keywords.get("SIZE")),
        tuple(dict.fromkeys(keywords.get("AUTH", "").upper().split())),
        _deliver_by(keywords.get("DELIVERBY")),
        _future_release(keywords.get("FUTURERELEASE")),
        _limits(keywords.get("LIMITS")),
    )


def _size(value: str | None) -> int | None:
    if value is None:
        return None
    return int(value) if _NUMBER.fullmatch(value) else 0


def _deliver_by(value: str | None) -> int | None:
    if value is None:
        return None
    minimum = value.partition(",")[0]
    return int(minimum) if _NUMBER.fullmatch(minimum) else 0


def _future_release(value: str | None) -> FutureRelease | None:
    if value is None:
        return None
    interval, _, date_time = value.partition(" ")
    # RFC 4865 section 3: both values are required.
    if not _NUMBER.fullmatch(interval) or not date_time:
        return None
    return FutureRelease(int(interval), date_time.strip())


def _limits(value: str | None) -> ServerLimits:
    known: dict[str, int] = {}
    for part in (value or "").split():
        found = _LIMIT.fullmatch(part)
        if found is None:
            # RFC 9422 section 3: nothing of what breaks the syntax counts.
            return NO_LIMITS
        # Nor does a limit that is unknown, or has a value that it cannot have.
        if _LIMIT_VALUE.fullmatch(found[2] or ""):
            known[found[1].upper()] = int(found[2])
    return ServerLimits(known.get("RCPTMAX"), known.get("MAILMAX"), known.get("RCPTDOMAINMAX"))
