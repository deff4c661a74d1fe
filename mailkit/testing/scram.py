"""Contract tests of directories that keep SCRAM keys."""

from __future__ import annotations

from typing import Any

from mailkit.errors import NoSuchAccount
from mailkit.identity import AppPassword
from mailkit.interfaces import IAppPasswordDirectory, IDirectoryAdmin, IScramDirectory
from mailkit.testing.directory_base import ANN, BOB, HASH, DirectoryBase
from mailkit.wire.scram import SALT_LENGTH, ScramKeys, derive_keys

NAME, OTHER = "SCRAM-SHA-256", "SCRAM-SHA-1"
#: With few iterations, as nobody verifies them.
KEYS = derive_keys(NAME, "secret", salt=b"salt" * 4, iterations=1)
MORE = derive_keys(OTHER, "secret", salt=b"salt" * 4, iterations=1)


class ScramTests(DirectoryBase):
    """What a directory must do that provides IScramDirectory."""

    async def open_scram(self) -> Any:
        return self.need(IScramDirectory, await self.open_directory())

    async def found(self, directory: Any, login: str) -> ScramKeys | None:
        """The keys of a user who has some."""
        found = await directory.find_scram_keys(login=login, mechanism=NAME)
        if found.account is None:
            self.assertEqual(found.keys.mechanism, NAME)
            self.assertEqual(len(found.keys.salt), SALT_LENGTH)
            return None
        self.assertEqual(found.account, ANN)
        keys: ScramKeys = found.keys
        return keys

    async def test_scram_keys_are_set_with_the_password(self) -> None:
        directory = await self.open_scram()
        self.assertIsNone(await self.found(directory, ANN))
        await directory.set_password(account=ANN, password_hash="hash", scram_keys=[KEYS, MORE])
        self.assertEqual(await directory.get_password_hash(account=ANN), "hash")
        for login in (ANN, "Ann@Example.ORG", "ann"):
            self.assertEqual(await self.found(directory, login), KEYS, login)
        found = await directory.find_scram_keys(login=ANN, mechanism=OTHER)
        self.assertEqual(found.keys, MORE)
        with self.assertRaises(NoSuchAccount):
            await directory.set_password(
                account="eve@example.org", password_hash=None, scram_keys=[]
            )

    async def test_another_password_has_other_scram_keys(self) -> None:
        directory = await self.open_scram()
        for change in ("hash", None):
            await directory.set_password(account=ANN, password_hash="first", scram_keys=[KEYS])
            await directory.set_password(account=ANN, password_hash=change, scram_keys=[])
            self.assertIsNone(await self.found(directory, ANN))
        self.need(IDirectoryAdmin, directory)
        await directory.set_password(account=ANN, password_hash="first", scram_keys=[KEYS])
        await directory.set_password_hash(account=ANN, password_hash="second")
        self.assertIsNone(await self.found(directory, ANN))
        # Nor when the old password comes back.
        await directory.set_password_hash(account=ANN, password_hash="first")
        self.assertIsNone(await self.found(directory, ANN))

    async def test_scram_keys_of_a_password_that_is_there(self) -> None:
        directory = await self.open_scram()
        await directory.add_scram_keys(account=ANN, password_hash="other", scram_keys=[KEYS])
        self.assertIsNone(await self.found(directory, ANN))
        await directory.add_scram_keys(account=ANN, password_hash=HASH, scram_keys=[KEYS])
        self.assertEqual(await self.found(directory, ANN), KEYS)
        with self.assertRaises(NoSuchAccount):
            await directory.add_scram_keys(
                account="eve@example.org", password_hash=HASH, scram_keys=[KEYS]
            )

    async def test_scram_keys_of_nobody_are_always_the_same(self) -> None:
        directory = await self.open_scram()
        await directory.set_password(account=ANN, password_hash="hash", scram_keys=[KEYS])
        seen = set()
        for logins in (
            ("eve@example.org", "EVE@Example.org", "eve"),
            (BOB, "bob"),
            ("a@b.example",),
        ):
            keys = {
                (await directory.find_scram_keys(login=login, mechanism=NAME)).keys
                for login in logins
            }
            self.assertEqual(len(keys), 1)
            seen |= keys
        self.assertEqual(len(seen), 3)
        other = await directory.find_scram_keys(login="eve", mechanism=OTHER)
        self.assertNotIn(other.keys.salt, {keys.salt for keys in seen})
        odd = await directory.find_scram_keys(login="\0?", mechanism=NAME)
        self.assertIsNone(odd.account)

    async def test_scram_mechanisms_are_those_of_all(self) -> None:
        directory = await self.open_scram()
        self.assertEqual(list(await directory.list_scram_mechanisms()), [])
        await directory.set_password(account=ANN, password_hash="hash", scram_keys=[MORE, KEYS])
        # Bob has no password.
        self.assertEqual(list(await directory.list_scram_mechanisms()), [NAME, OTHER])
        await directory.set_password(account=BOB, password_hash="hash", scram_keys=[MORE])
        self.assertEqual(list(await directory.list_scram_mechanisms()), [OTHER])
        self.assertEqual(list(await directory.list_without_scram_keys(mechanism=NAME)), [BOB])
        self.assertEqual(list(await directory.list_without_scram_keys(mechanism=OTHER)), [])
        await directory.set_password(account=BOB, password_hash="hash", scram_keys=[])
        self.assertEqual(list(await directory.list_scram_mechanisms()), [])

    async def test_no_scram_beside_other_passwords(self) -> None:
        directory = await self.open_scram()
        self.need(IAppPasswordDirectory, directory)
        await directory.set_password(account=ANN, password_hash="hash", scram_keys=[KEYS])
        password = AppPassword("abcd", "salt$digest", frozenset({"imap"}), 1)
        await directory.add_app_password(account=BOB, password=password)
        self.assertEqual(list(await directory.list_scram_mechanisms()), [])
        await directory.remove_app_password(account=BOB, prefix="abcd")
        self.assertEqual(list(await directory.list_scram_mechanisms()), [NAME])
        # Of a password that is not taken everywhere, or not alone, keys are no proof.
        await directory.set_password_scopes(account=ANN, scopes=["web"])
        self.assertEqual(list(await directory.list_scram_mechanisms()), [])
        self.assertIsNone(await self.found(directory, ANN))
        await directory.set_password_scopes(account=ANN, scopes=None)
        self.assertEqual(await self.found(directory, ANN), KEYS)

    async def test_scram_policy(self) -> None:
        directory = await self.open_scram()
        self.assertEqual(list(await directory.get_scram_policy()), [])
        await directory.set_scram_policy(mechanisms=[NAME, OTHER])
        self.assertEqual(list(await directory.get_scram_policy()), [NAME, OTHER])
        await directory.set_password(account=ANN, password_hash="hash", scram_keys=[KEYS, MORE])
        await directory.set_scram_policy(mechanisms=[OTHER])
        self.assertIsNone(await self.found(directory, ANN))
        self.assertEqual(list(await directory.list_scram_mechanisms()), [OTHER])
        await directory.set_scram_policy(mechanisms=[])
        self.assertEqual(list(await directory.list_scram_mechanisms()), [])

    async def test_scram_keys_go_with_their_account(self) -> None:
        directory = await self.open_scram()
        self.need(IDirectoryAdmin, directory)
        await directory.set_password(account=ANN, password_hash="hash", scram_keys=[KEYS])
        await directory.remove_account(name=ANN)
        self.assertIsNone(await self.found(directory, ANN))
        await directory.add_account(name=ANN, password_hash="hash")
        self.assertIsNone(await self.found(directory, ANN))
