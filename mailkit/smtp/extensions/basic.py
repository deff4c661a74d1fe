"""SIZE, 8BITMIME, PIPELINING, SMTPUTF8, ENHANCEDSTATUSCODES, STARTTLS, AUTH and HELP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailkit.model import Envelope
from mailkit.smtp import handlers, replies
from mailkit.smtp.extensions.extension import Extension, OfListener
from mailkit.smtp.grammar import Refused, parse_mailbox, parse_size, parse_xtext
from mailkit.smtp.handlers import Command
from mailkit.smtp.state import ANY, GREETED

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol

_BODIES = ("7BIT", "8BITMIME", "BINARYMIME")


def size_parameter(connection: SMTPProtocol, envelope: Envelope, value: str | None) -> None:
    """SIZE (RFC 1870 section 6.1)."""
    try:
        size = parse_size(value)
    except ValueError as error:
        raise Refused(501, "5.5.4", str(error)) from None
    if size > connection.factory.max_size:
        reply = replies.too_large(connection.factory.max_size)
        raise Refused(*reply)
    envelope.declared_size = size


def body_parameter(connection: SMTPProtocol, envelope: Envelope, value: str | None) -> None:
    """BODY (RFC 6152 section 2, RFC 3030 section 3)."""
    body = (value or "").upper()
    known = [name for name in _BODIES if name != "BINARYMIME" or connection.offers(name)]
    if body not in known:
        raise Refused(501, "5.5.4", f"BODY is one of {', '.join(known)}")
    envelope.body = body


def smtputf8_parameter(connection: SMTPProtocol, envelope: Envelope, value: str | None) -> None:
    """SMTPUTF8 (RFC 6531 section 3.4): takes no value."""
    if value is not None:
        raise Refused(501, "5.5.4", "SMTPUTF8 takes no value")
    envelope.smtputf8 = True


def auth_parameter(connection: SMTPProtocol, envelope: Envelope, value: str | None) -> None:
    """AUTH (RFC 4954 section 5): by default no client is trusted to name somebody else."""
    try:
        identity = parse_xtext(value or "")
        submitter = None
        if identity != b"<>":
            submitter = parse_mailbox(identity, connection.factory.limits)
    except ValueError:
        raise Refused(501, "5.5.4", "AUTH is <> or an address in xtext") from None
    trust = connection.factory.extensions.trust_submitter
    trusted = submitter is not None and trust.allows(connection.session.account)
    envelope.submitter = str(submitter) if trusted else "<>"


def _announce_size(connection: SMTPProtocol) -> str:
    return str(connection.factory.max_size)


def _announce_auth(connection: SMTPProtocol) -> str | None:
    # RFC 4954 section 6: no mechanism is announced that TLS must come before.
    if connection.session.account is not None or not connection.serves_users:
        return None
    return " ".join(connection.mechanisms()) or None


SIZE = Extension(
    "SIZE", announce=OfListener(_announce_size), mail_parameters={"SIZE": size_parameter}
)
EIGHTBITMIME = Extension("8BITMIME", mail_parameters={"BODY": body_parameter})
PIPELINING = Extension("PIPELINING")
# RFC 6531 section 3.1: only together with 8BITMIME.
SMTPUTF8 = Extension(
    "SMTPUTF8", mail_parameters={"SMTPUTF8": smtputf8_parameter}, needs=("8BITMIME",)
)
ENHANCEDSTATUSCODES = Extension("ENHANCEDSTATUSCODES")
STARTTLS = Extension(
    "STARTTLS",
    available=lambda connection: connection.can_start_tls,
    commands={b"STARTTLS": Command(ANY, handlers.starttls, "STARTTLS")},
)
AUTH = Extension(
    "AUTH",
    announce=_announce_auth,
    mail_parameters={"AUTH": auth_parameter},
    commands={b"AUTH": Command(GREETED, handlers.auth, "AUTH mechanism [initial-response]")},
)
HELP = Extension("HELP", commands={b"HELP": Command(ANY, handlers.help_, "HELP [verb]")})
