"""``--imap-language``, ``--imap-message-limit``, ``--imap-gmail``: what the IMAP server is like for all clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from mailkit.tap.errors import SettingError
from mailkit.tap.strict_options import StrictOptions
from mailkit.tap.values import parse_count
from mailkit.translation import checked_language

#: Names of the options.
LANGUAGE, MESSAGE_LIMIT, GMAIL = "imap-language", "imap-message-limit", "imap-gmail"
#: Those whose values may be wrong.
JUDGED = (LANGUAGE, MESSAGE_LIMIT)


def parse_imap_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of :class:`~mailkit.imap.protocol.IMAPFactory` that the options tell.

    :raises SettingError: there is no such language, or the limit is no number above 0.
    """
    settings: dict[str, Any] = {}
    if options.get(LANGUAGE) is not None:
        try:
            settings["language"] = checked_language(str(options[LANGUAGE]))
        except ValueError as error:
            raise SettingError(str(error)) from error
    if options.get(MESSAGE_LIMIT) is not None:
        settings["message_limit"] = parse_count(str(options[MESSAGE_LIMIT]))
    if options.get(GMAIL):
        settings["gmail_extensions"] = True
    return settings


class IMAPOptions(StrictOptions):
    """The options, for commands that serve IMAP."""

    optFlags: ClassVar[list[list[Any]]] = [
        [
            GMAIL,
            None,
            "Offer IMAP clients labels, numbers and searches as Gmail does (X-GM-EXT-1); some of"
            " them then take the server for Gmail",
        ],
    ]

    optParameters: ClassVar[list[list[Any]]] = [
        [
            LANGUAGE,
            None,
            None,
            "Language of texts for IMAP clients that leave it to the server: en, de or ru"
            " [default: en]",
        ],
        [
            MESSAGE_LIMIT,
            None,
            None,
            "Messages that one IMAP command works on; RFC 9738 wants 1000 at least [default: any]",
        ],
        [
            "max-sessions-per-account",
            None,
            None,
            "IMAP connections that are logged in to one account [default: 100]",
        ],
    ]
