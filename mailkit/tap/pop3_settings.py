"""``--pop3-login-delay``, ``--pop3-language`` and their like: what the POP3 server is like for all clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from mailkit.tap.errors import SettingError
from mailkit.tap.strict_options import StrictOptions
from mailkit.tap.values import parse_count
from mailkit.translation import checked_language

#: Names of the options.
LOGIN_DELAY, TAKEOVER = "pop3-login-delay", "pop3-takeover"
LANGUAGE, REFUSE_UTF8 = "pop3-language", "pop3-refuse-utf8"
#: Those whose values may be wrong.
JUDGED = (LOGIN_DELAY, TAKEOVER, LANGUAGE)


def parse_pop3_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of :class:`~mailkit.pop3.protocol.POP3Factory` that the options tell.

    :raises SettingError: one is no number above 0, or there is no such language.
    """
    settings: dict[str, Any] = {}
    for name, parameter in ((LOGIN_DELAY, "login_delay"), (TAKEOVER, "takeover")):
        if options.get(name) is not None:
            settings[parameter] = parse_count(str(options[name]))
    if options.get(LANGUAGE) is not None:
        try:
            settings["language"] = checked_language(str(options[LANGUAGE]))
        except ValueError as error:
            raise SettingError(str(error)) from error
    if options.get(REFUSE_UTF8):
        settings["refuse_utf8"] = True
    return settings


class POP3Options(StrictOptions):
    """The options, for commands that serve POP3."""

    optFlags: ClassVar[list[list[Any]]] = [
        [
            REFUSE_UTF8,
            None,
            "Refuse messages with UTF-8 in their header to POP3 clients that have not said UTF8, as"
            " RFC 6856 wants it; few programs say it",
        ],
    ]

    optParameters: ClassVar[list[list[Any]]] = [
        [
            LOGIN_DELAY,
            None,
            None,
            "Seconds between two POP3 logins of one account [default: none]; see also"
            " `mailkit account pop3`",
        ],
        [
            TAKEOVER,
            None,
            None,
            "Seconds of silence after which a POP3 session gives way to another one of the same"
            " account [default: never; one whose client is gone gives way at once]",
        ],
        [
            LANGUAGE,
            None,
            None,
            "Language of texts for POP3 clients that leave it to the server (LANG *): en, de or ru"
            " [default: en]",
        ],
    ]
