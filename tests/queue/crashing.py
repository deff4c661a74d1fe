"""A process that sends, and kills itself at a named point: see ``test_crashes``.

The words STORE PORT POINT NTH FIRST COUNT on standard input (``tests.queue.forking``): it submits COUNT
messages, whose subjects are numbers from FIRST on, tells on standard output what is durable, and
ends when the queue is empty; or by SIGKILL when POINT is reached the NTH time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from mailkit.queue.opening import HostOpener
from mailkit.queue.recording import Recorder
from mailkit.queue.relay import RelayTransport
from mailkit.smtp.client import make_envelope
from mailkit.smtp.client.transaction import Transaction
from mailkit.store.sqlite.queue import SQLiteQueue
from mailkit.tap.relay import Relay
from mailkit.tap.sending import SendingService

from .forking import serve, tell

#: Where a process may die, in the order in which a message gets there.
POINTS = (
    "before the commit",
    "after the commit",
    "before the connection",
    "after MAIL",
    "after the dot",
    "after the record",
)


class Killer:
    """Kills this process when a point is reached for the nth time."""

    def __init__(self, point: str, nth: int) -> None:
        self._point = point
        self._left = nth

    def reached(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str, before: str, after: str) -> None:
        """Let a method that waits reach points when it begins and when it has returned."""
        method: Callable[..., Awaitable[Any]] = getattr(owner, name)

        async def wrapped(*arguments: Any, **keywords: Any) -> Any:
            self.reached(before)
            result = await method(*arguments, **keywords)
            self.reached(after)
            return result

        setattr(owner, name, wrapped)

    def watch(self) -> None:
        """Put the points where they belong."""
        self.around(SQLiteQueue, "enqueue", "before the commit", "after the commit")
        self.around(HostOpener, "open", "before the connection", "")
        self.around(RelayTransport, "send", "", "after the dot")
        self.around(Recorder, "record", "", "after the record")
        answer = Transaction.answer

        def answered(transaction: Transaction, reply: Any) -> None:
            name = transaction.awaited_name
            answer(transaction, reply)
            if name == "MAIL":
                self.reached("after MAIL")

        Transaction.answer = answered  # type: ignore[method-assign]


async def work(reactor: Any, store: str, port: int, first: int, count: int) -> None:
    service = SendingService(store, Relay(f"127.0.0.1:{port}"), hostname="mail.example.org")
    service.startService()
    events = service._outbound.manager.outcomes.listen(
        lambda event: tell(f"{event.state.value} {event.envelope.envid}")
    )

    async def submit(number: int) -> None:
        envelope = make_envelope("ann@example.org", f"{number}@example.net")
        envelope.envid = str(number)
        await service.submit(envelope, b"Subject: %d\r\n\r\nx\r\n" % number)
        tell(f"accepted {number}")

    numbers = range(first, first + count)
    await gatherResults([Deferred.fromCoroutine(submit(number)) for number in numbers])
    while await service.store.queue.list_messages():
        await deferLater(reactor, 0.01)
    events()
    await service.stopService()


def main(arguments: list[str]) -> None:
    store, port, point, nth, first, count = arguments
    Killer(point, int(nth)).watch()
    numbers = int(port), int(first), int(count)
    react(lambda reactor: Deferred.fromCoroutine(work(reactor, store, *numbers)))


if __name__ == "__main__":
    serve(main)
