"""Names that one of a store's processes has at a time."""

from __future__ import annotations

from functools import partial

from mailkit.store.sqlite import SQLiteStore

from .helpers import ANN, BOB, StoreTestCase


class NameTests(StoreTestCase):
    async def let_in(self) -> SQLiteStore:
        """Another process, which the owner knows."""
        guest = self.open_store()
        await guest.add_account(name=BOB)
        return guest

    async def test_a_name_is_had_by_one_at_a_time(self) -> None:
        owner = await self.make_store(ANN)
        guest = await self.let_in()
        release = owner.try_lock("queue")
        assert release is not None
        self.assertIsNone(owner.try_lock("queue"))
        self.assertIsNone(guest.try_lock("queue"))
        other = guest.try_lock("other")
        assert other is not None
        release()
        release()
        self.assertIsNotNone(guest.try_lock("queue"))
        self.assertIsNone(owner.try_lock("queue"))
        # The end of the one that has it frees it.
        await self.close_store(guest)
        self.assertIsNotNone(owner.try_lock("queue"))
        other()

    async def test_who_has_come_waits_until_the_others_know(self) -> None:
        owner = await self.make_store(ANN)
        self.assertTrue(owner.others_know())
        told: list[str] = []
        owner.when_shared(partial(told.append, "shared"))
        guest = self.open_store()
        self.assertFalse(guest.others_know())
        await self.wait_until(guest.others_know)
        self.assertEqual(told, ["shared"])
        await self.close_store(owner)
        # It takes the owner's place.
        await guest.add_account(name=BOB)
        self.assertTrue(guest.others_know())

    async def test_another_process_is_told_of_once(self) -> None:
        owner = await self.make_store(ANN)
        told: list[str] = []
        for name in ("first", "second", "ended"):
            end = owner.when_shared(partial(told.append, name))
        end()
        self.assertEqual(told, [])
        guest = await self.let_in()
        self.assertEqual(told, ["first", "second"])
        for store in (owner, guest):
            store.when_shared(partial(told.append, "at once"))
        self.assertEqual(told[2:], ["at once"] * 2)
        # Alone again, and until somebody comes.
        await self.close_store(guest)
        await self.wait_until(lambda: not owner.core.is_shared)
        owner.when_shared(partial(told.append, "later"))
        self.assertEqual(len(told), 4)
        again = self.open_store()
        await again.add_account(name="eve@example.org")
        self.assertEqual(told[4:], ["later"])
