"""Events of the queue as signed HTTP requests, each until it is acknowledged (Standard Webhooks 1.0.0).

The queue keeps what happens (:class:`~mailkit.interfaces.IQueueEvents`); here it is posted, in order but
for some at a time, and acknowledged when the other side has answered 2xx. So each event arrives at
least once, and again after a crash or an answer that got lost: ``webhook-id`` is the same then.

The body is JSON: ``type`` (``message.delivered`` and the like), ``timestamp`` and ``data``. The field
``webhook-signature`` has ``v1,`` and, in base64, the HMAC-SHA256 of id, dot, timestamp, dot and body.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import io
import json
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.logger import Logger

from mailkit.errors import MailError, NoSuchMessage
from mailkit.interfaces import IQueue, IQueueEvents
from mailkit.posting import Poster, PostFailed, check_url
from mailkit.queue.values import QueuedMessage, QueueEvent, RecipientState

#: Events that are read at a time, and posted at the same time.
BATCH = 50
MAX_PARALLEL = 5
#: Events that wait for one receiver; the oldest go when there are more, and the log says so.
MAX_BACKLOG = 1_000_000
#: Seconds until there must be an answer.
TIMEOUT = 30.0
#: Seconds after which an event is given up that nobody takes.
LIFETIME = 3 * 86_400
#: Events over that age that get no answer at all, one behind the other: then all that are so old are
#: given up at once, for nobody is there, and each would cost :data:`TIMEOUT`.
MAX_GIVEN_UP = 50
#: Events that are looked at in one step to be given up.
_MAX_DROPPED = 1000
#: Seconds between tries; the last one goes on.
INTERVALS = (5.0, 30.0, 300.0, 1800.0, 7200.0, 18_000.0)
#: Seconds for which a receiver may ask to be left alone; then it is tried again all the same.
MAX_PAUSE = INTERVALS[-1]
#: What a receiver answers that may take events later (RFC 6585 section 4, RFC 9110 section 15.6.4).
_BUSY = 429, 503
#: Seconds after which is looked for what another process has done.
LOOK_INTERVAL = 5.0
#: Octets of a secret.
MIN_SECRET = 16

#: What a receiver may ask for, with the states that it stands for.
EVENTS = {
    "queued": (RecipientState.QUEUED, RecipientState.SCHEDULED),
    **{
        state.value: (state,)
        for state in RecipientState
        # Nobody is told of what is only under way.
        if state not in (RecipientState.QUEUED, RecipientState.SCHEDULED, RecipientState.ATTEMPTING)
    },
}
_NAMES = {state: name for name, states in EVENTS.items() for state in states}
_PREFIX = "whsec_"


@dataclass(frozen=True)
class Webhook:
    """Somebody who is to hear of events.

    :param url: ``http:`` or ``https:``. It is also the name under which events are kept.
    :param secrets: each signs, the newest first, so that they can be changed one after the other.
    :param events: of :data:`EVENTS`; None for all.
    :raises ValueError: one of them makes no sense.
    """

    url: str
    secrets: Sequence[bytes] = field(repr=False)
    events: Collection[str] | None = None

    def __post_init__(self) -> None:
        check_url(self.url)
        if not self.secrets or min(map(len, self.secrets)) < MIN_SECRET:
            raise ValueError(f"there must be a secret, of {MIN_SECRET} octets or more")
        for name in self.events or ():
            if name not in EVENTS:
                raise ValueError(f"there is no event {name!r}; known are {', '.join(EVENTS)}")

    def wants(self, event: QueueEvent) -> bool:
        return self.events is None or _NAMES[event.state] in self.events


def is_url(name: str) -> bool:
    """Whether a listener is a webhook."""
    return name.startswith(("http:", "https:"))


def read_webhook_secret(text: str) -> bytes:
    """A secret as people write it: ``whsec_`` and base64, or just characters.

    :raises ValueError: there is something else than base64 behind ``whsec_``.
    """
    if not text.startswith(_PREFIX):
        return text.encode("utf-8")
    return base64.b64decode(text[len(_PREFIX) :], validate=True)


def sign(secret: bytes, id: str, timestamp: int, body: bytes) -> str:
    """The signature of a request, as ``webhook-signature`` has it."""
    code = hmac.new(secret, f"{id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(code.digest()).decode("ascii")


def verify(
    secret: bytes,
    id: str,
    timestamp: str,
    signatures: str,
    body: bytes,
    now: float,
    tolerance: float = 300.0,
) -> bool:
    """Whether a request is signed with a secret, and not long ago: for those who receive it.

    :param id: what ``webhook-id`` says; the others likewise.
    :param now: seconds since the epoch.
    """
    if not (timestamp.isascii() and timestamp.isdecimal()) or len(timestamp) > 15:
        return False
    expected = sign(secret, id, int(timestamp), body).encode()
    # Each is compared, so that time tells nothing.
    matches = [hmac.compare_digest(expected, each.encode()) for each in signatures.split(" ")[:10]]
    return any(matches) and abs(now - int(timestamp)) <= tolerance


def describe(event: QueueEvent, message: QueuedMessage | None) -> bytes:
    """The body of a request.

    :param message: None where it is forgotten.
    """
    data: dict[str, Any] = {
        "id": event.message,
        "recipient": str(event.recipient.path),
        "state": event.state.value,
    }
    if message is not None:
        envelope = message.envelope
        data |= {
            "sender": str(envelope.reverse_path),
            "account": envelope.account,
            "transaction_id": envelope.transaction_id,
            "message_id": message.message_id or None,
            "envelope_id": envelope.envid,
            "queued": _date(message.created),
        }
    if event.recipient.orcpt is not None:
        data["original_recipient"] = event.recipient.orcpt.address
    attempt = event.attempt
    if attempt is not None:
        data["attempt"] = {**attempt._asdict(), "time": _date(attempt.time)}
    body = {
        "type": f"message.{_NAMES[event.state]}",
        "timestamp": _date(event.time),
        "data": data,
    }
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def _date(seconds: int) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.isoformat().replace("+00:00", "Z")


class _Problem(NamedTuple):
    """Why an event was not taken."""

    text: str
    #: There was an answer.
    answered: bool
    #: The receiver asks to be left alone for a while.
    busy: bool


class _Refused(NamedTuple):
    """An event that was posted, and not taken."""

    event: QueueEvent
    problem: str


@dataclass
class _Receiver:
    """What is known of one webhook while it is at work."""

    webhook: Webhook
    poster: Poster
    work: Deferred[None] | None = None
    #: Ends a wait.
    wake: Callable[[], None] | None = None
    #: Events of the batch at hand that have been taken.
    taken: set[int] = field(default_factory=set)
    failures: int = 0
    #: Seconds that it asks to be left alone.
    pause: float = 0.0
    #: When it began to be busy, with nothing taken since; None where it is not.
    busy_since: float | None = None
    #: Events that were given up without an answer, with none between them that got one.
    given_up: int = 0


class WebhookSender:
    """Posts events until it is stopped.

    :param queue: also provides :class:`~mailkit.interfaces.IQueueEvents`.
    :param reactor: connects, and tells the time.
    :param poster: makes what posts to a URL.
    :raises TypeError: the queue keeps no events.
    """

    log = Logger()

    def __init__(
        self,
        queue: IQueue,
        webhooks: Sequence[Webhook],
        reactor: Any,
        poster: Callable[[str], Poster] | None = None,
    ) -> None:
        if not IQueueEvents.providedBy(queue):
            raise TypeError("this queue keeps no events")
        self._queue: Any = queue
        self._reactor = reactor
        make = poster or (lambda url: Poster(url, reactor=reactor, timeout=TIMEOUT))
        self._receivers = [_Receiver(each, make(each.url)) for each in webhooks]
        self._running = False
        self._begun: Deferred[None] | None = None
        self._end_watch: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to listen and to post. Without webhooks, nobody listens any more."""
        self._running = True
        self._end_watch = self._queue.watch(lambda _: self.look())
        self._begun = Deferred.fromCoroutine(self._begin())

    async def _begin(self) -> None:
        names = [each.webhook.url for each in self._receivers]
        try:
            # The others are no webhooks, but parts of a program.
            known = [each for each in await self._queue.list_listeners() if is_url(each)]
            gone = [each for each in known if each not in names]
            await self._queue.change_listeners(add=names, remove=gone)
        except MailError as error:
            self.log.error("events are not kept for webhooks: {error}", error=error.text)
        for receiver in self._receivers:
            if self._running:
                receiver.work = Deferred.fromCoroutine(self._work(receiver))
                receiver.work.addErrback(self._failed)

    def look(self) -> None:
        """Something may have happened."""
        for receiver in self._receivers:
            if receiver.wake is not None and not receiver.failures:
                receiver.wake()

    async def stop(self) -> None:
        """Post nothing more; what is under way is broken off, and posted again at the next start."""
        self._running = False
        if self._end_watch is not None:
            self._end_watch()
        if self._begun is not None:
            await self._begun
        for receiver in self._receivers:
            if receiver.work is not None:
                receiver.work.cancel()

    def _failed(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self.log.failure("a webhook failed", failure)

    async def _work(self, receiver: _Receiver) -> None:
        while self._running:
            try:
                more = await self._post_batch(receiver)
            except MailError as error:
                self.log.error("the events cannot be read: {error}", error=error.text)
                more = False
            except CancelledError:
                raise
            except Exception:
                self.log.failure("events for {url}", url=receiver.webhook.url)
                receiver.failures += 1
                more = False
            if not more:
                await self._wait(receiver)

    async def _post_batch(self, receiver: _Receiver) -> bool:
        """Post what waits; gives whether there may be more at once."""
        name = receiver.webhook.url
        events: Sequence[QueueEvent] = await self._queue.list_events(listener=name, limit=BATCH)
        if not events:
            return False
        last = await self._queue.get_last_event()
        if last - events[0].id > MAX_BACKLOG:
            self.log.error(
                "events for {url} are dropped: more than {most} wait", url=name, most=MAX_BACKLOG
            )
            await self._queue.acknowledge(listener=name, through=last - MAX_BACKLOG)
            return True
        pending = [event for event in events if event.id not in receiver.taken]
        refused: list[_Refused] = []
        given_up: list[_Refused] = []
        busy = False
        while pending and not refused and not busy and self._running:
            part, pending = pending[:MAX_PARALLEL], pending[MAX_PARALLEL:]
            answers = await self._post_part(receiver, part)
            if True in answers:
                # It keeps pace as it can: that is no failure that goes on.
                receiver.busy_since, receiver.failures = None, 0
            for event, answer in zip(part, answers, strict=True):
                if isinstance(answer, bool):
                    receiver.taken.add(event.id)
                    receiver.given_up = 0 if answer else receiver.given_up
                    continue
                busy = busy or answer.busy
                if self._is_kept(receiver, event, answer):
                    refused.append(_Refused(event, answer.text))
                    continue
                receiver.taken.add(event.id)
                given_up.append(_Refused(event, answer.text))
                receiver.given_up = 0 if answer.answered else receiver.given_up + 1
        await self._acknowledge(receiver, events)
        # What was given up holds nothing back.
        receiver.failures = receiver.failures + 1 if refused or busy else 0
        if refused:
            self._tell(receiver, refused[0], "not taken", len(refused))
        if given_up:
            count = len(given_up)
            if receiver.given_up >= MAX_GIVEN_UP:
                count += await self._drop_old(receiver)
            self._tell(receiver, given_up[0], "given up, not taken", count)
        return not refused and not busy

    async def _post_part(
        self, receiver: _Receiver, part: Sequence[QueueEvent]
    ) -> Sequence[bool | _Problem]:
        """Post some events at the same time; gives what :meth:`_post` says of each."""
        tasks = [Deferred.fromCoroutine(self._post(receiver, event)) for event in part]
        try:
            return await gatherResults(tasks, consumeErrors=True)
        except (CancelledError, FirstError) as error:
            for task in tasks:
                task.cancel()
            if isinstance(error, FirstError):
                failure: Any = error.subFailure
                raise failure.value from None
            raise

    async def _acknowledge(self, receiver: _Receiver, events: Sequence[QueueEvent]) -> None:
        """Let go of events up to the first one that is still to be taken."""
        through = 0
        for event in events:
            if event.id not in receiver.taken:
                break
            through = event.id
        if through:
            await self._queue.acknowledge(listener=receiver.webhook.url, through=through)
            receiver.taken = {number for number in receiver.taken if number > through}

    async def _drop_old(self, receiver: _Receiver) -> int:
        """Give up all events that are old; gives how many the receiver would have got."""
        name, count = receiver.webhook.url, 0
        while True:
            events: Sequence[QueueEvent] = await self._queue.list_events(
                listener=name, limit=_MAX_DROPPED
            )
            old = list(takewhile(self._is_old, events))
            if old:
                await self._queue.acknowledge(listener=name, through=old[-1].id)
                count += sum(map(receiver.webhook.wants, old))
            if len(old) < _MAX_DROPPED:
                return count

    def _is_kept(self, receiver: _Receiver, event: QueueEvent, problem: _Problem) -> bool:
        """Whether an event that was not taken is posted again."""
        if not self._is_old(event):
            return True
        if not problem.busy:
            return False
        # It may be old because we were away: then it has its time from now on.
        now: float = self._reactor.seconds()
        if receiver.busy_since is None:
            receiver.busy_since = now
        return now - receiver.busy_since <= LIFETIME

    def _is_old(self, event: QueueEvent) -> bool:
        """Whether an event is given up when it is not taken."""
        age: float = self._reactor.seconds() - event.time
        return age > LIFETIME

    def _tell(self, receiver: _Receiver, first: _Refused, what: str, count: int) -> None:
        """Log once what became of some events."""
        self.log.warn(
            "event {id} of message {message} {what} by {url}: {problem}; so are {others} others",
            id=first.event.id,
            message=first.event.message,
            what=what,
            url=receiver.webhook.url,
            problem=first.problem,
            others=count - 1,
        )

    async def _post(self, receiver: _Receiver, event: QueueEvent) -> bool | _Problem:
        """Post one event, if it is wanted; gives whether it was, or what went wrong."""
        if not receiver.webhook.wants(event):
            return False
        message: QueuedMessage | None
        try:
            message = await self._queue.get_message(id=event.message)
        except NoSuchMessage:
            message = None
        if message is not None and message.envelope.reverse_path.is_null:
            # Reports of our own, which nobody has submitted.
            return False
        problem = await self._request(receiver, event, describe(event, message))
        return True if problem is None else problem

    async def _request(
        self, receiver: _Receiver, event: QueueEvent, body: bytes
    ) -> _Problem | None:
        """Post a body; gives what went wrong."""
        now = int(self._reactor.seconds())
        # No dot, which parts what is signed. The time, as numbers may come again after a repair.
        id = f"evt_{event.id}_{event.time}"
        signatures = [sign(secret, id, now, body) for secret in receiver.webhook.secrets]
        fields = {
            b"Content-Type": b"application/json",
            b"User-Agent": b"mailkit",
            b"webhook-id": id.encode(),
            b"webhook-timestamp": b"%d" % now,
            b"webhook-signature": " ".join(signatures).encode(),
        }
        try:
            status, wait = await receiver.poster.post(fields, io.BytesIO(body))
        except PostFailed as error:
            return _Problem(str(error), answered=False, busy=False)
        if 200 <= status <= 299:
            return None
        receiver.pause = max(receiver.pause, min(wait, MAX_PAUSE))
        return _Problem(f"status {status}", answered=True, busy=status in _BUSY or wait > 0)

    async def _wait(self, receiver: _Receiver) -> None:
        """Until something happens, or it is time to try again."""
        seconds = LOOK_INTERVAL
        if receiver.failures:
            seconds = INTERVALS[min(receiver.failures, len(INTERVALS)) - 1]
            # What failed together is not tried together.
            seconds = max(seconds, receiver.pause) * (1 + 0.2 * random.random())
        receiver.pause = 0.0
        waiting: Deferred[None] = Deferred()
        call = self._reactor.callLater(seconds, waiting.callback, None)

        def wake() -> None:
            receiver.wake = None
            if call.active():
                call.cancel()
                waiting.callback(None)

        receiver.wake = wake
        try:
            await waiting
        finally:
            receiver.wake = None
            if call.active():
                call.cancel()
