"""Servers that break TLS in every way get no mail that must not go without; others get theirs."""

from __future__ import annotations

import io
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver
from twisted.trial.unittest import TestCase

from mailkit.dns.records import TLSA, RecordType
from mailkit.queue import relay
from mailkit.queue.hosts import ExchangerFinder
from mailkit.queue.relay import TLS_PAUSE, RelayTransport
from mailkit.queue.schedule import DAY
from mailkit.queue.security import DestinationSecurity
from mailkit.queue.transport import Handover
from mailkit.smtp.client import ClientSettings, Status, Timeouts, TLSFailed, TLSMode, TLSPolicy
from mailkit.testing.queue import queue_envelope

from ..clocks import DayClock, steady_of
from ..dns.fakes import FakeResolver
from .support import SAMPLE, START

reactor: Any = _reactor
HOST = "127.0.0.1"
NAME = "mx.example.net"

#: What a server says to STARTTLS, and behind ! to the handshake; None to close the connection.
ANSWERS: dict[str, bytes | None] = {
    "refused for now": b"454 4.7.0 not now\r\n",
    "refused": b"501 5.5.4 what\r\n",
    "garbage instead of a handshake": b"220 go ahead\r\n!this is no TLS\r\n",
    "a reply that comes with the 220": b"220 go ahead\r\n250 injected\r\n",
    "an alert": b"220 go ahead\r\n!\x15\x03\x01\x00\x02\x02\x28",
    "silence": b"220 go ahead\r\n",
    "the end": None,
}
#: As if the server were gone, or somebody between: another attempt will tell.
NO_VERDICT = ("the end", "a reply that comes with the 220")


class BrokenServer(LineReceiver):
    """Takes mail; offers STARTTLS and does not keep to it."""

    answer: bytes | None = b""
    in_data = False

    def connectionMade(self) -> None:
        self.sendLine(b"220 mx.example.net ESMTP")

    def lineReceived(self, line: bytes) -> None:
        factory: Any = self.factory
        if self.in_data:
            if line == b".":
                self.in_data = False
                self.sendLine(b"250 taken")
            return
        verb = line.split(b" ")[0].upper()
        factory.said.append(verb)
        if verb == b"EHLO":
            self.sendLine(b"250-mx.example.net\r\n250 STARTTLS")
        elif verb == b"STARTTLS":
            self.setRawMode()
            if factory.answer is None:
                self.transport.abortConnection()
            elif factory.answer.startswith(b"220"):
                self.transport.write(factory.answer.partition(b"!")[0])
            else:
                self.setLineMode()
                self.transport.write(factory.answer)
        elif verb == b"DATA":
            self.in_data = True
            self.sendLine(b"354 go on")
        elif verb == b"QUIT":
            self.sendLine(b"221 bye")
            self.transport.loseConnection()
        else:
            self.sendLine(b"250 fine")

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802
        factory: Any = self.factory
        self.transport.write(factory.answer.partition(b"!")[2])


class BrokenTLSTests(TestCase):
    def setUp(self) -> None:
        self.factory: Any = Factory.forProtocol(BrokenServer)
        self.factory.noisy = False
        self.factory.said = []
        port = reactor.listenTCP(0, self.factory, interface=HOST)
        self.addCleanup(port.stopListening)
        self.results: list[Any] = []
        self.number = port.getHost().port
        self.base = f"_{self.number}._tcp.{NAME}"
        self.serve_at(HOST)

    def serve_at(self, *addresses: str) -> None:
        """Tell by DNS where the server is."""
        self.resolver = FakeResolver(
            exchangers={"example.net": [(1, NAME)]}, addresses={NAME: addresses}
        )
        self.resolver.secure = {"example.net", NAME, self.base}

    async def send(self, mode: TLSMode, **fields: Any) -> Handover:
        transport = self.make(TLSPolicy(mode))
        envelope = queue_envelope("eve@example.net", **fields)
        try:
            result = await transport.send("example.net", envelope, io.BytesIO(SAMPLE))
        finally:
            await Deferred.fromCoroutine(transport.close())
        return result.recipients[0]

    def make(self, tls: TLSPolicy) -> RelayTransport:
        settings = ClientSettings(helo="mail.example.org", tls=tls, timeouts=Timeouts(tls=0.2))
        finder = ExchangerFinder(self.resolver, port=self.number)
        security = DestinationSecurity(self.resolver)
        return RelayTransport(finder, settings, reactor, security, self.results.append)

    async def assert_nothing_sent(
        self, mode: TLSMode, status: Status = Status.TEMPORARY, **fields: Any
    ) -> None:
        for what, self.factory.answer in ANSWERS.items():
            self.factory.said.clear()
            handover = await self.send(mode, **fields)
            wanted = Status.TEMPORARY if what in NO_VERDICT else status
            self.assertEqual(handover.status, wanted, (what, handover.attempt))
            if wanted is Status.PERMANENT:
                self.assertEqual(handover.attempt.enhanced, "5.7.10", what)
            self.assertLessEqual(set(self.factory.said), {b"EHLO", b"STARTTLS", b"QUIT"}, what)

    async def test_dane(self) -> None:
        self.resolver.add(self.base, RecordType.TLSA, TLSA(3, 1, 1, b"x" * 32))
        await self.assert_nothing_sent(TLSMode.OPPORTUNISTIC)

    async def test_dane_without_usable_records(self) -> None:
        self.resolver.add(self.base, RecordType.TLSA, TLSA(0, 1, 1, b"x" * 32))
        await self.assert_nothing_sent(TLSMode.OPPORTUNISTIC)

    async def test_settings(self) -> None:
        for mode in (TLSMode.REQUIRED, TLSMode.VERIFIED):
            await self.assert_nothing_sent(mode)

    async def test_requiretls(self) -> None:
        # RFC 8689 section 4.2.1: TLS that cannot be had ends it, there is no other try.
        self.resolver.add(self.base, RecordType.TLSA, TLSA(3, 1, 1, b"x" * 32))
        for mode in (TLSMode.OPPORTUNISTIC, TLSMode.VERIFIED):
            await self.assert_nothing_sent(mode, Status.PERMANENT, require_tls=True)

    async def require_tls(self, transport: RelayTransport) -> None:
        """Send two messages, neither of which is given up."""
        self.addCleanup(transport.close)
        envelope = queue_envelope("eve@example.net", require_tls=True)
        for _ in range(2):
            result = await transport.send("example.net", envelope, io.BytesIO(SAMPLE))
            self.assertEqual(result.recipients[0].status, Status.TEMPORARY, result.recipients)

    async def test_requiretls_with_an_address_that_is_away(self) -> None:
        # Whether that is known already makes no difference.
        self.serve_at("127.0.0.2", HOST)
        self.resolver.add(self.base, RecordType.TLSA, TLSA(3, 1, 1, b"x" * 32))
        self.factory.answer = ANSWERS["refused"]
        await self.require_tls(self.make(TLSPolicy()))

    async def test_an_address_that_is_away_hides_nothing(self) -> None:
        self.serve_at("127.0.0.2", HOST)
        self.resolver.add(self.base, RecordType.TLSA, TLSA(3, 1, 1, b"x" * 32))
        self.factory.answer = ANSWERS["refused"]
        transport = self.make(TLSPolicy())
        self.addCleanup(transport.close)
        for _ in range(3):
            envelope = queue_envelope("eve@example.net")
            result = await transport.send("example.net", envelope, io.BytesIO(SAMPLE))
        # The first one finds out which is away, and after the second one there is a pause.
        self.assertEqual(result.recipients[0].status, Status.TEMPORARY)
        self.assertEqual(result.recipients[0].attempt.command, "STARTTLS")
        self.assertEqual(len(self.results), 1)

    async def test_requiretls_with_certificates_that_cannot_be_read(self) -> None:
        self.factory.answer = ANSWERS["silence"]
        missing = self.mktemp()
        await self.require_tls(self.make(TLSPolicy(TLSMode.VERIFIED, ca_file=missing)))
        # Nobody else is to blame.
        self.assertEqual(self.results, [])

    async def test_opportunistic_goes_without(self) -> None:
        for what, self.factory.answer in ANSWERS.items():
            self.factory.said.clear()
            handover = await self.send(TLSMode.OPPORTUNISTIC)
            if what in NO_VERDICT:
                self.assertEqual(handover.status, Status.TEMPORARY)
                continue
            self.assertEqual(handover.status, Status.ACCEPTED, what)
            self.assertIn(b"DATA", self.factory.said)
            self.assertTrue(handover.attempt.security.startswith("opportunistic; "), what)


class PauseTests(TestCase):
    """After TLS has failed, a domain is not asked again at once."""

    async def test_not_for_longer_nor_shorter_where_the_clock_is_set(self) -> None:
        self.patch(relay, "steady_seconds", steady_of)
        clock = DayClock()
        clock.advance(START - clock.seconds())
        resolver = FakeResolver(exchangers={"example.net": [(1, NAME)]}, addresses={NAME: [HOST]})
        settings = ClientSettings(helo="mail.example.org", tls=TLSPolicy(TLSMode.REQUIRED))
        transport = RelayTransport(ExchangerFinder(resolver), settings, clock)
        asked: list[float] = []
        begun = clock.steady.seconds()

        async def fail(*_: Any) -> None:
            asked.append(clock.steady.seconds() - begun)
            raise TLSFailed("bad certificate")

        self.patch(transport._opener, "open", fail)
        for step, back in ((0, 0), (TLS_PAUSE - 1, 0), (1, DAY), (1, -DAY), (TLS_PAUSE - 1, DAY)):
            clock.advance(step)
            clock.set_back(back)
            envelope = queue_envelope("eve@example.net")
            result = await transport.send("example.net", envelope, io.BytesIO(SAMPLE))
            self.assertEqual(result.recipients[0].status, Status.TEMPORARY)
        self.assertEqual(asked, [0, TLS_PAUSE, 2 * TLS_PAUSE])
        await transport.close()
