"""DELIVERBY (RFC 2852): a message that is worth something only until a time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailkit.model import Ability, DeliverBy, Envelope
from mailkit.smtp.extensions.extension import Extension, OfListener, Promised
from mailkit.smtp.extensions.times import check_order
from mailkit.smtp.grammar import Refused

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol

_VALUE = re.compile(r"([-+]?\d{1,9});([NR])(T?)", re.ASCII)


def by_parameter(connection: SMTPProtocol, envelope: Envelope, value: str | None) -> None:
    """BY (RFC 2852 section 4)."""
    found = _VALUE.fullmatch((value or "").upper())
    if found is None:
        raise Refused(501, "5.5.4", "BY is seconds, a semicolon, N or R, and perhaps T")
    seconds, mode = int(found[1]), found[2]
    if mode == "R":
        if seconds <= 0:
            raise Refused(501, "5.5.4", "A message cannot be returned before it was sent")
        least = connection.factory.extensions.min_deliver_by
        if seconds < least:
            # RFC 2852 section 3: 55z.
            raise Refused(555, "5.5.4", f"Delivery within {seconds} s is not possible here")
    deadline = int(connection.clock.seconds()) + seconds
    envelope.deliver_by = DeliverBy(deadline, mode, bool(found[3]))
    check_order(envelope)


def _announce(connection: SMTPProtocol) -> str:
    return str(connection.factory.extensions.min_deliver_by)


DELIVERBY = Extension(
    "DELIVERBY",
    available=Promised(Ability.DELIVERBY),
    announce=OfListener(_announce),
    mail_parameters={"BY": by_parameter},
)
