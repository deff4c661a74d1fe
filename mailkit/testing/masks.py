"""Contract tests of directories that keep capabilities from clients."""

from __future__ import annotations

from typing import Any

from mailkit.errors import LimitExceeded, NoSuchAccount
from mailkit.interfaces import ICapabilityMask, IMailStore, IMaskDirectory
from mailkit.testing.directory_base import ANN, BOB, DirectoryBase


class MaskTests(DirectoryBase):
    """What a directory must do that provides IMaskDirectory."""

    async def test_capabilities_that_are_left_out(self) -> None:
        directory: Any = self.need(IMaskDirectory, await self.open_directory())
        self.assertEqual(list(await directory.get_imap_without(account=ANN)), [])
        await directory.set_imap_without(account="Ann@example.org", names=["move", "IDLE"])
        self.assertEqual(list(await directory.get_imap_without(account=ANN)), ["IDLE", "MOVE"])
        self.assertEqual(list(await directory.get_imap_without(account=BOB)), [])
        for names in (["X" * 1000], ["A B"], [""], [f"X{n}" for n in range(10_000)]):
            with self.assertRaises(LimitExceeded):
                await directory.set_imap_without(account=ANN, names=names)
        with self.assertRaises(NoSuchAccount):
            await directory.get_imap_without(account="eve@example.org")

    async def test_accounts_know_what_is_left_out(self) -> None:
        directory: Any = self.need(IMaskDirectory, await self.open_directory())
        store: Any = self.need(IMailStore, directory)
        await directory.set_imap_without(account=ANN, names=["move", "IDLE"])
        account = await store.open_account(name=ANN)
        self.assertTrue(ICapabilityMask.providedBy(account))
        self.assertEqual(set(account.imap_without), {"IDLE", "MOVE"})
        await directory.set_imap_without(account=ANN, names=())
        self.assertEqual(set((await store.open_account(name=ANN)).imap_without), set())
