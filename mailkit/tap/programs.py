"""The part of ``[queue]`` for programs: what comes back, webhooks, and the outbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mailkit.errors import MailError
from mailkit.interfaces import IQueue, IQueueEvents
from mailkit.model import Envelope, Path
from mailkit.queue.bounces import BounceDelivery, take_report
from mailkit.queue.manager import Outgoing, QueueManager
from mailkit.queue.return_paths import ReturnPaths
from mailkit.queue.webhooks import WebhookSender
from mailkit.spool import Spool
from mailkit.store.addresses import canonical_address, canonical_local_part
from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.outbox import OutboxMover, parse_outbox
from mailkit.tap.return_paths import ReturnPathSettings, parse_return_paths
from mailkit.tap.routes import Deliveries
from mailkit.tap.webhooks import parse_webhooks
from mailkit.wire.domains import canonical_domain

#: Keys of the table, each with the kind of its value.
KEYS: Mapping[str, type] = {
    "return-paths": dict,
    "match-reports": bool,
    "complaints": list,
    "webhooks": list,
    "outbox": str,
}


class Programs:
    """What programs have to do with a queue, while it is open.

    :param values: the table; what is for us is taken out.
    :raises SettingError: something in it makes no sense.
    """

    def __init__(self, values: dict[str, Any], reactor: Any) -> None:
        self._reactor = reactor
        self._webhooks = parse_webhooks(values.pop("webhooks", []))
        self._return_paths: ReturnPathSettings | None = None
        if "return-paths" in values:
            self._return_paths = parse_return_paths(values.pop("return-paths"))
        self._match_reports: bool = values.pop("match-reports", True)
        self._complaints = parse_complaints(values.pop("complaints", []))
        outbox = values.pop("outbox", None)
        self._source = None if outbox is None else parse_outbox(outbox)
        self._events: WebhookSender | None = None
        self._outbox: OutboxMover | None = None

    @property
    def paths(self) -> ReturnPaths | None:
        """Return paths of our own, where they are wanted."""
        return None if self._return_paths is None else self._return_paths.paths

    def open(self, queue: Any, manager: QueueManager, deliveries: Deliveries) -> None:
        """Take what comes back for return paths of our own.

        :raises StartError: the queue keeps no events.
        """
        if self._return_paths is not None:
            paths, to_sender = self._return_paths
            bounces = BounceDelivery(
                queue, paths, self._reactor.seconds, manager.outcomes.tell, to_sender=to_sender
            )
            deliveries.add_route(paths.domain, bounces)
        if self._match_reports:

            async def take(octets: bytes, to: Path, null: bool) -> int:
                # Such an address is told of messages of all senders.
                anybodys = _canonical(to) in self._complaints
                return await take_report(
                    queue,
                    octets,
                    int(self._reactor.seconds()),
                    manager.outcomes.tell,
                    sender=None if anybodys else to,
                    paths=self.paths,
                    complaints_only=anybodys or not null,
                )

            deliveries.take_report = take
        if self._webhooks and not IQueueEvents.providedBy(queue):
            raise StartError("queue", "webhooks", "this store keeps no events")

    def start(self, queue: IQueue, manager: QueueManager) -> None:
        """Begin to work on a queue, on which no other process does."""
        keeps_events = IQueueEvents.providedBy(queue)
        if keeps_events:
            self._events = events = WebhookSender(queue, self._webhooks, self._reactor)
            events.start()
            manager.outcomes.watch(events.look)
        if self._source is not None:

            async def submit(envelope: Envelope, octets: bytes, key: str) -> object:
                return await submit_as_user(manager, envelope, Spool.from_bytes(octets), key)

            self._outbox = OutboxMover(self._source, submit, self._reactor)
            self._outbox.start()

    async def close(self) -> None:
        """Let go of the queue."""
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            await outbox.stop()
        events, self._events = self._events, None
        if events is not None:
            await events.stop()


def parse_complaints(values: Sequence[object]) -> frozenset[str]:
    """Read ``complaints``: canonical addresses.

    :raises SettingError: one is not an address.
    """
    try:
        return frozenset(canonical_address(str(value)) for value in values)
    except MailError as error:
        raise SettingError(f"complaints: {error}") from error


def _canonical(path: Path) -> str:
    return f"{canonical_local_part(path.local_part)}@{canonical_domain(path.domain)}"


async def submit_as_user(
    manager: QueueManager, envelope: Envelope, message: Spool, key: str | None
) -> str:
    """Queue a message of a program; the sender is told what fails, as everybody who has logged in.

    :returns: the queue's name for it.
    """
    if envelope.account is None:
        envelope = replace(envelope, account=str(envelope.reverse_path))
    queued = await manager.submit(message, [Outgoing(envelope, key=key)])
    return queued.ids[0]
