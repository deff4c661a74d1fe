"""MT-PRIORITY (RFC 6710): messages that go before others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailkit.model import Ability, Envelope
from mailkit.smtp.extensions.extension import Extension, OfListener, Promised
from mailkit.smtp.grammar import Refused, Reply

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol

_VALUE = re.compile(r"-?[1-9]|0", re.ASCII)


def priority_parameter(
    connection: SMTPProtocol, envelope: Envelope, value: str | None
) -> Reply | None:
    """MT-PRIORITY (RFC 6710 section 4.1)."""
    if not _VALUE.fullmatch(value or ""):
        raise Refused(501, "5.5.2", "MT-PRIORITY is a number from -9 to 9")
    priority = int(value or "")
    if priority > 0 and envelope.account is None:
        # RFC 6710 section 4.1: no upgrades for strangers; the text begins with the new priority.
        return Reply(250, "2.3.6", "0 is the highest priority for clients that have not logged in")
    envelope.priority = priority
    return None


def _announce(connection: SMTPProtocol) -> str:
    return connection.factory.extensions.priority_policy


MT_PRIORITY = Extension(
    "MT-PRIORITY",
    available=Promised(Ability.PRIORITY),
    announce=OfListener(_announce),
    mail_parameters={"MT-PRIORITY": priority_parameter},
)
