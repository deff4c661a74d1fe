"""A process that sends, posts its events, and kills itself: see ``test_webhook_crashes``.

The words STORE PORT URL SECRETFILE POINT NTH FIRST COUNT: as for ``tests.queue.crashing``, but it
ends when all events have been taken.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from mailkit.queue.recording import Recorder
from mailkit.queue.webhooks import WebhookSender
from mailkit.smtp.client import make_envelope
from mailkit.store.sqlite.queue import SQLiteQueue
from mailkit.tap.relay import Relay
from mailkit.tap.sending import SendingService

from .crashing import Killer
from .forking import serve, tell

#: Where a process may die, in the order in which an event gets there.
POINTS = ("after the record", "after the answer", "after the acknowledgement")


class WebhookKiller(Killer):
    """Knows the points of an event's way."""

    def watch(self) -> None:
        """Put the points where they belong."""
        acknowledge = SQLiteQueue.acknowledge

        async def acknowledged(queue: SQLiteQueue, listener: str, through: int) -> None:
            await acknowledge(queue, listener, through)
            tell(f"acknowledged {through}")

        SQLiteQueue.acknowledge = acknowledged  # type: ignore[method-assign]
        self.around(Recorder, "record", "", "after the record")
        self.around(WebhookSender, "_request", "", "after the answer")
        self.around(SQLiteQueue, "acknowledge", "", "after the acknowledgement")


async def work(
    reactor: Any, store: str, port: int, url: str, secret: str, first: int, count: int
) -> None:
    table = {"webhooks": [{"url": url, "secret-file": secret}]}
    relay = Relay(f"127.0.0.1:{port}", None, table)
    service = SendingService(store, relay, hostname="mail.example.org")
    service.startService()
    queue = service.store.queue
    while url not in await queue.list_listeners():
        await deferLater(reactor, 0.01)
    for number in range(first, first + count):
        envelope = make_envelope("ann@example.org", f"{number}@example.net")
        await service.submit(envelope, b"Subject: %d\r\n\r\nx\r\n" % number)
        tell(f"accepted {number}")
    while await queue.list_messages() or await queue.list_events(listener=url, limit=1):
        await deferLater(reactor, 0.01)
    await service.stopService()


def main(arguments: list[str]) -> None:
    store, port, url, secret, point, nth, first, count = arguments
    WebhookKiller(point, int(nth)).watch()
    values = store, int(port), url, secret, int(first), int(count)
    react(lambda reactor: Deferred.fromCoroutine(work(reactor, *values)))


if __name__ == "__main__":
    serve(main)
