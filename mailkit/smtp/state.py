"""What an SMTP session knows, and which command is legal when (RFC 5321 section 4.1.4). No I/O."""

from __future__ import annotations

from mailkit.model import Envelope, Recipient
from mailkit.smtp.grammar import Reply

# Phases of a session, as bits, so that a command names all those in which it is legal.
#: Nobody has said HELO or EHLO.
CONNECTED = 1
#: Between transactions.
GREETED = 2
#: MAIL was accepted.
SENDER = 4
#: At least one RCPT was accepted.
RECIPIENTS = 8
#: After the 354 of DATA: octets are content.
CONTENT = 16
#: After a 334 of AUTH: the line is a response.
AUTHENTICATING = 32
#: Between two BDAT of one message.
CHUNKS = 64
#: A hook has refused the client by the greeting.
REFUSED = 128

#: Every phase in which commands are read.
ANY = CONNECTED | GREETED | SENDER | RECIPIENTS | CHUNKS

_TRANSACTION_OPEN = Reply(
    503, "5.5.1", "A mail transaction is open; end it with DATA, BDAT or RSET"
)
#: What needs a transaction came outside of one.
SEND_MAIL = Reply(503, "5.5.1", "Send MAIL first")
# RFC 5321 section 3.1
_NOT_YOU = Reply(503, "5.5.1", "Nothing is taken from you; say QUIT")
_MORE_CHUNKS = Reply(503, "5.5.1", "A message is being sent by BDAT; end it with LAST or RSET")


class Session:
    """The client's side of the conversation so far."""

    __slots__ = (
        "account",
        "envelope",
        "errors",
        "esmtp",
        "forwarded",
        "helo",
        "idle_commands",
        "messages",
        "phase",
        "refusals",
        "transactions",
    )
    #: The command that begins a session.
    hello = "EHLO"
    #: DATA without a recipient (RFC 5321 section 3.3, RFC 2920 section 3.2 (3)).
    no_recipients = Reply(554, "5.5.1", "No valid recipients")

    def __init__(self) -> None:
        #: Messages received on this connection.
        self.messages = 0
        #: MAIL commands that were accepted.
        self.transactions = 0
        #: Commands that were not understood.
        self.errors = 0
        #: MAIL, RCPT and DATA that were refused, and the other commands, since the last message.
        self.refusals = 0
        self.idle_commands = 0
        self.forget()

    def forget(self) -> None:
        """Forget what the client said: the state after the greeting (RFC 3207 section 4.2)."""
        self.phase = CONNECTED
        self.helo = ""
        self.esmtp = False
        #: Name of the authenticated account.
        self.account: str | None = None
        self.envelope: Envelope | None = None
        #: What XFORWARD has told of the next message.
        self.forwarded: dict[str, str] = {}

    def greet(self, name: str, esmtp: bool) -> None:
        """HELO or EHLO was accepted; an open transaction ends (RFC 5321 section 4.1.4)."""
        self.helo = name
        self.esmtp = esmtp
        self.envelope = None
        self.phase = GREETED

    def begin(self, envelope: Envelope) -> None:
        """MAIL was accepted."""
        self.envelope = envelope
        self.transactions += 1
        self.phase = SENDER

    def add(self, recipient: Recipient) -> None:
        """RCPT was accepted."""
        assert self.envelope is not None
        self.envelope.recipients.append(recipient)
        self.phase = RECIPIENTS

    def end(self) -> Envelope | None:
        """The transaction, if there is one, is over; its envelope."""
        envelope, self.envelope = self.envelope, None
        if envelope is not None:
            self.forwarded = {}
        if self.phase != CONNECTED:
            self.phase = GREETED
        return envelope

    def out_of_order(self, verb: bytes) -> Reply:
        """Why a command is not legal now."""
        if self.phase == CONNECTED:
            return Reply(503, "5.5.1", f"Send {self.hello} first")
        if self.phase == REFUSED:
            return _NOT_YOU
        if self.phase == CHUNKS:
            return _MORE_CHUNKS
        if verb in (b"DATA", b"BDAT", b"BURL") and self.phase == SENDER:
            return self.no_recipients
        return SEND_MAIL if self.phase == GREETED else _TRANSACTION_OPEN
