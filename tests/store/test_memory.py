"""The store in memory: the contracts, and its own limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.trial.unittest import TestCase

from mailkit.store.memory import MemoryStore
from mailkit.testing import DirectoryContract, StoreContract, fill_directory


class MemoryStoreContractTests(StoreContract, TestCase):
    async def make_store(self, accounts: Sequence[str]) -> MemoryStore:
        store = MemoryStore()
        for account in accounts:
            await store.add_account(name=account)
        return store


class MemoryDirectoryContractTests(DirectoryContract, TestCase):
    async def make_directory(
        self, accounts: Mapping[str, str | None], aliases: Mapping[str, Sequence[str]]
    ) -> MemoryStore:
        store = MemoryStore()
        await fill_directory(store, accounts, aliases)
        return store
