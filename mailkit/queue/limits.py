"""How much the queue takes: in all, of one account, for one destination."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mailkit.errors import LimitExceeded, StoreFull
from mailkit.expiring import ExpiringMap
from mailkit.wire.domains import canonical_domain

if TYPE_CHECKING:
    from mailkit.interfaces import IQueue
    from mailkit.model import Envelope, Recipient

#: Seconds for which a count is believed; what is queued meanwhile is added to it.
COUNT_TIME = 10.0
#: Accounts and domains whose counts are remembered.
MAX_COUNTS = 10_000
#: Limits where nothing else is said.
MAX_MESSAGES = 1_000_000
MAX_OCTETS = 100 * 1024**3
MAX_PER_ACCOUNT = 100_000
MAX_PER_DOMAIN = 500_000


@dataclass(frozen=True)
class QueueLimits:
    """What may wait at the same time; 0 for as much as there is room for.

    :param max_messages: messages in all.
    :param max_octets: their octets.
    :param max_messages_per_account: messages that one account has submitted.
    :param max_recipients_per_domain: recipients of one destination.
    :raises ValueError: a value makes no sense.
    """

    max_messages: int = MAX_MESSAGES
    max_octets: int = MAX_OCTETS
    max_messages_per_account: int = MAX_PER_ACCOUNT
    max_recipients_per_domain: int = MAX_PER_DOMAIN

    def __post_init__(self) -> None:
        if min(self.max_messages, self.max_octets) < 0 or (
            min(self.max_messages_per_account, self.max_recipients_per_domain) < 0
        ):
            raise ValueError("limits are not negative")


# What stands for the whole queue.
_ALL = ("", "")


class _Count(NamedTuple):
    """How much waits."""

    messages: int
    octets: int = 0


class QueueGuard:
    """Keeps a queue within its limits.

    :param seconds: tells the time.
    """

    def __init__(self, queue: IQueue, limits: QueueLimits, seconds: Callable[[], float]) -> None:
        self._queue = queue
        self._limits = limits
        self._most_in_all = _Count(limits.max_messages, limits.max_octets)
        self._most_of_account = _Count(limits.max_messages_per_account)
        self._most_for_domain = _Count(limits.max_recipients_per_domain)
        self._counts: ExpiringMap[tuple[str, str], _Count] = ExpiringMap(MAX_COUNTS, seconds)

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        """Whether a message for somebody could be queued now; nothing is counted for it.

        :raises StoreFull: there is too much already.
        :raises LimitExceeded: of one account, or for one destination.
        """
        await self._check(envelope.declared_size or 0, [(envelope, [recipient])], take=False)
        limit = self._limits.max_recipients_per_domain
        if not (limit and envelope.recipients):
            return
        domain = _domain(recipient)
        known = self._counts.get(("", domain))
        # Those of the message are only looked at where there may be too many of them.
        if known is not None and known.messages + len(envelope.recipients) >= limit:
            same = [each for each in envelope.recipients if _domain(each) == domain]
            # RFC 5321 section 4.5.3.1.10: the message goes to those who fit, and to the others later.
            await self._check_domains([*same, recipient], take=False)

    async def check(self, size: int, envelopes: Sequence[Envelope]) -> None:
        """Whether one message may be queued, once for each envelope.

        :param size: octets.
        :raises StoreFull: there is too much already.
        :raises LimitExceeded: of one account, or for one destination.
        """
        await self._check(size, [(each, each.recipients) for each in envelopes], take=True)

    async def _check(
        self, size: int, wanted: Sequence[tuple[Envelope, Sequence[Recipient]]], take: bool
    ) -> None:
        limits = self._limits
        if limits.max_messages or limits.max_octets:
            most, more = self._most_in_all, (len(wanted), size, take)
            if not (
                self._has_room(_ALL, most, *more) or await self._count_again(_ALL, most, *more)
            ):
                raise StoreFull("The queue for other servers is full; try again later")
        for envelope, recipients in wanted:
            account = envelope.account
            if account is not None and limits.max_messages_per_account:
                most, key = self._most_of_account, (account, "")
                if not (
                    self._has_room(key, most, 1, 0, take)
                    or await self._count_again(key, most, 1, 0, take)
                ):
                    raise LimitExceeded(
                        f"{most.messages} messages of yours wait to be sent already;"
                        " try again later"
                    )
            if limits.max_recipients_per_domain:
                await self._check_domains(recipients, take)

    async def _check_domains(self, recipients: Sequence[Recipient], take: bool) -> None:
        most = self._most_for_domain
        counts: dict[str, int] = {}
        for recipient in recipients:
            domain = _domain(recipient)
            counts[domain] = counts.get(domain, 0) + 1
        for domain, count in counts.items():
            key = "", domain
            if not (
                self._has_room(key, most, count, 0, take)
                or await self._count_again(key, most, count, 0, take)
            ):
                if count > 1:
                    raise LimitExceeded(
                        f"Not more than {most.messages} recipients in {domain} may wait;"
                        " send it to fewer at a time"
                    )
                raise LimitExceeded(
                    f"{most.messages} recipients in {domain} wait already; try again later"
                )

    async def _count_again(
        self, key: tuple[str, str], most: _Count, messages: int, octets: int, take: bool
    ) -> bool:
        """:meth:`_has_room`, for something may have left since it was counted."""
        self._counts.set(key, await self._read(key, most), COUNT_TIME)
        return self._has_room(key, most, messages, octets, take)

    def _has_room(
        self, key: tuple[str, str], most: _Count, messages: int, octets: int, take: bool
    ) -> bool:
        """Whether there is room for more, by the count that is remembered; then it is counted, if it is
        to be taken."""
        known = self._counts.get(key)
        if known is None:
            return False
        messages += known.messages
        octets += known.octets
        if (most.messages and messages > most.messages) or (most.octets and octets > most.octets):
            return False
        if take:
            self._counts.replace(key, _Count(messages, octets))
        return True

    async def _read(self, key: tuple[str, str], most: _Count) -> _Count:
        account, domain = key
        if not account and not domain:
            return _Count(*await self._queue.get_size())
        limit = most.messages
        return _Count(await self._queue.count(limit=limit, account=account, domain=domain))


def _domain(recipient: Recipient) -> str:
    return canonical_domain(recipient.path.domain)
