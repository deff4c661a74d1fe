"""What the contract tests of directories share."""

from __future__ import annotations

import unittest
from collections.abc import Mapping, Sequence
from typing import cast

from mailkit.interfaces import (
    IAdministratorDirectory,
    IAppPasswordDirectory,
    IDelegateAdmin,
    IDirectory,
    IDirectoryAdmin,
    ILoginDirectory,
    IMaskDirectory,
    IQuotaDirectory,
    IRecallingDirectory,
    IScramDirectory,
    ISecondFactorDirectory,
)
from mailkit.model import Path, Resolution
from mailkit.testing.base import Contract

ANN, BOB = "ann@example.org", "bob@example.org"
#: Looks like what argon2 makes; nobody verifies it.
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"
ACCOUNTS: Mapping[str, str | None] = {ANN: HASH, BOB: None}


class AdminDirectory(IDirectory, IDirectoryAdmin):
    """Both interfaces, for annotations."""


class DirectoryBase(Contract):
    """What the tests of directories share.

    :cvar has_aliases: aliases are optional: False for a directory that knows accounts alone, for
        which the tests that need them are skipped.
    """

    has_aliases = True

    async def make_directory(
        self, accounts: Mapping[str, str | None], aliases: Mapping[str, Sequence[str]]
    ) -> IDirectory:
        """The hook: a new directory with just these accounts, the first one made first.

        :param accounts: password hashes, or None, by full address; their domains are served.
        :param aliases: targets by full address or ``@domain``; empty without :attr:`has_aliases`.
        """
        raise NotImplementedError

    async def open_directory(
        self,
        accounts: Mapping[str, str | None] = ACCOUNTS,
        aliases: Mapping[str, Sequence[str]] | None = None,
    ) -> IDirectory:
        """A directory, checked.

        :raises SkipTest: it is to have aliases, and cannot.
        """
        if aliases and not self.has_aliases:
            raise unittest.SkipTest("the directory has no aliases")
        directory = await self.make_directory(accounts=accounts, aliases=aliases or {})
        self.check_provides(
            directory,
            [IDirectory],
            [
                IDirectoryAdmin,
                ILoginDirectory,
                IQuotaDirectory,
                IRecallingDirectory,
                IAdministratorDirectory,
                IAppPasswordDirectory,
                IScramDirectory,
                ISecondFactorDirectory,
                IMaskDirectory,
                IDelegateAdmin,
            ],
        )
        return directory

    async def open_admin(self) -> AdminDirectory:
        """A directory that can be changed."""
        directory = await self.open_directory()
        return cast(AdminDirectory, self.need(IDirectoryAdmin, directory))

    async def resolve(self, directory: IDirectory, address: str) -> Resolution:
        """Who gets mail for that address."""
        local, at, domain = address.rpartition("@")
        path = Path(local, domain) if at else Path(address, "")
        return await directory.resolve(path=path)

    async def accounts(self, directory: IDirectory, address: str) -> list[str]:
        """The accounts that get mail for that address."""
        return sorted((await self.resolve(directory, address)).accounts)
