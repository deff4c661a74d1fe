"""The outbound queue in memory, of :class:`~mailkit.store.memory.MemoryStore`."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from twisted.logger import Logger
from zope.interface import implementer

from mailkit.errors import NoSuchMessage
from mailkit.expiring import CLOCK_SLACK
from mailkit.interfaces import IPostponingQueue, IQueue, IQueueEvents
from mailkit.model import Envelope, LocalDelivery, LocalResult, Path
from mailkit.queue.values import (
    Attempt,
    NewMessage,
    Order,
    Postponement,
    Queued,
    QueuedMessage,
    QueuedRecipient,
    QueueEvent,
    RecipientState,
    Report,
    Update,
)
from mailkit.spool import Spool
from mailkit.wire.domains import is_within

#: Messages that one call of ``forget`` removes.
MAX_FORGOTTEN = 10_000


@dataclass
class _Message:
    id: str
    envelope: Envelope
    #: None when nobody waits for it any more.
    octets: bytes | None
    size: int
    created: int
    expires: int
    message_id: str = ""
    key: str | None = None
    finished: int = 0
    recipients: dict[int, QueuedRecipient] = field(default_factory=dict)
    attempts: list[tuple[int, Attempt]] = field(default_factory=list)

    def show(self, recipients: Sequence[QueuedRecipient] | None = None) -> QueuedMessage:
        """For the contract."""
        chosen = list(self.recipients.values()) if recipients is None else recipients
        envelope = replace(self.envelope, recipients=[each.recipient for each in chosen])
        return QueuedMessage(
            self.id, envelope, self.size, self.created, self.expires, chosen, self.message_id
        )


@implementer(IQueue, IPostponingQueue, IQueueEvents)
class MemoryQueue:
    """Keeps what is to be sent until the process ends.

    :param now: tells the time in seconds since the epoch.
    :param deliver: puts a message into mailboxes of the store.
    """

    log = Logger()

    def __init__(
        self,
        now: Callable[[], int],
        deliver: Callable[[Spool, Sequence[LocalDelivery]], list[LocalResult]],
    ) -> None:
        self._now = now
        self._deliver = deliver
        self._messages: dict[str, _Message] = {}
        #: Messages by their recipients' ids.
        self._owners: dict[int, _Message] = {}
        self._message_ids = itertools.count(1)
        self._recipient_ids = itertools.count(1)
        self._watchers: dict[object, Callable[[str], None]] = {}
        #: Messages by the keys of their submissions.
        self._keys: dict[str, str] = {}
        self._events: list[QueueEvent] = []
        self._last_event = 0
        #: The last events that listeners have heard of.
        self._listeners: dict[str, int] = {}

    async def enqueue(
        self, message: Spool, new: Sequence[NewMessage], deliveries: Sequence[LocalDelivery] = ()
    ) -> Queued:
        results = self._deliver(message, deliveries) if deliveries else []
        return Queued([self._add(message, each) for each in new], results)

    def _add(self, message: Spool, new: NewMessage) -> str:
        if new.key is not None and new.key in self._keys:
            return self._keys[new.key]
        with message.open() as file:
            file.seek(new.skip)
            octets = new.prefix + file.read()
        id = str(next(self._message_ids))
        now = self._now()
        # The caller may use its envelope for another one.
        given = replace(new.envelope)
        added = _Message(id, given, octets, len(octets), now, new.expires, new.message_id, new.key)
        if new.key is not None:
            self._keys[new.key] = id
        state = RecipientState.SCHEDULED if new.next_time > now else RecipientState.QUEUED
        for recipient in new.envelope.recipients:
            number = next(self._recipient_ids)
            added.recipients[number] = QueuedRecipient(number, recipient, state, new.next_time)
            self._owners[number] = added
            self._keep_event(added, added.recipients[number], None)
        self._messages[id] = added
        self._tell(added)
        return id

    def _waiting(self) -> dict[str, int]:
        """When each domain is due."""
        domains: dict[str, int] = {}
        for message in self._messages.values():
            for recipient in message.recipients.values():
                if recipient.state.waits:
                    domain = recipient.domain
                    time = domains.get(domain, recipient.next_time)
                    domains[domain] = min(time, recipient.next_time)
        return domains

    async def find_due(self, now: int, limit: int, exclude: Collection[str] = ()) -> Sequence[str]:
        due = [
            (time, domain)
            for domain, time in self._waiting().items()
            if time <= now and domain not in exclude
        ]
        return [domain for _, domain in sorted(due)[:limit]]

    async def list_due(self, domain: str, now: int, limit: int) -> Sequence[QueuedMessage]:
        due: list[tuple[int, _Message, list[QueuedRecipient]]] = []
        for message in self._messages.values():
            chosen = [
                each
                for each in message.recipients.values()
                if each.state.waits and each.next_time <= now and each.domain == domain
            ]
            if chosen:
                due.append((min(each.next_time for each in chosen), message, chosen))
        due.sort(key=lambda entry: entry[0])
        taken: list[QueuedMessage] = []
        count = 0
        for _, message, chosen in due:
            if taken and count + len(chosen) > limit:
                break
            count += len(chosen)
            taken.append(message.show(chosen))
        return sorted(taken, key=lambda message: -message.envelope.priority)

    async def get_next_time(self) -> int | None:
        return min(self._waiting().values(), default=None)

    async def open_message(self, id: str) -> BinaryIO:
        message = self._find(id)
        if message.octets is None:
            raise NoSuchMessage
        return io.BytesIO(message.octets)

    async def record(self, updates: Sequence[Update], reports: Sequence[Report] = ()) -> None:
        for update in updates:
            message = self._owners.get(update.id)
            if message is not None:
                self._update(message, update)
        for report in reports:
            self._add(report.content, report.message)

    def _update(self, message: _Message, update: Update) -> None:
        recipient = message.recipients[update.id]
        state = recipient.state.become(update.state, update.attempt is not None)
        if state is None:
            return
        if update.attempt is not None:
            message.attempts.append((update.id, update.attempt))
        message.recipients[update.id] = recipient._replace(
            state=state,
            next_time=update.next_time or recipient.next_time,
            attempts=recipient.attempts + (update.attempt is not None),
            warned=recipient.warned or update.warned,
        )
        if update.attempt is not None or not state.silent:
            self._keep_event(message, message.recipients[update.id], update.attempt)
        self._settle(message)

    async def postpone(self, domain: str, postponement: Postponement, limit: int) -> int:
        now, due = postponement.now, postponement.due
        chosen = [
            (message, each)
            for message in self._messages.values()
            if message.expires > now
            and message.created > now - postponement.lifetime
            and message.envelope.deliver_by is None
            for each in message.recipients.values()
            if each.state.waits
            and each.next_time <= (due if each.state is RecipientState.DEFERRED else now)
            and each.domain == domain
            and (each.warned or message.created > postponement.unwarned)
        ][:limit]
        for message, each in chosen:
            next_time = postponement.next_time(each.attempts, message.created, message.expires)
            state = RecipientState.DEFERRED
            self._update(message, Update(each.id, state, next_time, postponement.attempt))
        return len(chosen)

    async def list_tried(self, limit: int) -> Sequence[str]:
        recipients = (each for one in self._messages.values() for each in one.recipients.values())
        found = dict.fromkeys(r.domain for r in recipients if r.state.waits and r.attempts)
        return list(found)[:limit]

    def _settle(self, message: _Message) -> None:
        """Give the octets up when nobody waits for them."""
        if message.octets is not None and all(
            each.state.final for each in message.recipients.values()
        ):
            message.octets = None
            message.finished = self._now()

    async def get_message(self, id: str) -> QueuedMessage:
        return self._find(id).show()

    async def get_attempts(self, id: str) -> Sequence[tuple[int, Attempt]]:
        return list(self._find(id).attempts)

    async def list_messages(
        self, after: str = "", limit: int = 100, finished: bool = False
    ) -> Sequence[QueuedMessage]:
        first = int(after) if after.isdigit() else 0
        chosen = (
            message.show()
            for message in self._messages.values()
            if int(message.id) > first and (finished or message.octets is not None)
        )
        return list(itertools.islice(chosen, limit))

    async def order(self, order: Order, id: str, now: int) -> int:
        message = self._find(id)
        changed = 0
        for recipient in list(message.recipients.values()):
            found = recipient.after(order, now, message.envelope.hold_until)
            if found is not None:
                message.recipients[recipient.id] = found
                changed += 1
                if not found.state.silent:
                    self._keep_event(message, found, None)
        self._settle(message)
        if changed:
            self._tell(message)
        return changed

    async def end_attempts(self) -> int:
        changed = 0
        for message in self._messages.values():
            for recipient in list(message.recipients.values()):
                if recipient.state is RecipientState.ATTEMPTING:
                    message.recipients[recipient.id] = recipient.at_rest
                    changed += 1
        return changed

    async def flush(
        self, now: int, domain: str = "", subdomains: bool = False, ahead: bool = False
    ) -> int:
        changed = 0
        for message in list(self._messages.values()):
            before = changed
            for recipient in list(message.recipients.values()):
                if (
                    recipient.next_time > now
                    and is_within(recipient.domain, domain, subdomains)
                    and (
                        self._is_ahead(message, recipient, now)
                        if ahead
                        else recipient.state is RecipientState.DEFERRED
                    )
                ):
                    left = 0
                    if recipient.state is RecipientState.SCHEDULED:
                        left = min(recipient.next_time - message.created, CLOCK_SLACK)
                    due = recipient.made_due(now + left, message.envelope.hold_until)
                    message.recipients[recipient.id] = due
                    changed += 1
            if changed > before:
                self._tell(message)
        return changed

    @staticmethod
    def _is_ahead(message: _Message, recipient: QueuedRecipient, now: int) -> bool:
        time = 0
        if recipient.state is RecipientState.QUEUED:
            time = recipient.next_time
        elif recipient.state is RecipientState.SCHEDULED and message.envelope.hold_until is None:
            time = message.created
        elif recipient.state is RecipientState.DEFERRED:
            times = [attempt.time for id, attempt in message.attempts if id == recipient.id]
            time = times[-1] if times else 0
        return time > now + CLOCK_SLACK

    async def get_size(self) -> tuple[int, int]:
        waiting = [each for each in self._messages.values() if each.octets is not None]
        return len(waiting), sum(each.size for each in waiting)

    async def count(self, limit: int, account: str = "", domain: str = "") -> int:
        waiting = [each for each in self._messages.values() if each.octets is not None]
        if not domain:
            return min(limit, sum(each.envelope.account == account for each in waiting))
        recipients = [each for message in waiting for each in message.recipients.values()]
        found = [each for each in recipients if each.state.waits and each.domain == domain]
        return min(limit, len(found))

    async def forget(self, before: int) -> int:
        gone = [
            message
            for message in self._messages.values()
            if message.octets is None and message.finished < before
        ][:MAX_FORGOTTEN]
        for message in gone:
            del self._messages[message.id]
            if message.key is not None:
                del self._keys[message.key]
            self._events = [each for each in self._events if each.message != message.id]
            for number in message.recipients:
                del self._owners[number]
        return len(gone)

    async def find_messages(
        self,
        message_id: str = "",
        limit: int = 100,
        envid: str = "",
        sender: Path | None = None,
    ) -> Sequence[QueuedMessage]:
        wanted = message_id or envid
        by = "" if sender is None else str(sender).lower()
        chosen = (
            message.show()
            for message in reversed(self._messages.values())
            if wanted
            and (message.message_id if message_id else message.envelope.envid) == wanted
            and (sender is None or str(message.envelope.reverse_path).lower() == by)
        )
        return list(itertools.islice(chosen, limit))

    def _keep_event(
        self, message: _Message, recipient: QueuedRecipient, attempt: Attempt | None
    ) -> None:
        if self._listeners:
            self._last_event += 1
            self._events.append(
                QueueEvent(
                    self._last_event,
                    self._now(),
                    message.id,
                    recipient.recipient,
                    recipient.state,
                    attempt,
                )
            )

    async def list_listeners(self) -> Sequence[str]:
        return list(self._listeners)

    async def change_listeners(
        self, add: Collection[str] = (), remove: Collection[str] = ()
    ) -> None:
        for name in remove:
            self._listeners.pop(name, None)
        for name in add:
            self._listeners.setdefault(name, self._last_event)
        self._drop_events()

    async def list_events(self, listener: str, limit: int) -> Sequence[QueueEvent]:
        position = self._listeners.get(listener, self._last_event)
        chosen = (event for event in self._events if event.id > position)
        return list(itertools.islice(chosen, limit))

    async def get_last_event(self) -> int:
        return self._last_event

    async def acknowledge(self, listener: str, through: int) -> None:
        if listener in self._listeners:
            self._listeners[listener] = max(through, self._listeners[listener])
            self._drop_events()

    def _drop_events(self) -> None:
        heard = min(self._listeners.values(), default=self._last_event)
        self._events = [event for event in self._events if event.id > heard]

    def watch(self, callback: Callable[[str], None]) -> Callable[[], None]:
        token = object()
        self._watchers[token] = callback

        def end() -> None:
            self._watchers.pop(token, None)

        return end

    def _find(self, id: str) -> _Message:
        message = self._messages.get(id)
        if message is None:
            raise NoSuchMessage
        return message

    def _tell(self, message: _Message) -> None:
        for domain in {each.domain for each in message.recipients.values()}:
            for callback in list(self._watchers.values()):
                try:
                    callback(domain)
                except Exception:
                    self.log.failure("a watcher of the queue failed")
