"""aiosmtpd into one Maildir a recipient: aiosmtpd_maildir.py PORT DIRECTORY USERS [--fsync]."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import sys
import time
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

_numbers = itertools.count()


def _deliver(box: Path, content: bytes, durable: bool) -> None:
    name = f"{time.time():.6f}.P{os.getpid()}Q{next(_numbers)}.bench"
    handle = os.open(box / "tmp" / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.write(handle, content)
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)
    os.rename(box / "tmp" / name, box / "new" / name)
    if durable:
        # The new name, too, must survive.
        handle = os.open(box / "new", os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


class Handler:
    """Delivers; the flushes of all recipients run in threads, at the same time."""

    def __init__(self, root: Path, users: int, durable: bool) -> None:
        self._boxes = {f"user{number}": root / f"user{number}" for number in range(users)}
        self._durable = durable
        for box in self._boxes.values():
            for part in ("tmp", "new", "cur"):
                (box / part).mkdir(parents=True, exist_ok=True)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take mail for known users."""
        if address.split("@")[0] not in self._boxes:
            return "550 unknown"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Deliver to all recipients."""
        content = envelope.content
        assert isinstance(content, bytes)
        boxes = [self._boxes[address.split("@")[0]] for address in envelope.rcpt_tos]
        if self._durable:
            loop = asyncio.get_running_loop()
            await asyncio.gather(
                *(loop.run_in_executor(None, _deliver, box, content, True) for box in boxes)
            )
        else:
            for box in boxes:
                _deliver(box, content, False)
        return "250 OK"


async def _main() -> None:
    port, root, users = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    handler = Handler(root, users, "--fsync" in sys.argv)
    loop = asyncio.get_running_loop()
    make = functools.partial(
        SMTP, handler, hostname="mx.example.test", loop=loop, data_size_limit=50_000_000
    )
    server = await loop.create_server(make, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


asyncio.run(_main())
