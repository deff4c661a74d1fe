"""Transfers: between a data connection and a file, or a listing that is made already."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mailkit.ftp.data import DataChannel
from mailkit.ftp.files import OpenFile

#: Octets of a file that are read in one go.
CHUNK = 256 * 1024

#: Calls a function that may block, in a thread.
InThread = Callable[..., Awaitable[Any]]


class ToNetwork:
    """Line ends of ASCII on their way to the client (RFC 959 section 3.1.1.1)."""

    _after_cr = False

    def convert(self, data: bytes) -> bytes:
        """CRLF for each LF; a CRLF stays one, though it be split."""
        if self._after_cr and data.startswith(b"\n"):
            first, rest = b"\n", data[1:]
        else:
            first, rest = b"", data
        self._after_cr = data.endswith(b"\r")
        return first + rest.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class FromNetwork:
    """Line ends of ASCII that a client sends."""

    _held = b""

    def convert(self, data: bytes) -> bytes:
        """LF for each CRLF; a CR at the end waits for what follows."""
        data = self._held + data
        self._held = b"\r" if data.endswith(b"\r") else b""
        return data[: len(data) - len(self._held)].replace(b"\r\n", b"\n")

    def rest(self) -> bytes:
        """What waits at the end."""
        return self._held


async def send_file(
    channel: DataChannel, file: OpenFile, in_thread: InThread, *, ascii_type: bool
) -> int:
    """Send a file; the octets of it."""
    convert = ToNetwork().convert if ascii_type else None
    total = 0
    while data := await in_thread(file.read, CHUNK):
        total += len(data)
        await channel.write(data if convert is None else convert(data))
    await channel.finish()
    return total


async def receive_file(
    channel: DataChannel, file: OpenFile, in_thread: InThread, *, ascii_type: bool
) -> int:
    """Write what the client sends, and return when the disk has it; the octets received."""
    lines = FromNetwork() if ascii_type else None
    total = 0
    while data := await channel.read():
        total += len(data)
        await in_thread(file.write, data if lines is None else lines.convert(data))
    if lines is not None:
        await in_thread(file.write, lines.rest())
    await in_thread(file.sync)
    return total


async def send_text(channel: DataChannel, text: bytes) -> None:
    """Send a listing."""
    for start in range(0, len(text), CHUNK):
        await channel.write(text[start : start + CHUNK])
    await channel.finish()
