"""``--pop3-login-delay``, ``--pop3-takeover``: what the POP3 server is like for all clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from mailkit.tap.values import parse_count

#: Names of the options.
LOGIN_DELAY, TAKEOVER = "pop3-login-delay", "pop3-takeover"


def parse_pop3_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of :class:`~mailkit.pop3.protocol.POP3Factory` that the options tell.

    :raises SettingError: one is no number above 0.
    """
    settings: dict[str, Any] = {}
    for name, parameter in ((LOGIN_DELAY, "login_delay"), (TAKEOVER, "takeover")):
        if options.get(name) is not None:
            settings[parameter] = parse_count(str(options[name]))
    return settings


class POP3Options:
    """The options, for commands that serve POP3."""

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
    ]
