"""What can go wrong with a command, besides the connection."""

from __future__ import annotations

from mailkit.client.errors import ClientError


class Refused(ClientError):
    """The server answered ``-ERR``.

    :ivar response_code: what stands in brackets before the text (RFC 2449 section 8), in capitals:
        ``IN-USE``, ``LOGIN-DELAY``, ``SYS/TEMP``, ``SYS/PERM``, ``AUTH``; or nothing.
    """

    default_text = "The mail server did not do it"
    temporary = False

    def __init__(self, text: str = "", *, command: str = "", response_code: str = "") -> None:
        super().__init__(text, command=command)
        self.response_code = response_code
        if response_code in _TEMPORARY:
            self.temporary = True


class NotOffered(ClientError):
    """The server does not announce what this needs; nothing was sent."""

    default_text = "The mail server cannot do that"
    temporary = False


# RFC 2449 section 8.1, RFC 3206 section 4: what may succeed when it is tried again.
_TEMPORARY = frozenset(("IN-USE", "LOGIN-DELAY", "SYS/TEMP"))
