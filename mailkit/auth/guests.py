"""Anonymous users: they read what one account has, and change nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import Interface, directlyProvides, implementer

from mailkit.files import FileEntry, FilePath
from mailkit.interfaces import (
    IAnonymousLogin,
    ICapabilityMask,
    IFileHome,
    IMailAccount,
    IMailbox,
    IMountedHome,
    IObjectIdentifiers,
    IReadableFile,
    IReadyFields,
    ISearchableMailbox,
    ISortingMailbox,
    ISummarizingMailbox,
    IThreadingMailbox,
    IThreadNamingMailbox,
    IUnendedMessages,
    IVersionedMailbox,
    IViewableMailbox,
    IWatchableAccount,
    IWatchableMailbox,
    IWritableFile,
)

# What reads alone. An ability that is not named here is one that guests do not have.
_ACCOUNT: tuple[type[Interface], ...] = (
    IMailAccount,
    IObjectIdentifiers,
    ICapabilityMask,
    IWatchableAccount,
)
_MAILBOX: tuple[type[Interface], ...] = (
    IMailbox,
    IReadyFields,
    ISearchableMailbox,
    ISortingMailbox,
    ISummarizingMailbox,
    IThreadingMailbox,
    IThreadNamingMailbox,
    IUnendedMessages,
    IVersionedMailbox,
    IViewableMailbox,
    IWatchableMailbox,
)


class Guest(str):
    """The avatar id of somebody who may read what the account of that name has."""

    __slots__ = ()


@implementer(ICredentialsChecker)
class GuestChecker:
    """Lets anybody in as a guest of one account, and notes what they say of themselves.

    :param account: its name.
    """

    log = Logger()
    credentialInterfaces = (IAnonymousLogin,)

    def __init__(self, account: str) -> None:
        self._account = Guest(account)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        self.log.info("anonymous login: {trace}", trace=credentials.trace or "(says nothing)")
        return succeed(self._account)


class _View:
    """The reading half of an object."""

    def __init__(self, inner: Any, abilities: Sequence[type[Interface]]) -> None:
        provided = [ability for ability in abilities if ability.providedBy(inner)]
        self._inner = inner
        self._names = frozenset(name for ability in provided for name in ability)
        directlyProvides(self, *provided)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._names:
            raise AttributeError(name)
        return getattr(self._inner, name)


class GuestAccount(_View):
    """An account whose mailboxes can be read, and nothing else."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner, _ACCOUNT)

    async def open_mailbox(self, name: str) -> Any:
        return GuestMailbox(await self._inner.open_mailbox(name=name))


class GuestMailbox(_View):
    """A mailbox that can be read."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner, _MAILBOX)


@implementer(IFileHome)
class GuestHome:
    """Files that can be read: those of the account alone, as anybody may send it mail."""

    def __init__(self, inner: Any) -> None:
        self._inner: Any = inner.base if IMountedHome.providedBy(inner) else inner
        self.name: str = inner.name

    async def get_entry(self, path: FilePath) -> FileEntry:
        return _readable(await self._inner.get_entry(path=path))

    async def list_entries(self, path: FilePath) -> AsyncIterator[Sequence[FileEntry]]:
        async for entries in self._inner.list_entries(path=path):
            yield [_readable(entry) for entry in entries]

    async def open_to_read(self, path: FilePath) -> IReadableFile:
        file: IReadableFile = await self._inner.open_to_read(path=path)
        return file

    async def open_to_write(self, path: FilePath, offset: int | None) -> IWritableFile:
        raise _not_allowed()

    async def make_directory(self, path: FilePath) -> None:
        raise _not_allowed()

    async def remove_directory(self, path: FilePath) -> None:
        raise _not_allowed()

    async def remove_file(self, path: FilePath) -> None:
        raise _not_allowed()

    async def rename(self, old: FilePath, new: FilePath) -> None:
        raise _not_allowed()


def _readable(entry: FileEntry) -> FileEntry:
    """What is left of the rights: to enter, list and read."""
    return entry._replace(rights="".join(right for right in entry.rights if right in "elr"))


def _not_allowed() -> OSError:
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES))
