"""What orders that were given meanwhile make of a message that was listed before."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from mailkit.errors import MailError, NoSuchMessage
from mailkit.interfaces import IQueue
from mailkit.queue.values import QueuedMessage, QueuedRecipient, Update

#: Seconds after which it is looked at again who still waits: orders may have been given.
ORDERS_TIME = 1.0


async def still_waiting(queue: IQueue, message: QueuedMessage) -> QueuedMessage | None:
    """The message with those of its recipients who still wait; None where none does."""
    now = await _recipients(queue, message)
    kept = [each for each in message.recipients if each.id in now and now[each.id].state.waits]
    if len(kept) == len(message.recipients):
        return message
    if not kept:
        return None
    envelope = replace(message.envelope, recipients=[each.recipient for each in kept])
    return message._replace(envelope=envelope, recipients=kept)


async def is_wanted(queue: IQueue, message: QueuedMessage) -> bool:
    """Whether a message still waits for all of its recipients, as far as the queue tells."""
    try:
        return await still_waiting(queue, message) is message
    except MailError:
        # It is put down as it was sent, when that can be done.
        return True


async def find_overruled(
    queue: IQueue, message: QueuedMessage, updates: Iterable[Update]
) -> Collection[int]:
    """Ids of the recipients for whom what an attempt has come to counts for nothing any more."""
    now = await _recipients(queue, message)
    return {
        each.id
        for each in updates
        if each.id not in now or not now[each.id].state.allows(each.state)
    }


async def _recipients(queue: IQueue, message: QueuedMessage) -> dict[int, QueuedRecipient]:
    try:
        current = await queue.get_message(id=message.id)
    except NoSuchMessage:
        return {}
    return {each.id: each for each in current.recipients}
