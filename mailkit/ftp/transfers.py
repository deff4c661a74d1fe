"""Transfers: between a data connection and a file, or a listing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from mailkit.files import FileEntry
from mailkit.ftp.data import SMALL, DataChannel
from mailkit.interfaces import IQuickFile, IThreadedFile
from mailkit.wire.lineends import FromNetwork, ToNetwork

#: Octets of a file that are read in one go.
CHUNK = 256 * 1024


async def send_file(channel: DataChannel, file: Any, offset: int, *, ascii_type: bool) -> None:
    """Send an ``IReadableFile`` from an octet on."""
    large = file.size - offset > SMALL
    threaded = large and not ascii_type and IThreadedFile.providedBy(file)
    if threaded and await channel.send_directly(file, offset):
        await channel.finish()
        return
    convert = ToNetwork().convert if ascii_type else None
    while data := await file.read(offset=offset, count=CHUNK):
        offset += len(data)
        await channel.write(data if convert is None else convert(data))
    await channel.finish()


async def receive_file(channel: DataChannel, file: Any, *, ascii_type: bool) -> str:
    """Write what the client sends to an ``IWritableFile``; its name, when it is durable."""
    lines = FromNetwork() if ascii_type and not file.keeps_crlf else None
    if lines is None and IQuickFile.providedBy(file):
        small = await channel.read_small()
        if small is not None:
            return str(await file.write_all(data=small))
    threaded = lines is None and IThreadedFile.providedBy(file)
    if threaded and await channel.receive_directly(file):
        return str(await file.finish())
    while data := await channel.read():
        await file.write(data=data if lines is None else lines.convert(data))
    if lines is not None and (rest := lines.rest()):
        await file.write(data=rest)
    return str(await file.finish())


async def send_listing(
    channel: DataChannel,
    pieces: AsyncIterator[Sequence[FileEntry]],
    line: Callable[[FileEntry], str],
    pause: Callable[[], Awaitable[None]],
) -> None:
    """Send a line for each entry.

    :param pause: lets others have their turn when it is time.
    """
    async for entries in pieces:
        await pause()
        await channel.write("".join(f"{line(entry)}\r\n" for entry in entries).encode())
    await channel.finish()
