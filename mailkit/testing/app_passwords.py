"""Contract tests of directories that keep app passwords."""

from __future__ import annotations

from typing import Any

from mailkit.errors import AccountExists, LimitExceeded, NoSuchAccount
from mailkit.identity import MAX_APP_PASSWORDS, AppPassword
from mailkit.interfaces import IAppPasswordDirectory, IDirectoryAdmin
from mailkit.testing.directory_base import ANN, BOB, HASH, DirectoryBase

EVE = "eve@example.org"
PHONE = AppPassword("abcd", "salt$digest", frozenset({"imap", "smtp"}), 1000, 2000, "Ann's phone é")
SCANNER = AppPassword("wxyz", "salt$other", frozenset(), 1001)


class AppPasswordTests(DirectoryBase):
    """What a directory must do that provides IAppPasswordDirectory."""

    async def open_app_passwords(self) -> Any:
        return self.need(IAppPasswordDirectory, await self.open_directory())

    async def prefixes(self, directory: Any, account: str) -> list[str]:
        return [found.prefix for found in await directory.list_app_passwords(account=account)]

    async def test_app_passwords(self) -> None:
        directory = await self.open_app_passwords()
        self.assertEqual(list(await directory.list_app_passwords(account=ANN)), [])
        await directory.add_app_password(account="Ann@Example.org", password=SCANNER)
        await directory.add_app_password(account=ANN, password=PHONE)
        self.assertEqual(await directory.find_app_password(account=ANN, prefix="abcd"), PHONE)
        self.assertEqual(await directory.find_app_password(account=ANN, prefix="wxyz"), SCANNER)
        for account, prefix in ((ANN, "none"), (BOB, "abcd"), (EVE, "abcd"), ("?", "abcd")):
            found = await directory.find_app_password(account=account, prefix=prefix)
            self.assertIsNone(found)
        self.assertEqual(await self.prefixes(directory, ANN), ["abcd", "wxyz"])
        self.assertEqual(await self.prefixes(directory, BOB), [])
        with self.assertRaises(NoSuchAccount):
            await directory.list_app_passwords(account=EVE)

    async def test_app_passwords_that_cannot_be(self) -> None:
        directory = await self.open_app_passwords()
        await directory.add_app_password(account=ANN, password=PHONE)
        with self.assertRaises(AccountExists):
            await directory.add_app_password(account=ANN, password=PHONE)
        with self.assertRaises(NoSuchAccount):
            await directory.add_app_password(account=EVE, password=PHONE)
        for number in range(MAX_APP_PASSWORDS - 1):
            password = PHONE._replace(prefix=f"{number:04}")
            await directory.add_app_password(account=ANN, password=password)
        with self.assertRaises(LimitExceeded):
            await directory.add_app_password(account=ANN, password=SCANNER)
        await directory.add_app_password(account=BOB, password=SCANNER)

    async def test_removal_of_an_app_password(self) -> None:
        directory = await self.open_app_passwords()
        await directory.add_app_password(account=ANN, password=PHONE)
        await directory.add_app_password(account=ANN, password=SCANNER)
        await directory.remove_app_password(account="ANN@example.org", prefix="abcd")
        self.assertIsNone(await directory.find_app_password(account=ANN, prefix="abcd"))
        self.assertEqual(await self.prefixes(directory, ANN), ["wxyz"])
        for account in (ANN, BOB, EVE):
            with self.assertRaises(NoSuchAccount):
                await directory.remove_app_password(account=account, prefix="abcd")

    async def test_app_passwords_go_with_their_account(self) -> None:
        directory: Any = self.need(IDirectoryAdmin, await self.open_app_passwords())
        await directory.add_app_password(account=ANN, password=PHONE)
        await directory.set_password_scopes(account=ANN, scopes=[])
        await directory.remove_account(name=ANN)
        await directory.add_account(name=ANN, password_hash=HASH)
        self.assertIsNone(await directory.find_app_password(account=ANN, prefix="abcd"))
        self.assertIsNone(await directory.get_password_scopes(account=ANN))

    async def test_use_of_an_app_password_is_noted(self) -> None:
        directory = await self.open_app_passwords()
        await directory.add_app_password(account=ANN, password=PHONE)
        use: dict[str, Any] = {"used": 1500, "address": "192.0.2.1", "protocol": "imap"}
        await directory.note_app_password_use(account=ANN, prefix="abcd", **use)
        for account, prefix in ((ANN, "wxyz"), (BOB, "abcd"), (EVE, "abcd")):
            await directory.note_app_password_use(account=account, prefix=prefix, **use)
        found = await directory.find_app_password(account=ANN, prefix="abcd")
        noted = PHONE._replace(used=1500, used_from="192.0.2.1", used_by="imap")
        self.assertEqual(found, noted)
        self.assertEqual(await self.prefixes(directory, ANN), ["abcd"])

    async def test_what_the_own_password_is_for(self) -> None:
        directory = await self.open_app_passwords()
        self.assertFalse((await directory.find_login(login=ANN)).restricted)
        self.assertIsNone(await directory.get_password_scopes(account=ANN))
        for scopes in (["web", "imap"], []):
            await directory.set_password_scopes(account="Ann@example.org", scopes=scopes)
            found = await directory.get_password_scopes(account="Ann@example.org")
            self.assertEqual(set(found), set(scopes))
            self.assertTrue((await directory.find_login(login=ANN)).restricted)
        self.assertFalse((await directory.find_login(login=BOB)).restricted)
        await directory.set_password_scopes(account=ANN, scopes=None)
        self.assertFalse((await directory.find_login(login=ANN)).restricted)
        with self.assertRaises(NoSuchAccount):
            await directory.set_password_scopes(account=EVE, scopes=None)
        with self.assertRaises(NoSuchAccount):
            await directory.get_password_scopes(account=EVE)
