"""What an attempt makes of a recipient."""

from __future__ import annotations

from mailkit.mime import Action
from mailkit.queue.schedule import Schedule
from mailkit.queue.transport import Handover
from mailkit.queue.values import QueuedMessage, QueuedRecipient, RecipientState, Update
from mailkit.smtp.client import Status


def judge(
    message: QueuedMessage,
    recipient: QueuedRecipient,
    handover: Handover,
    schedule: Schedule,
    now: int,
) -> tuple[Update, Action | None]:
    """What becomes of a recipient, and what the sender may want to be told."""
    attempt = handover.attempt
    if handover.status is Status.ACCEPTED:
        action = None
        if not handover.reports or owes_news(message, handover, now):
            action = Action.DELIVERED if handover.arrived else Action.RELAYED
        return Update(recipient.id, RecipientState.DELIVERED, attempt=attempt), action
    if handover.status is Status.PERMANENT:
        return Update(recipient.id, RecipientState.FAILED, attempt=attempt), Action.FAILED
    if now >= message.expires:
        return Update(recipient.id, RecipientState.EXPIRED, attempt=attempt), Action.FAILED
    next_time = schedule.next_time(now, recipient.attempts + 1, message.expires)
    next_time = not_past_deadline(message, now, next_time)
    update = Update(recipient.id, RecipientState.DEFERRED, next_time, attempt)
    late = _is_late(message, schedule, now) and not recipient.warned
    return update, Action.DELAYED if late else None


def owes_news(message: QueuedMessage, handover: Handover, now: int) -> bool:
    """Whether the sender is told that a message was passed on, without having asked for it.

    So it is where the next server will not watch the time, or the sender wants a trace (RFC 2852
    section 4.1.4).
    """
    by = message.envelope.deliver_by
    if by is None or handover.arrived:
        return False
    return by.trace or (by.mode == "N" and now < by.deadline and not handover.keeps_time)


def not_past_deadline(message: QueuedMessage, now: int, time: int) -> int:
    """When to try again, for somebody is to be told when the time for the delivery is over."""
    by = message.envelope.deliver_by
    return min(time, by.deadline) if by is not None and by.deadline > now else time


def is_over(message: QueuedMessage, now: int) -> bool:
    """The time for the delivery is over."""
    by = message.envelope.deliver_by
    return by is not None and now >= by.deadline


def is_overdue(message: QueuedMessage, now: int) -> bool:
    """The time is over after which the sender wants to be told of a delay."""
    by = message.envelope.deliver_by
    return by is not None and by.mode == "N" and is_over(message, now)


def _is_late(message: QueuedMessage, schedule: Schedule, now: int) -> bool:
    by = message.envelope.deliver_by
    if by is not None and by.mode == "N":
        # RFC 2852 section 4.1.3: at that time, and not before.
        return is_overdue(message, now)
    warn_after = schedule.warn_after
    # Until it may be sent (RFC 4865) it is not late.
    start = max(message.created, message.envelope.hold_until or 0)
    return bool(warn_after) and now >= start + warn_after
