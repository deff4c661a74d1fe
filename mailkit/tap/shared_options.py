"""Options that several commands share, but not all: each shows only what it has a use for."""

from __future__ import annotations

from typing import Any, ClassVar

from mailkit.tap.extensions import ExtensionOptions
from mailkit.tap.hooks import HookOptions
from mailkit.tap.milters import MilterOptions
from mailkit.tap.relay import OutboundOptions
from mailkit.tap.routes import RouteOptions
from mailkit.tap.strict_options import StrictOptions


class SizeOptions(StrictOptions):
    """For commands to whose clients messages come from: not POP3."""

    optParameters: ClassVar[list[list[Any]]] = [
        ["max-message-size", None, None, "Largest message, such as 25M [default: 50M]"],
    ]


class TakingOptions(
    SizeOptions, ExtensionOptions, HookOptions, MilterOptions, RouteOptions, OutboundOptions
):
    """For commands that take mail: SMTP, LMTP, submission."""

    optParameters: ClassVar[list[list[Any]]] = [
        ["hostname", None, None, "What the server calls itself [default: the machine's name]"],
    ]


class PasswordOptions(StrictOptions):
    """For commands whose clients log in: not LMTP."""

    optParameters: ClassVar[list[list[Any]]] = [
        [
            "master-separator",
            None,
            None,
            "Let administrators log in as ACCOUNT*ADMINISTRATOR, with this between the two: *"
            " [default: by SASL alone]",
        ],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        [
            "allow-plaintext-passwords",
            None,
            "Let clients on other machines log in without TLS (dangerous)",
        ],
    ]
    table_settings = ["client-certificates", "gssapi", "login-guard"]


class SASLOptions(PasswordOptions):
    """For commands whose clients log in by SASL: not FTP."""

    optParameters: ClassVar[list[list[Any]]] = [
        [
            "mechanisms",
            None,
            None,
            "SASL mechanisms that clients may be offered, the one to prefer first: PLAIN,LOGIN"
            " [default: all that the user base can verify]",
        ],
    ]


class SendingOptions(SASLOptions):
    """For commands by which users who have logged in send: SMTP, submission."""

    optFlags: ClassVar[list[list[Any]]] = [
        [
            "sent-copy",
            None,
            "Put a copy of what a user sends into the user's mailbox for sent mail",
        ],
    ]


class SubmissionOptions(SendingOptions):
    """For submission alone."""

    optFlags: ClassVar[list[list[Any]]] = [
        [
            "any-from",
            None,
            "Let users who submit mail write any address into From; the envelope's sender must be"
            " theirs all the same",
        ],
    ]
