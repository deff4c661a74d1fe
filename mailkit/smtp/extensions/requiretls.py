"""REQUIRETLS (RFC 8689): a message that never leaves TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailkit.model import Ability, Envelope
from mailkit.smtp.extensions.extension import Extension, Promised
from mailkit.smtp.grammar import Refused, Reply

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol


def requiretls_parameter(connection: SMTPProtocol, envelope: Envelope, value: str | None) -> None:
    """REQUIRETLS (RFC 8689 section 2): takes no value."""
    if value is not None:
        raise Refused(501, "5.5.4", "REQUIRETLS takes no value")
    envelope.require_tls = True


def _is_encrypted(connection: SMTPProtocol) -> bool:
    # RFC 8689 section 2: the session itself MUST employ TLS.
    return connection.encrypted


REQUIRETLS = Extension(
    "REQUIRETLS",
    available=Promised(Ability.REQUIRETLS, _is_encrypted),
    mail_parameters={"REQUIRETLS": requiretls_parameter},
    refusal=Reply(550, "5.7.30", "REQUIRETLS cannot be kept here"),
)
