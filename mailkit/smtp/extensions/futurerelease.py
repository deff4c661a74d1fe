"""FUTURERELEASE (RFC 4865): messages that are to be sent later. For submission alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailkit.model import Ability, Envelope
from mailkit.smtp.extensions.extension import Extension, OfListener, Promised
from mailkit.smtp.extensions.times import check_order, format_utc, parse_date_time
from mailkit.smtp.grammar import Refused

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol

_INTERVAL = re.compile(r"[1-9]\d{0,8}", re.ASCII)


def holdfor_parameter(connection: SMTPProtocol, envelope: Envelope, value: str | None) -> None:
    """HOLDFOR (RFC 4865 section 3)."""
    if not _INTERVAL.fullmatch(value or ""):
        raise Refused(501, "5.5.4", "HOLDFOR is a number of seconds")
    _hold(connection, envelope, int(connection.clock.seconds()) + int(value or ""))


def holduntil_parameter(connection: SMTPProtocol, envelope: Envelope, value: str | None) -> None:
    """HOLDUNTIL (RFC 4865 section 3)."""
    try:
        when = parse_date_time(value or "", fractions=True, utc=True)
    except ValueError:
        raise Refused(501, "5.5.4", "HOLDUNTIL is a time as 2026-01-31T13:30:00Z") from None
    _hold(connection, envelope, when)


def _hold(connection: SMTPProtocol, envelope: Envelope, until: int) -> None:
    if envelope.hold_until is not None:
        # RFC 4865 section 4.2 (9)
        raise Refused(501, "5.5.4", "HOLDFOR and HOLDUNTIL exclude each other")
    most = connection.factory.extensions.max_hold
    if until > connection.clock.seconds() + most:
        # RFC 4865 section 4.2 (7) and (8)
        raise Refused(501, "5.5.4", f"Messages are held for {most} seconds at most")
    envelope.hold_until = until
    check_order(envelope)


def _is_submission(connection: SMTPProtocol) -> bool:
    # RFC 4865 section 4.2 (2)
    return connection.is_submission


def _announce(connection: SMTPProtocol) -> str:
    most = connection.factory.extensions.max_hold
    return f"{most} {format_utc(connection.clock.seconds() + most)}"


FUTURERELEASE = Extension(
    "FUTURERELEASE",
    available=Promised(Ability.HOLD, OfListener(_is_submission)),
    announce=_announce,
    mail_parameters={"HOLDFOR": holdfor_parameter, "HOLDUNTIL": holduntil_parameter},
)
