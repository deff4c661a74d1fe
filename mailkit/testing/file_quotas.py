"""Contract tests of directories that limit the files of accounts."""

from __future__ import annotations

from typing import Any

from mailkit.errors import NoSuchAccount
from mailkit.interfaces import IFileQuotaDirectory
from mailkit.testing.directory_base import ANN, BOB, DirectoryBase


class FileQuotaTests(DirectoryBase):
    """What a directory must do that provides IFileQuotaDirectory."""

    async def open_file_quotas(self) -> Any:
        return self.need(IFileQuotaDirectory, await self.open_directory())

    async def test_file_quotas(self) -> None:
        directory = await self.open_file_quotas()
        self.assertEqual(await directory.get_file_quota(account=ANN), (None, None))
        await directory.set_file_quota(account="Ann@Example.ORG", max_octets=1 << 40, max_files=0)
        self.assertEqual(await directory.get_file_quota(account=ANN), (1 << 40, 0))
        self.assertEqual(await directory.get_file_quota(account=BOB), (None, None))
        await directory.set_file_quota(account=None, max_octets=900, max_files=9)
        self.assertEqual(await directory.get_file_quota(account=ANN), (1 << 40, 0))
        self.assertEqual(await directory.get_file_quota(account=BOB), (900, 9))
        await directory.set_file_quota(account=ANN, max_octets=None, max_files=5)
        self.assertEqual(await directory.get_file_quota(account=ANN), (900, 5))
        await directory.set_file_quota(account=None, max_octets=None, max_files=None)
        self.assertEqual(await directory.get_file_quota(account=ANN), (None, 5))
        self.assertEqual(await directory.get_file_quota(account=BOB), (None, None))

    async def test_file_quotas_of_nobody(self) -> None:
        directory = await self.open_file_quotas()
        with self.assertRaises(NoSuchAccount):
            await directory.get_file_quota(account="eve@example.org")
        with self.assertRaises(NoSuchAccount):
            await directory.set_file_quota(account="eve@example.org", max_octets=1, max_files=1)
