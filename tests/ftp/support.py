"""An FTP server without a network, whose files are real."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.portal import make_portal
from mailkit.ftp.protocol import FTPConnection, FTPFactory
from mailkit.homes.disk import FileHomes
from mailkit.store.memory import MemoryStore

USER, PASSWORD = b"ann@example.org", b"secret"
CLIENT, SERVER = "192.0.2.7", "192.0.2.1"


class Client:
    """A client's side of one control connection."""

    def __init__(self, factory: FTPFactory, host: str) -> None:
        self.connection: FTPConnection = factory.buildProtocol(None)
        self.transport = StringTransport(
            IPv4Address("TCP", SERVER, 21), IPv4Address("TCP", host, 40000)
        )
        self.connection.makeConnection(self.transport)

    def read(self) -> bytes:
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def ask(self, line: bytes) -> bytes:
        self.read()
        self.connection.dataReceived(line + b"\r\n")
        return self.read()

    def code(self, line: bytes) -> int:
        """The code of the reply; 0 when there is none yet."""
        return int(self.ask(line)[:3] or b"0")

    @property
    def closed(self) -> bool:
        return bool(self.transport.disconnecting)

    def lose(self) -> None:
        self.connection.connectionLost(Failure(ConnectionDone()))


class FTPCase(SynchronousTestCase):
    """Ann has a home with ``file`` (ten octets), ``dir`` and ``dir/inner``."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.store = MemoryStore()
        self.successResultOf(
            Deferred.fromCoroutine(
                self.store.add_account(name=USER.decode(), password_hash="{PLAIN}secret")
            )
        )
        self.root = Path(self.mktemp()).absolute()
        # In no thread.
        self.homes = FileHomes(str(self.root / "files"), in_thread=maybeDeferred, max_entries=100)
        self.home = self.root / "files" / USER.decode()
        self.home.mkdir(parents=True)
        (self.home / "file").write_bytes(b"0123456789")
        (self.home / "dir").mkdir()
        (self.home / "dir" / "inner").write_bytes(b"inner")
        os.utime(self.home / "file", (1_000_000_000, 1_000_000_000))
        (self.root / "secret").write_bytes(b"not yours")

    def serve(self, **settings: Any) -> FTPFactory:
        settings.setdefault("allow_plaintext_passwords", True)
        portal = make_portal(self.store, homes=self.homes)
        return FTPFactory(portal, reactor=self.reactor, clock=self.reactor, **settings)

    def connect(self, factory: FTPFactory | None = None, host: str = CLIENT) -> Client:
        return Client(factory or self.serve(), host)

    def log_in(self, factory: FTPFactory | None = None) -> Client:
        client = self.connect(factory)
        client.ask(b"USER " + USER)
        self.assertEqual(client.ask(b"PASS " + PASSWORD)[:4], b"230 ")
        return client

    def open_data(self, client: Client, host: str = CLIENT) -> tuple[Any, StringTransport]:
        """Connect to the port that PASV has opened; None when that is refused."""
        factory = self.reactor.tcpServers[-1][1]
        protocol = factory.buildProtocol(IPv4Address("TCP", host, 41000))
        transport = StringTransport()
        if protocol is not None:
            protocol.makeConnection(transport)
        return protocol, transport
