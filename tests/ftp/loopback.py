"""An FTP server over loopback, in this process; clients run in threads."""

from __future__ import annotations

import ftplib
import os
import time
from pathlib import Path
from typing import Any

from mailkit.auth.portal import make_portal
from mailkit.ftp.protocol import FTPFactory
from mailkit.homes.disk import FileHomes
from mailkit.interfaces import IFileHomes
from tests.interop.support import ClientCase
from tests.support import PATIENCE, free_ports

USER, PASSWORD = "ann@example.org", "correct horse"

#: More than any buffer on the way.
LARGE = bytes(range(256)) * 12_000
TEXT = "Grüße\nzwei\n".encode()


class FTPCase(ClientCase):
    """A server with files of one user, plain with AUTH TLS and under TLS from the start."""

    user = USER
    #: Parameters of the factory.
    settings: dict[str, Any] = {}

    async def setUp(self) -> None:
        await super().setUp()
        await self.add_account(USER, PASSWORD)
        homes = FileHomes(os.path.join(self.directory, "files"))
        self.home = Path(homes.directory) / USER
        self.home.mkdir(parents=True)
        (self.home / "large").write_bytes(LARGE)
        (self.home / "sub dir").mkdir()
        (self.home / "sub dir" / "grün.txt").write_bytes(TEXT)
        [first] = free_ports(1)
        self.factory = FTPFactory(
            make_portal(self.store, homes=self.all_homes(homes)),
            tls_context=self.tls_context,
            # Not always free, all of them.
            passive_ports=range(first, min(first + 50, 65535)),
            **self.settings,
        )
        self.port, self.tls_port = self.listen(self.factory), self.listen(self.factory, tls=True)

    def plain(self, host: str = "127.0.0.1", port: int = 0) -> ftplib.FTP:
        client = ftplib.FTP(timeout=PATIENCE)
        client.connect(host, port or self.port)
        client.login(USER, PASSWORD)
        return client

    def all_homes(self, files: FileHomes) -> IFileHomes:
        return files

    async def tearDown(self) -> None:
        # Transfers that a client has broken off end in a turn of the reactor.
        give_up = time.monotonic() + PATIENCE
        while self.factory.connections and time.monotonic() < give_up:
            await self.in_thread(time.sleep, 0.02)
