"""Clients behind a proxy: who must send a header, and what comes of it."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.ssl import CertificateOptions
from twisted.logger import capturedLogs, formatEvent
from twisted.protocols.tls import TLSMemoryBIOFactory

from mailkit.proxy import HeaderReader, ProxyFactory
from mailkit.wire.networks import Networks
from tests.line_protocol import ConnectionTestCase, LineConnection, Transport
from tests.test_connection_tls import TLSTestCase, reactor
from tests.wire.test_proxy import FOUR, tlv, v2

PROXY = "203.0.113.5"
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n"


class ProxyCase(ConnectionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.wrapped = ProxyFactory(
            self.factory, Networks([f"{PROXY}/32", "127.0.0.1", "unix"]), cast(Any, self.clock)
        )

    def connect_from(self, host: str = PROXY) -> tuple[Any, Transport]:
        """A connection as a reactor makes it: the transport asks its protocol of the moment."""
        transport = Transport(host)
        if not host:
            transport.peerAddr = UNIXAddress(None)
        protocol = self.wrapped.buildProtocol(transport.getPeer())
        cast(Any, transport).protocol = protocol
        protocol.makeConnection(transport)
        return protocol, transport

    def told(self, header: bytes, host: str = PROXY) -> tuple[LineConnection, Transport]:
        """The protocol behind a header, its greeting read."""
        reader, transport = self.connect_from(host)
        self.assertEqual(transport.read(), b"")
        reader.dataReceived(header)
        self.assertEqual(transport.read(), b"hello\n")
        connection = cast(Any, transport).protocol
        self.assertIsInstance(connection, LineConnection)
        return connection, transport


class HeaderTests(ProxyCase):
    def test_a_client_behind_a_proxy(self) -> None:
        for header in (LINE, v2()):
            connection, transport = self.told(header)
            info = connection.info()
            self.assertEqual(
                (info.peer, info.peer_port, info.local, info.local_port, info.tls),
                ("192.0.2.7", 56324, "198.51.100.1", 25, False),
            )
            connection.dataReceived(b"ECHO on\n")
            self.assertEqual(transport.read(), b"on\n")

    def test_the_proxy_itself(self) -> None:
        for header in (v2(command=0x20), v2(b"", 0), b"PROXY UNKNOWN\r\n"):
            connection, _ = self.told(header)
            self.assertEqual(connection.info().peer, PROXY)

    def test_in_any_pieces_and_with_commands_behind(self) -> None:
        for header in (LINE, v2()):
            octets = header + b"ECHO on\n"
            for at in range(1, len(octets)):
                reader, transport = self.connect_from()
                reader.dataReceived(octets[:at])
                cast(Any, transport).protocol.dataReceived(octets[at:])
                self.assertEqual(transport.read(), b"hello\non\n", at)
            reader, transport = self.connect_from()
            for octet in octets:
                # A transport that keeps its first protocol.
                reader.dataReceived(bytes((octet,)))
            self.assertEqual(transport.read(), b"hello\non\n")

    def test_nobody_else_is_believed(self) -> None:
        for host in ("203.0.113.6", "192.0.2.7"):
            connection, transport = self.connect_from(host)
            self.assertIsInstance(connection, LineConnection)
            self.assertEqual(transport.read(), b"hello\n")
            connection.dataReceived(b"ECHO " + LINE)
            self.assertEqual(transport.read(), LINE.replace(b"\r", b""))
            self.assertEqual(connection.info().peer, host)

    def test_proxies_on_unix_sockets(self) -> None:
        connection, _ = self.told(LINE, host="")
        self.assertEqual(connection.info().peer, "192.0.2.7")

    def test_connections_end_as_usual(self) -> None:
        for via_reader in (True, False):
            reader, transport = self.connect_from()
            reader.dataReceived(LINE)
            self.assertEqual(len(self.factory.connections), 1)
            self.lose(reader if via_reader else cast(Any, transport).protocol)
            self.assertEqual(len(self.factory.connections), 0)
            self.assertEqual(self.factory.events.pop(), "closed")


class RefusalTests(ProxyCase):
    def refused(self, octets: bytes, *texts: str) -> None:
        reader, transport = self.connect_from()
        with capturedLogs() as events:
            reader.dataReceived(octets)
        self.assertTrue(transport.aborting, octets)
        self.assertEqual(transport.read(), b"")
        (line,) = [formatEvent(event) or "" for event in events]
        for text in (*texts, PROXY, "connection closed"):
            self.assertIn(text, line)
        reader.dataReceived(LINE)
        self.lose(reader)
        self.assertEqual((transport.read(), self.wrapped.waiting), (b"", set()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_proxy_without_a_header(self) -> None:
        for octets in (b"EHLO x\r\n", b"\x16\x03\x01\x02\x00", b"\0" * 300):
            self.refused(octets, "no PROXY header")

    def test_a_wrong_header(self) -> None:
        self.refused(LINE.replace(b"TCP4", b"TCP6"), "wrong family")
        self.refused(b"PROXY UNKNOWN " + b"x" * 200, "without its end")
        self.refused(v2(command=0x25), "command")
        self.refused(v2(b"\0" * 5000), "too long")

    def test_a_silent_proxy(self) -> None:
        reader, transport = self.connect_from()
        self.clock.advance(5)
        reader.dataReceived(LINE[:10])
        self.clock.advance(4.9)
        self.assertFalse(transport.aborting)
        with capturedLogs() as events:
            self.clock.advance(0.2)
        self.assertTrue(transport.aborting)
        self.assertIn("no PROXY header in time", formatEvent(events[0]) or "")
        self.assertEqual(self.wrapped.waiting, set())

    def test_only_so_many_wait(self) -> None:
        self.wrapped.max_waiting = 2
        first, _ = self.connect_from()
        self.connect_from()
        address = IPv4Address("TCP", PROXY, 1)
        self.assertIsNone(self.wrapped.buildProtocol(address))
        first.dataReceived(LINE)
        self.assertIsInstance(self.wrapped.buildProtocol(address), HeaderReader)

    def test_a_lost_connection_is_not_waited_for(self) -> None:
        reader, _ = self.connect_from()
        self.lose(reader)
        self.assertEqual((self.wrapped.waiting, self.clock.getDelayedCalls()), (set(), []))

    def test_the_end_of_the_port_ends_those_that_wait(self) -> None:
        self.wrapped.doStart()
        _, transport = self.connect_from()
        self.wrapped.doStop()
        self.assertTrue(transport.aborting)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RightsTests(ProxyCase):
    """What depends on the client's address depends on the one that was told."""

    def test_connections_of_one_address(self) -> None:
        self.factory.max_connections_per_address = 2
        self.told(LINE)
        self.told(LINE)
        self.told(LINE.replace(b"192.0.2.7", b"192.0.2.8"))
        reader, transport = self.connect_from()
        reader.dataReceived(LINE)
        self.assertEqual(transport.read(), b"too many\n")
        self.assertEqual(self.factory.addresses.counts, {"192.0.2.7": 2, "192.0.2.8": 1})

    def test_passwords_in_clear(self) -> None:
        near = LINE.replace(b"192.0.2.7", b"127.0.0.1")
        for header, host, allowed in (
            (LINE, PROXY, False),
            # Near to its proxy, but the proxy is not here.
            (near, PROXY, False),
            # The proxy is here, but the client is not.
            (LINE, "127.0.0.1", False),
            (near, "127.0.0.1", True),
            (near, "", True),
            (b"PROXY UNKNOWN\r\n", PROXY, False),
        ):
            connection, _ = self.told(header, host)
            for octets in (b"", b"ECHO x\n"):
                connection.dataReceived(octets)
                self.assertEqual(connection.may_send_plaintext_passwords(), allowed, header)

    def test_tls_that_ends_at_the_proxy(self) -> None:
        self.factory.tls_context = object()
        for value, tls in ((b"\x01\0\0\0\0", True), (b"\0\0\0\0\0", False)):
            connection, _ = self.told(v2(FOUR + tlv(0x20, value)))
            self.assertEqual(connection.encrypted, tls)
            self.assertEqual(connection.info().tls, tls)
            self.assertEqual(connection.may_send_plaintext_passwords(), tls)
            self.assertEqual(connection.can_start_tls, not tls)


class TLSTests(TLSTestCase):
    """Over loopback: the header comes before TLS, from the first octet as well as later."""

    def wrap(self, factory: Any) -> ProxyFactory:
        return ProxyFactory(factory, Networks(["127.0.0.1"]), reactor)

    async def test_implicit_tls(self) -> None:
        tls = TLSMemoryBIOFactory(self.context, False, self.factory)  # type: ignore[arg-type]
        client = await self.connect(self.wrap(tls))
        client.transport.write(LINE)
        client.transport.startTLS(CertificateOptions(verify=False))
        client.transport.write(b"ECHO 1\n")
        self.assertEqual(await client.read_until(b"1\n"), b"hello\n1\n")
        info = self.connection.info()
        self.assertEqual((info.peer, info.local_port, info.tls), ("192.0.2.7", 25, True))

    async def test_starttls(self) -> None:
        client = await self.connect(self.wrap(self.factory))
        client.transport.write(v2() + b"ECHO 1\nTLS\n")
        answer = await client.read_until(b"go ahead\n")
        self.assertEqual(answer, b"hello\n1\ngo ahead\n")
        client.transport.startTLS(CertificateOptions(verify=False))
        client.transport.write(b"ECHO 2\n")
        self.assertEqual(await client.read_until(b"2\n"), b"2\n")
        info = self.connection.info()
        self.assertEqual((info.peer, info.peer_port, info.tls), ("192.0.2.7", 56324, True))

    async def test_a_header_behind_tls_is_none(self) -> None:
        tls = TLSMemoryBIOFactory(self.context, False, self.factory)  # type: ignore[arg-type]
        client = await self.connect(self.wrap(tls))
        client.transport.startTLS(CertificateOptions(verify=False))
        client.transport.write(LINE)
        self.assertEqual(await client.closed(), b"")
