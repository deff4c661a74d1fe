"""When the next attempt is due, and when it is enough (RFC 5321 section 4.5.4.1)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailkit.model import Envelope
from mailkit.queue.values import QueuedMessage
from mailkit.wire.domains import canonical_domain

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR

#: Seconds between attempts: the first retries within half an hour, then ever more slowly.
INTERVALS = (5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR)


@dataclass(frozen=True)
class Schedule:
    """How often and how long it is tried.

    :param intervals: seconds from each failed attempt to the next; the last one goes on.
    :param jitter: by which share of it an interval may be shorter or longer, so that what failed
        together is not tried together.
    :param lifetime: seconds after which a message is given up. The standard wants 4 to 5 days.
    :param warn_after: seconds after which the sender is told that it takes longer; 0 for never.
    :param undo: seconds in which a submitted message may still be taken back.
    :raises ValueError: a value makes no sense.
    """

    intervals: Sequence[float] = INTERVALS
    jitter: float = 0.1
    lifetime: float = 5 * DAY
    warn_after: float = 4 * HOUR
    undo: float = 0.0

    def __post_init__(self) -> None:
        if not self.intervals or min(self.intervals) <= 0:
            raise ValueError("intervals are positive, and at least one")
        if not 0 <= self.jitter < 1:
            raise ValueError("jitter is a share from 0 to below 1")
        if self.lifetime <= 0 or self.warn_after < 0 or self.undo < 0:
            raise ValueError("times are not negative")

    def delay(self, attempts: int, draw: Callable[[], float] = random.random) -> float:
        """Seconds to wait after a failed attempt.

        :param attempts: how many there were, at least 1.
        :param draw: gives a number from 0 to below 1.
        """
        interval = self.intervals[min(attempts, len(self.intervals)) - 1]
        return interval * (1 + self.jitter * (2 * draw() - 1))

    def next_time(
        self, now: int, attempts: int, expires: int, draw: Callable[[], float] = random.random
    ) -> int:
        """When the next attempt is due, in seconds since the epoch.

        The last one is made when the message expires.
        """
        time = now + max(1, round(self.delay(attempts, draw)))
        return min(time, expires) if expires > now else time


#: Finds the schedule of a message to a domain.
FindSchedule = Callable[[str, Envelope], Schedule]


class Schedules(NamedTuple):
    """The schedules of all messages: one for all, or others for some of them."""

    default: Schedule
    find: FindSchedule | None = None

    def of(self, domain: str, envelope: Envelope) -> Schedule:
        """That of a message to a domain."""
        return self.default if self.find is None else self.find(domain, envelope)

    def first(self, envelope: Envelope, now: int, tried: bool) -> tuple[int, int]:
        """When a new message is due, and when it is given up, in seconds since the epoch.

        :param tried: there has been an attempt.
        """
        next_time = now
        if envelope.account is not None:
            next_time += round(self.default.undo)
        if envelope.hold_until is not None:
            next_time = max(next_time, envelope.hold_until)
        if tried:
            next_time = now + round(self.default.delay(1))
        # The time that it has does not begin before it may be sent.
        expires = next_time + round(self._lifetime(envelope))
        by = envelope.deliver_by
        if by is not None and by.mode == "R":
            expires = min(expires, by.deadline)
        return next_time, expires

    def of_message(self, message: QueuedMessage) -> Schedule:
        """That of a message whose recipients are in one domain."""
        if self.find is None:
            return self.default
        return self.find(message.recipients[0].domain, message.envelope)

    def _lifetime(self, envelope: Envelope) -> float:
        """Seconds that a message has at most, whichever its recipients."""
        if self.find is None:
            return self.default.lifetime
        domains = {canonical_domain(each.path.domain) for each in envelope.recipients}
        return max(self.find(domain, envelope).lifetime for domain in domains)

    def limit(self, message: QueuedMessage) -> QueuedMessage:
        """A message to one domain, which is given up when that domain's schedule says so."""
        if self.find is None:
            return message
        envelope = message.envelope
        start = max(message.created, envelope.hold_until or 0)
        lifetime = self.of_message(message).lifetime
        return message._replace(expires=min(message.expires, start + round(lifetime)))
