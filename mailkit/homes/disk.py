"""Homes that are directories of this machine."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote
from weakref import WeakValueDictionary

from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from mailkit.errors import NoSuchAccount, StoreUnavailable
from mailkit.files import FileEntry, FilePath, FileQuota, FileUsage
from mailkit.homes.files import Files, OpenFile, make_directory
from mailkit.homes.usage import Usage
from mailkit.interfaces import (
    ICountedHome,
    IFileHomes,
    IQuickFile,
    IReadableFile,
    IThreadedFile,
    ITimedHome,
)

#: Entries of a directory that are given at a time.
ENTRIES_A_PIECE = 100

#: Accounts of which a process remembers that their homes were flushed.
MAX_DURABLE = 10_000

#: Calls a function that may block, in a thread.
InThread = Callable[..., Awaitable[Any]]

_T = TypeVar("_T")


def threads_of(reactor: Any = None) -> InThread:
    """Calls functions in the threads of a reactor; the global one when None."""
    if reactor is None:
        from twisted.internet import reactor

    def in_thread(work: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), work, *arguments)

    return in_thread


@implementer(IFileHomes)
class FileHomes:
    """Gives each account a directory of its name, made when it is first needed.

    :param directory: where these directories are.
    :param max_entries: entries of a directory that are listed; larger ones are refused.
    :param quota: what each account may have. It is measured when its user logs in and counted from
        then on.
    :param quotas: knows limits of single accounts, which go before ``quota`` from their next login
        on: an :class:`~mailkit.interfaces.IFileQuotaDirectory`.
    :param min_free: octets of the disk that stay free for others, such as the store.
    :param in_thread: calls what may block; by the global reactor's threads when None.
    """

    def __init__(
        self,
        directory: str,
        *,
        max_entries: int = 50_000,
        quota: FileQuota = FileQuota(),  # noqa: B008
        quotas: Any = None,
        min_free: int = 64 * 1024 * 1024,
        in_thread: InThread | None = None,
    ) -> None:
        self.directory = os.path.abspath(directory)
        self.max_entries = max_entries
        self.quota = quota
        self.quotas = quotas
        self.min_free = min_free
        self._in_thread = in_thread or threads_of()
        # Accounts whose homes were flushed since the start.
        self._durable: set[str] = set()
        # Of those accounts that somebody is logged in to.
        self._usages: WeakValueDictionary[str, Usage] = WeakValueDictionary()

    async def open_home(self, account: str) -> FileHome:
        path = os.path.join(self.directory, _file_name(account))
        quota = await self._find_quota(account)
        usage = self._usages.setdefault(account, Usage(quota))
        usage.quota = quota
        files = Files(path, self.max_entries, usage, self.min_free)
        try:
            await self._in_thread(self._make, account, path)
            await self._in_thread(files.measure)
        except OSError as error:
            raise StoreUnavailable("Your files are not available just now") from error
        return FileHome(account, files, self._in_thread)

    def _make(self, account: str, path: str) -> None:
        """In a thread."""
        if not self._durable:
            make_directory(self.directory)
        make_directory(path, account in self._durable)
        if len(self._durable) >= MAX_DURABLE:
            self._durable.clear()
        self._durable.add(account)

    async def _find_quota(self, account: str) -> FileQuota:
        if self.quotas is None:
            return self.quota
        try:
            octets, files = await self.quotas.get_file_quota(account=account)
        except NoSuchAccount:
            # Somebody of another user base.
            return self.quota
        return FileQuota(
            self.quota.octets if octets is None else octets,
            self.quota.files if files is None else files,
        )


def _file_name(account: str) -> str:
    """The account's name as that of one directory: no slash, no NUL, neither ``.`` nor ``..``."""
    name = quote(account, safe="@+=")
    return f"%2E{name[1:]}" if name.startswith(".") else name


@implementer(ITimedHome, ICountedHome)
class FileHome:
    """The home of one account.

    :param in_thread: calls what may block.
    """

    def __init__(self, name: str, files: Files, in_thread: InThread) -> None:
        self.name = name
        self._files = files
        self._in_thread = in_thread

    async def get_entry(self, path: FilePath) -> FileEntry:
        entry: FileEntry = await self._in_thread(self._files.get_entry, path)
        return entry

    async def list_entries(self, path: FilePath) -> AsyncIterator[Sequence[FileEntry]]:
        entries = await self._in_thread(self._files.list_entries, path)
        for start in range(0, len(entries), ENTRIES_A_PIECE):
            yield entries[start : start + ENTRIES_A_PIECE]

    async def open_to_read(self, path: FilePath) -> DiskFile:
        file = await self._in_thread(self._files.open_to_read, path)
        return DiskFile(path[-1], file, self._in_thread)

    async def open_to_write(self, path: FilePath, offset: int | None) -> DiskFile:
        file = await self._in_thread(self._files.open_to_write, path, offset)
        return DiskFile(path[-1], file, self._in_thread)

    async def make_directory(self, path: FilePath) -> None:
        await self._in_thread(self._files.make_directory, path)

    async def remove_directory(self, path: FilePath) -> None:
        await self._in_thread(self._files.remove_directory, path)

    async def remove_file(self, path: FilePath) -> None:
        await self._in_thread(self._files.remove_file, path)

    async def rename(self, old: FilePath, new: FilePath) -> None:
        await self._in_thread(self._files.rename, old, new)

    async def set_modified(self, path: FilePath, seconds: float) -> None:
        await self._in_thread(self._files.set_modified, path, seconds)

    async def get_usage(self) -> FileUsage:
        usage: FileUsage = await self._in_thread(self._files.get_usage)
        return usage


@implementer(IReadableFile, IQuickFile, IThreadedFile)
class DiskFile:
    """A file of a home."""

    keeps_crlf = False

    def __init__(self, name: str, file: OpenFile, in_thread: InThread) -> None:
        self._name = name
        self._file = file
        self._in_thread = in_thread
        self.size = file.size

    async def read(self, offset: int, count: int) -> bytes:
        content = self._file.content
        if content is not None:
            return content[offset : offset + count]
        data: bytes = await self._in_thread(self._file.read, offset, count)
        return data

    async def write(self, data: bytes) -> None:
        await self.run(lambda file: file.write(data))

    async def write_all(self, data: bytes) -> str:
        await self._in_thread(self._file.write_all, data)
        return self._name

    async def run(self, work: Callable[[OpenFile], _T]) -> _T:
        result: _T = await self._in_thread(self._file.run, work)
        return result

    async def finish(self) -> str:
        await self._in_thread(self._file.sync)
        return self._name

    def close(self) -> None:
        if not self._file.close_at_once():
            # Not awaited: the thread at work may have something to do yet.
            self._in_thread(self._file.close)
