"""What accounts of the store in memory log in with, besides their own passwords."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from mailkit.errors import AccountExists, AuthenticationFailed, LimitExceeded, NoSuchAccount
from mailkit.identity import MAX_APP_PASSWORDS, AppPassword, SecondFactor
from mailkit.wire.scram import ScramKeys


class AccountPasswords:
    """What an account has besides the hash of its own password."""

    def __init__(self) -> None:
        self.app_passwords: dict[str, AppPassword] = {}
        #: None for everything.
        self.password_scopes: frozenset[str] | None = None
        self.second_factor: SecondFactor | None = None
        #: By mechanism; each with the password hash that it belongs to.
        self.scram_keys: dict[str, tuple[str, ScramKeys]] = {}

    @property
    def restricted(self) -> bool:
        """The account's own password is not taken everywhere, or not alone."""
        return self.password_scopes is not None or self.second_factor is not None


class MemoryLogins(ABC):
    """Provides :class:`~mailkit.interfaces.IAppPasswordDirectory` and
    :class:`~mailkit.interfaces.ISecondFactorDirectory`, but for finding accounts."""

    @abstractmethod
    def find_passwords(self, account: str) -> AccountPasswords | None:
        """Those of the account of exactly that name; None where there is none."""

    @abstractmethod
    def passwords_of(self, account: str) -> AccountPasswords:
        """Those of the account that an administrator means.

        :raises NoSuchAccount: there is none.
        """

    async def find_app_password(self, account: str, prefix: str) -> AppPassword | None:
        found = self.find_passwords(account)
        return None if found is None else found.app_passwords.get(prefix)

    async def note_app_password_use(
        self, account: str, prefix: str, used: int, address: str, protocol: str
    ) -> None:
        found = self.find_passwords(account)
        if found is not None and (password := found.app_passwords.get(prefix)) is not None:
            found.app_passwords[prefix] = password._replace(
                used=used, used_from=address, used_by=protocol
            )

    async def list_app_passwords(self, account: str) -> Sequence[AppPassword]:
        return sorted(self.passwords_of(account).app_passwords.values())

    async def add_app_password(self, account: str, password: AppPassword) -> None:
        known = self.passwords_of(account).app_passwords
        if len(known) >= MAX_APP_PASSWORDS:
            raise LimitExceeded(f"An account has at most {MAX_APP_PASSWORDS} app passwords")
        if password.prefix in known:
            raise AccountExists("There is an app password of that prefix already")
        known[password.prefix] = password

    async def remove_app_password(self, account: str, prefix: str) -> None:
        if self.passwords_of(account).app_passwords.pop(prefix, None) is None:
            raise NoSuchAccount("No such app password")

    async def get_password_scopes(self, account: str) -> frozenset[str] | None:
        return self.passwords_of(account).password_scopes

    async def set_password_scopes(self, account: str, scopes: Collection[str] | None) -> None:
        self.passwords_of(account).password_scopes = None if scopes is None else frozenset(scopes)

    async def get_second_factor(self, account: str) -> SecondFactor | None:
        return self.passwords_of(account).second_factor

    async def set_second_factor(self, account: str, factor: SecondFactor | None) -> None:
        self.passwords_of(account).second_factor = factor

    async def use_step(self, account: str, step: int) -> None:
        found = self.find_passwords(account)
        factor = None if found is None else found.second_factor
        if found is None or factor is None or step <= factor.last_step:
            raise AuthenticationFailed
        found.second_factor = factor._replace(last_step=step)

    async def note_wrong_code(self, account: str, now: int, seconds: int, most: int) -> None:
        found = self.find_passwords(account)
        factor = None if found is None else found.second_factor
        if found is None or factor is None:
            raise AuthenticationFailed
        counts = min(max(factor.forgotten, now), now + most)
        found.second_factor = factor._replace(forgotten=counts + seconds)

    async def use_recovery_code(self, account: str, kept: str) -> None:
        found = self.find_passwords(account)
        factor = None if found is None else found.second_factor
        if found is None or factor is None or kept not in factor.recovery:
            raise AuthenticationFailed
        found.second_factor = factor._replace(recovery=factor.recovery - {kept})
