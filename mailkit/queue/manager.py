"""Sends what is queued: looks for what is due, and has it handed over (:mod:`~mailkit.queue.dispatch`).

Domains are worked on apart from each other, each by one task that hands over several messages at a
time. A domain whose servers cannot be reached is left alone until its next attempt is due, and takes
no place from the others: a share of the places is kept for domains that have not failed. What
has just been queued does not wait for the queue to be looked through.

A message is at no server's twice unless this process, or its connection, ends between the other
server's answer and our record of it; then it is sent again, for a loss would be worse (RFC 1047).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.logger import Logger

from mailkit.errors import MailError
from mailkit.interfaces import IQueue
from mailkit.mime import Action
from mailkit.model import Envelope, LocalDelivery, Recipient, normal_envelope
from mailkit.queue.clock_steps import ClockSteps
from mailkit.queue.dispatch import BATCH, TROUBLE_INTERVAL, Dispatcher
from mailkit.queue.limits import QueueGuard, QueueLimits
from mailkit.queue.outcomes import Outcomes
from mailkit.queue.reports import Reporter
from mailkit.queue.return_paths import ReturnPaths
from mailkit.queue.schedule import FindSchedule, Schedule, Schedules
from mailkit.queue.submission import read_message_id
from mailkit.queue.transport import FindTransport, with_error
from mailkit.queue.unreachable import PAUSE, PutOff, UnreachableDomains
from mailkit.queue.values import Attempt, NewMessage, Queued
from mailkit.spool import Spool
from mailkit.wire.domains import is_within

#: Recipients that are put off in one step.
MAX_PUT_OFF = 1000
#: Seconds after which the queue is looked at though nothing is known to be due: a command in
#: another process may have ordered something.
LOOK_INTERVAL = 5.0
#: Domains that are looked at each time, and from time to time where all of these have failed before.
LOOK = 100
LOOK_FAR = 20_000
#: Seconds until more of the new mail for domains that are left alone is put off.
FRESH_PAUSE = 0.1
#: Seconds for which what was sent stays known.
HISTORY = 7 * 86_400


@dataclass(frozen=True)
class QueueSettings:
    """How much is done at the same time.

    :param max_domains: domains that are worked on.
    :param reserved: places of these that only domains get that did not fail the last time.
    :param retry_rate: domains a second that are tried again, for nothing, after they failed the last
        time.
    :param history: seconds for which what became of a message stays known.
    """

    max_domains: int = 100
    reserved: int = 30
    retry_rate: float = 10.0
    history: int = HISTORY

    def __post_init__(self) -> None:
        if not 0 <= self.reserved < self.max_domains:
            raise ValueError("reserved is less than max_domains")
        if self.retry_rate <= 0:
            raise ValueError("retry_rate is positive")
        if self.history < 0:
            raise ValueError("history is not negative")


class Outgoing(NamedTuple):
    """To whom a message is to be sent."""

    envelope: Envelope
    #: As in :class:`~mailkit.queue.values.NewMessage`.
    skip: int = 0
    prefix: bytes = b""
    key: str | None = None
    #: There has been an attempt: the next one is not made at once.
    tried: bool = False


@dataclass
class _Task:
    """The work on one domain."""

    work: Deferred[None] | None = None
    #: Is called when the work has ended.
    done: Deferred[None] = field(default_factory=Deferred)


class QueueManager:
    """Works on a queue until it is stopped.

    :param find_transport: gives what hands over the mail of a domain.
    :param reporter: writes what senders are told.
    :param schedule: how often and how long it is tried.
    :param find_schedule: the same for messages that have another schedule than that.
    :param clock: the reactor, or another source of time and calls.
    :param return_paths: of our own, for what leaves us; None for the senders' addresses.
    :param limits: how much the queue takes.
    """

    log = Logger()

    def __init__(
        self,
        queue: IQueue,
        find_transport: FindTransport,
        reporter: Reporter,
        *,
        schedule: Schedule | None = None,
        find_schedule: FindSchedule | None = None,
        settings: QueueSettings | None = None,
        clock: Any = None,
        return_paths: ReturnPaths | None = None,
        limits: QueueLimits | None = None,
    ) -> None:
        if clock is None:
            from twisted.internet import reactor as clock
        self._queue = queue
        self._reporter = reporter
        self.schedule = schedule or Schedule()
        self._schedules = Schedules(self.schedule, find_schedule)
        self._settings = settings or QueueSettings()
        self._clock = clock
        #: Puts down what attempts make of recipients, and tells who listens.
        self.outcomes = Outcomes(queue, reporter, self._schedules, clock)
        self._guard = QueueGuard(queue, limits or QueueLimits(), clock.seconds)
        #: Domains that are worked on.
        self._busy: dict[str, _Task] = {}
        places = self._settings.max_domains - self._settings.reserved
        self._unreachable = UnreachableDomains(places, self._settings.retry_rate, clock.seconds)
        self._dispatcher = Dispatcher(
            queue,
            find_transport,
            self.outcomes,
            self._schedules,
            self._unreachable,
            return_paths,
            clock,
        )
        self._timer: Any = None
        self._looking = False
        self._looked_far = 0
        #: It is known what had failed before this process began.
        self._recalled = False
        self._steps = ClockSteps(clock.seconds)
        #: Nothing waits for a time that was found with a clock that was ahead.
        self._corrected = False
        #: Domains that failed the last time are due, but have been tried too fast.
        self._resting = False
        self._again = False
        #: Domains that are left alone, and have new mail that is still to be put off.
        self._fresh: set[str] = set()
        self._soon = False
        self._running = False
        self._end_watch: Any = None
        self._forgotten = 0.0

    # Start and stop.

    def start(self) -> None:
        """Begin to send."""
        self._running = True
        self._dispatcher.start()
        self._end_watch = self._queue.watch(self._noticed)
        self._look()

    async def stop(self, grace: float = 5.0) -> None:
        """Send nothing more; what is under way may end.

        :param grace: seconds after which it is broken off.
        """
        self._running = False
        if self._end_watch is not None:
            self._end_watch()
        self._set_timer(None)
        self._dispatcher.stop()
        if self._busy:
            break_off = self._clock.callLater(grace, self._break_off)
            await gatherResults([task.done for task in self._busy.values()])
            if break_off.active():
                break_off.cancel()
        self._dispatcher.close()

    def _break_off(self) -> None:
        for task in list(self._busy.values()):
            if task.work is not None:
                task.work.cancel()

    # What comes in.

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        """Whether the limits allow to queue a message for somebody, asked before it comes.

        :raises StoreFull: there is too much already.
        :raises LimitExceeded: of one account, or for one destination.
        """
        await self._guard.check_recipient(envelope, recipient)

    async def submit(
        self,
        message: Spool,
        outgoing: Sequence[Outgoing],
        deliveries: Sequence[LocalDelivery] = (),
    ) -> Queued:
        """Queue a message, and put it into mailboxes in the same step; durable on return.

        :param outgoing: their envelopes as :func:`mailkit.model.normal_envelope` takes them.
        :raises StoreFull: or LimitExceeded: too much waits already.
        :raises MailError: nothing was queued.
        :raises ValueError: a time in an envelope is none; nothing was queued.
        """
        outgoing = [each._replace(envelope=normal_envelope(each.envelope)) for each in outgoing]
        await self._guard.check(message.size, [each.envelope for each in outgoing])
        message_id = read_message_id(message)
        new = [self._new_message(each, message_id) for each in outgoing]
        return await self._queue.enqueue(message=message, new=new, deliveries=deliveries)

    def _new_message(self, outgoing: Outgoing, message_id: str) -> NewMessage:
        now = int(self._clock.seconds())
        next_time, expires = self._schedules.first(outgoing.envelope, now, outgoing.tried)
        return NewMessage(
            outgoing.envelope,
            next_time,
            expires,
            outgoing.skip,
            outgoing.prefix,
            message_id,
            outgoing.key,
        )

    async def report_arrival(
        self, envelope: Envelope, recipients: Sequence[Recipient], start: bytes
    ) -> None:
        """Tell the sender of recipients whose mailboxes have got the message, if that is wanted.

        :param start: octets of the message, with its header.
        """
        attempt = Attempt(int(self._clock.seconds()), 0.0)
        told = [(each, Action.DELIVERED, attempt) for each in recipients]
        await self._report_now(envelope, told, io.BytesIO(start))

    async def report_failures(
        self,
        envelope: Envelope,
        failures: Sequence[tuple[Recipient, MailError]],
        message: BinaryIO,
    ) -> None:
        """Tell the sender of recipients who will not get a message that others have got.

        :param message: stays the caller's to close.
        :raises MailError: nobody can be told.
        """
        attempt = Attempt(int(self._clock.seconds()), 0.0)
        told = [(each, Action.FAILED, with_error(attempt, error)) for each, error in failures]
        await self._report_now(envelope, told, message)

    async def _report_now(
        self,
        envelope: Envelope,
        told: Sequence[tuple[Recipient, Action, Attempt]],
        message: BinaryIO,
    ) -> None:
        for report in self._reporter.write_unqueued(envelope, told, message):
            await self.submit(Spool.from_bytes(report.octets), [Outgoing(report.envelope)])

    async def flush(self, domain: str = "", subdomains: bool = False) -> int | None:
        """Try again now to send what has failed before.

        :param domain: as in :meth:`mailkit.interfaces.IQueue.flush`, in canonical form.
        :returns: how many recipients that concerns, some thousand at most; None for such as were due.
        """
        self._unreachable.retry(domain, subdomains)
        now = int(self._clock.seconds())
        count = await self._queue.flush(now=now, domain=domain, subdomains=subdomains)
        # What is due already, or under way, does not count there; yet it waits.
        return count or (None if await self._is_due(domain, subdomains, now) else 0)

    async def _is_due(self, domain: str, subdomains: bool, now: int) -> bool:
        if await self._queue.list_due(domain=domain, now=now, limit=1):
            return True
        if not subdomains:
            return False
        names = {*self._busy, *await self._find_due(now, LOOK_FAR)}
        return any(is_within(each, domain) for each in names)

    # Looking for work.

    def _noticed(self, domain: str) -> None:
        """Something is new in a domain."""
        if not self._running or domain in self._busy:
            # Who works on it looks again before leaving.
            return
        if self._unreachable.get(domain) is not None:
            self._fresh.add(domain)
            self._look_soon()
        elif self._places <= 0 or self._unreachable.failed_last(domain):
            # It has no place of its own, or is one of those that begin slowly.
            self._look_soon()
        else:
            self._begin(domain)

    @property
    def _places(self) -> int:
        """Domains that may begin."""
        return self._settings.max_domains - len(self._busy)

    def _look(self) -> None:
        """Look for domains that are due; at once, or again when that is under way."""
        if not self._running:
            return
        if self._looking:
            self._again = True
            return
        self._looking = True
        Deferred.fromCoroutine(self._look_through()).addErrback(self._failed)

    def _look_soon(self) -> None:
        """Look for what is due, once for all that asks for it in a short time."""
        if self._looking:
            self._soon = True
        elif self._timer is None or self._timer.getTime() > self._clock.seconds() + PAUSE:
            self._set_timer(PAUSE)

    async def _look_through(self) -> None:
        delay = LOOK_INTERVAL
        try:
            now = int(self._clock.seconds())
            if not self._recalled:
                # Whoever did it before has ended, no matter how.
                await self._queue.end_attempts()
                await self._unreachable.recall(self._queue)
                self._recalled = True
            if self._steps.seconds_back() or not self._corrected:
                self._corrected = False
                await self._correct_times(now)
                self._corrected = True
            await self._put_off_fresh(now)
            self._resting = not await self._begin_due(now)
            if self._fresh:
                delay = FRESH_PAUSE
            elif self._resting or self._soon:
                delay = PAUSE
            self._soon = False
            await self._forget(now)
            next_time = await self._queue.get_next_time()
            if next_time is not None and next_time > now:
                delay = min(delay, next_time - now)
        except MailError as error:
            self.log.error("the queue cannot be read: {error}", error=error.text)
            delay = TROUBLE_INTERVAL
        finally:
            self._looking = False
        if self._again:
            self._again = False
            delay = 0.0
        if self._running:
            self._set_timer(delay)

    async def _correct_times(self, now: int) -> None:
        """Let nothing wait for longer because the clock was ahead."""
        total = 0
        while count := await self._queue.flush(now=now, ahead=True):
            total += count
        if total:
            self._unreachable.retry("", subdomains=True)
            self.log.warn("the clock was ahead: {count} recipients waited for it", count=total)

    async def _begin_due(self, now: int) -> bool:
        """Begin to work on domains that are due; gives False when some of them must wait a little."""
        if self._places <= 0:
            return True
        found = await self._find_due(now, LOOK)
        left = self._begin_some(found)
        if left == LOOK and not 0 <= now - self._looked_far < LOOK_INTERVAL:
            # Others may stand behind those that failed.
            self._looked_far = now
            self._begin_some(await self._find_due(now, LOOK_FAR), only_good=True)
        return not left

    async def _find_due(self, now: int, limit: int) -> Sequence[str]:
        return await self._queue.find_due(now=now, limit=limit, exclude=list(self._busy))

    def _begin_some(self, found: Sequence[str], only_good: bool = False) -> int:
        """Begin to work on those that may; gives how many that failed the last time may not yet."""
        left = 0
        full = only_good
        for domain in found:
            if self._places <= 0:
                break
            if domain in self._busy:
                continue
            if not self._unreachable.failed_last(domain):
                self._begin(domain)
                continue
            full = full or not self._unreachable.begin(domain)
            if full:
                left += 1
            else:
                self._begin(domain)
        return left

    async def _forget(self, now: int) -> None:
        if not 0 <= now - self._forgotten < LOOK_INTERVAL:
            self._forgotten = now
            await self._queue.forget(before=now - self._settings.history)

    def _set_timer(self, delay: float | None) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if delay is not None:
            self._timer = self._clock.callLater(delay, self._look)

    def _failed(self, failure: Any) -> None:
        if failure.check(CancelledError):
            return
        self.log.failure("the queue's manager failed", failure)

    # Work on domains.

    def _begin(self, domain: str) -> None:
        task = self._busy[domain] = _Task()
        # It may end before the next line.
        task.work = Deferred.fromCoroutine(self._dispatcher.work(domain))
        task.work.addErrback(self._failed).addBoth(lambda _: self._end(domain, task))

    def _end(self, domain: str, task: _Task) -> None:
        del self._busy[domain]
        recovered = self._unreachable.end(domain)
        task.done.callback(None)
        # While many must wait, they are not all looked at each time that one ends.
        if recovered or not self._resting:
            self._look()

    async def _put_off_fresh(self, now: int) -> None:
        """The same for domains in which something is new, some of them at a time."""
        waiting: list[PutOff] = []
        for _ in range(min(LOOK, len(self._fresh))):
            domain = self._fresh.pop()
            found = [] if domain in self._busy else await self._dispatcher.find_new(domain, now)
            if len(found) >= BATCH:
                self._fresh.add(domain)
            waiting += found
            if len(waiting) >= MAX_PUT_OFF:
                break
        if waiting:
            await self.outcomes.put_off(waiting)
