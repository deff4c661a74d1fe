"""Files of accounts that are still there: whose account is removed has lost them, though still connected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from zope.interface import alsoProvides, implementer, providedBy

from mailkit.errors import NoSuchAccount
from mailkit.files import FileEntry, FilePath, FileUsage
from mailkit.interfaces import IAccountHistory, IDirectory, IFileHome, IMountedHome


async def open_resident_home(directory: IDirectory, account: str, home: IFileHome) -> ResidentHome:
    """The home of an account that somebody has just logged in to.

    :param account: its canonical name, whatever the home calls it.
    :raises NoSuchAccount: it has been removed meanwhile.
    """
    created = await _find(directory, account)
    if created is None:
        raise NoSuchAccount
    return ResidentHome(directory, account, home, created)


async def _find(directory: Any, account: str) -> object:
    """Something that stays the same as long as it is the same account; None when there is none."""
    if IAccountHistory.providedBy(directory):
        return await directory.get_creation_time(account=account)
    return await directory.find_account(login=account)


@implementer(IFileHome)
class ResidentHome:
    """A home that asks before each step whether its account is still there, and is the same one.

    :param created: what :func:`_find` has found at the login.
    """

    def __init__(
        self, directory: IDirectory, account: str, inner: IFileHome, created: object
    ) -> None:
        self.name = inner.name
        self._directory = directory
        self._account = account
        self._inner: Any = inner
        self._created = created
        alsoProvides(self, *providedBy(inner))

    @property
    def base(self) -> ResidentHome:
        """See :class:`~mailkit.interfaces.IMountedHome`, where this is one."""
        inner = self._inner.base if IMountedHome.providedBy(self._inner) else self._inner
        return ResidentHome(self._directory, self._account, inner, self._created)

    async def _ask(self) -> Any:
        if await _find(self._directory, self._account) != self._created:
            raise NoSuchAccount
        return self._inner

    async def get_entry(self, path: FilePath) -> FileEntry:
        entry: FileEntry = await (await self._ask()).get_entry(path=path)
        return entry

    async def list_entries(self, path: FilePath) -> AsyncIterator[Sequence[FileEntry]]:
        async for entries in (await self._ask()).list_entries(path=path):
            yield entries

    async def open_to_read(self, path: FilePath) -> Any:
        return await (await self._ask()).open_to_read(path=path)

    async def open_to_write(self, path: FilePath, offset: int | None) -> Any:
        return await (await self._ask()).open_to_write(path=path, offset=offset)

    async def make_directory(self, path: FilePath) -> None:
        await (await self._ask()).make_directory(path=path)

    async def remove_directory(self, path: FilePath) -> None:
        await (await self._ask()).remove_directory(path=path)

    async def remove_file(self, path: FilePath) -> None:
        await (await self._ask()).remove_file(path=path)

    async def rename(self, old: FilePath, new: FilePath) -> None:
        await (await self._ask()).rename(old=old, new=new)

    async def set_modified(self, path: FilePath, seconds: float) -> None:
        await (await self._ask()).set_modified(path=path, seconds=seconds)

    async def get_usage(self) -> FileUsage:
        usage: FileUsage = await (await self._ask()).get_usage()
        return usage
