"""Names that one of a store's processes has at a time."""

from __future__ import annotations

from mailkit.store.sqlite import SQLiteStore
from mailkit.store.sqlite.names import is_locked

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

    async def test_a_guest_learns_what_names_the_owner_had_before(self) -> None:
        owner = await self.make_store(ANN)
        early, late = (owner.try_lock(name, eager=False) for name in ("early", "late"))
        assert early is not None and late is not None
        self.assertIsNone(owner.try_lock("early", eager=False))
        self.assertFalse(is_locked(self.directory, "early"))
        early()
        self.assertIsNotNone(owner.try_lock("early", eager=False))
        guest = await self.let_in()
        self.assertIsNone(guest.try_lock("early", eager=False))
        # From now on each is told to the kernel at once.
        between = owner.try_lock("between", eager=False)
        assert between is not None
        self.assertIsNone(guest.try_lock("between", eager=False))
        for release in (late, between):
            release()
        for name in ("late", "between"):
            self.assertIsNotNone(guest.try_lock(name, eager=False), name)
            self.assertIsNone(owner.try_lock(name, eager=False), name)
