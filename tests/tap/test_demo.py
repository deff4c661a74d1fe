"""``make run``: ports, and what is printed."""

from __future__ import annotations

import io
import socket

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap.demo import HOST, MORE_PORTS, NearbyPort, log_observer


class CrowdedReactor(MemoryReactorClock):
    """Some ports are taken."""

    def __init__(self, taken: set[int]) -> None:
        super().__init__()
        self.taken = taken

    def listenTCP(self, port, factory, backlog=50, interface=""):  # type: ignore[no-untyped-def]
        if port in self.taken:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        return super().listenTCP(port, factory, backlog, interface)


class NearbyPortTests(SynchronousTestCase):
    """The wanted port, or another."""

    def listen(self, taken: set[int], wanted: int, avoid: frozenset[int] = frozenset()) -> int:
        reactor = CrowdedReactor(taken)
        endpoint = NearbyPort(reactor, wanted, avoid)
        self.successResultOf(endpoint.listen(Factory()))
        self.assertEqual(reactor.tcpServers[0][3], HOST)
        return endpoint.port

    def test_the_wanted_port_when_it_is_free(self) -> None:
        self.assertEqual(self.listen(set(), 2525), 2525)

    def test_the_next_one_when_it_is_taken(self) -> None:
        self.assertEqual(self.listen({2525, 2526}, 2525), 2527)

    def test_ports_that_others_want_are_left_alone(self) -> None:
        self.assertEqual(self.listen({2993, 2994}, 2993, frozenset({2993, 2995})), 2996)

    def test_no_port_at_all(self) -> None:
        taken = set(range(2525, 2525 + MORE_PORTS))
        endpoint = NearbyPort(CrowdedReactor(taken), 2525)
        self.failureResultOf(endpoint.listen(Factory()), CannotListenError)

    def test_a_real_port_that_is_taken(self) -> None:
        from twisted.internet import reactor

        with socket.socket() as taken:
            taken.bind((HOST, 0))
            taken.listen()
            wanted = taken.getsockname()[1]
            endpoint = NearbyPort(reactor, wanted)
            port = self.successResultOf(endpoint.listen(Factory()))
            self.assertNotEqual(endpoint.port, wanted)
            port.connectionLost(None)


class LogTests(SynchronousTestCase):
    def test_what_servers_say_and_nothing_of_the_machinery(self) -> None:
        stream = io.StringIO()
        publisher = LogPublisher(log_observer(stream))
        for namespace, shown in (
            ("mailkit.smtp.protocol.SMTPProtocol", True),
            ("mailkit.tap.services.MailService", False),
            ("twisted.internet.tcp.Port", False),
        ):
            Logger(namespace, observer=publisher).info("from {log_namespace}")
            self.assertIs(f"from {namespace}" in stream.getvalue(), shown)
        Logger("mailkit.tap.services.MailService", observer=publisher).warn("a warning")
        self.assertIn("a warning", stream.getvalue())
