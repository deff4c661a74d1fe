"""Puts down what attempts have made of recipients, with the reports of it, and tells who listens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from typing import Any, BinaryIO, NamedTuple, TypeVar

from twisted.logger import Logger

from mailkit.errors import NoSuchMessage, StoreCorrupt
from mailkit.interfaces import IQueue
from mailkit.mime import Action
from mailkit.model import Envelope, Recipient
from mailkit.queue.judging import is_overdue, judge, owes_news
from mailkit.queue.orders import find_overruled
from mailkit.queue.recording import Recorder
from mailkit.queue.reports import Notice, Reporter
from mailkit.queue.schedule import Schedule, Schedules
from mailkit.queue.submission import read_message_id
from mailkit.queue.transport import Handover
from mailkit.queue.unreachable import PutOff, postpone
from mailkit.queue.values import (
    Attempt,
    NewMessage,
    QueuedMessage,
    QueuedRecipient,
    RecipientState,
    Report,
    Update,
)
from mailkit.spool import Spool

Callback = TypeVar("Callback", bound=Callable[..., None])

_GIVEN_UP = (RecipientState.FAILED, RecipientState.EXPIRED)


class Event(NamedTuple):
    """What has happened to one recipient."""

    #: The queue's name for the message.
    id: str
    envelope: Envelope
    recipient: Recipient
    state: RecipientState
    #: None where there was none: it was queued, or somebody has given an order.
    attempt: Attempt | None


class Outcomes:
    """Puts down what became of messages.

    :param schedules: how often and how long it is tried.
    :param clock: the reactor, or another source of time and calls.
    """

    log = Logger()

    def __init__(
        self,
        queue: IQueue,
        reporter: Reporter,
        schedules: Schedules,
        clock: Any,
    ) -> None:
        self._queue = queue
        self._reporter = reporter
        self._schedules = schedules
        self._seconds: Callable[[], float] = clock.seconds
        #: Writes them.
        self.recorder = Recorder(queue, clock)
        self._listeners: dict[object, Callable[[Event], None]] = {}
        self._watchers: dict[object, Callable[[], None]] = {}
        # Each time that a class is asked for its logger, Twisted makes another one.
        self._info = self.log.info

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``listener(event)`` after each attempt, once its outcome is durable.

        :returns: a function that ends that.
        """
        return _add(self._listeners, listener)

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback()`` when the outcomes of some attempts have become durable.

        Unlike a listener, it costs nothing for each of the recipients of a domain that cannot be reached.

        :returns: a function that ends that.
        """
        return _add(self._watchers, callback)

    async def record(self, message: QueuedMessage, handovers: Sequence[Handover]) -> None:
        """Put down what an attempt to send a message to one domain has come to, with its reports."""
        now = int(self._seconds())
        message = self._schedules.limit(message)
        schedule = self._schedules.of_message(message)
        updates: list[Update] = []
        notices: list[Notice] = []
        for recipient, handover in zip(message.recipients, handovers, strict=True):
            update, action = judge(message, recipient, handover, schedule, now)
            wanted = action is not None and self._reporter.wants(
                message, recipient.recipient, action, owes_news(message, handover, now)
            )
            if action is not None and wanted:
                expired = update.state is RecipientState.EXPIRED or (
                    action is Action.DELAYED and is_overdue(message, now)
                )
                notices.append(Notice(recipient, action, handover.attempt, expired))
            if action is Action.DELAYED:
                update = update._replace(warned=True)
            updates.append(update)
        overruled: Collection[int] = ()
        if notices or any(each.state in _GIVEN_UP for each in updates):
            # Whoever has called a message off hears nothing more of it.
            overruled = await find_overruled(self._queue, message, updates)
            notices = [each for each in notices if each.recipient.id not in overruled]
        reports = await self._write_reports(message, notices, now)
        await self.recorder.record(updates, reports)
        for recipient, update in zip(message.recipients, updates, strict=True):
            if recipient.id not in overruled:
                self.tell(message, recipient, update)

    async def _write_reports(
        self, message: QueuedMessage, notices: Sequence[Notice], now: int
    ) -> list[Report]:
        if not notices:
            return []
        try:
            content: BinaryIO = await self._queue.open_message(id=message.id)
            with closing(content):
                written = self._reporter.write(message, notices, content)
        except (NoSuchMessage, StoreCorrupt):
            # The sender hears of it all the same.
            written = self._reporter.write(message, notices, None)
        expires = now + round(self._schedules.default.lifetime)
        spools = [Spool.from_bytes(each.octets) for each in written]
        return [
            Report(NewMessage(each.envelope, now, expires, 0, b"", read_message_id(spool)), spool)
            for each, spool in zip(written, spools, strict=True)
        ]

    def tell(self, message: QueuedMessage, recipient: QueuedRecipient, update: Update) -> None:
        """Log what became of a recipient, and call the listeners."""
        attempt = update.attempt
        assert attempt is not None
        id, transaction = message.id, message.envelope.transaction_id
        to, state, fields = str(recipient.recipient.path), update.state.value, _fields(attempt)
        what = " ".join(map(str, fields.values()))
        line = f"message {id} ({transaction}) to <{to}>: {state}, {what}"
        # Formatted here, for Twisted takes ten times as long for so many fields.
        self._info(
            line.replace("{", "{{").replace("}", "}}"),
            id=id,
            transaction=transaction,
            to=to,
            state=state,
            **fields,
        )
        if self._listeners:
            self._tell_listeners(message, recipient, update)
        if self._watchers:
            self._call(self._watchers)

    def _tell_listeners(
        self, message: QueuedMessage, recipient: QueuedRecipient, update: Update
    ) -> None:
        assert update.attempt is not None
        event = Event(
            message.id, message.envelope, recipient.recipient, update.state, update.attempt
        )
        self._call(self._listeners, event)

    async def put_off(self, waiting: Sequence[PutOff]) -> None:
        """Put down for new messages in one step that their domain could not be reached before."""
        await self._queue.record(updates=[each.update for each in waiting])
        for domain, count in Counter(each.recipient.domain for each in waiting).items():
            self.log.info(
                "{count} new recipients in {domain}: deferred", count=count, domain=domain
            )
        for message, recipient, update in waiting if self._listeners else ():
            self._tell_listeners(message, recipient, update)
        self._call(self._watchers)

    async def postpone(self, domain: str, attempt: Attempt, schedule: Schedule) -> None:
        """Put down in few steps for those who wait for a domain that it cannot be reached."""
        now = int(self._seconds())
        if self._listeners:
            # Each of them is told of each recipient.
            return
        count = await postpone(self._queue, domain, now, attempt, schedule)
        if count:
            self.log.info(
                "{count} recipients in {domain}: deferred, {host} {address} {code} {enhanced}"
                " {text}",
                count=count,
                domain=domain,
                **_fields(attempt),
            )
            self._call(self._watchers)

    def _call(self, callbacks: dict[object, Callable[..., None]], *values: Event) -> None:
        for callback in list(callbacks.values()):
            try:
                callback(*values)
            except Exception:
                self.log.failure("a listener to events of the queue failed")


def _fields(attempt: Attempt) -> dict[str, object]:
    """What the log says of an attempt, in this order."""
    return {
        "host": attempt.host,
        "address": attempt.address,
        "code": attempt.code or "",
        "enhanced": attempt.enhanced,
        "text": " ".join(attempt.text.split())[:200],
    }


def _add(callbacks: dict[object, Callback], callback: Callback) -> Callable[[], None]:
    """Keep a function to be called; gives what ends that."""
    token = object()
    callbacks[token] = callback

    def end() -> None:
        callbacks.pop(token, None)

    return end
