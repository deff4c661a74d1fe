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
        if not handover.reports:
            action = Action.DELIVERED if handover.arrived else Action.RELAYED
        return Update(recipient.id, RecipientState.DELIVERED, attempt=attempt), action
    if handover.status is Status.PERMANENT:
        return Update(recipient.id, RecipientState.FAILED, attempt=attempt), Action.FAILED
    if now >= message.expires:
        return Update(recipient.id, RecipientState.EXPIRED, attempt=attempt), Action.FAILED
    next_time = schedule.next_time(now, recipient.attempts + 1, message.expires)
    update = Update(recipient.id, RecipientState.DEFERRED, next_time, attempt)
    late = _is_late(message, schedule, now) and not recipient.warned
    return update, Action.DELAYED if late else None


def _is_late(message: QueuedMessage, schedule: Schedule, now: int) -> bool:
    by = message.envelope.deliver_by
    if by is not None and by.mode == "N" and now >= by.deadline:
        # RFC 2852 section 4.1.2
        return True
    warn_after = schedule.warn_after
    return bool(warn_after) and now >= message.created + warn_after
