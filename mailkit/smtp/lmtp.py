"""LMTP (RFC 2033): mail from a queue of ours, with one reply a recipient.

The client is a mail server of this site, so its envelopes are believed; but the delivery for
everybody takes mail for local users alone, so nothing is relayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.cred.portal import Portal

from mailkit._typing import override
from mailkit.model import Envelope, Outcome, Path, Recipient
from mailkit.smtp import handlers, replies
from mailkit.smtp.grammar import Reply
from mailkit.smtp.handlers import Command
from mailkit.smtp.protocol import SMTPFactory, SMTPProtocol
from mailkit.smtp.state import ANY, SEND_MAIL, Session

#: Extensions that each server has (RFC 2033 section 5).
REQUIRED = frozenset(("PIPELINING", "ENHANCEDSTATUSCODES"))

# RFC 2033 section 4.1: HELO and EHLO are not present, 500 is recommended.
_OTHER_HELLOS = (b"HELO", b"EHLO")


class LMTPSession(Session):
    """The client's side of the conversation so far."""

    __slots__ = ("accepted",)
    hello = "LHLO"
    # RFC 2033 section 4.2: DATA without a recipient MUST fail with 503.
    no_recipients = Reply(503, "5.5.1", "No valid recipients")

    def __init__(self) -> None:
        super().__init__()
        #: The recipients of the last transaction as the client knows them. Hooks may add to those
        #: of the envelope, or take some away.
        self.accepted: list[Recipient] = []

    @override
    def begin(self, envelope: Envelope) -> None:
        super().begin(envelope)
        self.accepted = []

    @override
    def add(self, recipient: Recipient) -> None:
        super().add(recipient)
        self.accepted.append(recipient)


class LMTPProtocol(SMTPProtocol):
    """A mail server that hands over mail for final delivery."""

    factory: LMTPFactory
    protocol_name = "lmtp"
    commands: Mapping[bytes, Command] = {
        b"LHLO": Command(ANY, handlers.ehlo, "LHLO host"),
        **{verb: c for verb, c in handlers.COMMANDS.items() if verb not in _OTHER_HELLOS},
    }
    other_verbs: Mapping[bytes, Command] = {
        **{verb: c for verb, c in handlers.OTHER_VERBS.items() if verb != b"LHLO"},
        **{verb: Command(ANY, handlers.hello_of_another_protocol, "") for verb in _OTHER_HELLOS},
    }
    session: LMTPSession
    session_class = LMTPSession
    greeting_name = trace_name = "LMTP"
    # The delivery of a user might relay.
    serves_users = False

    @override
    def discard_chunk(self, size: int, last: bool, refusal: Reply | None) -> None:
        if last and refusal in (self.session.no_recipients, SEND_MAIL):
            # RFC 2033 section 4.3: BDAT LAST without an accepted RCPT returns zero replies, also to
            # a client that has sent it ahead of the refusal of its MAIL.
            self.session.refusals += 1
            self.session.end()
            refusal = None
        super().discard_chunk(size, last, refusal)

    @override
    def reply_to_content(self, envelope: Envelope, outcomes: Sequence[Outcome]) -> list[Reply]:
        """RFC 2033 section 4.2: one for each accepted RCPT, in their order."""
        by_path: dict[Path, list[Outcome]] = {}
        for outcome in outcomes:
            by_path.setdefault(outcome.recipient.path, []).append(outcome)
        answers = []
        for recipient in self.session.accepted:
            found = by_path.get(recipient.path)
            # Whom a hook has taken away is served: nobody shall try again.
            outcome = found.pop(0) if found else Outcome(recipient)
            answers.append(replies.for_outcome(outcome, envelope.transaction_id))
        return answers

    @override
    def reply_for_all(self, reply: Reply) -> list[Reply]:
        return [reply] * len(self.session.accepted)


class LMTPFactory(SMTPFactory):
    """Takes mail from mail servers of this site (RFC 2033), over a UNIX socket or a private port.

    Not on TCP port 25 (RFC 2033 section 5), and nowhere that strangers can reach.

    Nobody logs in. The parameters are those of :class:`~mailkit.smtp.protocol.SMTPFactory`; the
    extensions of :data:`REQUIRED` cannot be switched off.
    """

    connection_class: type[SMTPProtocol] = LMTPProtocol

    def __init__(self, portal: Portal | None = None, **settings: Any) -> None:
        super().__init__(portal, **settings)
        missing = REQUIRED - self.extension_set.by_name.keys()
        if missing:
            raise ValueError(f"LMTP must have {', '.join(sorted(missing))}")
