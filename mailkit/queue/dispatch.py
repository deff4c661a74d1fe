"""Hands over what is due for a domain, and puts down what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, BinaryIO

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailkit.coroutines import gather, gather_all
from mailkit.errors import MailError, NoSuchMessage, StoreCorrupt
from mailkit.interfaces import IQueue
from mailkit.queue.attempting import Attempting, AttemptNotes
from mailkit.queue.orders import ORDERS_TIME, is_wanted, still_waiting
from mailkit.queue.outcomes import Outcomes
from mailkit.queue.portions import Portions
from mailkit.queue.return_paths import BrokenOff, ReturnPaths
from mailkit.queue.schedule import Schedules
from mailkit.queue.transport import FindTransport, Handover, Result, Transport
from mailkit.queue.unreachable import PutOff, UnreachableDomains, put_off
from mailkit.queue.values import Attempt, QueuedMessage
from mailkit.smtp.client import Status

#: Recipients of a domain that are taken from the queue at a time.
BATCH = 200
#: Seconds after a failure of the queue itself.
TROUBLE_INTERVAL = 30.0

_LOGGED = "Something went wrong here; it has been logged"


class Dispatcher:
    """Works on one domain after the other, and on several of them at the same time.

    :param find_transport: gives what hands over the mail of a domain.
    :param outcomes: puts down what became of it.
    :param schedules: how often and how long it is tried.
    :param unreachable: domains that are left alone for a while.
    :param return_paths: of our own, for what leaves us; None for the senders' addresses.
    :param clock: the reactor, or another source of time and calls.
    """

    log = Logger()

    def __init__(
        self,
        queue: IQueue,
        find_transport: FindTransport,
        outcomes: Outcomes,
        schedules: Schedules,
        unreachable: UnreachableDomains,
        return_paths: ReturnPaths | None,
        clock: Any,
    ) -> None:
        self._queue = queue
        self._find_transport = find_transport
        self._outcomes = outcomes
        self._schedules = schedules
        self._unreachable = unreachable
        self._return_paths = return_paths
        self._clock = clock
        self._attempts = AttemptNotes(outcomes.recorder, clock)
        #: What waits after a failure of our own, with the call that ends it.
        self._pauses: dict[Deferred[None], Any] = {}
        self._running = False

    def start(self) -> None:
        """Let domains be worked on."""
        self._running = True

    def stop(self) -> None:
        """Hand nothing more over; what is under way may end."""
        self._running = False
        for pause, call in list(self._pauses.items()):
            call.cancel()
            pause.callback(None)

    def close(self) -> None:
        """Nothing is under way any more."""
        self._attempts.stop()

    async def work(self, domain: str) -> None:
        """Hand over what is due for a domain, until there is nothing more."""
        transport: Transport | None = None
        trouble: Handover | None = None
        try:
            while self._running:
                # Where nothing went the last time, one tells for all.
                alone = trouble is None and self._unreachable.failed_last(domain)
                if alone and await self._put_off(domain, int(self._clock.seconds())):
                    continue
                due = await self._queue.list_due(
                    domain=domain, now=int(self._clock.seconds()), limit=1 if alone else BATCH
                )
                if not due:
                    return
                if trouble is not None:
                    await self._give_up(due, trouble)
                    continue
                if transport is None:
                    transport = await self._find_transport(domain)
                trouble = await self._hand_over(domain, transport, due)
        except MailError as error:
            self.log.error(
                "mail for {domain} cannot be sent: {error}", domain=domain, error=error.text
            )
            # Not again at once, for it is still due.
            await self._pause(TROUBLE_INTERVAL)
        except CancelledError:
            raise
        except Exception:
            self.log.failure("mail for {domain} cannot be sent", domain=domain)
            await self._pause(TROUBLE_INTERVAL)

    async def _put_off(self, domain: str, now: int) -> bool:
        """Let new messages for a domain that could not be reached wait until it is due again."""
        found = await self.find_new(domain, now)
        if found:
            await self._outcomes.put_off(found)
        return bool(found)

    async def find_new(self, domain: str, now: int) -> list[PutOff]:
        """What lets new messages for a domain wait that is left alone."""
        down = self._unreachable.get(domain)
        if down is None:
            return []
        due = await self._queue.list_due(domain=domain, now=now, limit=BATCH)
        return put_off(due, down, now)

    async def _hand_over(
        self, domain: str, transport: Transport, due: Sequence[QueuedMessage]
    ) -> Handover | None:
        """Hand messages over; gives why the domain cannot be reached, if it cannot.

        Those with which that is found out are left to the caller, with all others for the domain.
        """
        portions = Portions(due, self._return_paths if transport.leaves else None)
        pending = portions.pending
        lanes = transport.max_parallel
        troubles: list[Handover] = []
        listed = self._clock.seconds()
        contact = False

        async def lane() -> None:
            nonlocal contact
            while pending and not troubles and self._running:
                message = pending.popleft()
                if self._clock.seconds() - listed >= ORDERS_TIME:
                    waiting = await still_waiting(self._queue, message)
                    if waiting is None:
                        await self._record(*portions.end(message, ()))
                        continue
                    message = waiting
                with self._attempts.under_way(message) as attempting:
                    result = await self._send(domain, transport, message, attempting)
                if result.unreachable:
                    troubles.append(result.recipients[0])
                else:
                    contact = contact or (result.contact and bool(result.recipients))
                    await self._record(*portions.end(message, result.recipients))

        # Where one fails, what the others have sent is put down all the same.
        try:
            await gather_all(lane() for _ in range(min(lanes, len(pending))))
        finally:
            for kept in portions.take_kept():
                await self._record(*kept)
        if not troubles:
            if contact:
                self._unreachable.note_success(domain)
            return None
        trouble = troubles[0]
        if trouble.status is Status.TEMPORARY:
            schedule = self._schedules.of(domain, due[0].envelope)
            self._unreachable.note_failure(domain, round(schedule.delay(1)), trouble.attempt)
            await self._outcomes.postpone(domain, trouble.attempt, schedule)
        return trouble

    async def _record(self, message: QueuedMessage, handovers: Sequence[Handover]) -> None:
        """Put down what became of a message; until then, it would be sent again."""
        while handovers:
            try:
                await self._outcomes.record(message, handovers)
            except MailError as error:
                if not self._running:
                    raise
                self.log.error(
                    "what became of message {id} cannot be put down yet: {error}",
                    id=message.id,
                    error=error.text,
                )
            else:
                return
            await self._pause(TROUBLE_INTERVAL)

    async def _give_up(self, messages: Iterable[QueuedMessage], trouble: Handover) -> None:
        """Put down for messages that their domain cannot be reached."""
        # All at once, so that they go in a few steps.
        await gather(
            self._outcomes.record(message, [trouble] * len(message.recipients))
            for message in messages
        )

    async def _pause(self, seconds: float) -> None:
        if not self._running:
            return
        pause: Deferred[None] = Deferred()
        call = self._clock.callLater(seconds, pause.callback, None)
        self._pauses[pause] = call
        try:
            await pause
        finally:
            del self._pauses[pause]

    async def _send(
        self, domain: str, transport: Transport, message: QueuedMessage, attempting: Attempting
    ) -> Result:
        """Hand one message over; raises nothing but errors of the queue."""
        try:
            content: BinaryIO = await self._queue.open_message(id=message.id)
        except NoSuchMessage:
            # Mostly it was called off meanwhile: what is recorded now changes nothing then.
            text = "The message can no longer be read here"
            attempt = Attempt(int(self._clock.seconds()), 0.0, enhanced="5.3.0", text=text)
            gone = Handover(Status.PERMANENT, attempt)
            return Result([gone] * len(message.recipients), contact=False)
        except StoreCorrupt as error:
            # It keeps neither the others for the domain waiting, nor is it tried for ever. It may be
            # mended before it is given up.
            self.log.error("message {id} cannot be read: {error}", id=message.id, error=error.text)
            return self._failed_here(message, "The message cannot be read here")
        still = partial(is_wanted, self._queue, message)
        try:
            paths = self._return_paths
            if paths is not None and transport.leaves and paths.applies(message.envelope):
                return await paths.send(transport, domain, message, content, still)
            return await transport.send(domain, message.envelope, content, still)
        except CancelledError:
            # The server stops: nothing is known of this attempt.
            raise
        except BrokenOff as broken:
            done, contact = broken.handovers, broken.contact
            if isinstance(broken.__cause__, CancelledError):
                # Those have it, and of the others nothing is known.
                attempting.break_off(len(done))
                return Result(done, contact=contact)
            failure = Failure(broken.__cause__)
            self.log.failure("message {id} for {domain}", failure, id=message.id, domain=domain)
            return self._failed_here(message, _LOGGED, done, contact)
        except Exception:
            self.log.failure("message {id} for {domain}", id=message.id, domain=domain)
            return self._failed_here(message, _LOGGED)
        finally:
            content.close()

    def _failed_here(
        self,
        message: QueuedMessage,
        text: str,
        done: Sequence[Handover] = (),
        contact: bool = False,
    ) -> Result:
        attempt = Attempt(int(self._clock.seconds()), 0.0, enhanced="4.3.0", text=text)
        failed = Handover(Status.TEMPORARY, attempt)
        left = len(message.recipients) - len(done)
        return Result([*done, *[failed] * left], contact=contact)
