"""The embedded store keeps the contracts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.trial.unittest import TestCase

from mailkit._typing import override
from mailkit.interfaces import IMailStore, IQueueingStore
from mailkit.store.sqlite import SQLiteDirectory, SQLiteStore
from mailkit.testing import (
    DirectoryContract,
    QueueContract,
    SharingContract,
    StoreContract,
    fill_directory,
)


def reopened(store: object) -> SQLiteStore:
    assert isinstance(store, SQLiteStore)
    return SQLiteStore(store.directory)


class SQLiteStoreContractTests(StoreContract, TestCase):
    @override
    async def make_store(self, accounts: Sequence[str]) -> SQLiteStore:
        store = SQLiteStore(self.mktemp())
        self.addCleanup(store.close)
        for account in accounts:
            await store.add_account(name=account)
        return store

    @override
    async def reopen_store(self, store: IMailStore) -> SQLiteStore:
        return reopened(store)


class SQLiteSharingContractTests(SharingContract, TestCase):
    @override
    async def make_store(self, accounts: Sequence[str]) -> SQLiteStore:
        store = SQLiteStore(self.mktemp())
        for account in accounts:
            await store.add_account(name=account)
        return store


class SQLiteQueueContractTests(QueueContract, TestCase):
    @override
    async def make_queueing_store(self, accounts: Sequence[str]) -> SQLiteStore:
        store = SQLiteStore(self.mktemp())
        self.addCleanup(store.close)
        for account in accounts:
            await store.add_account(name=account)
        return store

    @override
    async def reopen_queueing_store(self, store: IQueueingStore) -> SQLiteStore:
        return reopened(store)


class SQLiteStoreDirectoryContractTests(DirectoryContract, TestCase):
    @override
    async def make_directory(
        self, accounts: Mapping[str, str | None], aliases: Mapping[str, Sequence[str]]
    ) -> SQLiteStore:
        store = SQLiteStore(self.mktemp())
        self.addCleanup(store.close)
        await fill_directory(store, accounts, aliases)
        return store


class SQLiteDirectoryContractTests(DirectoryContract, TestCase):
    @override
    async def make_directory(
        self, accounts: Mapping[str, str | None], aliases: Mapping[str, Sequence[str]]
    ) -> SQLiteDirectory:
        directory = SQLiteDirectory(self.mktemp())
        self.addCleanup(directory.close)
        await fill_directory(directory, accounts, aliases)
        return directory
