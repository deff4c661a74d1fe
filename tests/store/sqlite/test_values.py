"""Values that the index keeps for a time."""

from __future__ import annotations

from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock

from mailkit.coroutines import run
from mailkit.errors import StoreUnavailable
from mailkit.store.sqlite import SQLiteStore, values
from mailkit.store.sqlite.values import PruneValues

from .helpers import StoreTestCase


class ValueTests(StoreTestCase):
    async def new_store(self) -> SQLiteStore:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        return await self.make_store(clock=self.clock)

    def count(self, store: SQLiteStore) -> int:
        return int(store.connection().execute("SELECT count(*) FROM kept_value").fetchone()[0])

    async def test_values_expire(self) -> None:
        store = await self.new_store()
        await store.set_value(kind="k", key="a", value="1", seconds=10)
        self.clock.advance(9)
        self.assertEqual(await store.get_value(kind="k", key="a"), "1")
        self.clock.advance(1)
        self.assertIsNone(await store.get_value(kind="k", key="a"))
        await store.core.submit(PruneValues(values.MAX_VALUES))
        self.assertEqual(self.count(store), 0)

    async def test_values_outlast_a_restart(self) -> None:
        store = await self.new_store()
        await store.set_value(kind="k", key="a", value="1", seconds=10)
        await self.close_store(store)
        store = self.open_store(clock=self.clock)
        self.assertEqual(await store.get_value(kind="k", key="a"), "1")
        await self.close_store(store)
        self.check()

    async def test_of_too_many_those_that_expire_first_go(self) -> None:
        self.patch(values, "MAX_VALUES", 3)
        self.patch(values, "PRUNE_EVERY", 5)
        store = await self.new_store()
        await store.set_value(kind="other", key="a", value="1", seconds=1)
        for number in range(4):
            await store.set_value(kind="k", key=str(number), value="x", seconds=100 - number)
        await self.wait_until(lambda: self.count(store) == 4)
        kept = [await store.get_value(kind="k", key=str(number)) for number in range(4)]
        self.assertEqual(kept, ["x", "x", "x", None])
        self.assertEqual(await store.get_value(kind="other", key="a"), "1")

    async def test_values_that_wait_are_limited(self) -> None:
        self.patch(values, "MAX_PENDING", 2)
        store = await self.new_store()
        waiting = [
            run(store.set_value(kind="k", key=str(number), value="x", seconds=10))
            for number in range(2)
        ]
        with self.assertRaises(StoreUnavailable):
            await store.set_value(kind="k", key="2", value="x", seconds=10)
        await gatherResults(waiting)
        await store.set_value(kind="k", key="2", value="x", seconds=10)
