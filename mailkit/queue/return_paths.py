"""Return paths of our own making, so that a bounce says which recipient it is about (VERP).

Each recipient gets the message from an address such as ``bounces+17.23-k2v…@bounces.example.org``: the
queue's numbers, and a code that nobody can make who does not know the secret. What is sent there
belongs to that recipient, whatever its words are.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import BinaryIO, NamedTuple

from mailkit.model import Envelope, Path
from mailkit.queue.transport import Handover, Result, Still, Transport
from mailkit.queue.values import QueuedMessage
from mailkit.wire.domains import canonical_domain

#: What the addresses begin with.
LOCAL = "bounces"
#: Characters of the code, five bits each.
CODE_LENGTH = 16
#: Octets of the secret, at least.
MIN_SECRET = 16

# lenient: some servers change the case of what they return.
_ADDRESS = re.compile(
    rf"{LOCAL}\+(\d{{1,18}})\.(\d{{1,18}})-([a-z2-7]{{{CODE_LENGTH}}})", re.IGNORECASE | re.ASCII
)
# RFC 5321 section 4.1.2
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


class SentTo(NamedTuple):
    """What a return path tells."""

    #: The queue's name for the message.
    message: str
    #: :attr:`mailkit.queue.values.QueuedRecipient.id`.
    recipient: int


class BrokenOff(Exception):
    """Some recipients have got a message, and then an error came, which is the cause."""

    def __init__(self, handovers: Sequence[Handover], contact: bool) -> None:
        super().__init__()
        #: Those of the first recipients.
        self.handovers = handovers
        #: As in :attr:`mailkit.queue.transport.Result.contact`.
        self.contact = contact


class ReturnPaths:
    """Makes return paths, and reads them.

    :param secret: only who knows it can make one.
    :param domain: leads to us, and is for nothing else.
    :param senders: addresses, or ``@domain`` for all of a domain, whose mail gets them; None for all
        mail of users.
    :raises ValueError: the secret is too short, or a sender is neither.
    """

    def __init__(self, secret: bytes, domain: str, senders: Collection[str] | None = None) -> None:
        if len(secret) < MIN_SECRET:
            raise ValueError(f"the secret must have {MIN_SECRET} octets or more")
        self._secret = secret
        self.domain = domain
        self._senders = None if senders is None else {_canonical(each) for each in senders}

    def make(self, sent: SentTo) -> Path:
        """The return path for one recipient."""
        return Path(f"{LOCAL}+{sent.message}.{sent.recipient}-{self._code(sent)}", self.domain)

    def read(self, path: Path) -> SentTo | None:
        """Whom a return path is about; None for what we have not made."""
        if canonical_domain(path.domain) != canonical_domain(self.domain):
            return None
        found = _ADDRESS.fullmatch(path.local_part)
        if found is None:
            return None
        sent = SentTo(found[1], int(found[2]))
        code = found[3].lower()
        return sent if hmac.compare_digest(code, self._code(sent)) else None

    def _code(self, sent: SentTo) -> str:
        text = f"{sent.message}.{sent.recipient}@{canonical_domain(self.domain)}"
        code = hmac.new(self._secret, b"return-path:" + text.encode(), hashlib.sha256)
        return base64.b32encode(code.digest()).decode()[:CODE_LENGTH].lower()

    def applies(self, envelope: Envelope) -> bool:
        """Whether a message gets return paths of ours."""
        path = envelope.reverse_path
        if path.is_null or envelope.account is None:
            return False
        if self._senders is None:
            return True
        domain = canonical_domain(path.domain)
        return (
            f"{path.local_part.lower()}@{domain}" in self._senders or f"@{domain}" in self._senders
        )

    async def send(
        self,
        transport: Transport,
        domain: str,
        message: QueuedMessage,
        content: BinaryIO,
        still: Still | None = None,
    ) -> Result:
        """Hand a message over to one recipient after the other, each with its own return path.

        :raises BrokenOff: an error comes, or it is cancelled, when some have got it already.
        """
        handovers: list[Handover] = []
        contact = False
        for recipient in message.recipients:
            envelope = replace(
                message.envelope,
                reverse_path=self.make(SentTo(message.id, recipient.id)),
                recipients=[recipient.recipient],
            )
            content.seek(0)
            try:
                result = await transport.send(domain, envelope, content, still)
            except Exception as error:
                if not handovers:
                    raise
                raise BrokenOff(handovers, contact) from error
            if not result.recipients:
                break
            contact = contact or result.contact
            handovers += result.recipients
            if result.unreachable:
                # Those who are left need not be tried.
                rest = len(message.recipients) - len(handovers)
                whole = handovers + [handovers[-1]] * rest
                return Result(whole, len(handovers) == 1, contact)
        return Result(handovers, contact=contact)


def _canonical(sender: str) -> str:
    """An address, or ``@domain``, as others are compared with it.

    :raises ValueError: it is neither.
    """
    local, at, domain = sender.rpartition("@")
    if not at or not domain:
        raise ValueError(f"neither an address nor @domain: {sender!r}")
    if _QUOTED.fullmatch(local):
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    return f"{local.lower()}@{canonical_domain(domain)}"
