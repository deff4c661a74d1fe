"""The store in memory: the contracts, and its own limits."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import TestCase

from mailkit.store.memory import MemoryStore
from mailkit.testing import StoreContract


class MemoryStoreContractTests(StoreContract, TestCase):
    async def make_store(self, accounts: Sequence[str]) -> MemoryStore:
        store = MemoryStore()
        for account in accounts:
            await store.add_account(name=account)
        return store
