"""SCRAM keys of the store in memory. They count only beside the hash that they were made with."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol

from mailkit.store.memory_logins import AccountPasswords, MemoryLogins
from mailkit.wire.scram import HASHES, FoundKeys, ScramKeys, keys_of_nobody


class PasswordAccount(Protocol):
    """An account, as far as its passwords go."""

    name: str
    password_hash: str | None
    passwords: AccountPasswords


class MemoryScram(MemoryLogins):
    """An :class:`~mailkit.interfaces.IScramDirectory`, but for finding accounts."""

    def __init__(self) -> None:
        self._scram_secret = secrets.token_bytes(32)
        self._scram_policy: Sequence[str] = ()

    @abstractmethod
    def password_accounts(self) -> Mapping[str, PasswordAccount]:
        """All accounts, by their names."""

    @abstractmethod
    def password_account(self, name: str) -> PasswordAccount:
        """The account that an administrator means.

        :raises NoSuchAccount: there is none.
        """

    @abstractmethod
    async def login_address(self, login: str) -> str:
        """The address that a user means, whether there is such an account or not."""

    async def find_scram_keys(self, login: str, mechanism: str) -> FoundKeys:
        address = await self.login_address(login)
        nobodys = keys_of_nobody(mechanism, address, self._scram_secret)
        account = self.password_accounts().get(address)
        keys = None if account is None else _keys(account, mechanism)
        return FoundKeys(None, nobodys) if keys is None else FoundKeys(address, keys)

    async def list_scram_mechanisms(self) -> Sequence[str]:
        accounts = self.password_accounts().values()
        if any(account.passwords.app_passwords for account in accounts):
            return []
        having = [account for account in accounts if account.password_hash is not None]
        return [
            mechanism
            for mechanism in HASHES
            if having and all(_keys(account, mechanism) is not None for account in having)
        ]

    async def set_password(
        self, account: str, password_hash: str | None, scram_keys: Sequence[ScramKeys]
    ) -> None:
        found = self.password_account(account)
        found.password_hash = password_hash
        found.passwords.scram_keys.clear()
        if password_hash is not None:
            await self.add_scram_keys(account, password_hash, scram_keys)

    async def add_scram_keys(
        self, account: str, password_hash: str, scram_keys: Sequence[ScramKeys]
    ) -> None:
        found = self.password_account(account)
        if found.password_hash == password_hash:
            for keys in scram_keys:
                found.passwords.scram_keys[keys.mechanism] = password_hash, keys

    async def get_scram_policy(self) -> Sequence[str]:
        return list(self._scram_policy)

    async def set_scram_policy(self, mechanisms: Sequence[str]) -> None:
        self._scram_policy = tuple(mechanisms)
        for account in self.password_accounts().values():
            for mechanism in HASHES:
                if mechanism not in mechanisms:
                    account.passwords.scram_keys.pop(mechanism, None)

    async def list_without_scram_keys(self, mechanism: str) -> Sequence[str]:
        return sorted(
            name
            for name, account in self.password_accounts().items()
            if account.password_hash is not None and _keys(account, mechanism) is None
        )


def _keys(account: PasswordAccount, mechanism: str) -> ScramKeys | None:
    # Whoever sets a password by other ways need not know of keys: the old ones are not found again.
    if account.passwords.restricted:
        return None
    password_hash, keys = account.passwords.scram_keys.get(mechanism, ("", None))
    return keys if password_hash == account.password_hash else None
