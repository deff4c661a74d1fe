"""NO-SOLICITING (RFC 3865): classes of advertisement that nobody here wants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mailkit.model import Envelope
from mailkit.smtp.extensions.extension import Extension, OfListener
from mailkit.smtp.extensions.settings import MAX_SOLICITATION, is_class_keyword
from mailkit.smtp.grammar import Refused

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol


def solicit_parameter(connection: SMTPProtocol, envelope: Envelope, value: str | None) -> None:
    """SOLICIT (RFC 3865 section 2.3)."""
    keywords = (value or "").split(",")
    if len(value or "") > MAX_SOLICITATION or not all(map(is_class_keyword, keywords)):
        raise Refused(501, "5.5.4", "SOLICIT has class keywords such as org.example:ADV")
    refuse_unwanted(connection, keywords)
    envelope.solicitation = tuple(keywords)


def refuse_unwanted(connection: SMTPProtocol, keywords: Iterable[str]) -> None:
    """:raises Refused: one of the classes is not wanted (RFC 3865 section 2.4)."""
    unwanted = {keyword.lower() for keyword in connection.factory.extensions.no_soliciting}
    for keyword in keywords:
        if keyword.lower() in unwanted:
            raise Refused(550, "5.7.1", f"SOLICITING {keyword} is not wanted here")


def _available(connection: SMTPProtocol) -> bool:
    # Where nobody objects there is nothing to announce.
    return bool(connection.factory.extensions.no_soliciting)


def _announce(connection: SMTPProtocol) -> str:
    return ",".join(connection.factory.extensions.no_soliciting)


NO_SOLICITING = Extension(
    "NO-SOLICITING",
    available=OfListener(_available),
    announce=OfListener(_announce),
    mail_parameters={"SOLICIT": solicit_parameter},
)
