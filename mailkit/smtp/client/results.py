"""What became of a message: outcomes by recipient, and facts about the connection."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mailkit.client.security import TLSInfo
from mailkit.errors import MailError, MessageRefused, TemporaryFailure
from mailkit.model import Recipient
from mailkit.smtp.client.extensions import Extensions


class Status(enum.Enum):
    """Who is responsible for the message now, as far as one recipient is concerned."""

    #: The server.
    ACCEPTED = "accepted"
    #: Still the client, which may try again later.
    TEMPORARY = "temporary"
    #: Still the client, which must not try again.
    PERMANENT = "permanent"


class RecipientOutcome(NamedTuple):
    """What became of one recipient."""

    recipient: Recipient
    status: Status
    #: Reply code; 0 where the server said nothing and the judgement is ours.
    code: int
    #: Enhanced status code (RFC 3463): the server's, or ours where it gave none.
    enhanced: str
    #: Lines of text, of the server or of ours.
    text: str
    #: What this answers: ``MAIL``, ``RCPT``, ``DATA``, ``BDAT``, ``end of data``; or what was under
    #: way when the connection ended: these, ``connect``, ``EHLO``, ...; nothing for a judgement
    #: before any command.
    command: str
    #: False when this recipient was never told to the server, for another connection may help:
    #: its LIMITS are used up.
    attempted: bool = True

    @property
    def accepted(self) -> bool:
        return self.status is Status.ACCEPTED

    @property
    def temporary(self) -> bool:
        return self.status is Status.TEMPORARY

    @property
    def permanent(self) -> bool:
        return self.status is Status.PERMANENT

    @property
    def error(self) -> MailError | None:
        """For :class:`mailkit.model.Outcome`: None when accepted."""
        if self.accepted:
            return None
        text = f"{self.code or ''} {self.enhanced} {self.text}".strip().replace("\n", " ")
        return TemporaryFailure(text) if self.temporary else MessageRefused(text)


@dataclass
class ConnectionFacts:
    """The connection as it stands now."""

    #: Where it goes: an address and port, or the path of a UNIX socket.
    peer: str = ""
    #: ``SMTP``, ``ESMTP`` or ``LMTP``; empty before EHLO.
    protocol: str = ""
    #: Text of the greeting.
    greeting: str = ""
    extensions: Extensions = field(default_factory=Extensions)
    tls: TLSInfo | None = None
    #: Why an opportunistic connection has no TLS though the server offers it.
    tls_failure: str = ""
    #: User name that is logged in.
    account: str | None = None
    #: Transactions so far.
    transactions: int = 0

    def copy(self) -> ConnectionFacts:
        """The same, which stays as it is."""
        copied = object.__new__(ConnectionFacts)
        copied.__dict__.update(self.__dict__)
        return copied


@dataclass
class SendResult:
    """What became of one message."""

    #: In the order of the envelope's recipients.
    outcomes: Sequence[RecipientOutcome]
    #: The connection that was used.
    facts: ConnectionFacts = field(default_factory=ConnectionFacts)
    #: Octets of the message, as sent.
    size: int = 0
    #: The message was converted to 7 bits (RFC 6152 section 3).
    converted: bool = False
    #: The server took over the parameters of delivery status notifications. If not, who sends must
    #: report (RFC 3461 section 5.2.2).
    dsn: bool = False

    @property
    def accepted(self) -> list[RecipientOutcome]:
        return [outcome for outcome in self.outcomes if outcome.accepted]

    @property
    def failed(self) -> list[RecipientOutcome]:
        return [outcome for outcome in self.outcomes if not outcome.accepted]
