"""Commands that the server carries out for some messages at a time (MESSAGELIMIT, RFC 9738).

The messages that it leaves out have lower UIDs than those that it has told.
"""

from __future__ import annotations

from mailkit.client.errors import ProtocolError
from mailkit.imap.client.connection import Connection
from mailkit.imap.client.errors import Refused
from mailkit.imap.client.responses import Typed
from mailkit.imap.client.sets import covered, format_ranges
from mailkit.imap.client.values import Ranges, Status

#: Commands that one call becomes.
MAX_ROUNDS = 10_000


class Rounds:
    """What is left of a command that is said again for the rest.

    :param name: of the command.
    :param connection: whose limits hold.
    """

    def __init__(self, name: str, connection: Connection) -> None:
        self._name = name
        self._connection = connection
        # Of the responses that are kept for one set, in all rounds.
        self._octets = self._values = 0
        self._status: Status | None = None
        self._count = 0

    def note(self, response: Typed) -> bool:
        """Take a response code of the command, tagged or not; true if it tells of a limit."""
        if not (isinstance(response, Status) and response.code is not None):
            return False
        if response.code.name != "MESSAGELIMIT":
            return False
        self._status = response
        return True

    def keep(self, octets: int = 0) -> None:
        """Count the response in hand: rounds have the limits of one command together.

        :param octets: that stay until the end.
        :raises ProtocolError: there are too many.
        """
        self._octets += octets
        self._values += 1
        limits = self._connection.settings.limits
        if self._octets > limits.answer or self._values > limits.values:
            raise ProtocolError("The server answers without end", command=self._name)

    def refuse(self) -> None:
        """For a command that cannot be said again for the rest.

        :raises Refused: the server has left something out.
        """
        status = self._status
        if self.lowest() > 1 and status is not None:
            raise Refused(status.text, command=self._name, response_code=status.code)

    def lowest(self) -> int:
        """The UID that the server has come to since the last call; 0 where it has left nothing out.

        :raises Refused: it does not say how far it has come.
        :raises ProtocolError: it never comes to an end.
        """
        status, self._status = self._status, None
        if status is None or status.code is None:
            return 0
        self._count += 1
        if self._count > MAX_ROUNDS:
            raise ProtocolError("The server never comes to the end", command=self._name)
        uid = status.code.arguments.partition(b" ")[2]
        if not (uid.isdigit() and 0 < len(uid) <= 10 and int(uid)):
            raise Refused(status.text, command=self._name, response_code=status.code)
        return int(uid)

    def rest(self, text: str, *, by_uid: bool) -> str:
        """What is left of a set of UIDs; empty where nothing is.

        :raises Refused: the rest cannot be named.
        :raises ProtocolError: it does not become less.
        """
        if not by_uid or text == "$":
            self.refuse()
        uid = self.lowest()
        if uid <= 1:
            # Several sets are of the caller's making.
            self._octets = self._values = 0
            return ""
        if uid > covered(text).ranges[-1][1]:
            raise ProtocolError("The server speaks of other messages", command=self._name)
        return format_ranges(_below(text, uid))


def _below(text: str, uid: int) -> Ranges:
    """What of a set lies below a UID."""
    found = []
    for part in text.split(","):
        low, _, high = part.partition(":")
        ends = [int(end) if end.isdigit() else 2**32 - 1 for end in (low, high or low)]
        first, last = min(ends), min(max(ends), uid - 1)
        if first <= last:
            found.append((first, last))
    return tuple(found)
