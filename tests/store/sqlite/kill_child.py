"""The process that ``test_kill`` kills: several workers that change a store as fast as it goes.

Arguments: directory, seed, and numbers of the workers if not all of them are in this process. Each
worker owns one mailbox. Before an operation a line says what it is going to do, after it a line says
that the store has answered, or that it does not tell.
"""

from __future__ import annotations

import json
import os
import random
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from mailkit.errors import StoreUnavailable
from mailkit.model import AppendMessage, FlagOp, LocalDelivery
from mailkit.spool import Spool
from mailkit.store.sqlite import SQLiteStore, StoreSettings
from mailkit.store.sqlite.mailbox import SQLiteMailbox

#: Small segments, so that they roll over and are compacted all the time.
SETTINGS = StoreSettings(
    segment_size=512 * 1024,
    large_body=64 * 1024,
    spool_memory=16 * 1024,
    journal_size=64 * 1024,
    maintenance_interval=0.02,
    garbage_ratio=0.2,
)
WORKERS = 6


def content(key: str) -> bytes:
    """The octets of the message of that key."""
    dice = random.Random(key)
    kind = dice.random()
    # Spooled to a file, which the log adopts or copies; the others stay in memory.
    size = 200_000 if kind < 0.02 else 40_000 if kind < 0.06 else dice.randrange(6000)
    return b"Subject: %s\r\n\r\n" % key.encode() + dice.randbytes(size)


def say(*what: object) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def spooled(store: SQLiteStore, key: str) -> Spool:
    spool = store.new_spool()
    spool.write(content(key))
    return spool


class Worker:
    def __init__(self, store: SQLiteStore, number: int, seed: str) -> None:
        self.store = store
        self.number = number
        self.dice = random.Random(f"{seed}/{number}")
        self.seed = seed
        self.count = 0

    def key(self) -> str:
        self.count += 1
        return f"{self.seed}/{self.number}/{self.count}"

    async def run(self) -> None:
        account = await self.store.open_account(name=f"user{self.number}@example.org")
        mailbox = await account.open_mailbox(name="INBOX")
        while True:
            step = self.dice.choice(
                [self.deliver] * 3 + [self.append, self.expunge, self.flag, self.copy]
            )
            try:
                await step(mailbox)
            except StoreUnavailable:
                # Another process had the store, and was killed.
                say("unknown", self.number)
                clock: Any = reactor
                await deferLater(clock, 0.01)

    async def deliver(self, mailbox: SQLiteMailbox) -> None:
        key = self.key()
        say("do", self.number, "add", [key], [])
        results = await self.store.deliver(
            message=spooled(self.store, key),
            deliveries=[LocalDelivery(f"user{self.number}@example.org")],
        )
        if results[0].error is not None:
            raise results[0].error
        say("done", self.number)

    async def append(self, mailbox: SQLiteMailbox) -> None:
        keys = [self.key() for _ in range(self.dice.randrange(1, 6))]
        say("do", self.number, "add", keys, ["\\Seen", "Test"])
        flags = frozenset(["\\Seen", "Test"])
        await mailbox.append(
            messages=[AppendMessage(spooled(self.store, key), flags) for key in keys]
        )
        say("done", self.number)

    async def choose(self, mailbox: SQLiteMailbox) -> tuple[list[int], list[int]]:
        """Some messages, as positions and as UIDs."""
        uids = list(await mailbox.list_uids())
        chosen = sorted(self.dice.sample(range(len(uids)), len(uids) // 3))
        return chosen, [uids[position] for position in chosen]

    async def expunge(self, mailbox: SQLiteMailbox) -> None:
        positions, uids = await self.choose(mailbox)
        say("do", self.number, "expunge", positions, [])
        await mailbox.expunge(uids=uids)
        say("done", self.number)

    async def flag(self, mailbox: SQLiteMailbox) -> None:
        positions, uids = await self.choose(mailbox)
        say("do", self.number, "flag", positions, ["\\Flagged"])
        await mailbox.store_flags(uids=uids, op=FlagOp.ADD, flags=frozenset(["\\Flagged"]))
        say("done", self.number)

    async def copy(self, mailbox: SQLiteMailbox) -> None:
        positions, uids = await self.choose(mailbox)
        positions, uids = positions[:3], uids[:3]
        say("do", self.number, "copy", positions, [])
        await mailbox.copy_messages(uids=uids, destination="INBOX")
        say("done", self.number)


def main() -> None:
    directory, seed, *numbers = sys.argv[1:]
    store = SQLiteStore(directory, settings=SETTINGS)

    def failed(failure: Failure) -> None:
        say("failed", failure.getTraceback())
        os._exit(1)

    def start() -> None:
        store.open()
        for number in map(int, numbers or range(WORKERS)):
            Deferred.fromCoroutine(Worker(store, number, seed).run()).addErrback(failed)

    any_reactor: Any = reactor
    any_reactor.callWhenRunning(start)
    any_reactor.run()


if __name__ == "__main__":
    main()
