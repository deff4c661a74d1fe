"""Contract tests of directories that know second factors."""

from __future__ import annotations

from typing import Any

from mailkit.errors import AuthenticationFailed, NoSuchAccount
from mailkit.identity import SecondFactor
from mailkit.interfaces import IDirectoryAdmin, ISecondFactorDirectory
from mailkit.testing.directory_base import ANN, BOB, HASH, DirectoryBase

EVE = "eve@example.org"
FACTOR = SecondFactor("JBSWY3DPEHPK3PXP", 2, 0, frozenset({"s$one", "s$two"}))


class SecondFactorTests(DirectoryBase):
    """What a directory must do that provides ISecondFactorDirectory."""

    async def open_second_factors(self, factor: SecondFactor | None = FACTOR) -> Any:
        """A directory, and this for Ann."""
        directory: Any = self.need(ISecondFactorDirectory, await self.open_directory())
        await directory.set_second_factor(account="Ann@example.org", factor=factor)
        return directory

    async def restricted(self, directory: Any, account: str) -> bool:
        return bool((await directory.find_login(login=account)).restricted)

    async def test_second_factors(self) -> None:
        directory = await self.open_second_factors(None)
        self.assertIsNone(await directory.get_second_factor(account=ANN))
        self.assertFalse(await self.restricted(directory, ANN))
        await directory.set_second_factor(account=ANN, factor=FACTOR)
        self.assertEqual(await directory.get_second_factor(account="ANN@example.org"), FACTOR)
        self.assertTrue(await self.restricted(directory, ANN))
        self.assertIsNone(await directory.get_second_factor(account=BOB))
        self.assertFalse(await self.restricted(directory, BOB))
        await directory.set_second_factor(account=ANN, factor=None)
        self.assertIsNone(await directory.get_second_factor(account=ANN))
        self.assertFalse(await self.restricted(directory, ANN))
        with self.assertRaises(NoSuchAccount):
            await directory.set_second_factor(account=EVE, factor=FACTOR)
        with self.assertRaises(NoSuchAccount):
            await directory.get_second_factor(account=EVE)

    async def test_a_step_is_used_once(self) -> None:
        directory = await self.open_second_factors()
        await directory.use_step(account=ANN, step=7)
        for step in (7, 6, 0, -1):
            with self.assertRaises(AuthenticationFailed):
                await directory.use_step(account=ANN, step=step)
        await directory.use_step(account=ANN, step=8)
        found = await directory.get_second_factor(account=ANN)
        self.assertEqual(found, FACTOR._replace(last_step=8))
        for account in (BOB, EVE):
            with self.assertRaises(AuthenticationFailed):
                await directory.use_step(account=account, step=9)

    async def test_wrong_codes_count_for_a_time(self) -> None:
        directory = await self.open_second_factors()
        # How far there is to go, each for ten seconds, at most twenty of those before.
        for now, forgotten in (
            (1000, 1010),
            (1000, 1020),
            (1000, 1030),
            (1000, 1030),
            (1025, 1040),
        ):
            await directory.note_wrong_code(account=ANN, now=now, seconds=10, most=20)
            found = await directory.get_second_factor(account=ANN)
            self.assertEqual(found, FACTOR._replace(forgotten=forgotten))
        for account in (BOB, EVE):
            with self.assertRaises(AuthenticationFailed):
                await directory.note_wrong_code(account=account, now=1000, seconds=10, most=20)
        await directory.set_second_factor(account=ANN, factor=FACTOR)
        self.assertEqual(await directory.get_second_factor(account=ANN), FACTOR)

    async def test_a_recovery_code_is_used_once(self) -> None:
        directory = await self.open_second_factors()
        await directory.use_recovery_code(account=ANN, kept="s$one")
        for account, kept in (
            (ANN, "s$one"),
            (ANN, "s$"),
            (ANN, ""),
            (BOB, "s$two"),
            (EVE, "s$two"),
        ):
            with self.assertRaises(AuthenticationFailed):
                await directory.use_recovery_code(account=account, kept=kept)
        found = await directory.get_second_factor(account=ANN)
        self.assertEqual(found, FACTOR._replace(recovery=frozenset({"s$two"})))
        await directory.use_recovery_code(account=ANN, kept="s$two")
        self.assertEqual((await directory.get_second_factor(account=ANN)).recovery, frozenset())

    async def test_second_factors_go_with_their_account(self) -> None:
        directory: Any = self.need(IDirectoryAdmin, await self.open_second_factors())
        await directory.remove_account(name=ANN)
        await directory.add_account(name=ANN, password_hash=HASH)
        self.assertIsNone(await directory.get_second_factor(account=ANN))
