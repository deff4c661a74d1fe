"""The contracts of an account's files, which FTP serves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from zope.interface import Attribute, Interface

from mailkit.files import FileEntry, FilePath, FileUsage


class IFileHome(Interface):
    """The avatar that a realm gives to FTP: the files of an account.

    Paths are below the home, which is the empty one. No name on the way is empty, ``.`` or ``..``,
    or contains a slash, NUL or another control character.

    Methods raise ``OSError`` as Python's own functions for files do: clients are told what its
    ``errno`` means. A :class:`~mailkit.errors.MailError` tells them its text.
    """

    name: str = Attribute("""Canonical name of the account.""")

    def get_entry(path: FilePath) -> Awaitable[FileEntry]:
        """What is at that place."""

    def list_entries(path: FilePath) -> AsyncIterator[Sequence[FileEntry]]:
        """What is in a directory, some hundred entries at a time; perhaps an async generator."""

    def open_to_read(path: FilePath) -> Awaitable[IReadableFile]:
        """A file, whose octets do not change while it is read."""

    def open_to_write(path: FilePath, offset: int | None) -> Awaitable[IWritableFile]:
        """A file that is made, or written anew from some octet on.

        :param offset: 0 for the whole file; None for where it ends now.
        :raises BeyondEnd: the file is not that long.
        """

    def make_directory(path: FilePath) -> Awaitable[None]:
        """Make a directory, and none above it."""

    def remove_directory(path: FilePath) -> Awaitable[None]:
        """Remove a directory that is empty."""

    def remove_file(path: FilePath) -> Awaitable[None]:
        """Remove a file."""

    def rename(old: FilePath, new: FilePath) -> Awaitable[None]:
        """Rename a file or a directory; a file that has the new name is replaced."""


class ITimedHome(IFileHome):
    """A home in which the times of files can be set."""

    def set_modified(path: FilePath, seconds: float) -> Awaitable[None]:
        """Tell that a file or directory was last changed then.

        :param seconds: since 1970.
        """


class ICountedHome(IFileHome):
    """A home that knows how much there is in it, and may be."""

    def get_usage() -> Awaitable[FileUsage]:
        """What there is, and may be."""


class IMountedHome(IFileHome):
    """A home in which others begin, such as one that is made of mail."""

    base: IFileHome = Attribute("""The home without the others: what anonymous users see of it.""")


class IReadableFile(Interface):
    """A file that is being read."""

    size: int = Attribute("""Octets of it when it was opened.""")

    def read(offset: int, count: int) -> Awaitable[bytes]:
        """Up to so many octets from there on; none at the end."""

    def close() -> None:
        """Nothing more is wanted; not awaitable, and called once."""


class IWritableFile(Interface):
    """A file that is being written."""

    keeps_crlf: bool = Attribute(
        """Lines end with CRLF in it, as in mail; else a client's text (TYPE A) gets LF alone."""
    )

    def write(data: bytes) -> Awaitable[None]:
        """Add octets. One call at a time."""

    def finish() -> Awaitable[str]:
        """All has come: return when that is durable.

        :returns: the file's name, which may be another than the client gave it.
        """

    def close() -> None:
        """Not awaitable, called once. Without :meth:`finish` the upload has been broken off."""


class IQuickFile(IWritableFile):
    """A file that takes all at once when it is little: for it no thread is waited for three times."""

    def write_all(data: bytes) -> Awaitable[str]:
        """Add octets, which are the last: :meth:`write` and :meth:`finish` in one."""


class IThreadedFile(Interface):
    """A file that threads may use directly, so that octets need not go through the reactor."""

    def run(work: Callable[[Any], Any]) -> Awaitable[Any]:
        """Call ``work(file)`` in a thread, where ``file`` stays open meanwhile.

        ``file.fileno()`` is the descriptor of a file that is read; ``file.write(octets)`` adds to
        one that is written, and may block.
        """


class IFileHomes(Interface):
    """Knows the files of every account."""

    def open_home(account: str) -> Awaitable[IFileHome]:
        """The home of an account, made when there is none yet.

        :param account: its canonical name.
        :raises StoreUnavailable: it cannot be had just now.
        """


class IFileQuotaDirectory(Interface):
    """A directory that limits the files of single accounts. Their homes keep to it."""

    def get_file_quota(account: str) -> Awaitable[tuple[int | None, int | None]]:
        """What an account's files may have: octets, and files and directories.

        0 is no limit; None is what the server says for all.

        :raises NoSuchAccount: there is none.
        """

    def set_file_quota(
        account: str | None, max_octets: int | None, max_files: int | None
    ) -> Awaitable[None]:
        """Limit an account's files. What is there already stays, however much it is.

        :param account: None for all accounts that have no limit of their own.
        :param max_octets: 0 for no limit, None for that of all accounts.
        :param max_files: the same for the number of files and directories.
        :raises NoSuchAccount: there is none.
        """
