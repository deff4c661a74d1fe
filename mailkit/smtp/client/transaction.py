"""One mail transaction: what to send next, and what each reply means. No I/O.

``RSET``, ``MAIL``, all ``RCPT`` and ``DATA`` go in one group where the server has PIPELINING
(RFC 2920 section 3.1), right behind the content of the message before where somebody waits to
send; otherwise one by one. Content sent by BDAT follows the replies to RCPT (RFC 3030 section 2).
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from mailkit.client.errors import ClientError
from mailkit.model import Recipient
from mailkit.smtp.client.results import RecipientOutcome, Status
from mailkit.smtp.grammar import Reply


class Phase(enum.Enum):
    """What is to be done."""

    #: Commands are sent, replies are awaited.
    ENVELOPE = enum.auto()
    #: The content may be sent.
    CONTENT = enum.auto()
    #: DATA was accepted though there is nobody to send to: send a dot alone.
    EMPTY_CONTENT = enum.auto()
    #: The content is sent; replies to it are awaited.
    TERMINATION = enum.auto()
    #: Every recipient has an outcome.
    DONE = enum.auto()


class Command(NamedTuple):
    """A command, and what its reply concerns."""

    #: ``RSET``, ``MAIL``, ``RCPT``, ``DATA``, ``BDAT`` or ``end of data``.
    name: str
    octets: bytes
    #: Index of the recipient, for RCPT and for replies of LMTP.
    recipient: int = -1


# Those that are the same in each transaction.
_RESET = Command("RSET", b"RSET\r\n")
_DATA = Command("DATA", b"DATA\r\n")
_END = Command("end of data", b"")

#: What a reply means that has no enhanced status code of its own.
_PLAIN_CODES = {
    421: "4.3.2",
    450: "4.2.0",
    451: "4.3.0",
    452: "4.3.1",
    500: "5.5.2",
    501: "5.5.4",
    502: "5.5.1",
    503: "5.5.1",
    504: "5.5.4",
    521: "5.3.2",
    530: "5.7.0",
    550: "5.1.1",
    551: "5.1.6",
    552: "5.2.2",
    553: "5.1.3",
    555: "5.5.4",
    556: "5.1.10",
}
#: The same where it answers MAIL, and not a recipient (RFC 1870 section 6.1, RFC 7505 section 4.2).
_SENDER_CODES = {552: "5.3.4", 553: "5.1.7", 556: "5.7.27"}


def outcome_of(recipient: Recipient, reply: Reply, command: str) -> RecipientOutcome:
    """What a reply means for a recipient."""
    first = reply.code // 100
    if first == 2:
        status = Status.ACCEPTED
    elif first == 5:
        status = Status.PERMANENT
    else:
        # A 3yz that may not come here leaves everything open.
        status = Status.TEMPORARY
    if reply.enhanced:
        enhanced = reply.enhanced
    elif first in (4, 5):
        enhanced = _plain_code(reply.code, command)
    else:
        enhanced = "2.0.0" if first == 2 else "4.5.0"
    return RecipientOutcome(recipient, status, reply.code, enhanced, reply.text, command)


def _plain_code(code: int, command: str) -> str:
    enhanced = _PLAIN_CODES.get(code, f"{code // 100}.0.0")
    if command == "RCPT":
        return enhanced
    if command == "MAIL" and code in _SENDER_CODES:
        return _SENDER_CODES[code]
    if code == 552:
        return "5.3.4"
    # RFC 5321 section 4.2.3: a reply speaks of the mailbox only as the answer to RCPT.
    return f"{code // 100}.0.0" if enhanced[2] in "12" else enhanced


class Transaction:
    """The dialogue of one transaction.

    Ask :meth:`to_send` for octets until there are none, give every reply to :meth:`answer`; in phase
    CONTENT send the content, then call :meth:`content_sent`; go on until phase DONE.

    :param mail: the MAIL command with its line end.
    :param recipients: each with its RCPT command.
    :param reset: send RSET first.
    :param chunking: the content is sent by BDAT, else by DATA.
    :param lmtp: one reply for each recipient ends the transaction (RFC 2033 section 4.2).
    """

    def __init__(
        self,
        mail: bytes,
        recipients: Sequence[tuple[Recipient, bytes]],
        *,
        reset: bool = False,
        pipelining: bool = False,
        chunking: bool = False,
        lmtp: bool = False,
    ) -> None:
        self.phase = Phase.ENVELOPE
        self.recipients = [recipient for recipient, _ in recipients]
        self._outcomes: list[RecipientOutcome | None] = [None] * len(recipients)
        self.pipelining = pipelining
        self.chunking = chunking
        self._lmtp = lmtp
        self._accepted: list[int] = []
        #: All of the content, and its end, is on its way.
        self.all_sent = False
        #: The server may hold an open transaction: RSET before the next one.
        self.needs_reset = False
        #: The server's state cannot be known: the connection must end.
        self.broken = False
        commands = [_RESET] if reset else []
        commands.append(Command("MAIL", mail))
        for index, (_, octets) in enumerate(recipients):
            commands.append(Command("RCPT", octets, index))
        if not chunking:
            commands.append(_DATA)
        self._to_send = deque(commands)
        #: Commands whose replies are still to come.
        self._sent: deque[Command] = deque()

    @property
    def unsent(self) -> bool:
        """There are commands that :meth:`to_send` may give, now or after a reply."""
        return bool(self._to_send)

    @property
    def awaited(self) -> Command | None:
        """The command that the next reply answers; None when none is to come."""
        return self._sent[0] if self._sent else None

    @property
    def awaited_name(self) -> str:
        """The name of :attr:`awaited`."""
        return self._sent[0].name if self._sent else ""

    @property
    def outcomes(self) -> list[RecipientOutcome]:
        """In the order of the recipients; complete in phase DONE."""
        return [outcome for outcome in self._outcomes if outcome is not None]

    def to_send(self) -> bytes:
        """The commands to send now; nothing while replies must come first."""
        if self.phase is not Phase.ENVELOPE or (self._sent and not self.pipelining):
            return b""
        if self.pipelining:
            group, self._to_send = self._to_send, deque()
        else:
            group = deque([self._to_send.popleft()] if self._to_send else [])
        self._sent.extend(group)
        return b"".join([command.octets for command in group])

    def chunk_sent(self, last: bool) -> None:
        """A BDAT command and its octets are on their way."""
        self.needs_reset = True
        if last:
            self.content_sent()
        else:
            self._sent.append(Command("BDAT", b""))

    def content_sent(self) -> None:
        """All of the content, and its end, is on its way."""
        self.all_sent = True
        self.phase = Phase.TERMINATION
        self.needs_reset = False
        if self._lmtp:
            # RFC 2033 section 4.2: also in the order of the RCPT commands.
            self._sent.extend(Command("end of data", b"", index) for index in self._accepted)
            if not self._sent:
                self._finish()
        else:
            self._sent.append(_END)

    def answer(self, reply: Reply) -> None:
        """Take the reply to :attr:`awaited`."""
        command = self._sent.popleft()
        good = reply.code // 100 == 2
        if command.name == "RSET":
            if not good:
                # Whatever the state is now, MAIL could mix two transactions.
                self._fail_all(reply, "RSET")
                self.broken = True
        elif command.name == "MAIL":
            if good:
                self.needs_reset = True
            else:
                self._fail_all(reply, "MAIL")
        elif command.name == "RCPT":
            self._answer_rcpt(command.recipient, reply)
        elif command.name == "DATA":
            self._answer_data(reply)
        elif command.name == "BDAT":
            if not good:
                self._fail_all(reply, "BDAT")
                self.needs_reset = True
        else:
            # RFC 3030 section 2: after a failed BDAT nobody knows the server's state.
            self.needs_reset = self.chunking and not good
            for index in [command.recipient] if command.recipient >= 0 else self._accepted:
                self._settle(index, reply, command.name)
        self._look_on()

    def _answer_rcpt(self, index: int, reply: Reply) -> None:
        if reply.code // 100 == 2:
            # Also counted when MAIL was refused: DATA must not reach such a recipient.
            self._accepted.append(index)
        else:
            self._settle(index, reply, "RCPT")

    def _answer_data(self, reply: Reply) -> None:
        if reply.code != 354:
            if reply.code // 100 == 2:
                # Nobody knows what that means, so nothing may follow.
                reply = Reply(451, "4.5.0", f"DATA was answered with {reply.code} {reply.text}")
                self.broken = True
            self._fail_all(reply, "DATA")
        elif self._live():
            self.phase = Phase.CONTENT
        elif self.broken or self._accepted or self._lmtp:
            # A dot alone could send an empty message to somebody who was accepted after MAIL was
            # not; and LMTP has no reply to it (RFC 2033 section 4.2).
            self.broken = True
        else:
            # RFC 2920 section 3.1: send a single dot.
            self.phase = Phase.EMPTY_CONTENT

    def empty_content_sent(self) -> None:
        """The dot alone is on its way."""
        self.phase = Phase.TERMINATION
        self.needs_reset = False
        self._sent.append(_END)

    def _look_on(self) -> None:
        """Decide what comes next, once nothing is to be sent or awaited."""
        if self.phase is not Phase.ENVELOPE:
            if self.phase is Phase.TERMINATION and not self._sent:
                self._finish()
            return
        if not self.pipelining and not self._open():
            # Nothing can come of the rest; it was not sent.
            self._to_send.clear()
        elif not self.pipelining and self._only_data_left() and not self._accepted:
            self._to_send.clear()
        if self._sent or self._to_send:
            return
        if self.chunking and self._live() and not self.broken:
            self.phase = Phase.CONTENT
        else:
            self._finish()

    def _only_data_left(self) -> bool:
        return bool(self._to_send) and self._to_send[0].name == "DATA" and not self._sent

    def _open(self) -> bool:
        """Some recipient may still get the message."""
        return any(outcome is None for outcome in self._outcomes)

    def _live(self) -> bool:
        return any(self._outcomes[index] is None for index in self._accepted)

    @property
    def failed(self) -> bool:
        """Nobody can get the message any more: sending more of it is of no use."""
        return not self._open()

    def content_refused(self, reply: Reply) -> None:
        """The server has judged the message before it was sent; the connection must end."""
        self._fail_all(reply, "end of data")
        self._finish()

    def stop_sending(self) -> None:
        """No more chunks will follow (RFC 3030 section 2: after a failure none may)."""
        self.phase = Phase.TERMINATION
        self._look_on()

    def connection_ended(self, error: ClientError) -> None:
        """Nothing more will come; recipients without an outcome fail with this error."""
        name = self._sent[0].name if self._sent else error.command
        for index, recipient in enumerate(self.recipients):
            if self._outcomes[index] is None:
                self._outcomes[index] = RecipientOutcome(
                    recipient, Status.TEMPORARY, error.code, error.enhanced, error.text, name
                )
        self.broken = True
        self._sent.clear()
        self.phase = Phase.DONE

    def _settle(self, index: int, reply: Reply, command: str) -> None:
        if self._outcomes[index] is None:
            self._outcomes[index] = outcome_of(self.recipients[index], reply, command)

    def _fail_all(self, reply: Reply, command: str) -> None:
        for index in range(len(self.recipients)):
            self._settle(index, reply, command)

    def _finish(self) -> None:
        self.phase = Phase.DONE
