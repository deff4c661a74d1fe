"""RRVS (RFC 7293): mail for whoever had the address at a time, and for no later owner."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mailkit.model import Ability, Envelope, Recipient, ValidSince
from mailkit.smtp.extensions.extension import Extension, Promised
from mailkit.smtp.extensions.times import parse_date_time
from mailkit.smtp.grammar import Refused

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol


def rrvs_parameter(
    connection: SMTPProtocol, envelope: Envelope, recipient: Recipient, value: str | None
) -> Recipient:
    """RRVS (RFC 7293 section 3.1)."""
    text, semicolon, action = (value or "").partition(";")
    action = action.upper() if semicolon else "R"
    try:
        since = parse_date_time(text)
    except ValueError:
        since = None
    if since is None or action not in ("C", "R"):
        raise Refused(501, "5.5.4", "RRVS is a time as 2026-01-31T13:30:00Z, perhaps with ;C or ;R")
    return replace(recipient, rrvs=ValidSince(since, action))


RRVS = Extension(
    "RRVS",
    available=Promised(Ability.VALID_SINCE),
    recipient_parameters={"RRVS": rrvs_parameter},
)
