"""Several addresses of one server (RFC 8305)."""

from __future__ import annotations

import os
from errno import ECONNREFUSED
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionRefusedError, TimeoutError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.racing import RacingEndpoint, find_system_addresses
from mailkit.client.reasons import why_not_connected

NEW, OLD = "2001:db8::1", "192.0.2.1"


class RacingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()

    def race(self, *addresses: str, **settings: Any) -> Deferred[Any]:
        self.endpoint = RacingEndpoint(
            self.reactor, "mx.example.net", addresses or (NEW, OLD), 25, **settings
        )
        return self.endpoint.connect(Factory.forProtocol(Protocol))

    def tried(self) -> list[str]:
        return [client[0] for client in self.reactor.tcpClients]

    def connect(self, number: int) -> StringTransport:
        """The server at an address answers."""
        transport = StringTransport()
        transport.abortConnection = transport.loseConnection  # type: ignore[method-assign]
        protocol = self.reactor.tcpClients[number][2].buildProtocol(None)
        protocol.makeConnection(transport)
        return transport

    def refuse(self, number: int) -> None:
        factory, connector = self.reactor.tcpClients[number][2], self.reactor.connectors[number]
        factory.clientConnectionFailed(
            connector, Failure(ConnectionRefusedError(ECONNREFUSED, "refused"))
        )

    def test_the_first_that_answers_wins(self) -> None:
        found = self.race()
        self.assertEqual(self.tried(), [NEW])
        self.reactor.advance(0.25)
        self.assertEqual(self.tried(), [NEW, OLD])
        self.connect(1)
        self.assertEqual(self.endpoint.failures, {NEW: "slower"})
        self.assertTrue(found.called)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one_that_answers_at_once_is_alone(self) -> None:
        found = self.race()
        self.connect(0)
        self.assertTrue(found.called)
        self.reactor.advance(10)
        self.assertEqual(self.tried(), [NEW])

    def test_after_a_refusal_the_next_is_tried_at_once(self) -> None:
        found = self.race()
        self.refuse(0)
        self.assertEqual(self.tried(), [NEW, OLD])
        self.connect(1)
        self.assertTrue(found.called)
        self.assertEqual(self.endpoint.failures, {NEW: os.strerror(ECONNREFUSED)})

    def test_nobody_answers(self) -> None:
        found = self.race()
        for index in (0, 1):
            connector = self.reactor.connectors[index]
            self.reactor.tcpClients[index][2].clientConnectionFailed(
                connector, Failure(TimeoutError())
            )
        error: Any = self.failureResultOf(found, ConnectError).value
        self.assertEqual(
            why_not_connected(error),
            f"{NEW}: nobody answered in time; {OLD}: nobody answered in time",
        )

    def test_all_refuse(self) -> None:
        found = self.race()
        self.refuse(0)
        self.refuse(1)
        error: Any = self.failureResultOf(found, ConnectError).value
        self.assertIn(NEW, str(error))
        self.assertIn(OLD, str(error))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_delay_is_a_setting(self) -> None:
        self.race(delay=1.0)
        self.reactor.advance(0.9)
        self.assertEqual(self.tried(), [NEW])
        self.reactor.advance(0.1)
        self.assertEqual(self.tried(), [NEW, OLD])

    def test_source_addresses(self) -> None:
        self.race(sources={4: "192.0.2.99", 6: "2001:db8::99"})
        self.reactor.advance(0.25)
        binds = [client[4] for client in self.reactor.tcpClients]
        self.assertEqual(binds, [("2001:db8::99", 0), ("192.0.2.99", 0)])

    def test_cancelled(self) -> None:
        found = self.race()
        self.reactor.advance(0.25)
        found.cancel()
        self.failureResultOf(found, CancelledError)
        self.assertEqual([c.stoppedConnecting for c in self.reactor.connectors], [True, True])

    def test_no_address(self) -> None:
        endpoint = RacingEndpoint(self.reactor, "mx.example.net", [], 25)
        self.assertEqual(str(endpoint), "mx.example.net:25")
        self.failureResultOf(endpoint.connect(Factory.forProtocol(Protocol)), ConnectError)


class SystemAddressTests(SynchronousTestCase):
    def find(self, name: str) -> list[str]:
        class Resolver:
            def resolveHostName(self, receiver: Any, name: str) -> None:
                for found in (IPv6Address("TCP", NEW, 0), IPv4Address("TCP", OLD, 0)) * 2:
                    receiver.addressResolved(found)
                receiver.resolutionComplete()

        reactor: Any = SimpleNamespace(nameResolver=Resolver())
        return self.successResultOf(Deferred.fromCoroutine(find_system_addresses(reactor, name)))

    def test_names_and_addresses(self) -> None:
        self.assertEqual(self.find("mx.example.net"), [NEW, OLD])
        self.assertEqual(self.find("192.0.2.7"), ["192.0.2.7"])
