"""What a server says, as values."""

from __future__ import annotations

from typing import NamedTuple

from mailkit.client.content import Content
from mailkit.pop3.client.errors import Refused


class Stat(NamedTuple):
    """STAT: what is in the maildrop, but for messages that are marked as deleted."""

    messages: int
    octets: int


class Language(NamedTuple):
    """One that the server speaks (RFC 6856 section 3)."""

    tag: str
    #: In that language.
    name: str


class Retrieved(NamedTuple):
    """A message that was asked for: its content, or why there is none."""

    number: int
    content: Content | None
    refusal: Refused | None = None


class Farewell(NamedTuple):
    """What came of the session.

    :ivar removed: the server has removed the messages that were marked as deleted; false when it
        says that some are still there, None when nobody knows.
    """

    removed: bool | None
    #: What the server, or the connection, had to say.
    text: str
