"""Messages that were spooled to files come back to memory a few at a time."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase

from mailkit.model import INBOX, AppendMessage, LocalDelivery
from mailkit.store.sqlite import StoreSettings
from mailkit.store.sqlite.loading import Loading
from tests.store.sqlite.helpers import ANN, StoreTestCase, message


def start(coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    return Deferred.fromCoroutine(coroutine)


class LoadingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.loading = Loading(100)
        self.inside: list[int] = []
        self.gates: dict[int, Deferred[None]] = {}

    def enter(self, octets: int) -> Deferred[Any]:
        return start(self.pass_through(octets))

    async def pass_through(self, octets: int) -> None:
        async with self.loading.room(octets):
            self.inside.append(octets)
            self.gates[octets] = Deferred()
            await self.gates[octets]

    def leave(self, octets: int) -> None:
        self.inside.remove(octets)
        self.gates.pop(octets).callback(None)

    def test_others_wait_their_turn(self) -> None:
        for octets in (60, 40, 50, 30, 0):
            self.enter(octets)
        # Nobody overtakes: not even the one that needs nothing.
        self.assertEqual(self.inside, [60, 40])
        self.leave(40)
        self.assertEqual(self.inside, [60])
        self.leave(60)
        self.assertEqual(self.inside, [50, 30, 0])

    def test_a_large_one_passes_alone(self) -> None:
        self.enter(10)
        self.enter(500)
        self.assertEqual(self.inside, [10])
        self.leave(10)
        self.assertEqual(self.inside, [500])
        self.enter(20)
        self.leave(500)
        self.assertEqual(self.inside, [20])

    def test_who_is_cancelled_takes_no_room(self) -> None:
        self.enter(90)
        waiting = self.enter(80)
        self.enter(70)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.leave(90)
        self.assertEqual(self.inside, [70])
        self.leave(70)
        self.enter(100)
        self.assertEqual(self.inside, [100])


class StoreLoadingTests(StoreTestCase):
    settings = StoreSettings(
        maintenance_interval=3600.0, spool_memory=1000, shared_spool_memory=20_000
    )

    async def test_many_deliveries_at_once(self) -> None:
        store = await self.make_store(ANN, settings=self.settings)
        spools = [store.new_spool() for _ in range(30)]
        for number, spool in enumerate(spools):
            spool.write(message(number, 9000))
            self.assertIsNotNone(spool.path)
        found = await gatherResults(
            [start(store.deliver(message=s, deliveries=[LocalDelivery(ANN)])) for s in spools]
        )
        self.assertEqual([result[0].error for result in found], [None] * 30)
        account = await store.open_account(name=ANN)
        mailbox = await account.open_mailbox(name=INBOX)
        self.assertEqual(len(await mailbox.list_uids()), 30)
        self.assertEqual(os.listdir(store.core.spool_directory), [])

    async def test_an_append_that_is_cancelled_leaves_no_files(self) -> None:
        store = await self.make_store(ANN, settings=self.settings)
        account = await store.open_account(name=ANN)
        mailbox = await account.open_mailbox(name=INBOX)
        spool = store.new_spool()
        spool.write(message(1, 9000))
        async with store.core.loading.room(20_000):
            appending = start(mailbox.append(messages=[AppendMessage(spool)]))
            self.assertEqual(len(os.listdir(store.core.spool_directory)), 1)
            appending.cancel()
            self.failureResultOf(appending, CancelledError)
        self.assertEqual(os.listdir(store.core.spool_directory), [])
