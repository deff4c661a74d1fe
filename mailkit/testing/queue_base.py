"""What the contract tests of queues have in common."""

from __future__ import annotations

import time
import unittest
from collections.abc import Sequence
from typing import Any

from mailkit.interfaces import (
    IMailStore,
    IQueue,
    IQueueingStore,
)
from mailkit.model import (
    ConnectionInfo,
    Envelope,
    Path,
    Recipient,
)
from mailkit.queue.values import (
    NewMessage,
    RecipientState,
)
from mailkit.testing.base import Contract, sample_message, spooled

ANN, BOB = "ann@example.org", "bob@example.org"
HOUR = 3600


def queue_envelope(*addresses: str, **fields: Any) -> Envelope:
    """An envelope from Ann to some addresses."""
    recipients = [Recipient(Path(*address.rsplit("@", 1))) for address in addresses]
    return Envelope(
        ConnectionInfo("submission", "192.0.2.1", 1025, "192.0.2.2", 587, True),
        "client.example.org",
        Path("ann", "example.org"),
        recipients=recipients,
        **fields,
    )


class QueueBase(Contract):
    """A new queue, and what tests do with it."""

    async def make_queueing_store(self, accounts: Sequence[str]) -> IQueueingStore:
        """The hook: a new store with just these accounts, their INBOXes and its queue empty."""
        raise NotImplementedError

    async def reopen_queueing_store(self, store: IQueueingStore) -> IQueueingStore:
        """A hook: the same store opened once more, after it was closed."""
        raise unittest.SkipTest("there is no hook reopen_queueing_store")

    async def open_queue(self, *accounts: str) -> IQueue:
        """The queue of a new store."""
        store: Any = await self.make_queueing_store(accounts=accounts)
        self.check_provides(store, [IQueueingStore, IMailStore], [])
        self.check_provides(store.queue, [IQueue], [])
        self.close_later(store.close)
        self.store = store
        #: The time that the tests go by.
        self.now = int(time.time())
        queue: IQueue = store.queue
        return queue

    async def add(
        self, queue: IQueue, *addresses: str, number: int = 1, later: int = 0, **fields: Any
    ) -> str:
        """Queue a sample message."""
        new = NewMessage(
            queue_envelope(*addresses, **fields), self.now + later, self.now + 100 * HOUR
        )
        content = spooled(sample_message(number))
        self.addCleanup(content.close)
        return (await queue.enqueue(message=content, new=[new])).ids[0]

    async def due(self, queue: IQueue, domain: str, later: int = 0) -> list[str]:
        """Addresses that are due in a domain."""
        messages = await queue.list_due(domain=domain, now=self.now + later, limit=1000)
        return [str(each.recipient.path) for message in messages for each in message.recipients]

    async def states(self, queue: IQueue, id: str) -> list[RecipientState]:
        return [each.state for each in (await queue.get_message(id=id)).recipients]

    async def content(self, queue: IQueue, id: str) -> bytes:
        with await queue.open_message(id=id) as file:
            return file.read()
