"""What the tests of the embedded store share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mailkit.model import INBOX, AppendMessage, LocalDelivery
from mailkit.spool import Spool
from mailkit.store.sqlite import SQLiteStore, StoreSettings
from mailkit.store.sqlite.ahead import Ahead
from mailkit.store.sqlite.check import check_store
from mailkit.store.sqlite.mailbox import SQLiteMailbox
from tests.support import until

ANN = "ann@example.org"
BOB = "bob@example.org"
#: Nothing happens by itself.
QUIET = StoreSettings(maintenance_interval=3600.0, ahead_delay=3600.0)


def message(number: int, size: int = 0) -> bytes:
    """A message that differs for each number."""
    head = b"Subject: %d\r\nMessage-ID: <%d@example.org>\r\n\r\n" % (number, number)
    line = b"line of message %d\r\n" % number
    return head + line * max(1, (size - len(head)) // len(line))


def appended(*contents: bytes, flags: Sequence[str] = ()) -> list[AppendMessage]:
    return [AppendMessage(Spool.from_bytes(content), frozenset(flags)) for content in contents]


class StoreTestCase(TestCase):
    """Makes stores and closes them."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        self.open_stores: list[SQLiteStore] = []
        make = Ahead._loop

        def make_nothing_in_quiet_stores(ahead: Ahead) -> None:
            # Neither of what is there at the start, nor because somebody lacks something.
            if ahead._core.settings.ahead_delay != QUIET.ahead_delay:
                make(ahead)

        self.patch(Ahead, "_loop", make_nothing_in_quiet_stores)

    async def tearDown(self) -> None:
        for store in self.open_stores:
            await store.close()

    def open_store(self, settings: StoreSettings = QUIET, **options: Any) -> SQLiteStore:
        store = SQLiteStore(self.directory, settings=settings, **options)
        store.open()
        self.open_stores.append(store)
        return store

    async def close_store(self, store: SQLiteStore) -> None:
        self.open_stores.remove(store)
        await store.close()

    async def make_store(
        self, *accounts: str, settings: StoreSettings = QUIET, **options: Any
    ) -> SQLiteStore:
        """A new store with accounts."""
        store = self.open_store(settings, **options)
        for account in accounts or (ANN,):
            await store.add_account(name=account)
        return store

    async def mailbox(
        self, store: SQLiteStore, account: str = ANN, name: str = INBOX
    ) -> SQLiteMailbox:
        return await (await store.open_account(name=account)).open_mailbox(name=name)

    async def deliver(
        self, store: SQLiteStore, content: bytes, *accounts: str, spool: Spool | None = None
    ) -> list[int]:
        """Deliver to INBOX of accounts; gives the UIDs."""
        if spool is None:
            spool = store.new_spool()
        spool.write(content)
        results = await store.deliver(
            message=spool, deliveries=[LocalDelivery(name) for name in accounts or (ANN,)]
        )
        spool.close()
        for result in results:
            if result.error is not None:
                raise result.error
        return [result.uid for result in results]

    async def contents(
        self, store: SQLiteStore, account: str = ANN, name: str = INBOX
    ) -> list[bytes]:
        """Octets of all messages of a mailbox."""
        mailbox = await self.mailbox(store, account, name)
        return [await self.read(mailbox, uid) for uid in await mailbox.list_uids()]

    async def read(self, mailbox: SQLiteMailbox, uid: int) -> bytes:
        with await mailbox.open_message(uid=uid) as file:
            return file.read()

    def check(self) -> None:
        """The store is whole."""
        report = check_store(self.directory)
        self.assertEqual(report.problems, [])

    def log_files(self, suffix: str = ".seg") -> list[str]:
        names = os.listdir(os.path.join(self.directory, "log"))
        return sorted(name for name in names if name.endswith(suffix))

    async def turn(self, delay: float = 0.0) -> None:
        """Let the reactor work."""
        deferred: Deferred[None] = Deferred()
        reactor.callLater(delay, deferred.callback, None)
        await deferred

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        await until(condition)
