"""A real server with its checks switched on, and a name server: what clients of other places hear."""

from __future__ import annotations

import smtplib
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread
from twisted.names import dns
from twisted.trial.unittest import TestCase

from tests.dns.zones import Zone, serve_zone
from tests.support import HOST, ServerProcess, administer, free_ports

BOB = "bob@example.test"
MESSAGE = "From: ann@sender.test\r\nDate: Mon, 01 Jan 2024 12:00:00 +0000\r\n\r\nHello\r\n"
GOOD, BAD, SIX = "198.51.100.7", "198.51.100.66", "2001:db8::66"
CONFIG = """\
hostname = "mx.example.test"
store = "{store}"
smtp = "tcp:{port}:interface=127.0.0.1"
proxy-from = "127.0.0.1"
[checks]
nameservers = "{nameserver}"
early-talkers = {{ delay = 0.2 }}
reverse-dns = true
sender-domain = true
[checks.dns-lists]
block = "bl.test"
[checks.greylisting]
delay = 1
[checks.rates]
address-connections = "10/day"
"""


class ProxiedClient(smtplib.SMTP):
    """A client that seems to come from elsewhere: it sends what a proxy would."""

    def __init__(self, peer: str, port: int, early: bytes = b"") -> None:
        family = "TCP6 {} ::1" if ":" in peer else "TCP4 {} 192.0.2.1"
        self._first = f"PROXY {family.format(peer)} 40000 25\r\n".encode() + early
        super().__init__(HOST, port, "client.test", timeout=60)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connected = socket.create_connection((host, port), timeout)
        connected.sendall(self._first)
        return connected


@pytest.mark.slow
class CheckedServerTests(TestCase):
    def setUp(self) -> None:
        zones = [
            Zone(
                b"test",
                {
                    b"sender.test": [dns.Record_MX(10, b"mx.sender.test")],
                    b"mx.sender.test": [dns.Record_A(GOOD)],
                    b"silent.test": [dns.Record_MX(0, b"")],
                    b"66.100.51.198.bl.test": [
                        dns.Record_A("127.0.0.2"),
                        dns.Record_TXT(b"a bad network"),
                    ],
                    f"6.6.{'0.' * 22}8.b.d.0.1.0.0.2.bl.test".encode(): [dns.Record_A("127.0.0.3")],
                },
            ),
            Zone(
                b"51.198.in-addr.arpa",
                {b"7.100.51.198.in-addr.arpa": [dns.Record_PTR(b"mx.sender.test")]},
            ),
        ]
        nameserver = "{}:{}".format(*serve_zone(self, *zones))
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir(parents=True)
        (self.port,) = free_ports(1)
        store = f"sqlite:{self.directory}/store"
        (self.directory / "mailkit.toml").write_text(
            CONFIG.format(store=store, port=self.port, nameserver=nameserver)
        )
        administer(
            store,
            *("account", "add", BOB, "--password-stdin", "--scheme", "plain"),
            input="secret\n",
        )
        self.start()

    def start(self) -> None:
        arguments = ("mailkit", "--config", "mailkit.toml")
        self.server = ServerProcess(self.directory, [self.port], *arguments).start()
        self.addCleanup(self.server.kill)

    def send(self, peer: str, sender: str = "ann@sender.test", recipient: str = BOB) -> str:
        """A message of a client; the reply that refused it, or the last one."""
        try:
            with ProxiedClient(peer, self.port) as client:
                client.sendmail(sender, [recipient], MESSAGE)
                return "taken"
        except smtplib.SMTPRecipientsRefused as refused:
            ((code, text),) = refused.recipients.values()
            return f"{code} {text.decode()}"

    async def said(self, *arguments: Any) -> str:
        return await deferToThread(self.send, *arguments)

    async def test_clients(self) -> None:
        self.assertEqual(
            await self.said(BAD),
            f"550 5.7.1 Mail from [{BAD}] is refused: {BAD} is on the list bl.test; a bad network",
        )
        self.assertIn(f"{SIX} is on the list bl.test", await self.said(SIX))
        self.assertEqual(
            await self.said(BAD, "ann@sender.test", "postmaster@example.test"), "taken"
        )
        self.assertIn("550 5.7.27 The sender's domain", await self.said(GOOD, "a@silent.test"))
        self.assertIn("550 5.1.8 The sender's domain", await self.said(GOOD, "a@none.test"))
        self.assertIn("550 5.1.1", await self.said(GOOD, "ann@sender.test", "eve@example.test"))
        # Greylisting remembers over a restart.
        self.assertIn("450 4.7.1 Greylisted, please try again in 1 sec", await self.said(GOOD))
        await deferToThread(time.sleep, 1.2)
        self.server.stop()
        self.start()
        self.assertEqual(await self.said(GOOD), "taken")
        self.assertEqual(await self.said(GOOD, ""), "taken")
        store = f"sqlite:{self.directory}/store"
        self.assertNotIn("Traceback", self.server.log)
        self.assertIn("hook dns-lists refused rcpt of", self.server.log)
        self.assertNotIn("Starting protocol", self.server.log)
        self.server.stop()
        received = b"".join(path.read_bytes() for path in Path(store[7:]).rglob("*.seg"))
        self.assertIn(f"from client.test (mx.sender.test [{GOOD}])".encode(), received)

    async def test_an_early_talker(self) -> None:
        def talk() -> str:
            try:
                ProxiedClient(GOOD, self.port, b"EHLO client.test\r\n").quit()
            except smtplib.SMTPConnectError as error:
                return f"{error.smtp_code} {error.smtp_error!r}"
            return "greeted"

        said = await deferToThread(talk)
        self.assertTrue(said.startswith("554 "), said)
        self.assertIn("wait for the greeting", said)

    async def test_too_many_connections(self) -> None:
        def connect() -> list[int]:
            codes = []
            for _ in range(12):
                with socket.create_connection((HOST, self.port), 60) as connected:
                    connected.sendall(b"PROXY TCP4 203.0.113.9 192.0.2.1 4000 25\r\nQUIT\r\n")
                    codes.append(int(connected.recv(100)[:3]))
            return codes

        codes = await deferToThread(connect)
        self.assertEqual(codes[:10], [554] * 10)
        self.assertEqual(codes[10:], [421] * 2)
