"""Homes that are joined: directories of one lead into others."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

from zope.interface import alsoProvides, implementer

from mailkit.errors import PermissionDenied
from mailkit.files import FileEntry, FilePath, FileUsage
from mailkit.interfaces import ICountedHome, IFileHome, IFileHomes, IMountedHome, ITimedHome


@implementer(IFileHomes)
class MountedHomes:
    """Gives accounts the homes of one kind, with directories in which others begin.

    :param base: the homes.
    :param mounts: others, by the name of the directory. What a home itself has under such a name
        cannot be seen.
    """

    def __init__(self, base: IFileHomes, mounts: Mapping[str, IFileHomes]) -> None:
        self._base = base
        self.mounts = dict(mounts)

    async def open_home(self, account: str) -> MountedHome:
        base = await self._base.open_home(account=account)
        mounts = {
            name: await homes.open_home(account=account) for name, homes in self.mounts.items()
        }
        return MountedHome(base, mounts)


@implementer(IMountedHome, ITimedHome)
class MountedHome:
    """A home in which others begin."""

    def __init__(self, base: IFileHome, mounts: Mapping[str, IFileHome]) -> None:
        self.name = base.name
        self.base = base
        self._mounts = dict(mounts)
        if ICountedHome.providedBy(base):
            alsoProvides(self, ICountedHome)

    async def get_usage(self) -> FileUsage:
        """What there is, and may be, if somebody counts."""
        usage: FileUsage = await cast(Any, self.base).get_usage()
        return usage

    def _find(self, path: FilePath) -> tuple[Any, FilePath]:
        """The home that a place belongs to, and the place in there."""
        if path and (home := self._mounts.get(path[0])) is not None:
            return home, path[1:]
        return self.base, path

    def _find_to_change(self, path: FilePath) -> tuple[Any, FilePath]:
        if len(path) == 1 and path[0] in self._mounts:
            raise PermissionDenied("That directory is always there")
        return self._find(path)

    async def get_entry(self, path: FilePath) -> FileEntry:
        home, inner = self._find(path)
        entry: FileEntry = await home.get_entry(path=inner)
        return entry if inner or not path else entry._replace(name=path[0])

    async def list_entries(self, path: FilePath) -> AsyncIterator[Sequence[FileEntry]]:
        home, inner = self._find(path)
        if not path:
            yield [await self.get_entry((name,)) for name in self._mounts]
        async for entries in home.list_entries(path=inner):
            if not path:
                entries = [entry for entry in entries if entry.name not in self._mounts]
            if entries:
                yield entries

    async def open_to_read(self, path: FilePath) -> Any:
        home, inner = self._find(path)
        return await home.open_to_read(path=inner)

    async def open_to_write(self, path: FilePath, offset: int | None) -> Any:
        home, inner = self._find(path)
        if path and not inner:
            raise IsADirectoryError(errno.EISDIR, "a mount")
        return await home.open_to_write(path=inner, offset=offset)

    async def make_directory(self, path: FilePath) -> None:
        home, inner = self._find_to_change(path)
        await home.make_directory(path=inner)

    async def remove_directory(self, path: FilePath) -> None:
        home, inner = self._find_to_change(path)
        await home.remove_directory(path=inner)

    async def remove_file(self, path: FilePath) -> None:
        home, inner = self._find_to_change(path)
        await home.remove_file(path=inner)

    async def rename(self, old: FilePath, new: FilePath) -> None:
        (source, inner_old), (target, inner_new) = map(self._find_to_change, (old, new))
        if source is not target:
            raise PermissionDenied("Files and mail cannot be renamed into each other")
        await source.rename(old=inner_old, new=inner_new)

    async def set_modified(self, path: FilePath, seconds: float) -> None:
        home, inner = self._find_to_change(path)
        if not ITimedHome.providedBy(home):
            raise PermissionDenied("Times cannot be set there")
        await home.set_modified(path=inner, seconds=seconds)
