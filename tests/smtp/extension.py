"""A made-up SMTP extension, written as a user would."""

from __future__ import annotations

from mailkit.model import Envelope
from mailkit.smtp.extensions.extension import Extension
from mailkit.smtp.grammar import Refused, Reply
from mailkit.smtp.handlers import Command
from mailkit.smtp.protocol import SMTPFactory, SMTPProtocol
from mailkit.smtp.state import ANY


def xcolor(connection: SMTPProtocol, argument: bytes) -> None:
    """The verb."""
    connection.reply(Reply(250, "2.0.0", argument.decode("ascii", "replace")))


def color_parameter(
    connection: SMTPProtocol, envelope: Envelope, value: str | None
) -> Reply | None:
    """The parameter of MAIL."""
    if not value:
        raise Refused(501, "5.5.4", "Which color?")
    return Reply(250, "2.1.0", f"Sender is {value.lower()}")


XCOLOR = Extension(
    "XCOLOR",
    announce=lambda connection: "RED GREEN",
    mail_parameters={"XCOLOR": color_parameter},
    commands={b"XCOLOR": Command(ANY, xcolor, "XCOLOR name")},
)


class ExtendedFactory(SMTPFactory):
    known_extensions = (*SMTPFactory.known_extensions, XCOLOR)
