"""What LIST, NLST, STAT and MLSD tell of: directories, files, and names with wildcards."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from fnmatch import translate
from typing import TYPE_CHECKING, Any, NamedTuple

from mailkit.errors import MailError
from mailkit.files import FileEntry, FilePath
from mailkit.ftp.grammar import parse_path, without_options

if TYPE_CHECKING:
    from mailkit.ftp.protocol import FTPConnection

#: What is known of one directory or file, piece by piece.
Pieces = AsyncGenerator[Sequence[FileEntry], None]

_has_wildcard = re.compile(r"[*?\[]").search


class Listing(NamedTuple):
    """What a client has asked for."""

    pieces: Pieces
    #: The directory as the client has written it: with it before them, names can be used as they stand.
    before: str


async def open_listing(home: Any, path: FilePath) -> Pieces:
    """The entries of a directory, or a file by itself.

    Whatever hinders that is raised now, and not when it has begun.
    """
    return await _open(home, path, await home.get_entry(path=path))


async def find_listing(connection: FTPConnection, argument: bytes) -> Listing:
    """What an argument of LIST, NLST or STAT names; nothing stands for the directory itself.

    lenient: the last name may have wildcards, as shells have them, where there is none that is
    called so: programs with ``mget`` leave them to the server, though RFC 959 does not know them.

    :raises CommandError: it is no path.
    """
    words = without_options(argument)
    directory = connection.session.directory
    path = parse_path(words, directory) if words else directory
    text = words.decode("utf-8")
    home = connection.home
    try:
        entry: FileEntry = await home.get_entry(path=path)
    except (OSError, MailError):
        if not (path and text.endswith(path[-1]) and _has_wildcard(path[-1])):
            raise
        parent: FileEntry = await home.get_entry(path=path[:-1])
        if not parent.is_directory:
            raise
        pieces = _matching(await _open(home, path[:-1], parent), _matcher(path[-1]))
    else:
        pieces = await _open(home, path, entry)
        if entry.is_directory:
            return Listing(pieces, "" if text in ("", ".") else text.rstrip("/") + "/")
    return Listing(pieces, "".join(text.rpartition("/")[:2]))


async def _open(home: Any, path: FilePath, entry: FileEntry) -> Pieces:
    if not entry.is_directory:
        return _pieces([entry], None)
    rest = home.list_entries(path=path).__aiter__()
    try:
        first = await anext(rest)
    except StopAsyncIteration:
        return _pieces([], None)
    return _pieces(first, rest)


async def _pieces(
    first: Sequence[FileEntry], rest: AsyncIterator[Sequence[FileEntry]] | None
) -> Pieces:
    yield first
    if rest is not None:
        async for piece in rest:
            yield piece


async def _matching(pieces: Pieces, matches: Callable[[str], Any]) -> Pieces:
    async for piece in pieces:
        yield [entry for entry in piece if matches(entry.name)]


def _matcher(pattern: str) -> Callable[[str], Any]:
    # As in shells, hidden files are for patterns that begin as they do.
    hidden = "" if pattern.startswith(".") else r"(?!\.)"
    return re.compile(hidden + translate(pattern)).match
