"""Remembers which domains cannot be reached, so that they take little from those that can.

However many of them there are, they get a share of the places and some tries a second. All that waits
for one shares the fate of what was tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mailkit.expiring import ExpiringMap
from mailkit.interfaces import IPostponingQueue, IQueue
from mailkit.queue.judging import is_over, not_past_deadline
from mailkit.queue.schedule import Schedule
from mailkit.queue.values import (
    Attempt,
    Postponement,
    QueuedMessage,
    QueuedRecipient,
    RecipientState,
    Update,
)
from mailkit.wire.domains import is_within

#: Domains whose state is remembered.
MAX_REMEMBERED = 100_000
#: Seconds for which it is remembered that a domain has failed.
FAILURE_TIME = 86_400.0
#: Seconds within which what is due later is taken to have failed, too. It would not be tried then:
#: an address that cannot be reached is left alone for so long.
SLACK = 60
#: Recipients of one step.
MAX_POSTPONED = 1000
#: Seconds until more may be tried when that is too many for now.
PAUSE = 0.5


class Down(NamedTuple):
    """A domain that is left alone."""

    #: When it is due again, in seconds since the epoch.
    until: int
    #: With which that was found out; it counts for new messages, too.
    attempt: Attempt


class UnreachableDomains:
    """What is known of domains that cannot be reached.

    :param places: domains of these that may be tried at the same time.
    :param rate: and that may begin in a second.
    :param seconds: tells the time.
    """

    def __init__(self, places: int, rate: float, seconds: Callable[[], float]) -> None:
        self._places = places
        self._rate = rate
        self._seconds = seconds
        self._down: ExpiringMap[str, Down] = ExpiringMap(MAX_REMEMBERED, seconds)
        #: Those that failed the last time.
        self._failed: ExpiringMap[str, bool] = ExpiringMap(MAX_REMEMBERED, seconds)
        #: Of these, those that are being tried.
        self._tried: set[str] = set()
        #: Tries that may begin, and when that was counted.
        self._tries = max(1.0, rate)
        self._counted = seconds()

    def get(self, domain: str) -> Down | None:
        """Until when a domain is left alone, and why; None where it may be tried."""
        return self._down.get(domain)

    def failed_last(self, domain: str) -> bool:
        """Whether the last attempt failed."""
        return bool(self._failed.get(domain))

    def note_failure(self, domain: str, delay: int, attempt: Attempt) -> None:
        """A domain cannot be reached, and is left alone for some seconds."""
        self._failed.set(domain, True, FAILURE_TIME)
        self._down.set(domain, Down(int(self._seconds()) + delay, attempt), delay)

    async def recall(self, queue: IQueue) -> None:
        """Remember what failed before this process began, as far as the queue tells.

        :raises MailError: the queue cannot be read.
        """
        if IPostponingQueue.providedBy(queue):
            for domain in await queue.list_tried(limit=MAX_REMEMBERED):
                self._failed.set(domain, True, FAILURE_TIME)

    def note_success(self, domain: str) -> None:
        """A domain has been reached."""
        self._failed.discard(domain)
        self._down.discard(domain)

    def retry(self, domain: str, subdomains: bool) -> None:
        """Let a domain be tried now; all of them where none is named."""
        self._down.drop(lambda name: is_within(name, domain, subdomains))

    def begin(self, domain: str) -> bool:
        """Whether a domain that failed the last time may be tried now; then it is being tried."""
        now = self._seconds()
        tries = self._tries + max(0.0, now - self._counted) * self._rate
        self._tries = min(max(1.0, self._rate), tries)
        self._counted = now
        if len(self._tried) >= self._places or self._tries < 1:
            return False
        self._tries -= 1
        self._tried.add(domain)
        return True

    def end(self, domain: str) -> bool:
        """A domain is no longer worked on; gives whether it can be reached now, and could not before.

        Then another may begin in its place: when a network is back, nothing waits for its turn.
        """
        if domain not in self._tried:
            return False
        self._tried.remove(domain)
        recovered = not self.failed_last(domain)
        if recovered:
            self._tries += 1
        return recovered


class PutOff(NamedTuple):
    """A recipient of a new message who waits until the domain is due again."""

    message: QueuedMessage
    recipient: QueuedRecipient
    update: Update


def put_off(due: Sequence[QueuedMessage], down: Down, now: int) -> list[PutOff]:
    """Let those of a domain's messages wait that are new; others are to be tried.

    Whoever asks why they wait finds the attempt that failed. It counts as theirs, so that they are
    not new any more when somebody wants them to be retried before.
    """
    return [
        PutOff(
            message,
            recipient,
            Update(
                recipient.id,
                RecipientState.DEFERRED,
                not_past_deadline(message, now, down.until),
                down.attempt,
            ),
        )
        for message in due
        for recipient in message.recipients
        if not (recipient.attempts or is_over(message, now))
    ]


async def postpone(
    queue: IQueue, domain: str, now: int, attempt: Attempt, schedule: Schedule
) -> int:
    """Put down for all that is due in a domain that it cannot be reached, in a few steps.

    What may be late or over is left to others, and all of it where the queue knows no such step.

    :returns: how many recipients that concerns.
    :raises MailError: not all of it is put down.
    """
    if not IPostponingQueue.providedBy(queue):
        return 0
    postponement = Postponement(
        attempt,
        now,
        now + SLACK,
        [max(1, round(schedule.delay(each + 1))) for each in range(len(schedule.intervals))],
        round(schedule.lifetime),
        now - round(schedule.warn_after) if schedule.warn_after else 0,
    )
    total = 0
    while True:
        count = await queue.postpone(domain=domain, postponement=postponement, limit=MAX_POSTPONED)
        total += count
        if count < MAX_POSTPONED:
            return total
