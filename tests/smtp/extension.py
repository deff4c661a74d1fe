"""A made-up SMTP extension, written as a user would."""

from __future__ import annotations

from mailkit.model import Envelope
from mailkit.smtp.grammar import Refused, Reply
from mailkit.smtp.handlers import COMMANDS, MAIL_PARAMETERS, Command
from mailkit.smtp.protocol import SMTPFactory, SMTPProtocol
from mailkit.smtp.state import ANY


def xcolor(connection: SMTPProtocol, argument: bytes) -> None:
    """The verb."""
    connection.reply(Reply(250, "2.0.0", argument.decode("ascii", "replace")))


def color_parameter(connection: SMTPProtocol, envelope: Envelope, value: str | None) -> str | None:
    """The parameter of MAIL."""
    if not value:
        raise Refused(501, "5.5.4", "Which color?")
    return value.upper()


class ExtendedProtocol(SMTPProtocol):
    commands = {**COMMANDS, b"XCOLOR": Command(ANY, xcolor, "XCOLOR name")}
    mail_parameters = {**MAIL_PARAMETERS, "XCOLOR": color_parameter}

    def extensions(self) -> list[str]:
        return ["XCOLOR", *super().extensions()]


class ExtendedFactory(SMTPFactory):
    connection_class = ExtendedProtocol
