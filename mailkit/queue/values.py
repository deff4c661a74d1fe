"""Values of the outbound queue that cross its contract, :class:`mailkit.interfaces.IQueue`."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from mailkit.model import Envelope, LocalResult, Recipient
from mailkit.spool import Spool
from mailkit.wire.domains import canonical_domain


class RecipientState(enum.Enum):
    """Where a message stands on its way to one recipient."""

    #: Waits for its first attempt.
    QUEUED = "queued"
    #: Waits for the time before which it must not be sent (RFC 4865), or may be taken back.
    SCHEDULED = "scheduled"
    #: An attempt has been under way for some seconds.
    ATTEMPTING = "attempting"
    #: An attempt has failed, and there will be another.
    DEFERRED = "deferred"
    #: Waits until somebody releases it.
    HELD = "held"
    #: The next server has taken it.
    DELIVERED = "delivered"
    #: It was refused for good.
    FAILED = "failed"
    #: There was no success in all the time that it had.
    EXPIRED = "expired"
    #: Somebody has called it off.
    CANCELLED = "cancelled"
    #: The next server has taken it, and a report has come that it did not arrive after all.
    BOUNCED = "bounced"
    #: The recipient, or the recipient's provider, has complained about it.
    COMPLAINED = "complained"

    @property
    def waits(self) -> bool:
        """There will be an attempt by itself."""
        return self in _WAITING

    @property
    def final(self) -> bool:
        """Nothing more will happen."""
        return self not in _WAITING and self is not RecipientState.HELD

    @property
    def silent(self) -> bool:
        """It is no event where there was no attempt: to be put off, and to be handed over."""
        return self in (RecipientState.DEFERRED, RecipientState.ATTEMPTING)

    def allows(self, after: RecipientState) -> bool:
        """Whether that may come next: of what is final only what is known later."""
        return not self.final or after in _LATER.get(self, ())

    def become(
        self, after: RecipientState, attempted: bool, ordered: bool = False
    ) -> RecipientState | None:
        """What comes next; None when nothing changes.

        :param after: what somebody puts down.
        :param attempted: it is what an attempt has come to.
        :param ordered: somebody has ordered it.
        """
        if not self.allows(after) or (after is RecipientState.ATTEMPTING and not self.waits):
            return None
        if self is RecipientState.HELD and after.waits and not ordered:
            # Whoever holds a message while an attempt is under way holds it still when that has
            # failed, or was broken off.
            return self if attempted else None
        return after


_WAITING = frozenset(
    (
        RecipientState.QUEUED,
        RecipientState.SCHEDULED,
        RecipientState.ATTEMPTING,
        RecipientState.DEFERRED,
    )
)
_LATER = {
    # It was called off while it was handed over.
    RecipientState.CANCELLED: (RecipientState.DELIVERED,),
    RecipientState.DELIVERED: (RecipientState.BOUNCED, RecipientState.COMPLAINED),
    RecipientState.BOUNCED: (RecipientState.COMPLAINED,),
}


class Order(enum.Enum):
    """What somebody wants to be done with what is queued."""

    #: Try again now.
    RETRY = "retry"
    #: Keep until it is released.
    HOLD = "hold"
    RELEASE = "release"
    #: Give up, without a report to the sender.
    CANCEL = "cancel"


class Attempt(NamedTuple):
    """One try to hand a message over for one recipient."""

    #: Seconds since the epoch.
    time: int
    #: How long it took.
    seconds: float
    #: Name of the host that was tried last; empty where none was found.
    host: str = ""
    #: Its address and port.
    address: str = ""
    #: Version and cipher; empty without TLS.
    tls: str = ""
    #: Why the connection was secured as it was.
    security: str = ""
    #: What the host replied: code, enhanced status code (RFC 3463) and text. The code is 0 where the
    #: judgement is ours.
    code: int = 0
    enhanced: str = ""
    text: str = ""
    #: What was answered, or under way, such as ``RCPT``.
    command: str = ""
    #: Hosts that the domain prefers and other addresses of the host, which were tried before or not at
    #: all, and why they were not taken.
    passed_over: str = ""
    #: Which of the ways out was taken, as the settings say it.
    route: str = ""


class QueuedRecipient(NamedTuple):
    """One recipient of a queued message."""

    #: The queue's name for it.
    id: int
    recipient: Recipient
    state: RecipientState
    #: Seconds since the epoch: when it is due; what it was due at last when it does not wait.
    next_time: int
    #: Attempts so far.
    attempts: int = 0
    #: The sender has been told that it takes longer.
    warned: bool = False

    @property
    def domain(self) -> str:
        """The domain that it belongs to, in lower case and with A-labels."""
        return canonical_domain(self.recipient.path.domain)

    @property
    def at_rest(self) -> QueuedRecipient:
        """The same where nobody is at work on it, whatever its state says."""
        if self.state is not RecipientState.ATTEMPTING:
            return self
        waiting = RecipientState.DEFERRED if self.attempts else RecipientState.QUEUED
        return self._replace(state=waiting)

    def after(
        self, order: Order, now: int, hold_until: int | None = None
    ) -> QueuedRecipient | None:
        """What an order makes of it; None when that changes nothing.

        :param hold_until: the sender's word, which nobody's order breaks (RFC 4865 section 4.1).
        """
        state = self.state
        if order is Order.RETRY and state.waits:
            return None if (hold_until or 0) > now else self.made_due(now, None)
        if order is Order.HOLD and state.waits:
            return self._replace(state=RecipientState.HELD)
        if order is Order.RELEASE and state is RecipientState.HELD:
            return self.made_due(now, hold_until)
        if order is Order.CANCEL and not state.final:
            return self._replace(state=RecipientState.CANCELLED)
        return None

    def made_due(self, now: int, hold_until: int | None) -> QueuedRecipient:
        """What it is when it waits for nothing but the sender's word."""
        state, next_time = make_due(self.attempts, now, hold_until)
        return self._replace(state=state, next_time=next_time)


def make_due(attempts: int, now: int, hold_until: int | None) -> tuple[RecipientState, int]:
    """State and time of a recipient that waits for nothing but the sender's word."""
    if hold_until is not None and hold_until > now:
        return RecipientState.SCHEDULED, hold_until
    return RecipientState.DEFERRED if attempts else RecipientState.QUEUED, now


class QueuedMessage(NamedTuple):
    """A message in the queue."""

    id: str
    #: Its recipients are those of ``recipients``, in the same order.
    envelope: Envelope
    #: Octets.
    size: int
    #: Seconds since the epoch: when it was queued, and when it is given up.
    created: int
    expires: int
    recipients: Sequence[QueuedRecipient]
    #: Message-ID with its angle brackets; empty where it has none.
    message_id: str = ""


class NewMessage(NamedTuple):
    """A message that is to be queued."""

    #: With those recipients to whom it is to be sent.
    envelope: Envelope
    #: Seconds since the epoch: not to be sent before, and when it is given up.
    next_time: int
    expires: int
    #: Octets at the start of the message that mailboxes get and other servers don't: Return-Path.
    skip: int = 0
    #: Octets that are sent before the message, and that mailboxes don't get.
    prefix: bytes = b""
    #: Message-ID with its angle brackets, by which the message is found.
    message_id: str = ""
    #: Names the submission: a second one of the same name is the first. Known as long as the message.
    key: str | None = None


class Queued(NamedTuple):
    """What became of a message that was queued, and put into mailboxes at the same time."""

    #: One for each :class:`NewMessage`.
    ids: Sequence[str]
    #: One for each :class:`~mailkit.model.LocalDelivery`.
    results: Sequence[LocalResult] = ()


class Update(NamedTuple):
    """What an attempt, or a decision without one, makes of a recipient."""

    #: :attr:`QueuedRecipient.id`.
    id: int
    state: RecipientState
    #: When the next attempt is due; as it was when 0.
    next_time: int = 0
    attempt: Attempt | None = None
    #: The sender is told now that it takes longer.
    warned: bool = False


class Postponement(NamedTuple):
    """That none of a domain's servers can be reached, for all who wait for one."""

    #: Counts for each of them.
    attempt: Attempt
    #: Seconds since the epoch.
    now: int
    #: Whoever is due by then and has been tried before is taken to have been tried again.
    due: int
    #: Seconds to wait by the number of earlier attempts; the last one goes on.
    delays: Sequence[int]
    #: Seconds that a message has; those are left alone that have waited for so long.
    lifetime: int
    #: Seconds since the epoch: what was queued by then is left alone, where the sender has not been
    #: told that it takes longer.
    unwarned: int

    def next_time(self, attempts: int, created: int, expires: int) -> int:
        """When a recipient is due again, at the latest when the message expires.

        :param attempts: earlier ones.
        :param created: of the message; likewise ``expires``.
        """
        delay = self.delays[min(attempts, len(self.delays) - 1)]
        return min(self.now + delay, created + self.lifetime, expires)


class QueueEvent(NamedTuple):
    """Something that happened to a recipient, kept until all listeners have heard of it."""

    #: Later events have higher numbers.
    id: int
    #: Seconds since the epoch.
    time: int
    #: The queue's name for the message.
    message: str
    recipient: Recipient
    #: What the recipient became, or remained.
    state: RecipientState
    attempt: Attempt | None = None


class Report(NamedTuple):
    """A message of our own that is queued in the same step as the updates that it reports."""

    message: NewMessage
    content: Spool
